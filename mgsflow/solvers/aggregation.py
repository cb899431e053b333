"""Multigrid by aggregation on graphs: each aggregate is a connected set of the nodes in a box of 2×2×2 boxes.

Whole boxes would merge pores that a wall separates, and couple nodes that are not connected; connected aggregates
preserve the topology of the pore space on every level. Coarse operators are Galerkin operators of piecewise constants;
the smoother is Gauss–Seidel by colours, forward before and backward after the coarse correction, so that a cycle is
symmetric and positive definite. Because piecewise constants are too stiff, each coarse problem is solved by two cycles,
combined by a polynomial (AMLI cycle) or by two steps of conjugate gradients (K-cycle).

References
----------
Notay, Y. (2010). An aggregation-based algebraic multigrid method. ETNA 37, 123-146.
Notay, Y. & Vassilevski, P. S. (2008). Recursive Krylov-based multigrid cycles. doi:10.1002/nla.542
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mgsflow.errors import InputError
from mgsflow.solvers import coarsening_kernel as build
from mgsflow.solvers import graph_kernel as work
from mgsflow.solvers.arithmetic import inverse, times_symmetric
from mgsflow.solvers.coarsening import coarsen
from mgsflow.solvers.graph import Graph
from mgsflow.solvers.huge_pages import zeros
from mgsflow.solvers.team import Team

#: Nodes up to which a level is solved by its inverse.
DIRECT = 300
_MAX_DIRECT = 3000
_MAX_LEVELS = 24
_CYCLES = ("polynomial", "krylov")


@dataclass
class Level:
    """A level of a hierarchy: the operator, its aggregates, and the vectors of a cycle."""

    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray
    inverse: np.ndarray
    colours: np.ndarray
    aggregate: np.ndarray | None
    first: np.ndarray | None
    members: np.ndarray | None
    b: np.ndarray = field(init=False)
    x: np.ndarray = field(init=False)
    v: np.ndarray = field(init=False)
    y: np.ndarray = field(init=False)
    dots: np.ndarray = field(init=False)

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.inverse.size

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The operator, as kernels take it."""
        return self.indptr, self.indices, self.weights, self.inverse

    def allocate(self, make: Callable[..., np.ndarray] = np.empty) -> None:
        """Make the vectors of a cycle, their content arbitrary."""
        self.b, self.x, self.v, self.y = (make(self.nodes, self.inverse.dtype) for _ in range(4))
        self.dots = np.empty((-(-self.nodes // work.GROUP), 2))

    def release(self) -> None:
        """Free the vectors: they hold nothing between two cycles."""
        self.b = self.x = self.v = self.y = np.empty(0, self.inverse.dtype)
        self.dots = np.empty(0)


class Hierarchy:
    """A multigrid preconditioner for the operator of a graph.

        hierarchy = Hierarchy(graph, team=team)
        hierarchy.cycle(r, out)        # out ≈ A⁻¹ r: one symmetric cycle
        hierarchy.correct(r, out)      # two combined cycles: as good as a coarse solve

    Vectors have the nodes of the caller's graph, in the caller's order, and the dtype of its weights.

    Parameters
    ----------
    graph : Graph
        See `Graph.from_links`. Its arrays become those of the finest level.
    strength : float
        Only links of at least this share of the largest conductance at either of their ends form aggregates. 0 where
        all conductances are similar; 0.25 for high contrast and for voxels that are not cubes.
    cycle : {"polynomial", "krylov"}
        How two cycles are combined on coarse levels. The polynomial (Chebyshev, of degree 2, for a spectrum in
        `interval`) makes the preconditioner a fixed linear operator, for plain conjugate gradients; Krylov is adaptive
        and needs flexible conjugate gradients.
    interval : (float, float)
        Bounds of the spectrum of cycle · A, for the polynomial.
    team : Team, optional
        Default: the caller's thread alone.
    direct : int
        Nodes up to which a level is solved by its inverse.

    Raises
    ------
    InputError
        If `cycle` is neither, or the interval is not two positive numbers in order.

    Notes
    -----
    The spectrum of one cycle times A lies within [0.3, 1.05] on pore spaces of all kinds and sizes. Nodes without links
    and ground stay at zero.
    """

    def __init__(
        self,
        graph: Graph,
        strength: float = 0.0,
        cycle: str = "polynomial",
        interval: tuple[float, float] = (0.25, 1.0),
        team: Team | None = None,
        direct: int = DIRECT,
    ) -> None:
        if cycle not in _CYCLES:
            raise InputError(f"cycle must be one of {', '.join(_CYCLES)}, got {cycle!r}")
        if not 0 < interval[0] < interval[1]:
            raise InputError(f"interval must be two positive numbers in order, got {interval}")
        self.team = team or Team()
        self.order = graph.order
        self.krylov = cycle == "krylov"
        low, high = interval
        middle, half = (low + high) / 2, (high - low) / 2 * np.sqrt(0.5)
        a, b = middle - half, middle + half
        kind = graph.weights.dtype.type
        self._first_weight, self._second_weight = kind(1 / a + 1 / b), kind(-1 / (a * b))
        self.levels: list[Level] = []
        current: Graph | None = graph
        while current is not None:
            current = self._add_level(current, strength, direct)
        self._solve = _inverse(self.levels[-1]) if self.levels[-1].nodes <= _MAX_DIRECT else None

    @property
    def nodes(self) -> int:
        """Number of nodes on the finest level."""
        return self.levels[0].nodes

    def sizes(self) -> list[int]:
        """Return the number of nodes on each level, finest first."""
        return [level.nodes for level in self.levels]

    def nbytes(self) -> int:
        """Return the bytes of all arrays."""
        arrays = [a for level in self.levels for a in vars(level).values() if isinstance(a, np.ndarray)]
        return sum(a.nbytes for a in arrays) + (0 if self._solve is None else self._solve.nbytes)

    def cycle(self, r: np.ndarray, out: np.ndarray) -> None:
        """Apply the preconditioner, one symmetric V-cycle with accelerated coarse solves: ``out ≈ A⁻¹ r``."""
        self._with_order(self._cycle, r, out)

    def correct(self, r: np.ndarray, out: np.ndarray) -> None:
        """Apply two cycles, combined as on coarse levels: for a finer level outside the hierarchy."""
        self._with_order(self._accelerated, r, out)

    def product(self, x: np.ndarray, out: np.ndarray) -> None:
        """Multiply by the operator: ``out = A x``."""
        self._with_order(self._product, x, out)

    def _with_order(self, operation: Callable[..., Any], vector: np.ndarray, out: np.ndarray) -> None:
        top = self.levels[0]
        if vector.size != top.nodes or out.size != top.nodes:
            raise InputError(f"vectors must have the {top.nodes} nodes of the graph, got {vector.size} and {out.size}")
        if self.order is None:
            operation(0, vector, out)
            return
        sorted_out = np.empty_like(out)
        operation(0, vector[self.order], sorted_out)
        out[self.order] = sorted_out

    # ------------------------------------------------------------------ set-up

    def _add_level(self, graph: Graph, strength: float, direct: int) -> Graph | None:
        n = graph.nodes
        diagonal = zeros(n, graph.weights.dtype)
        self.team.run(build.invert_diagonal, 0, n, graph.indptr, graph.weights, graph.ground, diagonal)
        found = coarsen(graph, strength, self.team) if n > direct and len(self.levels) < _MAX_LEVELS else None
        aggregate, first, members, coarse = found or (None, None, None, None)
        rows = (graph.indptr, graph.indices, graph.weights, diagonal)
        level = Level(*rows, graph.colours, aggregate, first, members)
        level.allocate(zeros)
        self.levels.append(level)
        return coarse

    # ------------------------------------------------------------------ cycles

    def _cycle(self, at: int, b: np.ndarray, x: np.ndarray) -> None:
        level = self.levels[at]
        if at == len(self.levels) - 1:
            self._bottom(level, b, x)
            return
        below = self.levels[at + 1]
        self._forward(level, b, x)
        members = (level.first, level.members)
        self.team.run(work.restrict, 0, below.nodes, level.colours, *level.rows[:3], x, *members, below.b)
        self._accelerated(at + 1, below.b, below.x)
        # the backward sweep starts with the last colour, and reads the others only
        self.team.run(work.prolong, 0, int(level.colours[-2]), level.aggregate, below.x, x)
        self._backward(level, b, x)

    def _forward(self, level: Level, b: np.ndarray, x: np.ndarray) -> None:
        self.team.run(work.first_colour, 0, int(level.colours[1]), level.inverse, b, x)
        for c in range(1, level.colours.size - 1):
            start, stop = int(level.colours[c]), int(level.colours[c + 1])
            self.team.run(work.later_colour, start, stop, start, *level.rows, b, x)

    def _backward(self, level: Level, b: np.ndarray, x: np.ndarray) -> None:
        for c in range(level.colours.size - 2, -1, -1):
            self.team.run(work.sweep, int(level.colours[c]), int(level.colours[c + 1]), *level.rows, b, x)

    def _bottom(self, level: Level, b: np.ndarray, x: np.ndarray) -> None:
        if self._solve is not None:
            times_symmetric(self._solve, b, x)
            return
        self._forward(level, b, x)
        for _ in range(8):
            self._backward(level, b, x)
            for c in range(1, level.colours.size - 1):
                self.team.run(work.sweep, int(level.colours[c]), int(level.colours[c + 1]), *level.rows, b, x)
        self._backward(level, b, x)

    def _product(self, at: int, x: np.ndarray, out: np.ndarray) -> None:
        level = self.levels[at]
        self.team.run(work.product, 0, level.nodes, *level.rows, x, out)

    def _after_cycle(self, at: int, b: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
        """Compute A x for the x of a cycle for b: the equations of the first colour, solved last, hold exactly."""
        level = self.levels[at]
        one = int(level.colours[1])
        out[:one] = b[:one]
        self.team.run(work.product, one, level.nodes, *level.rows, x, out)

    def _accelerated(self, at: int, b: np.ndarray, x: np.ndarray) -> None:
        self._cycle(at, b, x)
        if at == len(self.levels) - 1:
            return
        level = self.levels[at]
        v, y = level.v, level.y
        self._after_cycle(at, b, x, v)
        if not self.krylov:
            self._cycle(at, v, y)
            self._combine(self._first_weight, x, self._second_weight, y)
            return
        kind = x.dtype.type
        energy, along = self._dots(level, x, v, b)
        if not energy > 0:
            return
        step = along / energy
        av = v.copy()
        self._combine(kind(-step), v, kind(1), b)
        self._cycle(at, v, y)
        w = np.empty_like(y)
        self._after_cycle(at, v, y, w)
        cross, second = self._dots(level, y, av, v)
        own, _ = self._dots(level, y, w, v)
        rest = own - cross * cross / energy
        if not rest > 0:
            self._combine(kind(step), x, kind(0), y)
            return
        self._combine(kind(step - cross * second / (energy * rest)), x, kind(second / rest), y)

    def _combine(self, a: float, x: np.ndarray, b: float, y: np.ndarray) -> None:
        self.team.run(work.combine, 0, x.size, a, x, b, y, grain=1 << 18)

    def _dots(self, level: Level, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[float, float]:
        self.team.run(work.group_dots, 0, len(level.dots), x, y, z, level.dots, grain=16)
        first, second = level.dots.sum(axis=0)
        return float(first), float(second)


def _inverse(level: Level) -> np.ndarray:
    """Return the inverse of the coarsest operator; without ground, diagonals are raised by 1e-9 to make it regular."""
    n = level.nodes
    dense = np.zeros((n, n))
    row = np.repeat(np.arange(n), np.diff(level.indptr))
    # two nodes may be linked twice, across periodic sides
    np.subtract.at(dense, (row, level.indices), level.weights.astype(np.float64))
    held = level.inverse > 0
    diagonal = np.where(held, 1 / np.where(held, level.inverse, 1).astype(np.float64), 1)
    exact = -dense.sum(axis=1)
    dense[np.arange(n), np.arange(n)] = np.maximum(diagonal, exact * (1 + 1e-9))
    return inverse(dense).astype(level.weights.dtype)
