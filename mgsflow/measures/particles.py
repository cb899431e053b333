"""Measuring the particles of a label image that is at hand: in memory, in a store, or behind a DataArray."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mgsflow.blocks import Grid
from mgsflow.compute import MemoryParts, StoredParts, completed, current_client, indices
from mgsflow.errors import InputError
from mgsflow.labelling.at_hand import check_mask, in_memory, source_of
from mgsflow.measures.crofton import check_voxel_size
from mgsflow.measures.particle_merge import merge
from mgsflow.measures.particle_sums import ParticleSums
from mgsflow.measures.particle_table import ParticleTable, make_table
from mgsflow.memory import cores


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
    if voxel_size is None:
        raise InputError("voxel_size is missing: give the edge of a voxel in µm, as 0.126, or [z, y, x]")
    edges = check_voxel_size((voxel_size,) * 3 if isinstance(voxel_size, int | float) else tuple(voxel_size))
    if border not in ("keep", "drop"):
        raise InputError(f"border must be keep or drop, got {border!r}: weights are a matter of distributions")
    if isinstance(min_voxels, bool) or not isinstance(min_voxels, int) or min_voxels < 0:
        raise InputError(f"min_voxels must be a whole number, 0 or more, got {min_voxels!r}")
    source = check_mask(labels, "labels")
    grey = None if image is None else source_of(image, "image")
    far = None if distance is None else source_of(distance, "distance")
    grid = Grid.regular(source.shape, block)
    client = client if client is not None else current_client()
    with TemporaryDirectory(prefix="mgsflow-particles-", dir=scratch) as folder:
        if client is None or in_memory(labels, image, distance):
            client, parts = None, MemoryParts()
        else:
            parts = _stored(folder)
        work = ParticleSums(source, grid, parts, grey, far)
        _run(work, client, threads)
        total = merge((part for index in indices(grid) for part in work.read(index)), work.columns)
    table = make_table(total, work.columns, grid.shape, edges)
    keep = table["voxel_count"] >= min_voxels
    if border == "drop":
        keep &= ~table["touches_border"]
    return table if keep.all() else table.select(keep)


def _stored(folder: str) -> Any:
    import zarr

    zarr.create_group(folder)
    return StoredParts(folder, "")


def _run(work: ParticleSums, client: Any, threads: int | None) -> None:
    blocks = indices(work.grid)
    count = min(threads or cores(), len(work.grid))
    if client is not None:
        deque(completed(work.run, blocks, client), maxlen=0)
    elif count == 1:
        deque(map(work.run, blocks), maxlen=0)
    else:  # not on the client that may be current: what lies in this process stays here
        with ThreadPoolExecutor(count, thread_name_prefix="mgsflow") as pool:
            deque(pool.map(work.run, blocks), maxlen=0)
