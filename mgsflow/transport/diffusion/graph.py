"""Diffusion through voxels of any diffusivity: several phases, any contrast and shape of voxel, periodic sides.

The equation is assembled on the graph of the percolating voxels, in double precision, and solved by flexible conjugate
gradients with multigrid whose aggregates follow the strong links.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mgsflow.solvers.aggregation import Hierarchy
from mgsflow.solvers.conjugate_gradients import minimise_energy
from mgsflow.solvers.graph import FIELD, Y_SHIFT, Z_SHIFT, Graph
from mgsflow.solvers.solution import Step
from mgsflow.solvers.stopwatch import Stopwatch
from mgsflow.solvers.team import Team
from mgsflow.transport.diffusion import graph_kernel as voxels
from mgsflow.transport.diffusion.solution import FluxSolution

#: Only links of at least this share of the largest conductance at either of their ends form aggregates.
STRENGTH = 0.25


@dataclass(frozen=True)
class VoxelParts:
    """Voxels that conduct, and voxels that percolate.

    Attributes
    ----------
    conducting, percolating : int
        Number of voxels.
    kept : ndarray of bool, shape (z, y, x)
        Voxels that percolate: face-connected to both ends.
    """

    conducting: int
    percolating: int
    kept: np.ndarray


def find_percolating(conducts: np.ndarray, axis: int, periodic: bool) -> VoxelParts:
    """Find the voxels that face neighbours, across periodic sides too, connect to both ends along an axis."""
    parent = _label(conducts, axis, periodic)
    inlet, outlet = _labels_at(parent, conducts, axis, 0), _labels_at(parent, conducts, axis, -1)
    kept = _with_labels(parent, conducts, np.intersect1d(inlet, outlet))
    conducting, percolating = int(np.count_nonzero(conducts)), int(np.count_nonzero(kept))
    return VoxelParts(conducting, percolating, kept)


def find_reached(conducts: np.ndarray, axis: int, periodic: bool) -> np.ndarray:
    """Return which voxels face neighbours connect to the first plane along an axis."""
    parent = _label(conducts, axis, periodic)
    return _with_labels(parent, conducts, _labels_at(parent, conducts, axis, 0))


def _label(conducts: np.ndarray, axis: int, periodic: bool) -> np.ndarray:
    """Return the label of each voxel's face-connected part, shape (z, y, x): the index of its first voxel."""
    parent = np.empty(conducts.size, np.int32 if conducts.size < 2**31 else np.int64)
    voxels.voxel_parts(conducts, periodic_axes(axis, periodic), parent)
    return parent.reshape(conducts.shape)


def _labels_at(labels: np.ndarray, conducts: np.ndarray, axis: int, plane: int) -> np.ndarray:
    """Return the labels of the conducting voxels of a plane."""
    there: np.ndarray = np.take(labels, plane, axis)[np.take(conducts, plane, axis)]
    return there


def _with_labels(labels: np.ndarray, conducts: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return which conducting voxels have one of the labels."""
    table = np.zeros(labels.size, np.bool_)
    table[chosen] = True
    kept: np.ndarray = table[labels]
    kept &= conducts
    return kept


class GraphDiffusion:
    """The diffusion equation on voxels of any diffusivity, held at 1 and 0 on the end faces along an axis.

    Parameters
    ----------
    diffusivity : ndarray of float64, shape (z, y, x)
    kept : ndarray of bool, shape (z, y, x)
        Voxels to solve for: they conduct, and each is connected to a Dirichlet face.
    axis : int
    conductance : sequence of float
        Conductance of a face between voxels of diffusivity 1 along z, y, x.
    periodic : bool
        Whether the sides are periodic; else there is no flux through them.
    team : Team
    outlet : bool
        Whether the last face is a Dirichlet face, held at 0; else there is no flux through it.
    """

    def __init__(
        self,
        diffusivity: np.ndarray,
        kept: np.ndarray,
        axis: int,
        conductance: tuple[float, float, float],
        periodic: bool,
        team: Team,
        outlet: bool = True,
    ) -> None:
        self.axis, self.diffusivity = axis, diffusivity
        self._stopwatch = Stopwatch()
        self.conductance = np.asarray(conductance, np.float64)
        self.index = np.empty(kept.shape, np.int32)
        n = voxels.number_kept(kept.reshape(-1), self.index.reshape(-1))
        sides = periodic_axes(axis, periodic)
        indptr = np.zeros(n + 1, np.int64)
        none, empty = np.empty(0, np.int32), np.empty(0)
        assembly = (self.index, diffusivity, self.conductance, sides, axis, outlet)
        voxels.link_voxels(*assembly, indptr, none, empty, empty, empty, np.empty(0, np.int64), True)
        np.cumsum(indptr, out=indptr)
        if indptr[-1] < 2**31:
            indptr = indptr.astype(np.int32)
        indices, weights = np.empty(int(indptr[-1]), np.int32), np.empty(int(indptr[-1]))
        ground, source, key = np.empty(n), np.empty(n), np.empty(n, np.int64)
        voxels.link_voxels(*assembly, indptr, indices, weights, ground, source, key, False)
        graph = Graph.from_links(indptr, indices, weights, ground, key)
        del indptr, indices, weights, key
        # vectors of the solve are in the order of the graph
        self.order = np.arange(n, dtype=np.int32) if graph.order is None else graph.order
        self.graph = replace(graph, order=None)
        self.source = source[self.order]
        self._stopwatch.lap("assembly")
        self.hierarchy = Hierarchy(self.graph, STRENGTH, "krylov", team=team)
        self._stopwatch.lap("coarse levels")

    def solve(self, rtol: float, max_iterations: int, progress: Callable[[Step], None] | None = None) -> FluxSolution:
        """Solve for the concentration until the flux is within `rtol`; keep it in ``x``."""
        planes: int = self.index.shape[self.axis]
        shift = (Z_SHIFT, Y_SHIFT, 0)[self.axis]
        linear = 1 - (((self.graph.key >> shift) & FIELD) + 0.5) / planes
        total = float(self.source.sum())
        product, cycle = self.hierarchy.product, self.hierarchy.cycle
        found = minimise_energy(product, cycle, self.source, linear, total, rtol, max_iterations, progress=progress)
        self.x = np.empty_like(found.x)
        self.x[self.order] = found.x
        g = self.graph
        energy = voxels.link_energy(g.indptr, g.indices, g.weights, g.ground, self.source, found.x)
        fluxes = np.zeros(planes + 1)
        voxels.voxel_fluxes(self.index, self.diffusivity, float(self.conductance[self.axis]), self.axis, self.x, fluxes)
        self._stopwatch.lap("iterations")
        return FluxSolution(
            status=found.status,
            energy=float(energy),
            error_estimate=found.error_estimate,
            plane_fluxes=fluxes,
            iterations=found.iterations,
            history=found.history,
            seconds=self._stopwatch.seconds,
        )

    def concentration(self) -> np.ndarray:
        """Return the concentration on plain voxels, float32, NaN where nothing is solved for."""
        out = np.full(self.index.shape, np.nan, np.float32)
        inside = self.index >= 0
        out[inside] = self.x[self.index[inside]]
        return out


def periodic_axes(axis: int, periodic: bool) -> np.ndarray:
    """Return for each axis whether its sides are periodic; along the flow they never are."""
    return np.array([periodic and a != axis for a in range(3)])
