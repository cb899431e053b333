"""One pass over the 2×2×2 cubes of a tile that counts what touches what: the numba side of `contacts`.

A cube stands for the cells whose lowest corner is its lowest voxel: the voxel itself, its pairs along 3 axes, the 2
diagonals and the triple-phase test of 3 squares, and 4 space diagonals. The sum over all cubes therefore holds every
pair in each of the 13 directions once. With its voxels a…h at (z, y, x) = 000, 010, 100, 110, 001, 011, 101, 111, all
of these lie in five sets of four voxels,

    abcd, abef, aceg (the squares at a)    abgh, cdef (two space diagonals each),

so that five histograms over the labels of four voxels hold a brick's counts. With K labels in a brick they have K⁴
bins, whatever the number of phases: the labels are replaced by their ranks among those that occur. Where that is too
many bins, histograms over pairs are taken, by class of direction.

Along each axis a cube lies inside its tile, reaches into the next one, or would leave the volume, where its cells that
extend along this axis do not exist. The three are counted apart, in bricks of their own.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BRICK = 32
"""Longest edge of a brick in cubes."""

BINS = (7, 64**2 + 48)
"""Shape of the histograms; rows are no power of two apart, lest their bins fall on the same lines of the cache."""

_FOUR = 8  # most labels of a brick whose sets of four are counted
_CUT = 4096  # cubes from which a brick may be cut in eighths
_MANY = 24  # labels of a brick whose eighths are not likely to have so few


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


@njit(cache=True, nogil=True)
def _load(m, box, brick, seen, label):  # type: ignore[no-untyped-def]
    """Copy the voxels of a box's cubes as ranks, write which `label` each rank is, and return how many there are."""
    nz, ny, nx = m.shape
    z0, z1, y0, y1, x0, x1 = box
    used = x1 - x0 if x1 == nx else x1 - x0 + 1
    seen[:] = 0
    # beyond the volume the last voxel stands for what is missing: cells that extend there are not counted
    for z in range(z0, z1 + 1):
        for y in range(y0, y1 + 1):
            row = m[min(z, nz - 1), min(y, ny - 1), x0 : x0 + used]
            to = brick[z - z0, y - y0]
            for x in range(used):
                to[x] = row[x]
            to[x1 - x0] = row[used - 1]
            for x in range(used):
                seen[row[x]] = 1
    n = 0
    for p in range(seen.size):
        if seen[p]:
            label[n] = p
            seen[p] = n
            n += 1
    if label[n - 1] >= n:  # not the first n labels
        for z in range(z1 - z0 + 1):
            for y in range(y1 - y0 + 1):
                to = brick[z, y]
                for x in range(x1 - x0 + 1):
                    to[x] = seen[to[x]]
    return n


@njit(cache=True, nogil=True)
def _count_fours(b, shape, n, codes, h):  # type: ignore[no-untyped-def]
    """Add the cubes of a brick of `n` ranks to histograms of its five sets of four voxels."""
    one, two = np.uint16(n), np.uint16(n * n)
    k = shape[2]
    c0, c1, c2, c3, c4 = codes[0], codes[1], codes[2], codes[3], codes[4]
    p, q, s = codes[5], codes[6], codes[7]
    h0, h1, h2, h3, h4 = h[0], h[1], h[2], h[3], h[4]
    for z in range(shape[0]):
        for y in range(shape[1]):
            r0, r1, r2, r3 = b[z, y], b[z, y + 1], b[z + 1, y], b[z + 1, y + 1]
            for x in range(k + 1):
                v = np.uint16(r0[x])
                w = np.uint16(r2[x])
                p[x] = v + one * np.uint16(r1[x])
                q[x] = w + one * np.uint16(r3[x])
                s[x] = v + one * w
            for x in range(k):
                c0[x] = p[x] + two * q[x]
                c1[x] = p[x] + two * p[x + 1]
                c2[x] = s[x] + two * s[x + 1]
                c3[x] = p[x] + two * q[x + 1]
                c4[x] = q[x] + two * p[x + 1]
            for x in range(k):
                h0[c0[x]] += 1
                h1[c1[x]] += 1
                h2[c2[x]] += 1
                h3[c3[x]] += 1
                h4[c4[x]] += 1


