"""What a task wrote: a stamp of every shard, which tells later whether its file is still the one that was written.

A stamp is 64 bits: the bytes of the file, and the crc32c of the voxels in it. The size is compared whenever a study is
run, for the cost of a look into folders; the checksum when the shard is read whole, by ``mgsflow check``. Inner chunks
have checksums of their own, which every read compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from zarr.core.sync import sync

_BITS = 32


@dataclass(frozen=True)
class Shard:
    """A shard as it was written.

    Parameters
    ----------
    path : str
        Of the array in the store.
    index : tuple of int
        Scan, and block along (z, y, x).
    stamp : int
        See `stamp_of`; never 0, which stands for a shard of which nothing is known.
    """

    path: str
    index: tuple[int, ...]
    stamp: int


_written: ContextVar[list[Shard] | None] = ContextVar("written", default=None)


@contextmanager
def written_shards() -> Iterator[list[Shard]]:
    """Collect the shards that are written in this thread meanwhile."""
    shards: list[Shard] = []
    token = _written.set(shards)
    try:
        yield shards
    finally:
        _written.reset(token)


def note_shard(store: Any, path: str, index: tuple[int, ...], voxels: np.ndarray) -> None:
    """Note a shard that was written just now, if anybody collects them."""
    shards = _written.get()
    if shards is not None:
        size = file_size(store, shard_key(path, index))
        shards.append(Shard(path, index, stamp_of(size or 0, voxels)))


def stamp_of(size: int, voxels: np.ndarray) -> int:
    """Return the stamp of a file of so many bytes that holds these voxels, (z, y, x) in C order."""
    return size << _BITS | checksum(voxels)


def size_of(stamp: int) -> int:
    """Return the bytes of the file that a stamp stands for."""
    return stamp >> _BITS


def checksum_of(stamp: int) -> int:
    """Return the checksum of the voxels that a stamp stands for."""
    return stamp & (1 << _BITS) - 1


def checksum(voxels: np.ndarray) -> int:
    """Return the crc32c of voxels in C order, plane by plane: no copy of the whole is made."""
    found = 0
    for plane in voxels:
        found = google_crc32c.extend(found, np.ascontiguousarray(plane).tobytes())
    return int(found)


def shard_key(path: str, index: tuple[int, ...]) -> str:
    """Return the key of a shard in its store."""
    return f"{path}/c/{'/'.join(map(str, index))}"


def drop_key(array: zarr.Array, key: str) -> None:
    """Remove a key of the store that an array lies in."""
    sync(array.store.delete(key))


def file_size(store: Any, key: str) -> int | None:
    """Return the bytes that a key holds, or None if it is not there."""
    try:
        return Path(store, key).stat().st_size if isinstance(store, str) else int(store.size(key))
    except FileNotFoundError:
        return None
