"""One pass over the 2×2×2 cubes of a tile that counts what touches what: the numba side of `contacts`.

A cube stands for the cells whose lowest corner is its lowest voxel: the voxel itself, its pairs along 3 axes, the 2
diagonals and the triple-phase test of 3 squares, and 4 space diagonals. The sum over all cubes therefore holds every
pair in each of the 13 directions once. A row of counts is

    voxels (P) | pairs along z, y, x (3 S) | per normal z, y, x: diagonals (S), triple (1) | space diagonals (S)

with P phases and S = P (P + 1) / 2 unordered pairs. Along each axis a cube lies inside its tile (state 0), reaches
into the next tile (1), or would leave the volume (2), where its cells that extend along this axis do not exist.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

TABLED = 3
"""Most phases for which all P⁸ cubes are tabled; with more, cubes that are not uniform are taken one by one."""


def row_width(phases: int) -> int:
    """Return the length of a row of counts."""
    return phases + 8 * (phases * (phases + 1) // 2) + 3


def pair_index(phases: int) -> np.ndarray:
    """Return the place of each unordered pair of phases, shape (phases, phases), symmetric."""
    index = np.zeros((phases, phases), np.int64)
    i, j = np.triu_indices(phases)
    index[i, j] = index[j, i] = np.arange(i.size)
    return index


@njit(cache=True, nogil=True, inline="always")
def _triple(a, b, c, d, inactive):  # type: ignore[no-untyped-def]
    """Tell whether at least three active labels meet at an edge."""
    n = 1 + (b != a) + ((c != a) & (c != b)) + ((d != a) & (d != b) & (d != c))
    n -= (a == inactive) | (b == inactive) | (c == inactive) | (d == inactive)
    return n >= 3


@njit(cache=True, nogil=True, inline="always")
def _add_cube(row, pair, inactive, a, b, c, d, e, f, g, h):  # type: ignore[no-untyped-def]
    """Add the cells of one cube; a…h are the voxels at (z, y, x) = 000, 010, 100, 110, 001, 011, 101, 111."""
    n = pair.shape[0]
    s = n * (n + 1) // 2
    row[a] += 1
    row[n + pair[a, c]] += 1
    row[n + s + pair[a, b]] += 1
    row[n + 2 * s + pair[a, e]] += 1
    o = n + 3 * s
    row[o + pair[a, f]] += 1
    row[o + pair[b, e]] += 1
    row[o + s] += _triple(a, b, e, f, inactive)
    o += s + 1
    row[o + pair[a, g]] += 1
    row[o + pair[c, e]] += 1
    row[o + s] += _triple(a, c, e, g, inactive)
    o += s + 1
    row[o + pair[a, d]] += 1
    row[o + pair[b, c]] += 1
    row[o + s] += _triple(a, b, c, d, inactive)
    o += s + 1
    row[o + pair[a, h]] += 1
    row[o + pair[b, g]] += 1
    row[o + pair[c, f]] += 1
    row[o + pair[d, e]] += 1


@njit(cache=True, nogil=True)
def _fill_table(table, pair, inactive):  # type: ignore[no-untyped-def]
    n = pair.shape[0]
    v = np.zeros(8, np.int64)
    for code in range(table.shape[0]):
        k = code
        for i in range(8):
            v[i] = k % n
            k //= n
        _add_cube(table[code], pair, inactive, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7])


@lru_cache(maxsize=16)
def cube_table(phases: int, inactive: int) -> np.ndarray:
    """Return the row of every cube of up to `TABLED` phases; the code's base-P digits are the voxels a…h."""
    table = np.zeros((phases**8, row_width(phases)), np.int32)
    _fill_table(table, pair_index(phases), inactive)
    table.flags.writeable = False
    return table


