"""A block's multigrid hierarchy at rest: one array of bytes, so that a store can put it on disk."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np

from mgsflow.solvers.aggregation import Hierarchy
from mgsflow.solvers.graph import Graph
from mgsflow.solvers.graph_kernel import GROUP

#: Nodes below which a block's coarsest level is solved by its inverse.
DIRECT = 64

_ALIGN = 64


@dataclass(frozen=True)
class StoredCycle:
    """How to read a hierarchy from an array of bytes.

    Attributes
    ----------
    head : bytes
        The hierarchy without its arrays.
    spans : tuple of (int, int)
        First byte and length of each array.
    """

    head: bytes
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, graph: Graph) -> tuple[StoredCycle, np.ndarray]:
        """Set up the hierarchy of a graph; return how to read it, and its bytes."""
        cycle = Hierarchy(graph, direct=DIRECT)
        for level in cycle.levels:  # vectors hold nothing between two cycles
            level.b = level.x = level.v = level.y = np.empty(0, level.inverse.dtype)
            level.dots = np.empty(0)
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(cycle, protocol=5, buffer_callback=buffers.append)
        del cycle
        raw = [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]
        starts = np.concatenate([[0], np.cumsum([-(-a.size // _ALIGN) * _ALIGN for a in raw])])
        whole = np.empty(int(starts[-1]), np.uint8)
        for start, a in zip(starts, raw):
            whole[start : start + a.size] = a
        return cls(head, tuple((int(start), a.size) for start, a in zip(starts, raw))), whole

    def open(self, whole: np.ndarray) -> Hierarchy:
        """Return the hierarchy, its arrays where they lie."""
        cycle = pickle.loads(self.head, buffers=[whole[start : start + n] for start, n in self.spans])
        assert isinstance(cycle, Hierarchy)
        for level in cycle.levels:
            n, dtype = level.nodes, level.inverse.dtype
            level.b, level.x, level.v, level.y = (np.empty(n, dtype) for _ in range(4))
            level.dots = np.empty((-(-n // GROUP), 2))
        return cycle
