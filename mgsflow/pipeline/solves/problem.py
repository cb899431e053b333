"""A boundary value problem on the phases of a scan, and the work of solving it.

A solve reads a scan's phases whole, in one task; where no worker has room for that, all of them solve it together,
block by block. What it finds is a few numbers, kept in the store as they are, so that a run that is stopped solves
nothing twice, and fields (see `mgsflow.pipeline.solves.fields`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Source
from mgsflow.memory import WORKER_BASE
from mgsflow.pipeline.planning.capacity import Capacity, Needs
from mgsflow.pipeline.solves.fields import Outputs


class Problem(Protocol):
    """A boundary value problem on the phases of a scan. A frozen dataclass; its ``repr`` identifies it."""

    @property
    def name(self) -> str:
        """Name of the step."""
        ...

    @property
    def variables(self) -> dict[str, tuple[str, str]]:
        """Units and description of each number."""
        ...

    @property
    def place(self) -> dict[str, int]:
        """Where its numbers stand in those of the study: a position along each dimension."""
        ...

    def solve(self, phases: np.ndarray, outputs: Outputs | None = None) -> dict[str, float | str]:
        """Return status and numbers; leave what else there is in the outputs."""
        ...

    def memory(self, shape: Triple) -> int:
        """Return the most bytes that a solve holds beside the phases, whatever is in them."""
        ...

    def share(self, phases: Source, room: Capacity, outputs: Outputs) -> Needs | None:
        """Return what a solve in blocks takes, or None if there is none for this problem.

        Raises
        ------
        DoesNotFit
            If not even a block fits.
        """
        ...

    def solve_shared(self, phases: Source, place: Place, outputs: Outputs) -> dict[str, float | str]:
        """Solve in blocks; return what `solve` returns."""
        ...


@dataclass(frozen=True)
class Place:
    """Where and how a solve in blocks is done.

    Parameters
    ----------
    room : Capacity
    client : distributed.Client or None
        None for threads of this process.
    checkpoints : Path
        Folder for those of this step, whichever problem and blocks they are of.
    key : str
        Identifies the problem.
    watch : callable
        Called with (iteration, estimated error, error at which the solve ends).
    """

    room: Capacity
    client: Any
    checkpoints: Path
    key: str
    watch: Callable[[int, float, float], None]

    @property
    def memory(self) -> int:
        """Bytes of a process, were it a worker: one that has more loaded has less left."""
        return self.room.memory - max(0, self.room.base - WORKER_BASE)


@dataclass(frozen=True)
class Solve:
    """A problem on a whole scan, as work of a single block."""

    phases: Source
    problem: Problem
    outputs: Outputs

    @property
    def grid(self) -> Grid:
        """The scan in one block."""
        return Grid.whole(self.phases.shape)

    def run(self, index: Triple) -> Triple:
        """Solve, and return the index when the numbers are stored."""
        self.outputs.clear()
        self._store(self.problem.solve(self.phases.read(Box.of(self.phases.shape)), self.outputs))
        return index

    def share(self, room: Capacity) -> Needs | None:
        """Return what a solve in blocks on all workers takes, or None if there is none."""
        return self.problem.share(self.phases, room, self.outputs)

    def run_shared(
        self, key: str, room: Capacity, client: Any, checkpoints: Path, watch: Callable[[int, float, float], None]
    ) -> None:
        """Solve in blocks on all workers, and return when the numbers are stored."""
        self.outputs.clear()
        checkpoints.mkdir(parents=True, exist_ok=True)
        self._store(self.problem.solve_shared(self.phases, Place(room, client, checkpoints, key, watch), self.outputs))

    def memory(self) -> int:
        """Return the most bytes that the solve holds."""
        shape = self.phases.shape
        return prod(shape) + max(self.phases.scratch(shape), self.problem.memory(shape))

    def _store(self, numbers: dict[str, float | str]) -> None:
        text = json.dumps(numbers).encode()
        self.outputs.parts.write(self.outputs.index, self.problem.name, np.frombuffer(text, np.uint8))
