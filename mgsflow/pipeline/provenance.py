"""What was run, with what, and how it ended: kept with the results it made."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from mgsflow.errors import StoreError
from mgsflow.recipe import Recipe
from mgsflow.store import Study

_PACKAGES = ("mgsflow", "numpy", "numba", "zarr", "xarray", "dask", "scipy", "tifffile")
#: Runs that are remembered; older ones are dropped.
_KEPT = 20


class Run:
    """The entry of one run in a study's attributes: ``status`` is ``incomplete`` until it ends well."""

    def __init__(self, study: Study, entry: dict[str, Any]) -> None:
        self._study, self._entry = study, entry

    @classmethod
    def begin(cls, study: Study, recipe: Recipe) -> Run:
        """Note that a run began, and mark the study incomplete."""
        entry = {
            "started": _now(),
            "versions": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
            "machine": platform.machine(),
            "recipe": recipe.to_dict(),
            "recipe_sha256": recipe.digest(),
        }
        run = cls(study, entry)
        runs = list(study.attributes.get("runs", []))[-(_KEPT - 1) :]
        try:
            study.note(status="incomplete", title=recipe.title, runs=[*runs, entry])
        except OSError as error:
            raise StoreError(
                f"{study.path} cannot be written ({error.strerror}): check space and permissions"
            ) from error
        return run

    def finish(self, blocks: int, planned: int, peaks: dict[str, int], failed: dict[str, str]) -> None:
        """Note that the run came to its end, and which scans did not."""
        self._close(
            status="incomplete" if failed else "complete",
            blocks=blocks,
            planned_peak=planned,
            measured_peak=max(peaks.values(), default=0),
            **({"failed": failed} if failed else {}),
        )

    def fail(self, error: BaseException) -> None:
        """Note what stopped the run, if the store still takes it."""
        try:
            self._close(status="incomplete", error=f"{type(error).__name__}: {error}")
        except OSError:
            return  # the study is marked incomplete since the run began

    def _close(self, status: str, **values: Any) -> None:
        self._entry |= {"finished": _now(), "status": status} | values
        runs = list(self._study.attributes.get("runs", []))
        self._study.note(status=status, runs=[*runs[:-1], self._entry])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
