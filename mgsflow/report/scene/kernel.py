"""Rays through labelled voxels, and balls: what is seen first, how deep it is, and which way its surface faces."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Voxels about a hit that its normal is taken from, to each side.
_REACH = 2


@njit(cache=True, nogil=True)
def cast_labels(
    labels: np.ndarray,
    edges: np.ndarray,
    right: np.ndarray,
    up: np.ndarray,
    toward: np.ndarray,
    scale: float,
    depth: np.ndarray,
    normal: np.ndarray,
    seen: np.ndarray,
) -> None:
    """Set depth, normal and label of each pixel to those of the first voxel on its ray that is not 0.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        0 is clear.
    edges : ndarray, shape (3,)
        Edges of a voxel.
    right, up, toward : ndarray, shape (3,)
        Unit vectors of the picture: to its right, to its top, and towards the eye.
    scale : float
        Length of a pixel.
    depth : ndarray of float32, shape (rows, columns)
        Along `toward`, from the middle of the volume; changed where something nearer is hit.
    normal : ndarray of float32, shape (rows, columns, 3)
    seen : ndarray of uint8, shape (rows, columns)
    """
    rows, columns = depth.shape
    shape = np.array(labels.shape)
    base = np.empty(3)
    cell, step = np.empty(3, np.int64), np.empty(3, np.int64)
    ahead, each = np.empty(3), np.empty(3)
    for i in range(rows):
        for j in range(columns):
            for d in range(3):
                base[d] = ((j + 0.5 - 0.5 * columns) * right[d] + (0.5 * rows - i - 0.5) * up[d]) * scale
            at, axis = _enter(base, toward, shape, edges, cell, step, ahead, each)
            while axis >= 0:
                label = labels[cell[0], cell[1], cell[2]]
                if label:
                    if -at > depth[i, j]:
                        depth[i, j] = -at
                        seen[i, j] = label
                        _face_of(labels, edges, cell, label, axis, step[axis], normal[i, j])
                    break
                at, axis = _next(cell, step, ahead, each, shape)


@njit(cache=True, nogil=True)
def _enter(
    base: np.ndarray,
    toward: np.ndarray,
    shape: np.ndarray,
    edges: np.ndarray,
    cell: np.ndarray,
    step: np.ndarray,
    ahead: np.ndarray,
    each: np.ndarray,
) -> tuple[float, int]:
    """Set the voxel where the ray base − t·toward, from the middle of the box, comes in; return t and the axis.

    The axis is that of the face which it comes through, −1 where it misses the box. `ahead` is set to the t at which
    it leaves the voxel along each axis, `each` to the t that it takes from face to face.
    """
    enter, leave, axis = -np.inf, np.inf, -1
    for d in range(3):
        place, high = base[d] + 0.5 * shape[d] * edges[d], shape[d] * edges[d]
        step[d] = -1 if toward[d] > 0 else 1
        if abs(toward[d]) <= 1e-12:
            each[d] = np.inf
            if place < 0 or place >= high:
                return 0.0, -1
            continue
        each[d] = edges[d] / abs(toward[d])
        t0, t1 = place / toward[d], (place - high) / toward[d]
        if min(t0, t1) > enter:
            enter, axis = min(t0, t1), d
        leave = min(leave, max(t0, t1))
    if enter >= leave:
        return 0.0, -1
    for d in range(3):
        p = (base[d] + 0.5 * shape[d] * edges[d] - enter * toward[d]) / edges[d]
        cell[d] = min(max(int(np.floor(p)), 0), shape[d] - 1)
        ahead[d] = np.inf
        if each[d] < np.inf:
            ahead[d] = enter + abs(cell[d] + (1 if step[d] > 0 else 0) - p) * each[d]
    return enter, axis


@njit(cache=True, nogil=True)
def _next(
    cell: np.ndarray, step: np.ndarray, ahead: np.ndarray, each: np.ndarray, shape: np.ndarray
) -> tuple[float, int]:
    """Go on to the next voxel on a ray; return t and the axis of the face between, −1 where the box ends."""
    axis = 0
    if ahead[1] < ahead[axis]:
        axis = 1
    if ahead[2] < ahead[axis]:
        axis = 2
    at = ahead[axis]
    cell[axis] += step[axis]
    if cell[axis] < 0 or cell[axis] >= shape[axis]:
        return at, -1
    ahead[axis] += each[axis]
    return at, axis


@njit(cache=True, nogil=True)
def _face_of(
    labels: np.ndarray, edges: np.ndarray, cell: np.ndarray, label: int, axis: int, step: int, out: np.ndarray
) -> None:
    """Set the outward normal at a voxel: away from what is of its label about it; at the border, that of the face."""
    shape = labels.shape
    border = cell[axis] == (0 if step > 0 else shape[axis] - 1)
    sums = np.zeros(3)
    if not border:
        for a in range(-_REACH, _REACH + 1):
            i = min(max(cell[0] + a, 0), shape[0] - 1)
            for b in range(-_REACH, _REACH + 1):
                j = min(max(cell[1] + b, 0), shape[1] - 1)
                for c in range(-_REACH, _REACH + 1):
                    square = a * a + b * b + c * c
                    if square == 0 or square > _REACH * _REACH + 1:
                        continue
                    k = min(max(cell[2] + c, 0), shape[2] - 1)
                    if labels[i, j, k] != label:
                        sums[0] += a / square
                        sums[1] += b / square
                        sums[2] += c / square
    for d in range(3):
        sums[d] /= edges[d]
    size = np.sqrt((sums**2).sum())
    if size < 1e-6:
        sums[:] = 0
        sums[axis] = -step
        size = 1.0
    for d in range(3):
        out[d] = sums[d] / size


@njit(cache=True, nogil=True)
def cast_largest(
    values: np.ndarray,
    edges: np.ndarray,
    right: np.ndarray,
    up: np.ndarray,
    toward: np.ndarray,
    scale: float,
    largest: np.ndarray,
) -> None:
    """Set each pixel to the largest positive value on its ray; arguments as of `cast_labels`."""
    rows, columns = largest.shape
    shape = np.array(values.shape)
    base = np.empty(3)
    cell, step = np.empty(3, np.int64), np.empty(3, np.int64)
    ahead, each = np.empty(3), np.empty(3)
    for i in range(rows):
        for j in range(columns):
            for d in range(3):
                base[d] = ((j + 0.5 - 0.5 * columns) * right[d] + (0.5 * rows - i - 0.5) * up[d]) * scale
            _, axis = _enter(base, toward, shape, edges, cell, step, ahead, each)
            while axis >= 0:
                value = values[cell[0], cell[1], cell[2]]
                if value > largest[i, j]:
                    largest[i, j] = value
                _, axis = _next(cell, step, ahead, each, shape)


@njit(cache=True, nogil=True)
def stamp_balls(
    places: np.ndarray,
    radii: np.ndarray,
    colours: np.ndarray,
    depth: np.ndarray,
    normal: np.ndarray,
    paint: np.ndarray,
    covered: np.ndarray,
) -> None:
    """Draw balls where they are nearer than what is there.

    Parameters
    ----------
    places : ndarray of float64, shape (n, 3)
        Column, row and depth of each centre, in pixels.
    radii : ndarray of float64, shape (n,)
        In pixels.
    colours : ndarray of uint8, shape (n, 3)
    depth, normal : ndarray of float32
        As of `cast_labels`, depth in pixels; the normal along the picture: right, up, toward.
    paint : ndarray of uint8, shape (rows, columns, 3)
    covered : ndarray of uint8, shape (rows, columns)
        Set to 1.
    """
    rows, columns = depth.shape
    for n in range(radii.size):
        x, y, z = places[n, 0], places[n, 1], places[n, 2]
        r = max(radii[n], 0.5)
        for i in range(max(0, int(y - r)), min(rows, int(y + r) + 2)):
            for j in range(max(0, int(x - r)), min(columns, int(x + r) + 2)):
                u, v = j + 0.5 - x, i + 0.5 - y
                rest = r * r - u * u - v * v
                if rest < 0:
                    continue
                high = np.sqrt(rest)
                if z + high > depth[i, j]:
                    depth[i, j] = z + high
                    normal[i, j, 0], normal[i, j, 1], normal[i, j, 2] = u / r, -v / r, high / r
                    for c in range(3):
                        paint[i, j, c] = colours[n, c]
                    covered[i, j] = 1
