"""How much memory a Stokes solve in slabs takes, before it starts."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from mgsflow.errors import DoesNotFit
from mgsflow.memory import HOLES, USABLE, WORKER_BASE, format_bytes
from mgsflow.transport.distributed_plan import BlockPlan
from mgsflow.transport.distributed_stokes_levels import PIECE
from mgsflow.transport.distributed_stokes_setup import Duct
from mgsflow.transport.distributed_stokes_slab import Slab, even_slabs
from mgsflow.transport.stokes_boxes import velocity_boxes

#: Bytes of a cell at rest: pores, codes, weights and five vectors; and a sixth where the solution is kept.
_RESTING, _KEPT = 87, 16

#: Bytes of a box of faces at rest: matrix and three vectors of each component, and the number of its first part.
_BOXES = 3 * 4 * (4 + 3) + 4

#: Bytes of a cell that a call touches, at most: vectors, pores, codes, and right-hand sides of boxes.
_TOUCHED = 86

#: Bytes of a cell of a cross-section that a slab publishes, at most: three planes of a vector, of the velocity, and of
#: boxes twice.
_PUBLISHED = 225

#: Bytes of a part of the pressure's graph while a piece of it is made, and on the driver with all that becomes of it.
_LINKING, _GRAPH = 260, 190

#: Parts of a box of 2×2×2 voxels, on the mean: over one only where pores are as narrow as a voxel.
_PARTS = 1.1

#: Bytes of a box of the velocity's levels on the driver; and, of those and of parts, that travel, both ways.
_LARGER, _TRAVELLING = 75, 12


def plan_slabs(
    duct: Duct, workers: int, memory: int | None = None, threads: int = 1, keep: bool = False, fraction: float = 1.0
) -> BlockPlan:
    """Return the memory of a solve, and how much of it arrays may take so that a worker keeps its limit.

    Parameters
    ----------
    duct : Duct
    workers : int
        Worker processes.
    memory : int, optional
        Bytes that each may take: what does not fit goes to scratch. Default, all in memory.
    threads : int
        Of each worker.
    keep : bool
        Whether the solution is kept: for checkpoints or fields.
    fraction : float
        Share of the boxes of 2×2×2 voxels that hold pores, where it is known.

    Raises
    ------
    DoesNotFit
        If not even a single slab fits; the message says what would.
    """
    slabs = duct.slabs
    _, n1, n2 = duct.shape
    plane = n1 * n2
    resting = [_resting(duct, slab, keep) for slab in slabs]
    per_worker = -(-len(slabs) // workers)
    thickest = max(slab.planes for slab in slabs)
    shifts, shapes = velocity_boxes(duct.shape, duct.edges)
    parts = prod(shapes[0]) * _PARTS * fraction
    larger = sum(prod(s) for s in shapes[1:])
    share = per_worker * thickest / sum(slab.planes for slab in slabs)
    travelling = (3 * larger + parts) * _TRAVELLING
    exchange = int(share * travelling) + per_worker * _PUBLISHED * plane
    cells = thickest * plane
    reading = cells * (duct.source.dtype.itemsize + 1) + duct.source.scratch(duct.box(0, thickest).shape)
    in_box = 2 ** sum(shifts[0])
    piece = min(thickest, PIECE << shifts[0][0]) * plane
    linking = (piece * _LINKING + cells * 24) / in_box * _PARTS * fraction
    task = int(max(reading, 5 * cells, linking, 12 * cells if keep else 0))
    fixed = WORKER_BASE + exchange + threads * int(task * (1 + HOLES))
    driver = int(larger * _LARGER + parts * _GRAPH + travelling)
    total, block = sum(resting), cells * (_TOUCHED + (_KEPT if keep else 0))
    if memory is None:
        return BlockPlan(None, fixed + min(total, per_worker * max(resting)), 0, driver)
    budget = int(USABLE * memory) - fixed
    if budget < threads * block:
        need = int((fixed + threads * block) / USABLE) + 1
        raise DoesNotFit(
            f"Stokes flow in slabs of {max(duct.thickness)} planes of {n1 - 2}×{n2 - 2} voxels needs "
            f"{format_bytes(need)} a worker, but each has {format_bytes(memory)}: give them more (--memory-limit), or "
            "use thinner slabs or fewer threads"
        )
    return BlockPlan(budget, fixed + budget, total, driver)


def choose_slabs(duct: Duct, workers: int, memory: int | None, threads: int = 1, keep: bool = False) -> Duct:
    """Return the duct in slabs as thick as memory allows, but two for every thread."""
    length = duct.shape[0] - 3
    most = max(8, -(-length // (2 * workers * threads)))
    planes = most
    while planes >= 8:
        cut = replace(duct, thickness=tuple(even_slabs(length, planes)))
        try:
            plan_slabs(cut, workers, memory, threads, keep)
        except DoesNotFit:
            planes = planes * 3 // 4
            continue
        return cut
    # thin slabs hold more of their neighbours than of their own: about this is the least that any need
    return replace(duct, thickness=tuple(even_slabs(length, 24)))


def _resting(duct: Duct, slab: Slab, keep: bool) -> int:
    """Return the bytes of a slab's arrays."""
    _, n1, n2 = duct.shape
    shifts, shapes = velocity_boxes(duct.shape, duct.edges)
    boxed = slab.of_boxes(shapes[0], shifts[0])
    boxes = boxed.planes * shapes[0][1] * shapes[0][2]
    return slab.planes * n1 * n2 * (_RESTING + (_KEPT if keep else 0)) + boxes * _BOXES
