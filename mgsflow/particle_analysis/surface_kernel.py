"""Kernel of a particle's surface and contacts: pairs of neighbours of unlike numbers, by class of direction.

Every 2×2×2 cube of voxels holds the 13 pairs (3 edges, 6 diagonals of faces, 4 of space) that touch its lowest corner
or lie across from it, so that all cubes hold every pair of neighbours once; a block owns the cubes whose lowest voxel
it owns, and reads one voxel beyond itself at its high faces only. Most cubes are uniform, and most others have two
labels: their 256 patterns are tabled.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from mgsflow.particle_analysis.kernel import hash_shift

_CELLS = (
    (0, ((0, 4),)),
    (1, ((0, 2),)),
    (2, ((0, 1),)),
    (3, ((0, 3), (1, 2))),
    (4, ((0, 5), (1, 4))),
    (5, ((0, 6), (2, 4))),
    (6, ((0, 7), (1, 6), (2, 5), (3, 4))),
)
"""Pairs of corners by class of direction (`crofton.CLASSES`); corner 4 z + 2 y + x."""

_NEEDS = (4, 2, 1, 3, 5, 6, 7)
"""Axes along which the pairs of a class extend, as bits 4 z + 2 y + x."""

PAIRS = np.array([(c, a, b, _NEEDS[c]) for c, pairs in _CELLS for a, b in pairs], np.int64)
"""Class, two corners, and axes of each of the 13 pairs of a cube."""


@lru_cache(maxsize=1)
def pattern_table() -> np.ndarray:
    """Return how many pairs of each class a pattern of two labels parts, shape (8, 256, 8), int32.

    The first index has a bit (4 z + 2 y + x) set where the cube would leave the volume along an axis: pairs that
    extend along it do not exist there. The last column is zero.
    """
    table = np.zeros((8, 256, 8), np.int32)
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    for ends in range(8):
        for c, a, b, needs in PAIRS:
            if not needs & ends:
                table[ends, :, c] += bits[:, a] != bits[:, b]
    return table


@njit(cache=True, nogil=True, inline="always")
def _bits(n, c0, c1, c2, c3, c4, c5, c6, c7):  # type: ignore[no-untyped-def]
    """Return which corners have a number."""
    low = np.int32(c0 == n) | np.int32(c1 == n) << 1 | np.int32(c2 == n) << 2 | np.int32(c3 == n) << 3
    high = np.int32(c4 == n) | np.int32(c5 == n) << 1 | np.int32(c6 == n) << 2 | np.int32(c7 == n) << 3
    return np.int32(low | high << 4)


@njit(cache=True, nogil=True, inline="always")
def _find(slots, names, count, key, shift):  # type: ignore[no-untyped-def]
    """Return the slot of a pair, new where it was not met before, and the number of slots."""
    mask = np.uint64(slots.size - 1)
    h = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> shift
    slot = np.int64(slots[h])
    while slot != 0 and names[slot] != key:
        h = (h + np.uint64(1)) & mask
        slot = np.int64(slots[h])
    if slot == 0:
        count += 1
        slot = count
        slots[h] = slot
        names[slot] = key
    return slot, count


@njit(cache=True, nogil=True)
def count_cubes(lower, upper, rows, cols, top, table, corners, open_, slots, names, count, contacts, scratch):  # type: ignore[no-untyped-def]
    """Count the pairs of neighbours of unlike numbers in the cubes between two planes.

    Parameters
    ----------
    lower, upper : (rows or rows + 1, cols or cols + 1) int32
        Numbers. A row or column less means that the volume ends there.
    rows, cols : int
        Cubes.
    top : bool
        The volume ends at `lower`; `upper` is then `lower`.
    table, corners
        `pattern_table` and `PAIRS`.
    open_ : (most + 1, 8) int32
        Pairs of a particle and background, by class; added to.
    slots : (2^k,) int32
        Hash table of pairs of particles, 0 where empty.
    names : (most + 1,) int64
        ``smaller number << 32 | larger`` of each slot; slots start at 1.
    count : int
        Slots taken. There must be room for 13 a cube.
    contacts : (most + 1, 8) int32
        Pairs of two particles, by class; added to.
    scratch : (5, nx + 1) int32

    Returns
    -------
    int
        Slots taken.
    """
    high, low, above, below, at = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    ny, nx = lower.shape
    last_key = np.int64(0)
    last = np.int64(0)
    inner = min(cols, nx - 1)
    shift = hash_shift(slots.size)
    corner = np.empty(8, np.int64)
    for y in range(rows):
        y_end = y + 1 == ny
        yn = y if y_end else y + 1
        r0, r1, r2, r3 = lower[y], lower[yn], upper[y], upper[yn]
        for x in range(nx):
            high[x] = max(max(r0[x], r1[x]), max(r2[x], r3[x]))
            low[x] = min(min(r0[x], r1[x]), min(r2[x], r3[x]))
        high[nx] = high[nx - 1]
        low[nx] = low[nx - 1]
        for x in range(inner):
            p, q = max(high[x], high[x + 1]), min(low[x], low[x + 1])
            above[x] = _bits(p, r0[x], r0[x + 1], r1[x], r1[x + 1], r2[x], r2[x + 1], r3[x], r3[x + 1])
            below[x] = _bits(q, r0[x], r0[x + 1], r1[x], r1[x + 1], r2[x], r2[x + 1], r3[x], r3[x + 1])
        if cols == nx:
            x = nx - 1
            above[x] = _bits(high[x], r0[x], r0[x], r1[x], r1[x], r2[x], r2[x], r3[x], r3[x])
            below[x] = _bits(low[x], r0[x], r0[x], r1[x], r1[x], r2[x], r2[x], r3[x], r3[x])
        n = 0
        for x in range(cols):
            at[n] = x
            n += above[x] != 255
        row_ends = (4 if top else 0) + (2 if y_end else 0)
        for i in range(n):
            x = at[i]
            p, q = max(high[x], high[x + 1]), min(low[x], low[x + 1])
            ends = row_ends + (1 if x + 1 == nx else 0)
            pattern = above[x]
            if pattern | below[x] == 255:
                if q == 0:
                    for c in range(8):
                        open_[p, c] += table[ends, pattern, c]
                else:
                    key = np.int64(q) << 32 | np.int64(p)
                    if key != last_key:
                        last, count = _find(slots, names, count, key, shift)
                        last_key = key
                    for c in range(8):
                        contacts[last, c] += table[ends, pattern, c]
                continue
            xn = x if x + 1 == nx else x + 1
            corner[0], corner[1], corner[2], corner[3] = r0[x], r0[xn], r1[x], r1[xn]
            corner[4], corner[5], corner[6], corner[7] = r2[x], r2[xn], r3[x], r3[xn]
            for j in range(13):
                a, b = corner[corners[j, 1]], corner[corners[j, 2]]
                if a == b or corners[j, 3] & ends:
                    continue
                if a > b:
                    a, b = b, a
                if a == 0:
                    open_[b, corners[j, 0]] += 1
                else:
                    key = a << 32 | b
                    if key != last_key:
                        last, count = _find(slots, names, count, key, shift)
                        last_key = key
                    contacts[last, corners[j, 0]] += 1
    return count