@njit(cache=True, nogil=True)
def _fold_fours(h, n, label, pair, inactive, at, out):  # type: ignore[no-untyped-def]
    """Add the histograms of `_count_fours` to a record, and leave zeros in them."""
    phases = pair.shape[0]
    s = phases * (phases + 1) // 2
    for t in range(5):
        to = at[(6, 3, 5, 7, 7)[t]]
        code = 0
        for r3 in range(n):
            for r2 in range(n):
                for r1 in range(n):
                    for r0 in range(n):
                        k = h[t, code]
                        if k:
                            h[t, code] = 0
                            i, j, u, v = label[r0], label[r1], label[r2], label[r3]
                            if t == 0:
                                out[at[0] + i] += k
                                if at[4] >= 0:
                                    out[at[4] + pair[i, u]] += k
                                if at[2] >= 0:
                                    out[at[2] + pair[i, j]] += k
                            elif t == 1 and at[1] >= 0:
                                out[at[1] + pair[i, u]] += k
                            if to >= 0:
                                out[to + pair[i, v]] += k
                                out[to + pair[j, u]] += k
                                if t < 3:
                                    out[to + s] += k * _triple(i, j, u, v, inactive)
                        code += 1


@njit(cache=True, nogil=True)
def _count_pairs(b, shape, n, inactive, codes, met, h):  # type: ignore[no-untyped-def]
    """Add the cubes of a brick of `n` ranks to histograms of its pairs, by extent; return the three triple counts.

    `inactive` is a rank.
    """
    one = np.uint16(n)
    k = shape[2]
    idle = np.uint8(inactive)
    triples = np.zeros(3, np.int64)
    for z in range(shape[0]):
        for y in range(shape[1]):
            r0, r1, r2, r3 = b[z, y], b[z, y + 1], b[z + 1, y], b[z + 1, y + 1]
            for x in range(k):
                a, c = np.uint16(r0[x]), np.uint16(r2[x])
                e, g = np.uint16(r0[x + 1]), np.uint16(r2[x + 1])
                codes[0, x] = a + one * e
                codes[1, x] = a + one * np.uint16(r1[x])
                codes[2, x] = a + one * np.uint16(r1[x + 1])
                codes[3, x] = np.uint16(r1[x]) + one * e
                codes[4, x] = a + one * c
                codes[5, x] = a + one * g
                codes[6, x] = c + one * e
            for x in range(k):
                a, b_ = np.uint16(r0[x]), np.uint16(r1[x])
                c, d = np.uint16(r2[x]), np.uint16(r3[x])
                codes[7, x] = a + one * d
                codes[8, x] = b_ + one * c
                codes[9, x] = a + one * np.uint16(r3[x + 1])
                codes[10, x] = b_ + one * np.uint16(r2[x + 1])
                codes[11, x] = c + one * np.uint16(r1[x + 1])
                codes[12, x] = d + one * np.uint16(r0[x + 1])
            for x in range(k):
                h[0, codes[0, x]] += 1
                h[1, codes[1, x]] += 1
                h[2, codes[2, x]] += 1
                h[2, codes[3, x]] += 1
                h[3, codes[4, x]] += 1
                h[4, codes[5, x]] += 1
                h[4, codes[6, x]] += 1
                h[5, codes[7, x]] += 1
                h[5, codes[8, x]] += 1
                h[6, codes[9, x]] += 1
                h[6, codes[10, x]] += 1
                h[6, codes[11, x]] += 1
                h[6, codes[12, x]] += 1
            for x in range(k):
                met[x] = _triple(r0[x], r1[x], r0[x + 1], r1[x + 1], idle)
            triples[0] += met[:k].sum()
            for x in range(k):
                met[x] = _triple(r0[x], r2[x], r0[x + 1], r2[x + 1], idle)
            triples[1] += met[:k].sum()
            for x in range(k):
                met[x] = _triple(r0[x], r1[x], r2[x], r3[x], idle)
            triples[2] += met[:k].sum()
    return triples


@njit(cache=True, nogil=True)
def _fold_pairs(h, triples, n, label, pair, at, out):  # type: ignore[no-untyped-def]
    """Add the histograms of `_count_pairs` to a record, and leave zeros in them."""
    phases = pair.shape[0]
    s = phases * (phases + 1) // 2
    for t in range(7):
        to = at[t + 1]
        for r1 in range(n):
            for r0 in range(n):
                k = h[t, n * r1 + r0]
                if k:
                    h[t, n * r1 + r0] = 0
                    if t == 0:
                        out[at[0] + label[r0]] += k
                    if to >= 0:
                        out[to + pair[label[r0], label[r1]]] += k
    for i, extent in enumerate((3, 5, 6)):
        if at[extent] >= 0:
            out[at[extent] + s] += triples[i]


@njit(cache=True, nogil=True)
def _add_uniform(cubes, i, p, at, out):  # type: ignore[no-untyped-def]
    """Add cubes of one phase `p`, whose pair with itself is the `i`-th."""
    out[at[0] + p] += cubes
    for extent in range(1, 8):
        if at[extent] >= 0:
            axes = (extent & 1) + (extent >> 1 & 1) + (extent >> 2)
            out[at[extent] + i] += cubes << (axes - 1)


