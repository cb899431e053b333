"""Smooth Gaussian random fields: hashed white noise on a lattice, spread by cubic B-splines.

The field at a point is a weighted sum of the 4x4x4 lattice nodes around it, in a fixed order, with weights scaled so
that its variance is exactly 1 everywhere. Its correlation is close to ``exp(-r^2 / l^2)`` with ``l = 2/sqrt(3)``
lattice spacings (a cubic B-spline has variance 1/3, and noise convolved with it correlates as the spline with itself).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from mgsflow.phantoms.hashing import normal8, point_hash, row_hash
from mgsflow.phantoms.sampling import Lattice

LENGTH_PER_SPACING = 2.0 / math.sqrt(3.0)


def add_field(
    out: np.ndarray, lattice: Lattice, key: np.uint64, spacing: tuple[float, float, float], weight: float
) -> None:
    """Add ``weight`` times a unit Gaussian field to an array.

    Parameters
    ----------
    out : ndarray of float32
        One element a lattice point; changed in place.
    lattice : Lattice
        Voxels at which to evaluate.
    key : uint64
        Stream of the field.
    spacing : tuple of float
        Distance between nodes along (z, y, x), in voxels.
    weight : float
    """
    axes = [_splines(lattice.coordinates(a), spacing[a]) for a in range(3)]
    (iz, wz), (iy, wy), (ix, wx) = axes
    first = [int(i[0]) for i, _ in axes]
    count = [int(i[-1]) - f + 4 for (i, _), f in zip(axes, first)]
    nodes = np.empty(count, np.float32)
    _fill(nodes, key, *first)
    _spread(out, nodes, iz - first[0], wz, iy - first[1], wy, ix - first[2], wx, np.float32(weight))


def _splines(coordinates: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return, per voxel, its first node and the four weights (4, n), scaled to unit sum of squares."""
    u = (coordinates + 0.5) / spacing
    cell = np.floor(u)
    t = u - cell
    s = 1.0 - t
    w = np.stack([s * s * s, 4.0 - 6.0 * t * t + 3.0 * t * t * t, 4.0 - 6.0 * s * s + 3.0 * s * s * s, t * t * t])
    norm = np.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2] + w[3] * w[3])
    return cell.astype(np.int64) - 1, (w / norm).astype(np.float32)


@njit(cache=True, nogil=True)
def _fill(nodes: np.ndarray, key: np.uint64, z0: int, y0: int, x0: int) -> None:
    for z in range(nodes.shape[0]):
        for y in range(nodes.shape[1]):
            row = row_hash(key, z0 + z, y0 + y)
            for x in range(nodes.shape[2]):
                nodes[z, y, x] = normal8(point_hash(row, x0 + x))


@njit(cache=True, nogil=True)
def _spread(
    out: np.ndarray,
    nodes: np.ndarray,
    iz: np.ndarray,
    wz: np.ndarray,
    iy: np.ndarray,
    wy: np.ndarray,
    ix: np.ndarray,
    wx: np.ndarray,
    weight: float,
) -> None:
    _, my, mx = nodes.shape
    plane = np.empty((my, mx), np.float32)
    row = np.empty(mx, np.float32)
    for z in range(out.shape[0]):
        n0, n1, n2, n3 = nodes[iz[z]], nodes[iz[z] + 1], nodes[iz[z] + 2], nodes[iz[z] + 3]
        a, b, c, d = wz[0, z], wz[1, z], wz[2, z], wz[3, z]
        for j in range(my):
            for i in range(mx):
                plane[j, i] = ((a * n0[j, i] + b * n1[j, i]) + c * n2[j, i]) + d * n3[j, i]
        for y in range(out.shape[1]):
            p0, p1, p2, p3 = plane[iy[y]], plane[iy[y] + 1], plane[iy[y] + 2], plane[iy[y] + 3]
            a, b, c, d = weight * wy[0, y], weight * wy[1, y], weight * wy[2, y], weight * wy[3, y]
            for i in range(mx):
                row[i] = ((a * p0[i] + b * p1[i]) + c * p2[i]) + d * p3[i]
            line = out[z, y]
            for x in range(out.shape[2]):
                k = ix[x]
                line[x] += ((wx[0, x] * row[k] + wx[1, x] * row[k + 1]) + wx[2, x] * row[k + 2]) + wx[3, x] * row[k + 3]
