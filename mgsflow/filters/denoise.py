"""Non-local means: noise averaged away over voxels whose surroundings look alike, edges kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Triple
from mgsflow.filters.grey import OBJECTS, check_dtype, flat_rows, fold, grey_volume, limits, narrow
from mgsflow.filters.parameters import real, whole

# Voxels of a tile along (z, y, x): its buffers stay in the second-level cache.
TILE: Triple = (8, 16, 256)
PATCH = 1


@dataclass(frozen=True, slots=True)
class NonLocalMeans:
    """Average each voxel v with the voxels u of a (2·search + 1)³ window, by how alike their 3³ patches are.

    out(v) = Σ_u w(v, u) f(u) / Σ_u w(v, u), w = (1 − t/8)⁸ for 0 ≤ t < 8 and 0 beyond,
    t = max(0, d² − 2·noise²) / strength², d² = mean over the patch of (f(v + δ) − f(u + δ))².
    The weight follows e⁻ᵗ of Buades, Coll & Morel (2005, doi:10.1109/CVPR.2005.38), with the compact support that
    Goossens et al. (2008) advise, so that unlike patches have no say at all. Mirrored at the borders. Computed
    in float32, whatever the input; integer results are rounded half to even.

    Parameters
    ----------
    strength : float
        Grey levels by which patches may differ and still count as alike: 0.6 to 1 times the noise, with `noise` given.
        Must be at least 1e-15.
    search : int
        Reach of the window in voxels, 1 to 5; the time grows with (2·search + 1)³.
    noise : float
        Standard deviation of the noise in grey levels; what it alone makes patches differ is taken off. 0: nothing is.

    Raises
    ------
    InputError
        If a parameter is out of range or not a finite number.
    """

    strength: float
    search: int = 2
    noise: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", real("strength", self.strength, at_least=1e-15))
        object.__setattr__(self, "search", whole("search", self.search, 1, 5))
        object.__setattr__(self, "noise", real("noise", self.noise, at_least=0))

    @property
    def halo(self) -> Triple:
        """Search reach and half a patch, on every axis."""
        reach = self.search + PATCH
        return reach, reach, reach

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the input."""
        return check_dtype(dtype)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of one padded tile and its sums."""
        return 4 * sum(int(np.prod(s)) for s in self._buffer_shapes(shape)) + OBJECTS

    def _buffer_shapes(self, shape: Triple) -> tuple[tuple[int, ...], ...]:
        tz, ty, tx = (min(t, n) for t, n in zip(TILE, shape))
        h = self.search + PATCH
        padded = (tz + 2 * h, ty + 2 * h, tx + 2 * h)
        return padded, (tx + 2,), (ty + 2, tx), (3, ty, tx), (tz, ty, tx), (tz, ty, tx)

    def __call__(self, array: np.ndarray, origin: Triple = (0, 0, 0)) -> np.ndarray:
        """Return the denoised volume, in the input's dtype."""
        volume = grey_volume(array)
        out = np.empty(volume.shape, volume.dtype)
        if volume.size:
            work = (np.empty(shape, np.float32) for shape in self._buffer_shapes(volume.shape))
            scale = np.float32(1 / (8 * 27 * self.strength**2))
            free = np.float32(2 * 27 * self.noise**2)
            ends = limits(volume.dtype, np.dtype(np.float32))
            _filter(*flat_rows(volume), self.search, free, scale, *work, *ends, out)
        return out


@njit(cache=True, nogil=True)
def _filter(
    flat: np.ndarray,
    sz: int,
    sy: int,
    search: int,
    free: float,
    scale: float,
    pad: np.ndarray,
    squares: np.ndarray,
    along_x: np.ndarray,
    along_y: np.ndarray,
    total: np.ndarray,
    weight: np.ndarray,
    low: float,
    high: float,
    out: np.ndarray,
) -> None:
    nz, ny, nx = out.shape
    h = search + PATCH
    tz, ty, tx = total.shape
    for z0 in range(0, nz, tz):
        lz = min(tz, nz - z0)
        for y0 in range(0, ny, ty):
            ly = min(ty, ny - y0)
            for x0 in range(0, nx, tx):
                lx = min(tx, nx - x0)
                for z in range(lz + 2 * h):
                    for y in range(ly + 2 * h):
                        at = fold(z0 + z - h, nz) * sz + fold(y0 + y - h, ny) * sy
                        _read(flat[at : at + nx], x0, lx, h, pad[z, y])
                for z in range(lz):
                    for y in range(ly):
                        _start(pad[z + h, y + h, h : h + lx], total[z, y], weight[z, y])
                for oz in range(-search, search + 1):
                    for oy in range(-search, search + 1):
                        for ox in range(-search, search + 1):
                            if oz != 0 or oy != 0 or ox != 0:
                                _add_offset(
                                    pad, h, oz, oy, ox, lz, ly, lx, free, scale,
                                    squares, along_x, along_y, total, weight,
                                )  # fmt: skip
                for z in range(lz):
                    for y in range(ly):
                        row = out[z0 + z, y0 + y, x0 : x0 + lx]
                        _finish(total[z, y], weight[z, y], low, high, row)


