"""The coarse level that all blocks share: finds what percolates, and carries the solution from block to block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from mgsflow.blocks import Triple
from mgsflow.compute.supersteps.subdomain import FaceNeighbours
from mgsflow.solvers.aggregation import Hierarchy
from mgsflow.solvers.conjugate_gradients import conjugate_gradients
from mgsflow.solvers.graph import Graph
from mgsflow.solvers.team import Team, default_threads
from mgsflow.transport.diffusion.distributed.coarse_unknowns import CoarseShare

#: Unknowns up to which the coarse level is solved to `_TIGHT`, which takes hardly any time. Triangular factors would
#: do, too, but scipy's come from BLAS, whose bits depend on the processor.
_FEW = 30_000

#: Relative residual of the coarse level where it has few unknowns, and where it has many: the remaining error enters
#: the next residual, and is corrected then.
_TIGHT, _LOOSE = 1e-10, 3e-3
_MAX_ITERATIONS = 60


class CoarseLevel:
    """Unknowns of all blocks, in C order of the blocks, and the links between them.

    Parameters
    ----------
    neighbours : FaceNeighbours
    shares : mapping of block to CoarseShare
        Each block's own.
    interfaces : mapping of block to dict
        For each upper face: numbers of the linked unknowns of the block and of its neighbour, and the conductance.
    """

    def __init__(
        self,
        neighbours: FaceNeighbours,
        shares: Mapping[Triple, CoarseShare],
        interfaces: Mapping[Triple, Mapping[Any, tuple[np.ndarray, np.ndarray, np.ndarray]]],
    ) -> None:
        self.neighbours = neighbours
        self.blocks = sorted(shares)
        counts = [shares[b].count for b in self.blocks]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._start = dict(zip(self.blocks, starts))
        self._count = dict(zip(self.blocks, counts))
        self.size = int(starts[-1])
        first, second, weight = [], [], []
        for b in self.blocks:
            first.append(shares[b].first + self._start[b])
            second.append(shares[b].second + self._start[b])
            weight.append(shares[b].weight)
            links = neighbours.links(b)
            for face, (own, other, value) in interfaces[b].items():
                first.append(own + self._start[b])
                second.append(other + self._start[links[face][0]])
                weight.append(value)
        self._first, self._second = np.concatenate(first), np.concatenate(second)
        self._weight = np.concatenate(weight)
        self.ground = np.concatenate([shares[b].ground for b in self.blocks])
        self.source = np.concatenate([shares[b].source for b in self.blocks])
        self.voxels = np.concatenate([shares[b].voxels for b in self.blocks])
        self._key = np.concatenate([shares[b].key for b in self.blocks])
        self._needed: dict[Triple, np.ndarray] = {}
        self._solver: Any = None

    def keep_percolating(self) -> dict[Triple, np.ndarray]:
        """Drop the unknowns that no path connects to both ends; return by block which are kept.

        Each unknown is a connected set of voxels, and unknowns are linked where voxels are: paths are those of voxels.
        """
        shape = (self.size, self.size)
        links = sp.coo_array((np.ones(self._first.size, np.int8), (self._first, self._second)), shape)
        count, part = sp.csgraph.connected_components(links, directed=False)
        touches = np.zeros((2, count), np.bool_)
        touches[0, part[self.source > 0]] = True
        touches[1, part[self.ground > self.source]] = True
        kept = (touches[0] & touches[1])[part]
        by_block = {b: kept[self._start[b] : self._start[b] + self._count[b]].copy() for b in self.blocks}
        number = np.cumsum(kept) - 1
        held = kept[self._first]
        self._first, self._second = number[self._first[held]], number[self._second[held]]
        self._weight = self._weight[held]
        self.ground, self.source, self.voxels = self.ground[kept], self.source[kept], self.voxels[kept]
        self._key = self._key[kept]
        at = 0
        for b in self.blocks:
            self._count[b] = int(by_block[b].sum())
            self._start[b] = np.int64(at)
            at += self._count[b]
        self.size = at
        return by_block

    def register(self, needed: Mapping[Triple, Mapping[Any, np.ndarray]]) -> None:
        """Register which unknowns of their neighbours the blocks need."""
        for b in self.blocks:
            links = self.neighbours.links(b)
            own = [np.arange(self._start[b], self._start[b] + self._count[b])]
            others = [numbers + self._start[links[face][0]] for face, numbers in needed[b].items()]
            self._needed[b] = np.concatenate([*own, *others])

    def to_blocks(self, values: np.ndarray) -> dict[Triple, tuple[np.ndarray]]:
        """Return each block's values, then those of its neighbours that it needs."""
        small = values.astype(np.float32)
        return {b: (small[self._needed[b]],) for b in self.blocks}

    def from_blocks(self, values: Mapping[Triple, np.ndarray]) -> np.ndarray:
        """Join the values of all blocks."""
        return np.concatenate([values[b] for b in self.blocks])

    def solve(self, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Solve the coarse equations E x = b approximately; return x, and E x."""
        if self._solver is None:
            self._solver = self._make_solver()
        solution: tuple[np.ndarray, np.ndarray] = self._solver(b)
        return solution

    def nbytes(self) -> int:
        """Return the bytes that the links and vectors take, the solver's own excluded."""
        arrays = [self._first, self._second, self._weight, self.ground, self.source, *self._needed.values()]
        return sum(a.nbytes for a in arrays)

    def _rows(self) -> Any:
        n = self.size
        i = np.concatenate([self._first, self._second])
        j = np.concatenate([self._second, self._first])
        return sp.coo_array((np.concatenate([self._weight, self._weight]), (i, j)), (n, n)).tocsr()

    def _make_solver(self) -> Any:
        rows = self._rows()
        diagonal = np.asarray(rows.sum(axis=1)).ravel() + self.ground
        single = (rows.data.astype(np.float32), self.ground.astype(np.float32))
        graph = Graph.from_links(rows.indptr, rows.indices, *single, self._key)
        # the blocks wait meanwhile: the driver may use their cores
        hierarchy = Hierarchy(graph, team=Team(default_threads()), direct=300)

        def cycle(r: np.ndarray) -> np.ndarray:
            out = np.empty(r.size, np.float32)
            hierarchy.cycle(r.astype(np.float32), out)
            return out.astype(np.float64)

        rtol = _TIGHT if self.size <= _FEW else _LOOSE

        def solve(b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            x, r, _ = conjugate_gradients(lambda p: diagonal * p - rows @ p, cycle, b, rtol, _MAX_ITERATIONS)
            return x, b - r

        return solve
