"""Memory of a distributed diffusion solve, planned before it starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

from mgsflow.blocks import Grid, Triple
from mgsflow.errors import DoesNotFit
from mgsflow.memory import HOLES, WORKER_BASE
from mgsflow.transport.diffusion.medium import Medium
from mgsflow.transport.resources import BlockPlan, Resources, plan_memory, plan_with_driver

#: Edges of blocks to choose from.
EDGES = (256, 192, 128, 96, 64, 48, 32)

#: Mean number of connected parts of a box of 2×2×2 voxels: above one only where pores are as narrow as a voxel.
_PARTS = 1.25

#: Bytes of a part while a block is set up: links, keys, aggregates, and the hierarchy twice, in use and stored.
_SETUP_BYTES = 300

#: Bytes of a part of a stored block: its hierarchy, number and aggregate.
_STORED_BYTES = 90

#: Coarse unknowns of a block per voxel, and bytes sent for each of them in a superstep, both ways.
_UNKNOWNS, _MESSAGE_BYTES = 1 / 200, 80


def plan_solve(
    medium: Medium, resources: Resources, block: int | Sequence[int] | None = None, chunk: int = 1
) -> tuple[Grid, BlockPlan]:
    """Return the blocks of a solve, and the memory that it takes: with scratch only where not all fits in memory.

    Parameters
    ----------
    medium : Medium
    resources : Resources
    block : int or sequence of int, optional
        Edge of a block in voxels. Default: see `choose_block`.
    chunk : int
        See `choose_block`.

    Raises
    ------
    DoesNotFit
        If not even a single block fits in memory, or the coarse level does not fit in that of the driver.
    """
    workers, threads = resources.workers, resources.threads

    def choose(memory: int | None) -> Grid:
        edge = choose_block(medium, workers, memory, threads, chunk) if block is None else block
        return Grid.regular(medium.shape, edge)

    return plan_with_driver(
        resources,
        _driver_bytes(medium),
        "diffusion in blocks, for its coarse level,",
        choose,
        lambda grid, memory: plan_blocks(medium, grid, workers, memory, threads),
    )


def choose_block(medium: Medium, workers: int, memory: int | None, threads: int = 1, chunk: int = 1) -> int:
    """Return the edge of blocks: the largest that fits in memory and still gives every thread two blocks.

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


def plan_blocks(medium: Medium, grid: Grid, workers: int, memory: int | None = None, threads: int = 1) -> BlockPlan:
    """Return the memory of a solve, and the budget of block arrays that keeps a worker within its limit.

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

    Raises
    ------
    DoesNotFit
        If not even a single block fits; the message states what would.
    """
    largest = grid.largest
    block = _block_bytes(largest)
    total = sum(count * _block_bytes(shape) for shape, count in _shapes(grid))
    per_worker = -(-len(grid) // workers)
    exchange = int(per_worker * prod(largest) * _UNKNOWNS * _MESSAGE_BYTES)
    task = _task_bytes(medium, largest)
    fixed = WORKER_BASE + exchange + threads * int(task * (1 + HOLES))
    shape = "×".join(map(str, largest))
    return plan_memory(
        memory,
        fixed,
        block,
        per_worker,
        threads,
        total,
        _driver_bytes(medium),
        f"diffusion in blocks of {shape} voxels",
        "use smaller blocks",
    )


def _shapes(grid: Grid) -> Iterator[tuple[Triple, int]]:
    """Yield the distinct shapes of blocks and the number of each: there may be millions of blocks."""
    for z, y, x in product(*(Counter(cut).items() for cut in grid.cuts)):
        yield (z[0], y[0], x[0]), z[1] * y[1] * x[1]


def _driver_bytes(medium: Medium) -> int:
    """Return the bytes of the coarse level and of its messages in the driver."""
    return int(prod(medium.shape) * _UNKNOWNS * (400 + 2 * _MESSAGE_BYTES))


def _block_bytes(shape: Triple) -> int:
    """Return the bytes of a block's arrays."""
    voxels = prod(n + 3 for n in shape)
    boxes = voxels / 8
    faces = 2 * sum(prod(n + 3 for n in shape) / (m + 3) for m in shape)
    parts = boxes * _PARTS
    return int(voxels * 17 + boxes * 5 + parts * _STORED_BYTES + faces * 36)


def _task_bytes(medium: Medium, shape: Triple) -> int:
    """Return the bytes of a call on a block beside its arrays."""
    voxels = prod(n + 3 for n in shape)
    reading = voxels * (medium.source.dtype.itemsize + 2) + medium.source.scratch(shape)
    setting_up = voxels / 8 * _PARTS * _SETUP_BYTES
    iterating = voxels * 8 + voxels / 8 * _PARTS * 32
    return int(max(reading, setting_up + voxels, iterating))