@njit(cache=True, nogil=True)
def _read(row: np.ndarray, x0: int, lx: int, h: int, pad: np.ndarray) -> None:
    n = row.size
    first = max(0, x0 - h)
    last = min(n, x0 + lx + h)
    target = pad[first - x0 + h :]
    source = row[first:last]
    for x in range(source.size):
        target[x] = np.float32(source[x])
    for x in range(x0 - h, first):
        pad[x - x0 + h] = np.float32(row[fold(x, n)])
    for x in range(last, x0 + lx + h):
        pad[x - x0 + h] = np.float32(row[fold(x, n)])


@njit(cache=True, nogil=True)
def _start(row: np.ndarray, total: np.ndarray, weight: np.ndarray) -> None:
    # a voxel is like itself: weight 1
    for x in range(row.size):
        total[x] = row[x]
        weight[x] = np.float32(1)


@njit(cache=True, nogil=True)
def _add_offset(
    pad: np.ndarray,
    h: int,
    oz: int,
    oy: int,
    ox: int,
    lz: int,
    ly: int,
    lx: int,
    free: float,
    scale: float,
    squares: np.ndarray,
    along_x: np.ndarray,
    along_y: np.ndarray,
    total: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Add the voxels at one offset: squared differences, summed over 3 along x, y and z, then weighed."""
    for z in range(-1, lz + 1):
        for y in range(-1, ly + 1):
            here = pad[z + h, y + h, h - 1 : h + lx + 1]
            there = pad[z + h + oz, y + h + oy, h + ox - 1 : h + ox + lx + 1]
            _square(here, there, squares)
            _sum_x(squares, along_x[y + 1, :lx])
        plane = along_y[(z + 1) % 3]
        for y in range(ly):
            _sum_3(along_x[y, :lx], along_x[y + 1], along_x[y + 2], plane[y])
        if z < 1:
            continue
        for y in range(ly):
            a, b, c = along_y[(z - 1) % 3, y], along_y[z % 3, y], along_y[(z + 1) % 3, y]
            value = pad[z - 1 + h + oz, y + h + oy, h + ox : h + ox + lx]
            _weigh(a, b, c, value, free, scale, total[z - 1, y], weight[z - 1, y])


@njit(cache=True, nogil=True)
def _square(here: np.ndarray, there: np.ndarray, out: np.ndarray) -> None:
    for x in range(here.size):
        d = here[x] - there[x]
        out[x] = d * d


@njit(cache=True, nogil=True)
def _sum_x(a: np.ndarray, out: np.ndarray) -> None:
    for x in range(out.size):
        out[x] = a[x] + a[x + 1] + a[x + 2]


@njit(cache=True, nogil=True)
def _sum_3(a: np.ndarray, b: np.ndarray, c: np.ndarray, out: np.ndarray) -> None:
    for x in range(a.size):
        out[x] = a[x] + b[x] + c[x]


@njit(cache=True, nogil=True)
def _weigh(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    value: np.ndarray,
    free: float,
    scale: float,
    total: np.ndarray,
    weight: np.ndarray,
) -> None:
    one, zero = np.float32(1), np.float32(0)
    for x in range(value.size):
        u = one - (a[x] + b[x] + c[x] - free) * scale
        u = one if u > one else u
        u = u if u > zero else zero
        u = u * u
        u = u * u
        u = u * u
        total[x] += u * value[x]
        weight[x] += u


@njit(cache=True, nogil=True)
def _finish(total: np.ndarray, weight: np.ndarray, low: float, high: float, out: np.ndarray) -> None:
    for x in range(out.size):
        out[x] = narrow(total[x] / weight[x], low, high, out)
