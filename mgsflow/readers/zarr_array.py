"""A zarr array (v2 or v3) in a folder or in object storage, alone or as level 0 of an OME-Zarr image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from mgsflow.blocks import Box, Triple, triple
from mgsflow.errors import InputError, MgsflowError
from mgsflow.readers.bombs import BoundedStore
from mgsflow.readers.files import reading, trusting
from mgsflow.readers.ome_zarr import Image, describe, first_level, image_groups, multiscale
from mgsflow.readers.remote import RemotePath
from mgsflow.readers.voxels import check_box, check_declared, check_finite, deliver, delivered_dtype
from mgsflow.store.remote import place_of

PATTERNS = ("*.zarr",)
_MARKS = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class ZarrSource:
    """A volume in a zarr array.

    Parameters
    ----------
    path : Path
        Folder of the array.
    lead : int
        Axes of length one before z.
    shape : tuple of int
        Voxels along (z, y, x).
    stored, dtype : dtype
        As in the array, and as delivered.
    voxel_size : tuple of float or None
        (z, y, x) in µm, from OME metadata.
    grain : tuple of int
        The chunk.
    axes, warnings : tuple
        See `mgsflow.readers.reader.Reader`.
    """

    path: Path
    lead: int
    shape: Triple
    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    voxel_size: tuple[float, float, float] | None
    grain: Triple
    axes: tuple[tuple[str, ...], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the array: its metadata and its chunks (looked up when asked for)."""
        if isinstance(self.path, RemotePath):
            return tuple(self.path.beneath())
        found = [Path(folder) / name for folder, _, names in os.walk(self.path) for name in names]
        return tuple(sorted(found))

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        at_once = int(zarr.config.get("async.concurrency", 10))
        layer = min(shape[0], self.grain[0]) * shape[1] * shape[2] * self.stored.itemsize
        return layer + 3 * at_once * prod(self.grain) * self.stored.itemsize

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box inside the volume: C-contiguous, in native byte order."""
        check_box(box, self.shape, str(self.path))
        out = np.empty(box.shape, self.dtype)
        if not out.size:
            return out
        array = _open(self.path, prod(self.grain) * self.stored.itemsize)
        if not isinstance(array, zarr.Array):
            raise InputError(f"{self.path}: is no longer a zarr array")
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        depth = self.grain[0]
        starts = [z0, *range((z0 // depth + 1) * depth, z1, depth)]
        for start, stop in zip(starts, [*starts[1:], z1]):
            index: Any = (*(0,) * self.lead, slice(start, stop), slice(y0, y1), slice(x0, x1))
            with trusting(str(self.path), f"a part of slices {start} to {stop - 1}"):
                values = np.asarray(array[index])
            for k in range(stop - start):
                where = f"{self.path}: slice z={start + k}"
                deliver(values[k], out[start - z0 + k], where)
                check_finite(out[start - z0 + k], where, (y0, x0))
        return out


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a zarr array or group."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def open_zarr(path: Path, *, array: str | None = None) -> ZarrSource:
    """Open a three-dimensional zarr array (z, y, x); leading axes of length one are dropped.

    Parameters
    ----------
    path : Path
        An array or a group.
    array : str, optional
        Path of the array in the group. Without it, level 0 of the group's OME-Zarr image, or its only array of three
        axes.

    Raises
    ------
    InputNotFound
        If there is no such folder.
    InputError
        If it holds no zarr array of grey values, or more than one (the message lists them).
    """
    path = path.absolute()
    node = _open(path)
    image: Image | None = None
    if isinstance(node, zarr.Group):
        node, path, image = _member(node, array, path)
    elif array is not None:
        raise InputError(f"{path}: is an array, so that array={array!r} has no meaning")
    # numcodecs has a codec that unpickles; such an array is not opened, whatever its type says
    if "pickle" in repr(node.metadata).lower():
        raise InputError(f"{path}: uses a codec that unpickles, which could run any code; store it with another")
    stored = np.dtype(node.dtype)
    delivered = delivered_dtype(stored, str(path))
    lead = len(node.shape) - 3
    if lead < 0 or any(n != 1 for n in node.shape[:lead]):
        raise InputError(f"{path}: has shape {node.shape}; a volume has three axes (z, y, x)")
    shape = triple(node.shape[lead:])
    check_declared(shape, stored.itemsize, None, str(path))
    check_declared(node.chunks, stored.itemsize, None, f"{path}: a chunk")
    axes = [image.axes] if image is not None else []
    axes.append(tuple(map(str, getattr(node.metadata, "dimension_names", None) or ())))
    axes.append(tuple(map(str, node.attrs.get("_ARRAY_DIMENSIONS", ()))))  # xarray, in version 2
    return ZarrSource(
        path, lead, shape, stored, delivered,
        voxel_size=image.voxel_size if image is not None else None,
        grain=triple(node.chunks[lead:]),
        axes=tuple(dict.fromkeys(names[lead:] for names in axes if len(names) == node.ndim)),
        warnings=_unwritten(node, path),
    )  # fmt: skip


def _unwritten(array: Any, path: Path) -> tuple[str, ...]:
    """Return a warning of chunks that are not there: all of one value, and so left out by the writer, or lost."""
    with trusting(str(path), "its list of chunks"):
        total, written = int(array.nchunks), int(array.nchunks_initialized)
    if written >= total:
        return ()
    if not written:
        raise InputError(f"{path}: was created but never written: it has no chunk")
    return (
        f"{path}: {total - written} of {total} chunks are not there and are read as {array.fill_value}: either they "
        "hold nothing else, or they were lost, or never written",
    )


def _open(path: Path, chunk: int | None = None) -> Any:
    """Open what is there; if it is to be read, with the bytes of a chunk, which none may exceed by much."""
    with reading(path):
        if not path.exists():
            raise FileNotFoundError(str(path))
        try:
            place = place_of(path)
            if chunk is not None:
                plain = LocalStore(place, read_only=True) if isinstance(place, str) else place
                place = BoundedStore(plain, str(path), chunk)
            return zarr.open(place, mode="r")
        except MgsflowError:
            raise
        except Exception as error:  # zarr raises whatever the damaged metadata leads to
            raise InputError(f"{path}: is not a zarr array or group, or is damaged ({error})") from error


def _member(group: Any, name: str | None, path: Path) -> tuple[Any, Path, Image | None]:
    """Return the array that is meant, its folder, and what OME metadata says of it."""
    image = multiscale(group)
    if name is None and image is None and (images := image_groups(group)):
        if len(images) > 1:
            listed = ", ".join(f"{path.name}/{key}" for key in images)
            raise InputError(f"{path}: holds {len(images)} images; name the path of one: {listed}")
        path, group = path / images[0], group[images[0]]
        image = multiscale(group)
    if name is None and image is not None:
        name = first_level(image, str(path))
    arrays = {key: item for key, item in group.members(max_depth=3) if isinstance(item, zarr.Array)}
    listed = ", ".join(f"{key} {item.shape} {item.dtype}" for key, item in sorted(arrays.items())[:20]) or "none"
    if name is None:
        volumes = [key for key, item in arrays.items() if item.ndim == 3]
        if len(volumes) != 1:
            raise InputError(f"{path}: has {len(volumes)} arrays of three axes; name one by array=: {listed}")
        name = volumes[0]
    key = name.strip("/")
    if key not in arrays:
        raise InputError(f"{path}: has no array {name!r}; it has: {listed}")
    return arrays[key], path / key, _described(group, key, str(path))


def _described(group: Any, key: str, where: str) -> Image | None:
    """Return what the nearest group above an array says of it."""
    steps = key.split("/")
    for i in range(len(steps) - 1, -1, -1):
        above = group["/".join(steps[:i])] if i else group
        if (image := multiscale(above)) is not None:
            return describe(image, "/".join(steps[i:]), where)
    return None
