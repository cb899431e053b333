"""Tortuosity factor of a phase in a volume that need not fit in memory, on threads or on a cluster."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from math import lcm
from pathlib import Path
from typing import Any

from mgsflow.blocks import Grid
from mgsflow.compute import Sink, current_client
from mgsflow.compute.supersteps.checkpoint import Checkpoints
from mgsflow.errors import InputError
from mgsflow.solvers.solution import CONVERGED, Step, scale_progress
from mgsflow.transport.diffusion.distributed.plan import plan_solve
from mgsflow.transport.diffusion.distributed.solve import solve_in_blocks
from mgsflow.transport.diffusion.flux_maps import FieldRequest
from mgsflow.transport.diffusion.medium import Medium, check_axis, check_edges, check_rtol, face_conductances, medium_of
from mgsflow.transport.diffusion.result import Tortuosity, flux_scale, tortuosity_of
from mgsflow.transport.resources import Resources, start_executor


def tortuosity_factor_in_blocks(
    phase: Any,
    conductivity: Mapping[int, float] | None = None,
    axis: str = "z",
    voxel_size: float | Sequence[float] = 1.0,
    rtol: float = 1e-3,
    block: int | Sequence[int] | None = None,
    client: Any = None,
    memory: int | None = None,
    threads: int | None = None,
    scratch: str | Path | None = None,
    checkpoints: str | Path | None = None,
    every: float = 60.0,
    out: Sink | None = None,
    flux_out: Sink | None = None,
    maps: bool = False,
    most_iterations: int = 200,
    progress: Callable[[Step], None] | None = None,
) -> Tortuosity:
    """Return the tortuosity factor τ = ε D₀ / D_eff of a phase, solved block by block.

    The equations, and the result to `rtol`, are those of `mgsflow.transport.tortuosity.tortuosity_factor`, for one
    diffusivity and no-flux sides.

    Parameters
    ----------
    phase, conductivity, axis, voxel_size, rtol, most_iterations, progress
        As there; `rtol` at least 1e-6.
    block : int or sequence of int, optional
        Edge of a block in voxels. Default: see `mgsflow.transport.diffusion.distributed.plan.choose_block`.
    client : distributed.Client, optional
        Default: the current client, if the caller has one; otherwise threads of this process.
    memory : int, optional
        Bytes of each worker process, or of this one. Arrays that do not fit are kept in scratch files. Default: the
        limit of the workers, or the memory of the machine.
    threads : int, optional
        Without a client. Default: the cores of this process.
    scratch : path, optional
        Folder on a fast local disk. Default, the temporary folder of the system or of the worker.
    checkpoints : path, optional
        Folder that all workers reach, from which an interrupted solve resumes; emptied when the solve has ended.
    every : float
        Seconds between checkpoints.
    out, flux_out : Sink, optional
        Take the concentration and the flux density, float32, block by block, where the solve converged. Blocks are
        written concurrently: if `block` is given, no two must share a chunk of the sinks.
    maps : bool
        Whether to keep the maps of the flux density (see `Tortuosity.flux_map`).

    Returns
    -------
    Tortuosity
        Without the fields: see `out`.

    Raises
    ------
    InputError
        If an argument is invalid, or there are several diffusivities.
    DoesNotFit
        If not even a single block fits in memory.
    ComputeError
        If workers were lost too often.
    """
    begin = time.perf_counter()
    medium = medium_of(phase, conductivity)
    number = check_axis(axis)
    edges = check_edges(voxel_size)
    check_rtol(rtol, "1e-6")
    diffusivity = medium.single()
    if diffusivity is None:
        raise InputError("diffusion is solved in blocks for one diffusivity only: give one conducting phase at a time")
    client = client if client is not None else current_client()
    resources = Resources.of(client, memory, threads)
    chunk = lcm(*(n for sink in (out, flux_out) if sink is not None for n in sink.chunk))
    grid, plan = plan_solve(medium, resources, block, chunk)
    stored = None
    if checkpoints is not None:
        stored = Checkpoints(checkpoints, _key(medium, grid, number, edges), every)
    callback = scale_progress(progress, flux_scale(medium.shape, number))
    fields = FieldRequest(maps=maps, out=out, flux_out=flux_out)
    conductance = face_conductances(edges, number)
    with closing(start_executor(client, resources, grid.counts, plan.budget, scratch)) as executor:
        solved = solve_in_blocks(
            executor, medium, grid, number, conductance, rtol, most_iterations, stored, callback, fields
        )
    if stored is not None and solved.status in (CONVERGED, ""):
        stored.clear()
    seconds = solved.seconds | {"all": time.perf_counter() - begin}
    voxels = (solved.conducting, solved.percolating)
    found = solved if solved.percolating else None
    return tortuosity_of(found, medium.shape, number, edges, voxels, diffusivity, seconds, flux_maps=solved.maps)


def _key(medium: Medium, grid: Grid, axis: int, edges: tuple[float, float, float]) -> str:
    # a checkpoint is only a first guess: after a change of the image's content it is a bad one, but not a wrong one
    text = repr((medium.shape, str(medium.source.dtype), medium.diffusivities, grid.cuts, axis, edges))
    return hashlib.sha256(text.encode()).hexdigest()
