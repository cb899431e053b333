"""The median of a cube around each voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.filters import median_3 as median27
from mgsflow.filters import median_5 as rank_search
from mgsflow.filters.grey import OBJECTS, check_dtype, flat_rows, grey_volume
from mgsflow.filters.parameters import whole


@dataclass(frozen=True, slots=True)
class Median:
    """Replace each voxel by the median of the (2·radius + 1)³ voxels around it, mirrored at the borders.

    Exact: what `scipy.ndimage.median_filter` of that size with mode "reflect" gives. NaN has no place in the order of
    values; a voxel whose neighbourhood holds one gets some value of its neighbourhood.

    Parameters
    ----------
    radius : {1, 2}
        Reach in voxels.

    Raises
    ------
    InputError
        If the radius is not 1 or 2.
    """

    radius: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", whole("radius", self.radius, 1, 2))

    @property
    def halo(self) -> Triple:
        """The radius, on every axis."""
        return self.radius, self.radius, self.radius

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the input."""
        return check_dtype(dtype)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of a few rows."""
        rows = median27.ROWS * median27.STRIDE if self.radius == 1 else rank_search.scratch_values(shape[2])
        return rows * dtype.itemsize + OBJECTS

    def __call__(self, array: np.ndarray, origin: Triple = (0, 0, 0)) -> np.ndarray:
        """Return the filtered volume, in the input's dtype."""
        volume = grey_volume(array)
        out = np.empty(volume.shape, volume.dtype)
        if volume.size:
            flat, sz, sy = flat_rows(volume)
            (median27.run if self.radius == 1 else rank_search.run)(flat, sz, sy, out)
        return out
