"""Linear maps of grey values: one for a whole scan, or one for each slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Triple
from mgsflow.errors import InputError
from mgsflow.filters.grey import OBJECTS, check_dtype, flat_rows, grey_volume, limits, narrow
from mgsflow.filters.parameters import real


@dataclass(frozen=True, slots=True)
class Rescale:
    """Map grey values by out = gain·f + offset, as a normalisation by landmarks does.

    Computed in float64; integer results are rounded half to even and clipped to the range of the dtype.

    Parameters
    ----------
    gain : float
        Factor; not 0.
    offset : float
        Grey levels added after it.

    Raises
    ------
    InputError
        If gain is 0, or a parameter is not a finite number.
    """

    gain: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", real("gain", self.gain))
        object.__setattr__(self, "offset", real("offset", self.offset))
        if self.gain == 0:
            raise InputError("gain must not be 0: the image would be lost")

    @property
    def halo(self) -> Triple:
        """Nothing: a voxel depends on itself alone."""
        return 0, 0, 0

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the input."""
        return check_dtype(dtype)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of a gain and an offset a slice."""
        return 16 * shape[0] + OBJECTS

    def __call__(self, array: np.ndarray, origin: Triple = (0, 0, 0)) -> np.ndarray:
        """Return the mapped volume, in the input's dtype."""
        depth = array.shape[0] if array.ndim == 3 else 0
        return map_slices(array, np.full(depth, self.gain), np.full(depth, self.offset))


def map_slices(array: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return gain[z]·f + offset[z] for each slice z of a volume, rounded and clipped to its dtype."""
    volume = grey_volume(array)
    out = np.empty(volume.shape, volume.dtype)
    if volume.size:
        _map(*flat_rows(volume), gain, offset, *limits(volume.dtype, np.dtype(np.float64)), out)
    return out


@njit(cache=True, nogil=True)
def _map(
    flat: np.ndarray,
    sz: int,
    sy: int,
    gain: np.ndarray,
    offset: np.ndarray,
    low: float,
    high: float,
    out: np.ndarray,
) -> None:
    nz, ny, nx = out.shape
    for z in range(nz):
        for y in range(ny):
            at = z * sz + y * sy
            _map_row(flat[at : at + nx], gain[z], offset[z], low, high, out[z, y])


@njit(cache=True, nogil=True)
def _map_row(row: np.ndarray, gain: float, offset: float, low: float, high: float, out: np.ndarray) -> None:
    for x in range(out.size):
        out[x] = narrow(gain * np.float64(row[x]) + offset, low, high, out)
