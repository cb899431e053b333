"""Arrays at hand as sources and sinks: in memory, in a zarr store or behind a DataArray, used block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import zarr

from mgsflow.blocks import Box, Grid, Triple, triple
from mgsflow.compute import Sink, Source
from mgsflow.errors import InputError
from mgsflow.memory import decode_bytes
from mgsflow.store.region import read_rows


@dataclass(frozen=True)
class ArraySource:
    """Voxels of anything with a shape, a dtype and slices: ndarray, zarr array, dask array.

    Cheap to pickle where the array is: a zarr array in a folder is, one in memory is not (see `in_memory`).
    """

    array: Any

    @property
    def shape(self) -> Triple:
        """Lengths along (z, y, x)."""
        return triple(tuple(self.array.shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return np.dtype(self.array.dtype)

    def scratch(self, shape: Triple) -> int:
        """Return the bytes held beside the result while a box is read."""
        if isinstance(self.array, np.ndarray):
            return 0
        if isinstance(self.array, zarr.Array):
            return decode_bytes(self.dtype.itemsize, triple(self.array.chunks))
        # a dask array loads every chunk that the box touches, and joins them
        chunk = triple(getattr(self.array, "chunksize", shape))
        return 2 * prod(n + 2 * c for n, c in zip(shape, chunk)) * self.dtype.itemsize

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box; of an array in memory, a view."""
        if isinstance(self.array, zarr.Array):
            return read_rows(self.array, box)
        part = self.array[box.slices]
        if hasattr(part, "compute"):  # dask: in this thread, which is one of ours already
            part = part.compute(scheduler="synchronous")
        return np.asarray(part)


@dataclass(frozen=True)
class ArraySink:
    """An ndarray or a zarr array that takes whole blocks."""

    array: Any

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return np.dtype(self.array.dtype)

    @property
    def chunk(self) -> Triple:
        """Shape in which a block is encoded."""
        return triple(tuple(getattr(self.array, "chunks", (1, 1, 1))))

    def write(self, box: Box, array: np.ndarray) -> None:
        """Store a block."""
        self.array[box.slices] = array


@dataclass(frozen=True)
class PhaseMask:
    """A source of booleans: where another source has one of some values.

    Parameters
    ----------
    source : Source
        Integers or booleans.
    phases : tuple of int, optional
        Values that are inside; default, everything but zero.
    """

    source: Source
    phases: tuple[int, ...] | None = None

    @property
    def shape(self) -> Triple:
        """Lengths along (z, y, x)."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Boolean."""
        return np.dtype(bool)

    def scratch(self, shape: Triple) -> int:
        """Return the bytes held beside the result while a box is read: the integers, and a comparison."""
        return self.source.scratch(shape) + prod(shape) * (self.source.dtype.itemsize + 1)

    def read(self, box: Box) -> np.ndarray:
        """Return where the voxels of a box are inside."""
        values = self.source.read(box)
        if self.phases is None:
            return values if values.dtype == bool else values != 0
        inside = np.zeros(values.shape, bool)
        for phase in self.phases:
            inside |= values == phase
        return inside


def source_of(array: Any, what: str = "mask") -> Source:
    """Return a source of an array at hand.

    Parameters
    ----------
    array : ndarray, zarr array, dask array or DataArray, shape (z, y, x)
        A DataArray's dimensions must be named z, y and x; what it loads lazily is read block by block.
    what : str
        What to call the array in an error.

    Raises
    ------
    InputError
        If it is none of these, has not three axes, or is empty along one.
    """
    if _is_dataarray(array):
        if tuple(array.dims) != ("z", "y", "x"):
            raise InputError(
                f"the {what}'s dimensions must be z, y and x, got {tuple(array.dims)}: select a scan first"
            )
        array = _inside(array)
    if not hasattr(array, "shape") or not hasattr(array, "dtype") or not hasattr(array, "__getitem__"):
        raise InputError(f"the {what} must be a NumPy array, a zarr array or a DataArray, got {type(array).__name__}")
    if len(array.shape) != 3:
        raise InputError(f"the {what} must have three axes (z, y, x), got an array of shape {tuple(array.shape)}")
    if 0 in array.shape:
        raise InputError(f"the {what} has no voxels: its shape is {tuple(array.shape)}")
    return ArraySource(array)


