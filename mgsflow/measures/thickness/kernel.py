"""Covering a phase with its largest inscribed balls.

The ball around c holds the voxels v with |v − c|² < D²(c), where D is the distance of c to the background. Most balls
lie almost wholly in the larger ball of a neighbour, up the slope of D: what sticks out is a cap at the far end, and
only the cap is painted. What is left out is always in a ball of larger D², so that in the end the largest ball over
each voxel is there, whatever the order.
"""

from __future__ import annotations

from math import ceil, floor, inf, sqrt

import numpy as np
from numba import njit

_SMALL = 64  # squared radii below which a whole ball is painted faster than a cap
_ROOTS = np.array([int(sqrt(i)) for i in range(_SMALL)])
_SLACK = 1e-6  # caps may be painted a little too large, never too small


@njit(cache=True, nogil=True)
def containment(size: int) -> np.ndarray:
    """Return the least squared radius at which a ball holds that of a neighbour, for cubic voxels.

    These are the tables of a digital medial axis (Rémy & Thiel 2005, doi:10.1016/j.imavis.2004.06.007).

    Parameters
    ----------
    size : int
        Squared radii 0 … size − 1 are wanted.

    Returns
    -------
    ndarray of int32, shape (4, size)
        First index: squared distance of the neighbour.
    """
    # the farthest voxel from the neighbour, among those at each squared distance from the centre
    most = np.zeros((4, size), np.int32)
    a = 0
    while a * a < size:
        b = 0
        while b <= a and a * a + b * b < size:
            c = 0
            while c <= b and a * a + b * b + c * c < size:
                r = a * a + b * b + c * c
                most[1, r] = max(most[1, r], r + 2 * a + 1)
                most[2, r] = max(most[2, r], r + 2 * (a + b) + 2)
                most[3, r] = max(most[3, r], r + 2 * (a + b + c) + 3)
                c += 1
            b += 1
        a += 1
    out = np.zeros((4, size), np.int32)
    for k in range(1, 4):
        for r in range(1, size):
            out[k, r] = max(out[k, r - 1], most[k, r - 1] + 1)
    return out


@njit(cache=True, nogil=True)
def _neighbour(squares: np.ndarray, z: int, y: int, x: int, weights: np.ndarray) -> tuple[float, int, int, int]:
    """Return where the larger ball of a neighbour cuts the ball of a voxel, and which neighbour cuts off least.

    The first is the distance from the centre to the plane, on the other side of which the ball may stick out; 0 if no
    neighbour's ball reaches so far.
    """
    nz, ny, nx = squares.shape
    wz, wy, wx = weights
    r = squares[z, y, x]
    best, at_z, at_y, at_x = 0.0, 0, 0, 0
    for dz in range(max(-z, -1), min(nz - z, 2)):
        for dy in range(max(-y, -1), min(ny - y, 2)):
            for dx in range(max(-x, -1), min(nx - x, 2)):
                other = squares[z + dz, y + dy, x + dx]
                if other <= r:
                    continue
                step = wz * (dz * dz) + wy * (dy * dy) + wx * (dx * dx)
                # |v − step|² ≥ other and |v|² < r leave v · step < −cut · |step|
                cut = 0.5 * (other - r - step) / sqrt(step)
                if cut > best:
                    best, at_z, at_y, at_x = cut, dz, dy, dx
    return best, at_z, at_y, at_x


@njit(cache=True, nogil=True)
def _is_held(squares: np.ndarray, z: int, y: int, x: int, table: np.ndarray) -> bool:
    """Tell whether the ball of a voxel lies in that of a neighbour."""
    nz, ny, nx = squares.shape
    r = int(squares[z, y, x])
    for dz in range(max(-z, -1), min(nz - z, 2)):
        for dy in range(max(-y, -1), min(ny - y, 2)):
            for dx in range(max(-x, -1), min(nx - x, 2)):
                k = dz * dz + dy * dy + dx * dx
                if k > 0 and squares[z + dz, y + dy, x + dx] >= table[k, r]:
                    return True
    return False


@njit(cache=True, nogil=True)
def _paint_small(r: int, cz: int, cy: int, cx: int, out: np.ndarray) -> None:
    """Paint a whole ball of cubic voxels."""
    mz, my, mx = out.shape
    deep = _ROOTS[r - 1]
    for z in range(max(0, cz - deep), min(mz, cz + deep + 1)):
        disc = r - 1 - (z - cz) * (z - cz)
        wide = _ROOTS[disc]
        for y in range(max(0, cy - wide), min(my, cy + wide + 1)):
            w = _ROOTS[disc - (y - cy) * (y - cy)]
            row = out[z, y]
            for x in range(max(0, cx - w), min(mx, cx + w + 1)):
                row[x] = max(row[x], r)


@njit(cache=True, nogil=True)
def _extent(radius: float, cut: float, n: float, h: float) -> tuple[float, float]:
    """Return the range along an axis of the part of a ball where v · normal < −cut.

    n is the normal's part along that axis, and h its part across.
    """
    low, high = -radius, radius
    if cut > -radius:
        if cut >= radius:
            return 1.0, 0.0
        half = sqrt(radius * radius - cut * cut) * h
        if n * radius > -cut:
            high = half - cut * n
        if -n * radius > -cut:
            low = -half - cut * n
    return low, high


