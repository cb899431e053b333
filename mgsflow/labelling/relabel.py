"""The last pass over labels: each block's own labels become the ids of the whole volume, by one small table a block."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from numba import njit

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Parts, Sink, Source
from mgsflow.memory import write_bytes


class LocalLabels(Protocol):
    """The labels 1 … n of each block, stored or made again. Cheap to pickle."""

    def painted(self, box: Box, lut: np.ndarray) -> np.ndarray:
        """Return ``lut[label]`` at every voxel of a block, of the table's dtype."""
        ...

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that painting a block of this shape holds beside the result and the table."""
        ...

    def most(self, shape: Triple) -> int:
        """Return the most labels that a block of this shape can have."""
        ...


@dataclass(frozen=True)
class StoredLabels:
    """Labels of each block that a pass before has written.

    Parameters
    ----------
    source : Source
        Whole numbers 0 … n, 0 where there is no label.
    density : int
        There is at most one label in so many voxels.
    """

    source: Source
    density: int = 1

    def painted(self, box: Box, lut: np.ndarray) -> np.ndarray:
        """Return ``lut[label]`` at every voxel of a block."""
        return paint(self.source.read(box), lut)

    def scratch(self, shape: Triple) -> int:
        """Return the bytes of the labels, and of reading them."""
        return prod(shape) * self.source.dtype.itemsize + self.source.scratch(shape)

    def most(self, shape: Triple) -> int:
        """Return the most labels that a block of this shape can have."""
        return prod(shape) // self.density + 1


@dataclass(frozen=True)
class Relabel:
    """Write the final ids of every block.

    Parameters
    ----------
    labels : LocalLabels
    parts : Parts
        Where `mgsflow.labelling.unions.number` or `select` left the tables.
    grid : Grid
    sink : Sink
    dtype : dtype
        Of the ids as they are written.
    lut : str
        Name of the tables.
    """

    labels: LocalLabels
    parts: Parts
    grid: Grid
    sink: Sink
    dtype: np.dtype[Any]
    lut: str = "lut"

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when its ids are stored."""
        core = self.grid.block(index).core
        lut = self.parts.read(index, self.lut).astype(self.dtype)
        self.sink.write(core, self.labels.painted(core, lut))
        return index

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        core = self.grid.largest
        itemsize = np.dtype(self.dtype).itemsize
        ids = prod(core) * itemsize
        # the table as it is stored (encoded and plain), and as it is used
        table = (self.labels.most(core) + 1) * (2 * 8 + itemsize)
        return ids + table + max(self.labels.scratch(core), write_bytes(core, itemsize, self.sink.chunk))


def paint(labels: np.ndarray, lut: np.ndarray) -> np.ndarray:
    """Return ``lut[labels]``, without the wide indices that NumPy makes for it."""
    out = np.empty(labels.shape, lut.dtype)
    _paint(np.ascontiguousarray(labels).reshape(-1), lut, out.reshape(-1))
    return out


@njit(cache=True, nogil=True)
def _paint(labels, lut, out):  # type: ignore[no-untyped-def]
    for i in range(labels.size):
        out[i] = lut[labels[i]]
