"""Kernels of one block of a distributed diffusion solve, on both colours of its voxels.

Arrays of a colour are laid out as in `mgsflow.transport.diffusion.packed_kernel`: voxel (z, y, x) is
``[z + 1, y + 1, x // 2 + 1]`` of the red (z + y + x even, counted in the block) or the black array. The border of one
cell takes the ghost values of the neighbouring blocks. *Packed* vectors hold the conducting voxels alone, box row by
box row, and end with a spare entry: so they are stored between two calls. Rows are unpacked and packed without
branches, and all else works on whole rows, in which voxels that do not conduct are zero.

`w` holds the conductances along z, y, x and those that the three counts of a code stand for. Values by part also have a
spare entry, for boxes without voxels. Sums are in double precision, and in a fixed order.
"""

from __future__ import annotations

import numpy as np

from mgsflow.solvers.arithmetic import kernel
from mgsflow.transport.diffusion.distributed.workspace import Pair


@kernel
def find_places(codes: np.ndarray, k: int, places: np.ndarray) -> int:
    """Find where each voxel of a row lies in a packed vector, from its entry k; return where the next row begins.

    A voxel that does not conduct gets the place of the next that does.
    """
    for X in range(codes.size):
        places[X] = k
        k += codes[X] > 0
    return k


@kernel
def expand(codes: np.ndarray, packed: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    """Lay out a row of a packed vector."""
    zero = out.dtype.type(0)
    for X in range(codes.size):
        value = packed[places[X]]
        out[X] = value if codes[X] > 0 else zero


@kernel
def compress(row: np.ndarray, places: np.ndarray, stop: int, buffer: np.ndarray, packed: np.ndarray) -> None:
    """Pack a row. `buffer` has one entry more than the row."""
    k = places[0]
    for X in range(row.size):
        buffer[places[X] - k] = row[X]
    # not in place: what lies after the row is still to be read
    for i in range(stop - k):
        packed[k + i] = buffer[i]


@kernel
def find_split(row: np.ndarray, parts: np.ndarray, many: np.ndarray) -> int:
    """List the boxes of a row that hold several parts; return how many there are."""
    n = 0
    for X in range(row.size):
        many[n] = X
        n += parts[row[X]] > 1
    return n


@kernel
def values_of_parts(
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
def update_direction_and_step(
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
    many, buffer = np.empty(BX + 1, np.int64), np.empty(BX + 1, v.dtype)
    places = np.empty(BX, np.int64)
    zero = v.dtype.type(0)
    k = 0
    for Z in range(BZ):
        for Y in range(BY):
            row, at = boxes[Z, Y], first[Z, Y]
            for X in range(BX):
                base[X] = coarse[at[X]]
            n = find_split(row, parts, many)
            for a in range(2):
                for b in range(2):
                    for colour in range(2):
                        c = codes[colour][2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                        o = out[colour][2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                        bit = 4 * a + 2 * b + ((a + b + colour) & 1)
                        values_of_parts(row, at, part_of, bit, coarse, base, many, n, e)
                        stop = find_places(c, k, places)
                        expand(c, v, places, bv)
                        expand(c, p, places, bp)
                        expand(c, x, places, bx)
                        for X in range(BX):
                            value = bv[X] - e[X] + beta * bp[X]
                            value = value if c[X] > 0 else zero
                            bp[X] = value
                            bx[X] += alpha * value
                            o[X] = value
                        compress(bp, places, stop, buffer, p)
                        compress(bx, places, stop, buffer, x)
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
                        stop = find_places(c, k, places)
                        expand(c, packed, places, out[colour][2 * Z + a + 1, 2 * Y + b + 1, 1 : n2 - 1])
                        k = stop


@kernel
def subtract_product(codes: Pair, w: np.ndarray, p: Pair, alpha: float, r: np.ndarray, out: Pair) -> None:
    """Subtract `alpha` times A p from the packed r, and lay r out."""
    n0, n1, n2 = codes[0].shape
    nh = n2 - 2
    wz, wy, wx, d0, d1, d2 = w[0], w[1], w[2], w[3], w[4], w[5]
    zero = w.dtype.type(0)
    br, buffer = np.empty(nh, r.dtype), np.empty(nh + 1, r.dtype)
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
                        stop = find_places(c, k, places)
                        expand(c, r, places, br)
                        for X in range(nh):
                            d = d0 * (c[X] & 7) + d1 * ((c[X] >> 3) & 3) + d2 * (c[X] >> 5)
                            got = wx * (left[X] + right[X]) + wy * (front[X] + back[X]) + wz * (low[X] + high[X])
                            v = br[X] - alpha * (d * own[X] - got)
                            o[X] = v if c[X] > 0 else zero
                        compress(o, places, stop, buffer, r)
                        k = stop


@kernel
def residual(
    codes: Pair, w: np.ndarray, axis: int, inlet: bool, x: Pair, r: np.ndarray, out: Pair
) -> tuple[float, float]:
    """Compute r = b - A x, packed and laid out; return the flux through the inlet, and r·x.

    In double precision: x is large compared with its differences.
    """
    n0, n1, n2 = codes[0].shape
    nh = n2 - 2
    wide = np.float64
    wz, wy, wx, d0, d1, d2 = wide(w[0]), wide(w[1]), wide(w[2]), wide(w[3]), wide(w[4]), wide(w[5])
    enters = 2 * wide(w[axis])
    buffer, places = np.empty(nh + 1, r.dtype), np.empty(nh, np.int64)
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
                        stop = find_places(c, k, places)
                        compress(o, places, stop, buffer, r)
                        k = stop
    return flow, product
