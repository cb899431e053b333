"""Slices that are too bright or too dark: measure the mean of each, and bring them to a common level.

The source may fade or flicker while a scan is taken, and reconstruction programs scale slice by slice. A change of the
material along z moves the means too, so what counts as drift is a choice: against a curve smoothed along z, only what
varies faster than it is taken out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Block, Triple
from mgsflow.errors import InputError
from mgsflow.filters.gaussian import half_gaussian
from mgsflow.filters.grey import OBJECTS, check_dtype, flat_rows, grey_volume
from mgsflow.filters.parameters import real
from mgsflow.filters.rescale import map_slices


@dataclass(frozen=True, slots=True)
class SliceDrift:
    """Scale each slice about a fixed grey value: out = anchor + gain[z]·(f − anchor).

    z counts from the first slice of the scan. Computed in float64; integer results are rounded half to even and
    clipped to the range of the dtype.

    Parameters
    ----------
    gain : sequence of float
        One positive factor a slice of the scan.
    anchor : float
        Grey value that stays what it is, such as the level of no absorption.

    Raises
    ------
    InputError
        If there is no gain, or one is not a positive finite number; on calling, if a slice has no gain.
    """

    gain: tuple[float, ...]
    anchor: float = 0.0

    def __post_init__(self) -> None:
        gain = tuple(real(f"gain of slice {z}", g, above=0) for z, g in enumerate(self.gain))
        if not gain:
            raise InputError("gain must hold one factor a slice, got none")
        object.__setattr__(self, "gain", gain)
        object.__setattr__(self, "anchor", real("anchor", self.anchor))

    @property
    def halo(self) -> Triple:
        """Nothing: a voxel depends on itself and its slice's number alone."""
        return 0, 0, 0

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the input."""
        return check_dtype(dtype)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of the gains of the block's slices, as an array and on the way there."""
        return 40 * shape[0] + OBJECTS

    def __call__(self, array: np.ndarray, origin: Triple = (0, 0, 0)) -> np.ndarray:
        """Return the corrected slices ``origin[0]``, ``origin[0] + 1``, …, in the input's dtype."""
        first = origin[0]
        last = first + (array.shape[0] if array.ndim == 3 else 0)
        if first < 0 or last > len(self.gain):
            raise InputError(
                f"slices {first} to {last - 1} asked for, but there are gains of {len(self.gain)} slices: "
                "fit the drift on the scan that it corrects"
            )
        gain = np.array(self.gain[first:last])
        return map_slices(array, gain, self.anchor * (1 - gain))


