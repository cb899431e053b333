"""Diffusion through voxels of any diffusivity: several phases, any contrast and shape of voxel, periodic sides.

The equation is put on the graph of the voxels that conduct and lie in a part that touches both ends, all in double
precision, and solved by conjugate gradients with multigrid whose aggregates follow the strong links.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mgsflow.solvers.aggregation import Hierarchy
from mgsflow.solvers.conjugate_gradients import minimise_energy
from mgsflow.solvers.graph import FIELD, Y_SHIFT, Z_SHIFT, Graph
from mgsflow.solvers.solution import Solution, Step
from mgsflow.solvers.team import Team
from mgsflow.transport.diffusion import graph_kernel as voxels

#: Least conductance of a link over the largest at its ends for it to bind an aggregate.
STRENGTH = 0.25


@dataclass(frozen=True)
class VoxelParts:
    """Which voxels conduct, and which of them belong to a part that touches both ends.

    Attributes
    ----------
    conducting, percolating : int
        Voxels that conduct, and those of them that percolate.
    kept : ndarray of bool, shape (z, y, x)
    touches_inlet, touches_outlet : bool
    """

    conducting: int
    percolating: int
    kept: np.ndarray
    touches_inlet: bool
    touches_outlet: bool


def find_percolating(conducts: np.ndarray, axis: int, periodic: bool) -> VoxelParts:
    """Find the voxels that face neighbours, across periodic sides too, connect to both ends along an axis."""
    parent = np.empty(conducts.size, np.int32 if conducts.size < 2**31 else np.int64)
    voxels.voxel_parts(conducts, periodic_axes(axis, periodic), parent)
    parts = np.moveaxis(parent.reshape(conducts.shape), axis, 0)
    inside = np.moveaxis(conducts, axis, 0)
    inlet, outlet = parts[0][inside[0]], parts[-1][inside[-1]]
    through = np.zeros(conducts.size, np.bool_)
    through[np.intersect1d(inlet, outlet)] = True
    kept = through[parent].reshape(conducts.shape)
    kept &= conducts
    return VoxelParts(
        int(np.count_nonzero(conducts)), int(np.count_nonzero(kept)), kept, bool(inlet.size), bool(outlet.size)
    )


def find_reached(conducts: np.ndarray, axis: int, periodic: bool) -> np.ndarray:
    """Return which voxels face neighbours connect to the first plane along an axis."""
    parent = np.empty(conducts.size, np.int32 if conducts.size < 2**31 else np.int64)
    voxels.voxel_parts(conducts, periodic_axes(axis, periodic), parent)
    reached = np.zeros(conducts.size, np.bool_)
    first = np.moveaxis(conducts, axis, 0)[0]
    reached[np.moveaxis(parent.reshape(conducts.shape), axis, 0)[0][first]] = True
    kept = reached[parent].reshape(conducts.shape)
    kept &= conducts
    return kept


class GraphDiffusion:
    """The diffusion equation on voxels of any diffusivity, held at 1 and 0 on the end faces along an axis.

    Parameters
    ----------
    diffusivity : ndarray of float64, shape (z, y, x)
    kept : ndarray of bool, shape (z, y, x)
        Voxels to solve for: they conduct, and are connected to both ends.
    axis : int
    conductance : sequence of float
        Conductance of a face between voxels of diffusivity 1 along z, y, x.
    periodic : bool
        Whether the sides are periodic; else nothing passes them.
    team : Team
    outlet : bool
        Whether the last face is held at 0; else nothing passes it.
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
        self.seconds: dict[str, float] = {}
        begin = time.perf_counter()
        self.conductance = np.asarray(conductance, np.float64)
        self.index = np.empty(kept.shape, np.int32)
        n = voxels.number_kept(kept.reshape(-1), self.index.reshape(-1))
        sides = periodic_axes(axis, periodic)
        indptr = np.zeros(n + 1, np.int64)
        none, empty = np.empty(0, np.int32), np.empty(0)
        place = (self.index, diffusivity, self.conductance, sides, axis, outlet)
        voxels.link_voxels(*place, indptr, none, empty, empty, empty, np.empty(0, np.int64), False)
        np.cumsum(indptr, out=indptr)
        if indptr[-1] < 2**31:
            indptr = indptr.astype(np.int32)
        indices, weights = np.empty(int(indptr[-1]), np.int32), np.empty(int(indptr[-1]))
        ground, source, key = np.empty(n), np.empty(n), np.empty(n, np.int64)
        voxels.link_voxels(*place, indptr, indices, weights, ground, source, key, True)
        graph = Graph.from_links(indptr, indices, weights, ground, key)
        del indptr, indices, weights, key
        # solved in the graph's order of voxels
        self.order = np.arange(n, dtype=np.int32) if graph.order is None else graph.order
        self.graph = replace(graph, order=None)
        self.source = source[self.order]
        begin = self._lap("assembly", begin)
        self.hierarchy = Hierarchy(self.graph, STRENGTH, "krylov", team=team)
        self._lap("coarse levels", begin)

    def solve(self, rtol: float, max_iterations: int, progress: Callable[[Step], None] | None = None) -> Solution:
        """Find the concentration until the flux is within `rtol`; keep it in ``x``."""
        begin = time.perf_counter()
        hierarchy = self.hierarchy
        planes: int = self.index.shape[self.axis]
        shift = (Z_SHIFT, Y_SHIFT, 0)[self.axis]
        start = 1 - (((self.graph.key >> shift) & FIELD) + 0.5) / planes
        total = float(self.source.sum())
        found = minimise_energy(
            hierarchy.product, hierarchy.cycle, self.source, start, total, rtol, max_iterations, progress=progress
        )
        self.x = np.empty_like(found.x)
        self.x[self.order] = found.x
        g = self.graph
        energy = voxels.link_energy(g.indptr, g.indices, g.weights, g.ground, self.source, found.x)
        self._lap("iterations", begin)
        return replace(found, value=float(energy))

    def plane_fluxes(self) -> np.ndarray:
        """Return the flux through every plane between voxels along the flow, the end faces included."""
        out = np.zeros(self.index.shape[self.axis] + 1)
        voxels.voxel_fluxes(self.index, self.diffusivity, float(self.conductance[self.axis]), self.axis, self.x, out)
        return out

    def concentration(self) -> np.ndarray:
        """Return the concentration on plain voxels, float32, NaN where nothing is solved for."""
        out = np.full(self.index.shape, np.nan, np.float32)
        inside = self.index >= 0
        out[inside] = self.x[self.index[inside]]
        return out

    def _lap(self, name: str, begin: float) -> float:
        now = time.perf_counter()
        self.seconds[name] = now - begin
        return now


def periodic_axes(axis: int, periodic: bool) -> np.ndarray:
    """Return for each axis whether its sides are joined: never the ends of the flow."""
    return np.array([periodic and a != axis for a in range(3)])