@njit(cache=True, nogil=True)
def count_tabled(m, box, tile_end, phases, table, histogram, column, rows):  # type: ignore[no-untyped-def]
    """Add the cubes whose lowest voxel is in `box` of `m` to `rows` (27, width), by the histogram of their codes.

    `tile_end` is where the tile ends, in voxels of `m`; `histogram` (2, P⁸) int32 holds zeros and is left so.
    """
    nz, ny, nx = m.shape
    p1 = np.uint16(phases)
    p2 = np.uint16(phases * phases)
    p3 = np.uint16(phases * phases * phases)
    q = np.int64(phases) ** 4
    width = table.shape[1]
    z0, z1, y0, y1, x0, x1 = box
    n = x1 - x0
    x_state = 0
    if x1 == nx:
        x_state = 2
    elif x1 == tile_end[2]:
        x_state = 1
    inner = n - 1 if x_state else n  # cubes of state 0 along x
    used = n if x_state == 2 else n + 1  # columns that exist
    # planes (then rows) in two groups: state 0, and the last one where its state differs
    z_state = 2 if z1 == nz else (1 if z1 == tile_end[0] else 0)
    y_state = 2 if y1 == ny else (1 if y1 == tile_end[1] else 0)
    for zg in range(2):
        za, zb, sz = z0, z1, 0
        if z_state:
            za, zb, sz = (z0, z1 - 1, 0) if zg == 0 else (z1 - 1, z1, z_state)
        elif zg:
            continue
        for yg in range(2):
            ya, yb, sy = y0, y1, 0
            if y_state:
                ya, yb, sy = (y0, y1 - 1, 0) if yg == 0 else (y1 - 1, y1, y_state)
            elif yg:
                continue
            state = 9 * sz + 3 * sy
            for z in range(za, zb):
                zn = z + 1 if z + 1 < nz else z
                for y in range(ya, yb):
                    yn = y + 1 if y + 1 < ny else y
                    r0 = m[z, y, x0 : x0 + used]
                    r1 = m[z, yn, x0 : x0 + used]
                    r2 = m[zn, y, x0 : x0 + used]
                    r3 = m[zn, yn, x0 : x0 + used]
                    for x in range(used):
                        column[x] = (
                            np.uint16(r0[x]) + p1 * np.uint16(r1[x]) + p2 * np.uint16(r2[x]) + p3 * np.uint16(r3[x])
                        )
                    if used == n:
                        column[n] = column[n - 1]
                    x = 0
                    while x + 1 < inner:
                        histogram[0, column[x] + q * column[x + 1]] += 1
                        histogram[1, column[x + 1] + q * column[x + 2]] += 1
                        x += 2
                    if x < inner:
                        histogram[0, column[x] + q * column[x + 1]] += 1
                    if inner < n:
                        code = column[n - 1] + q * column[n]
                        for w in range(width):
                            rows[state + x_state, w] += table[code, w]
            for code in range(histogram.shape[1]):
                k = histogram[0, code] + histogram[1, code]
                if k:
                    histogram[0, code] = 0
                    histogram[1, code] = 0
                    for w in range(width):
                        rows[state, w] += k * table[code, w]


@njit(cache=True, nogil=True)
def count_direct(m, box, tile_end, pair, inactive, uniform, rows):  # type: ignore[no-untyped-def]
    """Do what `count_tabled` does for any number of phases; `uniform` (P,) int64 is scratch."""
    nz, ny, nx = m.shape
    n = pair.shape[0]
    s = n * (n + 1) // 2
    z0, z1, y0, y1, x0, x1 = box
    for z in range(z0, z1):
        sz = 2 if z + 1 == nz else (1 if z + 1 == tile_end[0] else 0)
        zn = z + 1 if sz < 2 else z
        for y in range(y0, y1):
            sy = 2 if y + 1 == ny else (1 if y + 1 == tile_end[1] else 0)
            yn = y + 1 if sy < 2 else y
            r0, r1, r2, r3 = m[z, y], m[z, yn], m[zn, y], m[zn, yn]
            state = 9 * sz + 3 * sy
            for p in range(n):
                uniform[p] = 0
            for x in range(x0, x1):
                sx = 2 if x + 1 == nx else (1 if x + 1 == tile_end[2] else 0)
                xn = x + 1 if sx < 2 else x
                a, b, c, d = r0[x], r1[x], r2[x], r3[x]
                e, f, g, h = r0[xn], r1[xn], r2[xn], r3[xn]
                if sx == 0 and ((a ^ b) | (a ^ c) | (a ^ d) | (a ^ e) | (a ^ f) | (a ^ g) | (a ^ h)) == 0:
                    uniform[a] += 1
                else:
                    _add_cube(rows[state + sx], pair, inactive, a, b, c, d, e, f, g, h)
            for p in range(n):
                k = uniform[p]
                if k:
                    i = pair[p, p]
                    row = rows[state]
                    row[p] += k
                    for t in range(3):
                        row[n + t * s + i] += k
                        row[n + 3 * s + t * (s + 1) + i] += 2 * k
                    row[n + 6 * s + 3 + i] += 4 * k
