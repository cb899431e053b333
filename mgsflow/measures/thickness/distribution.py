"""The distribution of a phase's volume over local thickness, which is also its granulometry by balls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from mgsflow.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False)
class ThicknessDistribution:
    """Volume of a phase by local thickness: exact, every thickness that occurs by itself.

    Parameters
    ----------
    diameter : ndarray of float64, shape (n,)
        Local thickness in µm; rising, infinite where a volume is all phase.
    voxels : ndarray of int64, shape (n,)
        Number of voxels of each.
    voxel_size : tuple of float
        Edges of a voxel along (z, y, x) in µm.
    """

    diameter: np.ndarray
    voxels: np.ndarray
    voxel_size: tuple[float, float, float]

    @classmethod
    def of(
        cls, parts: Sequence[np.ndarray], voxel_size: tuple[float, float, float], scale: float
    ) -> ThicknessDistribution:
        """Return the sum over blocks, each with its squared radii and their voxels, shape (2, n)."""
        squares, counts = np.concatenate(parts, axis=1)
        values, place = np.unique(squares, return_inverse=True)
        voxels = np.zeros(values.size, np.int64)
        np.add.at(voxels, place.ravel(), counts.astype(np.int64))
        return cls(2.0 * scale * np.sqrt(values), voxels, voxel_size)

    @property
    def count(self) -> int:
        """Voxels of the phase."""
        return int(self.voxels.sum())

    @property
    def volume(self) -> np.ndarray:
        """Volume of each thickness in µm³."""
        return self.voxels * prod(self.voxel_size)

    @property
    def mean(self) -> float:
        """Mean over the volume in µm; NaN where there is no phase."""
        return float(np.average(self.diameter, weights=self.voxels)) if self.count else float("nan")

    @property
    def std(self) -> float:
        """Standard deviation over the volume in µm; NaN where there is no phase, or no background."""
        if not self.count or not np.isfinite(self.diameter[-1]):
            return float("nan")
        return float(np.sqrt(np.average((self.diameter - self.mean) ** 2, weights=self.voxels)))

    @property
    def largest(self) -> float:
        """Diameter of the largest inscribed ball in µm; NaN where there is no phase."""
        return float(self.diameter[-1]) if self.count else float("nan")

    @property
    def opened(self) -> np.ndarray:
        """Share of the phase that balls of at least each diameter cover: the granulometry, falling from 1."""
        return self.voxels[::-1].cumsum()[::-1] / self.count if self.count else np.empty(0)

    def quantile(self, share: float) -> float:
        """Return the smallest thickness that at least this share of the volume does not exceed, in µm.

        Raises
        ------
        InputError
            If the share is not within 0 … 1.
        """
        if not 0 <= share <= 1:
            raise InputError(f"a share must be from 0 to 1, got {share!r}")
        if not self.count:
            return float("nan")
        place = int(np.searchsorted(self.voxels.cumsum(), share * self.count))
        return float(self.diameter[min(place, self.diameter.size - 1)])

    def histogram(self, edges: Sequence[float]) -> np.ndarray:
        """Return the share of the volume between each two edges (µm), the upper of the last included."""
        counts, _ = np.histogram(self.diameter, np.asarray(edges, float), weights=self.voxels)
        return counts / self.count if self.count else np.full(counts.size, np.nan)

    def to_dataset(self) -> xr.Dataset:
        """Return the distribution along ``thickness``, and numbers of it, with units."""
        import xarray as xr  # not needed by workers: 40 MiB less in each

        along = "thickness"
        numbers = {
            "thickness_mean": (self.mean, "mean local thickness"),
            "thickness_std": (self.std, "standard deviation of local thickness"),
            "thickness_d10": (self.quantile(0.1), "10 % quantile of local thickness by volume"),
            "thickness_d50": (self.quantile(0.5), "median local thickness by volume"),
            "thickness_d90": (self.quantile(0.9), "90 % quantile of local thickness by volume"),
            "thickness_max": (self.largest, "diameter of the largest inscribed ball"),
        }
        return xr.Dataset(
            {
                "thickness_volume": (along, self.volume, {"units": "µm³", "long_name": "volume by local thickness"}),
                "thickness_opened": (
                    along,
                    self.opened,
                    {"units": "1", "long_name": "share of the phase that balls of at least this diameter cover"},
                ),
                **{name: ((), v, {"units": "µm", "long_name": text}) for name, (v, text) in numbers.items()},
            },
            coords={along: (along, self.diameter, {"units": "µm", "long_name": "local thickness"})},
        )
