"""A step: one piece of work on one scan, the key of what it makes, and how it is done so that it can be resumed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from mgsflow.blocks import Triple
from mgsflow.compute import Pass, Work, completed, current_client
from mgsflow.errors import MgsflowError, StoreError
from mgsflow.pipeline.code import code_version
from mgsflow.pipeline.planning.capacity import Capacity, Needs, capacity, needs
from mgsflow.store import Records, Region, Specimen, remote_url
from mgsflow.store.ledger import Ledger
from mgsflow.store.shards import Shard, written_shards

#: Called with (step, specimen/scan, finished blocks, all blocks): once at the start, then for every block; and with a
#: `Solving` as the step after every iteration of a solve by all workers.
Progress = Callable[[str, str, int, int], None]


class Solving(str):
    """Name of a step, as a `Progress` gets it in the midst of a solve by all workers, with how far that is.

    Parameters
    ----------
    step : str
    iteration : int
    error, wanted : float
        Estimated relative error after the iteration, and that at which the solve ends.
    """

    iteration: int
    error: float
    wanted: float

    def __new__(cls, step: str, iteration: int, error: float, wanted: float) -> Solving:
        """Return the name."""
        name = super().__new__(cls, step)
        name.iteration, name.error, name.wanted = iteration, error, wanted
        return name


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


@dataclass(frozen=True)
class Step:
    """One pass over one scan, or other work on it.

    Parameters
    ----------
    name : str
        Name in the ledger.
    specimen : Specimen
    scan : str
    work : Work
    inputs : str
        Key of the step, or checksum of the files, that the source's voxels came from.
    says : str
        Parameters of work that is not a `Pass`, which says its own.
    fills : tuple of str
        Paths of what such work writes in the store.
    disk : int
        Bytes that it writes, before compression.
    here : bool
        Whether it is done in this process, not on a worker: small tables of the whole scan, which no worker need have
        room for.
    """

    name: str
    specimen: Specimen
    scan: str
    work: Work
    inputs: str
    says: str = ""
    fills: tuple[str, ...] = ()
    disk: int = 0
    here: bool = False

    @property
    def key(self) -> str:
        """Digest of all that the result depends on: inputs, parameters, and the code that carries them out."""
        if isinstance(self.work, Pass):
            says = _pass_says(self.inputs, self.work)
        else:
            code = code_version([self.work])
            says = (self.inputs, type(self.work).__qualname__, self.work.grid.cuts, self.says, self.fills, code)
        return hashlib.sha256(repr(says).encode()).hexdigest()

    @property
    def writes(self) -> tuple[str, ...]:
        """Paths of the arrays that it fills."""
        if not isinstance(self.work, Pass):
            return self.fills
        sinks = [o.sink for o in self.work.outputs] + [s for o in self.work.outputs for _, s in o.reductions]
        return tuple(sorted({s.path for s in sinks if isinstance(s, Region | Records)}))

    @property
    def finished(self) -> bool:
        """Whether all of its blocks are done, under its present key."""
        return not self.ledger().pending(self.key)

    def ledger(self) -> Ledger:
        """Return the ledger of its blocks."""
        return self.specimen.ledger(self.name, self.scan, self.work.grid)

    @property
    def label(self) -> str:
        """Specimen and scan."""
        return f"{self.specimen.name}/{self.scan}"


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
    if step.here:
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
            for count, (index, shards) in enumerate(_carried(step, todo, client, progress, threads), start=1):
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


def _carried(
    step: Step, todo: list[Triple], client: Any, progress: Progress | None, threads: int | None
) -> Iterator[tuple[Triple, list[Shard]]]:
    """Yield the blocks as they are done, and what was written: as tasks, or all of them by all workers together."""
    if not step.here and hasattr(step.work, "share"):
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


def _pass_says(inputs: str, work: Pass) -> tuple[object, ...]:
    reductions = [r for o in work.outputs for r, _ in o.reductions]
    outputs = [
        (o.after, o.sink.path if isinstance(o.sink, Region) else None, [repr(r) for r, _ in o.reductions])
        for o in work.outputs
    ]
    return (
        inputs,
        work.source.shape,
        work.grid.cuts,
        [repr(k) for k in work.chain],
        outputs,
        code_version([work, work.source, *work.chain, *reductions]),
    )


def store_error(error: OSError, store: str) -> Exception:
    """Return what to tell a user of an error of the file system: no space, no permission, or as it came."""
    if isinstance(error, MgsflowError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"no space left for {store}: free some and run again, finished blocks are kept")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"{error.filename or store} cannot be written ({error.strerror}): check its permissions")
    return error
