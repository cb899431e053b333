"""Compressed chunks that would fill the memory: told before a library, which sets no limit, inflates them.

A header that states the size is believed only in so far as it refuses; a stream without one (gzip, zlib, bzip2, xz) is
inflated piece by piece and thrown away, until it is longer than the chunk can be. That costs the decoding twice, where
the stored bytes are enough to inflate beyond `HARMLESS`, and only for these formats.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from mgsflow.errors import InputError

#: Bytes that a chunk may hold more than it says: they fit in what a plan leaves free.
HARMLESS = 64 << 20

#: Most bytes that a byte of a deflate stream stands for.
_DEFLATE = 1032
_PIECE = 1 << 16


def inflates_beyond(content: bytes | memoryview, most: int) -> bool:
    """Tell whether a compressed chunk, of whatever format it shows, holds more bytes than a limit.

    Parameters
    ----------
    content : bytes-like
        As stored.
    most : int
        Bytes that it may hold.
    """
    content = memoryview(content)
    head = bytes(content[:18])
    if head[:4] == b"\x28\xb5\x2f\xfd":
        size = _zstd_size(head)
        return size is not None and size > most
    if head[:2] == b"\x1f\x8b" or (len(head) > 1 and head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0):
        return len(content) * _DEFLATE > most and _streams_beyond(zlib.decompressobj(47), content, most)
    if head[:3] == b"BZh":
        return _streams_beyond(bz2.BZ2Decompressor(), content, most)
    if head[:6] == b"\xfd7zXZ\x00":
        return _streams_beyond(lzma.LZMADecompressor(), content, most)
    # blosc has no mark: two versions, and its own length
    if len(head) >= 16 and head[0] <= 2 and int.from_bytes(head[12:16], "little") == len(content):
        return int.from_bytes(head[4:8], "little") > most
    return False


class BoundedStore(WrapperStore[Store]):
    """A store whose compressed chunks hold no more than they should.

    Parameters
    ----------
    store : Store
    where : str
        For messages.
    chunk : int
        Bytes of a chunk, decoded.

    Raises
    ------
    InputError
        By `get`, of a chunk that holds more, and more than is harmless.
    """

    def __init__(self, store: Store, where: str, chunk: int) -> None:
        super().__init__(store)
        self.where, self.chunk = where, chunk

    def _with_store(self, store: Store) -> BoundedStore:
        return BoundedStore(store, self.where, self.chunk)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return an object or a part of it."""
        found = await self._store.get(key, prototype, byte_range)
        if found is not None and inflates_beyond(found.as_numpy_array().data, self.chunk + HARMLESS):
            raise InputError(
                f"{self.where}: the chunk {key} holds far more than the {self.chunk} bytes of a chunk: damaged, or "
                "made to exhaust memory"
            )
        return found


def _zstd_size(head: bytes) -> int | None:
    """Return the size that the header of a zstd frame states (RFC 8878, 3.1.1.1), or None."""
    flags = head[4]
    single, kind = flags >> 5 & 1, flags >> 6
    start = 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3]
    length = (1 if single else 0, 2, 4, 8)[kind]
    if not length or len(head) < start + length:
        return None
    return int.from_bytes(head[start : start + length], "little") + (256 if kind == 1 else 0)


def _streams_beyond(stream: Any, content: memoryview, most: int) -> bool:
    count, rest = 0, b""
    try:
        for start in range(0, len(content), _PIECE):
            rest = bytes(content[start : start + _PIECE])
            while rest or not getattr(stream, "needs_input", True):
                if stream.eof:  # what follows is not inflated by anybody
                    return False
                count += len(stream.decompress(rest, _PIECE * 16))
                if count > most:
                    return True
                rest = getattr(stream, "unconsumed_tail", b"")
    except (zlib.error, OSError, lzma.LZMAError, EOFError):
        return False  # not such a stream, or damaged: who decodes it will tell
    return False
