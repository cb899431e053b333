"""Kernels of one block of a distributed diffusion solve, on both colours of its voxels.

Arrays of a colour are laid out as in `diffusion_packed_kernel`: voxel (z, y, x) at ``[z + 1, y + 1, x // 2 + 1]`` of
the red (z + y + x even, counted in the block) or the black array. The border of one cell takes the values beyond the
block, which its neighbours own. *Packed* vectors hold the conducting voxels alone, box row by box row, and end with a
spare entry: that is how they rest between two calls. Rows are unpacked and packed without branches, and all else works
on whole rows, where voxels that do not conduct are zero.

`w` holds the conductances along z, y, x and those that the three counts of a code stand for. Values by part have a
spare entry too, for boxes without voxels. Sums are in double precision, and in a fixed order.
"""

from __future__ import annotations

import numpy as np

from mgsflow.solvers.graph_kernel import kernel

Pair = tuple[np.ndarray, np.ndarray]


@kernel
def _find_places(codes: np.ndarray, k: int, places: np.ndarray) -> int:
    """Find where each voxel of a row lies in a packed vector, from its entry k; return where the next row begins.

    A voxel that does not conduct gets the place of the next that does.
    """
    for X in range(codes.size):
        places[X] = k
        k += codes[X] > 0
    return k