@dataclass(frozen=True, slots=True)
class SliceMean:
    """Sum and number of the grey values of each slice, as whole numbers: exact for any blocks.

    A record has one row a slice of the block: the sum in units of `step`, and the number of voxels.

    Parameters
    ----------
    step : float, optional
        Grey levels that count as one in the sums. Needed for float images, whose values are rounded to it: take a
        thousandth of the noise. Left out, values of an integer image are summed as they are.

    Raises
    ------
    InputError
        If step is not a positive number; on calling, for a float image without it, or values that are not finite.
    """

    step: float | None = None

    def __post_init__(self) -> None:
        if self.step is not None:
            object.__setattr__(self, "step", real("step", self.step, above=0))

    @property
    def name(self) -> str:
        """Name of the stored records."""
        return "slice_mean"

    @property
    def halo(self) -> Triple:
        """Nothing beyond the block."""
        return 0, 0, 0

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape (slices, 2) and int64."""
        return (largest[0], 2), np.dtype(np.int64)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return a bound on a few small objects."""
        return OBJECTS

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return sum and count of each slice of the block."""
        volume = grey_volume(array)
        sums = np.zeros((volume.shape[0], 2), np.int64)
        if not volume.size:
            return sums
        if self.step is None and volume.dtype.kind == "f":
            raise InputError(f"slice means of a {volume.dtype} image need `step`, the grey levels to round to")
        if self.step is None:
            _sum_whole(*flat_rows(volume), volume.shape[1], volume.shape[2], sums)
        elif not _sum_steps(*flat_rows(volume), volume.shape[1], volume.shape[2], self.step, sums):
            raise InputError(
                f"block {block.index} holds NaN, infinite values or values beyond 2⁴⁰ steps of {self.step:g}: "
                "mend the image, or take a larger step"
            )
        return sums


@njit(cache=True, nogil=True)
def _sum_whole(flat: np.ndarray, sz: int, sy: int, ny: int, nx: int, sums: np.ndarray) -> None:
    for z in range(sums.shape[0]):
        total = np.int64(0)
        for y in range(ny):
            at = z * sz + y * sy
            row = flat[at : at + nx]
            for x in range(nx):
                total += np.int64(row[x])
        sums[z, 0] = total
        sums[z, 1] = ny * nx


@njit(cache=True, nogil=True)
def _sum_steps(flat: np.ndarray, sz: int, sy: int, ny: int, nx: int, step: float, sums: np.ndarray) -> bool:
    for z in range(sums.shape[0]):
        total = np.int64(0)
        for y in range(ny):
            at = z * sz + y * sy
            row = flat[at : at + nx]
            for x in range(nx):
                v = np.rint(np.float64(row[x]) / step)
                if not abs(v) < 2.0**40:
                    return False
                total += np.int64(v)
        sums[z, 0] = total
        sums[z, 1] = ny * nx
    return True


def slice_totals(records: Iterable[tuple[Block, np.ndarray]], depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Add the records of a scan's blocks up.

    Parameters
    ----------
    records : iterable of (Block, ndarray)
        Blocks with the records that `SliceMean` gave; rows beyond a block's depth are not read.
    depth : int
        Number of slices of the scan.

    Returns
    -------
    sums, counts : ndarray of int64, shape (depth,)
    """
    totals = np.zeros((depth, 2), np.int64)
    for block, record in records:
        start, stop = block.core.start[0], block.core.stop[0]
        totals[start:stop] += record[: stop - start]
    return totals[:, 0], totals[:, 1]


def fit_drift(
    sums: np.ndarray, counts: np.ndarray, smooth: float | None = 25.0, anchor: float = 0.0, step: float = 1.0
) -> SliceDrift:
    """Return the gains that bring the mean of each slice to a common curve.

    gain[z] = (reference[z] − anchor) / (mean[z] − anchor).

    Parameters
    ----------
    sums, counts : array_like, shape (depth,)
        Sum and number of the grey values of each slice.
    smooth : float or None
        The reference is the means smoothed by a Gaussian of this many slices, which keeps slow changes of the
        material; None takes their mean over all voxels, right only if the material is the same all along z.
    anchor : float
        Grey value that stays what it is.
    step : float
        What the sums are counted in: the ``step`` of `SliceMean` for float images.

    Returns
    -------
    SliceDrift

    Raises
    ------
    InputError
        If a slice is empty, or its mean is not above the anchor, or shapes differ.
    """
    total = np.asarray(sums, np.float64)
    number = np.asarray(counts, np.float64)
    if total.ndim != 1 or total.shape != number.shape or total.size == 0:
        raise InputError(f"sums and counts must hold one value a slice, got shapes {total.shape}, {number.shape}")
    if not (number > 0).all():
        raise InputError(f"slice {int(np.argmin(number))} has no voxels: its brightness is unknown")
    anchor = real("anchor", anchor)
    unit = real("step", step, above=0)
    level = total / number * unit - anchor
    if not (level > 0).all():
        z = int(np.argmin(level))
        raise InputError(
            f"the mean of slice {z}, {level[z] + anchor:g}, is not above the anchor {anchor:g}: take a lower anchor"
        )
    if smooth is None:
        reference = np.full_like(level, total.sum() / number.sum() * unit - anchor)
    else:
        from scipy.ndimage import correlate1d  # not needed by workers

        sigma = real("smooth", smooth, above=0)
        # scipy's own weights differ in the last bit between processors, and all that follows would be done anew
        half = half_gaussian(sigma, int(4 * sigma + 0.5))
        reference = correlate1d(level, np.concatenate([half[:0:-1], half]), mode="reflect")
    return SliceDrift(tuple((reference / level).tolist()), anchor)
