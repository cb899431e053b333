"""Tortuosity factor of a phase image: in memory where it fits, else block by block, or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan, prod
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.blocks import Box
from mgsflow.compute import Sink
from mgsflow.errors import InputError
from mgsflow.memory import USABLE, available
from mgsflow.solvers.solution import CONVERGED, Step, scale_progress
from mgsflow.solvers.team import Team, default_threads
from mgsflow.transport.diffusion.distributed.tortuosity import tortuosity_factor_in_blocks
from mgsflow.transport.diffusion.flux_maps import FluxMaps, seen, write_fields
from mgsflow.transport.diffusion.graph import GraphDiffusion, find_percolating
from mgsflow.transport.diffusion.medium import (
    Medium,
    check_axis,
    check_edges,
    check_rtol,
    check_sides,
    face_conductances,
    medium_of,
    packed_voxels,
)
from mgsflow.transport.diffusion.packed import DOUBLE, PackedDiffusion
from mgsflow.transport.diffusion.profile import field_profile
from mgsflow.transport.diffusion.result import NOT_PERCOLATING, NOTHING_CONDUCTS, Tortuosity
from mgsflow.transport.percolation import keep_percolating

#: Ratio of conductances along the axes up to which boxes of 2×2×2 voxels are good aggregates.
_MOST_UNLIKE = 4.5


def tortuosity_factor(
    phase: Any,
    conductivity: Mapping[int, float] | None = None,
    axis: str = "z",
    voxel_size: float | Sequence[float] = 1.0,
    rtol: float = 1e-3,
    sides: str = "no-flux",
    field: bool = False,
    maps: bool = False,
    out: Sink | None = None,
    flux_out: Sink | None = None,
    threads: int | None = None,
    most_iterations: int = 200,
    progress: Callable[[Step], None] | None = None,
    client: Any = None,
    memory: int | None = None,
    scratch: str | Path | None = None,
    checkpoints: str | Path | None = None,
) -> Tortuosity:
    """Return the tortuosity factor τ = ε D₀ / D_eff of a phase along an axis.

    Solves ∇·(D ∇c) = 0 on the voxels, with c = 1 on the first and c = 0 on the last face along the axis, by 7-point
    finite volumes: the conductance of a face is the harmonic mean of the two voxels', an end face lies half a voxel
    from the centre. A uniform block therefore has τ = 1, and layers and columns of phases are exact.

    Parameters
    ----------
    phase : ndarray, zarr array or DataArray, shape (z, y, x)
        Labels (integers or booleans), or the diffusivity of each voxel (floating point, 0 where nothing diffuses).
    conductivity : dict of int to float, optional
        Diffusivity, or conductivity, by label; others do not conduct. Only ratios matter. Default ``{1: 1.0}``.
    axis : {"z", "y", "x"}
        Direction of the flow.
    voxel_size : float or sequence of float
        Edge of a voxel, or edges along (z, y, x). For one edge, τ does not depend on it.
    rtol : float
        Relative error of D_eff that is allowed to the solver, at least 1e-12.
    sides : {"no-flux", "periodic"}
        What happens on the four sides along the flow.
    field : bool
        Whether to keep the concentration, the flux density (4 bytes a voxel each) and the profile along the axis.
    maps : bool
        Whether to keep the maps of the flux density (see `Tortuosity.flux_map`) without the fields.
    out, flux_out : Sink, optional
        Take the concentration and the flux density, float32, box by box, where the solve converged.
    threads : int, optional
        Default: the cores of the machine, at most 8. The result does not depend on it.
    most_iterations : int
        Iterations after which the solve is given up as not converged.
    progress : callable, optional
        Called with a `Step`, the effective diffusivity and its estimated error, after each iteration; an exception that
        it raises ends the solve.
    client : distributed.Client, optional
        Solve in blocks on its workers, which must reach the image: a zarr array in a folder, or a `Source`.
    memory : int, optional
        Bytes that this process may use, or each worker. Default: those of the machine, the limit of the workers.
    scratch, checkpoints : path, optional
        Folders for a solve in blocks: for what does not fit in memory, and for what a solve that was stopped goes on
        from; see `mgsflow.transport.diffusion.distributed.tortuosity.tortuosity_factor_in_blocks`.

    Returns
    -------
    Tortuosity
        The numbers and what certifies them; see there for what a status means.

    Raises
    ------
    InputError
        If an argument is not as said, or is not to be had in blocks: several diffusivities, periodic sides, an `rtol`
        below 1e-6, `field`.
    DoesNotFit
        If not even a single block fits in memory.
    ComputeError
        If workers were lost too often.

    Notes
    -----
    For one diffusivity, no-flux sides and voxels not too far from cubes, the solver works on packed voxels in single
    precision (double below an rtol of 2e-5): about 45 bytes a conducting voxel at a porosity of 0.3, 70 at 0.16, beside
    the labels. Else it works on a graph of the conducting voxels in double precision: about 200 bytes a voxel, and six
    times the time.

    Where the first of the two does not fit in `memory`, or a client is given, the same equations are solved block by
    block, with what does not fit in scratch on disk: the same answer to `rtol`, in about three times the time.

    References
    ----------
    Cooper, S. J. et al. (2016). TauFactor. SoftwareX 5, 203-210. doi:10.1016/j.softx.2016.09.002
    """
    begin = time.perf_counter()
    medium = medium_of(phase, conductivity)
    number = check_axis(axis)
    edges = check_edges(voxel_size)
    check_sides(sides)
    check_rtol(rtol, "1e-12")
    if most_iterations < 0:
        raise InputError(f"most_iterations must be at least 0, got {most_iterations}")
    conductance = face_conductances(edges, number)
    alike = max(conductance) <= _MOST_UNLIKE * min(conductance)

    def in_blocks() -> Tortuosity:
        if sides != "no-flux":
            raise InputError("diffusion is solved in blocks, or on a cluster, with no-flux sides only")
        if field:
            raise InputError(
                "a solve in blocks returns no field: give out and flux_out, sinks that take it block by block"
            )
        return tortuosity_factor_in_blocks(
            phase, conductivity, axis, voxel_size, rtol, client=client, memory=memory, threads=threads,
            scratch=scratch, checkpoints=checkpoints, out=out, flux_out=flux_out, maps=maps,
            most_iterations=most_iterations, progress=progress,
        )  # fmt: skip

    if client is not None:
        return in_blocks()
    with Team(default_threads() if threads is None else threads) as team:
        one = medium.single()
        fields = _Fields(field, maps, out, flux_out)
        job = _Job(medium, number, edges, conductance, rtol, most_iterations, progress, fields, begin)
        if one is None or not alike or not (sides == "no-flux" or one == 0):
            return job.graph(sides == "periodic", team)
        room = int(USABLE * (available() if memory is None else memory))
        voxels = prod(medium.shape)
        if packed_bytes(voxels, 0, rtol) <= room:
            boxes = medium.packed(team)
            # only now is it known how many voxels conduct
            if packed_bytes(voxels, packed_voxels(boxes, team), rtol) <= room:
                return job.packed(boxes, one, team)
            del boxes
    return in_blocks()


def packed_bytes(voxels: int, conducting: int, rtol: float) -> int:
    """Return the most bytes that a solve on packed voxels takes beside the image.

    Measured at 200³, fields of pores of porosity 0.08 to 1 and uncorrelated noise: 9 to 22 bytes a voxel in single
    precision, 16 to 30 in double.

    Parameters
    ----------
    voxels : int
        Of the image.
    conducting : int
        Those that conduct.
    rtol : float
    """
    each, most = (10, 28) if rtol >= DOUBLE else (17, 36)
    return min(each * voxels + 35 * conducting, most * voxels)


@dataclass(frozen=True)
class _Fields:
    """What is wanted of the solution beside numbers."""

    kept: bool
    maps: bool
    out: Sink | None
    flux_out: Sink | None

    @property
    def any(self) -> bool:
        return self.kept or self.maps or self.out is not None or self.flux_out is not None


class _Job:
    """A tortuosity to be found, whatever the solver."""

    def __init__(
        self,
        medium: Medium,
        axis: int,
        edges: tuple[float, float, float],
        conductance: tuple[float, float, float],
        rtol: float,
        most: int,
        progress: Callable[[Step], None] | None,
        fields: _Fields,
        begin: float,
    ) -> None:
        self.medium, self.axis, self.edges, self.conductance = medium, axis, edges, conductance
        self.rtol, self.most, self.progress, self.fields = rtol, most, progress, fields
        shape = medium.shape
        self.voxels = shape[0] * shape[1] * shape[2]
        # flux per unit conductance of a face, to effective diffusivity
        self.scale = shape[axis] / (self.voxels // shape[axis])
        self.begin = begin

    def packed(self, boxes: np.ndarray, diffusivity: float, team: Team) -> Tortuosity:
        read = time.perf_counter()
        found = keep_percolating(boxes, self.axis, self.medium.shape[self.axis], team)
        seconds = {"reading": read - self.begin, "percolation": time.perf_counter() - read}
        total, part = float(found.conducting), float(found.percolating)
        if not part:
            return self._without(found.conducting, diffusivity, seconds)
        kind = np.float32 if self.rtol >= DOUBLE else np.float64
        solver = PackedDiffusion(boxes, self.medium.shape, self.axis, self.conductance, kind, team)
        solved = solver.solve(self.rtol, self.most, scale_progress(self.progress, self.scale))
        seconds |= solved.seconds
        if self.fields.any:
            solver.rest()
        return self._result(
            solved.status,
            solved.energy * self.scale,
            total,
            part,
            (total / self.voxels, part / self.voxels),
            diffusivity,
            solved.error_estimate,
            solved.history,
            solved.plane_fluxes * self.scale,
            seconds,
            solver.concentration if self.fields.any else None,
            None,
        )

    def graph(self, periodic: bool, team: Team) -> Tortuosity:
        diffusivity = self.medium.diffusivity()
        read = time.perf_counter()
        found = find_percolating(diffusivity > 0, self.axis, periodic)
        seconds = {"reading": read - self.begin, "percolation": time.perf_counter() - read}
        largest = float(diffusivity.max())
        if not found.percolating:
            return self._without(found.conducting, largest, seconds)
        diffusivity /= largest
        means = (float(diffusivity.sum()) / self.voxels, float(diffusivity[found.kept].sum()) / self.voxels)
        solver = GraphDiffusion(diffusivity, found.kept, self.axis, self.conductance, periodic, team)
        solved = solver.solve(self.rtol, self.most, scale_progress(self.progress, self.scale))
        seconds |= solver.seconds
        return self._result(
            solved.status,
            solved.value * self.scale,
            float(found.conducting),
            float(found.percolating),
            means,
            largest,
            solved.error_estimate,
            solved.history,
            solver.plane_fluxes() * self.scale,
            seconds,
            solver.concentration if self.fields.any else None,
            diffusivity,
        )

    def _without(self, conducting: int, diffusivity: float, seconds: dict[str, float]) -> Tortuosity:
        planes = self.medium.shape[self.axis] + 1
        return Tortuosity(
            axis="zyx"[self.axis],
            status=NOT_PERCOLATING if conducting else NOTHING_CONDUCTS,
            tortuosity_factor=inf,
            tortuosity_factor_percolating=inf,
            effective_diffusivity=0.0,
            formation_factor=inf,
            volume_fraction=conducting / self.voxels,
            percolating_fraction=0.0,
            reference_diffusivity=diffusivity,
            error_estimate=0.0,
            flux_spread=0.0,
            flux_imbalance=0.0,
            iterations=0,
            history=(),
            plane_fluxes=np.zeros(planes),
            voxel_size=self.edges,
            shape=self.medium.shape,
            seconds=seconds,
            concentration=np.full(self.medium.shape, nan, np.float32) if self.fields.kept else None,
            flux_maps=FluxMaps(self.medium.shape).means() if self.fields.maps else None,
        )

    def _result(
        self,
        status: str,
        effective: float,
        conducting: float,
        percolating: float,
        means: tuple[float, float],
        diffusivity: float,
        error: float,
        history: tuple[Step, ...],
        fluxes: np.ndarray,
        seconds: dict[str, float],
        concentration: Callable[[], np.ndarray] | None,
        local: np.ndarray | None,
    ) -> Tortuosity:
        reached = status == CONVERGED
        fields = self._found(concentration(), local) if concentration is not None and reached else {}
        effective = effective if reached else nan
        mean = float(fluxes.mean())
        return Tortuosity(
            axis="zyx"[self.axis],
            status=status,
            tortuosity_factor=means[0] / effective,
            tortuosity_factor_percolating=means[1] / effective,
            effective_diffusivity=effective,
            formation_factor=1 / effective,
            volume_fraction=conducting / self.voxels,
            percolating_fraction=percolating / conducting,
            reference_diffusivity=diffusivity,
            error_estimate=error,
            flux_spread=float(fluxes.max() - fluxes.min()) / mean,
            flux_imbalance=abs(float(fluxes[0] - fluxes[-1])) / mean,
            iterations=history[-1].iteration,
            history=tuple(step.scaled(self.scale) for step in history),
            plane_fluxes=fluxes,
            voxel_size=self.edges,
            shape=self.medium.shape,
            seconds=seconds,
            **fields,
        )

    def _found(self, c: np.ndarray, local: np.ndarray | None) -> dict[str, Any]:
        wanted = self.fields
        found: dict[str, Any] = {}
        if wanted.kept or local is not None:
            density, diffusivities, means_along = field_profile(c, local, self.axis)
            found = {"concentration": c, "flux_density": density}
            found |= {"plane_diffusivity": diffusivities, "plane_concentration": means_along}
        if local is None and not wanted.kept:
            found["flux_maps"] = write_fields(c, self.axis, wanted.out, wanted.flux_out)
            return found
        for field, sink in ((c, wanted.out), (density, wanted.flux_out)):
            if sink is not None:
                sink.write(Box.of(self.medium.shape), field)
        if wanted.maps:
            maps = FluxMaps(self.medium.shape)
            maps.add(Box.of(self.medium.shape), seen(density))
            found["flux_maps"] = maps.means()
        return found if wanted.kept else {k: v for k, v in found.items() if k == "flux_maps"}
