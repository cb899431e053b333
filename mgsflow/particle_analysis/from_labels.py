"""Measuring the particles of a label image that is at hand: in memory, in a store, or behind a DataArray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mgsflow.blocks import Grid
from mgsflow.compute import indices
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import check_mask, source_of
from mgsflow.labelling.passes import client_for, parts_in, runner
from mgsflow.measures.from_array import edges_of
from mgsflow.particle_analysis.merge import merge
from mgsflow.particle_analysis.sums import ParticleSums
from mgsflow.particle_analysis.table import ParticleTable, make_table


def particles(
    labels: Any,
    image: Any = None,
    voxel_size: float | Sequence[float] | None = None,
    distance: Any = None,
    border: str = "keep",
    min_voxels: int = 0,
    block: int | Sequence[int] = 256,
    threads: int | None = None,
    client: Any = None,
    scratch: str | Path | None = None,
) -> ParticleTable:
    """Measure every particle of a label image, in one pass, block by block.

    The table is the same, to the bit, for any blocks, threads and cluster: blocks leave whole numbers, which are added
    up by id, and a particle that spans many blocks is as exact as one that lies in one.

    Parameters
    ----------
    labels : ndarray, zarr array or DataArray, shape (z, y, x)
        Whole numbers up to 64 bits: 0 is background, any other the id of a particle, in any order and with gaps.
    image : ndarray, zarr array or DataArray, optional
        Grey values, of which the table has mean, smallest and largest. Floats are taken as float32.
    voxel_size : float or sequence of float
        Edge of a voxel in µm, or edges along (z, y, x). Must be given.
    distance : ndarray, zarr array or DataArray, optional
        Distance of each voxel to the nearest outside: floats in µm, or whole numbers of voxels² (see
        `mgsflow.labelling`). Its largest value in a particle is the radius of the largest ball in it.
    border : {"keep", "drop"}
        Whether to list particles that touch the border of the scan, which may cut them. Either way ``border_weight``
        makes up for them in averages over the others; see `mgsflow.measures.distribution`.
    min_voxels : int
        Particles of fewer voxels are left out of the table (they still are what others touch).
    block : int or (int, int, int)
        Edge of a block in voxels. It changes the memory that is used, not the result.
    threads : int, optional
        Threads, where there is no cluster; default, all cores.
    client : distributed.Client, optional
        Cluster to use where all arrays are stored; default, the current one.
    scratch : path, optional
        Folder that all workers of a cluster reach, for what blocks leave until it is added up; default, that of the
        system for temporary files.

    Returns
    -------
    ParticleTable
        Without particles, a table of no rows.

    Raises
    ------
    InputError
        If an array or a parameter cannot be used; see also `mgsflow.measures.ParticleSums`.
    """
    edges = edges_of(voxel_size)
    if border not in ("keep", "drop"):
        raise InputError(f"border must be keep or drop, got {border!r}: weights are a matter of distributions")
    if isinstance(min_voxels, bool) or not isinstance(min_voxels, int) or min_voxels < 0:
        raise InputError(f"min_voxels must be a whole number, 0 or more, got {min_voxels!r}")
    source = check_mask(labels, "labels")
    grey = None if image is None else source_of(image, "image")
    far = None if distance is None else source_of(distance, "distance")
    grid = Grid.regular(source.shape, block)
    client = client_for(client, labels, image, distance)
    with TemporaryDirectory(prefix="mgsflow-particles-", dir=scratch) as folder:
        parts = parts_in(None if client is None else Path(folder))
        work = ParticleSums(source, grid, parts, grey, far)
        runner(client, threads)(work.run, grid)
        total = merge((part for index in indices(grid) for part in work.read(index)), work.columns)
    table = make_table(total, work.columns, grid.shape, edges)
    keep = table["voxel_count"] >= min_voxels
    if border == "drop":
        keep &= ~table["touches_border"]
    return table if keep.all() else table.select(keep)
