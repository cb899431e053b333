"""Phases by grey value."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Triple
from mgsflow.errors import InputError


@dataclass(frozen=True, slots=True)
class Threshold:
    """Label every voxel by the number of thresholds that its grey value reaches.

    The label of grey value g is the number of thresholds t with t ≤ g, as ``np.digitize(g, values)``: a voxel whose
    grey value *equals* a threshold belongs to the upper phase. n thresholds make the phases 0 … n.

    Parameters
    ----------
    values : tuple of float
        Thresholds in grey values, each greater than the one before.

    Raises
    ------
    InputError
        If there are none, more than 255, or they do not rise. When called: if the image holds NaN.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        try:
            values = tuple(float(v) for v in self.values)
        except (TypeError, ValueError) as error:
            raise InputError(f"values must be a list of thresholds (numbers), got {self.values!r}") from error
        if not 1 <= len(values) <= 255:
            raise InputError(f"values must hold 1 to 255 thresholds, got {len(values)}")
        if not all(np.isfinite(values)) or any(a >= b for a, b in pairwise(values)):
            raise InputError(f"values must be finite thresholds, each greater than the one before, got {list(values)}")
        object.__setattr__(self, "values", values)

    @property
    def halo(self) -> Triple:
        """No neighbour is read."""
        return (0, 0, 0)

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return uint8, for any real grey values."""
        if dtype.kind not in "uif" or (dtype.kind == "f" and dtype.itemsize not in (4, 8)):
            raise InputError(
                f"thresholds need an image of integers, float32 or float64, got {dtype.name}: convert the image first"
            )
        return np.dtype(np.uint8)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of one plane, copied if its rows are not contiguous, and of its NaN mask."""
        return shape[1] * shape[2] * (dtype.itemsize + 1) + 4096

    def __call__(self, array: np.ndarray, origin: Triple = (0, 0, 0)) -> np.ndarray:
        """Return the labels; see `Kernel`."""
        out = np.empty(array.shape, self.dtype(array.dtype))
        native = array.dtype.newbyteorder("=")
        base, reached = self._as(native)
        for z in range(array.shape[0]):
            plane = np.ascontiguousarray(array[z], dtype=native)
            if native.kind == "f":
                _refuse_nan(plane, z, origin)
            _label(plane, reached, base, out[z])
        return out

    def _as(self, dtype: np.dtype[Any]) -> tuple[np.uint8, np.ndarray]:
        """Return how many thresholds every value of a dtype reaches, and the others in that dtype.

        The least value of the dtype that is not below a threshold stands for it: comparisons in the image's own type
        are exact, and several times faster than in float64.
        """
        if dtype.kind == "f":
            rounded = np.asarray(self.values).astype(dtype)
            up = np.where(rounded < np.asarray(self.values), np.nextafter(rounded, dtype.type(np.inf)), rounded)
            return np.uint8(0), up.astype(dtype)
        info = np.iinfo(dtype)
        least = [ceil(v) for v in self.values]
        always = sum(v <= info.min for v in least)
        return np.uint8(always), np.array([v for v in least if info.min < v <= info.max], dtype)


def _refuse_nan(plane: np.ndarray, z: int, origin: Triple) -> None:
    nan = np.isnan(plane)
    if nan.any():
        y, x = divmod(int(nan.argmax()), plane.shape[1])
        where = tuple(a + b for a, b in zip(origin, (z, y, x)))
        raise InputError(f"the image holds NaN, first at voxel (z, y, x) = {where}: replace such voxels first")


@njit(cache=True, nogil=True)
def _label(plane: np.ndarray, reached: np.ndarray, base: int, out: np.ndarray) -> None:
    for y in range(plane.shape[0]):
        row, labels = plane[y], out[y]
        labels[:] = base
        for k in range(reached.size):
            threshold = reached[k]
            for x in range(row.size):
                labels[x] += row[x] >= threshold
