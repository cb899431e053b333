"""What a reader is, and which one opens a path."""

from __future__ import annotations

import fnmatch
import glob
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.errors import InputError, InputNotFound
from mgsflow.readers import amira, hdf5, metaimage, mrc, nifti, npy, nrrd, raw, vgi, zarr_array
from mgsflow.readers.orientation import Oriented, agreed_order, check_flip, check_order
from mgsflow.readers.remote import local_or_remote
from mgsflow.readers.tiff import reader as tiff


@runtime_checkable
class Reader(Protocol):
    """A volume in files: small, picklable, opened only while it is read, by any number of threads."""

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels as delivered, in native byte order."""
        ...

    @property
    def voxel_size(self) -> tuple[float, float, float] | None:
        """Edges (z, y, x) of a voxel in µm; None where the file does not state all three."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the voxels come from."""
        ...

    @property
    def grain(self) -> Triple:
        """Least box that is read without reading or decoding its neighbours: boxes of whole grains cost least."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the files before numbers are drawn from them; usually empty."""
        ...

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        ...

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box inside the volume: C-contiguous, in native byte order.

        Raises
        ------
        InputError
            If the box is not inside, a file is damaged or has changed, or a value is NaN or infinite.
        InputNotFound
            If a file is gone.
        """
        ...


@dataclass(frozen=True)
class Format:
    """A file format: how its paths look, and what opens them.

    Parameters
    ----------
    name : str
    patterns : tuple of str
        File names, as shell patterns in lower case.
    open : callable
        Takes a path and keyword options, returns a `Reader` with axes as they are stored. If the file names them, the
        reader has ``axes``: for each statement in the file, the names of the three axes.
    matches : callable, optional
        Takes an existing path, tells whether it is of this format; by default, whether it is a file whose name fits.
    states : str
        What the files themselves state, for users.
    library : str
        What reads them.
    """

    name: str
    patterns: tuple[str, ...]
    open: Callable[..., Reader]
    matches: Callable[[Path], bool] | None = None
    states: str = ""
    library: str = "mgsflow"

    def fits(self, path: Path) -> bool:
        """Tell whether a path is of this format."""
        if self.matches is not None:
            return self.matches(path)
        return not path.is_dir() and any(fnmatch.fnmatchcase(path.name.lower(), p) for p in self.patterns)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that `open_scan` takes for it: those of `open`, and the orientation of the volume."""
        kinds = inspect.signature(self.open).parameters.values()
        return (*(p.name for p in kinds if p.kind is inspect.Parameter.KEYWORD_ONLY), "axes", "flip")


def _is_tiff(path: Path) -> bool:
    return path.is_dir() or tiff.is_tiff(path.name)


FORMATS: tuple[Format, ...] = (
    Format(
        "zarr",
        zarr_array.PATTERNS,
        zarr_array.open_zarr,
        zarr_array.is_zarr,
        "shape, type; axes (OME-Zarr, xarray); voxel size (OME-Zarr)",
        "zarr",
    ),
    Format("tiff", tiff.PATTERNS, tiff.open_tiff, _is_tiff, "shape, type; voxel size (OME-TIFF, ImageJ)", "tifffile"),
    Format(
        "hdf5",
        hdf5.PATTERNS,
        hdf5.open_hdf5,
        states="shape, type; axes (NeXus, netCDF); voxel size (element_size_um)",
        library="h5py, hdf5plugin",
    ),
    Format("npy", npy.PATTERNS, npy.open_npy, states="shape, type", library="numpy"),
    Format("amira", amira.PATTERNS, amira.open_amira, states="shape, type; voxel size where it has a unit"),
    Format("metaimage", metaimage.PATTERNS, metaimage.open_metaimage, states="shape, type; voxel size (mm or as said)"),
    Format("nrrd", nrrd.PATTERNS, nrrd.open_nrrd, states="shape, type; voxel size where it has a unit"),
    Format("nifti", nifti.PATTERNS, nifti.open_nifti, states="shape, type; voxel size where it has a unit"),
    Format("mrc", mrc.PATTERNS, mrc.open_mrc, states="shape, type; axes; voxel size (ångström)"),
    Format("vgi", vgi.PATTERNS, vgi.open_vgi, states="shape, type; voxel size where it has a unit"),
    Format("raw", raw.PATTERNS, raw.open_raw, states="nothing: shape and dtype are to be given"),
)


def open_scan(
    path: str | Path, *, format: str | None = None, axes: str | None = None, flip: str | None = None, **options: Any
) -> Reader:
    """Open a scan: a folder or glob of TIFF slices, or a file.

    Parameters
    ----------
    path : str or Path
        A folder is a zarr store or a stack of TIFF slices; a file is told by its name. A path with ``*``, ``?`` or
        ``[`` that does not exist as such is a glob of TIFF slices. ``s3://bucket/key`` is read from object storage.
    format : str, optional
        Name of one of `FORMATS`, where the file's name does not tell.
    axes : str, optional
        What the stored axes are, the slowest first: ``"xyz"`` where x is the first index of the array. It overrides
        names of axes in the file. Default: what the file states, else ``"zyx"``.
    flip : str or list of str, optional
        Axes to reverse, as ``"z"``, after they are put in order.
    **options
        Of the format: raw: `shape`, `dtype`, `order`, `offset`; hdf5: `dataset`, `missing`; zarr: `array`; tiff:
        `check_numbering`.

    Returns
    -------
    Reader
        With the layout known and checked, and no voxel read.

    Raises
    ------
    InputNotFound
        If there is nothing at the path.
    InputError
        If the format is unknown, an option is, or the files cannot be a volume.
    """
    if not str(path):
        raise InputError("the path of a scan is empty; name a file, a folder or a glob")
    path = local_or_remote(path)
    chosen = _chosen(path, format)
    unknown = [name for name in options if name not in chosen.options]
    if unknown:
        allowed = ", ".join(chosen.options) or "none"
        raise InputError(f"{path}: {unknown[0]!r} is no option of {chosen.name} files; options are: {allowed}")
    where = str(path)
    order = check_order(axes, where) if axes is not None else None
    reversed_axes = check_flip(flip, where) if flip is not None else ""
    reader = chosen.open(path, **options)
    if order is None:
        order = agreed_order(getattr(reader, "axes", ()), where) or "zyx"
    return reader if order == "zyx" and not reversed_axes else Oriented(reader, order, reversed_axes)


def _chosen(path: Path, name: str | None) -> Format:
    by_name = {format.name: format for format in FORMATS}
    if name is not None and name not in by_name:
        raise InputError(f"{path}: no format {name!r}; formats are {', '.join(by_name)}")
    if not path.exists():
        if glob.has_magic(str(path)):
            return by_name["tiff"]
        raise InputNotFound(f"{path}: no such file or folder")
    if name is not None:
        return by_name[name]
    for format in FORMATS:
        if format.fits(path):
            return format
    known = "; ".join(f"{f.name} ({', '.join(f.patterns)})" for f in FORMATS)
    raise InputError(
        f"{path}: the format of this file is not known. Formats are: {known}. If it is one of these by another name, "
        "give format="
    )
