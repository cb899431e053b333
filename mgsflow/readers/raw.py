"""Raw files: voxels without a description, so that shape and type must be given."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.blocks import triple
from mgsflow.errors import InputError
from mgsflow.readers.files import file_size
from mgsflow.readers.flat import FlatSource
from mgsflow.readers.voxels import check_declared, delivered_dtype

PATTERNS = ("*.raw", "*.bin", "*.dat", "*.vol")


def open_raw(
    path: Path,
    *,
    shape: int | Sequence[int] | None = None,
    dtype: str | np.dtype[Any] | None = None,
    order: str = "C",
    offset: int = 0,
) -> FlatSource:
    """Open a raw file.

    Parameters
    ----------
    path : Path
    shape : three int
        Voxels along (z, y, x), whatever the order in the file.
    dtype : str or dtype
        Such as ``"uint16"`` (little-endian on common machines) or ``">u2"`` (big-endian).
    order : {"C", "F"}
        "C": x varies fastest in the file, then y, then z (slice after slice: what ImageJ and Avizo write).
        "F": z varies fastest, then y, then x.
    offset : int
        Bytes of the header before the first voxel.

    Raises
    ------
    InputNotFound
        If there is no such file.
    InputError
        If an option is missing or wrong, or the file has not exactly the size that the options say.
    """
    size = file_size(path)
    if shape is None or dtype is None:
        raise InputError(
            f"{path}: a raw file needs shape=[z, y, x] and dtype, such as shape=[512, 512, 512], dtype='uint16'"
        )
    try:
        stored = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: dtype must be a type such as 'uint8', 'uint16' or '>u2', got {dtype!r}") from error
    delivered = delivered_dtype(stored, str(path))
    try:
        zyx = triple(shape)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: shape must be three integers (z, y, x), got {shape!r}") from error
    if order not in ("C", "F"):
        raise InputError(f"{path}: order must be 'C' (x fastest) or 'F' (z fastest), got {order!r}")
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise InputError(f"{path}: offset must be a number of bytes, 0 or more, got {offset!r}")
    check_declared(zyx, stored.itemsize, None, str(path))
    expected = prod(zyx) * stored.itemsize + offset
    if size != expected:
        z, y, x = zyx
        raise InputError(
            f"{path}: shape {zyx} of {stored.name} needs {z} × {y} × {x} × {stored.itemsize} + {offset} = {expected} "
            f"bytes, the file has {size}; {_advice(size, zyx, stored.itemsize, offset)}"
        )
    return FlatSource(path.absolute(), zyx, stored, delivered, offset, order)


def _advice(size: int, shape: tuple[int, int, int], itemsize: int, offset: int) -> str:
    _, y, x = shape
    fits = []
    length, rest = divmod(size - offset, y * x * itemsize)
    if length > 0 and not rest:
        fits.append(f"shape ({length}, {y}, {x})")
    header = size - prod(shape) * itemsize
    if 0 < header <= 1 << 16:
        fits.append(f"offset {header}")
    voxel, rest = divmod(size - offset, prod(shape))
    if not rest and voxel in (1, 2, 4, 8):
        fits.append(f"a type of {voxel} bytes")
    return f"{' or '.join(fits)} would fit" if fits else "no number of slices of this size fits: check all four"
