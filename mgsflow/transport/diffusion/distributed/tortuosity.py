"""Tortuosity factor of a phase in a volume that need not fit in memory, on threads or on a cluster."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import inf, lcm, nan, prod
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.blocks import Grid
from mgsflow.compute import Sink, current_client
from mgsflow.compute.supersteps.checkpoint import Checkpoints
from mgsflow.compute.supersteps.executor import Executor, ThreadExecutor
from mgsflow.compute.supersteps.subdomain import FaceNeighbours
from mgsflow.errors import InputError
from mgsflow.memory import available, cores
from mgsflow.solvers.solution import CONVERGED, Step
from mgsflow.transport.diffusion.distributed.plan import BlockPlan, plan_solve
from mgsflow.transport.diffusion.distributed.solve import BlockSolution, solve_in_blocks
from mgsflow.transport.diffusion.medium import Medium, check_axis, check_edges, check_rtol, medium_of
from mgsflow.transport.diffusion.result import NOT_PERCOLATING, NOTHING_CONDUCTS, Tortuosity


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
        Bytes of each worker process, or of this one. What does not fit is kept in scratch. Default: the limit of the
        workers, or the memory of the machine.
    threads : int, optional
        Where there is no client; default, the cores of this process.
    scratch : path, optional
        Folder on a fast local disk. Default, the temporary folder of the system or of the worker.
    checkpoints : path, optional
        Folder that all workers reach, from which a solve that was stopped goes on; emptied in the end.
    every : float
        Seconds between checkpoints.
    out, flux_out : Sink, optional
        Take the concentration and the flux density, float32, block by block, where the solve converged. Blocks are
        written at once: if `block` is given, no two must share a chunk of the sinks.
    maps : bool
        Whether to keep the maps of the flux density (see `Tortuosity.flux_map`).

    Returns
    -------
    Tortuosity
        Without the fields: see `out`.

    Raises
    ------
    InputError
        If an argument is not as said, or there are several diffusivities.
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
    place = _Place.of(client, memory, threads)
    chunk = lcm(*(n for sink in (out, flux_out) if sink is not None for n in sink.chunk))
    grid, plan = plan_solve(medium, place.workers, place.memory, place.threads, block, chunk, here=place.client is None)
    z, y, x = ((edges[number] / h) ** 2 for h in edges)
    kept = None
    if checkpoints is not None:
        kept = Checkpoints(checkpoints, _key(medium, grid, number, edges), every)
    scale = medium.shape[number] ** 2 / prod(medium.shape)
    watch = None
    if progress is not None:

        def watch(step: Step) -> None:
            progress(Step(step.iteration, step.value * scale, step.error, step.seconds))

    with closing(place.executor(grid, plan, scratch)) as executor:
        solved = solve_in_blocks(
            executor, medium, grid, number, (z, y, x), rtol, most_iterations, kept, watch, out, maps, flux_out
        )
    if kept is not None and solved.status in (CONVERGED, ""):
        kept.clear()
    solved.seconds["all"] = time.perf_counter() - begin
    return _result(solved, medium, number, edges, diffusivity, scale)


@dataclass(frozen=True)
class _Place:
    """Where a solve runs: a cluster, or the threads of this process."""

    client: Any
    workers: int
    threads: int
    memory: int | None

    @classmethod
    def of(cls, client: Any, memory: int | None, threads: int | None) -> _Place:
        if client is None:
            return cls(None, 1, cores() if threads is None else threads, available() if memory is None else memory)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        limits = [w["memory_limit"] for w in workers if w["memory_limit"]]
        most = max((w["nthreads"] for w in workers), default=1)
        return cls(client, max(1, len(workers)), most, min(limits, default=None) if memory is None else memory)

    def executor(self, grid: Grid, plan: BlockPlan, scratch: str | Path | None) -> Executor:
        neighbours = FaceNeighbours(grid.counts)
        if self.client is None:
            return ThreadExecutor(neighbours, self.threads, plan.budget, scratch)
        from mgsflow.compute.supersteps.dask_executor import DaskExecutor  # dask takes a second to load

        return DaskExecutor(self.client, neighbours, plan.budget, scratch)


def _key(medium: Medium, grid: Grid, axis: int, edges: tuple[float, float, float]) -> str:
    # what a checkpoint holds is a first guess: a change of the image's content makes it a bad one, but not a wrong one
    text = repr((medium.shape, str(medium.source.dtype), medium.diffusivities, grid.cuts, axis, edges))
    return hashlib.sha256(text.encode()).hexdigest()


def _result(
    solved: BlockSolution,
    medium: Medium,
    axis: int,
    edges: tuple[float, float, float],
    diffusivity: float,
    scale: float,
) -> Tortuosity:
    voxels = prod(medium.shape)
    fluxes = solved.plane_fluxes * scale
    if not solved.percolating:
        status, effective = NOT_PERCOLATING if solved.conducting else NOTHING_CONDUCTS, 0.0
    else:
        status, effective = solved.status, solved.energy * scale if solved.status == CONVERGED else nan
    mean = float(fluxes.mean()) or 1.0
    return Tortuosity(
        axis="zyx"[axis],
        status=status,
        tortuosity_factor=solved.conducting / voxels / effective if effective else inf,
        tortuosity_factor_percolating=solved.percolating / voxels / effective if effective else inf,
        effective_diffusivity=effective,
        formation_factor=1 / effective if effective else inf,
        volume_fraction=solved.conducting / voxels,
        percolating_fraction=solved.percolating / max(1, solved.conducting),
        reference_diffusivity=diffusivity,
        error_estimate=solved.error_estimate,
        flux_spread=float(np.ptp(fluxes)) / mean,
        flux_imbalance=abs(float(fluxes[0] - fluxes[-1])) / mean,
        iterations=solved.iterations,
        history=tuple(Step(s.iteration, s.value * scale, s.error, s.seconds) for s in solved.history),
        plane_fluxes=fluxes,
        voxel_size=edges,
        shape=medium.shape,
        seconds=solved.seconds,
        flux_maps=solved.maps,
    )
