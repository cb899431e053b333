"""A block's multigrid hierarchy, stored as one array of bytes, which can be moved to disk."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np

from mgsflow.solvers.aggregation import Hierarchy
from mgsflow.solvers.graph import Graph

#: Nodes below which a block's coarsest level is solved by its inverse.
DIRECT = 64

_ALIGN = 64


@dataclass(frozen=True)
class StoredCycle:
    """Layout of a hierarchy in an array of bytes.

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
        """Set up the hierarchy of a graph; return its layout and its bytes."""
        cycle = Hierarchy(graph, direct=DIRECT)
        for level in cycle.levels:
            level.release()
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(cycle, protocol=5, buffer_callback=buffers.append)
        del cycle
        raw = [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]
        starts = np.concatenate([[0], np.cumsum([-(-a.size // _ALIGN) * _ALIGN for a in raw])])
        stored = np.empty(int(starts[-1]), np.uint8)
        for start, a in zip(starts, raw):
            stored[start : start + a.size] = a
        return cls(head, tuple((int(start), a.size) for start, a in zip(starts, raw))), stored

    def open(self, stored: np.ndarray) -> Hierarchy:
        """Return the hierarchy; its arrays are views of the bytes."""
        cycle = pickle.loads(self.head, buffers=[stored[start : start + n] for start, n in self.spans])
        assert isinstance(cycle, Hierarchy)
        for level in cycle.levels:
            level.allocate()
        return cycle
