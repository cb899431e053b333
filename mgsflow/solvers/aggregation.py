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

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mgsflow.errors import InputError
from mgsflow.solvers import coarsening_kernel as build
from mgsflow.solvers import graph_kernel as work
from mgsflow.solvers.arithmetic import inverse, times_symmetric
from mgsflow.solvers.graph import FIELD, LOWEST, Y_SHIFT, Z_SHIFT, Graph, sort_by_colour
from mgsflow.solvers.huge_pages import zeros
from mgsflow.solvers.team import Team

#: Nodes up to which a level is solved by its inverse.
DIRECT = 300
_MAX_DIRECT = 3000
_MAX_LEVELS = 24
_SLOW_COARSENING = 0.7  # ratio of nodes above which boxes are doubled once more
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
    b: np.ndarray
    x: np.ndarray
    v: np.ndarray
    y: np.ndarray
    dots: np.ndarray

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.inverse.size


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

    def _with_order(self, operation, vector: np.ndarray, out: np.ndarray) -> None:  # type: ignore[no-untyped-def]
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
        dtype = graph.weights.dtype
        diagonal = zeros(n, dtype)
        self.team.run(build.invert_diagonal, 0, n, graph.indptr, graph.weights, graph.ground, diagonal)
        coarse = None
        aggregate = first = members = None
        if n > direct and len(self.levels) < _MAX_LEVELS:
            found = self._coarsen(graph, strength)
            if found is not None:
                aggregate, first, members, coarse = found
        b, x, v, y = (zeros(n, dtype) for _ in range(4))
        groups = -(-n // work.GROUP)
        self.levels.append(
            Level(
                graph.indptr,
                graph.indices,
                graph.weights,
                diagonal,
                graph.colours,
                aggregate,
                first,
                members,
                *(b, x, v, y),
                np.empty((groups, 2)),
            )
        )
        return coarse

    def _coarsen(self, graph: Graph, strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, Graph] | None:
        n = graph.nodes
        strongest, island = np.empty(0, graph.weights.dtype), np.empty(0, np.bool_)
        if strength > 0:
            strongest, island = zeros(n, graph.weights.dtype), zeros(n, np.bool_)
            self.team.run(build.strongest_links, 0, n, graph.indptr, graph.weights, strongest)
            rows = (graph.indptr, graph.indices, graph.weights)
            self.team.run(build.mark_islands, 0, n, *rows, strongest, strength, island)
        parent, aggregate = zeros(n, np.int32), zeros(n, np.int32)
        last_shift = _doublings(graph.key)
        for shift in range(1, last_shift + 2):
            if shift > last_shift:
                # strong links alone form no more aggregates: use all links
                if not strongest.size:
                    return None
                shift, strongest = 1, strongest[:0]
            low = LOWEST * ((1 << shift) - 1)
            box = ~low
            planes = int(graph.key[-1] >> Z_SHIFT) if n else 0
            planes = (max(planes, *(int(graph.key[e - 1] >> Z_SHIFT) for e in graph.colours[1:] if e)) >> shift) + 1
            starts = _plane_starts(graph, shift, planes)
            roots = np.zeros(planes + 1, np.int64)
            links = (graph.indptr, graph.indices, graph.weights, graph.key, box, strongest, strength, island)
            grain = max(1, plane_grain(n, planes))
            self.team.run(build.join, 0, planes, starts, *links, parent, roots[1:], grain=grain)
            np.cumsum(roots, out=roots)
            if roots[-1] <= _SLOW_COARSENING * n:
                break
        count = int(roots[-1])
        if count > 0.95 * n:
            return None
        # each field of a key loses its lowest bits; bits shifted in from the next field are masked
        keep = FIELD >> shift
        fields = (keep << Z_SHIFT) | (keep << Y_SHIFT) | keep
        key = zeros(count, np.int64)
        arrays = (starts, graph.indptr, graph.key, shift, fields, parent, roots, aggregate, key)
        self.team.run(build.number, 0, planes, *arrays, grain=grain)
        del parent
        first, members, coarse = self._galerkin(graph, aggregate, count, key)
        return aggregate, first, members, coarse

    def _galerkin(
        self, graph: Graph, aggregate: np.ndarray, count: int, key: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, Graph]:
        first, members = _members(aggregate, count)
        index = graph.indptr.dtype
        starts = np.zeros(count + 1, index)
        links = (graph.indptr, graph.indices)
        self.team.run(build.count_links, 0, count, *links, aggregate, first, members, starts)
        np.cumsum(starts, out=starts)
        columns, values = zeros(starts[-1], np.int32), zeros(starts[-1], graph.weights.dtype)
        ground = zeros(count, graph.ground.dtype)
        rest = (aggregate, first, members, starts, columns, values, ground)
        self.team.run(build.sum_links, 0, count, *links, graph.weights, graph.ground, *rest)
        coarse = sort_by_colour(starts, columns, values, ground, key)
        if coarse.order is not None:
            renamed = zeros(count, np.int32)
            renamed[coarse.order] = np.arange(count, dtype=np.int32)
            held = aggregate >= 0
            aggregate[held] = renamed[aggregate[held]]
        # a forward sweep solves the last colour last, so that no residual remains there
        first, members = _members(aggregate[: graph.colours[-2]], count)
        return first, members, coarse

    # ------------------------------------------------------------------ cycles

    def _cycle(self, at: int, b: np.ndarray, x: np.ndarray) -> None:
        level = self.levels[at]
        if at == len(self.levels) - 1:
            self._bottom(level, b, x)
            return
        below = self.levels[at + 1]
        self._forward(level, b, x)
        rows = (level.colours, level.indptr, level.indices, level.weights)
        self.team.run(work.restrict, 0, below.nodes, *rows, x, level.first, level.members, below.b)
        self._accelerated(at + 1, below.b, below.x)
        # the backward sweep starts with the last colour, and reads the others only
        self.team.run(work.prolong, 0, int(level.colours[-2]), level.aggregate, below.x, x)
        self._backward(level, b, x)

    def _forward(self, level: Level, b: np.ndarray, x: np.ndarray) -> None:
        self.team.run(work.first_colour, 0, int(level.colours[1]), level.inverse, b, x)
        rows = (level.indptr, level.indices, level.weights, level.inverse)
        for c in range(1, level.colours.size - 1):
            start, stop = int(level.colours[c]), int(level.colours[c + 1])
            self.team.run(work.later_colour, start, stop, start, *rows, b, x)

    def _backward(self, level: Level, b: np.ndarray, x: np.ndarray) -> None:
        rows = (level.indptr, level.indices, level.weights, level.inverse)
        for c in range(level.colours.size - 2, -1, -1):
            self.team.run(work.sweep, int(level.colours[c]), int(level.colours[c + 1]), *rows, b, x)

    def _bottom(self, level: Level, b: np.ndarray, x: np.ndarray) -> None:
        if self._solve is not None:
            times_symmetric(self._solve, b, x)
            return
        rows = (level.indptr, level.indices, level.weights, level.inverse)
        self._forward(level, b, x)
        for _ in range(8):
            self._backward(level, b, x)
            for c in range(1, level.colours.size - 1):
                self.team.run(work.sweep, int(level.colours[c]), int(level.colours[c + 1]), *rows, b, x)
        self._backward(level, b, x)

    def _product(self, at: int, x: np.ndarray, out: np.ndarray) -> None:
        level = self.levels[at]
        rows = (level.indptr, level.indices, level.weights, level.inverse)
        self.team.run(work.product, 0, level.nodes, *rows, x, out)

    def _after_cycle(self, at: int, b: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
        """Compute A x for the x of a cycle for b: the equations of the first colour, solved last, hold exactly."""
        level = self.levels[at]
        one = int(level.colours[1])
        out[:one] = b[:one]
        rows = (level.indptr, level.indices, level.weights, level.inverse)
        self.team.run(work.product, one, level.nodes, *rows, x, out)

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


def plane_grain(nodes: int, planes: int) -> int:
    """Return how many planes of boxes are worth a thread."""
    return -(-16384 * planes // max(nodes, 1))


def _doublings(key: np.ndarray) -> int:
    """Return how often boxes can be doubled until one contains all nodes."""
    if not key.size:
        return 1
    top = max(int(((key >> s) & FIELD).max()) for s in (Z_SHIFT, Y_SHIFT, 0))
    return max(1, top.bit_length())


def _plane_starts(graph: Graph, shift: int, planes: int) -> np.ndarray:
    """Return the first node of each colour in or after each plane of boxes, shape (colours, planes + 1)."""
    edges = np.arange(planes + 1, dtype=np.int64) << (Z_SHIFT + shift)
    ends = graph.colours
    starts = [a + np.searchsorted(graph.key[a:b], edges) for a, b in pairwise(ends.tolist())]
    return np.array(starts, np.int64)


def _members(aggregate: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.zeros(count + 1, np.int32)
    members = zeros(int(np.count_nonzero(aggregate >= 0)), np.int32)
    build.list_members(aggregate, first, members)
    return first, members


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
