"""Boxes out of an uncompressed array that lies flat in a file: raw, NumPy, and most TIFF slices.

Rows are read at their offsets rather than through a memory map: pages that a map touches count as resident memory of
the worker until it is unmapped, which for a narrow box of a wide slice is many times the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.readers.files import open_file, read_exactly
from mgsflow.readers.voxels import check_box, check_finite, deliver

_BUFFER = 1 << 20
# Between the runs of a box that are further apart than this, reading on is slower than another call.
_GAP = 1 << 16
# Planes of a z-fastest file that are turned at once: enough for writes along x to fill cache lines.
_TURNED = 32


@dataclass(frozen=True, slots=True)
class Window:
    """Part of a plane: half-open ranges of its rows and columns, with the plane's full width."""

    width: int
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]


def read_flat(file: BinaryIO, offset: int, window: Window, stored: np.dtype[Any], out: np.ndarray, where: str) -> None:
    """Read a window of a plane that starts at `offset` into a native, C-contiguous array."""
    if stored.newbyteorder("=") == out.dtype:
        _read_rows(file, offset, window, out)
        if not stored.isnative:
            out.byteswap(inplace=True)
    else:
        values = np.empty(window.shape, stored)
        _read_rows(file, offset, window, values)
        deliver(values, out, where)


def _read_rows(file: BinaryIO, offset: int, window: Window, out: np.ndarray) -> None:
    (top, bottom), (left, right) = window.rows, window.columns
    item = out.dtype.itemsize
    row = window.width * item
    offset += top * row
    if right - left == window.width:
        read_exactly(file, offset, out)
    elif row - (right - left) * item > _GAP:
        for i in range(bottom - top):
            read_exactly(file, offset + i * row + left * item, out[i])
    else:
        step = min(bottom - top, max(1, _BUFFER // row))
        buffer = np.empty((step, window.width), out.dtype)
        for i in range(0, bottom - top, step):
            part = buffer[: min(step, bottom - top - i)]
            read_exactly(file, offset + i * row, part)
            out[i : i + len(part)] = part[:, left:right]


def flat_scratch(window: tuple[int, int], itemsize: int) -> int:
    """Return the most bytes that `read_flat` holds beside its result, for a window of this shape."""
    return 2 * _BUFFER + 2 * _GAP + prod(window) * itemsize


@dataclass(frozen=True)
class FlatSource:
    """A volume that fills a file from an offset to its end.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        Voxels along (z, y, x), whatever the order in the file.
    stored : dtype
        As it is in the file, with byte order.
    dtype : dtype
        As it is delivered.
    offset : int
        Bytes before the first voxel.
    order : {"C", "F"}
        "C": x varies fastest in the file, then y, then z. "F": z varies fastest, then y, then x.
    voxel_size : tuple of float or None
        (z, y, x) in µm.
    axes : tuple of tuple of str
        See `mgsflow.readers.reader.Reader`.
    warnings : tuple of str
        See `mgsflow.readers.reader.Reader`.
    """

    path: Path
    shape: Triple
    stored: np.dtype[Any]
    dtype: np.dtype[Any]
    offset: int = 0
    order: str = "C"
    voxel_size: tuple[float, float, float] | None = None
    axes: tuple[tuple[str, ...], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    @property
    def grain(self) -> Triple:
        """Least box that is read without reading its neighbours."""
        return (1, 1, self.shape[2]) if self.order == "C" else (self.shape[0], 1, 1)

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        z, y, x = shape
        if self.order == "C":
            return flat_scratch((y, x), self.stored.itemsize)
        return flat_scratch((y, z), self.stored.itemsize) + min(_TURNED, x) * y * z * self.dtype.itemsize

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box inside the volume: C-contiguous, in native byte order."""
        check_box(box, self.shape, str(self.path))
        out = np.empty(box.shape, self.dtype)
        if out.size:
            with open_file(self.path) as file:
                (self._read_z_planes if self.order == "C" else self._read_x_planes)(file, box, out)
        return out

    def _read_z_planes(self, file: BinaryIO, box: Box, out: np.ndarray) -> None:
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        plane = self.shape[1] * self.shape[2] * self.stored.itemsize
        window = Window(self.shape[2], (y0, y1), (x0, x1))
        for z in range(z0, z1):
            where = f"{self.path}: slice z={z}"
            read_flat(file, self.offset + z * plane, window, self.stored, out[z - z0], where)
            check_finite(out[z - z0], where, (y0, x0))

    def _read_x_planes(self, file: BinaryIO, box: Box, out: np.ndarray) -> None:
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        plane = self.shape[1] * self.shape[0] * self.stored.itemsize
        window = Window(self.shape[0], (y0, y1), (z0, z1))
        turned = np.empty((min(_TURNED, x1 - x0), *window.shape), self.dtype)
        for start in range(x0, x1, _TURNED):
            stop = min(x1, start + _TURNED)
            for x in range(start, stop):
                where = f"{self.path}: plane x={x}"
                read_flat(file, self.offset + x * plane, window, self.stored, turned[x - start], where)
                check_finite(turned[x - start], where, (y0, z0), "yz")
            out[:, :, start - x0 : stop - x0] = turned[: stop - start].transpose(2, 1, 0)
