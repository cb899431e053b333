"""Volumes that are compressed as one stream: a box is decoded from the start of the stream, holding one plane.

Such a stream cannot be entered in its middle, so that reading takes time for all that lies before the box, but never
the memory of the volume.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.errors import InputError
from mgsflow.readers.files import open_file, trusting
from mgsflow.readers.voxels import check_box, check_finite, deliver

_CHUNK = 1 << 20
#: Window bits by which zlib expects a gzip header, or its own.
_ZLIB = {"gzip": 31, "zlib": 15}


@dataclass(frozen=True)
class StreamSource:
    """A volume in one compressed stream, x fastest.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        Voxels along the stored axes, the slowest first.
    stored, dtype : dtype
        As in the stream, and as delivered.
    codec : {"gzip", "zlib", "bzip2"}
    offset : int
        Bytes of the file before the stream.
    skip : int
        Decoded bytes before the first voxel.
    voxel_size : tuple of float or None
        Of the stored axes, in µm.
    axes, warnings : tuple
        See `mgsflow.readers.reader.Reader`.
    """

    path: Path
    shape: Triple
    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    codec: str
    offset: int = 0
    skip: int = 0
    voxel_size: tuple[float, float, float] | None = None
    axes: tuple[tuple[str, ...], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    @property
    def grain(self) -> Triple:
        """Least box that is read without decoding planes after it."""
        return (1, self.shape[1], self.shape[2])

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        return 6 * _CHUNK + 3 * self.shape[1] * self.shape[2] * self.stored.itemsize

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box inside the volume: C-contiguous, in native byte order."""
        check_box(box, self.shape, str(self.path))
        out = np.empty(box.shape, self.dtype)
        if not out.size:
            return out
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        plane = self.shape[1] * self.shape[2] * self.stored.itemsize
        with open_file(self.path) as file, trusting(str(self.path), "its compressed stream"):
            file.seek(self.offset)
            ahead, held = self.skip + z0 * plane, bytearray()
            z = z0
            for decoded in _decoded(file, self.codec):
                used = min(ahead, len(decoded))
                ahead -= used
                held += memoryview(decoded)[used:]
                while len(held) >= plane and z < z1:
                    values = np.frombuffer(bytes(held[:plane]), self.stored).reshape(self.shape[1:])
                    where = f"{self.path}: slice z={z}"
                    deliver(values[y0:y1, x0:x1], out[z - z0], where)
                    check_finite(out[z - z0], where, (y0, x0))
                    del held[:plane]
                    z += 1
                if z == z1:
                    return out
        raise InputError(f"{self.path}: truncated: its compressed stream ends in slice z={z} of {self.shape[0]}")


def _decoded(file: BinaryIO, codec: str) -> Iterator[bytes]:
    """Yield what a stream decodes to, a little at a time."""
    decoder: Any = bz2.BZ2Decompressor() if codec == "bzip2" else zlib.decompressobj(_ZLIB[codec])
    while data := file.read(_CHUNK):
        while data:
            yield decoder.decompress(data, _CHUNK)
            if decoder.eof:
                return
            if codec == "bzip2":
                while not decoder.needs_input:
                    yield decoder.decompress(b"", _CHUNK)
                break
            data = decoder.unconsumed_tail
