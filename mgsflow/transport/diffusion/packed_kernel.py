"""Finest-level kernels for one conducting phase: the voxels of even and odd parity in two packed arrays.

Voxel (z, y, x) is red if z + y + x is even, black if odd, and lies in the array of its colour at
``[z + 1, y + 1, x // 2 + 1]``. With s = (z + y) & 1 the neighbours along x of red k are black k - 1 + s and k + s,
those of black k are red k - s and k + 1 - s, and neighbours along y and z have the same k: all loads are contiguous,
without indices or branches. The code of a voxel (see `boxes.neighbour_counts`) gives its diagonal; 0 is a
voxel that does not conduct, whose value stays 0.

A black voxel is the weighted mean of red ones, so black is eliminated: vectors hold red voxels alone, half of the box,
and black values are formed plane by plane in a ring of three planes that stays in the cache. Kernels work on the planes
``lo … hi`` of voxels they are given, read neighbours from memory, and store the sum of each plane on its own.

`w` holds the conductances along z, y, x and then those that the three counts of a code stand for, low bits first.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.solvers.arithmetic import kernel


@njit(cache=True, nogil=True, inline="always")
def diagonal(code: int, d0: np.floating, d1: np.floating, d2: np.floating) -> np.floating:
    """Return the sum of conductances that a code stands for."""
    # converted one by one: integers times float32 would be float64
    return d0 * np.float32(code & 7) + d1 * np.float32((code >> 3) & 3) + d2 * np.float32(code >> 5)


@kernel
def black_plane(
    codes: np.ndarray,
    below: np.ndarray,
    here: np.ndarray,
    above: np.ndarray,
    w: np.ndarray,
    z: int,
    source: float,
    axis: int,
    out: np.ndarray,
) -> None:
    """Set black voxels of plane z to the mean of their red neighbours; the first plane along `axis` sees `source`."""
    n1, n2 = codes.shape
    nh = n2 - 2
    wz, wy, wx, d0, d1, d2 = w[0], w[1], w[2], w[3], w[4], w[5]
    zero = w.dtype.type(0)
    for j in range(1, n1 - 1):
        s = (z + j - 1) & 1
        c, o = codes[j, 1 : nh + 1], out[j, 1 : nh + 1]
        left, right = here[j, 1 - s : 1 - s + nh], here[j, 2 - s : 2 - s + nh]
        front, back = here[j - 1, 1 : nh + 1], here[j + 1, 1 : nh + 1]
        low, high = below[j, 1 : nh + 1], above[j, 1 : nh + 1]
        g = source if (axis == 0 and z == 0) or (axis == 1 and j == 1) else zero
        for k in range(nh):
            d = diagonal(c[k], d0, d1, d2)
            v = g + wx * (left[k] + right[k]) + wy * (front[k] + back[k]) + wz * (low[k] + high[k])
            o[k] = v / d if c[k] > 0 else zero
        if axis == 2 and s == 1 and c[0] > 0:
            # the first voxel of the row is black
            o[0] += source / (diagonal(c[0], d0, d1, d2))


@kernel
def red_plane(
    codes: np.ndarray,
    below: np.ndarray,
    here: np.ndarray,
    above: np.ndarray,
    w: np.ndarray,
    z: int,
    out: np.ndarray,
) -> None:
    """Sum what red voxels of plane z receive from their black neighbours."""
    n1, n2 = codes.shape
    nh = n2 - 2
    wz, wy, wx = w[0], w[1], w[2]
    zero = w.dtype.type(0)
    for j in range(1, n1 - 1):
        s = (z + j - 1) & 1
        c, o = codes[j, 1 : nh + 1], out[j, 1 : nh + 1]
        left, right = here[j, s : s + nh], here[j, s + 1 : s + 1 + nh]
        front, back = here[j - 1, 1 : nh + 1], here[j + 1, 1 : nh + 1]
        low, high = below[j, 1 : nh + 1], above[j, 1 : nh + 1]
        for k in range(nh):
            v = wx * (left[k] + right[k]) + wy * (front[k] + back[k]) + wz * (low[k] + high[k])
            o[k] = v if c[k] > 0 else zero


@kernel
def scaled_plane(codes: np.ndarray, r: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """Divide a plane by its diagonal."""
    n1, n2 = codes.shape
    d0, d1, d2 = w[3], w[4], w[5]
    zero = w.dtype.type(0)
    for j in range(1, n1 - 1):
        c, a, o = codes[j], r[j], out[j]
        for k in range(n2):
            d = diagonal(c[k], d0, d1, d2)
            o[k] = a[k] / d if c[k] > 0 else zero


@kernel
def receive(
    y: int,
    lo: int,
    red: np.ndarray,
    black: np.ndarray,
    planes: np.ndarray,
    w: np.ndarray,
    source: float,
    axis: int,
    ring: np.ndarray,
    out: np.ndarray,
) -> bool:
    """Solve for black voxels of plane y, then sum what red voxels of plane y - 1 receive; false before plane `lo`.

    Red plane y is ``planes[y + 1]``, counted around if there are but three; `ring` keeps three planes of black voxels.
    """
    n = len(planes)
    if 0 <= y < len(black) - 2:
        below, here, above = planes[y % n], planes[(y + 1) % n], planes[(y + 2) % n]
        black_plane(black[y + 1], below, here, above, w, y, source, axis, ring[(y + 3) % 3])
    else:
        ring[(y + 3) % 3] = 0
    z = y - 1
    if z < lo:
        return False
    red_plane(red[z + 1], ring[(z + 2) % 3], ring[z % 3], ring[(z + 1) % 3], w, z, out)
    return True


@kernel
def add_parts(
    z: int,
    boxes: np.ndarray,
    first: np.ndarray,
    part_of: np.ndarray,
    coarse: np.ndarray,
    factor: float,
    out: np.ndarray,
) -> None:
    """Add to red voxels of plane z `factor` times the value of their part."""
    _, BY, BX = boxes.shape
    Z, a = z >> 1, z & 1
    for Y in range(BY):
        o, at = boxes[Z, Y], first[Z, Y]
        for b in range(2):
            v = 4 * a + 2 * b + ((a + b) & 1)
            row = out[2 * Y + b + 1, 1 : BX + 1]
            for X in range(BX):
                if o[X] >> v & 1:
                    row[X] += factor * coarse[at[X] + part_of[o[X], v]]


@kernel
def spread_parts(
    lo: int,
    hi: int,
    boxes: np.ndarray,
    first: np.ndarray,
    part_of: np.ndarray,
    coarse: np.ndarray,
    out: np.ndarray,
) -> None:
    """Set red voxels to the value of their part."""
    for z in range(lo, hi):
        out[z + 1] = 0
        add_parts(z, boxes, first, part_of, coarse, out.dtype.type(1), out[z + 1])


@kernel
def smooth(
    lo: int,
    hi: int,
    red: np.ndarray,
    black: np.ndarray,
    w: np.ndarray,
    axis: int,
    x: np.ndarray,
    out: np.ndarray,
) -> None:
    """Do a Gauss–Seidel sweep, black then red, on the equations themselves, from x to `out`."""
    _, n1, n2 = red.shape
    ring = np.zeros((3, n1, n2), x.dtype)
    source = w.dtype.type(2) * w[axis]
    d0, d1, d2 = w[3], w[4], w[5]
    zero = w.dtype.type(0)
    for s in range(lo - 1, hi + 1):
        if not receive(s, lo, red, black, x, w, source, axis, ring, out[s]):
            continue
        z = s - 1
        o, c = out[z + 1], red[z + 1]
        for j in range(1, n1 - 1):
            g = source if (axis == 0 and z == 0) or (axis == 1 and j == 1) else zero
            cj, oj = c[j], o[j]
            if axis == 2 and (z + j - 1) & 1 == 0 and cj[1] > 0:
                oj[1] += source
            for k in range(n2):
                d = diagonal(cj[k], d0, d1, d2)
                oj[k] = (oj[k] + g) / d if cj[k] > 0 else zero


@kernel
def restrict(
    lo: int,
    hi: int,
    red: np.ndarray,
    black: np.ndarray,
    w: np.ndarray,
    boxes: np.ndarray,
    first: np.ndarray,
    parts: np.ndarray,
    part_of: np.ndarray,
    r: np.ndarray,
    coarse: np.ndarray,
) -> None:
    """Sum over parts the residual that a forward sweep, red then black, leaves; lo and hi are even."""
    n0, n1, n2 = red.shape
    _, BY, BX = boxes.shape
    zero = w.dtype.type(0)
    swept, ring = np.zeros((3, n1, n2), r.dtype), np.zeros((3, n1, n2), r.dtype)
    rest = np.zeros((n1, n2), r.dtype)
    for s in range(lo - 2, hi + 2):
        plane = swept[(s + 4) % 3]
        if 0 <= s < n0 - 2:
            scaled_plane(red[s + 1], r[s + 1], w, plane)
        else:
            plane[:] = 0
        y = s - 1
        if y < lo - 1 or not receive(y, lo, red, black, swept, w, zero, -1, ring, rest):
            continue
        z = y - 1
        Z, a = z >> 1, z & 1
        for Y in range(BY):
            o, at = boxes[Z, Y], first[Z, Y]
            if a == 0:
                for X in range(BX):
                    for c in range(parts[o[X]]):
                        coarse[at[X] + c] = 0
            for b in range(2):
                v = 4 * a + 2 * b + ((a + b) & 1)
                row = rest[2 * Y + b + 1, 1 : BX + 1]
                for X in range(BX):
                    if o[X] >> v & 1:
                        coarse[at[X] + part_of[o[X], v]] += row[X]


@kernel
def precondition(
    lo: int,
    hi: int,
    red: np.ndarray,
    black: np.ndarray,
    w: np.ndarray,
    boxes: np.ndarray,
    first: np.ndarray,
    part_of: np.ndarray,
    coarse: np.ndarray,
    factor: float,
    r: np.ndarray,
    update_p: bool,
    beta: float,
    p: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Compute the preconditioned residual z: a forward sweep, the coarse correction, a backward sweep, black then red.

    It is computed twice rather than stored, which is no slower and saves an array: first to sum r·z, then, with
    `update_p`, to set p to z + beta p and sum d p².
    """
    n0, n1, n2 = red.shape
    zero = w.dtype.type(0)
    d0, d1, d2 = w[3], w[4], w[5]
    swept, ring = np.zeros((3, n1, n2), r.dtype), np.zeros((3, n1, n2), r.dtype)
    got = np.zeros((n1, n2), r.dtype)
    for s in range(lo - 2, hi + 2):
        plane = swept[(s + 4) % 3]
        if 0 <= s < n0 - 2:
            scaled_plane(red[s + 1], r[s + 1], w, plane)
            add_parts(s, boxes, first, part_of, coarse, factor, plane)
        else:
            plane[:] = 0
        y = s - 1
        if y < lo - 1 or not receive(y, lo, red, black, swept, w, zero, -1, ring, got):
            continue
        z = y - 1
        total = 0.0
        for j in range(1, n1 - 1):
            c, g, a, b = red[z + 1, j], got[j], r[z + 1, j], p[z + 1, j]
            if update_p:
                for k in range(n2):
                    d = diagonal(c[k], d0, d1, d2)
                    v = (a[k] + g[k]) / d + beta * b[k] if c[k] > 0 else zero
                    b[k] = v
                    total += np.float64(d * v) * np.float64(v)
            else:
                for k in range(n2):
                    v = (a[k] + g[k]) / diagonal(c[k], d0, d1, d2) if c[k] > 0 else zero
                    total += np.float64(v) * np.float64(a[k])
        sums[z] = total


