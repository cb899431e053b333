"""The 2× pyramid of a volume, for viewers: grey values by their mean, labels by their majority.

A level is a source like any other, the level below read at half the size; so a pyramid is written by the same pass as
everything else. The numbers of a study never come from coarse levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Box, Triple
from mgsflow.store.region import Region

#: A pyramid ends with the level that is at most this long: one screen.
SMALLEST = 256


def levels_of(shape: Triple) -> int:
    """Return how many levels a volume has, its full resolution included."""
    count = 1
    while max(shape) > SMALLEST:
        shape = tuple(-(-n // 2) for n in shape)  # type: ignore[assignment]
        count += 1
    return count


@dataclass(frozen=True)
class Halved:
    """A volume at half the resolution; an odd last plane is repeated.

    Parameters
    ----------
    fine : Region
    labels : bool
        Take the most frequent of eight labels (of several, the smallest) in place of the mean.
    """

    fine: Region
    labels: bool

    @property
    def shape(self) -> Triple:
        """Lengths along (z, y, x)."""
        z, y, x = (-(-n // 2) for n in self.fine.shape)
        return z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel, that of the finer level."""
        return self.fine.dtype

    def scratch(self, shape: Triple) -> int:
        """Return the bytes of the finer box, and of reading it."""
        fine: Triple = tuple(2 * n for n in shape)  # type: ignore[assignment]
        plane = 2 * fine[1] * fine[2] * 8  # one plane of sums, and its copy by columns
        return prod(fine) * self.dtype.itemsize + plane + self.fine.scratch(fine)

    def read(self, box: Box) -> np.ndarray:
        """Return the coarse voxels of a box."""
        start: Triple = tuple(2 * a for a in box.start)  # type: ignore[assignment]
        stop: Triple = tuple(min(2 * b, n) for b, n in zip(box.stop, self.fine.shape))  # type: ignore[assignment]
        array = self.fine.read(Box(start, stop))
        if self.labels and array.dtype == np.uint8:
            return _majority(array)
        return _mean(array)


def _mean(array: np.ndarray) -> np.ndarray:
    pad = [(0, n % 2) for n in array.shape]
    if any(p for _, p in pad):
        array = np.pad(array, pad, mode="edge")
    z, y, x = (n // 2 for n in array.shape)
    out = np.empty((z, y, x), dtype=array.dtype)
    integer = array.dtype.kind in "iu"
    for k in range(z):  # a plane at a time: no float copy of the block
        total = array[2 * k : 2 * k + 2].sum(axis=0, dtype=np.int64 if integer else np.float64)
        total = total.reshape(y, 2, x, 2).sum(axis=(1, 3))
        out[k] = (total + 4) >> 3 if integer else total / 8
    return out


@njit(cache=True, nogil=True)
def _majority(array: np.ndarray) -> np.ndarray:
    nz, ny, nx = array.shape
    out = np.empty(((nz + 1) // 2, (ny + 1) // 2, (nx + 1) // 2), np.uint8)
    corner = np.empty(8, np.uint8)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                for i in range(8):
                    corner[i] = array[
                        min(2 * z + (i >> 2), nz - 1), min(2 * y + (i >> 1 & 1), ny - 1), min(2 * x + (i & 1), nx - 1)
                    ]
                best, most = corner[0], 0
                for i in range(8):
                    count = 0
                    for j in range(8):
                        count += corner[j] == corner[i]
                    if count > most or (count == most and corner[i] < best):
                        best, most = corner[i], count
                out[z, y, x] = best
    return out