@kernel
def _expand(codes: np.ndarray, packed: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    """Lay out a row of a packed vector."""
    zero = out.dtype.type(0)
    for X in range(codes.size):
        value = packed[places[X]]
        out[X] = value if codes[X] > 0 else zero


@kernel
def _compress(row: np.ndarray, places: np.ndarray, stop: int, room: np.ndarray, packed: np.ndarray) -> None:
    """Pack a row. `room` takes one entry more than the row."""
    k = places[0]
    for X in range(row.size):
        room[places[X] - k] = row[X]
    # not in place: what lies after the row is still to be read
    for i in range(stop - k):
        packed[k + i] = room[i]


@kernel
def _find_split(row: np.ndarray, parts: np.ndarray, many: np.ndarray) -> int:
    """List the boxes of a row that hold several parts; return how many there are."""
    n = 0
    for X in range(row.size):
        many[n] = X
        n += parts[row[X]] > 1
    return n


@kernel
def _values_of_parts(
    row: np.ndarray,
    at: np.ndarray,
    part_of: np.ndarray,
    bit: int,
    values: np.ndarray,
    base: np.ndarray,
    many: np.ndarray,
    n: int,
    out: np.ndarray,
) -> None:
    """Give the voxels `bit` of a row of boxes the value of their part; `base` is that of each box's first."""
    for X in range(row.size):
        out[X] = base[X]
    for i in range(n):
        X = many[i]
        out[X] = values[at[X] + part_of[row[X], bit]]


@kernel
def turn_and_step(
    codes: Pair,
    boxes: np.ndarray,
    first: np.ndarray,
    parts: np.ndarray,
    part_of: np.ndarray,
    coarse: np.ndarray,
    beta: float,
    alpha: float,
    v: np.ndarray,
    p: np.ndarray,
    x: np.ndarray,
    out: Pair,
) -> None:
    """Set p to ``v - Z coarse + beta p``, add `alpha` times it to x, and lay it out in `out`.

    v, p, x are packed; `coarse` has one value a part.
    """
    BZ, BY, BX = boxes.shape
    base, e = np.empty(BX, v.dtype), np.empty(BX, v.dtype)
    bv, bp, bx = np.empty(BX, v.dtype), np.empty(BX, v.dtype), np.empty(BX, v.dtype)
    many, room = np.empty(BX + 1, np.int64), np.empty(BX + 1, v.dtype)
    places = np.empty(BX, np.int64)
    zero = v.dtype.type(0)
    k = 0
    for Z in range(BZ):
        for Y in range(BY):
            row, at = boxes[Z, Y], first[Z, Y]
            for X in range(BX):
                base[X] = coarse[at[X]]
            n = _find_split(row, parts, many)
            for a in range(2):
                for b in range(2):
                    for colour in range(2):
                        c = codes[colour][2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                        o = out[colour][2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                        bit = 4 * a + 2 * b + ((a + b + colour) & 1)
                        _values_of_parts(row, at, part_of, bit, coarse, base, many, n, e)
                        stop = _find_places(c, k, places)
                        _expand(c, v, places, bv)
                        _expand(c, p, places, bp)
                        _expand(c, x, places, bx)
                        for X in range(BX):
                            value = bv[X] - e[X] + beta * bp[X]
                            value = value if c[X] > 0 else zero
                            bp[X] = value
                            bx[X] += alpha * value
                            o[X] = value
                        _compress(bp, places, stop, room, p)
                        _compress(bx, places, stop, room, x)
                        k = stop


@kernel
def add_parts(
    codes: Pair,
    boxes: np.ndarray,
    first: np.ndarray,
    parts: np.ndarray,
    part_of: np.ndarray,
    coarse: np.ndarray,
    x: np.ndarray,
    out: Pair,
) -> None:
    """Add to each voxel of the packed x the value of its part, and lay x out."""
    BZ, BY, BX = boxes.shape
    base, e, bx = np.empty(BX, x.dtype), np.empty(BX, x.dtype), np.empty(BX, x.dtype)
    many, room = np.empty(BX + 1, np.int64), np.empty(BX + 1, x.dtype)
    places = np.empty(BX, np.int64)
    zero = x.dtype.type(0)
    k = 0
    for Z in range(BZ):
        for Y in range(BY):
            row, at = boxes[Z, Y], first[Z, Y]
            for X in range(BX):
                base[X] = coarse[at[X]]
            n = _find_split(row, parts, many)
            for a in range(2):
                for b in range(2):
                    for colour in range(2):
                        c = codes[colour][2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                        o = out[colour][2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                        bit = 4 * a + 2 * b + ((a + b + colour) & 1)
                        _values_of_parts(row, at, part_of, bit, coarse, base, many, n, e)
                        stop = _find_places(c, k, places)
                        _expand(c, x, places, bx)
                        for X in range(BX):
                            o[X] = bx[X] + e[X] if c[X] > 0 else zero
                        _compress(o, places, stop, room, x)
                        k = stop


@kernel
def lay_out(codes: Pair, packed: np.ndarray, out: Pair) -> None:
    """Lay a packed vector out."""
    n0, n1, n2 = codes[0].shape
    places = np.empty(n2 - 2, np.int64)
    k = 0
    for Z in range((n0 - 2) // 2):
        for Y in range((n1 - 2) // 2):
            for a in range(2):
                for b in range(2):
                    for colour in range(2):
                        c = codes[colour][2 * Z + a + 1, 2 * Y + b + 1, 1 : n2 - 1]
                        stop = _find_places(c, k, places)
                        _expand(c, packed, places, out[colour][2 * Z + a + 1, 2 * Y + b + 1, 1 : n2 - 1])
                        k = stop


@kernel
def subtract_product(codes: Pair, w: np.ndarray, p: Pair, alpha: float, r: np.ndarray, out: Pair) -> None:
    """Take `alpha` times A p from the packed r, and lay r out."""
    n0, n1, n2 = codes[0].shape
    nh = n2 - 2
    wz, wy, wx, d0, d1, d2 = w[0], w[1], w[2], w[3], w[4], w[5]
    zero = w.dtype.type(0)
    br, room = np.empty(nh, r.dtype), np.empty(nh + 1, r.dtype)
    places = np.empty(nh, np.int64)
    k = 0
    for Z in range((n0 - 2) // 2):
        for Y in range((n1 - 2) // 2):
            for a in range(2):
                for b in range(2):
                    i, j = 2 * Z + a + 1, 2 * Y + b + 1
                    for colour in range(2):
                        s = (a + b + colour) & 1
                        other = p[1 - colour]
                        c = codes[colour][i, j, 1 : nh + 1]
                        own = p[colour][i, j, 1 : nh + 1]
                        o = out[colour][i, j, 1 : nh + 1]
                        left, right = other[i, j, s : s + nh], other[i, j, s + 1 : s + 1 + nh]
                        front, back = other[i, j - 1, 1 : nh + 1], other[i, j + 1, 1 : nh + 1]
                        low, high = other[i - 1, j, 1 : nh + 1], other[i + 1, j, 1 : nh + 1]
                        stop = _find_places(c, k, places)
                        _expand(c, r, places, br)
                        for X in range(nh):
                            d = d0 * (c[X] & 7) + d1 * ((c[X] >> 3) & 3) + d2 * (c[X] >> 5)
                            got = wx * (left[X] + right[X]) + wy * (front[X] + back[X]) + wz * (low[X] + high[X])
                            v = br[X] - alpha * (d * own[X] - got)
                            o[X] = v if c[X] > 0 else zero
                        _compress(o, places, stop, room, r)
                        k = stop


@kernel
def residual(
    codes: Pair, w: np.ndarray, axis: int, inlet: bool, x: Pair, r: np.ndarray, out: Pair
) -> tuple[float, float]:
    """Compute r = b - A x, packed and laid out; return what enters through the inlet, and r·x.

    In double precision: x is large beside its differences.
    """
    n0, n1, n2 = codes[0].shape
    nh = n2 - 2
    wide = np.float64
    wz, wy, wx, d0, d1, d2 = wide(w[0]), wide(w[1]), wide(w[2]), wide(w[3]), wide(w[4]), wide(w[5])
    enters = 2 * wide(w[axis])
    room, places = np.empty(nh + 1, r.dtype), np.empty(nh, np.int64)
    k = 0
    flow, product = 0.0, 0.0
    for Z in range((n0 - 2) // 2):
        for Y in range((n1 - 2) // 2):
            for a in range(2):
                for b in range(2):
                    i, j = 2 * Z + a + 1, 2 * Y + b + 1
                    for colour in range(2):
                        s = (a + b + colour) & 1
                        other = x[1 - colour]
                        c = codes[colour][i, j, 1 : nh + 1]
                        own = x[colour][i, j, 1 : nh + 1]
                        o = out[colour][i, j, 1 : nh + 1]
                        left, right = other[i, j, s : s + nh], other[i, j, s + 1 : s + 1 + nh]
                        front, back = other[i, j - 1, 1 : nh + 1], other[i, j + 1, 1 : nh + 1]
                        low, high = other[i - 1, j, 1 : nh + 1], other[i + 1, j, 1 : nh + 1]
                        here = enters if inlet and ((axis == 0 and i == 1) or (axis == 1 and j == 1)) else 0.0
                        entered, done = 0.0, 0.0
                        for X in range(nh):
                            d = d0 * (c[X] & 7) + d1 * ((c[X] >> 3) & 3) + d2 * (c[X] >> 5)
                            value = wide(own[X])
                            rest = here - d * value + wx * (wide(left[X]) + wide(right[X]))
                            rest += wy * (wide(front[X]) + wide(back[X])) + wz * (wide(low[X]) + wide(high[X]))
                            rest = rest if c[X] > 0 else 0.0
                            entered += here * (1.0 - value) if c[X] > 0 else 0.0
                            done += rest * value
                            o[X] = rest
                        if inlet and axis == 2 and s == 0 and c[0] > 0:
                            entered += enters * (1.0 - wide(own[0]))
                            done += enters * wide(own[0])
                            o[0] += enters
                        flow += entered
                        product += done
                        stop = _find_places(c, k, places)
                        _compress(o, places, stop, room, r)
                        k = stop
    return flow, product


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
    """Sum over parts what red voxels receive from black: their residual after a sweep, red then black, from zero."""
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
            n = _find_split(row, parts, many)
            for a in range(2):
                for b in range(2):
                    c = codes[2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                    o = red[2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                    bit = 4 * a + 2 * b + ((a + b) & 1)
                    _values_of_parts(row, at, part_of, bit, coarse, base, many, n, e)
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
    group: np.ndarray,
    r: Pair,
    v: Pair,
    packed: np.ndarray,
    sums: np.ndarray,
) -> tuple[float, float, float]:
    """Pack v, which ended with a red sweep, and sum over coarse groups r and the block's own part of A v.

    Returns
    -------
    r·v, v·A v, r·r : float
    """
    BZ, BY, BX = boxes.shape
    wz, wy, wx, d0, d1, d2 = w[0], w[1], w[2], w[3], w[4], w[5]
    zero = w.dtype.type(0)
    wide = np.float64
    products, rests = np.empty((8, BX), w.dtype), np.empty((8, BX), w.dtype)
    totals = np.empty((2, BX), np.float64)
    room, places = np.empty(BX + 1, w.dtype), np.empty(BX, np.int64)
    rv, av, rr = 0.0, 0.0, 0.0
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
                        s0, s1, s2 = 0.0, 0.0, 0.0
                        for X in range(BX):
                            kept[X] = rest[X]
                            totals[0, X] += wide(rest[X])
                            totals[1, X] += wide(y[X])
                            s0 += wide(own[X]) * wide(rest[X])
                            s1 += wide(own[X]) * wide(y[X])
                            s2 += wide(rest[X]) * wide(rest[X])
                        rv += s0
                        av += s1
                        rr += s2
                        stop = _find_places(c, k, places)
                        _compress(own, places, stop, room, packed)
                        k = stop
            row, at = boxes[Z, Y], first[Z, Y]
            for X in range(BX):
                if parts[row[X]] == 1:
                    g = group[at[X]]
                    sums[0, g] += totals[0, X]
                    sums[1, g] += totals[1, X]
                elif row[X]:
                    for bit in range(8):
                        if row[X] >> bit & 1:
                            g = group[at[X] + part_of[row[X], bit]]
                            sums[0, g] += wide(rests[bit, X])
                            sums[1, g] += wide(products[bit, X])
    return rv, av, rr


@kernel
def sum_groups(
    boxes: np.ndarray,
    first: np.ndarray,
    part_of: np.ndarray,
    group: np.ndarray,
    a: Pair,
    sums: np.ndarray,
) -> None:
    """Sum the values of voxels over coarse groups."""
    BZ, BY, BX = boxes.shape
    for Z in range(BZ):
        for Y in range(BY):
            row, at = boxes[Z, Y], first[Z, Y]
            for bit in range(8):
                z, y, x = bit >> 2, bit >> 1 & 1, bit & 1
                values = a[(z + y + x) & 1][2 * Z + z + 1, 2 * Y + y + 1, 1 : BX + 1]
                for X in range(BX):
                    if row[X] >> bit & 1:
                        sums[group[at[X] + part_of[row[X], bit]]] += np.float64(values[X])


@kernel
def plane_flows(
    codes: Pair,
    w: np.ndarray,
    axis: int,
    length: int,
    x: Pair,
    flows: np.ndarray,
) -> None:
    """Sum what flows from each plane of voxels along `axis` to the next, inside the block."""
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
                        flows[place] += f * (np.float64(own[j]) - np.float64(value))
