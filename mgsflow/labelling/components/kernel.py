"""Connected components of one block by runs: the numba side of `components`.

A run is an unbroken row of voxels along x. Rows are scanned once for their runs, each run joins those that it touches
in the rows before it, and the smallest run of a component stands for it, so that numbers in order of the runs are
numbers in C order of each component's first voxel. Voxels are read once and written at most once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

#: Bits of a component's flags: the faces of the volume that it touches, then what `mark_runs` finds.
Z_LOW, Z_HIGH, Y_LOW, Y_HIGH, X_LOW, X_HIGH, MARKED = (1 << i for i in range(7))


@njit(cache=True, nogil=True)
def count_runs(mask, rows):  # type: ignore[no-untyped-def]
    """Fill `rows` (one more than there are rows) with the number of runs before each row of `mask` (rows, nx)."""
    total = 0
    nx = mask.shape[1]
    for r in range(mask.shape[0]):
        rows[r] = total
        row = mask[r]
        starts: Any = np.int32(row[0])
        for x in range(1, nx):  # becomes SIMD
            starts += np.int32(row[x] > row[x - 1])
        total += starts
    rows[mask.shape[0]] = total


@njit(cache=True, nogil=True)
def find_runs(mask, rows, edges):  # type: ignore[no-untyped-def]
    """Fill `edges` with start and stop of each run, one after the other; it has room for one number more."""
    nx = mask.shape[1]
    for r in range(mask.shape[0]):
        k = 2 * rows[r]
        end = 2 * rows[r + 1]
        if k == end:
            continue
        row = mask[r]
        edges[k] = 0
        k += row[0] != 0
        for x in range(1, nx):  # no branch: what is written where nothing changes is written over
            edges[k] = x
            k += row[x] != row[x - 1]
        if k < end:
            edges[k] = nx


@njit(cache=True, nogil=True)
def find(parent, i):  # type: ignore[no-untyped-def]
    """Return the root of i, halving the path to it."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _join_rows(edges, parent, a, a_end, b, b_end, reach):  # type: ignore[no-untyped-def]
    """Join the runs a … a_end of a row with those b … b_end of an earlier row that they touch."""
    while a < a_end and b < b_end:
        if edges[2 * a + 1] + reach <= edges[2 * b]:
            a += 1
        elif edges[2 * b + 1] + reach <= edges[2 * a]:
            b += 1
        else:
            p, q = find(parent, a), find(parent, b)
            if p < q:
                parent[q] = p
            elif q < p:
                parent[p] = q
            if edges[2 * a + 1] < edges[2 * b + 1]:
                a += 1
            else:
                b += 1


@njit(cache=True, nogil=True)
def join_runs(rows, edges, ny, connectivity, labels):  # type: ignore[no-untyped-def]
    """Fill `labels` with the component 1 … n of each run, in order of the first runs, and return n."""
    for i in range(labels.size):
        labels[i] = i
    side = 0 if connectivity == 6 else 1
    for r in range(rows.size - 1):
        a, a_end = rows[r], rows[r + 1]
        if a == a_end:
            continue
        y = r % ny
        if y:
            _join_rows(edges, labels, a, a_end, rows[r - 1], a, side)
        if r >= ny:
            _join_rows(edges, labels, a, a_end, rows[r - ny], rows[r - ny + 1], side)
            if connectivity != 6:
                corner = 0 if connectivity == 18 else 1
                if y:
                    _join_rows(edges, labels, a, a_end, rows[r - ny - 1], rows[r - ny], corner)
                if y + 1 < ny:
                    _join_rows(edges, labels, a, a_end, rows[r - ny + 1], rows[r - ny + 2], corner)
    n = 0
    for i in range(labels.size):
        p = labels[i]  # below i, and a number already; or i, where a component starts
        if p == i:
            n += 1
            labels[i] = n
        else:
            labels[i] = labels[p]
    return n


@njit(cache=True, nogil=True)
def tabulate_runs(rows, edges, labels, shape, faces, first, size, flags):  # type: ignore[no-untyped-def]
    """Fill the table of components: C index of the first voxel, number of voxels, and which of `faces` they touch."""
    nz, ny, nx = shape
    flags[:] = 0
    size[:] = 0
    seen = 0
    for r in range(rows.size - 1):
        z, y = r // ny, r % ny
        touched = 0
        if z == 0:
            touched |= Z_LOW
        if z == nz - 1:
            touched |= Z_HIGH
        if y == 0:
            touched |= Y_LOW
        if y == ny - 1:
            touched |= Y_HIGH
        touched &= faces
        for i in range(rows[r], rows[r + 1]):
            k = labels[i] - 1
            if k == seen:
                first[k] = r * nx + edges[2 * i]
                seen += 1
            size[k] += np.int32(edges[2 * i + 1]) - np.int32(edges[2 * i])
            flags[k] |= touched
            if edges[2 * i] == 0:
                flags[k] |= faces & X_LOW
            if edges[2 * i + 1] == nx:
                flags[k] |= faces & X_HIGH


@njit(cache=True, nogil=True)
def mark_runs(high, rows, edges, labels, flags):  # type: ignore[no-untyped-def]
    """Set the bit `MARKED` of every component that has a voxel in `high` (rows, nx)."""
    for r in range(rows.size - 1):
        row = high[r]
        for i in range(rows[r], rows[r + 1]):
            k = labels[i] - 1
            if not flags[k] & MARKED:
                for x in range(edges[2 * i], edges[2 * i + 1]):
                    if row[x]:
                        flags[k] |= MARKED
                        break


@njit(cache=True, nogil=True)
def paint_runs(rows, edges, labels, lut, out):  # type: ignore[no-untyped-def]
    """Fill `out` (rows, nx) with ``lut[label]``, label 0 between runs."""
    for r in range(rows.size - 1):
        row = out[r]
        row[:] = lut[0]
        for i in range(rows[r], rows[r + 1]):
            value = lut[labels[i]]
            for x in range(edges[2 * i], edges[2 * i + 1]):
                row[x] = value


@njit(cache=True, nogil=True)
def outer_columns(rows, edges, labels, nx, low, high):  # type: ignore[no-untyped-def]
    """Fill `low` and `high` (rows) with the labels of each row's first and last voxel."""
    for r in range(rows.size - 1):
        i, end = rows[r], rows[r + 1]
        low[r] = labels[i] if i < end and edges[2 * i] == 0 else 0
        high[r] = labels[end - 1] if i < end and edges[2 * end - 1] == nx else 0


@njit(cache=True, nogil=True)
def seam_pairs(lower, upper, connectivity, pairs):  # type: ignore[no-untyped-def]
    """Write the ids that touch across a seam to `pairs` (room, 2), some more than once; return how many there are.

    See `mgsflow.labelling.shells.Seam` for the planes. Nothing is written beyond the room: call again with more.
    """
    room = pairs.shape[0]
    n = 0
    steps = 0 if connectivity == 6 else (1 if connectivity == 18 else 2)
    ni, nj = lower.shape
    for i in range(ni):
        for di in range(-1, 2):
            for dj in range(-1, 2):
                if abs(di) + abs(dj) > steps:
                    continue
                last_a = last_b = 0
                for j in range(nj):
                    a, b = lower[i, j], upper[i + 1 + di, j + 1 + dj]
                    if a and b and not (a == last_a and b == last_b):
                        if n < room:
                            pairs[n, 0], pairs[n, 1] = a, b
                        n += 1
                        last_a, last_b = a, b
    return n
