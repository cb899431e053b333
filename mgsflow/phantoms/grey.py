"""From phases to a 16-bit grey image: point spread, phase-contrast fringes, grain and noise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit

from mgsflow.blocks import Box
from mgsflow.errors import InputError
from mgsflow.phantoms.hashing import normal4, point_hash, row_hash, stream_key


@dataclass(frozen=True)
class GreyModel:
    """Grey value of a voxel, from the phases around it.

    The mean grey value g of each voxel's phase gets white `grain`, is blurred by the point spread P (Gaussian), and
    gets a halo: ``(1 + f) P*g - f H*g + noise``, H a wider Gaussian. The difference of Gaussians imitates the
    bright-and-dark rims and the shade-off of Zernike phase contrast; flat regions keep their grey value.

    Parameters
    ----------
    levels : tuple of float
        Grey value of each phase, in the order of the labels; within 0 and 65535.
    psf : float
        Standard deviation of the point spread, in voxels; 0 for none.
    fringe : float
        Strength f of the halo.
    fringe_width : float
        Standard deviation of H, in voxels; at most 3.
    grain : float
        Standard deviation of the noise that the point spread blurs too, before blurring.
    noise : float
        Standard deviation of the white noise.
    """

    levels: tuple[float, ...]
    psf: float = 0.6
    fringe: float = 0.3
    fringe_width: float = 2.2
    grain: float = 1500.0
    noise: float = 600.0

    def __post_init__(self) -> None:
        if not self.levels or not all(0 <= v <= 65535 for v in self.levels):
            raise InputError(f"levels must be grey values within 0 and 65535, got {self.levels}")
        for name, top in (("psf", 3.0), ("fringe_width", 3.0), ("fringe", 1.0)):
            if not 0 <= getattr(self, name) <= top:
                raise InputError(f"{name} must be within 0 and {top:g}, got {getattr(self, name)}")
        for name in ("grain", "noise"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 or more, got {getattr(self, name)}")

    @property
    def halo(self) -> int:
        """Voxels around a box whose phases reach into it."""
        return max(len(_gaussian(self.psf)), len(_gaussian(self.fringe_width))) // 2

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Midpoints between neighbouring grey values, ascending."""
        v = sorted(self.levels)
        return tuple((a + b) / 2 for a, b in pairwise(v))

    def render(self, labels: np.ndarray, box: Box, seed: int) -> np.ndarray:
        """Return the grey values (uint16) of a box.

        Parameters
        ----------
        labels : ndarray of uint8
            Phases of `box` with a margin of `halo` voxels on every side.
        box : Box
        seed : int
            Seed of grain and noise.
        """
        out = np.empty(box.shape, np.uint16)
        sharp, wide = _gaussian(self.psf), _gaussian(self.fringe_width)
        _render(
            out,
            labels,
            np.array(self.levels, np.float32),
            np.array(box.start, np.int64),
            _pad(sharp, self.halo),
            _pad(wide, self.halo),
            np.float32(self.fringe),
            np.float32(self.grain),
            np.float32(self.noise),
            stream_key(seed, "grain"),
            stream_key(seed, "noise"),
        )
        return out


def _gaussian(sigma: float) -> np.ndarray:
    """Return the taps of a normalised Gaussian, to three standard deviations."""
    r = int(np.ceil(3.0 * sigma))
    taps = np.exp(-0.5 * (np.arange(-r, r + 1) / max(sigma, 1e-9)) ** 2)
    return taps / taps.sum()


def _pad(taps: np.ndarray, halo: int) -> np.ndarray:
    return np.pad(taps, halo - len(taps) // 2).astype(np.float32)


@njit(cache=True, nogil=True, inline="always")
def _accumulate(out: np.ndarray, line: np.ndarray, weight: float) -> None:
    for x in range(out.shape[0]):
        out[x] += weight * line[x]


@njit(cache=True, nogil=True)
def _render(
    out: np.ndarray,
    labels: np.ndarray,
    levels: np.ndarray,
    start: np.ndarray,
    sharp: np.ndarray,
    wide: np.ndarray,
    fringe: float,
    grain: float,
    noise: float,
    grain_key: np.uint64,
    noise_key: np.uint64,
) -> None:
    taps = sharp.shape[0]
    halo = taps // 2
    nz, ny, nx = out.shape
    my, mx = ny + 2 * halo, nx + 2 * halo
    ring = np.empty((taps, my, mx), np.float32)  # the planes that one plane of the result depends on
    a = np.empty((my, mx), np.float32)
    b = np.empty((my, mx), np.float32)
    ra, rb = np.empty(mx, np.float32), np.empty(mx, np.float32)
    oa, ob = np.empty(nx, np.float32), np.empty(nx, np.float32)
    one, half, top = np.float32(1.0), np.float32(0.5), np.float32(65535.0)
    zero = np.float32(0.0)
    for k in range(nz + 2 * halo):
        plane = ring[k % taps]
        for y in range(my):
            row = row_hash(grain_key, start[0] + k - halo, start[1] + y - halo)
            line, label = plane[y], labels[k, y]
            for x in range(mx):
                line[x] = levels[label[x]] + grain * normal4(point_hash(row, start[2] + x - halo))
        z = k - 2 * halo
        if z < 0:
            continue
        a[:] = zero
        b[:] = zero
        for t in range(taps):
            plane = ring[(z + t) % taps]
            for y in range(my):
                if sharp[t] != zero:
                    _accumulate(a[y], plane[y], sharp[t])
                if wide[t] != zero:
                    _accumulate(b[y], plane[y], wide[t])
        for y in range(ny):
            ra[:] = zero
            rb[:] = zero
            oa[:] = zero
            ob[:] = zero
            for t in range(taps):
                if sharp[t] != zero:
                    _accumulate(ra, a[y + t], sharp[t])
                if wide[t] != zero:
                    _accumulate(rb, b[y + t], wide[t])
            for t in range(taps):
                if sharp[t] != zero:
                    _accumulate(oa, ra[t : t + nx], sharp[t])
                if wide[t] != zero:
                    _accumulate(ob, rb[t : t + nx], wide[t])
            row = row_hash(noise_key, start[0] + z, start[1] + y)
            line = out[z, y]
            for x in range(nx):
                v = (one + fringe) * oa[x] - fringe * ob[x] + noise * normal4(point_hash(row, start[2] + x))
                line[x] = np.uint16(min(max(v + half, zero), top))
