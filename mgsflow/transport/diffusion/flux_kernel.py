"""Residual, energy, and the flux through every plane, from the concentration on packed voxels.

All are computed from differences between neighbours, so that rounding is relative to the gradient and not to the
concentration. Packing, codes and `w` are those of `mgsflow.transport.diffusion.packed_kernel`.
"""

from __future__ import annotations

import numpy as np

from mgsflow.solvers.arithmetic import kernel
from mgsflow.transport.diffusion.packed_kernel import black_plane, red_plane, scaled_plane


@kernel
def residual(
    lo: int,
    hi: int,
    red: np.ndarray,
    black: np.ndarray,
    w: np.ndarray,
    axis: int,
    last: int,
    x: np.ndarray,
    r: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Compute the red residual, black eliminated; sum r·x and the flux through the first plane.

    From differences, and with the rounding defects of black values transferred to red: rounding is then relative to the
    gradient, and the flux into a voxel equals that out of it. The accuracy in single precision depends on it.
    """
    n0, n1, n2 = red.shape
    values = np.zeros((4, n1, n2), x.dtype)
    defects = np.zeros((4, n1, n2), x.dtype)
    source = w.dtype.type(2) * w[axis]
    for s in range(lo - 1, hi + 1):
        t, q = values[(s + 4) % 4], defects[(s + 4) % 4]
        t[:] = 0
        q[:] = 0
        if 0 <= s < n0 - 2:
            black_plane(black[s + 1], x[s], x[s + 1], x[s + 2], w, s, source, axis, t)
            _differences(black[s + 1], red[s], red[s + 1], red[s + 2], t, x[s], x[s + 1], x[s + 2], w, s, 1, q)
            _end_faces(black[s + 1], t, w, s, 1, axis, last, q)
            scaled_plane(black[s + 1], q, w, q)
        z = s - 1
        if z < lo:
            continue
        i0, i1, i2 = (z + 3) % 4, z % 4, (z + 1) % 4
        rz, c = r[z + 1], red[z + 1]
        _differences(c, black[z], black[z + 1], black[z + 2], x[z + 1], values[i0], values[i1], values[i2], w, z, 0, rz)
        _end_faces(c, x[z + 1], w, z, 0, axis, last, rz)
        flow, product = 0.0, 0.0
        carried = np.empty((n1, n2), x.dtype)
        red_plane(c, defects[i0], defects[i1], defects[i2], w, z, carried)
        for j in range(1, n1 - 1):
            rj, xj, tj, more = rz[j], x[z + 1, j], values[i1, j], carried[j]
            for k in range(1, n2 - 1):
                rj[k] += more[k]
                product += np.float64(rj[k]) * np.float64(xj[k])
            if (axis == 0 and z == 0) or (axis == 1 and j == 1):
                for k in range(1, n2 - 1):
                    if c[j, k] > 0:
                        flow += np.float64(source) * (1.0 - np.float64(xj[k]))
                    if black[z + 1, j, k] > 0:
                        flow += np.float64(source) * (1.0 - np.float64(tj[k]))
            elif axis == 2:
                odd = (z + j - 1) & 1
                if not odd and c[j, 1] > 0:
                    flow += np.float64(source) * (1.0 - np.float64(xj[1]))
                elif odd and black[z + 1, j, 1] > 0:
                    flow += np.float64(source) * (1.0 - np.float64(tj[1]))
        sums[z, 0] = flow
        sums[z, 1] = product


@kernel
def _differences(
    codes: np.ndarray,
    code_below: np.ndarray,
    code_here: np.ndarray,
    code_above: np.ndarray,
    own: np.ndarray,
    below: np.ndarray,
    here: np.ndarray,
    above: np.ndarray,
    w: np.ndarray,
    z: int,
    black: int,
    out: np.ndarray,
) -> None:
    """Sum the weighted differences to conducting neighbours, for the voxels of one colour in plane z."""
    n1, n2 = codes.shape
    nh = n2 - 2
    wz, wy, wx = w[0], w[1], w[2]
    zero = w.dtype.type(0)
    for j in range(1, n1 - 1):
        s = (z + j - 1 + black) & 1
        c, x, o = codes[j, 1 : nh + 1], own[j, 1 : nh + 1], out[j, 1 : nh + 1]
        y0, m0 = here[j, s : s + nh], code_here[j, s : s + nh]
        y1, m1 = here[j, s + 1 : s + 1 + nh], code_here[j, s + 1 : s + 1 + nh]
        y2, m2 = here[j - 1, 1 : nh + 1], code_here[j - 1, 1 : nh + 1]
        y3, m3 = here[j + 1, 1 : nh + 1], code_here[j + 1, 1 : nh + 1]
        y4, m4 = below[j, 1 : nh + 1], code_below[j, 1 : nh + 1]
        y5, m5 = above[j, 1 : nh + 1], code_above[j, 1 : nh + 1]
        for k in range(nh):
            a = x[k]
            v = wx * ((y0[k] - a if m0[k] > 0 else zero) + (y1[k] - a if m1[k] > 0 else zero))
            v += wy * ((y2[k] - a if m2[k] > 0 else zero) + (y3[k] - a if m3[k] > 0 else zero))
            v += wz * ((y4[k] - a if m4[k] > 0 else zero) + (y5[k] - a if m5[k] > 0 else zero))
            o[k] = v if c[k] > 0 else zero


@kernel
def _end_faces(
    codes: np.ndarray, own: np.ndarray, w: np.ndarray, z: int, black: int, axis: int, last: int, out: np.ndarray
) -> None:
    """Add the flux in through the first Dirichlet face, held at 1, and out through the last, held at 0."""
    n1, n2 = codes.shape
    f = w.dtype.type(2) * w[axis]
    one = w.dtype.type(1)
    for j in range(1, n1 - 1):
        at = z if axis == 0 else j - 1
        c, x, o = codes[j], own[j], out[j]
        if axis < 2:
            if at == 0:
                for k in range(1, n2 - 1):
                    if c[k] > 0:
                        o[k] += f * (one - x[k])
            if at == last:
                for k in range(1, n2 - 1):
                    if c[k] > 0:
                        o[k] -= f * x[k]
        else:
            s = (z + j - 1 + black) & 1
            if s == 0 and c[1] > 0:
                o[1] += f * (one - x[1])
            k = last // 2 + 1
            if s == last & 1 and c[k] > 0:
                o[k] -= f * x[k]


@kernel
def energy_and_fluxes(
    lo: int,
    hi: int,
    red: np.ndarray,
    black: np.ndarray,
    w: np.ndarray,
    axis: int,
    last: int,
    x: np.ndarray,
    energies: np.ndarray,
    fluxes: np.ndarray,
) -> None:
    """Sum the energy, conductance times difference squared, of planes lo … hi, and the flux along `axis`.

    Row z of `fluxes` has one entry a plane between voxels, the two end faces included, to which plane z contributes.
    """
    n0, n1, n2 = red.shape
    nh = n2 - 2
    source = w.dtype.type(2) * w[axis]
    zero = w.dtype.type(0)
    values = np.zeros((2, n1, n2), x.dtype)
    along = np.zeros((2, nh), np.float64)
    half, none = np.float64(source), np.float64(0)
    for s in range(lo, hi + 1):
        t = values[s & 1]
        if s < n0 - 2:
            black_plane(black[s + 1], x[s], x[s + 1], x[s + 2], w, s, source, axis, t)
        else:
            t[:] = 0
        z = s - 1
        if z < lo:
            continue
        here, above = values[z & 1], values[s & 1]
        fluxes[z, :] = 0
        along[:] = 0
        total = 0.0
        for j in range(1, n1 - 1):
            e = (z + j - 1) & 1
            cx, c = red[z + 1, j, 1 : nh + 1], black[z + 1, j, 1 : nh + 1]
            xx, tt = x[z + 1, j, 1 : nh + 1], here[j, 1 : nh + 1]
            # x to x + 1: red k to black k + e, black k to red k + 1 - e
            part, flow = 0.0, 0.0
            y, m = here[j, 1 + e : 1 + e + nh], black[z + 1, j, 1 + e : 1 + e + nh]
            y2, m2 = x[z + 1, j, 2 - e : 2 - e + nh], red[z + 1, j, 2 - e : 2 - e + nh]
            for k in range(nh):
                d = np.float64(xx[k] - y[k] if cx[k] > 0 and m[k] > 0 else zero)
                d2 = np.float64(tt[k] - y2[k] if c[k] > 0 and m2[k] > 0 else zero)
                part += d * d + d2 * d2
                if axis == 2:
                    along[e, k] += d
                    along[1 - e, k] += d2
            total += part * np.float64(w[2])
            for step in range(2):
                # neighbours along y, then z
                part, flow = 0.0, 0.0
                if step == 0:
                    y, m = here[j + 1, 1 : nh + 1], black[z + 1, j + 1, 1 : nh + 1]
                    y2, m2 = x[z + 1, j + 1, 1 : nh + 1], red[z + 1, j + 1, 1 : nh + 1]
                else:
                    y, m = above[j, 1 : nh + 1], black[z + 2, j, 1 : nh + 1]
                    y2, m2 = x[z + 2, j, 1 : nh + 1], red[z + 2, j, 1 : nh + 1]
                for k in range(nh):
                    d = np.float64(xx[k] - y[k] if cx[k] > 0 and m[k] > 0 else zero)
                    d2 = np.float64(tt[k] - y2[k] if c[k] > 0 and m2[k] > 0 else zero)
                    part += d * d + d2 * d2
                    flow += d + d2
                f = np.float64(w[1 - step])
                total += part * f
                if axis == 1 - step:
                    fluxes[z, (z if step else j - 1) + 1] += flow * f
            for end in range(2):
                at = 0 if end == 0 else last
                g = 1.0 if end == 0 else 0.0
                part, flow = 0.0, 0.0
                if axis < 2 and (z if axis == 0 else j - 1) == at:
                    for k in range(nh):
                        d = g - np.float64(xx[k]) if cx[k] > 0 else none
                        d2 = g - np.float64(tt[k]) if c[k] > 0 else none
                        part += d * d + d2 * d2
                        flow += d + d2
                elif axis == 2:
                    k = at // 2
                    if (at & 1) == e:
                        d = g - np.float64(xx[k]) if cx[k] > 0 else none
                    else:
                        d = g - np.float64(tt[k]) if c[k] > 0 else none
                    part, flow = d * d, d
                total += part * half
                fluxes[z, 0 if end == 0 else last + 1] += flow * half if end == 0 else -flow * half
        if axis == 2:
            # entry 2k + e is the flux from this voxel to the next
            for k in range(nh):
                for e in range(2):
                    if 2 * k + e < last:
                        fluxes[z, 2 * k + e + 1] += along[e, k] * np.float64(w[2])
        energies[z] = total


@kernel
def unpack(
    lo: int,
    hi: int,
    red: np.ndarray,
    black: np.ndarray,
    w: np.ndarray,
    axis: int,
    x: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write planes lo … hi of the concentration to a plain array, NaN where nothing conducts."""
    _, n1, n2 = red.shape
    source = w.dtype.type(2) * w[axis]
    t = np.zeros((n1, n2), x.dtype)
    for z in range(lo, hi):
        black_plane(black[z + 1], x[z], x[z + 1], x[z + 2], w, z, source, axis, t)
        for y in range(out.shape[1]):
            e = (z + y) & 1
            for i in range(out.shape[2]):
                k = (i >> 1) + 1
                if (i & 1) == e:
                    out[z, y, i] = x[z + 1, y + 1, k] if red[z + 1, y + 1, k] > 0 else np.nan
                else:
                    out[z, y, i] = t[y + 1, k] if black[z + 1, y + 1, k] > 0 else np.nan
