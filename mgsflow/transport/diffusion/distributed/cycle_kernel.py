"""Kernels of the preconditioner of one block: sweeps around the coarse correction, and sums of the result.

Layout, codes and `w` are those of `mgsflow.transport.diffusion.distributed.vector_kernel`.
"""

from __future__ import annotations

import numpy as np

from mgsflow.solvers.arithmetic import kernel
from mgsflow.transport.diffusion.distributed.vector_kernel import compress, find_places, find_split, values_of_parts
from mgsflow.transport.diffusion.distributed.workspace import Pair


@kernel
def divide(codes: np.ndarray, w: np.ndarray, r: np.ndarray, out: np.ndarray) -> None:
    """Divide one colour by its diagonal."""
    n0, n1, n2 = codes.shape
    d0, d1, d2 = w[3], w[4], w[5]
    zero = w.dtype.type(0)
    for i in range(1, n0 - 1):
        for j in range(1, n1 - 1):
            c, a, o = codes[i, j], r[i, j], out[i, j]
            for k in range(n2):
                d = d0 * (c[k] & 7) + d1 * ((c[k] >> 3) & 3) + d2 * (c[k] >> 5)
                o[k] = a[k] / d if c[k] > 0 else zero


@kernel
def sweep(colour: int, codes: np.ndarray, w: np.ndarray, r: np.ndarray, other: np.ndarray, out: np.ndarray) -> None:
    """Solve for the voxels of one colour from the values of the other: a half of a Gauss–Seidel sweep."""
    n0, n1, n2 = codes.shape
    nh = n2 - 2
    wz, wy, wx, d0, d1, d2 = w[0], w[1], w[2], w[3], w[4], w[5]
    zero = w.dtype.type(0)
    for i in range(1, n0 - 1):
        for j in range(1, n1 - 1):
            s = (i + j + colour) & 1
            c, o, b = codes[i, j, 1 : nh + 1], out[i, j, 1 : nh + 1], r[i, j, 1 : nh + 1]
            left, right = other[i, j, s : s + nh], other[i, j, s + 1 : s + 1 + nh]
            front, back = other[i, j - 1, 1 : nh + 1], other[i, j + 1, 1 : nh + 1]
            low, high = other[i - 1, j, 1 : nh + 1], other[i + 1, j, 1 : nh + 1]
            for k in range(nh):
                d = d0 * (c[k] & 7) + d1 * ((c[k] >> 3) & 3) + d2 * (c[k] >> 5)
                v = b[k] + wx * (left[k] + right[k]) + wy * (front[k] + back[k]) + wz * (low[k] + high[k])
                o[k] = v / d if c[k] > 0 else zero


@kernel
def restrict(
    codes: np.ndarray,
    w: np.ndarray,
    boxes: np.ndarray,
    first: np.ndarray,
    parts: np.ndarray,
    part_of: np.ndarray,
    black: np.ndarray,
    coarse: np.ndarray,
) -> None:
    """Sum over parts what red voxels receive from black: their residual after a sweep from zero, red then black."""
    BZ, BY, BX = boxes.shape
    wz, wy, wx = w[0], w[1], w[2]
    zero = w.dtype.type(0)
    got = np.empty((4, BX), black.dtype)
    coarse[:] = 0
    for Z in range(BZ):
        for Y in range(BY):
            for a in range(2):
                for b in range(2):
                    i, j, s = 2 * Z + a + 1, 2 * Y + b + 1, (a + b) & 1
                    c, o = codes[i, j, 1 : BX + 1], got[2 * a + b]
                    left, right = black[i, j, s : s + BX], black[i, j, s + 1 : s + 1 + BX]
                    front, back = black[i, j - 1, 1 : BX + 1], black[i, j + 1, 1 : BX + 1]
                    low, high = black[i - 1, j, 1 : BX + 1], black[i + 1, j, 1 : BX + 1]
                    for X in range(BX):
                        v = wx * (left[X] + right[X]) + wy * (front[X] + back[X]) + wz * (low[X] + high[X])
                        o[X] = v if c[X] > 0 else zero
            row, at = boxes[Z, Y], first[Z, Y]
            for X in range(BX):
                if parts[row[X]] == 1:
                    coarse[at[X]] = got[0, X] + got[1, X] + got[2, X] + got[3, X]
                elif row[X]:
                    for q in range(4):
                        bit = 2 * q + ((q ^ (q >> 1)) & 1)
                        if row[X] >> bit & 1:
                            coarse[at[X] + part_of[row[X], bit]] += got[q, X]


