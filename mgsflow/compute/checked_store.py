"""Reading stored chunks so that damage is told from emptiness.

To zarr a chunk that is not there is full of the fill value, which in an image of phases is a phase. Blocks that are
finished are always written, empty or not (`ALWAYS_WRITTEN`), and read through a `CheckedStore`, to which a missing
chunk is an error; a chunk that was altered fails its checksum (crc32c, zarr's own codec, `CHECKSUM`).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from mgsflow.errors import DamagedData, MgsflowError

#: Last codec of every chunk: a checksum of its encoded bytes.
CHECKSUM = Crc32cCodec()
#: Configuration of arrays whose finished chunks are never left out.
ALWAYS_WRITTEN: Any = {"write_empty_chunks": True}

_METADATA = {"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}


class MissingChunk(Exception):  # noqa: N818
    """A chunk that is not there, or has no bytes; raised through zarr, which knows no such error."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class CheckedStore(WrapperStore[Store]):
    """A store, to read alone, in which every chunk that is asked for must be there."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the bytes of a key, or None where metadata are missing.

        Raises
        ------
        MissingChunk
            If it is a chunk that is not there, or a file without bytes.
        """
        found = await self._store.get(key, prototype, byte_range)
        if (found is None or len(found) == 0) and key.rpartition("/")[2] not in _METADATA:
            raise MissingChunk(key)
        return found


@lru_cache(maxsize=16)
def checked(store: Any) -> CheckedStore:
    """Return a store, given as zarr takes it, as one in which chunks must be there."""
    inner = LocalStore(store, read_only=True) if isinstance(store, str) else store.with_read_only(True)
    return CheckedStore(inner)


def always_written(array: zarr.Array) -> zarr.Array:
    """Return an array open for writing whose chunks are stored even where they hold the fill value alone."""
    return array.with_config(ALWAYS_WRITTEN)


@contextmanager
def telling_damage(path: str, index: tuple[int, ...] | None = None) -> Iterator[None]:
    """Raise DamagedData where reading an array fails for what its files hold.

    Parameters
    ----------
    path : str
        Of the array.
    index : tuple of int, optional
        Chunk that is read, where it is a single one.
    """
    try:
        yield
    except MissingChunk as error:
        raise DamagedData(path, _chunk(error.key) or index, "its file is missing or empty") from None
    except MgsflowError:
        raise
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise DamagedData(path, index, f"the disk cannot read it ({error.strerror})") from error
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        # what zarr and its codecs raise for bytes that are not theirs
        raise DamagedData(path, index, "its bytes are not those that were written (checksum)") from error


def _chunk(key: str) -> tuple[int, ...] | None:
    """Return scan and block from the key of a chunk, as ``path/c/0/1/2/3``; None for what has no blocks."""
    index = key.rpartition("/c/")[2].split("/")
    return tuple(int(n) for n in index[:4]) if len(index) >= 4 else None
