"""A data set in an HDF5 file."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mgsflow.blocks import Box, Triple, triple
from mgsflow.errors import InputError
from mgsflow.readers.bombs import HARMLESS, inflates_beyond
from mgsflow.readers.files import file_size, open_file, reading, trusting
from mgsflow.readers.hdf5_links import Found, axis_names, datasets, named
from mgsflow.readers.hdf5_storage import missing_parts
from mgsflow.readers.remote import RemotePath
from mgsflow.readers.units import size_or_none
from mgsflow.readers.voxels import check_box, check_declared, check_finite, deliver, delivered_dtype

PATTERNS = ("*.h5", "*.hdf5", "*.hdf", "*.he5", "*.nxs", "*.nc", "*.mat")
_MAGIC = b"\x89HDF\r\n\x1a\n"
_CACHE = 1 << 20
#: MATLAB stores its first index fastest. Whether that is y, as of images, or x, no file tells: it is to be given.
_MATLAB = ("z", "MATLAB's 2nd index", "MATLAB's 1st index")


@dataclass(frozen=True)
class Hdf5Source:
    """A volume in an HDF5 data set.

    Parameters
    ----------
    path : Path
    dataset : str
    lead : int
        Axes of length one before z.
    shape : tuple of int
        Voxels along (z, y, x).
    stored, dtype : dtype
        As in the file, and as delivered.
    voxel_size : tuple of float or None
        (z, y, x) in µm, from the attribute ``element_size_um``.
    grain : tuple of int
        The chunk, or one row.
    files : tuple of Path
        The file, and those that it draws the data set from.
    axes, warnings : tuple
        See `mgsflow.readers.reader.Reader`.
    """

    path: Path
    dataset: str
    lead: int
    shape: Triple
    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    voxel_size: tuple[float, float, float] | None
    grain: Triple
    files: tuple[Path, ...]
    axes: tuple[tuple[str, ...], ...] = ()
    warnings: tuple[str, ...] = ()

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        # HDF5 holds a chunk as stored, as filtered and in its cache; a converted type passes slice by slice
        return 4 * _CACHE + 3 * prod(self.grain) * self.stored.itemsize + prod(shape[1:]) * self.stored.itemsize

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box inside the volume: C-contiguous, in native byte order."""
        check_box(box, self.shape, str(self.path))
        out = np.empty(box.shape, self.dtype)
        if not out.size:
            return out
        with _open(self.path) as file:
            with trusting(str(self.path), "its HDF5 structure"):
                dataset = file[self.dataset]
            _check_filters(dataset, f"{self.path}:{self.dataset}")
            depth = self.grain[0]
            z0, z1 = box.start[0], box.stop[0]
            # One selection a layer of chunks: each is decoded once, and a damaged one is found near its slice.
            starts = [z0, *range((z0 // depth + 1) * depth, z1, depth)]
            for start, stop in zip(starts, [*starts[1:], z1]):
                self._read_layer(dataset, box, start, stop, out[start - z0 : stop - z0])
        return out

    def _read_layer(self, dataset: Any, box: Box, start: int, stop: int, out: np.ndarray) -> None:
        (_, y0, x0), (_, y1, x1) = box.start, box.stop
        index = (*(0,) * self.lead, slice(start, stop), slice(y0, y1), slice(x0, x1))
        where = f"{self.path}:{self.dataset}"
        with trusting(where, f"a part of slices {start} to {stop - 1}"):
            self._check_chunks(dataset, index, where)
            if self.stored.newbyteorder("=") == self.dtype:
                dataset.read_direct(out, index)
            else:
                values = dataset[index]
                for k in range(stop - start):
                    deliver(values[k], out[k], f"{where}: slice z={start + k}")
        for k in range(stop - start):
            check_finite(out[k], f"{where}: slice z={start + k}", (y0, x0))

    def _check_chunks(self, dataset: Any, index: tuple[Any, ...], where: str) -> None:
        """Refuse chunks that hold far more than they should: HDF5 inflates whatever is there."""
        if dataset.chunks is None or dataset.is_virtual or dataset.compression is None:
            return
        most = prod(dataset.chunks) * self.stored.itemsize + HARMLESS
        for chunk in dataset.iter_chunks(index if dataset.ndim == len(index) else None):
            corner = tuple(s.start // n * n for s, n in zip(chunk, dataset.chunks))
            found = dataset.id.get_chunk_info_by_coord(corner)
            if found.size is None or found.byte_offset is None:  # never written
                continue
            if found.size * 1032 > most and inflates_beyond(dataset.id.read_direct_chunk(corner)[1], most):
                raise InputError(
                    f"{where}: the chunk at {corner} holds far more than the {most - HARMLESS} bytes of a chunk: "
                    "damaged, or made to exhaust memory"
                )


def open_hdf5(path: Path, *, dataset: str | None = None, missing: str = "refuse") -> Hdf5Source:
    """Open a three-dimensional data set (z, y, x); leading axes of length one are dropped.

    Parameters
    ----------
    path : Path
    dataset : str, optional
        Path of the data set in the file. May be left out if only one is three-dimensional.
    missing : {"refuse", "fill"}
        Of a data set of which parts were never written: refuse it, or read its fill value there, with a warning.

    Raises
    ------
    InputNotFound
        If there is no such file, or one that a virtual data set or an external link draws from is missing.
    InputError
        If the file is no HDF5 file or is truncated, or which data set is meant is not clear (the message lists them).
    """
    path = path.absolute()
    size = file_size(path)
    if missing not in ("refuse", "fill"):
        raise InputError(f"{path}: missing must be refuse or fill, got {missing!r}")
    with _open(path) as file, trusting(str(path), "its HDF5 structure"):
        chosen = _chosen(file, dataset, path)
        found, where = chosen.dataset, f"{path}:{chosen.name}"
        shape = tuple(int(n) for n in found.shape)
        delivered = delivered_dtype(found.dtype, where)
        zyx, lead = _volume(shape, where)
        files = _sources(found, path)
        _check_filters(found, where)
        held = None
        if not found.is_virtual and not found.external:
            held = int(found.id.get_storage_size())
            if not held:
                raise InputError(f"{where}: was created but never written")
            held = None if found.chunks is None else max(held, size)
        check_declared(zyx, found.dtype.itemsize, held, where)
        warnings = _unwritten(found, path, where, missing)
        grain = triple(found.chunks[lead:]) if found.chunks else (1, 1, zyx[2])
        sizes = _voxel_size(found.attrs.get("element_size_um"))
        axes = tuple(names[lead:] for names in axis_names(file, chosen))
        if "MATLAB_class" in found.attrs:
            axes = (*axes, _MATLAB)
        return Hdf5Source(path, chosen.name, lead, zyx, found.dtype, delivered, sizes, grain, files, axes, warnings)


def _unwritten(dataset: Any, path: Path, where: str, missing: str) -> tuple[str, ...]:
    """Return a warning of what was never written, where that is wanted, or refuse it."""
    if isinstance(path, RemotePath):
        own: Path = path
    else:
        own = Path(dataset.file.filename).absolute()
    what = missing_parts(dataset, own)
    if not what:
        return ()
    if missing == "refuse":
        raise InputError(
            f"{where}: {what}; they would be read as {dataset.fillvalue}. Write the file again, or give missing=fill "
            "if that value is meant"
        )
    return (f"{where}: {what}; read as {dataset.fillvalue}",)


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    with open_file(path) as raw:
        if raw.read(len(_MAGIC)) != _MAGIC and (isinstance(path, RemotePath) or not h5py.is_hdf5(path)):
            raise InputError(f"{path}: is not an HDF5 file")
    with reading(path):
        try:
            if isinstance(path, RemotePath):
                file = h5py.File(path.open("rb"), "r", rdcc_nbytes=_CACHE)
            else:
                file = h5py.File(path, "r", locking="best-effort", rdcc_nbytes=_CACHE)
        except OSError as error:
            raise InputError(f"{path}: cannot be opened as HDF5 ({error})") from error
        with file:
            yield file


def _chosen(file: h5py.File, name: str | None, path: Path) -> Found:
    if name is not None:
        try:
            item = named(file, name, path)
        except KeyError:
            raise InputError(f"{path}: has no data set {name!r}; it has: {_listed(datasets(file, path))}") from None
        if not isinstance(item, h5py.Dataset):
            listed = _listed(datasets(file, path))
            raise InputError(f"{path}: {name!r} is a group, not a data set; the file has: {listed}")
        return Found(item, ("/" + name.strip("/"),))
    found = datasets(file, path)
    volumes = [f for f in found if f.dataset.shape is not None and len(f.dataset.shape) == 3]
    grey = [f for f in volumes if f.dataset.dtype.kind in "iuf"]
    volumes = grey or [f for f in volumes if f.dataset.dtype.kind == "b"]
    if len(volumes) == 1:
        return volumes[0]
    if not volumes:
        raise InputError(f"{path}: has no three-dimensional data set; it has: {_listed(found)}")
    raise InputError(
        f"{path}: has {len(volumes)} three-dimensional data sets; name one by dataset=: {_listed(volumes)}"
    )


def _listed(found: Sequence[Found]) -> str:
    return ", ".join(map(str, found[:20])) or "none"


def _volume(shape: Sequence[int], where: str) -> tuple[Triple, int]:
    lead = len(shape) - 3
    if lead < 0 or any(n != 1 for n in shape[:lead]):
        raise InputError(f"{where}: has shape {tuple(shape)}; a volume has three axes (z, y, x)")
    return triple(shape[lead:]), lead


def _check_filters(dataset: Any, where: str) -> None:
    created = dataset.id.get_create_plist()
    for i in range(created.get_nfilters()):
        code, _, _, name = created.get_filter(i)
        if not h5py.h5z.filter_avail(code):
            with suppress(ImportError):  # it registers the filters of beamlines: bitshuffle, lz4, blosc, zstd
                importlib.import_module("hdf5plugin")
        if not h5py.h5z.filter_avail(code):
            raise InputError(
                f"{where}: is compressed by filter {code} ({name.decode(errors='replace') or 'unnamed'}), which is not "
                "installed here: pip install mgsflow[hdf5] (hdf5plugin), or repack it where it was made ("
                "h5repack -f GZIP=4)"
            )


def _sources(dataset: Any, path: Path) -> tuple[Path, ...]:
    """Return the files that hold the voxels: HDF5 fills with zeros, silently, what a missing one should hold."""
    names = [str(s.file_name) for s in dataset.virtual_sources()] if dataset.is_virtual else []
    names += [str(name) for name, _, _ in dataset.external or ()]
    if isinstance(path, RemotePath):
        if any(name != "." for name in names):
            raise InputError(f"{path}: draws from other files, which is not possible in object storage; repack it")
        return (path,)
    own = Path(dataset.file.filename).absolute()
    files = {path: None, own: None}
    for name in names:
        if name == ".":
            continue
        source = own.parent / name
        file_size(source)
        files[source] = None
    return tuple(files)


def _voxel_size(sizes: Any) -> tuple[float, float, float] | None:
    try:
        values = [float(v) for v in np.asarray(sizes, float).ravel()]
    except (TypeError, ValueError):
        return None
    return size_or_none(values) if len(values) == 3 else None
