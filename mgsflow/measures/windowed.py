"""Measures of any window on borders of tiles, and their profiles by layers of tiles, from the records of one pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.measures.labels import check_names
from mgsflow.measures.surface.crofton import check_voxel_size
from mgsflow.measures.tiles import layers

if TYPE_CHECKING:
    import xarray as xr

AXES = "zyx"

Counts = TypeVar("Counts")
"""What a measure makes of the records of one window."""


class Tiled(ABC, Generic[Counts]):
    """A reduction whose records are tiles, so that they add up for every window on borders of tiles."""

    phases: int
    tile: int

    @abstractmethod
    def windows(self, records: Any, grid: Grid, boxes: Sequence[Box]) -> list[Counts]:
        """Return the counts of windows on borders of tiles, from one reading of the records."""

    def counts(self, records: Any, grid: Grid, window: Box | None = None) -> Counts:
        """Return the counts of the scan, or of a window on borders of tiles."""
        return self.windows(records, grid, [Box.of(grid.shape) if window is None else window])[0]


class Windowed(Tiled[Counts]):
    """A measure with a result for every window on borders of tiles: it says what a window's counts mean."""

    @abstractmethod
    def dataset(self, counts: Counts, voxel_size: Sequence[float], phases: Sequence[str]) -> xr.Dataset:
        """Return the result for the counts of a window."""

    def finalize(
        self,
        records: Any,
        grid: Grid,
        voxel_size: Sequence[float],
        phases: Sequence[str],
        window: Box | None = None,
    ) -> xr.Dataset:
        """Return the result for the scan, or for a window on borders of tiles; its variables are those of `dataset`.

        Parameters
        ----------
        records, grid, voxel_size, phases
            See `mgsflow.measures.Measure`.
        window : Box, optional
            Voxels that are wanted, on borders of tiles; the whole scan by default.

        Raises
        ------
        InputError
            If records, names of phases, voxel size or window do not fit.
        """
        check_names(phases, self.phases)
        sizes = check_voxel_size(voxel_size)
        return self.dataset(self.counts(records, grid, window), sizes, phases)

    def profile(
        self, records: Any, grid: Grid, voxel_size: Sequence[float], phases: Sequence[str], axis: str = "z"
    ) -> xr.Dataset:
        """Return the result for every layer of tiles along an axis.

        Each layer is a window over the whole of the other two axes; what is said of windows and their border holds
        for it: with the border excluded, nothing counts that lies between two layers.

        Parameters
        ----------
        records, grid, voxel_size, phases
            As for `finalize`.
        axis : {"z", "y", "x"}
            Across the layers.

        Returns
        -------
        Dataset
            A variable ``<name>_profile_<axis>`` for each of `finalize`, with the last dimension
            ``layer<tile>_<axis>``, whose coordinate is the centre of each layer in µm. The last layer is thinner
            where the scan is not a whole number of tiles long.

        Raises
        ------
        InputError
            If there is no such axis, or records, names of phases or voxel size do not fit.
        """
        if axis not in tuple(AXES):
            raise InputError(f"axis must be z, y or x, got {axis!r}")
        check_names(phases, self.phases)
        sizes = check_voxel_size(voxel_size)
        at = AXES.index(axis)
        boxes = layers(grid.shape, self.tile, at)
        parts = [self.dataset(counts, sizes, phases) for counts in self.windows(records, grid, boxes)]
        dim = f"layer{self.tile}_{axis}"
        centres = [(b.start[at] + b.stop[at]) / 2 * sizes[at] for b in boxes]
        data: dict[str, Any] = {}
        for name, first in parts[0].data_vars.items():
            values = np.stack([p[name].values for p in parts], axis=-1)
            attrs = dict(first.attrs)
            attrs["long_name"] = f"{attrs['long_name']}, in each layer along {axis}"
            data[f"{name}_profile_{axis}"] = ((*first.dims, dim), values, attrs)
        import xarray as xr  # not needed by workers: 40 MiB less in each

        said = {"units": "µm", "long_name": f"{axis}, centre of the layer of {self.tile} voxels"}
        return xr.Dataset(data, coords={**parts[0].coords, dim: (dim, centres, said)})