@njit(cache=True, nogil=True)
def _width(r: float, z: float, y: float, edge: float, about: int) -> int:
    """Return how many steps along x stay in a ball, in just the way that distances are rounded; −1 if none does."""
    w = about
    while ((edge * (w + 1)) ** 2 + y * y) + z * z < r:
        w += 1
    while w >= 0 and ((edge * w) ** 2 + y * y) + z * z >= r:
        w -= 1
    return w


@njit(cache=True, nogil=True)
def _paint_cap(
    r: float,
    cz: int,
    cy: int,
    cx: int,
    best: tuple[float, int, int, int],
    edges: np.ndarray,
    rounded: bool,
    out: np.ndarray,
) -> None:
    """Paint what sticks out of the best neighbour's ball, or the whole ball where there is none."""
    mz, my, mx = out.shape
    hz, hy, hx = edges
    wz, wy, wx = hz * hz, hy * hy, hx * hx
    cut, dz, dy, dx = best
    radius = sqrt(r)
    # the normal of the cut: its parts along the axes, and in a plane
    az, ay, ax = hz * dz, hy * dy, hx * dx
    length = sqrt(az * az + ay * ay + ax * ax)
    flat = sqrt(ay * ay + ax * ax)
    if cut > 0:
        az, ay, ax, flat = az / length, ay / length, ax / length, flat / length
        cut -= _SLACK * radius
    else:
        cut = -inf
    low, high = _extent(radius, cut, az, flat)
    for z in range(max(ceil(low / hz - _SLACK), -cz), min(floor(high / hz + _SLACK), mz - 1 - cz) + 1):
        disc = r - wz * (z * z)
        if disc < -_SLACK * r:
            continue
        disc = max(disc, 0.0)
        here = cut + az * hz * z
        if flat > 0:
            low, high = _extent(sqrt(disc), here / flat, ay / flat, abs(ax) / flat)
        elif here > 0:
            continue
        else:
            low, high = -sqrt(disc), sqrt(disc)
        for y in range(max(ceil(low / hy - _SLACK), -cy), min(floor(high / hy + _SLACK), my - 1 - cy) + 1):
            # strictly inside
            last = ceil(sqrt(max(disc - wy * (y * y), 0.0) / wx)) - 1
            if rounded:
                last = _width(r, hz * z, hy * y, hx, last)
            first = -last
            beyond = here + ay * hy * y
            if ax > 0:
                last = min(last, floor(min(-beyond / (ax * hx), 1e9) + _SLACK))
            elif ax < 0:
                first = max(first, ceil(max(-beyond / (ax * hx), -1e9) - _SLACK))
            elif beyond > 0:
                continue
            row = out[cz + z, cy + y]
            for x in range(max(0, cx + first), min(mx - 1, cx + last) + 1):
                row[x] = max(row[x], r)


@njit(cache=True, nogil=True)
def paint(
    squares: np.ndarray, place: tuple[int, int, int], edges: np.ndarray, table: np.ndarray, out: np.ndarray
) -> None:
    """Raise the voxels of a core to the squared radius of the largest ball that holds them.

    Parameters
    ----------
    squares : ndarray, shape (z, y, x)
        Squared distances of centres: whole numbers, or ((wx·dx)² + (wy·dy)²) + (wz·dz)² in floating point.
    place : tuple of int
        Place of the first centre, counted from the first voxel of the core.
    edges : ndarray of float64
        Edges of a voxel along (z, y, x), in the unit of distances.
    table : ndarray of int32
        See `containment`; of size 0 where voxels are not cubes.
    out : ndarray
        Squared radii so far.
    """
    nz, ny, nx = squares.shape
    mz, my, mx = out.shape
    weights = edges * edges
    wz, wy, wx = weights
    for z in range(nz):
        gap_z = max(-place[0] - z, 0, z + place[0] - mz + 1)
        for y in range(ny):
            gap_y = max(-place[1] - y, 0, y + place[1] - my + 1)
            gap_zy = wz * (gap_z * gap_z) + wy * (gap_y * gap_y)
            for x in range(nx):
                r = squares[z, y, x]
                if r <= gap_zy * (1 - _SLACK):  # does not reach the core; 0: not in the phase
                    continue
                gap_x = max(-place[2] - x, 0, x + place[2] - mx + 1)
                if r < (gap_zy + wx * (gap_x * gap_x)) * (1 - _SLACK):
                    continue
                if r < table.shape[1]:
                    if _is_held(squares, z, y, x, table):
                        continue
                    if r < _SMALL:
                        _paint_small(int(r), z + place[0], y + place[1], x + place[2], out)
                        continue
                best = _neighbour(squares, z, y, x, weights)
                _paint_cap(r, z + place[0], y + place[1], x + place[2], best, edges, table.size == 0, out)
