"""The median of 3×3×3 voxels by networks of minima and maxima that run over whole rows.

The work is shared along the row: first each column of three voxels along z is sorted, then three such columns along y
are merged into nine sorted values, and last three neighbours along x give the median. After the values of one rank of
three neighbours are put in order (low ≤ mid ≤ high), 14 of the 27 cannot be the median: with i the rank (0 … 8) the
median is the 7th of low 5…8, mid 2…6 and high 0…3. About 95 operations a voxel, against some 300 for sorting 27 values.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.filters.grey import fold

# Constant row length of the buffers: the compiler then sees that rows do not overlap, and uses SIMD.
TILE = 512
STRIDE = TILE + 2
ROWS = 18


def run(flat: np.ndarray, sz: int, sy: int, out: np.ndarray) -> None:
    """Write the median of the volume given by `flat` and its strides to `out`."""
    columns = np.empty(9 * STRIDE, out.dtype)
    nine = np.empty(9 * STRIDE, out.dtype)
    _filter(flat, sz, sy, columns, nine, out)


@njit(cache=True, nogil=True)
def _filter(flat: np.ndarray, sz: int, sy: int, columns: np.ndarray, nine: np.ndarray, out: np.ndarray) -> None:
    nz, ny, nx = out.shape
    for left in range(0, nx, TILE):
        n = min(TILE, nx - left)
        # columns left - 1 … left + n, as far as they exist, go to places 0 … n + 1
        first = max(0, left - 1)
        place = first - left + 1
        count = min(nx, left + n + 1) - first
        for z in range(nz):
            a, b, c = fold(z - 1, nz) * sz + first, z * sz + first, fold(z + 1, nz) * sz + first
            done = 0
            for y in range(ny):
                while done <= min(ny - 1, y + 1):
                    s = done * sy
                    at = done % 3 * 3 * STRIDE + place
                    _sort_columns(
                        flat[a + s : a + s + count],
                        flat[b + s : b + s + count],
                        flat[c + s : c + s + count],
                        columns[at:],
                    )
                    done += 1
                below, here, above = fold(y - 1, ny) % 3, y % 3, fold(y + 1, ny) % 3
                _merge(
                    columns[below * 3 * STRIDE + place :],
                    columns[here * 3 * STRIDE + place :],
                    columns[above * 3 * STRIDE + place :],
                    nine[place:],
                    count,
                )
                for k in range(9):
                    if left == 0:
                        nine[k * STRIDE] = nine[k * STRIDE + 1]
                    if left + n == nx:
                        nine[k * STRIDE + n + 1] = nine[k * STRIDE + n]
                _select(nine, out[z, y, left : left + n])


@njit(cache=True, nogil=True)
def _sort_columns(a: np.ndarray, b: np.ndarray, c: np.ndarray, columns: np.ndarray) -> None:
    for x in range(a.size):
        p, q = min(a[x], b[x]), max(a[x], b[x])
        m = min(q, c[x])
        columns[x] = min(p, m)
        columns[STRIDE + x] = max(p, m)
        columns[2 * STRIDE + x] = max(q, c[x])


@njit(cache=True, nogil=True)
def _merge(a: np.ndarray, b: np.ndarray, c: np.ndarray, nine: np.ndarray, count: int) -> None:
    """Merge three sorted columns of three into nine sorted values."""
    for x in range(count):
        # order each rank: rows l ≤ m ≤ h stay ordered in both directions
        p, q = a[x], b[x]
        p, q = min(p, q), max(p, q)
        r = c[x]
        s = min(q, r)
        l0, l1, l2 = min(p, s), max(p, s), max(q, r)
        p, q = a[STRIDE + x], b[STRIDE + x]
        p, q = min(p, q), max(p, q)
        r = c[STRIDE + x]
        s = min(q, r)
        m0, m1, m2 = min(p, s), max(p, s), max(q, r)
        p, q = a[2 * STRIDE + x], b[2 * STRIDE + x]
        p, q = min(p, q), max(p, q)
        r = c[2 * STRIDE + x]
        s = min(q, r)
        h0, h1, h2 = min(p, s), max(p, s), max(q, r)
        # what is left between the ends: q ≤ m1 ≤ r and u ≤ v
        q, r = max(l1, m0), min(h1, m2)
        u, v = min(l2, h0), max(l2, h0)
        i, j = max(q, u), min(r, v)
        k = min(m1, j)
        nine[x] = l0
        nine[STRIDE + x] = min(l1, m0)
        nine[2 * STRIDE + x] = min(q, u)
        nine[3 * STRIDE + x] = min(i, m1)
        nine[4 * STRIDE + x] = max(i, k)
        nine[5 * STRIDE + x] = max(m1, j)
        nine[6 * STRIDE + x] = max(r, v)
        nine[7 * STRIDE + x] = max(h1, m2)
        nine[8 * STRIDE + x] = h2


@njit(cache=True, nogil=True)
def _low(nine: np.ndarray, k: int) -> float:
    return min(min(nine[k], nine[k + 1]), nine[k + 2])


@njit(cache=True, nogil=True)
def _high(nine: np.ndarray, k: int) -> float:
    return max(max(nine[k], nine[k + 1]), nine[k + 2])


@njit(cache=True, nogil=True)
def _mid(nine: np.ndarray, k: int) -> float:
    a, b = nine[k], nine[k + 1]
    return max(min(a, b), min(max(a, b), nine[k + 2]))


@njit(cache=True, nogil=True)
def _select(nine: np.ndarray, out: np.ndarray) -> None:
    """Take the median of the sorted nines at x, x + 1 and x + 2."""
    for x in range(out.size):
        a0, a1 = _low(nine, 5 * STRIDE + x), _low(nine, 6 * STRIDE + x)
        a2, a3 = _low(nine, 7 * STRIDE + x), _low(nine, 8 * STRIDE + x)
        b0, b1 = _high(nine, x), _high(nine, STRIDE + x)
        b2, b3 = _high(nine, 2 * STRIDE + x), _high(nine, 3 * STRIDE + x)
        # odd-even merge of a and b; c0 and c7 are not needed
        e0, e1 = max(a0, b0), min(a2, b2)
        e2 = max(a2, b2)
        e0, e1 = min(e0, e1), max(e0, e1)
        f0 = min(a1, b1)
        f1, f2 = max(a1, b1), min(a3, b3)
        f1, f2 = min(f1, f2), max(f1, f2)
        c1, c2 = min(e0, f0), max(e0, f0)
        c3, c4 = min(e1, f1), max(e1, f1)
        c5, c6 = min(e2, f2), max(e2, f2)
        # 7th of thirteen: least over i + j = 7 of the larger of the i-th of c and the j-th of mid
        r = min(max(c1, _mid(nine, 6 * STRIDE + x)), max(c2, _mid(nine, 5 * STRIDE + x)))
        r = min(r, max(c3, _mid(nine, 4 * STRIDE + x)))
        r = min(r, max(c4, _mid(nine, 3 * STRIDE + x)))
        out[x] = min(min(r, max(c5, _mid(nine, 2 * STRIDE + x))), c6)
