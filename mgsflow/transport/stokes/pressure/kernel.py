"""Sweeps of L = Gᵀ diag(w) G over voxels: the finest level of the pressure's multigrid.

The weights of faces are kept in a byte each, as a number with five bits of exponent and three of mantissa: L only
preconditions, so 6 % are good enough. The coarse unknowns are the connected parts of the pores in each box of 2×2×2
voxels, numbered box by box; the byte of a pore voxel is one more than the number of its part within the box.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.solvers.arithmetic import kernel
from mgsflow.transport.stokes.velocity.fine_kernel import wrap_plane

_LOWEST = np.uint32((127 - 12) << 23)
"""Bits of the float32 2⁻¹²: weights lie between this and 2²⁰."""


@njit(inline="always")
def _packed(value):  # type: ignore[no-untyped-def]
    """Return the byte nearest to a positive float32."""
    bits = np.int64(np.float32(value).view(np.uint32))
    return np.uint8(min(max(((bits + (1 << 19)) >> 20) - ((127 - 12) << 3), 1), 255))  # type: ignore[arg-type]


@njit(cache=True, nogil=True, error_model="numpy")
def pack_weights(start, stop, c, half, across, x, scale, out) -> None:  # type: ignore[no-untyped-def]
    """Pack scale · x, at least the inverse diagonal of A, for the faces of one component.

    A face of the inlet or the outlet is half a voxel away from the pressure there: its weight counts twice.
    """
    w1, w2 = across
    for i in range(start, stop):
        for j in range(c.shape[1]):
            for k in range(c.shape[2]):
                v = c[i, j, k]
                if v > 0:
                    least = np.float32(1) / (np.float32(2) + w1 * (v & 7) + w2 * ((v >> 3) & 7))
                    out[i, j, k] = _packed(max(scale * x[i, j, k], least) / half[i])


@njit(cache=True, nogil=True)
def weigh(start, stop, w0, w1, w2, x, out) -> None:  # type: ignore[no-untyped-def]
    """Set the velocities of out to the packed weights times those of x."""
    for s in range(3):
        for i in range(start, stop):
            for j in range(x.shape[2]):
                w = w0[i, j] if s == 0 else (w1[i, j] if s == 1 else w2[i, j])
                for k in range(x.shape[3]):
                    out[s, i, j, k] = weight(w[k]) * x[s, i, j, k]


def unpack_weights(packed: np.ndarray) -> np.ndarray:
    """Return the float32 that bytes stand for."""
    table = ((np.arange(256, dtype=np.uint32) << np.uint32(20)) + _LOWEST).view(np.float32)
    table[0] = 0
    values: np.ndarray = table[packed]
    return values


@njit(inline="always")
def weight(byte):  # type: ignore[no-untyped-def]
    """Return the float32 that a byte stands for."""
    value = np.uint32(np.uint32(np.uint32(byte) << np.uint32(20)) + _LOWEST).view(np.float32)
    return value if byte > 0 else np.float32(0)


@njit(inline="always")
def _voxel(bi, bj, bk, q, s0, s1, s2):  # type: ignore[no-untyped-def]
    """Return the q-th of eight voxels of a box, and whether the box has it."""
    a, b, c = q >> 2, (q >> 1) & 1, q & 1
    return (bi << s0) - s0 + a, (bj << s1) - s1 + b, (bk << s2) - s2 + c, a <= s0 and b <= s1 and c <= s2


@njit(cache=True, nogil=True)
def split_boxes(pores: np.ndarray, shift: tuple[int, int, int], first: np.ndarray) -> int:
    """Number the connected parts of the pores in each box.

    Parameters
    ----------
    pores : ndarray of uint8
        Padded; not zero in pores. Set to one more than the number of the part within the box.
    shift : tuple of int
        By axis: 1 where boxes are two voxels long, 0 where one.
    first : ndarray of int32
        Padded boxes; set to the number of the first part in each.

    Returns
    -------
    int
        Number of parts.
    """
    n0, n1, n2 = pores.shape
    b0, b1, b2 = first.shape
    s0, s1, s2 = shift
    total = 0
    part = np.zeros(8, np.uint8)
    for bi in range(1, b0 - 1):
        for bj in range(1, b1 - 1):
            for bk in range(1, b2 - 1):
                first[bi, bj, bk] = total
                count = 0
                for q in range(8):
                    i, j, k, inside = _voxel(bi, bj, bk, q, s0, s1, s2)
                    inside = inside and i < n0 - 1 and j < n1 - 1 and k < n2 - 1 and pores[i, j, k] > 0
                    part[q] = 255 if inside else 0
                for q in range(8):
                    if part[q] != 255:
                        continue
                    count += 1
                    part[q] = count
                    grown = True
                    while grown:
                        grown = False
                        for r in range(8):
                            if part[r] == 255 and (
                                part[r ^ 1] == count or part[r ^ 2] == count or part[r ^ 4] == count
                            ):
                                part[r] = count
                                grown = True
                for q in range(8):
                    if part[q]:
                        i, j, k, _ = _voxel(bi, bj, bk, q, s0, s1, s2)
                        pores[i, j, k] = part[q]
                total += count
    return total


@njit(cache=True, nogil=True)
def part_graph(  # type: ignore[no-untyped-def]
    start, stop, pores, shift, first, w0, w1, w2, periodic, starts, ends, values, ground, boxes
) -> None:
    """Write the Galerkin matrix of the parts in some planes of boxes as a graph.

    Parameters
    ----------
    start, stop : int
        Planes of boxes.
    pores, shift, first
        As `split_boxes` leaves them, with filled margins.
    w0, w1, w2 : ndarray of uint8
        Weights of faces, packed.
    periodic : bool
    starts : ndarray of int32, (parts + 1,)
        First entry of each part; or, where `ends` is empty, to be set to the number of entries of the part before.
    ends, values : ndarray of int32 and float32
        Neighbours of each part, and the weights of the faces between them.
    ground : ndarray of float32, (parts,)
        Weights of each part's faces on the inlet and the outlet.
    boxes : ndarray of int32, (parts, 3)
        Box of each part.
    """
    b1, b2 = first.shape[1:]
    n0, n1, n2 = pores.shape
    s0, s1, s2 = shift
    write = ends.size > 0
    near = np.empty((8, 48), np.int64)
    sums = np.empty((8, 48), np.float64)
    count = np.zeros(8, np.int64)
    held = np.zeros(8, np.float64)
    for bi in range(start, stop):
        for bj in range(1, b1 - 1):
            for bk in range(1, b2 - 1):
                count[:] = 0
                held[:] = 0
                here = first[bi, bj, bk]
                found = 0
                for q in range(8):
                    i, j, k, inside = _voxel(bi, bj, bk, q, s0, s1, s2)
                    if not inside or i >= n0 - 1 or j >= n1 - 1 or k >= n2 - 1 or pores[i, j, k] == 0:
                        continue
                    c = pores[i, j, k] - 1
                    found = max(found, c + 1)
                    for s in range(6):
                        u, v, x = i, j, k
                        if s == 0:
                            u, w = i - 1, weight(w0[i, j, k])
                        elif s == 1:
                            u, w = i + 1, weight(w0[i + 1, j, k])
                        elif s == 2:
                            v, w = j - 1, weight(w1[i, j, k])
                        elif s == 3:
                            v, w = j + 1, weight(w1[i, j + 1, k])
                        elif s == 4:
                            x, w = k - 1, weight(w2[i, j, k])
                        else:
                            x, w = k + 1, weight(w2[i, j, k + 1])
                        if w == 0:
                            continue
                        if pores[u, v, x] == 0:
                            held[c] += w
                            continue
                        if periodic:
                            v = n1 - 2 if v == 0 else (1 if v == n1 - 1 else v)
                            x = n2 - 2 if x == 0 else (1 if x == n2 - 1 else x)
                        other = first[(u + s0) >> s0, (v + s1) >> s1, (x + s2) >> s2] + pores[u, v, x] - 1
                        if other == here + c:
                            continue
                        at = 0
                        while at < count[c] and near[c, at] != other:
                            at += 1
                        if at == count[c]:
                            near[c, at] = other
                            sums[c, at] = 0
                            count[c] += 1
                        sums[c, at] += w
                for c in range(found):
                    if not write:
                        starts[here + c + 1] = count[c]
                        continue
                    ground[here + c] = held[c]
                    boxes[here + c, 0], boxes[here + c, 1], boxes[here + c, 2] = bi, bj, bk
                    m = starts[here + c]
                    for at in range(count[c]):
                        ends[m + at] = near[c, at]
                        values[m + at] = sums[c, at]


@kernel
def _jacobi(u0, u1, w1, w2, b, scale, out) -> None:  # type: ignore[no-untyped-def]
    n1, n2 = b.shape
    for j in range(1, n1 - 1):
        for k in range(1, n2 - 1):
            g = weight(u0[j, k]) + weight(u1[j, k]) + weight(w1[j, k]) + weight(w1[j + 1, k])
            g += weight(w2[j, k]) + weight(w2[j, k + 1])
            # a solid voxel has no weights; b is zero there
            out[j, k] = scale * b[j, k] / max(g, np.float32(1e-30))


@kernel
def _chebyshev(u0, u1, w1, w2, b, x0, x, x1, before, alpha, beta, identity, out) -> None:  # type: ignore[no-untyped-def]
    """Out = x + α (x − before) + β D⁻¹ (b − L x) + identity · b."""
    n1, n2 = b.shape
    for j in range(1, n1 - 1):
        for k in range(1, n2 - 1):
            a0, a1 = weight(u0[j, k]), weight(u1[j, k])
            a2, a3 = weight(w1[j, k]), weight(w1[j + 1, k])
            a4, a5 = weight(w2[j, k]), weight(w2[j, k + 1])
            g = max(a0 + a1 + a2 + a3 + a4 + a5, np.float32(1e-30))
            s = a0 * x0[j, k] + a1 * x1[j, k] + a2 * x[j - 1, k] + a3 * x[j + 1, k] + a4 * x[j, k - 1]
            s += a5 * x[j, k + 1] + b[j, k]
            t = x[j, k] + alpha * (x[j, k] - before[j, k]) + beta * (s / g - x[j, k])
            out[j, k] = t + identity * b[j, k]


@kernel
def _product(u0, u1, w1, w2, x0, x, x1, j, out) -> None:  # type: ignore[no-untyped-def]
    n2 = x.shape[1]
    for k in range(1, n2 - 1):
        here = x[j, k]
        s = weight(u0[j, k]) * (here - x0[j, k]) + weight(u1[j, k]) * (here - x1[j, k])
        s += weight(w1[j, k]) * (here - x[j - 1, k]) + weight(w1[j + 1, k]) * (here - x[j + 1, k])
        s += weight(w2[j, k]) * (here - x[j, k - 1]) + weight(w2[j, k + 1]) * (here - x[j, k + 1])
        out[k] = s


@njit(cache=True, nogil=True)
def apply_pressure(start, stop, w0, w1, w2, x, y) -> None:  # type: ignore[no-untyped-def]
    """Y = L x; the margin of x must be filled, and is left as it is in y."""
    for i in range(start, stop):
        for j in range(1, x.shape[1] - 1):
            _product(w0[i], w0[i + 1], w1[i], w2[i], x[i - 1], x[i], x[i + 1], j, y[i, j])


@njit(cache=True, nogil=True)
def smooth_and_restrict_pressure(  # type: ignore[no-untyped-def]
    start, stop, pores, shift, first, w0, w1, w2, b, steps, periodic, x, coarse
) -> None:
    """Set x to two Chebyshev steps from zero, and add b − L x to the (zeroed) right-hand side of the parts."""
    n0, n1, n2 = pores.shape
    s0, s1, s2 = shift
    none = np.float32(0)
    one = np.zeros((3, n1, n2), np.float32)
    two = np.zeros((3, n1, n2), np.float32)
    zero = np.zeros((n1, n2), np.float32)
    row = np.zeros(n2, np.float32)
    for i in range(start - 2, stop + 2):
        t = one[i % 3]
        if 1 <= i < n0 - 2:
            _jacobi(w0[i], w0[i + 1], w1[i], w2[i], b[i], steps[0, 1], t)
            wrap_plane(t, periodic)
        else:
            t[:] = 0
        m = i - 1
        if m >= start - 1:
            t = two[m % 3]
            if 1 <= m < n0 - 2:
                _chebyshev(
                    w0[m], w0[m + 1], w1[m], w2[m], b[m], one[(m - 1) % 3], one[m % 3], one[(m + 1) % 3], zero,
                    steps[1, 0], steps[1, 1], none, t,
                )  # fmt: skip
                wrap_plane(t, periodic)
            else:
                t[:] = 0
            if start <= m < stop:
                x[m] = t
        m = i - 2
        if m >= start:
            box = (m + s0) >> s0
            for j in range(1, n1 - 1):
                _product(
                    w0[m], w0[m + 1], w1[m], w2[m], two[(m - 1) % 3], two[m % 3], two[(m + 1) % 3], j, row
                )  # fmt: skip
                line = first[box, (j + s1) >> s1]
                for k in range(1, n2 - 1):
                    p = pores[m, j, k]
                    if p > 0:
                        coarse[line[(k + s2) >> s2] + p - 1] += b[m, j, k] - row[k]


@njit(cache=True, nogil=True)
def correct_and_smooth_pressure(  # type: ignore[no-untyped-def]
    start, stop, pores, shift, first, w0, w1, w2, b, x, y, steps, periodic, identity, out
) -> None:
    """Set out to identity · b plus two Chebyshev steps from x + y, with y given on parts."""
    n0, n1, n2 = pores.shape
    s0, s1, s2 = shift
    none = np.float32(0)
    begun = np.zeros((3, n1, n2), np.float32)
    one = np.zeros((3, n1, n2), np.float32)
    for i in range(start - 2, stop + 2):
        t = begun[i % 3]
        t[:] = 0
        if 1 <= i < n0 - 2:
            for j in range(1, n1 - 1):
                line = first[(i + s0) >> s0, (j + s1) >> s1]
                for k in range(1, n2 - 1):
                    p = pores[i, j, k]
                    if p > 0:
                        t[j, k] = x[i, j, k] + y[line[(k + s2) >> s2] + p - 1]
            wrap_plane(t, periodic)
        m = i - 1
        if m >= start - 1:
            t = one[m % 3]
            if 1 <= m < n0 - 2:
                _chebyshev(
                    w0[m], w0[m + 1], w1[m], w2[m], b[m], begun[(m - 1) % 3], begun[m % 3], begun[(m + 1) % 3],
                    begun[m % 3], none, steps[0, 1], none, t,
                )  # fmt: skip
                wrap_plane(t, periodic)
            else:
                t[:] = 0
        m = i - 2
        if m >= start:
            _chebyshev(
                w0[m], w0[m + 1], w1[m], w2[m], b[m], one[(m - 1) % 3], one[m % 3], one[(m + 1) % 3], begun[m % 3],
                steps[1, 0], steps[1, 1], identity, out[m],
            )  # fmt: skip
            wrap_plane(out[m], periodic)
