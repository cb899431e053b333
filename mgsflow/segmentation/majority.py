"""Removal of specks from a label image by the most frequent label nearby."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Triple
from mgsflow.errors import InputError

_FEW = 8  # labels up to which box sums of each are faster than a moving count of all


@dataclass(frozen=True, slots=True)
class Majority:
    """Give every voxel the most frequent label of the box around it (mode filter).

    Where labels are equally frequent, the voxel keeps its own if that is one of them, else it takes the smallest. At
    the border of the volume only voxels inside it count.

    Parameters
    ----------
    radius : int
        The box has ``2 * radius + 1`` voxels on each edge; 1 to 15.
    iterations : int
        How often the filter is applied, 1 to 100.

    Raises
    ------
    InputError
        If a parameter is out of its range. When called: if the labels are not uint8.
    """

    radius: int = 1
    iterations: int = 1

    def __post_init__(self) -> None:
        for name, value, most in (("radius", self.radius, 15), ("iterations", self.iterations, 100)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise InputError(f"{name} must be a whole number from 1 to {most}, got {value!r}")

    @property
    def halo(self) -> Triple:
        """One radius an iteration, along each axis."""
        reach = self.radius * self.iterations
        return (reach, reach, reach)

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return uint8, the dtype of labels."""
        if dtype != np.uint8:
            raise InputError(
                f"the majority filter works on labels (uint8), got {dtype.name}: threshold the image first"
            )
        return np.dtype(np.uint8)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of the box sums of `_FEW` labels in a few planes, and of the result before the last."""
        plane = shape[1] * shape[2]
        window = 2 * self.radius + 1
        sums = _FEW * (window + 1) + 1
        copies = plane * (shape[0] * (self.iterations > 1) + window + 1)
        return 2 * sums * plane + copies + 16 * shape[2] + 65536

    def __call__(self, array: np.ndarray, origin: Triple = (0, 0, 0)) -> np.ndarray:
        """Return the filtered labels; see `Kernel`."""
        self.dtype(array.dtype)
        source, spare = array, None
        for _ in range(self.iterations):
            out = np.empty(array.shape, np.uint8) if spare is None else spare
            self._once(source, out)
            # after the first pass two arrays of our own take turns; the input stays as it is
            spare = source if source is not array else None
            source = out
        return source

    def _once(self, array: np.ndarray, out: np.ndarray) -> None:
        present = np.zeros(256, np.bool_)
        for plane in array:
            _mark(np.ascontiguousarray(plane), present)
        labels = np.flatnonzero(present).astype(np.uint8)
        if labels.size <= 1:
            out[...] = array
        elif labels.size <= _FEW:
            self._by_sums(array, labels, out)
        else:
            r, depth = self.radius, array.shape[0]
            for z in range(depth):
                window = np.ascontiguousarray(array[max(0, z - r) : z + r + 1])
                _mode_plane(window, min(z, r), r, out[z])

    def _by_sums(self, array: np.ndarray, labels: np.ndarray, out: np.ndarray) -> None:
        r, window = self.radius, 2 * self.radius + 1
        depth, *plane = array.shape
        boxes = np.zeros((window, labels.size, *plane), np.uint16)  # sums over the last planes, each in its own plane
        sums = np.zeros((labels.size, *plane), np.uint16)
        rows = np.empty(plane, np.uint16)
        for z in range(-r, depth):
            ahead = z + r
            slot = boxes[ahead % window]  # holds plane ahead - window, which now leaves the box
            if ahead < depth:
                _enter(np.ascontiguousarray(array[ahead]), labels, r, rows, slot, sums)
            else:
                sums -= slot
                slot[...] = 0
            if z >= 0:
                _decide(np.ascontiguousarray(array[z]), labels, sums, out[z])


@njit(cache=True, nogil=True)
def _mark(plane: np.ndarray, present: np.ndarray) -> None:
    for y in range(plane.shape[0]):
        row = plane[y]
        last = row[0]
        present[last] = True
        for x in range(1, row.size):
            if row[x] != last:
                last = row[x]
                present[last] = True


@njit(cache=True, nogil=True)
def _enter(plane: np.ndarray, labels: np.ndarray, r: int, rows: np.ndarray, slot: np.ndarray, sums: np.ndarray) -> None:
    """Replace a slot by the box sums of a plane, and carry the change into the sums over the planes."""
    ny, nx = plane.shape
    column = np.empty(nx, np.uint16)
    for k in range(labels.size):
        label = labels[k]
        for y in range(ny):
            source, row = plane[y], rows[y]
            row[:] = 0
            for d in range(-r, r + 1):
                n = nx - abs(d)
                if n > 0:
                    shifted = source[max(0, d) : max(0, d) + n]
                    target = row[max(0, -d) : max(0, -d) + n]
                    for x in range(n):
                        target[x] += shifted[x] == label
        column[:] = 0
        for y in range(min(r, ny)):
            row = rows[y]
            for x in range(nx):
                column[x] += row[x]
        for y in range(ny):
            if y + r < ny:
                row = rows[y + r]
                for x in range(nx):
                    column[x] += row[x]
            if y - r - 1 >= 0:
                row = rows[y - r - 1]
                for x in range(nx):
                    column[x] -= row[x]
            old, total = slot[k, y], sums[k, y]
            for x in range(nx):
                total[x] += column[x] - old[x]
                old[x] = column[x]


@njit(cache=True, nogil=True)
def _decide(plane: np.ndarray, labels: np.ndarray, sums: np.ndarray, out: np.ndarray) -> None:
    ny, nx = plane.shape
    most = np.empty(nx, np.uint16)
    mine = np.empty(nx, np.uint16)
    for y in range(ny):
        row, result = plane[y], out[y]
        most[:] = 0
        mine[:] = 0
        for k in range(labels.size):
            label, count = labels[k], sums[k, y]
            # labels rise: only a greater count displaces a smaller label. Short loops that load all before they
            # choose become SIMD; loads inside the choice do not
            for x in range(nx):
                c, m, kept = count[x], most[x], result[x]
                result[x] = label if c > m else kept
            for x in range(nx):
                c, m = count[x], most[x]
                most[x] = c if c > m else m
            for x in range(nx):
                c, m = count[x], mine[x]
                mine[x] = c if row[x] == label else m
        for x in range(nx):
            own, other = row[x], result[x]
            result[x] = own if mine[x] == most[x] else other


@njit(cache=True, nogil=True)
def _mode_plane(window: np.ndarray, centre: int, r: int, out: np.ndarray) -> None:
    """Do one plane for any number of labels: counts of all labels move along each row."""
    depth, ny, nx = window.shape
    counts = np.zeros(256, np.int32)
    for y in range(ny):
        low, high = max(0, y - r), min(ny, y + r + 1)
        counts[:] = 0
        size = 0
        for x in range(-r, nx):
            if x + r < nx:
                for z in range(depth):
                    for v in range(low, high):
                        counts[window[z, v, x + r]] += 1
                size += depth * (high - low)
            if x - r - 1 >= 0:
                for z in range(depth):
                    for v in range(low, high):
                        counts[window[z, v, x - r - 1]] -= 1
                size -= depth * (high - low)
            if x < 0:
                continue
            label = window[centre, y, x]
            most, own = counts[label], label
            if 2 * most < size:
                for z in range(depth):
                    for v in range(low, high):
                        for u in range(max(0, x - r), min(nx, x + r + 1)):
                            other = window[z, v, u]
                            count = counts[other]
                            if count > most or (count == most and label != own and other < label):
                                most, label = count, other
            out[y, x] = label
