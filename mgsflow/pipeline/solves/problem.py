"""A boundary value problem on the phases of a scan, and the work of solving it.

A solve reads a scan's phases whole, in one task; where no worker has the memory for that, all of them solve it
together, block by block. Its few numbers are stored as they are, so that a run that was stopped solves nothing twice;
maps and fields are stored beside them (see `mgsflow.pipeline.solves.fields`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Source
from mgsflow.memory import WORKER_BASE
from mgsflow.pipeline.planning.capacity import Capacity, Needs
from mgsflow.pipeline.solves.fields import Outputs

if TYPE_CHECKING:
    from mgsflow.transport.resources import BlockPlan, Resources

#: Seconds between two checkpoints of a solve in blocks.
CHECKPOINT_INTERVAL = 60.0


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
        """Position of its numbers in those of the study, along each dimension."""
        ...

    def solve(self, phases: np.ndarray, outputs: Outputs | None = None) -> dict[str, float | str]:
        """Solve in memory, store maps and fields, and return status and numbers."""
        ...

    def memory(self, shape: Triple) -> int:
        """Return the most bytes that a solve holds beside the phases, whatever is in them."""
        ...

    def plan_blocks(self, phases: Source, resources: Resources, outputs: Outputs) -> BlockPlan | None:
        """Return the memory of a solve in blocks, or None if there is none for this problem.

        Raises
        ------
        DoesNotFit
            If not even a block fits.
        """
        ...

    def solve_in_blocks(self, phases: Source, run: BlockRun, outputs: Outputs) -> dict[str, float | str]:
        """Solve on all workers, block by block; otherwise as `solve`."""
        ...


@dataclass(frozen=True)
class BlockRun:
    """Where and how a problem is solved in blocks.

    Parameters
    ----------
    resources : Resources
    client : distributed.Client or None
        None for threads of this process.
    checkpoints : Path
        Folder for those of this step, whatever the problem and its blocks.
    key : str
        Identifies the problem.
    progress : callable
        Called with (iteration, estimated error, error at which the solve ends).
    """

    resources: Resources
    client: Any
    checkpoints: Path
    key: str
    progress: Callable[[int, float, float], None]

    def options(self, blocks: Sequence[int], rtol: float) -> dict[str, Any]:
        """Return the arguments that all solves in blocks share.

        Parameters
        ----------
        blocks : sequence of int
            Tells the blocks of this solve from others: a checkpoint fits no blocks of another shape.
        rtol : float
        """
        return {
            "client": self.client,
            "memory": self.resources.memory,
            "threads": self.resources.threads,
            "scratch": self.checkpoints.parent if self.client is None else None,
            "every": CHECKPOINT_INTERVAL,
            "checkpoints": self.checkpoints / f"{self.key[:16]}-{'-'.join(map(str, blocks))}",
            "progress": lambda step: self.progress(step.iteration, step.error, rtol),
        }


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
        plan = self.problem.plan_blocks(self.phases, _resources(room), self.outputs)
        if plan is None:
            return None
        scratch = plan.scratch if plan.budget is not None else 0
        return Needs(plan.worker - WORKER_BASE + room.base, scratch, together=True)

    def run_shared(
        self, key: str, room: Capacity, client: Any, checkpoints: Path, watch: Callable[[int, float, float], None]
    ) -> None:
        """Solve in blocks on all workers, and return when the numbers are stored."""
        self.outputs.clear()
        checkpoints.mkdir(parents=True, exist_ok=True)
        run = BlockRun(_resources(room), client, checkpoints, key, watch)
        self._store(self.problem.solve_in_blocks(self.phases, run, self.outputs))

    def memory(self) -> int:
        """Return the most bytes that the solve holds."""
        shape = self.phases.shape
        return prod(shape) + max(self.phases.scratch(shape), self.problem.memory(shape))

    def _store(self, numbers: dict[str, float | str]) -> None:
        text = json.dumps(numbers).encode()
        self.outputs.parts.write(self.outputs.index, self.problem.name, np.frombuffer(text, np.uint8))


def _resources(capacity: Capacity) -> Resources:
    from mgsflow.transport.resources import Resources

    # a process that holds more than a worker before its first block has less left for the solve
    memory = capacity.memory - max(0, capacity.base - WORKER_BASE)
    return Resources(capacity.workers, capacity.threads, memory, capacity.in_driver)
