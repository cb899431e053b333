"""The saddle-point matrix [A, G; Gᵀ, 0] and the vector sums of the outer iteration, each a single pass over memory.

A vector is an array of shape (4, n0, n1, n2): three components of the velocity, and the pressure. Sums are kept by
plane in float64 and added in order, so that they do not depend on the number of threads. Within a plane, rows are added
up first, element by element: that runs as wide as the processor is, and gives the same on all.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.solvers.arithmetic import kernel
from mgsflow.solvers.team import Team
from mgsflow.transport.stokes.sweep import sweep
from mgsflow.transport.stokes.velocity.fine_kernel import wrap_plane


@kernel
def _add_products(x, y, line) -> None:  # type: ignore[no-untyped-def]
    """Add the products over the inside of a row to a line of float64."""
    for k in range(1, x.size - 1):
        line[k] += x[k] * y[k]


@njit(cache=True, nogil=True)
def _taken(line) -> float:  # type: ignore[no-untyped-def]
    """Return the sum of a line, and set it to 0."""
    s = 0.0
    for k in range(line.size):
        s += line[k]
        line[k] = 0.0
    return s


@njit(cache=True, nogil=True)
def dot_planes(start, stop, x, y, sums) -> None:  # type: ignore[no-untyped-def]
    """Set the sums of products by plane."""
    line = np.zeros(x.shape[2])
    for i in range(start, stop):
        for j in range(1, x.shape[1] - 1):
            _add_products(x[i, j], y[i, j], line)
        sums[i] = _taken(line)


def dot_rows(team: Team, x: np.ndarray, y: np.ndarray) -> float:
    """Return the sum of products of two fields."""
    sums = np.zeros(x.shape[0])
    sweep(team, dot_planes, 0, x.shape[0], x[0].size, x, y, sums)
    return float(sums.sum())


@kernel
def _momentum(c, x0, x, x1, p_here, p_before, h, a0, a1, a2, d, out) -> None:  # type: ignore[no-untyped-def]
    """Out = A x + G p for one row; rows of x come with those beside them: below, (before, at, after), above.

    Sums of differences: in wide pores, neighbours differ by less than float32 resolves of their sum.
    """
    two = np.float32(2)
    own = two * h - two
    for k in range(1, c.size - 1):
        v = c[k]
        n1, n2 = np.float32(np.uint8(v & 7)) - two, np.float32(np.uint8((v >> 3) & 7)) - two
        here = x[1, k]
        m0 = own if d == 0 else n1
        m1 = (n1 if d == 0 else n2) if d != 1 else np.float32(0)
        m2 = n2 if d != 2 else np.float32(0)
        s0 = (here - x0[k]) + (here - x1[k]) + m0 * here
        s1 = (here - x[0, k]) + (here - x[2, k]) + m1 * here
        s2 = (here - x[1, k - 1]) + (here - x[1, k + 1]) + m2 * here
        t = a0 * s0 + h * (a1 * s1 + a2 * s2) + (p_here[k] - p_before[k])
        out[k] = t if v > 0 else np.float32(0)


@kernel
def _less_before(c, p, out) -> None:  # type: ignore[no-untyped-def]
    """Out −= the pressure before each voxel of a row."""
    for k in range(1, c.size - 1):
        out[k] -= p[k - 1] if c[k] > 0 else np.float32(0)


@kernel
def _outflow(pores, u, u1, v, v1, w, out) -> None:  # type: ignore[no-untyped-def]
    """Out = Gᵀ u for one row: what flows into each voxel less what flows out."""
    for k in range(1, pores.size - 1):
        t = (u[k] - u1[k]) + (v[k] - v1[k]) + (w[k] - w[k + 1])
        out[k] = t if pores[k] > 0 else np.float32(0)


@njit(cache=True, nogil=True)
def _matrix_row(pores, c0, c1, c2, half, weights, x, i, j, zero, y) -> None:  # type: ignore[no-untyped-def]
    """Write row (i, j) of all four parts of the matrix times x."""
    p = x[3]
    for d in range(3):
        c = c0[i, j] if d == 0 else (c1[i, j] if d == 1 else c2[i, j])
        a0, a1, a2 = weights[d]
        before = p[i - 1, j] if d == 0 else (p[i, j - 1] if d == 1 else zero)
        u = x[d]
        _momentum(
            c, u[i - 1, j], u[i, j - 1 : j + 2], u[i + 1, j], p[i, j], before, half[d, i], a0, a1, a2, d,
            y[d, i, j],
        )  # fmt: skip
        if d == 2:
            _less_before(c, p[i, j], y[d, i, j])
    _outflow(pores[i, j], x[0, i, j], x[0, i + 1, j], x[1, i, j], x[1, i, j + 1], x[2, i, j], y[3, i, j])


@njit(cache=True, nogil=True)
def apply_saddle(start, stop, pores, c0, c1, c2, half, weights, x, y) -> None:  # type: ignore[no-untyped-def]
    """Y = K x; the margin of x must be filled."""
    n1, n2 = pores.shape[1:]
    zero = np.zeros(n2, np.float32)
    for i in range(start, stop):
        for j in range(1, n1 - 1):
            _matrix_row(pores, c0, c1, c2, half, weights, x, i, j, zero, y)


@njit(cache=True, nogil=True)
def apply_to_direction(  # type: ignore[no-untyped-def]
    start, stop, pores, c0, c1, c2, half, weights, d, z, hz, q, sums
) -> None:
    """Q = K d, with the sums by plane: d·q, z·q over velocities, d·hz, and what d carries through the plane."""
    n1, n2 = pores.shape[1:]
    zero = np.zeros(n2, np.float32)
    dq, zq, dh = np.zeros(n2), np.zeros(n2), np.zeros(n2)
    for i in range(start, stop):
        flow = 0.0
        for j in range(1, n1 - 1):
            _matrix_row(pores, c0, c1, c2, half, weights, d, i, j, zero, q)
            for s in range(4):
                _add_products(d[s, i, j], q[s, i, j], dq)
                _add_products(d[s, i, j], hz[s, i, j], dh)
                if s < 3:
                    _add_products(z[s, i, j], q[s, i, j], zq)
            for k in range(1, n2 - 1):
                flow += d[0, i, j, k]
        sums[i, 0], sums[i, 1], sums[i, 2], sums[i, 3] = _taken(dq), _taken(zq), _taken(dh), flow


@kernel
def _less(x, y) -> None:  # type: ignore[no-untyped-def]
    """Y = x − y for the inside of a row."""
    for k in range(1, x.size - 1):
        y[k] = x[k] - y[k]


@njit(cache=True, nogil=True)
def apply_metric(  # type: ignore[no-untyped-def]
    start, stop, pores, c0, c1, c2, half, weights, y, d, q, sums
) -> None:
    """Q ← (A y_u − q_u, Gᵀ y_u − q_p), with the sums of q·d by plane.

    With y = P⁻¹ q (velocities only, so far) this is H y: the inner product of the iteration.
    """
    n1, n2 = pores.shape[1:]
    zero = np.zeros(n2, np.float32)
    row = np.zeros(n2, np.float32)
    line = np.zeros(n2)
    for i in range(start, stop):
        for j in range(1, n1 - 1):
            for s in range(3):
                c = c0[i, j] if s == 0 else (c1[i, j] if s == 1 else c2[i, j])
                a0, a1, a2 = weights[s]
                u = y[s]
                _momentum(
                    c, u[i - 1, j], u[i, j - 1 : j + 2], u[i + 1, j], zero, zero, half[s, i], a0, a1, a2, s, row
                )  # fmt: skip
                _less(row, q[s, i, j])
                _add_products(q[s, i, j], d[s, i, j], line)
            _outflow(pores[i, j], y[0, i, j], y[0, i + 1, j], y[1, i, j], y[1, i, j + 1], y[2, i, j], row)
            _less(row, q[3, i, j])
            _add_products(q[3, i, j], d[3, i, j], line)
        sums[i] = _taken(line)


@kernel
def _update_row(z, hz, y, hy, alpha) -> None:  # type: ignore[no-untyped-def]
    for k in range(z.size):
        z[k] -= alpha * y[k]
        hz[k] -= alpha * hy[k]


@njit(cache=True, nogil=True)
def update(start, stop, z, hz, y, hy, alpha, sums) -> None:  # type: ignore[no-untyped-def]
    """Z −= α y and hz −= α hy, with the sums of z·hz by plane."""
    line = np.zeros(z.shape[3])
    for i in range(start, stop):
        for s in range(4):
            for j in range(z.shape[2]):
                _update_row(z[s, i, j], hz[s, i, j], y[s, i, j], hy[s, i, j], alpha)
                if 0 < j < z.shape[2] - 1:
                    _add_products(z[s, i, j], hz[s, i, j], line)
        sums[i] = _taken(line)


@kernel
def add_scaled(start, stop, x, y, a, b) -> None:  # type: ignore[no-untyped-def]
    """X = a x + b y."""
    for s in range(x.shape[0]):
        for i in range(start, stop):
            for j in range(x.shape[2]):
                for k in range(x.shape[3]):
                    x[s, i, j, k] = a * x[s, i, j, k] + b * y[s, i, j, k]


@njit(cache=True, nogil=True)
def fill_margin(start, stop, x) -> None:  # type: ignore[no-untyped-def]
    """Fill the periodic margin of every plane of a vector."""
    for s in range(x.shape[0]):
        for i in range(start, stop):
            wrap_plane(x[s, i], True)
