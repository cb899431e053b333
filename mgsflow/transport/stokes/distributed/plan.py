"""Memory of a Stokes solve in slabs, planned before it starts."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from mgsflow.errors import DoesNotFit
from mgsflow.memory import HOLES, MIB, WORKER_BASE
from mgsflow.transport.resources import BlockPlan, Resources, plan_memory, plan_with_driver
from mgsflow.transport.stokes.distributed.coarse import PIECE
from mgsflow.transport.stokes.distributed.duct import Duct
from mgsflow.transport.stokes.distributed.slab import THINNEST, UNIT, Slab, even_slabs
from mgsflow.transport.stokes.velocity.coarse import velocity_boxes

#: Bytes of a cell of a stored slab: pores, codes, weights and five vectors; and a sixth where the solution is kept.
_STORED_BYTES, _KEPT_BYTES = 87, 16

#: Bytes of a box of faces of a stored slab: matrix and three vectors of each component, and number of its first part.
_BOXES = 3 * 4 * (4 + 3) + 4

#: Bytes of a cell of a cross-section that a slab publishes, at most: three planes of a vector at either end, and of the
#: velocity, since those of one step are there until all slabs have done the next.
_PUBLISHED = 190

#: Bytes of a part of the pressure's graph while a section of it is assembled, and on the driver with its hierarchy.
_LINKING, _GRAPH = 260, 160

#: Bytes of the modules that a worker loads for these solves alone.
_LOADED = 8 << 20

#: Bytes of the driver that do not grow with the problem: kernels, and buffers of the scheduler.
_DRIVER = 32 * MIB

#: Mean number of connected parts of a box of 2×2×2 voxels: above one only where pores are as narrow as a voxel.
_PARTS = 1.1

#: Bytes of a box of the velocity's levels on the driver; and of messages for each of them and of parts, both ways.
_LARGER, _MESSAGE_BYTES = 75, 12


def plan_slabs(duct: Duct, workers: int, memory: int | None = None, threads: int = 1, keep: bool = False) -> BlockPlan:
    """Return the memory of a solve, and the budget of arrays that keeps a worker within its limit.

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

    Raises
    ------
    DoesNotFit
        If not even a single slab fits; the message states what would.
    """
    slabs = duct.slabs
    _, n1, n2 = duct.shape
    plane = n1 * n2
    resting = [_slab_bytes(duct, slab, keep) for slab in slabs]
    per_worker = -(-len(slabs) // workers)
    thickest = max(slab.planes for slab in slabs)
    shifts, shapes = velocity_boxes(duct.shape, duct.edges)
    parts = prod(shapes[0]) * _PARTS
    larger = sum(prod(s) for s in shapes[1:])
    share = per_worker * thickest / sum(slab.planes for slab in slabs)
    messages = (3 * larger + parts) * _MESSAGE_BYTES
    exchange = int(share * messages) + per_worker * _PUBLISHED * plane
    cells = thickest * plane
    reading = cells * (duct.source.dtype.itemsize + 1) + duct.source.scratch(duct.box(0, thickest).shape)
    in_box = 2 ** sum(shifts[0])
    piece = min(thickest, PIECE << shifts[0][0]) * plane
    linking = (piece * _LINKING + cells * 24) / in_box * _PARTS
    task = int(max(reading, 5 * cells, linking, 12 * cells if keep else 0))
    fixed = WORKER_BASE + _LOADED + exchange + threads * int(task * (1 + HOLES))
    driver = int(larger * _LARGER + parts * _GRAPH + messages) + _DRIVER
    # a store moves no array of the slab that is worked on, used or not
    return plan_memory(
        memory,
        fixed,
        max(resting),
        per_worker,
        threads,
        sum(resting),
        driver,
        f"Stokes flow in slabs of {max(duct.thickness)} planes of {n1 - 2}×{n2 - 2} voxels",
        "use thinner slabs or fewer threads",
    )


def plan_flow(duct: Duct, resources: Resources, keep: bool = False, chunk: int = 1) -> tuple[Duct, BlockPlan]:
    """Return the slabs of a solve, and the memory that it takes: with scratch only where not all fits in memory.

    Parameters
    ----------
    duct : Duct
        Its slabs are kept if there are several, and else chosen: see `choose_slabs`.
    resources : Resources
    keep : bool
        See `plan_slabs`.
    chunk : int
        See `choose_slabs`.

    Raises
    ------
    DoesNotFit
        If not even a single slab fits in memory, or the coarse levels do not fit in that of the driver.
    """
    workers, threads = resources.workers, resources.threads
    return plan_with_driver(
        resources,
        plan_slabs(duct, 1).driver,
        "Stokes flow in slabs, for its coarse levels,",
        lambda memory: duct if len(duct.thickness) > 1 else choose_slabs(duct, workers, memory, threads, keep, chunk),
        lambda cut, memory: plan_slabs(cut, workers, memory, threads, keep),
    )


def choose_slabs(
    duct: Duct, workers: int, memory: int | None, threads: int = 1, keep: bool = False, chunk: int = 1
) -> Duct:
    """Return the duct in slabs as thick as memory allows, but two for every thread.

    Parameters
    ----------
    duct, workers, memory, threads, keep
        As of `plan_slabs`.
    chunk : int
        Planes of a chunk of the sinks: slabs of whole chunks, where they fit, are written concurrently.
    """
    length = duct.shape[0] - 3
    thickest = max(8, -(-length // (2 * workers * threads)))
    unit = chunk if chunk % UNIT == 0 and not duct.reservoirs else UNIT
    for step in (unit, UNIT):
        planes = max(step, thickest - thickest % step)
        while planes >= max(step, THINNEST):
            cut = replace(duct, thickness=tuple(even_slabs(length, planes)))
            try:
                plan_slabs(cut, workers, memory, threads, keep)
            except DoesNotFit:
                planes -= max(step, planes // 8 // step * step)
                continue
            return cut
    # thinner slabs hold more of their neighbours' planes than of their own: these need about the least memory
    return replace(duct, thickness=tuple(even_slabs(length, 24)))


def _slab_bytes(duct: Duct, slab: Slab, keep: bool) -> int:
    """Return the bytes of a slab's arrays."""
    _, n1, n2 = duct.shape
    shifts, shapes = velocity_boxes(duct.shape, duct.edges)
    boxed = slab.of_boxes(shapes[0], shifts[0])
    boxes = boxed.planes * shapes[0][1] * shapes[0][2]
    return slab.planes * n1 * n2 * (_STORED_BYTES + (_KEPT_BYTES if keep else 0)) + boxes * _BOXES
