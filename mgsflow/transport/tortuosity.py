"""Tortuosity factor of a phase image: solved in memory where it fits, else block by block, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan, prod
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.blocks import Box
from mgsflow.compute import Sink
from mgsflow.errors import InputError
from mgsflow.memory import USABLE, available
from mgsflow.solvers.solution import CONVERGED, Step, scale_progress
from mgsflow.solvers.stopwatch import Stopwatch
from mgsflow.solvers.team import Team, default_threads
from mgsflow.transport.diffusion.distributed.tortuosity import tortuosity_factor_in_blocks
from mgsflow.transport.diffusion.flux_maps import FieldRequest, FluxMaps, flux_sums, write_fields
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
from mgsflow.transport.diffusion.result import Tortuosity, flux_scale, tortuosity_of
from mgsflow.transport.diffusion.solution import FluxSolution
from mgsflow.transport.percolation import keep_percolating

#: Largest ratio of conductances along the axes for which boxes of 2×2×2 voxels are good aggregates.
_MAX_ANISOTROPY = 4.5


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
    finite volumes: the diffusivity of a face is the harmonic mean of those of its two voxels, and the Dirichlet faces
    are half a voxel from the centres. Then D_eff = (L / A) ∫ D ∂c/∂x dA over any cross-section A of a volume of length
    L. A uniform block therefore has τ = 1, and layers and columns of phases are exact.

    Parameters
    ----------
    phase : ndarray, zarr array or DataArray, shape (z, y, x)
        Labels (integers or booleans), or the diffusivity of each voxel (floating point, 0 where there is no diffusion).
    conductivity : dict of int to float, optional
        Diffusivity, or conductivity, by label; others do not conduct. Only ratios matter. Default ``{1: 1.0}``.
    axis : {"z", "y", "x"}
        Direction of the flow.
    voxel_size : float or sequence of float
        Edge of a voxel, or edges along (z, y, x), in µm for coordinates of the results; τ depends on ratios only.
    rtol : float
        Tolerance of the solver: relative error of D_eff, at least 1e-12.
    sides : {"no-flux", "periodic"}
        Boundary condition on the four sides along the flow.
    field : bool
        Whether to keep the concentration, the flux density (4 bytes a voxel each) and the profile along the axis.
    maps : bool
        Whether to keep the maps of the flux density (see `Tortuosity.flux_map`) even if not the fields.
    out, flux_out : Sink, optional
        Take the concentration and the flux density, float32, box by box, where the solve converged.
    threads : int, optional
        Default: the cores of the machine, at most 8. The result does not depend on it.
    most_iterations : int
        Iterations after which the solve ends as not converged.
    progress : callable, optional
        Called after each iteration with a `Step`: D_eff / D₀ and its estimated error; an exception that it raises ends
        the solve.
    client : distributed.Client, optional
        Solve in blocks on its workers, which must reach the image: a zarr array in a folder, or a `Source`.
    memory : int, optional
        Bytes that this process, or each worker, may use. Default: the machine's memory, or the limit of the workers.
    scratch, checkpoints : path, optional
        Folders for a solve in blocks: for arrays that do not fit in memory, and for checkpoints from which an
        interrupted solve resumes; see `mgsflow.transport.diffusion.distributed.tortuosity.tortuosity_factor_in_blocks`.

    Returns
    -------
    Tortuosity
        The numbers, dimensionless, and their certificate; see there for the meaning of each status.

    Raises
    ------
    InputError
        If an argument is invalid, or not available for a solve in blocks: several diffusivities, periodic sides, an
        `rtol` below 1e-6, `field`.
    DoesNotFit
        If not even a single block fits in memory.
    ComputeError
        If workers were lost too often.

    Notes
    -----
    For one diffusivity, no-flux sides and nearly cubic voxels, the solver works on packed voxels in single precision
    (double for an rtol below 2e-5): about 45 bytes per conducting voxel at a porosity of 0.3, 70 at 0.16, beside the
    labels. Otherwise it works on a graph of the conducting voxels in double precision: about 200 bytes per voxel, and
    six times the time.

    Where packed voxels do not fit in `memory`, or a client is given, the same equations are solved block by block, with
    the arrays that do not fit in scratch files: the same answer to `rtol`, in about three times the time.

    References
    ----------
    Cooper, S. J. et al. (2016). TauFactor. SoftwareX 5, 203-210. doi:10.1016/j.softx.2016.09.002

    Tjaden, B. et al. (2016). On the origin and application of the Bruggeman correlation for analysing transport
    phenomena in electrochemical systems. Curr. Opin. Chem. Eng. 12, 44-51. doi:10.1016/j.coche.2016.02.006

    Examples
    --------
    Straight slits along z and x, half of the volume: no detour along them, no way across.

    >>> import numpy as np
    >>> from mgsflow import tortuosity_factor
    >>> phases = np.zeros((12, 12, 12), np.uint8)
    >>> phases[:, ::2] = 1
    >>> along = tortuosity_factor(phases, axis="z", rtol=1e-6)
    >>> along.status, round(along.tortuosity_factor, 4), round(along.effective_diffusivity, 4)
    ('converged', 1.0, 0.5)
    >>> tortuosity_factor(phases, axis="y").status
    'not percolating'

    Solids that conduct a tenth as well, in layers across the flow: resistances in series.

    >>> across = tortuosity_factor(phases, {1: 1.0, 0: 0.1}, axis="y", rtol=1e-6)
    >>> round(across.effective_diffusivity, 4)
    0.1818
    """
    medium = medium_of(phase, conductivity)
    number = check_axis(axis)
    edges = check_edges(voxel_size)
    check_sides(sides)
    check_rtol(rtol, "1e-12")
    if most_iterations < 0:
        raise InputError(f"most_iterations must be at least 0, got {most_iterations}")
    conductance = face_conductances(edges, number)
    cubes = max(conductance) <= _MAX_ANISOTROPY * min(conductance)

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
        single = medium.single()
        fields = FieldRequest(field, maps, out, flux_out)
        problem = _Problem(medium, number, edges, rtol, most_iterations, progress, fields, Stopwatch())
        if single is None or not cubes or not (sides == "no-flux" or single == 0):
            return problem.solve_on_graph(sides == "periodic", team)
        usable = int(USABLE * (available() if memory is None else memory))
        voxels = prod(medium.shape)
        if packed_bytes(voxels, 0, rtol) <= usable:
            boxes = medium.packed(team)
            # the number of conducting voxels is known from here on
            if packed_bytes(voxels, packed_voxels(boxes, team), rtol) <= usable:
                return problem.solve_packed(boxes, single, team)
            del boxes
    return in_blocks()


