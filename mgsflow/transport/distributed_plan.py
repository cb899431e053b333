"""How much memory a distributed diffusion solve takes, before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from mgsflow.blocks import Grid, Triple
from mgsflow.errors import DoesNotFit
from mgsflow.memory import HOLES, USABLE, WORKER_BASE, format_bytes
from mgsflow.transport.diffusion_input import Medium

#: Edges of blocks to choose from.
EDGES = (256, 192, 128, 96, 64, 48, 32)

#: Parts of a box of 2×2×2 voxels, on the mean: over one only where pores are as narrow as a voxel.
_PARTS = 1.25

#: Bytes of a part while a block is set up: links, keys, groups, and the hierarchy twice, as it is made and at rest.
_SETTING_UP = 300

#: Bytes of a part at rest: its hierarchy, number and group.
_RESTING = 90

#: Coarse unknowns of a block as a share of its voxels, and bytes that travel for each of them in a step, both ways.
_UNKNOWNS, _TRAVELLING = 1 / 200, 80


@dataclass(frozen=True)
class BlockPlan:
    """Bytes of a solve in blocks.

    Attributes
    ----------
    budget : int or None
        Most bytes of block arrays in a worker's memory, for a `DiskStore`; None if all are in memory.
    worker : int
        Most bytes of a worker process.
    scratch : int
        Most bytes of all workers' scratch files together.
    driver : int
        Most bytes of the driver beside its base.
    """

    budget: int | None
    worker: int
    scratch: int
    driver: int


def choose_block(medium: Medium, workers: int, memory: int | None, threads: int = 1) -> int:
    """Return an edge for blocks: the largest that fits in memory and still gives every thread two blocks.

    Few large blocks need fewer iterations and a smaller coarse level than many small ones.
    """
    for edge in EDGES:
        grid = Grid.regular(medium.shape, edge)
        if len(grid) < 2 * workers * threads:
            continue
        try:
            plan_blocks(medium, grid, workers, memory, threads)
        except DoesNotFit:
            continue
        return edge
    return EDGES[-1]


def plan_blocks(
    medium: Medium, grid: Grid, workers: int, memory: int | None = None, threads: int = 1, fraction: float = 1.0
) -> BlockPlan:
    """Return the memory of a solve, and how much of it block arrays may take so that a worker keeps its limit.

    Parameters
    ----------
    medium : Medium
    grid : Grid
    workers : int
        Worker processes.
    memory : int, optional
        Bytes that each may take: what does not fit goes to scratch. Default, all in memory.
    threads : int
        Of each worker.
    fraction : float
        Share of the voxels that conduct, where it is known.

    Raises
    ------
    DoesNotFit
        If not even a single block fits; the message says what would.
    """
    largest = grid.largest
    voxels = prod(grid.shape)
    block = _resting(largest, fraction)
    total = sum(_resting(b.core.shape, fraction) for b in grid.blocks())
    per_worker = -(-len(grid) // workers)
    exchange = int(per_worker * prod(largest) * _UNKNOWNS * _TRAVELLING)
    task = _task(medium, largest)
    fixed = WORKER_BASE + exchange + threads * int(task * (1 + HOLES))
    driver = int(voxels * _UNKNOWNS * (400 + 2 * _TRAVELLING))
    if memory is None:
        held = min(total, per_worker * block)
        return BlockPlan(None, fixed + held, 0, driver)
    budget = int(USABLE * memory) - fixed
    if budget < threads * block:
        need = int((fixed + threads * block) / USABLE) + 1
        raise DoesNotFit(
            f"diffusion in blocks of {'×'.join(map(str, largest))} voxels needs {format_bytes(need)} a worker, but "
            f"each has {format_bytes(memory)}: give them more (--memory-limit), or use smaller blocks"
        )
    return BlockPlan(budget, fixed + budget, total, driver)


def _resting(shape: Triple, fraction: float) -> int:
    """Return the bytes of a block's arrays."""
    voxels = prod(n + 3 for n in shape)
    boxes = voxels / 8
    faces = 2 * sum(prod(n + 3 for n in shape) / (m + 3) for m in shape)
    parts = boxes * _PARTS
    return int(voxels * (1 + 16 * fraction) + boxes * 5 + parts * _RESTING + faces * 36 * fraction)


def _task(medium: Medium, shape: Triple) -> int:
    """Return the bytes that a call on a block takes beside its arrays."""
    voxels = prod(n + 3 for n in shape)
    reading = voxels * (medium.source.dtype.itemsize + 2) + medium.source.scratch(shape)
    setting_up = voxels / 8 * _PARTS * _SETTING_UP
    iterating = voxels * 8 + voxels / 8 * _PARTS * 32
    return int(max(reading, setting_up + voxels, iterating))
