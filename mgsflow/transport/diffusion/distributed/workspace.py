"""Vectors for the block that is worked on, used again for the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

#: Arrays of the red and of the black voxels.
Pair = tuple[np.ndarray, np.ndarray]


class Workspace:
    """Arrays of both colours with a border of zeros, shared by the blocks of a process.

    Fresh memory costs as much as a sweep. Inside the border is what the last block left: all kernels write whole rows.
    A pickled workspace is empty.
    """

    def __init__(self) -> None:
        self._free: list[Pair] = []

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        return Workspace, ()

    @contextmanager
    def lend(self, shape: tuple[int, ...], count: int) -> Iterator[list[Pair]]:
        """Lend pairs of arrays; their border must be zero again when they are returned."""
        pairs: list[Pair] = []
        while len(pairs) < count:
            try:
                pair = self._free.pop()
            except IndexError:
                pair = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
            if pair[0].shape == shape:  # others are dropped: the shapes of blocks may differ
                pairs.append(pair)
        yield pairs
        self._free.extend(pairs)  # not after an error: their border may hold anything