def check_mask(array: Any, what: str = "mask") -> Source:
    """Return a source of an array at hand that holds booleans or integers; see `source_of`.

    Raises
    ------
    InputError
        Also if it holds anything else.
    """
    source = source_of(array, what)
    if source.dtype.kind not in "biu":
        raise InputError(
            f"the {what} must hold booleans or integers, got {source.dtype}: compare it with a threshold or a phase"
        )
    return source


def sink_of(out: Any, shape: Triple, dtype: np.dtype[Any]) -> Sink:
    """Return a sink that fills an array at hand.

    Parameters
    ----------
    out : ndarray or zarr array
    shape : tuple of int
        The shape it must have.
    dtype : dtype
        Of what will be written: it must be held without loss.

    Raises
    ------
    InputError
        If it is of another shape, or of a dtype that does not hold `dtype`.
    """
    if not isinstance(out, np.ndarray | zarr.Array):
        raise InputError(f"out must be a NumPy or a zarr array, got {type(out).__name__}")
    if tuple(out.shape) != tuple(shape):
        raise InputError(f"out has shape {tuple(out.shape)} where {tuple(shape)} is needed")
    if not np.can_cast(dtype, out.dtype, casting="safe"):
        raise InputError(f"out is of dtype {out.dtype}, which does not hold the result's {dtype}")
    return ArraySink(out)


def grid_of(shape: Sequence[int], block: int | Sequence[int], out: Any = None) -> Grid:
    """Return blocks of about the wanted size, which no two share a file of `out`.

    Parameters
    ----------
    shape : sequence of int
    block : int or three
        Wanted edges in voxels. Along an axis where `out` is cut into shards or chunks, they are rounded up to a
        multiple of those: two tasks must not write to one file.
    out : optional
        Array that will be written by blocks.
    """
    wanted = list(triple(block if isinstance(block, int) else tuple(block)))
    unit = getattr(out, "shards", None) or getattr(out, "chunks", None)
    if unit is not None:
        wanted = [-(-w // u) * u for w, u in zip(wanted, unit)]
    return Grid.regular(shape, [min(w, n) if w > 0 else w for w, n in zip(wanted, shape)])


def in_memory(*arrays: Any) -> bool:
    """Tell whether any of some arrays (None left out) lies in this process alone, out of reach of a cluster."""
    for array in arrays:
        if array is None:
            continue
        inside = _inside(array) if _is_dataarray(array) else array
        if isinstance(inside, np.ndarray):
            return True
        if isinstance(inside, zarr.Array) and isinstance(inside.store, zarr.storage.MemoryStore):
            return True
    return False


def like(array: Any, values: Any, name: str | None = None) -> Any:
    """Return a result as the input came: a DataArray with its coordinates, named anew or as it was, or as it is."""
    if not _is_dataarray(array):
        return values
    import xarray as xr  # not needed by workers

    coords = {k: v for k, v in array.coords.items() if set(v.dims) <= {"z", "y", "x"}}
    return xr.DataArray(values, dims=("z", "y", "x"), coords=coords, name=name or array.name)


def _is_dataarray(array: Any) -> bool:
    return hasattr(array, "dims") and hasattr(array, "coords") and hasattr(array, "variable")


def _inside(array: Any) -> Any:
    """Return what a DataArray holds: an array in memory or of dask; what is lazy stays so."""
    variable = array.variable
    if getattr(variable, "_in_memory", True) or hasattr(variable._data, "dask"):
        return variable.data
    return _Lazy(array)


@dataclass(frozen=True)
class _Lazy:
    """A DataArray that was opened without dask: each slice is loaded by itself."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.array.dtype)

    @property
    def chunksize(self) -> Triple:
        return triple(tuple(self.array.encoding.get("chunks") or (64, 64, 64)))

    def __getitem__(self, slices: Any) -> np.ndarray:
        return np.asarray(self.array.variable[slices].values)
