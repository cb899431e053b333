"""A step: one pass over one scan, the key of what it makes, and how it is carried out so that it can be resumed."""

from __future__ import annotations

import errno
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mgsflow.compute import Pass, completed
from mgsflow.errors import MgsflowError, StoreError
from mgsflow.pipeline.code import code_version
from mgsflow.store import Records, Region, Specimen

#: Called with (step, specimen/scan, finished blocks, all blocks): once at the start, then for every block.
Progress = Callable[[str, str, int, int], None]


@dataclass(frozen=True)
class Step:
    """One pass over one scan.

    Parameters
    ----------
    name : str
        Name in the ledger.
    specimen : Specimen
    scan : str
    work : Pass
    inputs : str
        Key of the step, or checksum of the files, that the source's voxels came from.
    """

    name: str
    specimen: Specimen
    scan: str
    work: Pass
    inputs: str

    @property
    def key(self) -> str:
        """Digest of all that the result depends on: inputs, parameters, and the code that carries them out."""
        reductions = [r for o in self.work.outputs for r, _ in o.reductions]
        outputs = [
            (o.after, o.sink.path if isinstance(o.sink, Region) else None, [repr(r) for r, _ in o.reductions])
            for o in self.work.outputs
        ]
        says = (
            self.inputs,
            self.work.source.shape,
            self.work.grid.cuts,
            [repr(k) for k in self.work.chain],
            outputs,
            code_version([self.work, self.work.source, *self.work.chain, *reductions]),
        )
        return hashlib.sha256(repr(says).encode()).hexdigest()

    @property
    def writes(self) -> tuple[str, ...]:
        """Paths of the arrays that it fills."""
        sinks = [o.sink for o in self.work.outputs] + [s for o in self.work.outputs for _, s in o.reductions]
        return tuple(sorted({s.path for s in sinks if isinstance(s, Region | Records)}))

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
    ledger = step.specimen.ledger(step.name, step.scan, step.work.grid)
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
            for count, index in enumerate(completed(step.work.run, todo, client, threads), start=1):
                ledger.finish(index)
                if progress is not None:
                    progress(step.name, step.label, total - len(todo) + count, total)
        finally:
            ledger.flush()
    except OSError as error:
        raise store_error(error, step.specimen.store) from error
    return len(todo)


def store_error(error: OSError, store: str) -> Exception:
    """Return what to tell a user of an error of the file system: no space, no permission, or as it came."""
    if isinstance(error, MgsflowError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"no space left for {store}: free some and run again, finished blocks are kept")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"{error.filename or store} cannot be written ({error.strerror}): check its permissions")
    return error
