"""Battery-electrode tomograms larger than memory, from scans to numbers compared across cycle states.

`open` gives a study as an xarray DataTree, `run` carries one out, `plan` says what that takes, `measure` measures a
phase image that is at hand. Everything else is in the packages: `mgsflow.filters`, `mgsflow.segmentation`,
`mgsflow.measures`, `mgsflow.readers`, `mgsflow.phantoms`, `mgsflow.store`, `mgsflow.compute`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgsflow.measures import measure
    from mgsflow.pipeline import run
    from mgsflow.readers import open_scan
    from mgsflow.recipe import load
    from mgsflow.report import write_report
    from mgsflow.store.tree import open_study as open

__version__ = "0.1.0"
__all__ = ["__version__", "load", "measure", "open", "open_scan", "run", "write_report"]

# looked up when first used: a worker that filters needs neither xarray nor matplotlib
_WHERE = {
    "load": ("mgsflow.recipe", "load"),
    "measure": ("mgsflow.measures", "measure"),
    "open": ("mgsflow.store.tree", "open_study"),
    "open_scan": ("mgsflow.readers", "open_scan"),
    "run": ("mgsflow.pipeline", "run"),
    "write_report": ("mgsflow.report", "write_report"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _WHERE[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
