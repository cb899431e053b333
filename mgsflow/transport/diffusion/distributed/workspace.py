"""Room for the vectors of the block that is worked on, used again for the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


class Rooms:
    """Arrays of both colours with a border of zeros, shared by the blocks of a process.

    Fresh memory costs as much as a sweep. What is inside the border is as the last block left it: all kernels write
    whole rows. Pickles empty.
    """

    def __init__(self) -> None:
        self._free: list[Pair] = []

    def __reduce__(self) -> tuple[type[Rooms], tuple[()]]:
        return Rooms, ()

    @contextmanager
    def lend(self, shape: tuple[int, ...], count: int) -> Iterator[list[Pair]]:
        """Lend pairs of arrays; their border must be zero again in the end."""
        pairs: list[Pair] = []
        while len(pairs) < count:
            try:
                pair = self._free.pop()
            except IndexError:
                pair = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
            if pair[0].shape == shape:  # else it goes: blocks may differ
                pairs.append(pair)
        yield pairs
        self._free.extend(pairs)  # not after an error: their border may hold anything
