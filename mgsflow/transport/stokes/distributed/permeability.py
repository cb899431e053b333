"""Permeability of a volume that need not fit in memory, on threads or on a cluster."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from mgsflow.blocks import Triple
from mgsflow.compute import current_client
from mgsflow.compute.supersteps.checkpoint import Checkpoints
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import in_memory
from mgsflow.solvers.solution import CONVERGED, Step, scale_progress
from mgsflow.transport.resources import Resources, start_executor
from mgsflow.transport.stokes.distributed.duct import Duct
from mgsflow.transport.stokes.distributed.fields import FlowSinks
from mgsflow.transport.stokes.distributed.plan import plan_flow
from mgsflow.transport.stokes.distributed.slab import even_slabs
from mgsflow.transport.stokes.distributed.solve import SlabSolution, solve_in_slabs
from mgsflow.transport.stokes.pore_volume import flow_order, flow_status
from mgsflow.transport.stokes.problem import (
    check_flow,
    flow_result,
    flow_scale,
    known_numbers,
    pore_source,
    without_flow,
)
from mgsflow.transport.stokes.result import Permeability


def permeability_in_blocks(
    phase: Any,
    pore: int | Sequence[int] = 1,
    axis: str = "z",
    voxel_size: float | Sequence[float] = 1.0,
    sides: str = "no-slip",
    rtol: float = 1e-3,
    reservoirs: int = 0,
    block: int | Sequence[int] | None = None,
    client: Any = None,
    memory: int | None = None,
    threads: int | None = None,
    scratch: str | Path | None = None,
    checkpoints: str | Path | None = None,
    every: float = 60.0,
    out: FlowSinks | None = None,
    most_iterations: int = 200,
    progress: Callable[[Step], None] | None = None,
) -> Permeability:
    """Return the permeability of the pores of an image along an axis, solved in slabs across the flow.

    The equations, and the result, are those of `mgsflow.transport.permeability.permeability`.

    Parameters
    ----------
    phase, pore, axis, voxel_size, sides, rtol, reservoirs
        As there; the image may also be a `mgsflow.compute.Source`.
    block : int or sequence of int, optional
        Planes of a slab, or of each slab in order, reservoirs included: eight or more, a multiple of four in all but
        the last. Default: as thick as memory allows, but two slabs for every thread.
    client : distributed.Client, optional
        Default: the current client, if the caller has one and the image is not in memory; otherwise threads of this
        process.
    memory : int, optional
        Bytes of each worker process, or of this one. What does not fit is kept in scratch. Default: the limit of the
        workers, or the memory of the machine.
    threads : int, optional
        Where there is no client; default, the cores of this process.
    scratch : path, optional
        Folder on a fast local disk. Default, the temporary folder of the system or of the worker.
    checkpoints : path, optional
        Folder that all workers reach, from which an interrupted solve resumes; emptied when the solve has ended.
    every : float
        Seconds between checkpoints.
    out : FlowSinks, optional
        Takes velocity and pressure, float32, slab by slab, where the solve converged.
    most_iterations : int
    progress : callable, optional
        Called with a `Step` after each iteration, its value the permeability in µm²; an exception that it raises ends
        the solve.

    Returns
    -------
    Permeability
        Without fields: see `out`.

    Raises
    ------
    InputError
        If the image, the axis, the labels or a number is not usable.
    DoesNotFit
        If not even a single slab fits in memory.
    ComputeError
        If workers were lost too often.

    Notes
    -----
    This process holds the coarse levels: see ``driver`` of `mgsflow.transport.stokes.distributed.plan.plan_slabs`.
    """
    check_flow(axis, voxel_size, sides, rtol, reservoirs)
    duct = flow_duct(phase, pore, axis, voxel_size, sides, reservoirs)
    order, edges, length = duct.order, duct.edges, duct.thickness[0]
    local = in_memory(phase)
    if client is not None and local:
        raise InputError("a cluster cannot reach an array in memory: give one in a zarr store, or no client")
    client = client if client is not None or local else current_client()
    resources = Resources.of(client, memory, threads)
    keep = checkpoints is not None or out is not None
    if block is not None:
        duct = replace(duct, thickness=_thickness(block, length))
    duct.slabs  # noqa: B018  # raises here, not on a worker, if they are no slabs
    chunk = max((sink.chunk[order[0]] for sink in out.sinks), default=1) if out is not None else 1
    duct, plan = plan_flow(duct, resources, keep, chunk)
    stored = None if checkpoints is None else Checkpoints(checkpoints, _key(duct), every)
    callback = scale_progress(progress, flow_scale(edges, duct.image_shape))
    parallel = resources.workers * resources.threads
    blocks = (len(duct.thickness), 1, 1)
    with closing(start_executor(client, resources, blocks, plan.budget, scratch)) as executor:
        solved = solve_in_slabs(executor, duct, rtol, most_iterations, stored, callback, out, parallel=parallel)
    if stored is not None and (solved.state is None or solved.state.status == CONVERGED):
        stored.clear()
    return _result(solved, duct)


def flow_duct(
    phase: Any,
    pore: int | Sequence[int] = 1,
    axis: str = "z",
    voxel_size: float | Sequence[float] = 1.0,
    sides: str = "no-slip",
    reservoirs: int = 0,
) -> Duct:
    """Return the volume that a flow is solved in, not yet in slabs: see `permeability_in_blocks`."""
    sizes = check_flow(axis, voxel_size, sides, 1e-3, reservoirs)
    source = pore_source(phase, pore)
    order = flow_order(axis)
    edges = (sizes[order[0]], sizes[order[1]], sizes[order[2]])
    return Duct(source, order, edges, sides, int(reservoirs), (source.shape[order[0]] + 2 * int(reservoirs),))


def _thickness(block: int | Sequence[int], length: int) -> tuple[int, ...]:
    if isinstance(block, int):
        if block < 1:
            raise InputError(f"a slab must have planes, got block={block}")
        return tuple(even_slabs(length, block))
    planes = tuple(int(n) for n in block)
    if sum(planes) != length:
        raise InputError(f"slabs of {list(planes)} planes are not the {length} along the flow, reservoirs included")
    return planes


def _key(duct: Duct) -> str:
    # a checkpoint is only a first guess: after a change of the image's content it is a bad one, but not a wrong one
    text = repr((duct.source.shape, duct.order, duct.edges, duct.sides, duct.reservoirs, duct.thickness))
    return hashlib.sha256(text.encode()).hexdigest()


def _result(solved: SlabSolution, duct: Duct) -> Permeability:
    shape: Triple = duct.image_shape
    known = known_numbers(
        solved.pores, solved.percolating, duct.order, duct.sides, duct.edges, shape, duct.reservoirs
    )  # fmt: skip
    if solved.state is None:
        size = shape[0] * shape[1] * shape[2]
        return without_flow(flow_status(solved.pores, solved.percolating, size, duct.sides), known)
    narrow = 1.0 - solved.covered / solved.percolating
    return flow_result(solved.state, duct.edges, shape, narrow, known)
