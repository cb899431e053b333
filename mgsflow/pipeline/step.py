"""A step: one piece of work on one scan, cut into blocks, and the key of what it makes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from mgsflow.compute import Pass, Work
from mgsflow.pipeline.code import code_version
from mgsflow.store import Records, Region, Specimen
from mgsflow.store.ledger import Ledger

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
    parameters : str
        Parameters of work that is not a `Pass`, which has its own.
    output_paths : tuple of str
        Paths of what such work writes in the store.
    disk : int
        Bytes that it writes, before compression.
    in_driver : bool
        Whether it is done in this process, not on a worker: small tables of the whole scan, which no worker need have
        room for.
    """

    name: str
    specimen: Specimen
    scan: str
    work: Work
    inputs: str
    parameters: str = ""
    output_paths: tuple[str, ...] = ()
    disk: int = 0
    in_driver: bool = False

    @property
    def key(self) -> str:
        """Digest of all that the result depends on: inputs, parameters, and the code that carries them out."""
        if isinstance(self.work, Pass):
            parameters = _pass_parameters(self.inputs, self.work)
        else:
            code = code_version([self.work])
            parameters = (
                self.inputs,
                type(self.work).__qualname__,
                self.work.grid.cuts,
                self.parameters,
                self.output_paths,
                code,
            )
        return hashlib.sha256(repr(parameters).encode()).hexdigest()

    @property
    def writes(self) -> tuple[str, ...]:
        """Paths of the arrays that it fills."""
        if not isinstance(self.work, Pass):
            return self.output_paths
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


def _pass_parameters(inputs: str, work: Pass) -> tuple[object, ...]:
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