@kernel
def black_energy(lo: int, hi: int, black: np.ndarray, w: np.ndarray, p: np.ndarray, sums: np.ndarray) -> None:
    """Sum d t² over black voxels, t the mean of their red neighbours."""
    _, n1, n2 = black.shape
    zero = w.dtype.type(0)
    d0, d1, d2 = w[3], w[4], w[5]
    t = np.zeros((n1, n2), p.dtype)
    for z in range(lo, hi):
        black_plane(black[z + 1], p[z], p[z + 1], p[z + 2], w, z, zero, -1, t)
        total = 0.0
        for j in range(1, n1 - 1):
            c, v = black[z + 1, j], t[j]
            for k in range(1, n2 - 1):
                d = diagonal(c[k], d0, d1, d2)
                total += np.float64(d * v[k]) * np.float64(v[k])
        sums[z] = total


@kernel
def update(
    lo: int,
    hi: int,
    red: np.ndarray,
    black: np.ndarray,
    w: np.ndarray,
    p: np.ndarray,
    step: float,
    x: np.ndarray,
    r: np.ndarray,
) -> None:
    """Add to x `step` times p, and take from r `step` times the operator on p."""
    _, n1, n2 = red.shape
    zero = w.dtype.type(0)
    d0, d1, d2 = w[3], w[4], w[5]
    ring = np.zeros((3, n1, n2), p.dtype)
    got = np.zeros((n1, n2), p.dtype)
    for s in range(lo - 1, hi + 1):
        if not receive(s, lo, red, black, p, w, zero, -1, ring, got):
            continue
        z = s - 1
        for j in range(1, n1 - 1):
            c, pj, xj, rj, g = red[z + 1, j], p[z + 1, j], x[z + 1, j], r[z + 1, j], got[j]
            for k in range(1, n2 - 1):
                d = diagonal(c[k], d0, d1, d2)
                v = rj[k] - step * (d * pj[k] - g[k])
                rj[k] = v if c[k] > 0 else zero
                xj[k] += step * pj[k]
