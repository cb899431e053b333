"""Exact squared Euclidean distance of an array in memory: to the nearest voxel that is not in the phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgsflow.blocks import Box
from mgsflow.errors import InputError
from mgsflow.labelling.distance.envelope import LONGEST, NEAR, along_z, lines_bytes, maxima, within_planes

FAR = 1 << 30
"""Whole squared distance where there is nothing to be distant from; where it is not whole, that is infinite."""

_RATIO = 100.0  # of the edges of a voxel: rounding must stay far below the square of the shortest


class Metric:
    """Squares of steps along each axis, whole or in floating point.

    Parameters
    ----------
    edges : sequence of float, optional
        Edges of a voxel along (z, y, x), in µm; default, squares are whole numbers in voxels².
    """

    def __init__(self, edges: Sequence[float] | None = None):
        if edges is not None and max(edges) > _RATIO * min(edges):
            raise InputError(f"edges of a voxel differ by more than {_RATIO:.0f} times: {list(edges)}")
        self.edges = None if edges is None else [float(e) for e in edges]
        self.dtype: np.dtype[Any] = np.dtype(np.int32 if edges is None else np.float64)
        self.far = self.dtype.type(FAR if edges is None else np.inf)

    def squares(self, axis: int, most: int) -> np.ndarray:
        """Return the squares of 0 … `most` steps along an axis."""
        steps = np.arange(most + 1)
        return steps.astype(np.int32) ** 2 if self.edges is None else (self.edges[axis] * steps) ** 2

    def weight(self, axis: int) -> float | None:
        """Return the square of a step in floating point, or None."""
        return None if self.edges is None else self.edges[axis] ** 2


class Distances:
    """Squared distances of a core, from slabs of the box around it that come one after the other.

    Parameters
    ----------
    shape : sequence of int
        Shape of the box.
    core : Box
        Voxels that are wanted, counted from the first of the box: the work along an axis is done for these only.
    edges : sequence of float, optional
        Edges of a voxel; see `Metric`.

    Raises
    ------
    InputError
        If the box is longer than `LONGEST` voxels.
    """

    def __init__(self, shape: Sequence[int], core: Box, edges: Sequence[float] | None = None):
        if max(shape) > LONGEST:
            raise InputError(f"distances take boxes of at most {LONGEST} voxels along an axis, got {tuple(shape)}")
        self.core = core
        self.metric = Metric(edges)
        self.squares = [self.metric.squares(axis, n + NEAR + 1) for axis, n in enumerate(shape)]
        #: within planes, of all planes of the box
        self.planes = np.empty((shape[0], *core.shape[1:]), self.metric.dtype)

    def add(self, slab: np.ndarray, z: int) -> None:
        """Take the planes of the box from `z` on, as voxels that are not zero in the phase."""
        bytes_ = np.ascontiguousarray(slab if slab.dtype in (np.bool_, np.uint8) else slab != 0).view(np.uint8)
        (_, y0, x0), (_, y1, x1) = self.core.start, self.core.stop
        _, qy, qx = self.squares
        wy, wx = self.metric.weight(1), self.metric.weight(2)
        within_planes(bytes_, y0, y1, x0, x1, qx, qy, wx, wy, self.metric.far, self.planes[z : z + len(slab)])

    def finish(self) -> np.ndarray:
        """Return the squared distances of the core, when all planes were added."""
        a, b = self.core.start[0], self.core.stop[0]
        out = self.planes
        if b - a < len(out):
            out = np.empty((b - a, *out.shape[1:]), out.dtype)
        along_z(self.planes, a, b, self.squares[0], self.metric.weight(0), self.metric.far, out)
        return out


def squared_distance(array: np.ndarray, core: Box | None = None, edges: Sequence[float] | None = None) -> np.ndarray:
    """Return the squared distance of each voxel to the nearest zero voxel of an array.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
        Voxels of the phase are those that are not zero. What is outside the array counts as nothing.
    core : Box, optional
        Voxels of the array that are wanted; default, all.
    edges : sequence of float, optional
        Edges of a voxel along (z, y, x); default, distances are in voxels.

    Returns
    -------
    ndarray of int32 or float64
        Of the shape of `core`; 0 outside the phase. Without `edges` whole numbers, `FAR` if the array has no zero;
        with them the least of the rounded ((wx·dx)² + (wy·dy)²) + (wz·dz)², infinite if there is none.

    Raises
    ------
    InputError
        If an axis is longer than `LONGEST`, or edges differ by more than 100 times.
    """
    found = Distances(array.shape, Box.of(array.shape) if core is None else core, edges)
    found.add(array, 0)
    return found.finish()


def scratch(shape: Sequence[int], core: Sequence[int], slab: int, itemsize: int) -> int:
    """Return the most bytes that `Distances` holds beside the slab it is given and its result.

    Parameters
    ----------
    shape, core : sequence of int
        Of the box and of its core.
    slab : int
        Planes given at once.
    itemsize : int
        Bytes of a squared distance.
    """
    planes = shape[0] * core[1] * core[2] if core[0] < shape[0] else 0
    rows = shape[1] * core[2]
    copies = slab * shape[1] * shape[2]
    lines = max(lines_bytes(shape[0], itemsize), lines_bytes(shape[1], itemsize))
    tables = itemsize * (sum(shape) + 3 * NEAR + 9) + 8 * max(shape)
    return itemsize * (planes + rows) + copies + lines + tables + 4 * core[2] + (1 << 16)


def reach(found: np.ndarray, edges: Sequence[float] | None = None) -> tuple[list[int], list[int]]:
    """Return how many voxels beyond each face must be known for squared distances to be certain.

    Parameters
    ----------
    found : ndarray, shape (z, y, x)
        Upper bounds of the squared distances.
    edges : sequence of float, optional
        Edges of a voxel, as the distances were computed with.

    Returns
    -------
    low, high : list of int
        Voxels beyond the lower and the higher faces along (z, y, x); at least `LONGEST` less the depth of a voxel
        that has no background yet.
    """
    metric = Metric(edges)
    largest = [np.zeros(n, found.dtype) for n in found.shape]
    maxima(found, *largest)
    low, high = [], []
    for axis, most in enumerate(largest):
        # steps along the axis that alone are shorter than the distance
        steps = np.maximum(np.searchsorted(metric.squares(axis, LONGEST), most, side="left") - 1, 0)
        depth = np.arange(most.size)
        low.append(max(0, int((steps - depth).max())))
        high.append(max(0, int((steps - depth[::-1]).max())))
    return low, high
