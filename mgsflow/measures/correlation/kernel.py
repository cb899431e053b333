"""Pairs at a distance and runs of one phase along the axes: the numba side of `correlation`."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always")
def _bits(v):  # type: ignore[no-untyped-def]
    v = v - ((v >> np.uint64(1)) & np.uint64(0x5555555555555555))
    v = (v & np.uint64(0x3333333333333333)) + ((v >> np.uint64(2)) & np.uint64(0x3333333333333333))
    v = (v + (v >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((v * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def pack(m, phase, out):  # type: ignore[no-untyped-def]
    """Write the indicator of a phase as bits along x, the last word being 0; `out` is (z, y, words) uint64."""
    nz, ny, nx = m.shape
    for z in range(nz):
        for y in range(ny):
            for w in range(out.shape[2]):
                v = np.uint64(0)
                for x in range(64 * w, min(64 * w + 64, nx)):
                    v |= np.uint64(m[z, y, x] == phase) << np.uint64(x - 64 * w)
                out[z, y, w] = v


@njit(cache=True, nogil=True)
def count_pairs(bits, box, mask, lags, out):  # type: ignore[no-untyped-def]
    """Add to `out` (3, lags + 2) the voxels of `box` whose neighbour at each lag along z, y, x is set too.

    `mask` (words,) has the bits of the box's columns.
    """
    nz, ny, nw = bits.shape
    z0, z1, y0, y1 = box
    own = np.empty(nw, np.uint64)
    for z in range(z0, z1):
        for y in range(y0, y1):
            for w in range(nw):
                own[w] = bits[z, y, w] & mask[w]
            for r in range(min(lags + 1, nz - z)):
                n = np.int64(0)
                for w in range(nw):
                    n += _bits(own[w] & bits[z + r, y, w])
                out[0, r] += n
            for r in range(min(lags + 1, ny - y)):
                n = np.int64(0)
                for w in range(nw):
                    n += _bits(own[w] & bits[z, y + r, w])
                out[1, r] += n
            for r in range(lags + 1):
                n = np.int64(0)
                s, t = r >> 6, np.uint64(r & 63)
                up = np.uint64(63) - t
                for w in range(nw - s - 1):
                    far = (bits[z, y, w + s] >> t) | ((bits[z, y, w + s + 1] << up) << np.uint64(1))
                    n += _bits(own[w] & far)
                out[2, r] += n


@njit(cache=True, nogil=True)
def _count_voxel(before, label, run, end, lags, runs, chords):  # type: ignore[no-untyped-def]
    runs[label, run] += 1
    if before >= 0 and before != label and (run > lags or not end):
        chords[label, run] += 1


@njit(cache=True, nogil=True)
def count_runs(m, box, lags, run, runs, chords):  # type: ignore[no-untyped-def]
    """Add to `runs` and `chords` (3, phases, lags + 2) how far the phase goes on from each voxel of `box`.

    A run counts its own voxel and at most ``lags + 1``. A chord is a run that starts at the voxel and that the border
    does not cut; those longer than `lags` share the last bin, cut or not. `run` (nx,) int64 is scratch.
    """
    nz, ny, nx = m.shape
    z0, z1, y0, y1, x0, x1 = box
    most = lags + 1
    for z in range(z0, z1):
        for y in range(y0, y1):
            k = 0
            for x in range(min(nx, x1 + lags) - 1, x0 - 1, -1):
                v = m[z, y, x]
                k = min(k + 1, most) if x + 1 < nx and m[z, y, x + 1] == v else 1
                if x < x1:
                    before = np.int64(m[z, y, x - 1]) if x > 0 else np.int64(-1)
                    _count_voxel(before, v, k, x + k >= nx, lags, runs[2], chords[2])
    for z in range(z0, z1):
        run[:] = 0
        for y in range(min(ny, y1 + lags) - 1, y0 - 1, -1):
            for x in range(x0, x1):
                same = y + 1 < ny and m[z, y + 1, x] == m[z, y, x]
                run[x] = min(run[x] + 1, most) if same else 1
            if y < y1:
                for x in range(x0, x1):
                    before = np.int64(m[z, y - 1, x]) if y > 0 else np.int64(-1)
                    _count_voxel(before, m[z, y, x], run[x], y + run[x] >= ny, lags, runs[1], chords[1])
    for y in range(y0, y1):
        run[:] = 0
        for z in range(min(nz, z1 + lags) - 1, z0 - 1, -1):
            for x in range(x0, x1):
                same = z + 1 < nz and m[z + 1, y, x] == m[z, y, x]
                run[x] = min(run[x] + 1, most) if same else 1
            if z < z1:
                for x in range(x0, x1):
                    before = np.int64(m[z - 1, y, x]) if z > 0 else np.int64(-1)
                    _count_voxel(before, m[z, y, x], run[x], z + run[x] >= nz, lags, runs[0], chords[0])
