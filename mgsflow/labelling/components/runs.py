"""Connected components of one block, held as runs of voxels along x."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.errors import InputError
from mgsflow.labelling.components.kernel import (
    count_runs,
    find_runs,
    join_runs,
    mark_runs,
    outer_columns,
    paint_runs,
    tabulate_runs,
)

#: Runs and components are counted in 32 bits.
_MOST_VOXELS = 2**31


@dataclass(frozen=True)
class Runs:
    """The components of one block, as runs along x.

    Parameters
    ----------
    shape : tuple of int
        Of the block.
    rows : ndarray of int32, shape (nz · ny + 1,)
        Number of runs before each row.
    edges : ndarray of uint16 or int32, shape (2 · runs + 1,)
        Start and stop of each run; the last number means nothing.
    labels : ndarray of int32, shape (runs,)
        Component 1 … n of each run, in C order of the components' first voxels.
    count : int
        Number of components.
    """

    shape: Triple
    rows: np.ndarray
    edges: np.ndarray
    labels: np.ndarray
    count: int

    @classmethod
    def of(cls, mask: np.ndarray, connectivity: int) -> Runs:
        """Return the components of an array of booleans."""
        nz, ny, nx = shape = mask.shape
        if prod(shape) >= _MOST_VOXELS:
            raise InputError(f"a block of {shape} voxels is too large to be labelled at once: use smaller blocks")
        plain = np.ascontiguousarray(mask).view(np.uint8).reshape(nz * ny, nx)
        rows = np.empty(nz * ny + 1, np.int32)
        count_runs(plain, rows)
        edges = np.empty(2 * int(rows[-1]) + 1, np.uint16 if nx < 2**16 else np.int32)
        find_runs(plain, rows, edges)
        labels = np.empty(int(rows[-1]), np.int32)
        return cls((nz, ny, nx), rows, edges, labels, int(join_runs(rows, edges, ny, connectivity, labels)))

    @staticmethod
    def memory(shape: Triple) -> int:
        """Return the most bytes that the runs of a block hold: of every other voxel, at worst."""
        nz, ny, nx = shape
        runs = nz * ny * ceil(nx / 2)
        return runs * (2 * (2 if nx < 2**16 else 4) + 4) + 4 * (nz * ny + 2)

    def table(self, faces: int = 0b111111) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return first voxel (C index), size and flags of each component, all int32.

        Parameters
        ----------
        faces : int
            Bits of the block's faces to look at: `Z_LOW`, `Z_HIGH`, `Y_LOW` …
        """
        first, size, flags = (np.empty(self.count, np.int32) for _ in range(3))
        tabulate_runs(self.rows, self.edges, self.labels, self.shape, faces, first, size, flags)
        return first, size, flags

    def mark(self, high: np.ndarray, flags: np.ndarray) -> None:
        """Set the bit `MARKED` of the components that have a voxel in `high`, booleans of the block's shape."""
        nz, ny, nx = self.shape
        plain = np.ascontiguousarray(high).view(np.uint8).reshape(nz * ny, nx)
        mark_runs(plain, self.rows, self.edges, self.labels, flags)

    def paint(self, lut: np.ndarray, out: np.ndarray) -> None:
        """Fill a C-contiguous array of the block's shape with ``lut[label]``, ``lut[0]`` outside."""
        nz, ny, nx = self.shape
        paint_runs(self.rows, self.edges, self.labels, lut, out.reshape(nz * ny, nx))

    def planes(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the labels of the outer planes, as `mgsflow.labelling.shells.shell_of` does."""
        nz, ny, nx = self.shape
        low, high = (np.empty(nz * ny, np.int32) for _ in range(2))
        outer_columns(self.rows, self.edges, self.labels, nx, low, high)
        whole = np.arange(nz * ny).reshape(nz, ny)
        z = (self._rows(whole[0]), self._rows(whole[-1]))
        y = (self._rows(whole[:, 0]), self._rows(whole[:, -1]))
        return [z, y, (low.reshape(nz, ny), high.reshape(nz, ny))]

    def _rows(self, which: np.ndarray) -> np.ndarray:
        """Return the labels of some rows."""
        lengths = self.rows[which + 1] - self.rows[which]
        rows = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        runs = np.repeat(self.rows[which] - rows[:-1], lengths) + np.arange(rows[-1])
        edges = np.append(self.edges[:-1].reshape(-1, 2)[runs].ravel(), self.edges[-1:])
        out = np.empty((which.size, self.shape[2]), np.int32)
        paint_runs(rows, edges, self.labels[runs], np.arange(self.count + 1, dtype=np.int32), out)
        return out


def most_components(shape: Triple, connectivity: int) -> int:
    """Return the most components that a block can have."""
    z, y, x = shape
    if connectivity == 6:
        return (z * y * x + 1) // 2
    if connectivity == 18:  # one in every 2 × 2 × 1 voxels
        return min(z * -(-y // 2) * -(-x // 2), -(-z // 2) * y * -(-x // 2), -(-z // 2) * -(-y // 2) * x)
    return -(-z // 2) * -(-y // 2) * -(-x // 2)
