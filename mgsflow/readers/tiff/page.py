"""One slice in a TIFF file: where it is, whether it is all there, and a window of it.

A TIFF file is a chain of directories (IFDs), one an image. The image is cut into segments, strips of rows or tiles,
each with its own offset and compression.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from mgsflow.errors import InputError, MgsflowError
from mgsflow.readers.files import open_file, reading, trusting
from mgsflow.readers.flat import Window
from mgsflow.readers.remote import RemotePath
from mgsflow.readers.voxels import deliver, delivered_dtype

# Lossless compressions of bytes, whose decoders stop at the size that the file declares. Image codecs (JPEG and its
# kin) are left out: they alter grey values, and carry a size of their own.
_COMPRESSIONS = {
    1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard",
}  # fmt: skip
_MIN_IS_WHITE, _PALETTE = 0, 3
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True, slots=True)
class Page:
    """What a slice's directory says.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    stored : dtype
        As it is in the file, with byte order.
    ifd : int
        Offset of the directory.
    offset : int
        Offset of the first voxel where the slice lies flat in the file, uncompressed; -1 where it must be decoded.
    grain : tuple of int
        Rows and columns of the least part that can be read alone.
    segment : int
        Bytes that are held to decode one segment; 0 where the slice lies flat.
    zero_is_white : bool
        Whether viewers show low values bright (MinIsWhite).
    """

    shape: tuple[int, int]
    stored: np.dtype[Any]
    ifd: int
    offset: int
    grain: tuple[int, int]
    segment: int
    zero_is_white: bool = False


@contextmanager
def open_tiff_file(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file and its first directory; errors name the file."""
    with reading(path):
        try:
            if isinstance(path, RemotePath):  # other files that its OME header may name would be looked for here
                tif = tifffile.TiffFile(path.open("rb"), name=path.name, _multifile=False)
            else:
                tif = tifffile.TiffFile(path)
        except (OSError, MgsflowError):
            raise
        except Exception as error:  # tifffile raises whatever the damaged bytes lead to
            raise InputError(f"{path}: is not a TIFF file, or is damaged ({error})") from error
        with tif:
            yield tif


def directories(path: Path, size: int) -> list[int]:
    """Return the offsets of a file's directories, in order.

    The chain is walked here because a library that meets its broken end takes the file for a shorter one.

    Raises
    ------
    InputError
        If the file is no TIFF file, or the chain leaves the file or returns into itself.
    """
    with open_file(path) as file:

        def take(at: int, count: int) -> bytes:
            if at + count > size:
                raise InputError(f"{path}: truncated: a directory at byte {at} is beyond the file's end at {size}")
            file.seek(at)
            return file.read(count)

        def number(at: int, form: str) -> int:
            return int(struct.unpack(form, take(at, struct.calcsize(form)))[0])

        start = file.read(4)
        order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
        version = int.from_bytes(start[2:4], "little" if order == "<" else "big")
        if not order or version not in (42, 43):
            raise InputError(f"{path}: is not a TIFF file (it starts with {start!r})")
        first, count, entry, link = (4, "H", 12, "I") if version == 42 else (8, "Q", 20, "Q")
        found: dict[int, None] = {}
        at = number(first, order + link)
        while at:
            if at in found:
                raise InputError(f"{path}: damaged: its chain of directories returns to {at}")
            found[at] = None
            entries = number(at, order + count)
            at += struct.calcsize(order + count)
            for tag, kind, length, value in struct.iter_unpack(f"{order}HH{2 * link}", take(at, entries * entry)):
                held = _TYPE_BYTES.get(kind, 0) * length
                # tags of private use may hold anything
                if held > struct.calcsize(link) and value + held > size and tag < 32768:
                    raise InputError(
                        f"{path}: truncated: tag {tag} of a directory at byte {at} is beyond the file's end at {size}"
                    )
            at = number(at + entries * entry, order + link)
    if not found:
        raise InputError(f"{path}: holds no image")
    return list(found)


def _parse(tif: tifffile.TiffFile, ifd: int) -> tifffile.TiffPage:
    tif.filehandle.seek(ifd)
    return tifffile.TiffPage(tif, 0)


def describe(tif: tifffile.TiffFile, ifd: int, size: int, where: str) -> Page:
    """Check one slice's directory against the file, without reading voxels.

    Raises
    ------
    InputError
        If it is no plain grey image, uses a compression that is not read, or its data is not all in the file.
    """
    with trusting(where, "its TIFF directory"):
        return _described(tif, ifd, size, where)


