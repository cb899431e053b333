"""Kernels of the particle table: numbers for the ids of a plane, and sums over the runs of voxels along x.

Ids are any integers; arrays by particle need small numbers. Each plane is therefore numbered as it is met, by a hash
table, run by run, and what follows works on these numbers and runs.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Columns of a particle's sums in a block; moments are of voxel indices counted from the block's first voxel.
VOXELS, FIRST, SECOND, LOW, HIGH, BORDER, OUTSIDE, SUMS = 0, 1, 4, 10, 13, 16, 22, 29
"""Voxels; Σ of z, y, x; Σ of zz, yy, xx, zy, zx, yx; first and last index on each axis; whether it touches the volume's
low and high faces (z, y, x each); pairs with what lies outside the volume, by class of direction."""

BINS = 9
"""Digits of 32 bits that hold any sum of float32 exactly: 277 bits of values, and room for 2³¹ of them."""


@njit(cache=True, nogil=True)
def hash_shift(size):  # type: ignore[no-untyped-def]
    """Return by how much a product of 64 bits is shifted to be a place in a table of 2^k."""
    bits = 0
    while 1 << bits < size:
        bits += 1
    return np.uint64(64 - bits)


@njit(cache=True, nogil=True, inline="always")
def _fill(row, out, x, here, n):  # type: ignore[no-untyped-def]
    """Number a run from its first voxel, and return its end."""
    nx = row.size
    while x + 4 <= nx:  # four at once: a branch a voxel is what this loop would spend its time on
        if (row[x] ^ here) | (row[x + 1] ^ here) | (row[x + 2] ^ here) | (row[x + 3] ^ here):
            break
        out[x] = n
        out[x + 1] = n
        out[x + 2] = n
        out[x + 3] = n
        x += 4
    while x < nx and row[x] == here:
        out[x] = n
        x += 1
    return x


@njit(cache=True, nogil=True)
def number_plane(ids, keys, values, names, count, numbers, runs, run_count):  # type: ignore[no-untyped-def]
    """Number the ids of a plane, and list its runs.

    Parameters
    ----------
    ids : (rows, nx) uint32 or uint64
        0 is background.
    keys, values : (2^k,) uint64 and int32
        Hash table of ids, 0 where empty.
    names : (most + 1,) uint64
        Id of each number; numbers start at 1.
    count : int
        Numbers given so far. There must be room for as many as the plane has voxels.
    numbers : (rows, nx) int32
        Filled.
    runs : (rows, nx, 2) int32
        Filled with start and end of each run that is not background.
    run_count : (rows,) int64
        Filled.

    Returns
    -------
    int
        Numbers given.
    """
    rows, nx = ids.shape
    mask, shift = np.uint64(keys.size - 1), hash_shift(keys.size)
    one = np.uint64(1)
    for y in range(rows):
        row, out = ids[y], numbers[y]
        above = numbers[y - 1] if y else out
        last = np.int32(0)
        k = 0
        x = 0
        while x < nx:
            here = row[x]
            if here == 0:
                x = _fill(row, out, x, here, np.int32(0))
                continue
            name = np.uint64(here)
            # the particle is most often that of the row before
            n = above[x] if y else np.int32(0)
            if names[n] != name:
                n = last
            if names[n] != name:
                # the upper bits of the product hold all lower ones of the factor; of ids in steps of 2^32 too
                h = ((name ^ name >> np.uint64(32)) * np.uint64(0x9E3779B97F4A7C15)) >> shift
                while keys[h] != name and keys[h] != 0:
                    h = (h + one) & mask
                if keys[h] == 0:
                    count += 1
                    keys[h] = name
                    values[h] = count
                    names[count] = name
                n = values[h]
            runs[y, k, 0] = x
            x = _fill(row, out, x, here, n)
            runs[y, k, 1] = x
            k += 1
            last = n
        run_count[y] = k
    return count


@njit(cache=True, nogil=True)
def add_runs(numbers, runs, run_count, rows, cols, place, shape, sums):  # type: ignore[no-untyped-def]
    """Add the runs of a plane to the sums of its particles.

    Parameters
    ----------
    numbers, runs, run_count
        From `number_plane`; rows and columns beyond `rows` and `cols` belong to other blocks.
    place : (6,) int64
        First voxel of the plane (z, y, x) in the block, and in the volume.
    shape : (3,) int64
        Of the volume.
    sums : (most + 1, SUMS) int64
        ``LOW`` and ``HIGH`` are indices in the volume.
    """
    z, oz = place[0], place[3]
    z_in = (oz > 0) + (oz + 1 < shape[0])
    for r in range(rows):
        y = place[1] + r
        oy = place[4] + r
        y_in = (oy > 0) + (oy + 1 < shape[1])
        for k in range(run_count[r]):
            a = np.int64(runs[r, k, 0])
            b = min(np.int64(runs[r, k, 1]), cols)
            if a >= b:
                break
            s = sums[numbers[r, a]]
            oa, ob = place[5] + a, place[5] + b
            if s[VOXELS] == 0:
                s[LOW], s[LOW + 1], s[LOW + 2] = oz, oy, oa
                s[HIGH], s[HIGH + 1], s[HIGH + 2] = oz, oy, ob - 1
            else:
                s[LOW] = min(s[LOW], oz)
                s[LOW + 1] = min(s[LOW + 1], oy)
                s[LOW + 2] = min(s[LOW + 2], oa)
                s[HIGH] = max(s[HIGH], oz)
                s[HIGH + 1] = max(s[HIGH + 1], oy)
                s[HIGH + 2] = max(s[HIGH + 2], ob - 1)
            a += place[2]
            b += place[2]
            n = b - a
            x1 = (a + b - 1) * n // 2
            x2 = ((b - 1) * b * (2 * b - 1) - (a - 1) * a * (2 * a - 1)) // 6
            s[VOXELS] += n
            s[FIRST] += z * n
            s[FIRST + 1] += y * n
            s[FIRST + 2] += x1
            s[SECOND] += z * z * n
            s[SECOND + 1] += y * y * n
            s[SECOND + 2] += x2
            s[SECOND + 3] += z * y * n
            s[SECOND + 4] += z * x1
            s[SECOND + 5] += y * x1
            if z_in < 2 or y_in < 2 or oa == 0 or ob == shape[2]:
                _add_border(s, oz, oy, oa, ob, z_in, y_in, shape)


@njit(cache=True, nogil=True)
def _add_border(s, z, y, a, b, z_in, y_in, shape):  # type: ignore[no-untyped-def]
    """Add what a run has to do with the volume's faces; z_in and y_in neighbours on these axes are inside."""
    s[BORDER] |= z == 0
    s[BORDER + 1] |= y == 0
    s[BORDER + 2] |= a == 0
    s[BORDER + 3] |= z + 1 == shape[0]
    s[BORDER + 4] |= y + 1 == shape[1]
    s[BORDER + 5] |= b == shape[2]
    for x_in in range(3):
        # voxels of the run with so many neighbours along x inside
        first, last = a == 0, b == shape[2]
        if x_in == 0:
            n = 1 if shape[2] == 1 else 0
        elif x_in == 1:
            n = first + last if shape[2] > 1 else 0
        else:
            n = b - a - first - last if shape[2] > 1 else 0
        if n:
            s[OUTSIDE] += n * (2 - z_in)
            s[OUTSIDE + 1] += n * (2 - y_in)
            s[OUTSIDE + 2] += n * (2 - x_in)
            s[OUTSIDE + 3] += n * (4 - y_in * x_in)
            s[OUTSIDE + 4] += n * (4 - z_in * x_in)
            s[OUTSIDE + 5] += n * (4 - z_in * y_in)
            s[OUTSIDE + 6] += n * (8 - z_in * y_in * x_in)


