"""A map of local porosity: the share of a phase in each cube of a few voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Grid
from mgsflow.labelling.arrays import PhaseMask, check_mask
from mgsflow.measures.from_array import edges_of
from mgsflow.measures.volume.fractions import VolumeFraction

if TYPE_CHECKING:
    import xarray as xr

EDGE = 16
"""Default edge of a cube in voxels."""


def local_porosity(
    phase: Any,
    label: int | None = None,
    voxel_size: float | Sequence[float] | None = None,
    edge: int = EDGE,
    block: int | Sequence[int] = 256,
) -> xr.DataArray:
    """Return the share of a phase in cubes side by side, from one reading.

    Parameters
    ----------
    phase : ndarray, zarr array or DataArray, shape (z, y, x)
        Booleans or labels of phases.
    label : int, optional
        The phase that is open; default, all that is not 0.
    voxel_size : float or sequence of float
        Edge of a voxel in µm, or edges along (z, y, x). Must be given.
    edge : int
        Edge of a cube in voxels, at most 256. The last along an axis are what remains.
    block : int or three
        Edges of a block in voxels. It changes the memory that is used, not the result.

    Returns
    -------
    DataArray, dimensions (cube_z, cube_y, cube_x)
        With the cubes' first borders in µm as coordinates.

    Raises
    ------
    InputError
        If the phase or a parameter cannot be used.
    """
    inside = PhaseMask(check_mask(phase, "phase"), None if label is None else (label,))
    counts = VolumeFraction(2, edge)
    grid = Grid.regular(inside.shape, block)
    shape, dtype = counts.record(grid.largest)
    records = np.zeros((*grid.counts, *shape), dtype)
    for b in grid.blocks():
        found = counts(inside.read(b.core), b)
        records[b.index][tuple(slice(n) for n in found.shape)] = found
    return porosity_map(counts, records, grid, edges_of(voxel_size))


def porosity_map(
    counts: VolumeFraction, records: Any, grid: Grid, voxel_size: tuple[float, float, float]
) -> xr.DataArray:
    """Return the map of the records of all blocks.

    Parameters
    ----------
    counts : VolumeFraction
        Of two phases: outside and inside.
    records, grid
        See `mgsflow.measures.Measure`.
    voxel_size : tuple of float
    """
    import xarray as xr  # not needed by workers: 40 MiB less in each

    inside, voxels = counts.tiles(records, grid)
    share = inside[..., 1] / voxels
    dims = tuple(f"cube_{axis}" for axis in "zyx")
    coords = {
        dim: (dim, np.arange(n) * counts.tile * size, {"units": "µm", "long_name": f"{dim[-1]}, start of the cube"})
        for dim, n, size in zip(dims, share.shape, voxel_size)
    }
    attrs = {"units": "1", "long_name": "local porosity", "edge_in_voxels": counts.tile}
    return xr.DataArray(share, dims=dims, coords=coords, name="local_porosity", attrs=attrs)
