"""A volume of TIFF slices, in one file or many."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Triple, triple
from mgsflow.errors import InputError
from mgsflow.readers.files import open_file
from mgsflow.readers.flat import Window, flat_scratch, read_flat
from mgsflow.readers.tiff.page import Page, open_tiff_file, read_window
from mgsflow.readers.voxels import check_box, check_declared, check_finite, delivered_dtype

_WHITE = (
    "0 is white in these TIFF files (MinIsWhite): values are taken as stored, so that what looks bright in a viewer "
    "has low values"
)


@dataclass(frozen=True, eq=False)
class TiffSource:
    """A volume of TIFF slices.

    It holds where each slice is, and opens files only to read. A slice that lies flat in its file is read at its
    offset, without parsing again; of another, the strips or tiles that cover the box are decoded.

    Parameters
    ----------
    folder : Path
    names : tuple of str
        Files, relative to the folder.
    shape : tuple of int
        Voxels along (z, y, x).
    stored, dtype : dtype
        As in the first file, and as delivered.
    voxel_size : tuple of float or None
        (z, y, x) in µm.
    grain : tuple of int
        Least box that is read without decoding its neighbours.
    segment : int
        Most bytes held to decode one strip or tile.
    file_of, ifd, offset : ndarray
        For each slice, the index of its file, its directory, and its first voxel (-1: to be decoded).
    warnings : tuple of str
        See `mgsflow.readers.reader.Reader`.
    """

    folder: Path
    names: tuple[str, ...] = field(repr=False)
    shape: Triple
    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    voxel_size: tuple[float, float, float] | None
    grain: Triple
    segment: int
    file_of: np.ndarray = field(repr=False)
    ifd: np.ndarray = field(repr=False)
    offset: np.ndarray = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file, in the order of slices."""
        return tuple(self.folder / name for name in self.names)

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        flat = flat_scratch(shape[1:], self.stored.itemsize)
        # a parsed directory lists every segment of its slice, as Python integers
        segments = -(-self.shape[1] // self.grain[1]) * -(-self.shape[2] // self.grain[2])
        return flat + (self.segment + 256 * segments if self.segment else 0)

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box inside the volume: C-contiguous, in native byte order."""
        check_box(box, self.shape, str(self.folder))
        out = np.empty(box.shape, self.dtype)
        if not out.size:
            return out
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        window = Window(self.shape[2], (y0, y1), (x0, x1))
        for (number, flat), slices in groupby(
            range(z0, z1), lambda z: (int(self.file_of[z]), bool(self.offset[z] >= 0))
        ):
            path = self.folder / self.names[number]
            with ExitStack() as stack:
                file = stack.enter_context(open_file(path)) if flat else None
                tif = None if flat else stack.enter_context(open_tiff_file(path))
                for z in slices:
                    where = f"{path}: slice z={z}"
                    if file is not None:
                        read_flat(file, int(self.offset[z]), window, self.stored, out[z - z0], where)
                    else:
                        read_window(tif, int(self.ifd[z]), window, out[z - z0], where)
                    check_finite(out[z - z0], where, (y0, x0))
        return out


def assemble(
    files: Sequence[Path],
    pages: Sequence[tuple[int, Page]],
    held: int,
    voxel_size: tuple[float, float, float] | None,
    where: str,
) -> TiffSource:
    """Return the volume whose slices are these pages, which must be alike.

    Parameters
    ----------
    files : sequence of Path
    pages : sequence of (int, Page)
        Index of the file, and the slice.
    held : int
        Bytes of all files.
    voxel_size : tuple of float or None
    where : str
        For messages.
    """
    first = pages[0][1]
    for z, (number, page) in enumerate(pages):
        if page.shape != first.shape or page.stored.newbyteorder("=") != first.stored.newbyteorder("="):
            differ = "size" if page.shape != first.shape else "type"
            names = (files[pages[0][0]].name, files[number].name)
            a, b = (f"{files[0].name} (slice 0)", f"slice {z}") if names[0] == names[1] else names
            raise InputError(
                f"{where}: slices differ in {differ}: {a} is {_size(first)}, {b} is {_size(page)}; all slices of a "
                "scan must be alike"
            )
    decoded = [page for _, page in pages if page.offset < 0]
    shape = (len(pages), *first.shape)
    check_declared(shape, first.stored.itemsize, held if decoded else None, where)
    # a slice of the other byte order is left to the decoder
    offset = [page.offset if page.stored == first.stored else -1 for _, page in pages]
    folder = files[0].parent
    rows, columns = zip(*(page.grain for _, page in pages))
    return TiffSource(
        folder=folder,
        names=tuple(path.name if path.parent == folder else str(path) for path in files),
        shape=shape,
        stored=first.stored,
        dtype=delivered_dtype(first.stored, where),
        voxel_size=voxel_size,
        grain=(1, max(rows), max(columns)),
        segment=_segment_bytes(decoded, offset, first),
        file_of=np.array([number for number, _ in pages], np.int32),
        ifd=np.array([page.ifd for _, page in pages], np.int64),
        offset=np.array(offset, np.int64),
        warnings=(_WHITE,) if any(page.zero_is_white for _, page in pages) else (),
    )


def concatenated(sources: Sequence[TiffSource], where: Path) -> TiffSource:
    """Return the volume of several, one after another along z, which must be alike."""
    first = sources[0]
    for source in sources[1:]:
        for what, a, b in (
            ("size", first.shape[1:], source.shape[1:]),
            ("type", first.stored, source.stored),
            ("voxel size", first.voxel_size, source.voxel_size),
        ):
            if a != b:
                raise InputError(
                    f"{where}: parts of a volume differ in {what}: {first.names[0]} has {a}, {source.names[0]} has "
                    f"{b}; if they are scans of their own, name one"
                )
    text = f"{len(sources)} TIFF files of many pages are put one after another as one volume"
    return replace(
        first,
        names=tuple(source.names[0] for source in sources),
        shape=(sum(source.shape[0] for source in sources), *first.shape[1:]),
        grain=triple([max(source.grain[i] for source in sources) for i in range(3)]),
        segment=max(source.segment for source in sources),
        file_of=np.concatenate([np.full(len(s.ifd), i, np.int32) for i, s in enumerate(sources)]),
        ifd=np.concatenate([source.ifd for source in sources]),
        offset=np.concatenate([source.offset for source in sources]),
        warnings=(text, *first.warnings),
    )


def _segment_bytes(decoded: Sequence[Page], offset: Sequence[int], first: Page) -> int:
    if decoded:
        return max(page.segment for page in decoded)
    # flat slices of the other byte order are decoded strip by strip; a strip may be the slice
    return 5 * first.shape[0] * first.shape[1] * first.stored.itemsize if min(offset) < 0 else 0


def _size(page: Page) -> str:
    return f"{page.shape[0]} × {page.shape[1]} {page.stored.name}"