@njit(cache=True, nogil=True)
def add_grey(image, numbers, runs, run_count, rows, cols, sums):  # type: ignore[no-untyped-def]
    """Add grey values of whole numbers: columns minus the least, largest, and sum, shape (most + 1, 3), int64."""
    for r in range(rows):
        for k in range(run_count[r]):
            a, b = np.int64(runs[r, k, 0]), min(np.int64(runs[r, k, 1]), cols)
            if a >= b:
                break
            least = most = image[r, a]
            total = np.int64(0)
            for x in range(a, b):
                v = image[r, x]
                total += np.int64(v)
                least = min(least, v)
                most = max(most, v)
            s = sums[numbers[r, a]]
            s[0] = max(s[0], -np.int64(least))
            s[1] = max(s[1], np.int64(most))
            s[2] += total


@njit(cache=True, nogil=True)
def add_grey_float(bits, numbers, runs, run_count, rows, cols, sums):  # type: ignore[no-untyped-def]
    """Add float32 values exactly: columns minus the least and largest in rank, and the digits of the sum.

    Parameters
    ----------
    bits : (rows, cols) int32
        The values' bits.
    sums : (most + 1, 2 + BINS) int64
        Ranks are the integers that sort as the values do; the sum is ``Σ digit[k] 2^(32 k - 150)``.

    Returns
    -------
    int
        Place ``row * cols + column`` of a value that is not finite, or -1.
    """
    for r in range(rows):
        for k in range(run_count[r]):
            a, b = np.int64(runs[r, k, 0]), min(np.int64(runs[r, k, 1]), cols)
            if a >= b:
                break
            s = sums[numbers[r, a]]
            least, most = s[0], s[1]
            at = np.int64(-1)
            low = high = np.int64(0)
            for x in range(a, b):
                v = np.int64(bits[r, x])
                rank = v if v >= 0 else v ^ 0x7FFFFFFF
                least = max(least, -rank)
                most = max(most, rank)
                e = v >> 23 & 255
                m = v & 0x7FFFFF
                if e == 255:
                    return np.int64(r * cols + x)
                if e:
                    m |= 0x800000
                else:
                    e = np.int64(1)
                digit = e >> 5
                if digit != at:
                    if at >= 0:
                        s[2 + at] += low
                        s[3 + at] += high
                    at = digit
                    low = high = np.int64(0)
                m <<= e & 31
                if v >= 0:
                    low += m & 0xFFFFFFFF
                    high += m >> 32
                else:
                    low -= m & 0xFFFFFFFF
                    high -= m >> 32
            s[2 + at] += low
            s[3 + at] += high
            s[0], s[1] = least, most
    return np.int64(-1)


@njit(cache=True, nogil=True)
def add_largest(values, numbers, runs, run_count, rows, cols, largest):  # type: ignore[no-untyped-def]
    """Raise the largest value (int64) of each particle, shape (most + 1,)."""
    for r in range(rows):
        for k in range(run_count[r]):
            a, b = np.int64(runs[r, k, 0]), min(np.int64(runs[r, k, 1]), cols)
            if a >= b:
                break
            most = values[r, a]
            for x in range(a, b):
                most = max(most, values[r, x])
            n = numbers[r, a]
            largest[n] = max(largest[n], most)
