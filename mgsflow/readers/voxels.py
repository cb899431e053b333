"""Which volumes can be read, and how stored values become plain native ones.

Every format comes through here, so that the same file content gives the same array, or the same refusal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.errors import InputError

# A compressed file that claims more than this many times its own size is refused: deflate cannot exceed 1032, real
# tomograms stay under 20. Small volumes are let through, as a blank one may well compress that far.
_MOST_COMPRESSION = 2000
_HARMLESS = 1 << 28
_LARGEST = 1 << 44

_KINDS = {
    "c": "complex",
    "O": "Python object",
    "S": "text",
    "U": "text",
    "V": "structured",
    "M": "date",
    "m": "duration",
}
_READABLE = "uint8, int16, uint16, int32, uint32, float32 or float64"


def delivered_dtype(stored: np.dtype[Any], where: str) -> np.dtype[Any]:
    """Return the native dtype in which stored values are delivered.

    Types that no kernel takes are widened where that is exact (int8 to int16, float16 to float32). 64-bit integers
    are delivered as uint32, and a value that does not fit is refused when it is read: they are nearly always label
    images saved with the default integer. Booleans are delivered as uint8, 0 and 1.

    Raises
    ------
    InputError
        If the values are not real numbers, or are wider than 64 bits.
    """
    if stored.kind == "b":
        return np.dtype(np.uint8)
    if stored.kind in "iu":
        narrow: dict[tuple[str, int], type[np.generic]] = {("i", 1): np.int16, ("i", 8): np.uint32, ("u", 8): np.uint32}
        return np.dtype(narrow.get((stored.kind, stored.itemsize), stored.newbyteorder("=")))
    if stored.kind == "f" and stored.itemsize in (2, 4, 8):
        return np.dtype(np.float32) if stored.itemsize == 2 else stored.newbyteorder("=")
    what = _KINDS.get(stored.kind, "")
    raise InputError(
        f"{where}: voxels are {what + ' values of type ' if what else ''}{stored.name}, no grey value or label; "
        f"convert to {_READABLE}"
    )


def deliver(values: np.ndarray, out: np.ndarray, where: str) -> None:
    """Copy stored values of any byte order into a native array, or refuse what does not fit."""
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8 and values.size:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > np.iinfo(np.uint32).max:
            raise InputError(
                f"{where}: 64-bit values from {low} to {high} do not fit uint32 (0 to 4294967295); convert to "
                f"{_READABLE}"
            )
    if values.dtype.kind == "b":  # a file may hold any byte for true
        np.not_equal(values.view(np.uint8), 0, out=out)
        return
    np.copyto(out, values, casting="unsafe")


_nonfinite: ContextVar[bool] = ContextVar("nonfinite", default=False)


@contextmanager
def nonfinite_allowed() -> Iterator[None]:
    """Let readers deliver NaN and infinite values, in this thread: whoever reads looks at them."""
    token = _nonfinite.set(True)
    try:
        yield
    finally:
        _nonfinite.reset(token)


def check_finite(plane: np.ndarray, where: str, first: Sequence[int] = (0, 0), axes: str = "yx") -> None:
    """Refuse NaN and infinite values; the message names the first.

    Parameters
    ----------
    plane : ndarray
        Two-dimensional, of any dtype.
    where : str
        File and slice, for the message.
    first : sequence of int
        Indices of the plane's first voxel in the volume.
    axes : str
        Names of the plane's two axes.
    """
    if _nonfinite.get():
        return
    # min and max carry NaN and infinity, and need no scratch
    if plane.dtype.kind != "f" or not plane.size or (np.isfinite(plane.min()) and np.isfinite(plane.max())):
        return
    bad = ~np.isfinite(plane)
    i, j = (int(v) for v in np.unravel_index(int(np.argmax(bad)), plane.shape))
    raise InputError(
        f"{where}: value {plane[i, j]} at {axes[0]}={first[0] + i}, {axes[1]}={first[1] + j} is not a finite number "
        f"({int(bad.sum())} such in the part of the slice being read); replace them before ingesting"
    )


def check_box(box: Box, shape: Triple, where: str) -> None:
    """Refuse a box that is not inside the volume."""
    if not all(0 <= a <= b <= n for a, b, n in zip(box.start, box.stop, shape)):
        raise InputError(f"{where}: box {box.start} to {box.stop} is not inside the volume of shape {shape}")


def check_declared(shape: Sequence[int], itemsize: int, held: int | None, where: str) -> None:
    """Refuse a volume without voxels, or one that cannot be in the file that declares it.

    Parameters
    ----------
    shape : sequence of int
    itemsize : int
        Bytes of a voxel.
    held : int or None
        Bytes that the files hold where the voxels are compressed; None where the size was checked exactly.
    where : str
        For the message.
    """
    if any(n < 1 for n in shape):
        raise InputError(f"{where}: shape {tuple(shape)} has no voxels")
    size = prod(shape) * itemsize
    if size > _LARGEST:
        raise InputError(
            f"{where}: declares {size} bytes of voxels, more than the {_LARGEST} (16 TiB) that are allowed"
        )
    if held is not None and size > _HARMLESS and size > _MOST_COMPRESSION * held:
        raise InputError(
            f"{where}: declares {size} bytes of voxels but holds {held}, over {_MOST_COMPRESSION} times less: damaged, "
            "or made to exhaust memory; if it is real, store it uncompressed"
        )
