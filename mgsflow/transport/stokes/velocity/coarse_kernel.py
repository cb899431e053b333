"""Coarse levels of the velocity multigrid: boxes, their Galerkin matrices, and sweeps over them.

A box is two long along each axis, or one where `shift` is 0. The matrix of a level is a diagonal and, for each axis,
the coupling of every box to the one before it; Galerkin sums with constant values in boxes keep that form. Sweeps are
as in `stokes.velocity.fine_kernel`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.solvers.arithmetic import kernel
from mgsflow.transport.stokes.velocity.fine_kernel import wrap_plane


@njit(cache=True, nogil=True)
def sum_faces(start, stop, c, half, weights, across, shift, g, e0, e1, e2) -> None:  # type: ignore[no-untyped-def]
    """Set planes of the matrix of boxes to the sums over the faces of one component."""
    n0, n1, n2 = c.shape
    a0, a1, a2 = weights
    w1, w2 = across
    s0, s1, s2 = shift
    for box in range(start, stop):
        for i in range((box << s0) - s0, min((box << s0) + 1, n0 - 1)):
            h = half[i]
            for j in range(1, n1 - 1):
                for k in range(1, n2 - 1):
                    v = c[i, j, k]
                    if v == 0:
                        continue
                    y, x = (j + s1) >> s1, (k + s2) >> s2
                    g[box, y, x] += h * (np.float32(2) + w1 * (v & 7) + w2 * ((v >> 3) & 7))
                    if c[i - 1, j, k] > 0:
                        if s0 == 0 or i & 1:
                            e0[box, y, x] += a0
                        else:
                            g[box, y, x] -= 2 * a0
                    if c[i, j - 1, k] > 0:
                        if s1 == 0 or j & 1:
                            e1[box, y, x] += h * a1
                        else:
                            g[box, y, x] -= 2 * h * a1
                    if c[i, j, k - 1] > 0:
                        if s2 == 0 or k & 1:
                            e2[box, y, x] += h * a2
                        else:
                            g[box, y, x] -= 2 * h * a2


@njit(cache=True, nogil=True)
def sum_boxes(start, stop, f, f0, f1, f2, shift, g, e0, e1, e2) -> None:  # type: ignore[no-untyped-def]
    """Set planes of the matrix of boxes to the sums over the boxes of the level below."""
    n0, n1, n2 = f.shape
    s0, s1, s2 = shift
    for box in range(start, stop):
        for i in range((box << s0) - s0, min((box << s0) + 1, n0 - 1)):
            for j in range(1, n1 - 1):
                for k in range(1, n2 - 1):
                    y, x = (j + s1) >> s1, (k + s2) >> s2
                    g[box, y, x] += f[i, j, k]
                    if s0 == 0 or i & 1:
                        e0[box, y, x] += f0[i, j, k]
                    else:
                        g[box, y, x] -= 2 * f0[i, j, k]
                    if s1 == 0 or j & 1:
                        e1[box, y, x] += f1[i, j, k]
                    else:
                        g[box, y, x] -= 2 * f1[i, j, k]
                    if s2 == 0 or k & 1:
                        e2[box, y, x] += f2[i, j, k]
                    else:
                        g[box, y, x] -= 2 * f2[i, j, k]


@kernel
def _jacobi(g, b, scale, out) -> None:  # type: ignore[no-untyped-def]
    n1, n2 = g.shape
    for j in range(1, n1 - 1):
        for k in range(1, n2 - 1):
            out[j, k] = scale * b[j, k] / g[j, k]


@kernel
def _chebyshev(g, u0, u1, e1, e2, b, x0, x, x1, before, alpha, beta, out) -> None:  # type: ignore[no-untyped-def]
    """Out = x + α (x − before) + β D⁻¹ (b − A x); u0 and u1 are couplings to the planes below and above."""
    n1, n2 = g.shape
    for j in range(1, n1 - 1):
        for k in range(1, n2 - 1):
            s = u0[j, k] * x0[j, k] + u1[j, k] * x1[j, k] + e1[j, k] * x[j - 1, k] + e1[j + 1, k] * x[j + 1, k]
            s += e2[j, k] * x[j, k - 1] + e2[j, k + 1] * x[j, k + 1] + b[j, k]
            out[j, k] = x[j, k] + alpha * (x[j, k] - before[j, k]) + beta * (s / g[j, k] - x[j, k])


@kernel
def _product(g, u0, u1, e1, e2, x0, x, x1, j, out) -> None:  # type: ignore[no-untyped-def]
    """Write row j of A x."""
    n2 = g.shape[1]
    for k in range(1, n2 - 1):
        s = u0[j, k] * x0[j, k] + u1[j, k] * x1[j, k] + e1[j, k] * x[j - 1, k] + e1[j + 1, k] * x[j + 1, k]
        s += e2[j, k] * x[j, k - 1] + e2[j, k + 1] * x[j, k + 1]
        out[k] = g[j, k] * x[j, k] - s


@njit(cache=True, nogil=True)
def apply_boxes(start, stop, g, e0, e1, e2, x, y) -> None:  # type: ignore[no-untyped-def]
    """Y = A x on boxes; the margin of x must be filled."""
    for i in range(start, stop):
        for j in range(1, g.shape[1] - 1):
            _product(g[i], e0[i], e0[i + 1], e1[i], e2[i], x[i - 1], x[i], x[i + 1], j, y[i, j])


@njit(cache=True, nogil=True)
def smooth_boxes_and_restrict(  # type: ignore[no-untyped-def]
    start, stop, g, e0, e1, e2, b, steps, periodic, shift, x, coarse
) -> None:
    """Set x to two Chebyshev steps from zero, and the coarse right-hand side to the sums of b − A x over boxes."""
    n0, n1, n2 = g.shape
    s0, s1, s2 = shift
    first = np.zeros((3, n1, n2), np.float32)
    second = np.zeros((3, n1, n2), np.float32)
    zero = np.zeros((n1, n2), np.float32)
    row = np.zeros(n2, np.float32)
    for i in range(start - 2, stop + 2):
        t = first[i % 3]
        if 1 <= i < n0 - 1:
            _jacobi(g[i], b[i], steps[0, 1], t)
            wrap_plane(t, periodic)
        else:
            t[:] = 0
        m = i - 1
        if m >= start - 1:
            t = second[m % 3]
            if 1 <= m < n0 - 1:
                _chebyshev(
                    g[m], e0[m], e0[m + 1], e1[m], e2[m], b[m], first[(m - 1) % 3], first[m % 3], first[(m + 1) % 3],
                    zero, steps[1, 0], steps[1, 1], t,
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
                _product(
                    g[m], e0[m], e0[m + 1], e1[m], e2[m], second[(m - 1) % 3], second[m % 3], second[(m + 1) % 3],
                    j, row,
                )  # fmt: skip
                line = to[(j + s1) >> s1]
                for k in range(1, n2 - 1):
                    line[(k + s2) >> s2] += b[m, j, k] - row[k]


@njit(cache=True, nogil=True)
def correct_and_smooth_boxes(  # type: ignore[no-untyped-def]
    start, stop, g, e0, e1, e2, b, x, y, steps, periodic, shift, mix, out
) -> None:
    """Set out to mix₀ out + mix₁ t, t being two Chebyshev steps from x + y, with y given on larger boxes."""
    n0, n1, n2 = g.shape
    none = np.float32(0)
    s0, s1, s2 = shift
    begun = np.zeros((3, n1, n2), np.float32)
    first = np.zeros((3, n1, n2), np.float32)
    found = np.zeros((n1, n2), np.float32)
    for i in range(start - 2, stop + 2):
        t = begun[i % 3]
        if 1 <= i < n0 - 1:
            for j in range(1, n1 - 1):
                p = y[(i + s0) >> s0, (j + s1) >> s1]
                for k in range(1, n2 - 1):
                    t[j, k] = x[i, j, k] + p[(k + s2) >> s2]
            wrap_plane(t, periodic)
        else:
            t[:] = 0
        m = i - 1
        if m >= start - 1:
            t = first[m % 3]
            if 1 <= m < n0 - 1:
                _chebyshev(
                    g[m], e0[m], e0[m + 1], e1[m], e2[m], b[m], begun[(m - 1) % 3], begun[m % 3], begun[(m + 1) % 3],
                    begun[m % 3], none, steps[0, 1], t,
                )  # fmt: skip
                wrap_plane(t, periodic)
            else:
                t[:] = 0
        m = i - 2
        if m >= start:
            _chebyshev(
                g[m], e0[m], e0[m + 1], e1[m], e2[m], b[m], first[(m - 1) % 3], first[m % 3], first[(m + 1) % 3],
                begun[m % 3], steps[1, 0], steps[1, 1], found,
            )  # fmt: skip
            for j in range(1, n1 - 1):
                for k in range(1, n2 - 1):
                    out[m, j, k] = mix[0] * out[m, j, k] + mix[1] * found[j, k]
            wrap_plane(out[m], periodic)
