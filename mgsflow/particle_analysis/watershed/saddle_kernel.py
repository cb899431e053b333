"""Where groups of voxels meet, within a block and across its seams: the numba side of `saddles` and of seams.

Meetings are collected in a hash table by the pair of groups. Arrays of a block are padded, and directions are bytes, as
in `mgsflow.particle_analysis.watershed.kernel`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

DIRECTIONS = np.array([(c // 9 - 1, c // 3 % 3 - 1, c % 3 - 1) for c in range(14, 27)])
"""The 13 directions (dz, dy, dx) in which pairs of neighbours are counted: those to larger C indices."""


@njit(cache=True, nogil=True, inline="always")
def _slot(keys, key):  # type: ignore[no-untyped-def]
    """Return where a key is, or would be."""
    mask = keys.size - 1
    at = ((key * np.int64(-7046029254386353131)) >> 20) & mask
    while keys[at] != key and keys[at] != -1:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def meet(labels, d2, margin, start, keys, saddles, contacts):  # type: ignore[no-untyped-def]
    """Find where groups meet, row by row from row `start` on, until all are done or the table may not hold the next.

    Parameters
    ----------
    labels, d2 : ndarray of int32, padded
        Groups, zero in the margin, and squared distances.
    margin : int
    start : int
        First row, ``z · ny + y`` in the block.
    keys, saddles, contacts : ndarray of int64 (n,), int32 (n,), int32 (n, 13)
        Hash table by pair of groups, of 2^k slots: -1 and zeros where it is empty. Filled with both groups (the
        smaller in the upper 32 bits), the largest of the smaller squared distances of two neighbours, and the
        neighbours in each direction.

    Returns
    -------
    row, used : int
        The first row that is not done, and the slots that are taken.
    """
    nz, ny, nx = labels.shape
    inner = ny - 2 * margin
    none = np.int32(2**31 - 1)
    largest = np.zeros(nx, np.int32)
    smallest = np.zeros(nx, np.int32)
    flags = np.zeros(nx, np.uint8)
    places = np.empty(nx, np.int64)
    used = 0
    last = np.int64(-1)
    at = np.int64(0)
    rows = (nz - 2 * margin) * inner
    for r in range(start, rows):
        if 2 * (used + 13 * nx) > keys.size:
            return r, used
        z, y = r // inner + margin, r % inner + margin
        own = labels[z, y]
        most = np.int32(0)
        for x in range(nx):
            most = max(most, own[x])
        if most == 0:
            continue
        # which voxels have another group among their later neighbours: SIMD, for most have none
        for x in range(nx):
            largest[x] = 0
            smallest[x] = none
        for k in range(4):
            row = labels[z, y + 1] if k == 0 else labels[z + 1, y + k - 2]
            for x in range(nx):
                v = row[x]
                largest[x] = max(largest[x], v)
                smallest[x] = min(smallest[x], v if v > 0 else none)
        n = 0
        for x in range(margin, nx - margin):
            v, following = own[x], own[x + 1]
            high = max(largest[x - 1], max(largest[x], largest[x + 1]))
            low = min(smallest[x - 1], min(smallest[x], smallest[x + 1]))
            flags[x] = (v > 0) & ((high > v) | (low < v) | ((following > 0) & (following != v)))
        for x in range(margin, nx - margin):
            places[n] = x
            n += flags[x]
        for k in range(n):
            x = places[k]
            a = own[x]
            height = d2[z, y, x]
            for c in range(13):
                dz, dy, dx = (c + 14) // 9 - 1, (c + 14) // 3 % 3 - 1, (c + 14) % 3 - 1
                b = labels[z + dz, y + dy, x + dx]
                if b == a or b == 0:
                    continue
                saddle = min(height, d2[z + dz, y + dy, x + dx])
                key = (np.int64(min(a, b)) << 32) | np.int64(max(a, b))
                if key != last:
                    at = _slot(keys, key)
                    if keys[at] == -1:
                        keys[at] = key
                        used += 1
                    last = key
                if saddle > saddles[at]:
                    saddles[at] = saddle
                contacts[at, c] += 1
    return rows, used


@njit(cache=True, nogil=True)
def meet_across(lower, lower_rise, upper, upper_rise, axis, start, keys, saddles, contacts):  # type: ignore[no-untyped-def]
    """Find where groups meet across a seam, from row `start` of its planes on; otherwise as `meet`.

    Planes are as of `mgsflow.labelling.shells.Seam`: groups as int32, and ``D² · 32 + direction``.
    """
    m, n = lower.shape
    used = 0
    last = np.int64(-1)
    at = np.int64(0)
    for i in range(start, m):
        if 2 * (used + 9 * n) > keys.size:
            return i, used
        for j in range(n):
            a = lower[i, j]
            if a == 0:
                continue
            for k in range(9):
                di, dj = k // 3, k % 3
                b = upper[i + di, j + dj]
                if b == 0:
                    continue
                saddle = min(lower_rise[i, j], upper_rise[i + di, j + dj]) >> 5
                key = (np.int64(min(a, b)) << 32) | np.int64(max(a, b))
                if key != last:
                    at = _slot(keys, key)
                    if keys[at] == -1:
                        keys[at] = key
                        used += 1
                    last = key
                if saddle > saddles[at]:
                    saddles[at] = saddle
                c = _across(axis, di - 1, dj - 1)
                contacts[at, max(c, 26 - c) - 14] += 1
    return m, used


@njit(cache=True, nogil=True, inline="always")
def _across(axis, di, dj):  # type: ignore[no-untyped-def]
    """Return the direction of a step forward along an axis, with steps along the others."""
    if axis == 0:
        return 18 + 3 * (di + 1) + dj + 1
    if axis == 1:
        return 9 * (di + 1) + 6 + dj + 1
    return 9 * (di + 1) + 3 * (dj + 1) + 2


@njit(cache=True, nogil=True)
def lead_across(lower, lower_rise, upper, upper_rise, axis, pairs):  # type: ignore[no-untyped-def]
    """Fill `pairs` (n, 2) with the groups on both sides of each way that leads across a seam; return how many.

    Planes are as of `meet_across`.
    """
    m, n = lower.shape
    found = 0
    for i in range(m):
        for j in range(n):
            if lower[i, j] == 0:
                continue
            for k in range(9):
                di, dj = k // 3, k % 3
                b = upper[i + di, j + dj]
                if b == 0:
                    continue
                c = _across(axis, di - 1, dj - 1)
                if lower_rise[i, j] & 31 == c or upper_rise[i + di, j + dj] & 31 == 26 - c:
                    pairs[found, 0] = lower[i, j]
                    pairs[found, 1] = b
                    found += 1
    return found
