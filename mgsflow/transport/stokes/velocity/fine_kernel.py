"""Sweeps over the velocities of one component on voxel faces: the finest level, each a single pass over memory.

A cycle is a Chebyshev polynomial of degree two in D⁻¹A before and after the coarse correction. Its steps run one
plane behind another, so that what they exchange stays in the cache; at the borders of a range of planes they are
computed twice. Every kernel takes a range of planes and gives the same numbers for any cut.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.solvers.arithmetic import kernel


@njit(cache=True, nogil=True)
def wrap_plane(t: np.ndarray, periodic: bool) -> None:
    """Fill the margin of a plane from across its periodic sides."""
    if periodic:
        n1, n2 = t.shape
        t[0] = t[n1 - 2]
        t[n1 - 1] = t[1]
        for j in range(n1):
            t[j, 0] = t[j, n2 - 2]
            t[j, n2 - 1] = t[j, 1]


@kernel
def _jacobi(c: np.ndarray, b: np.ndarray, h: float, w1: float, w2: float, scale: float, out: np.ndarray) -> None:
    """Out = scale · D⁻¹ b."""
    n1, n2 = c.shape
    for j in range(1, n1 - 1):
        for k in range(1, n2 - 1):
            v = c[j, k]
            g = np.float32(2) + w1 * np.float32(np.uint8(v & 7)) + w2 * np.float32(np.uint8((v >> 3) & 7))
            out[j, k] = scale * b[j, k] / (h * g)


@kernel
def _chebyshev(  # type: ignore[no-untyped-def]
    c, b, x0, x, x1, before, h, a0, a1, a2, w1, w2, alpha, beta, scale, out
) -> None:
    """Out = scale · (x + α (x − before) + β D⁻¹ (b − A x)); x0, x, x1 are planes of x below, at and above."""
    n1, n2 = c.shape
    for j in range(1, n1 - 1):
        for k in range(1, n2 - 1):
            v = c[j, k]
            g = np.float32(2) + w1 * np.float32(np.uint8(v & 7)) + w2 * np.float32(np.uint8((v >> 3) & 7))
            s = a0 * (x0[j, k] + x1[j, k]) + h * a1 * (x[j - 1, k] + x[j + 1, k]) + h * a2 * (x[j, k - 1] + x[j, k + 1])
            t = x[j, k] + alpha * (x[j, k] - before[j, k]) + beta * ((b[j, k] + s) / (h * g) - x[j, k])
            out[j, k] = scale * t if v > 0 else np.float32(0)


@kernel
def _residual(c, b, x0, x, x1, j, h, a0, a1, a2, w1, w2, out) -> None:  # type: ignore[no-untyped-def]
    """Write row j of b − A x."""
    n2 = c.shape[1]
    for k in range(1, n2 - 1):
        v = c[j, k]
        g = np.float32(2) + w1 * np.float32(np.uint8(v & 7)) + w2 * np.float32(np.uint8((v >> 3) & 7))
        s = a0 * (x0[j, k] + x1[j, k]) + h * a1 * (x[j - 1, k] + x[j + 1, k]) + h * a2 * (x[j, k - 1] + x[j, k + 1])
        t = b[j, k] + s - h * g * x[j, k]
        out[k] = t if v > 0 else np.float32(0)


@njit(cache=True, nogil=True)
def smooth_and_restrict(  # type: ignore[no-untyped-def]
    start, stop, c, half, weights, across, b, steps, periodic, shift, x, coarse
) -> None:
    """Set x to two Chebyshev steps from zero, and the coarse right-hand side to the sums of b − A x over boxes.

    Parameters
    ----------
    start, stop : int
        Planes, of whole boxes.
    c : ndarray of uint8
        Codes of the faces.
    half : ndarray of float32, (n0,)
    weights : ndarray of float32, (3,)
        Of the axes of the array.
    across : ndarray of float32, (2,)
        Those of the two axes that the counts of a code stand for.
    b, x : ndarray of float32
        Right-hand side; result.
    steps : ndarray of float32, (2, 2)
        (α, β) of each Chebyshev step.
    periodic : bool
    shift : tuple of int
        By axis: 1 where boxes are two faces long, 0 where one.
    coarse : ndarray of float32
        Boxes.
    """
    n0, n1, n2 = c.shape
    one = np.float32(1)
    a0, a1, a2 = weights
    w1, w2 = across
    s0, s1, s2 = shift
    first = np.zeros((3, n1, n2), np.float32)
    second = np.zeros((3, n1, n2), np.float32)
    zero = np.zeros((n1, n2), np.float32)
    row = np.zeros(n2, np.float32)
    for i in range(start - 2, stop + 2):
        t = first[i % 3]
        if 1 <= i < n0 - 1:
            _jacobi(c[i], b[i], half[i], w1, w2, steps[0, 1], t)
            wrap_plane(t, periodic)
        else:
            t[:] = 0
        m = i - 1
        if m >= start - 1:
            t = second[m % 3]
            if 1 <= m < n0 - 1:
                _chebyshev(
                    c[m], b[m], first[(m - 1) % 3], first[m % 3], first[(m + 1) % 3], zero,
                    half[m], a0, a1, a2, w1, w2, steps[1, 0], steps[1, 1], one, t,
                )  # fmt: skip
                wrap_plane(t, periodic)
            else:
                t[:] = 0
            if start <= m < stop:
                x[m] = t
        m = i - 2
        if m >= start:
            to = coarse[(m + s0) >> s0]
            if s0 == 0 or m & 1:
                to[:] = 0
            for j in range(1, n1 - 1):
                _residual(
                    c[m], b[m], second[(m - 1) % 3], second[m % 3], second[(m + 1) % 3], j,
                    half[m], a0, a1, a2, w1, w2, row,
                )  # fmt: skip
                line = to[(j + s1) >> s1]
                if s2:
                    for k in range(1, n2 - 1, 2):
                        # the margin of `row` is zero: an odd number of faces leaves half a box
                        line[(k + 1) >> 1] += row[k] + row[k + 1]
                else:
                    for k in range(1, n2 - 1):
                        line[k] += row[k]


@njit(cache=True, nogil=True)
def _add_coarse(c, x, y, s1, s2, row, out) -> None:  # type: ignore[no-untyped-def]
    """Out = x + y of the boxes, one plane."""
    n1, n2 = c.shape
    for j in range(1, n1 - 1):
        p = y[(j + s1) >> s1]
        if s2:
            for k in range(1, n2 >> 1):
                row[2 * k - 1] = p[k]
                row[2 * k] = p[k]
            if n2 & 1:
                row[n2 - 2] = p[n2 >> 1]
        else:
            row[:] = p
        for k in range(1, n2 - 1):
            t = x[j, k] + row[k]
            out[j, k] = t if c[j, k] > 0 else np.float32(0)


@njit(cache=True, nogil=True)
def correct_and_smooth(  # type: ignore[no-untyped-def]
    start, stop, c, half, weights, across, b, x, y, steps, periodic, shift, scale, out
) -> None:
    """Set out to scale times two Chebyshev steps from x + y, with y given on boxes."""
    n0, n1, n2 = c.shape
    one, none = np.float32(1), np.float32(0)
    a0, a1, a2 = weights
    w1, w2 = across
    s0, s1, s2 = shift
    begun = np.zeros((3, n1, n2), np.float32)
    row = np.zeros(n2, np.float32)
    first = np.zeros((3, n1, n2), np.float32)
    for i in range(start - 2, stop + 2):
        t = begun[i % 3]
        if 1 <= i < n0 - 1:
            _add_coarse(c[i], x[i], y[(i + s0) >> s0], s1, s2, row, t)
            wrap_plane(t, periodic)
        else:
            t[:] = 0
        m = i - 1
        if m >= start - 1:
            t = first[m % 3]
            if 1 <= m < n0 - 1:
                _chebyshev(
                    c[m], b[m], begun[(m - 1) % 3], begun[m % 3], begun[(m + 1) % 3], begun[m % 3],
                    half[m], a0, a1, a2, w1, w2, none, steps[0, 1], one, t,
                )  # fmt: skip
                wrap_plane(t, periodic)
            else:
                t[:] = 0
        m = i - 2
        if m >= start:
            _chebyshev(
                c[m], b[m], first[(m - 1) % 3], first[m % 3], first[(m + 1) % 3], begun[m % 3],
                half[m], a0, a1, a2, w1, w2, steps[1, 0], steps[1, 1], scale, out[m],
            )  # fmt: skip
            wrap_plane(out[m], periodic)


@kernel
def apply_component(start, stop, c, half, weights, across, x, y) -> None:  # type: ignore[no-untyped-def]
    """Y = A x on faces of one component; the margin of y is left as it was."""
    n1, n2 = c.shape[1:]
    a0, a1, a2 = weights
    w1, w2 = across
    for i in range(start, stop):
        h = half[i]
        for j in range(1, n1 - 1):
            for k in range(1, n2 - 1):
                v = c[i, j, k]
                g = np.float32(2) + w1 * np.float32(np.uint8(v & 7)) + w2 * np.float32(np.uint8((v >> 3) & 7))
                s = a0 * (x[i - 1, j, k] + x[i + 1, j, k])
                s += h * a1 * (x[i, j - 1, k] + x[i, j + 1, k]) + h * a2 * (x[i, j, k - 1] + x[i, j, k + 1])
                t = h * g * x[i, j, k] - s
                y[i, j, k] = t if v > 0 else np.float32(0)