def packed_bytes(voxels: int, conducting: int, rtol: float) -> int:
    """Return an upper bound of the bytes that a solve on packed voxels takes beside the image.

    Measured at 200³, fields of pores of porosity 0.08 to 1 and uncorrelated noise: 9 to 22 bytes a voxel in single
    precision, 16 to 30 in double.

    Parameters
    ----------
    voxels : int
        Number of voxels of the image.
    conducting : int
        Number of voxels that conduct.
    rtol : float
    """
    base, limit = (10, 28) if rtol >= DOUBLE else (17, 36)
    return min(base * voxels + 35 * conducting, limit * voxels)


@dataclass(frozen=True)
class _Problem:
    """A solve in memory, by either of two solvers."""

    medium: Medium
    axis: int
    edges: tuple[float, float, float]
    rtol: float
    max_iterations: int
    progress: Callable[[Step], None] | None
    fields: FieldRequest
    stopwatch: Stopwatch

    def solve_packed(self, boxes: np.ndarray, diffusivity: float, team: Team) -> Tortuosity:
        shape = self.medium.shape
        self.stopwatch.lap("reading")
        found = keep_percolating(boxes, self.axis, shape[self.axis], team)
        self.stopwatch.lap("percolation")
        voxels = (found.conducting, found.percolating)
        if not found.percolating:
            return self._result(None, voxels, diffusivity)
        dtype = np.float32 if self.rtol >= DOUBLE else np.float64
        solver = PackedDiffusion(boxes, shape, self.axis, face_conductances(self.edges, self.axis), dtype, team)
        solved = solver.solve(self.rtol, self.max_iterations, self._scaled_progress())
        if not self.fields.any or solved.status != CONVERGED:
            return self._result(solved, voxels, diffusivity)
        solver.release()
        return self._result(solved, voxels, diffusivity, **self._fields(solver.concentration(), None))

    def solve_on_graph(self, periodic: bool, team: Team) -> Tortuosity:
        diffusivity = self.medium.diffusivity()
        self.stopwatch.lap("reading")
        found = find_percolating(diffusivity > 0, self.axis, periodic)
        self.stopwatch.lap("percolation")
        largest = float(diffusivity.max())
        voxels = (found.conducting, found.percolating)
        if not found.percolating:
            return self._result(None, voxels, largest)
        diffusivity /= largest
        means = (float(diffusivity.sum()) / diffusivity.size, float(diffusivity[found.kept].sum()) / diffusivity.size)
        conductance = face_conductances(self.edges, self.axis)
        solver = GraphDiffusion(diffusivity, found.kept, self.axis, conductance, periodic, team)
        solved = solver.solve(self.rtol, self.max_iterations, self._scaled_progress())
        wanted = self.fields.any and solved.status == CONVERGED
        fields = self._fields(solver.concentration(), diffusivity) if wanted else {}
        return self._result(solved, voxels, largest, means, **fields)

    def _scaled_progress(self) -> Callable[[Step], None] | None:
        return scale_progress(self.progress, flux_scale(self.medium.shape, self.axis))

    def _result(
        self,
        solved: FluxSolution | None,
        voxels: tuple[int, int],
        reference: float,
        means: tuple[float, float] | None = None,
        **fields: Any,
    ) -> Tortuosity:
        shape, seconds = self.medium.shape, self.stopwatch.seconds
        if solved is None:
            if self.fields.keep:
                fields["concentration"] = np.full(shape, nan, np.float32)
            if self.fields.maps:
                fields["flux_maps"] = FluxMaps(shape).means()
        else:
            seconds = seconds | solved.seconds
        return tortuosity_of(solved, shape, self.axis, self.edges, voxels, reference, seconds, means, **fields)

    def _fields(self, concentration: np.ndarray, diffusivity: np.ndarray | None) -> dict[str, Any]:
        """Store the fields that are asked for, and return those to keep; a diffusivity of None is 1 everywhere."""
        wanted, box = self.fields, Box.of(self.medium.shape)
        if diffusivity is None and not wanted.keep:
            return {"flux_maps": write_fields(concentration, self.axis, wanted.out, wanted.flux_out)}
        density, plane_diffusivity, plane_concentration = field_profile(concentration, diffusivity, self.axis)
        for values, sink in ((concentration, wanted.out), (density, wanted.flux_out)):
            if sink is not None:
                sink.write(box, values)
        kept: dict[str, Any] = {}
        if wanted.keep:
            kept = {"concentration": concentration, "flux_density": density}
            kept |= {"plane_diffusivity": plane_diffusivity, "plane_concentration": plane_concentration}
        if wanted.maps:
            maps = FluxMaps(self.medium.shape)
            maps.add(box, flux_sums(density))
            kept["flux_maps"] = maps.means()
        return kept
