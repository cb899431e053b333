"""Where the largest ball of each pore sits: the peak of its watershed basin, from the tables that blocks have left."""

from __future__ import annotations

import numpy as np

from mgsflow.blocks import Grid
from mgsflow.compute import Parts, indices
from mgsflow.labelling.unions import read_table
from mgsflow.particle_analysis.watershed.basins import peak_bits


def find_peaks(grid: Grid, parts: Parts, count: int) -> np.ndarray:
    """Return the voxel of each pore that is farthest from the solid, the last in C order of several.

    Parameters
    ----------
    grid, parts
        As of `FindBasins`, after `merge_blocks`, of `mgsflow.particle_analysis.watershed`.
    count : int
        Pores: their ids are 1 … count.

    Returns
    -------
    ndarray of int64, shape (count, 3)
    """
    highest = np.full(count + 1, -1, np.int64)
    for index in indices(grid):
        ids = parts.read(index, "lut")[1:].astype(np.int64)
        np.maximum.at(highest, ids, read_table(parts, grid, index)[2])
    voxels = highest[1:] & ((1 << peak_bits(grid.shape)) - 1)
    return np.stack(np.unravel_index(voxels, grid.shape), axis=1) if count else np.zeros((0, 3), np.int64)
