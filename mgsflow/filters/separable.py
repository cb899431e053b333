"""A symmetric separable convolution streamed row by row: the core of the Gaussian and of the unsharp mask.

For each row of the result, the z pass reads rows of the input, the y pass reads a ring of 2·ry + 1 rows that the z pass
left, and the x pass reads one padded row. Taps are added in one fixed order (centre, then pairs outwards), so that a
voxel's value is the same to the bit wherever the array is cut.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.blocks import Triple
from mgsflow.filters.grey import OBJECTS, fold, widen, widen_sum

# Rows of a strip: the z pass of a strip finds its 2·rz + 1 planes in the second-level cache.
STRIP = 64


@njit(cache=True, nogil=True)
def _centre(out: np.ndarray, a: np.ndarray, w: float) -> None:
    for x in range(out.size):
        out[x] = w * widen(a[x], w)


@njit(cache=True, nogil=True)
def _tap(out: np.ndarray, a: np.ndarray, b: np.ndarray, w: float) -> None:
    for x in range(out.size):
        out[x] = out[x] + w * widen_sum(a[x], b[x], w)


@njit(cache=True, nogil=True)
def _four_taps(
    out: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    w: float,
    c: np.ndarray,
    d: np.ndarray,
    v: float,
    e: np.ndarray,
    f: np.ndarray,
    u: float,
    g: np.ndarray,
    h: np.ndarray,
    t: float,
) -> None:
    # The same sums in the same order as four calls of _tap, with the running sum kept in a register.
    for x in range(out.size):
        s = out[x] + w * widen_sum(a[x], b[x], w)
        s = s + v * widen_sum(c[x], d[x], v)
        s = s + u * widen_sum(e[x], f[x], u)
        out[x] = s + t * widen_sum(g[x], h[x], t)


@njit(cache=True, nogil=True)
def _row(flat: np.ndarray, at: int, n: int) -> np.ndarray:
    return flat[at : at + n]


@njit(cache=True, nogil=True)
def _pass(flat: np.ndarray, index: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """Sum rows of `flat` that start at ``index[r - k]`` and ``index[r + k]`` with weight ``w[k]``."""
    n = out.size
    r = w.size - 1
    _centre(out, _row(flat, index[r], n), w[0])
    k = 1
    while k + 3 <= r:
        _four_taps(
            out,
            _row(flat, index[r - k], n),
            _row(flat, index[r + k], n),
            w[k],
            _row(flat, index[r - k - 1], n),
            _row(flat, index[r + k + 1], n),
            w[k + 1],
            _row(flat, index[r - k - 2], n),
            _row(flat, index[r + k + 2], n),
            w[k + 2],
            _row(flat, index[r - k - 3], n),
            _row(flat, index[r + k + 3], n),
            w[k + 3],
        )
        k += 4
    while k <= r:
        _tap(out, _row(flat, index[r - k], n), _row(flat, index[r + k], n), w[k])
        k += 1


@njit(cache=True, nogil=True)
def smooth_row(
    flat: np.ndarray,
    sz: int,
    sy: int,
    nz: int,
    ny: int,
    z: int,
    y: int,
    done: int,
    wz: np.ndarray,
    wy: np.ndarray,
    wx: np.ndarray,
    ring: np.ndarray,
    pad: np.ndarray,
    index: np.ndarray,
    out: np.ndarray,
) -> int:
    """Write row (z, y) of the convolution to `out`.

    Rows of one z must be asked for in rising y; `done` is the first row whose z pass has not been taken (at first
    ``max(0, y - ry)``). The new one is returned.
    """
    nx = out.size
    rz = wz.size - 1
    ry = wy.size - 1
    rx = wx.size - 1
    slots = 2 * ry + 1
    # Mirrored rows lie within ry of y too, so a ring of 2·ry + 1 rows holds all that the y pass reads.
    while done <= min(ny - 1, y + ry):
        for k in range(-rz, rz + 1):
            index[rz + k] = fold(z + k, nz) * sz + done * sy
        at = done % slots * nx
        _pass(flat, index, wz, ring[at : at + nx])
        done += 1
    for k in range(-ry, ry + 1):
        index[ry + k] = fold(y + k, ny) % slots * nx
    if rx == 0:
        _pass(ring, index, wy, out)
        return done
    _pass(ring, index, wy, pad[rx : rx + nx])
    for k in range(1, rx + 1):
        pad[rx - k] = pad[rx + fold(-k, nx)]
        pad[rx + nx - 1 + k] = pad[rx + fold(nx - 1 + k, nx)]
    for k in range(2 * rx + 1):
        index[k] = k
    _pass(pad, index, wx, out)
    return done


def buffers(radius: Triple, nx: int, float_type: np.dtype) -> tuple[np.ndarray, ...]:
    """Return what `smooth_row` works in: ring, padded row, row starts and a row for its result."""
    _, ry, rx = radius
    return (
        np.empty((2 * ry + 1) * nx, float_type),
        np.empty(nx + 2 * rx, float_type),
        np.empty(2 * max(radius) + 1, np.int64),
        np.empty(nx, float_type),
    )


def buffer_bytes(radius: Triple, nx: int, float_type: np.dtype) -> int:
    """Return the bytes of `buffers` and of the weights."""
    rz, ry, rx = radius
    floats = (2 * ry + 1) * nx + 2 * (nx + rx) + rz + ry + rx + 3
    return floats * float_type.itemsize + 8 * (2 * max(radius) + 1) + OBJECTS
