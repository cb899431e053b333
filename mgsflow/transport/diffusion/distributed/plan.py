"""How much memory a distributed diffusion solve takes, before it starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from mgsflow.blocks import Grid, Triple
from mgsflow.errors import DoesNotFit
from mgsflow.memory import HOLES, USABLE, WORKER_BASE, available, format_bytes
from mgsflow.transport.diffusion.medium import Medium

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


def plan_solve(
    medium: Medium,
    workers: int,
    memory: int | None,
    threads: int = 1,
    block: Any = None,
    chunk: int = 1,
    here: bool = False,
) -> tuple[Grid, BlockPlan]:
    """Return the blocks of a solve, and what it takes: with scratch only where all does not fit in memory.

    Parameters
    ----------
    medium, workers, memory, threads
        As of `plan_blocks`.
    block : int or sequence of int, optional
        Edge of a block in voxels. Default: see `choose_block`.
    chunk : int
        See there.
    here : bool
        Whether the blocks are in the driver's process, which needs part of the memory for itself.

    Raises
    ------
    DoesNotFit
        If not even a single block fits in memory, or the driver's part is not there.
    """
    driver = _driver(medium)
    if here and memory is not None:
        memory -= driver
    room = available() if memory is None or not here else memory + driver
    if driver > USABLE * room:
        raise DoesNotFit(
            f"diffusion in blocks needs {format_bytes(driver)} for the coarse level in the process that starts it, "
            f"which has {format_bytes(room)}: start it on a machine with more memory"
        )
    edge = choose_block(medium, workers, memory, threads, chunk) if block is None else block
    grid = Grid.regular(medium.shape, edge)
    plan = plan_blocks(medium, grid, workers, None, threads)
    if memory is not None and plan.worker > USABLE * memory:
        plan = plan_blocks(medium, grid, workers, memory, threads)
    return grid, replace(plan, worker=plan.worker + driver) if here else plan


def choose_block(medium: Medium, workers: int, memory: int | None, threads: int = 1, chunk: int = 1) -> int:
    """Return an edge for blocks: the largest that fits in memory and still gives every thread two blocks.

    Few large blocks need fewer iterations and a smaller coarse level than many small ones. The edge is a multiple of
    `chunk`, so that no two blocks write into the same chunk of a store.
    """
    edges = [edge for edge in EDGES if edge % chunk == 0] or [max(chunk, EDGES[-1] // chunk * chunk)]
    for edge in edges:
        grid = Grid.regular(medium.shape, edge)
        if len(grid) < 2 * workers * threads:
            continue
        try:
            plan_blocks(medium, grid, workers, memory, threads)
        except DoesNotFit:
            continue
        return edge
    return edges[-1]


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
    block = _resting(largest, fraction)
    total = sum(count * _resting(shape, fraction) for shape, count in _shapes(grid))
    per_worker = -(-len(grid) // workers)
    exchange = int(per_worker * prod(largest) * _UNKNOWNS * _TRAVELLING)
    task = _task(medium, largest)
    fixed = WORKER_BASE + exchange + threads * int(task * (1 + HOLES))
    driver = _driver(medium)
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


def _shapes(grid: Grid) -> Iterator[tuple[Triple, int]]:
    """Yield the shapes of blocks, few, and how many have each: there may be millions of blocks."""
    for z, y, x in product(*(Counter(cut).items() for cut in grid.cuts)):
        yield (z[0], y[0], x[0]), z[1] * y[1] * x[1]


def _driver(medium: Medium) -> int:
    """Return the bytes of the coarse level, and of what travels for it, in the driver."""
    return int(prod(medium.shape) * _UNKNOWNS * (400 + 2 * _TRAVELLING))


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
