"""The unsharp mask: sharper edges by what a Gaussian removes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Triple
from mgsflow.filters.gaussian import Gaussian
from mgsflow.filters.grey import accumulator, check_dtype, flat_rows, grey_volume, limits, narrow, widen
from mgsflow.filters.parameters import per_axis, real
from mgsflow.filters.separable import STRIP, buffer_bytes, buffers, smooth_row


@dataclass(frozen=True, slots=True)
class UnsharpMask:
    """Add to each voxel a multiple of its difference from a Gaussian mean.

    out = f + amount·(f − G_σ f) where |f − G_σ f| > threshold, else f; clipped to the range of an integer dtype, with
    the Gaussian, its precision and its rounding as in `Gaussian`. The three parameters are what Avizo's "Unsharp
    Masking" calls edge size, edge contrast and brightness threshold. One pass, with no smoothed copy of the volume.

    Parameters
    ----------
    sigma : float or (float, float, float)
        Standard deviation of the Gaussian in voxels, one or (z, y, x).
    amount : float
        Strength, usually 0.3 to 2; negative values smooth.
    threshold : float
        Grey levels below which a difference is taken for noise and left alone.

    Raises
    ------
    InputError
        If sigma or threshold is negative, or a parameter is not a finite number.
    """

    sigma: float | tuple[float, float, float]
    amount: float
    threshold: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", per_axis("sigma", self.sigma))
        object.__setattr__(self, "amount", real("amount", self.amount))
        object.__setattr__(self, "threshold", real("threshold", self.threshold, at_least=0))

    @property
    def smoothing(self) -> Gaussian:
        """The Gaussian that is subtracted."""
        return Gaussian(self.sigma)

    @property
    def halo(self) -> Triple:
        """Radius of the Gaussian along (z, y, x)."""
        return self.smoothing.halo

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the input."""
        return check_dtype(dtype)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of one ring of rows."""
        return buffer_bytes(self.halo, shape[2], accumulator(check_dtype(dtype)))

    def __call__(self, array: np.ndarray, origin: Triple = (0, 0, 0)) -> np.ndarray:
        """Return the sharpened volume, in the input's dtype."""
        volume = grey_volume(array)
        out = np.empty(volume.shape, volume.dtype)
        if volume.size:
            float_type = accumulator(volume.dtype)
            work = buffers(self.halo, volume.shape[2], float_type)
            strength = float_type.type(self.amount), float_type.type(self.threshold)
            weights = self.smoothing.weights(float_type)
            _sharpen(*flat_rows(volume), *weights, *work, *strength, *limits(volume.dtype, float_type), out)
        return out


@njit(cache=True, nogil=True)
def _sharpen(
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
    amount: float,
    threshold: float,
    low: float,
    high: float,
    out: np.ndarray,
) -> None:
    nz, ny, nx = out.shape
    for start in range(0, ny, STRIP):
        for z in range(nz):
            done = max(0, start - wy.size + 1)
            for y in range(start, min(ny, start + STRIP)):
                done = smooth_row(flat, sz, sy, nz, ny, z, y, done, wz, wy, wx, ring, pad, index, row)
                at = z * sz + y * sy
                _add_edges(flat[at : at + nx], row, amount, threshold, low, high, out[z, y])


@njit(cache=True, nogil=True)
def _add_edges(
    source: np.ndarray,
    smooth: np.ndarray,
    amount: float,
    threshold: float,
    low: float,
    high: float,
    out: np.ndarray,
) -> None:
    for x in range(out.size):
        value = widen(source[x], amount)
        edge = value - smooth[x]
        edge = edge if abs(edge) > threshold else edge * 0
        out[x] = narrow(value + amount * edge, low, high, out)
