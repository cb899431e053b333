"""Write a volume as a folder of TIFF slices, slab by slab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from mgsflow.blocks import Box
from mgsflow.errors import InputError
from mgsflow.phantoms.phantom import Source, VoxelSize, voxel_triple

_SLAB_VOXELS = 2**25


def write_tiff_stack(
    source: Source,
    folder: str | Path,
    name: str = "slice_{:04d}.tif",
    voxel_size: float | VoxelSize | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write a volume as one TIFF file a slice.

    Files are ImageJ TIFFs: ``XResolution`` and ``YResolution`` in pixels a µm, the spacing of slices and the unit in
    the description.

    Parameters
    ----------
    source : Source
        uint8, uint16 or float32 voxels, such as `Phantom.image` or `Phantom.truth`.
    folder : str or Path
        Made if it is missing. Slices of the same names are written over.
    name : str
        Format of the file names; takes the number of the slice.
    voxel_size : float or tuple of float, optional
        µm; the source's own unless given. If there is none, no resolution is written.
    progress : callable, optional
        Called with the slices written and their total, after every slab.

    Returns
    -------
    list of Path
        Files, in the order of z.

    Raises
    ------
    InputError
        A type that these files cannot hold, a `name` that does not tell slices apart, or a folder that holds other TIFF
        files, which would become part of the stack.
    """
    folder = Path(folder)
    nz, ny, nx = source.shape
    dtype = np.dtype(source.dtype)
    if dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"slices must be uint8, uint16 or float32, got {dtype}")
    files = _names(folder, name, nz)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder for the slices")
    if folder.exists():
        others = {p for p in folder.iterdir() if p.suffix.lower() in (".tif", ".tiff")} - set(files)
        if others:
            raise InputError(f"{folder} holds other TIFF files, such as {min(others).name}; name an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    own = getattr(source, "voxel_size", None) if voxel_size is None else voxel_size
    size = None if own is None else voxel_triple(own)
    resolution = None if size is None else (1.0 / size[2], 1.0 / size[1])
    metadata = {} if size is None else {"unit": "um", "spacing": size[0]}

    depth = min(64, max(8, _SLAB_VOXELS // (ny * nx)))
    for z in range(0, nz, depth):
        stop = min(nz, z + depth)
        slab = source.read(Box((z, 0, 0), (stop, ny, nx)))
        for k in range(stop - z):
            tifffile.imwrite(files[z + k], slab[k], imagej=True, resolution=resolution, metadata=metadata)
        if progress is not None:
            progress(stop, nz)
    return files


def _names(folder: Path, name: str, count: int) -> list[Path]:
    try:
        names = [name.format(i) for i in range(count)]
    except (IndexError, KeyError, ValueError):
        raise InputError(f"name must format one number, such as 'slice_{{:04d}}.tif', got {name!r}") from None
    if len(set(names)) < count or any(Path(n).name != n for n in names):
        raise InputError(f"name must give every slice a file name of its own, got {name!r}")
    return [folder / n for n in names]