@kernel
def prolong(
    codes: np.ndarray,
    boxes: np.ndarray,
    first: np.ndarray,
    parts: np.ndarray,
    part_of: np.ndarray,
    factor: float,
    coarse: np.ndarray,
    red: np.ndarray,
) -> None:
    """Add to red voxels `factor` times the value of their part."""
    BZ, BY, BX = boxes.shape
    base, e = np.empty(BX, red.dtype), np.empty(BX, red.dtype)
    many = np.empty(BX + 1, np.int64)
    zero = red.dtype.type(0)
    last = coarse.size - 1
    for Z in range(BZ):
        for Y in range(BY):
            row, at = boxes[Z, Y], first[Z, Y]
            for X in range(BX):
                base[X] = coarse[min(at[X], last)]
            n = find_split(row, parts, many)
            for a in range(2):
                for b in range(2):
                    c = codes[2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                    o = red[2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                    bit = 4 * a + 2 * b + ((a + b) & 1)
                    values_of_parts(row, at, part_of, bit, coarse, base, many, n, e)
                    for X in range(BX):
                        o[X] += factor * e[X] if c[X] > 0 else zero


@kernel
def pack_and_project(
    codes: Pair,
    w: np.ndarray,
    boxes: np.ndarray,
    first: np.ndarray,
    parts: np.ndarray,
    part_of: np.ndarray,
    aggregate: np.ndarray,
    r: Pair,
    v: Pair,
    packed: np.ndarray,
    sums: np.ndarray,
) -> tuple[float, float]:
    """Pack v, which ended with a red sweep, and sum r and the block's own share of A v over coarse aggregates.

    Returns
    -------
    r·v, v·A v : float
    """
    BZ, BY, BX = boxes.shape
    wz, wy, wx, d0, d1, d2 = w[0], w[1], w[2], w[3], w[4], w[5]
    zero = w.dtype.type(0)
    wide = np.float64
    products, rests = np.empty((8, BX), w.dtype), np.empty((8, BX), w.dtype)
    totals = np.empty((2, BX), np.float64)
    buffer, places = np.empty(BX + 1, w.dtype), np.empty(BX, np.int64)
    rv, av = 0.0, 0.0
    sums[:] = 0
    red = v[0]
    k = 0
    for Z in range(BZ):
        for Y in range(BY):
            totals[:] = 0
            for a in range(2):
                for b in range(2):
                    i, j = 2 * Z + a + 1, 2 * Y + b + 1
                    for colour in range(2):
                        s = (a + b + colour) & 1
                        bit = 4 * a + 2 * b + s
                        c = codes[colour][i, j, 1 : BX + 1]
                        own = v[colour][i, j, 1 : BX + 1]
                        rest = r[colour][i, j, 1 : BX + 1]
                        y, kept = products[bit], rests[bit]
                        if colour == 0:  # the red equations hold
                            for X in range(BX):
                                y[X] = rest[X]
                        else:
                            left, right = red[i, j, s : s + BX], red[i, j, s + 1 : s + 1 + BX]
                            front, back = red[i, j - 1, 1 : BX + 1], red[i, j + 1, 1 : BX + 1]
                            low, high = red[i - 1, j, 1 : BX + 1], red[i + 1, j, 1 : BX + 1]
                            for X in range(BX):
                                d = d0 * (c[X] & 7) + d1 * ((c[X] >> 3) & 3) + d2 * (c[X] >> 5)
                                got = wx * (left[X] + right[X]) + wy * (front[X] + back[X]) + wz * (low[X] + high[X])
                                y[X] = d * own[X] - got if c[X] > 0 else zero
                        s0, s1 = 0.0, 0.0
                        for X in range(BX):
                            kept[X] = rest[X]
                            totals[0, X] += wide(rest[X])
                            totals[1, X] += wide(y[X])
                            s0 += wide(own[X]) * wide(rest[X])
                            s1 += wide(own[X]) * wide(y[X])
                        rv += s0
                        av += s1
                        stop = find_places(c, k, places)
                        compress(own, places, stop, buffer, packed)
                        k = stop
            row, at = boxes[Z, Y], first[Z, Y]
            for X in range(BX):
                if parts[row[X]] == 1:
                    g = aggregate[at[X]]
                    sums[0, g] += totals[0, X]
                    sums[1, g] += totals[1, X]
                elif row[X]:
                    for bit in range(8):
                        if row[X] >> bit & 1:
                            g = aggregate[at[X] + part_of[row[X], bit]]
                            sums[0, g] += wide(rests[bit, X])
                            sums[1, g] += wide(products[bit, X])
    return rv, av


@kernel
def plane_fluxes(
    codes: Pair,
    w: np.ndarray,
    axis: int,
    length: int,
    x: Pair,
    fluxes: np.ndarray,
) -> None:
    """Sum the flux from each plane of voxels along `axis` to the next, inside the block."""
    n0, n1, n2 = codes[0].shape
    nh = n2 - 2
    f = np.float64(w[axis])
    for z in range(n0 - 2):
        for y in range(n1 - 2):
            for colour in range(2):
                s = (z + y + colour) & 1
                c, own = codes[colour][z + 1, y + 1], x[colour][z + 1, y + 1]
                for X in range(nh):
                    j = X + 1
                    if c[j] == 0:
                        continue
                    place = z if axis == 0 else (y if axis == 1 else 2 * X + s)
                    if place >= length - 1:
                        continue
                    if axis == 0:
                        m, value = codes[1 - colour][z + 2, y + 1, j], x[1 - colour][z + 2, y + 1, j]
                    elif axis == 1:
                        m, value = codes[1 - colour][z + 1, y + 2, j], x[1 - colour][z + 1, y + 2, j]
                    else:
                        m, value = codes[1 - colour][z + 1, y + 1, X + s + 1], x[1 - colour][z + 1, y + 1, X + s + 1]
                    if m > 0:
                        fluxes[place] += f * (np.float64(own[j]) - np.float64(value))


@kernel
def sum_aggregates(
    boxes: np.ndarray,
    first: np.ndarray,
    part_of: np.ndarray,
    aggregate: np.ndarray,
    a: Pair,
    sums: np.ndarray,
) -> None:
    """Sum the values of voxels over coarse aggregates."""
    BZ, BY, BX = boxes.shape
    for Z in range(BZ):
        for Y in range(BY):
            row, at = boxes[Z, Y], first[Z, Y]
            for bit in range(8):
                z, y, x = bit >> 2, bit >> 1 & 1, bit & 1
                values = a[(z + y + x) & 1][2 * Z + z + 1, 2 * Y + y + 1, 1 : BX + 1]
                for X in range(BX):
                    if row[X] >> bit & 1:
                        sums[aggregate[at[X] + part_of[row[X], bit]]] += np.float64(values[X])
