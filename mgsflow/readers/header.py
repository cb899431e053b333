"""From the header of a file of the field to a volume: what all formats with raw or compressed voxels share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.blocks import triple
from mgsflow.errors import InputError
from mgsflow.readers.files import file_size, open_file
from mgsflow.readers.flat import FlatSource
from mgsflow.readers.stream import StreamSource
from mgsflow.readers.units import micrometres, size_or_none
from mgsflow.readers.voxels import check_declared, delivered_dtype

_SEQUENTIAL = "its voxels are one {} stream: every block decodes all before it; store it uncompressed to read it fast"


@dataclass(frozen=True)
class Header:
    """What a header says of the voxels that follow.

    Parameters
    ----------
    lengths : sequence of int
        Voxels along the stored axes, the fastest first, as headers have them; further axes must be of length one.
    stored : dtype
    data : Path
        File that holds the voxels.
    offset : int
        Bytes before them; -1 if they are the last bytes of the file.
    spacing : sequence of float or None
        Edges of a voxel along the same axes.
    unit : str or None
        Of the spacing; None where it is not stated.
    codec : str
        "" for raw voxels, else that of `StreamSource`.
    skip : int
        Decoded bytes before the first voxel.
    axes : tuple of str
        Names of the stored axes, the fastest first, where the header states them.
    warnings : tuple of str
    """

    lengths: Sequence[int]
    stored: np.dtype[Any]
    data: Path
    offset: int = 0
    spacing: Sequence[float] | None = None
    unit: str | None = None
    codec: str = ""
    skip: int = 0
    axes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def open_described(header: Header, where: str) -> FlatSource | StreamSource:
    """Return the volume that a header describes.

    Raises
    ------
    InputNotFound
        If the file of voxels is missing.
    InputError
        If it is no volume of grey values, or its voxels are not all there.
    """
    lengths = [int(n) for n in header.lengths]
    if len(lengths) < 3 or any(n != 1 for n in lengths[3:]):
        raise InputError(f"{where}: its header says {lengths} voxels; a volume has three axes")
    shape = triple(lengths[2::-1])
    delivered = delivered_dtype(header.stored, where)
    size = file_size(header.data)
    check_declared(shape, header.stored.itemsize, size if header.codec else None, where)
    needed = prod(shape) * header.stored.itemsize
    offset = size - needed if header.offset < 0 else header.offset
    voxel_size, warnings = spacing_of(header, where)
    axes = (header.axes[2::-1],) if header.axes else ()
    data = header.data.absolute()
    if header.codec:
        warnings.append(f"{where}: {_SEQUENTIAL.format(header.codec)}")
        return StreamSource(
            data, shape, header.stored, delivered, header.codec, offset, header.skip, voxel_size, axes, tuple(warnings)
        )
    if offset < 0 or size < offset + needed:
        raise InputError(
            f"{where}: truncated: {shape} voxels of {header.stored.name} need {max(offset, 0) + needed} bytes in "
            f"{header.data.name}, it has {size}"
        )
    return FlatSource(data, shape, header.stored, delivered, offset, "C", voxel_size, axes, tuple(warnings))


def spacing_of(header: Header, where: str) -> tuple[tuple[float, float, float] | None, list[str]]:
    """Return the edges of a voxel along the stored axes in µm, the slowest first, and the header's warnings.

    A spacing without a unit is not used, and a warning tells of it.
    """
    spacing = [abs(float(s)) for s in header.spacing][2::-1] if header.spacing is not None else []
    factor = micrometres(header.unit)
    voxel_size = size_or_none([s * factor for s in spacing]) if factor is not None else None
    warnings = list(header.warnings)
    if voxel_size is None and size_or_none(spacing) is not None:
        listed = " × ".join(f"{s:g}" for s in spacing)
        warnings.append(f"{where}: states voxels of {listed} (slowest axis first) without a unit of length: not used")
    return voxel_size, warnings


def text_before(path: Path, end: bytes, limit: int = 1 << 20) -> tuple[str, int]:
    """Return the text at the start of a file up to the end mark, and the offset after it."""
    with open_file(path) as file:
        start = bytearray()
        while (at := start.find(end)) < 0 and len(start) < limit and (more := file.read(1 << 14)):
            start += more
    if at < 0:
        raise InputError(f"{path}: its header is damaged, or it is of another format: it does not end in {end!r}")
    return start[:at].decode("utf-8", errors="replace"), at + len(end)


def beside(path: Path, name: str) -> Path:
    """Return the file of voxels that a header names, in the header's folder unless it says otherwise."""
    if not name.isprintable():
        raise InputError(f"{path}: its header is damaged: it names {name!r} as the file of its voxels")
    return path.parent / name


def rotated(directions: np.ndarray) -> tuple[str, ...]:
    """Return a warning where axes (rows) do not run along those of space."""
    matrix = np.abs(np.asarray(directions, float))
    if np.all(matrix - np.diag(np.diag(matrix)) <= 1e-3 * matrix.max(initial=0)):
        return ()
    return ("its header turns the axes in space: voxels are taken in the order of storage",)
