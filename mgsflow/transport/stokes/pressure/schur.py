"""The Schur complement of the pressure, preconditioned by the porous medium that the pores are to it.

S = Gᵀ A⁻¹ G is the identity for short waves. For long ones, A⁻¹ acts on a gradient as a local permeability: where w
solves A w = 1, the velocity that a uniform gradient drives, S is near L = Gᵀ diag(w) G, a Laplacian with variable
coefficients. The inverse is taken as 0.45 I + L⁻¹, with one step of conjugate gradients for w and a multigrid cycle
for L⁻¹. (The identity alone needs iterations in proportion to the length; the inverse diagonal of A as w, as in
SIMPLE, three to four times as many.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mgsflow.solvers.aggregation import Hierarchy
from mgsflow.solvers.graph import Graph, box_key
from mgsflow.solvers.team import Team
from mgsflow.transport.stokes.pressure.kernel import (
    apply_pressure,
    correct_and_smooth_pressure,
    pack_weights,
    part_graph,
    smooth_and_restrict_pressure,
    split_boxes,
)
from mgsflow.transport.stokes.saddle_kernel import dot_rows
from mgsflow.transport.stokes.sweep import sweep
from mgsflow.transport.stokes.velocity.coarse import STEPS, box_shifts
from mgsflow.transport.stokes.velocity.cycle import VelocityCycle
from mgsflow.transport.stokes.velocity.faces import Faces, wrap

IDENTITY = 0.45
"""Share of the identity in the inverse of S."""


def face_weights(velocity: VelocityCycle, scratch: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Return w with A w ≈ 1 for each component, packed in bytes.

    Parameters
    ----------
    velocity : VelocityCycle
    scratch : tuple of ndarray of float32
        Three fields that are overwritten.
    """
    faces = velocity.faces
    b, x, y = scratch
    found = []
    for d in range(3):
        code = faces.codes[d]
        active = code > 0
        if not active.any():
            found.append(np.zeros(code.shape, np.uint8))
            continue
        np.multiply(active, faces.half[d][:, None, None], out=b)
        velocity.cycle(d, b, x, y)
        velocity.apply(d, x, y)
        steepest = dot_rows(velocity.team, b, x) / dot_rows(velocity.team, x, y)
        packed = np.zeros(code.shape, np.uint8)
        rest = (code, faces.half[d], velocity.other[d], x, np.float32(steepest), packed)
        sweep(velocity.team, pack_weights, 1, x.shape[0] - 1, x[0].size, *rest)
        wrap(packed, faces.periodic)
        found.append(packed)
    return found


class PressureParts:
    """The coarse level of L: the connected parts of the pores in boxes, as a graph with a multigrid of its own.

    Parameters
    ----------
    graph : Graph
    edges : tuple of float
        Edges of a voxel.
    team : Team
    """

    def __init__(self, graph: Graph, edges: tuple[float, float, float], team: Team):
        # where voxels are not cubes, strong couplings bind first
        cubes = max(edges) < 1.5 * min(edges)
        parts = graph.nodes
        self.multigrid = Hierarchy(graph, 0.0 if cubes else 0.25, interval=(0.25, 1.0), team=team)
        #: Where the right-hand side is to be put.
        self.right_side = np.zeros(parts, np.float32)
        self._found, self._more = np.zeros(parts, np.float32), np.zeros(parts, np.float32)

    def solve(self) -> np.ndarray:
        """Return what the graph's multigrid gives for `right_side`, which is overwritten, corrected once: half the
        iterations of the whole in narrow pores, for a tenth of their time. The next call overwrites it."""
        self.multigrid.correct(self.right_side, self._found)
        self.multigrid.product(self._found, self._more)
        self.right_side -= self._more
        self.multigrid.correct(self.right_side, self._more)
        self._found += self._more
        return self._found


class PressureCycle:
    """One multigrid cycle for L.

    Parameters
    ----------
    faces : Faces
        The bytes of its pores are changed: one more than the part of the box that a voxel belongs to.
    weights : list of ndarray of uint8
        See `face_weights`.
    team : Team
    """

    def __init__(self, faces: Faces, weights: list[np.ndarray], team: Team):
        self.faces = faces
        self.weights = weights
        self.team = team
        self.shift, shape = next(box_shifts(faces.shape, faces.edges))
        self.first = np.zeros(shape, np.int32)
        parts = split_boxes(faces.pores, self.shift, self.first)
        wrap(faces.pores, faces.periodic)
        self.coarse = PressureParts(self._graph(parts), faces.edges, team)

    def _graph(self, parts: int) -> Graph:
        starts = np.zeros(parts + 1, np.int32)
        ground, box = np.zeros(parts, np.float32), np.zeros((parts, 3), np.int32)
        source = (self.faces.pores, self.shift, self.first, *self.weights, self.faces.periodic)

        def write(ends: np.ndarray, values: np.ndarray) -> None:
            planes, plane = self.first.shape[0] - 1, 8 * self.first[0].size
            sweep(self.team, part_graph, 1, planes, plane, *source, starts, ends, values, ground, box)

        write(np.empty(0, np.int32), np.empty(0, np.float32))
        np.cumsum(starts, out=starts)
        count = int(starts[-1])
        # room for one entry at least: none would mean that entries are to be counted
        ends, values = np.empty(max(1, count), np.int32), np.empty(max(1, count), np.float32)
        write(ends, values)
        return Graph.from_links(starts, ends[:count], values[:count], ground, box_key(*box.T))

    def apply(self, x: np.ndarray, y: np.ndarray) -> None:
        """Set y to L x."""
        self._sweep(apply_pressure, *self.weights, x, y)

    def cycle(self, b: np.ndarray, x: np.ndarray, scratch: np.ndarray, identity: float = 0.0) -> None:
        """Set x to (L⁻¹ + identity · I) b, about; `b` must be zero in solid and is not changed."""
        source = (self.faces.pores, self.shift, self.first, *self.weights, b)
        periodic = self.faces.periodic
        right_side = self.coarse.right_side
        right_side[:] = 0
        self._sweep(
            smooth_and_restrict_pressure, *source, STEPS, periodic, scratch, right_side, align=1 << self.shift[0]
        )
        found = self.coarse.solve()
        self._sweep(
            correct_and_smooth_pressure, *source, scratch, found, STEPS, periodic, np.float32(identity), x
        )  # fmt: skip

    def _sweep(self, kernel: Callable[..., Any], *args: Any, align: int = 1) -> None:
        n0, n1, n2 = self.faces.shape
        sweep(self.team, kernel, 1, n0 - 2, n1 * n2, *args, align=align)
