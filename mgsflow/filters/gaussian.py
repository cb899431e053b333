"""Gaussian smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Triple
from mgsflow.filters.grey import accumulator, check_dtype, flat_rows, grey_volume, limits, narrow
from mgsflow.filters.parameters import per_axis, real
from mgsflow.filters.separable import STRIP, buffer_bytes, buffers, smooth_row


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Smooth with a sampled, normalised Gaussian, cut off at `truncate` standard deviations.

    G(v) = Σ_k w_k f(v + k), w_k ∝ exp(−k² / 2σ²), |k| ≤ ⌊truncate·σ + ½⌋, along z, then y, then x; mirrored at the
    borders of the volume. As `scipy.ndimage.gaussian_filter` with mode "reflect", except that nothing is rounded
    between the axes. Sums are taken in float32 for integers of up to 16 bits and for float32, else in float64; integer
    results are rounded half to even.

    Parameters
    ----------
    sigma : float or (float, float, float)
        Standard deviation in voxels, one or (z, y, x); 0 leaves an axis as it is.
    truncate : float
        Where the Gaussian ends, in standard deviations.

    Raises
    ------
    InputError
        If a parameter is negative, not finite or not a number.
    """

    sigma: float | tuple[float, float, float]
    truncate: float = 4.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", per_axis("sigma", self.sigma))
        object.__setattr__(self, "truncate", real("truncate", self.truncate, above=0))

    @property
    def sigmas(self) -> tuple[float, float, float]:
        """Standard deviation along (z, y, x)."""
        return self.sigma if isinstance(self.sigma, tuple) else (self.sigma,) * 3

    @property
    def halo(self) -> Triple:
        """Radius of the truncated Gaussian along (z, y, x)."""
        z, y, x = (int(self.truncate * s + 0.5) for s in self.sigmas)
        return z, y, x

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the input."""
        return check_dtype(dtype)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of one ring of rows."""
        return buffer_bytes(self.halo, shape[2], accumulator(check_dtype(dtype)))

    def weights(self, float_type: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the weights of offsets 0, 1, …, radius along z, y and x."""
        z, y, x = (half_gaussian(s, r).astype(float_type) for s, r in zip(self.sigmas, self.halo))
        return z, y, x

    def __call__(self, array: np.ndarray, origin: Triple = (0, 0, 0)) -> np.ndarray:
        """Return the smoothed volume, in the input's dtype."""
        volume = grey_volume(array)
        out = np.empty(volume.shape, volume.dtype)
        if volume.size:
            float_type = accumulator(volume.dtype)
            work = buffers(self.halo, volume.shape[2], float_type)
            _smooth(*flat_rows(volume), *self.weights(float_type), *work, *limits(volume.dtype, float_type), out)
        return out


def half_gaussian(sigma: float, radius: int) -> np.ndarray:
    """Return the middle weight and those to one side, of which all together add up to 1."""
    if radius == 0:
        return np.ones(1)
    offsets = np.arange(-radius, radius + 1)
    weights = np.array([exp(-0.5 / sigma**2 * r**2) for r in offsets])  # numpy's differs between processors
    return (weights / weights.sum())[radius:]


@njit(cache=True, nogil=True)
def _smooth(
    flat: np.ndarray,
    sz: int,
    sy: int,
    wz: np.ndarray,
    wy: np.ndarray,
    wx: np.ndarray,
    ring: np.ndarray,
    pad: np.ndarray,
    index: np.ndarray,
    row: np.ndarray,
    low: float,
    high: float,
    out: np.ndarray,
) -> None:
    nz, ny, _ = out.shape
    for start in range(0, ny, STRIP):
        for z in range(nz):
            done = max(0, start - wy.size + 1)
            for y in range(start, min(ny, start + STRIP)):
                done = smooth_row(flat, sz, sy, nz, ny, z, y, done, wz, wy, wx, ring, pad, index, row)
                _store(row, low, high, out[z, y])


@njit(cache=True, nogil=True)
def _store(row: np.ndarray, low: float, high: float, out: np.ndarray) -> None:
    for x in range(out.size):
        out[x] = narrow(row[x], low, high, out)