def _described(tif: tifffile.TiffFile, ifd: int, size: int, where: str) -> Page:
    page = _parse(tif, ifd)
    samples = page.samplesperpixel
    if page.photometric == _PALETTE:
        raise InputError(f"{where}: is a palette image, whose values are colours, not grey levels; convert it to grey")
    if samples != 1:
        raise InputError(f"{where}: has {samples} samples a pixel (RGB or several channels); convert it to grey")
    if page.imagedepth != 1 or len(page.shape) != 2:
        raise InputError(f"{where}: is not a two-dimensional image but {page.shape}")
    if page.dtype is None:
        raise InputError(
            f"{where}: voxels of {page.bitspersample} bits, sample format {int(page.sampleformat)}, are not known"
        )
    stored = page.dtype.newbyteorder(tif.byteorder)
    delivered_dtype(stored, where)
    if int(page.compression) not in _COMPRESSIONS:
        known = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise InputError(f"{where}: compression {_name(page.compression)} is not read, only {known}; convert it")
    offsets, counts = page.dataoffsets, page.databytecounts
    flat = bool(page.is_final)
    _check_segments(page, offsets, counts, size, where)
    height, width = page.shape
    white = page.photometric == _MIN_IS_WHITE
    if flat and page.bitspersample == 8 * stored.itemsize:
        return Page((height, width), stored, ifd, int(offsets[0]), (1, width), 0, white)
    rows, columns = _segment_shape(page)
    held = 3 * rows * columns * stored.itemsize + 2 * max(counts)
    return Page((height, width), stored, ifd, -1, (min(rows, height), min(columns, width)), held, white)


def _name(compression: int) -> str:
    return getattr(compression, "name", str(int(compression)))


def _segment_shape(page: tifffile.TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _segment_grid(page: tifffile.TiffPage) -> tuple[int, int]:
    rows, columns = _segment_shape(page)
    return ceil(page.imagelength / rows), ceil(page.imagewidth / columns)


def _check_segments(
    page: tifffile.TiffPage, offsets: tuple[int, ...], counts: tuple[int, ...], size: int, where: str
) -> None:
    kind = "tile" if page.is_tiled else "strip"
    if min(_segment_shape(page), default=0) < 1:
        raise InputError(f"{where}: declares {kind}s without voxels")
    needed = prod(_segment_grid(page))
    if page.is_final and len(offsets) == 1:
        needed = 1  # some writers say one row a strip and store a single one
    if len(offsets) != needed or len(counts) != needed:
        raise InputError(f"{where}: needs {needed} {kind}s but lists {len(offsets)}: damaged")
    for i, (offset, count) in enumerate(zip(offsets, counts)):
        if offset + count > size:
            raise InputError(
                f"{where}: truncated: {kind} {i} of {needed} ends at byte {offset + count}, the file at {size}"
            )
        if count < 1 or offset < 1:
            raise InputError(f"{where}: {kind} {i} of {needed} holds no data: it was not written to its end")
    if int(page.compression) == 1:
        rows, columns = (page.imagelength, page.imagewidth) if not page.is_tiled else _segment_shape(page)
        whole = ceil(columns * page.bitspersample / 8) * rows * (needed if page.is_tiled else 1)
        if sum(counts) < whole:
            raise InputError(f"{where}: truncated: its {kind}s hold {sum(counts)} bytes of {whole}")


def read_window(tif: tifffile.TiffFile, ifd: int, window: Window, out: np.ndarray, where: str) -> None:
    """Decode the segments that cover a window, into a native array of the window's shape."""
    with trusting(where, "its TIFF directory"):
        page = _parse(tif, ifd)
    (top, bottom), (left, right) = window.rows, window.columns
    rows, columns = _segment_shape(page)
    across = _segment_grid(page)[1]
    for i in range(top // rows, ceil(bottom / rows)):
        for j in range(left // columns, ceil(right / columns)):
            tile = _segment(tif, page, i * across + j, where)
            y, x = i * rows, j * columns
            y0, y1 = max(top, y), min(bottom, y + tile.shape[0])
            x0, x1 = max(left, x), min(right, x + tile.shape[1])
            deliver(tile[y0 - y : y1 - y, x0 - x : x1 - x], out[y0 - top : y1 - top, x0 - left : x1 - left], where)


def _segment(tif: tifffile.TiffFile, page: tifffile.TiffPage, index: int, where: str) -> np.ndarray:
    kind = "tile" if page.is_tiled else "strip"
    with trusting(where, f"{kind} {index}"):
        tif.filehandle.seek(page.dataoffsets[index])
        data = tif.filehandle.read(page.databytecounts[index])
        decoded, _, shape = page.decode(data, index)
        return np.asarray(decoded).reshape(shape[1], shape[2])