@njit(cache=True, nogil=True)
def _add_brick(m, box, least, pair, inactive, at, scratch, out):  # type: ignore[no-untyped-def]
    """Add the cubes of a brick to a record, unless they are `least` or more and cutting may leave few enough labels."""
    brick, codes, histograms, seen, met, label = scratch
    shape = (box[1] - box[0], box[3] - box[2], box[5] - box[4])
    cubes = shape[0] * shape[1] * shape[2]
    n = _load(m, box, brick, seen, label)
    if n == 1:
        _add_uniform(cubes, pair[label[0], label[0]], label[0], at, out)
    elif n <= _FOUR and 5 * n**4 <= 4 * cubes:
        _count_fours(brick, shape, n, codes, histograms)
        _fold_fours(histograms, n, label, pair, inactive, at, out)
    elif cubes < least or n > _MANY:
        idle = seen[inactive] if inactive >= 0 and label[seen[inactive]] == inactive else 255
        triples = _count_pairs(brick, shape, n, idle, codes, met, histograms)
        _fold_pairs(histograms, triples, n, label, pair, at, out)
    else:
        return False
    return True


@njit(cache=True, nogil=True)
def count_contacts(m, box, tile_end, starts, pair, inactive, brick, codes, histograms, out):  # type: ignore[no-untyped-def]
    """Add the cubes whose lowest voxel is in `box` of `m` to a tile's record `out`.

    Parameters
    ----------
    m : ndarray of uint8, shape (z, y, x)
        Labels.
    box : tuple of int
        First voxel and one past the last along z, y, x.
    tile_end : tuple of int
        Where the tile ends, in voxels of `m`.
    starts : ndarray of int64, shape (8, 8)
        Where in the record the cells of an extent go that cross faces of the tile: bits 4 z + 2 y + x of both.
    pair : ndarray of int64, shape (P, P)
        As `pair_index` gives it.
    inactive : int
        Label that is left out of triple edges, or -1.
    brick, codes, histograms : ndarray
        Scratch: uint8 (BRICK + 1,) * 3; uint16 (13, BRICK + 1); int32 BINS of zeros, which are left so.
    out : ndarray of int32
    """
    nz, ny, nx = m.shape
    z0, z1, y0, y1, x0, x1 = box
    z_state = 2 if z1 == nz else (1 if z1 == tile_end[0] else 0)
    y_state = 2 if y1 == ny else (1 if y1 == tile_end[1] else 0)
    x_state = 2 if x1 == nx else (1 if x1 == tile_end[2] else 0)
    scratch = (
        brick,
        codes,
        histograms,
        np.empty(256, np.uint8),
        np.empty(BRICK, np.uint8),
        np.zeros(256, np.int64),
    )
    # no literals: numba would compile a brick for each of them
    cut, never = np.int64(_CUT), np.int64(BRICK**3)
    at = np.empty(8, np.int64)
    # along each axis two groups: the cubes inside the tile, and the last ones where they are not
    for group in range(8):
        sz = z_state if group & 4 else 0
        sy = y_state if group & 2 else 0
        sx = x_state if group & 1 else 0
        if (group & 4 and not sz) or (group & 2 and not sy) or (group & 1 and not sx):
            continue
        crossed = 4 * (sz == 1) + 2 * (sy == 1) + (sx == 1)
        beyond = 4 * (sz == 2) + 2 * (sy == 2) + (sx == 2)
        for extent in range(8):
            at[extent] = -1 if extent & beyond else starts[extent, extent & crossed]
        za, zb = (z1 - 1, z1) if sz else (z0, z1 - (z_state > 0))
        ya, yb = (y1 - 1, y1) if sy else (y0, y1 - (y_state > 0))
        xa, xb = (x1 - 1, x1) if sx else (x0, x1 - (x_state > 0))
        for z in range(za, zb, BRICK):
            for y in range(ya, yb, BRICK):
                for x in range(xa, xb, BRICK):
                    part = (z, min(z + BRICK, zb), y, min(y + BRICK, yb), x, min(x + BRICK, xb))
                    if _add_brick(m, part, cut, pair, inactive, at, scratch, out):
                        continue
                    # fewer labels in its eighths
                    for ze in range(z, part[1], BRICK // 2):
                        for ye in range(y, part[3], BRICK // 2):
                            for xe in range(x, part[5], BRICK // 2):
                                eighth = (
                                    ze,
                                    min(ze + BRICK // 2, part[1]),
                                    ye,
                                    min(ye + BRICK // 2, part[3]),
                                    xe,
                                    min(xe + BRICK // 2, part[5]),
                                )
                                _add_brick(m, eighth, never, pair, inactive, at, scratch, out)
