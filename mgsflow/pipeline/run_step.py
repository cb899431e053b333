"""Running a step: its unfinished blocks as tasks, or a solve by all workers together, so that it can be resumed."""

from __future__ import annotations

import contextlib
import errno
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from mgsflow.blocks import Triple
from mgsflow.compute import Work, completed, current_client
from mgsflow.errors import MgsflowError, StoreError
from mgsflow.pipeline.planning.capacity import Capacity, Needs, capacity, needs
from mgsflow.pipeline.step import Progress, Solving, Step
from mgsflow.store import remote_url
from mgsflow.store.shards import Shard, written_shards


class Shared(Work, Protocol):
    """Work on the whole of a scan that all workers can do together, where none has room for it."""

    def share(self, room: Capacity) -> Needs | None:
        """Return what it takes, or None if it cannot be shared; raise DoesNotFit where not even a share fits."""
        ...

    def run_shared(
        self, key: str, room: Capacity, client: Any, checkpoints: Path, watch: Callable[[int, float, float], None]
    ) -> None:
        """Do it, and return when everything is stored; called in the process that runs the study."""
        ...


def execute(
    step: Step,
    client: Any = None,
    progress: Progress | None = None,
    shuffle: int | None = None,
    threads: int | None = None,
) -> int:
    """Carry out what is not yet done of a step, and return the number of blocks that were done now.

    Parameters
    ----------
    step : Step
    client : distributed.Client, optional
        Default: the current client, or threads of this process.
    progress : callable, optional
        See `Progress`.
    shuffle : int, optional
        Seed of a random order of the blocks; results do not depend on it.
    threads : int, optional
        Number of threads where there is no client.

    Raises
    ------
    StoreError
        If the disk is full or the store cannot be written; what is finished stays, and a later run continues.
    """
    ledger = step.ledger()
    if step.in_driver:
        client = False
    total = len(step.work.grid)
    try:
        todo = ledger.begin(step.key, step.writes)
        if progress is not None:
            progress(step.name, step.label, total - len(todo), total)
        if not todo:
            return 0
        if shuffle is not None:
            random.Random(shuffle).shuffle(todo)
        try:
            for count, (index, shards) in enumerate(_run_blocks(step, todo, client, progress, threads), start=1):
                ledger.finish(index, shards)
                if progress is not None:
                    progress(step.name, step.label, total - len(todo) + count, total)
        finally:
            ledger.flush()
        if hasattr(step.work, "share"):  # not before the ledger says that the step is finished
            _forget(checkpoints_of(step))
    except OSError as error:
        raise store_error(error, step.specimen.store) from error
    return len(todo)


def checkpoints_of(step: Step) -> Path:
    """Return the folder that holds what a shared step goes on from when it was stopped: beside the store.

    Of a store in object storage it is in the working directory, which workers must reach.
    """
    url = remote_url(step.specimen.store)
    store = Path(step.specimen.store) if url is None else Path.cwd() / url.rpartition("/")[2]
    return store.parent / f".{store.name}.checkpoints" / step.specimen.name / step.scan / step.name


def _run_blocks(
    step: Step, todo: list[Triple], client: Any, progress: Progress | None, threads: int | None
) -> Iterator[tuple[Triple, list[Shard]]]:
    """Yield the blocks as they are done, and what was written: as tasks, or all of them by all workers together."""
    if not step.in_driver and hasattr(step.work, "share"):
        client = client if client is not None else current_client()
        room = capacity(client, threads)
        if needs(step, room).together:
            yield from ((index, []) for index in _together(step, todo, room, client, progress))
            return
    yield from completed(_Task(step.work).run, todo, client, threads)


@dataclass(frozen=True)
class _Task:
    """One block of a work, which returns the shards that were written for it."""

    work: Work

    def run(self, index: Triple) -> tuple[Triple, list[Shard]]:
        with written_shards() as shards:
            return self.work.run(index), shards


def _together(
    step: Step, todo: list[Triple], room: Capacity, client: Any, progress: Progress | None
) -> Iterator[Triple]:
    # in this thread, so that an interrupt is taken at once: what runs on workers ends with its superstep
    def watch(iteration: int, error: float, wanted: float) -> None:
        if progress is not None:
            progress(Solving(step.name, iteration, error, wanted), step.label, 0, total)

    work, total = cast(Shared, step.work), len(step.work.grid)
    folder = checkpoints_of(step)
    for index in todo:
        work.run_shared(step.key, room, client, folder, watch)
        yield index


def _forget(checkpoints: Path) -> None:
    """Remove a step's checkpoints, and the folders that are empty then: of its scan, its specimen, and of all."""
    shutil.rmtree(checkpoints, ignore_errors=True)
    for empty in list(checkpoints.parents)[:3]:
        with contextlib.suppress(OSError):
            empty.rmdir()


def store_error(error: OSError, store: str) -> Exception:
    """Return what to tell a user of an error of the file system: no space, no permission, or as it came."""
    if isinstance(error, MgsflowError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"no space left for {store}: free some and run again, finished blocks are kept")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"{error.filename or store} cannot be written ({error.strerror}): check its permissions")
    return error
