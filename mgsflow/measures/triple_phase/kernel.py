"""Smoothed indicators in whole numbers and the cross products of their gradients: the numba side of `triple_line`."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _smooth(b, phase, weights, t0, t1, out):  # type: ignore[no-untyped-def]
    """Smooth the indicator of a phase; `out` is smaller than `b` by the kernel's radius on every side."""
    nz, ny = b.shape[:2]
    k = weights.size
    mz, my, mx = out.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(mx):
                t0[z, y, x] = 0
            for i in range(k):
                w = weights[i]
                for x in range(mx):
                    t0[z, y, x] += w * np.int32(b[z, y, x + i] == phase)
    for z in range(nz):
        for y in range(my):
            for x in range(mx):
                t1[z, y, x] = 0
            for i in range(k):
                w = weights[i]
                for x in range(mx):
                    t1[z, y, x] += w * t0[z, y + i, x]
    for z in range(mz):
        for y in range(my):
            for x in range(mx):
                out[z, y, x] = 0
            for i in range(k):
                w = weights[i]
                for x in range(mx):
                    out[z, y, x] += w * t1[z + i, y, x]


@njit(cache=True, nogil=True)
def _add_pair(g, h, aspect, scale, line):  # type: ignore[no-untyped-def]
    """Return the sum of |∇g × ∇h| over all voxels but the outermost, each rounded to a whole number of 1/scale."""
    nz, ny, nx = g.shape
    total = np.int64(0)
    rz, ry, rx = aspect
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                gz = np.float64(g[z + 1, y, x] - g[z - 1, y, x])
                gy = np.float64(g[z, y + 1, x] - g[z, y - 1, x])
                gx = np.float64(g[z, y, x + 1] - g[z, y, x - 1])
                hz = np.float64(h[z + 1, y, x] - h[z - 1, y, x])
                hy = np.float64(h[z, y + 1, x] - h[z, y - 1, x])
                hx = np.float64(h[z, y, x + 1] - h[z, y, x - 1])
                cz = (gy * hx - gx * hy) * rz
                cy = (gx * hz - gz * hx) * ry
                cx = (gz * hy - gy * hz) * rx
                line[x] = np.sqrt(cz * cz + cy * cy + cx * cx) * scale
            for x in range(1, nx - 1):
                total += np.int64(np.rint(line[x]))
    return total


@njit(cache=True, nogil=True)
def brick_length(m, iz, iy, ix, phases, weights, aspect, scale, b, t0, t1, fields, line):  # type: ignore[no-untyped-def]
    """Return the sum over a brick of |∇gᵢ × ∇gⱼ| over pairs of phases (only 0 and 1 of three), in 1/scale.

    `iz`, `iy`, `ix` are the places in `m` of the brick's planes, rows and columns with their margin.
    """
    seen = np.zeros(256, np.uint8)
    nz, ny, nx = iz.size, iy.size, ix.size
    b = b[:nz, :ny, :nx]
    for z in range(nz):
        for y in range(ny):
            row = m[iz[z], iy[y]]
            for x in range(nx):
                v = row[ix[x]]
                b[z, y, x] = v
                seen[v] = 1
    if seen.sum() < 3:
        # with two phases the gradients are opposite, to the last digit: nothing to add
        return np.int64(0)
    r = weights.size - 1
    mz, my, mx = nz - r, ny - r, nx - r
    used = 2 if phases == 3 else phases
    for p in range(used):
        if seen[p]:
            _smooth(b, p, weights, t0[:nz, :ny, :mx], t1[:nz, :my, :mx], fields[p, :mz, :my, :mx])
    total = np.int64(0)
    for p in range(used):
        for q in range(p + 1, used):
            if seen[p] and seen[q]:
                total += _add_pair(fields[p, :mz, :my, :mx], fields[q, :mz, :my, :mx], aspect, scale, line)
    return total
