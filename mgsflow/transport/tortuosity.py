"""Tortuosity factor of a phase image that is at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import inf, nan
from typing import Any

import numpy as np

from mgsflow.errors import InputError
from mgsflow.solvers.solution import CONVERGED, Step
from mgsflow.solvers.team import Team, default_threads
from mgsflow.transport.diffusion_graph import GraphDiffusion, find_percolating
from mgsflow.transport.diffusion_input import Medium, check_axis, check_edges, check_rtol, check_sides, medium_of
from mgsflow.transport.diffusion_packed import DOUBLE, PackedDiffusion
from mgsflow.transport.diffusion_profile import field_profile
from mgsflow.transport.percolation import keep_percolating
from mgsflow.transport.tortuosity_result import NOT_PERCOLATING, NOTHING_CONDUCTS, Tortuosity

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
    threads: int | None = None,
    most_iterations: int = 200,
    progress: Callable[[Step], None] | None = None,
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
    threads : int, optional
        Default: the cores of the machine, at most 8. The result does not depend on it.
    most_iterations : int
        Iterations after which the solve is given up as not converged.
    progress : callable, optional
        Called with a `Step`, the effective diffusivity and its estimated error, after each iteration; an exception that
        it raises ends the solve.

    Returns
    -------
    Tortuosity
        The numbers and what certifies them; see there for what a status means.

    Raises
    ------
    InputError
        If an argument is not as said.

    Notes
    -----
    For one diffusivity, no-flux sides and voxels not too far from cubes, the solver works on packed voxels in single
    precision (double below an rtol of 2e-5): about 40 bytes a conducting voxel at a porosity of 0.3, 65 at 0.16, beside
    the labels. Else it works on a graph of the conducting voxels in double precision: about 200 bytes a voxel, and six
    times the time.

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
    conductance = _conductance(edges, number)
    with Team(default_threads() if threads is None else threads) as team:
        one = medium.single()
        job = _Job(medium, number, edges, conductance, rtol, most_iterations, progress, field, begin)
        alike = max(conductance) <= _MOST_UNLIKE * min(conductance)
        if one is not None and alike and (sides == "no-flux" or one == 0):
            return job.packed(one, team)
        return job.graph(sides == "periodic", team)


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
        field: bool,
        begin: float,
    ) -> None:
        self.medium, self.axis, self.edges, self.conductance = medium, axis, edges, conductance
        self.rtol, self.most, self.progress, self.field = rtol, most, progress, field
        shape = medium.shape
        self.voxels = shape[0] * shape[1] * shape[2]
        # flux per unit conductance of a face, to effective diffusivity
        self.scale = shape[axis] / (self.voxels // shape[axis])
        self.begin = begin

    def packed(self, diffusivity: float, team: Team) -> Tortuosity:
        boxes = self.medium.packed(team)
        read = time.perf_counter()
        found = keep_percolating(boxes, self.axis, self.medium.shape[self.axis], team)
        seconds = {"reading": read - self.begin, "percolation": time.perf_counter() - read}
        total, part = float(found.conducting), float(found.percolating)
        if not part:
            return self._without(found.conducting, diffusivity, seconds)
        kind = np.float32 if self.rtol >= DOUBLE else np.float64
        solver = PackedDiffusion(boxes, self.medium.shape, self.axis, self.conductance, kind, team)
        solved = solver.solve(self.rtol, self.most, self._watch(self.scale))
        seconds |= solved.seconds
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
            solver.concentration if self.field else None,
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
        solved = solver.solve(self.rtol, self.most, self._watch(self.scale))
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
            solver.concentration if self.field else None,
            diffusivity,
        )

    def _watch(self, scale: float) -> Callable[[Step], None] | None:
        progress = self.progress
        if progress is None:
            return None
        return lambda step: progress(Step(step.iteration, step.value * scale, step.error, step.seconds))

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
            concentration=np.full(self.medium.shape, nan, np.float32) if self.field else None,
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
        fields: dict[str, np.ndarray] = {}
        if concentration is not None and reached:
            c = concentration()
            density, diffusivities, means_along = field_profile(c, local, self.axis)
            fields = {"concentration": c, "flux_density": density}
            fields |= {"plane_diffusivity": diffusivities, "plane_concentration": means_along}
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
            history=tuple(Step(s.iteration, s.value * self.scale, s.error, s.seconds) for s in history),
            plane_fluxes=fluxes,
            voxel_size=self.edges,
            shape=self.medium.shape,
            seconds=seconds,
            **fields,
        )


def _conductance(edges: tuple[float, float, float], axis: int) -> tuple[float, float, float]:
    """Return the conductance of a face between voxels along each axis, over that along `axis`."""
    z, y, x = ((edges[axis] / h) ** 2 for h in edges)
    return z, y, x
