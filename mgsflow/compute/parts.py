"""Small arrays of any length that the blocks of a pass leave for later ones: tables, faces, pairs.

A `Reduction`'s record has one shape for all blocks; what a block knows of its labels does not. Parts are written once
a block and name, by any process, and a repeated write leaves the same content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from mgsflow.blocks import Triple
from mgsflow.compute.checked_store import ALWAYS_WRITTEN, CHECKSUM, checked, telling_damage
from mgsflow.errors import DamagedData, MissingPart


class Parts(Protocol):
    """Arrays by block and name. Cheap to pickle, unless they are held in memory."""

    def write(self, index: Triple, name: str, array: np.ndarray) -> None:
        """Store an array of a block, instead of what was there."""
        ...

    def read(self, index: Triple, name: str) -> np.ndarray:
        """Return a block's array; KeyError if there is none."""
        ...


@dataclass(frozen=True)
class MemoryParts:
    """Parts in this process: for arrays in memory, and threads."""

    arrays: dict[tuple[Triple, str], np.ndarray] = field(default_factory=dict)

    def write(self, index: Triple, name: str, array: np.ndarray) -> None:
        """Store a copy of an array."""
        self.arrays[index, name] = np.array(array)

    def read(self, index: Triple, name: str) -> np.ndarray:
        """Return a block's array."""
        return self.arrays[index, name]


@lru_cache(maxsize=32)
def _folder(store: Any, path: str, mode: Literal["r", "r+"]) -> zarr.Group:
    return zarr.open_group(checked(store) if mode == "r" else store, path=path, mode=mode)


@dataclass(frozen=True)
class StoredParts:
    """Parts in a group of a store, one small zarr array a block and name.

    Parameters
    ----------
    store, path : str
        Location of the store, and path of a group in it, which must be there.
    """

    store: str
    path: str

    def write(self, index: Triple, name: str, array: np.ndarray) -> None:
        """Store an array of a block, instead of what was there."""
        array = np.asarray(array)
        key = _key(index, name)
        made = _folder(self.store, self.path, "r+").create_array(
            key,
            shape=array.shape,
            dtype=array.dtype,
            chunks=_chunks(array.shape),
            compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), CHECKSUM],
            fill_value=0,
            config=ALWAYS_WRITTEN,
            overwrite=True,
            # of its own: xarray opens no group in which one name has several lengths
            dimension_names=[f"{key}_{axis}" for axis in range(array.ndim)],
        )
        if array.size:
            made[...] = array

    def read(self, index: Triple, name: str) -> np.ndarray:
        """Return a block's array.

        Raises
        ------
        MissingPart
            If there is none; it is a KeyError too.
        DamagedData
            If it is not what was written.
        """
        path = f"{self.path}/{_key(index, name)}"
        with telling_damage(path):
            try:
                found = _folder(self.store, self.path, "r")[_key(index, name)]
            except KeyError:
                raise MissingPart(path) from None
            if not isinstance(found, zarr.Array) or found.chunks != _chunks(found.shape):
                raise DamagedData(path, None, "its metadata are not those that were written")
            return np.asarray(found[...])


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the chunk of an array that is stored in one piece."""
    return tuple(max(1, n) for n in shape)


def _key(index: Triple, name: str) -> str:
    z, y, x = index
    return f"{z}.{y}.{x}.{name}"
