"""One scan's part of a stored array: read with halo, written by whole shards, from any process.

A region is a few strings and numbers, so that a task carries it for nothing; the array is opened where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import zarr

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute.checked_store import always_written, checked, telling_damage
from mgsflow.errors import DamagedData, InputError, StoreError
from mgsflow.memory import decode_bytes
from mgsflow.store.shards import drop_key, note_shard, shard_key

#: Chunks of a request.
_AT_ONCE = 6


@lru_cache(maxsize=64)
def _opened(store: Any, path: str, shape: tuple[int, ...], mode: Literal["r", "r+"], whole: bool = True) -> zarr.Array:
    """Return an array to read finished blocks of (of a `whole` scan), or to write blocks to.

    `shape` is part of the key because an array that grew (a scan was added) has new metadata.
    """
    array = zarr.open_array(checked(store) if mode == "r" and whole else store, path=path, mode=mode, zarr_format=3)
    if array.shape != shape:
        raise StoreError(
            f"{store}/{path} has shape {array.shape} where {shape} was expected: it changed during the run"
        )
    return array if mode == "r" else always_written(array)


def read_rows(array: zarr.Array, box: Box, scan: tuple[int, ...] = ()) -> np.ndarray:
    """Return a box of a zarr array, read a few rows of chunks at a time.

    zarr holds all chunks of a request at once, encoded and decoded, and of a whole shard the file as well: four times
    the box where it is noise. By rows it takes as long, in the memory that `decode_bytes` says.

    Parameters
    ----------
    array : zarr.Array
    box : Box
        Along the last three axes.
    scan : tuple of int
        Index along the axes before.
    """
    _, wide, _ = chunk = array.chunks[-3:]
    first, last = ([edge // n for edge, n in zip(edges, chunk)] for edges in (box.start, [b - 1 for b in box.stop]))
    rows = max(1, _AT_ONCE // (last[2] - first[2] + 1))
    out = np.empty(box.shape, array.dtype)
    for z in range(first[0], last[0] + 1):
        for y in range(first[1], last[1] + 1, rows):
            start = z * chunk[0], y * wide, box.start[2]
            stop = start[0] + chunk[0], start[1] + rows * wide, box.stop[2]
            part = Box(start, stop).intersect(box)
            index: Any = (*scan, *part.slices)
            out[part.relative_to(box).slices] = array[index]
    return out


@dataclass(frozen=True)
class Region:
    """The voxels of one scan in a (scan, z, y, x) array.

    Parameters
    ----------
    store : str or RemoteStore
        Location of the study, as zarr opens it.
    path : str
        Path of the array in it.
    full : tuple of int
        Shape of the whole array.
    scan : int
        Position along ``scan``.
    shape : tuple of int
        The scan's own extent: the array has the size of the largest scan.
    dtype : dtype
    chunk : tuple of int
        Inner chunk.
    unfinished : bool
        Whether blocks may be missing, as while a study is run: they are read as zeros.
    """

    store: Any
    path: str
    full: tuple[int, ...]
    scan: int
    shape: Triple
    dtype: np.dtype[Any]
    chunk: Triple
    unfinished: bool = False

    def scratch(self, shape: Triple) -> int:
        """Return the bytes held beside the result while a box is read."""
        return decode_bytes(self.dtype.itemsize, self.chunk)

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box within the scan's extent.

        Raises
        ------
        DamagedData
            If a shard is missing, or does not hold what was written.
        """
        self._check(box)
        try:
            with telling_damage(self.path):
                array = _opened(self.store, self.path, self.full, "r", not self.unfinished)
                return read_rows(array, box, (self.scan,))
        except DamagedData as damage:
            raise self._located(damage, box) from damage.__cause__

    def write(self, box: Box, array: np.ndarray) -> None:
        """Store a box: a whole shard, or what the extent leaves of one."""
        self._check(box)
        if array.shape != box.shape or array.dtype != self.dtype:
            raise InputError(
                f"{self.path}: got {array.dtype} voxels of shape {array.shape} for a box of {self.dtype} {box.shape}"
            )
        opened = _opened(self.store, self.path, self.full, "r+")
        first: Triple = tuple(a // n for a, n in zip(box.start, self.shard))  # type: ignore[assignment]
        whole = self.shards.block(first).core == box
        try:
            with telling_damage(self.path):
                opened[(self.scan, *box.slices)] = array
        except DamagedData:
            # zarr reads a shard that the extent cuts before it writes it: here one that is damaged, and to be replaced
            if not whole:
                raise
            drop_key(opened, shard_key(self.path, (self.scan, *first)))
            opened[(self.scan, *box.slices)] = array
        if whole:
            note_shard(self.store, self.path, (self.scan, *first), array)

    @property
    def shard(self) -> Triple:
        """Shape of a shard: what lies in one file."""
        array = _opened(self.store, self.path, self.full, "r+")
        z, y, x = (array.shards or array.chunks)[1:]
        return z, y, x

    @property
    def shards(self) -> Grid:
        """The shards of the scan's extent."""
        return Grid.regular(self.shape, self.shard)

    def _located(self, damage: DamagedData, box: Box) -> DamagedData:
        """Return the damage with the block in which it is: the first that cannot be read alone."""
        if damage.index is not None:
            return damage
        array = _opened(self.store, self.path, self.full, "r")
        for block in self.shards.blocks():
            common = block.core.intersect(box)
            if not all(common.shape):
                continue
            try:
                with telling_damage(self.path, (self.scan, *block.index)):
                    read_rows(array, common, (self.scan,))
            except DamagedData as found:
                return found
        return damage

    def _check(self, box: Box) -> None:
        if not Box.of(self.shape).contains(box):
            raise InputError(f"{self.path}: box {box.start} to {box.stop} is not within the scan's extent {self.shape}")


@dataclass(frozen=True)
class Records:
    """The records of one scan in a (scan, block_z, block_y, block_x, ...) array.

    Parameters
    ----------
    store, path, full, scan
        As of a `Region`.
    counts : tuple of int
        The scan's own blocks along (z, y, x): the array has room for those of the largest scan.
    unfinished : bool
        As of a `Region`.
    """

    store: Any
    path: str
    full: tuple[int, ...]
    scan: int
    counts: Triple
    unfinished: bool = False

    def write(self, index: Triple, record: np.ndarray) -> None:
        """Store the record of the block at a grid position: a smaller block's is filled up with zeros."""
        array = _opened(self.store, self.path, self.full, "r+")
        whole = np.zeros(self.full[4:], dtype=array.dtype)
        whole[tuple(slice(0, n) for n in record.shape)] = record
        array[(self.scan, *index)] = whole

    def __getitem__(self, index: Any) -> np.ndarray:
        if index is Ellipsis:
            index = tuple(slice(0, n) for n in self.counts)
        index = index if isinstance(index, tuple) else (index,)
        with telling_damage(self.path):
            array = _opened(self.store, self.path, self.full, "r", not self.unfinished)
            return np.asarray(array[(self.scan, *index)])

    @property
    def shape(self) -> tuple[int, ...]:
        """Blocks along (z, y, x), then the shape of a record."""
        return (*self.counts, *self.full[4:])
