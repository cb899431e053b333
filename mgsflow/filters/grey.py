"""Grey values in compiled loops: which dtypes filters take, how they are widened, rounded and folded at borders.

Integers of up to 16 bits and float32 are computed in float32, wider ones in float64. Results that go back to integers
are rounded half to even and clipped to the range of the dtype. A volume is handed to compiled code as one flat array
with the strides of its planes and rows, so that a cropped block needs neither a copy nor a second compilation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from mgsflow.errors import InputError

GREY_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")

# Bytes of the small objects of a call, array headers mostly, that an honest count of scratch includes.
OBJECTS = 8192


def check_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a grey dtype in native byte order, or raise `InputError`."""
    native = np.dtype(dtype).newbyteorder("=")
    if native.name not in GREY_DTYPES:
        raise InputError(f"filters take grey images of {', '.join(GREY_DTYPES)}, got dtype {np.dtype(dtype)}")
    return native


def grey_volume(array: np.ndarray) -> np.ndarray:
    """Return a (z, y, x) volume whose rows are contiguous: itself, or a copy where they are not.

    Raises
    ------
    InputError
        If the array does not have three axes, or its dtype is not one of `GREY_DTYPES`.
    """
    if array.ndim != 3:
        raise InputError(f"a filter works on a volume (z, y, x), got an array of shape {array.shape}")
    native = check_dtype(array.dtype)
    contiguous = array.shape[2] <= 1 or array.strides[2] == array.itemsize
    regular = all(s >= 0 and s % array.itemsize == 0 for s in array.strides[:2])
    if contiguous and regular and array.flags.aligned and array.dtype == native:
        return array
    return np.ascontiguousarray(array, dtype=native)


def flat_rows(array: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return a read-only flat view of a `grey_volume`'s memory, and its plane and row strides in elements."""
    sz, sy = (s // array.itemsize for s in array.strides[:2])
    nz, ny, nx = array.shape
    extent = (nz - 1) * sz + (ny - 1) * sy + nx
    flat = np.lib.stride_tricks.as_strided(array, (extent,), (array.itemsize,), writeable=False)
    return flat, sz, sy


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the float type that sums over values of this dtype are taken in."""
    narrow = dtype == np.float32 or (dtype.kind in "ui" and dtype.itemsize <= 2)
    return np.dtype(np.float32 if narrow else np.float64)


def limits(dtype: np.dtype[Any], float_type: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the least and the largest float of a type that a grey dtype can hold; infinite for floats."""
    scalar = float_type.type
    if dtype.kind == "f":
        return scalar(-np.inf), scalar(np.inf)
    info = np.iinfo(dtype)
    high = scalar(info.max)
    # 2³² − 1 in float32 is 2³², which would wrap round
    return scalar(info.min), high if float(high) <= info.max else np.nextafter(high, scalar(0))


@njit(cache=True, nogil=True)
def fold(i: int, n: int) -> int:
    """Return the voxel that index `i` means on an axis of `n`, mirrored about its edges (scipy's "reflect")."""
    if 0 <= i < n:
        return i
    m = i % (2 * n)
    return m if m < n else 2 * n - 1 - m


def widen(value: Any, like: Any) -> Any:
    """Return a grey value as the float type of `like`; compiled code only."""
    raise NotImplementedError


def widen_sum(a: Any, b: Any, like: Any) -> Any:
    """Return a + b in the float type of `like`; exact where both are integers of up to 16 bits."""
    raise NotImplementedError


def narrow(value: Any, low: Any, high: Any, out: Any) -> Any:
    """Return a float as a value for the array `out`: rounded half to even and clipped if it holds integers."""
    raise NotImplementedError


@overload(widen)
def _widen(value: Any, like: Any) -> Any:
    if like == types.float32:

        def single(value: Any, like: Any) -> Any:
            return np.float32(value)

        return single

    def double(value: Any, like: Any) -> Any:
        return np.float64(value)

    return double


@overload(widen_sum)
def _widen_sum(a: Any, b: Any, like: Any) -> Any:
    if like == types.float32 and isinstance(a, types.Integer):

        def integer(a: Any, b: Any, like: Any) -> Any:
            return np.float32(np.int32(np.int32(a) + np.int32(b)))

        return integer
    if like == types.float32:

        def single(a: Any, b: Any, like: Any) -> Any:
            return np.float32(a) + np.float32(b)

        return single

    def double(a: Any, b: Any, like: Any) -> Any:
        return np.float64(a) + np.float64(b)

    return double


@overload(narrow)
def _narrow(value: Any, low: Any, high: Any, out: Any) -> Any:
    if isinstance(out.dtype, types.Float):

        def floating(value: Any, low: Any, high: Any, out: Any) -> Any:
            return value

        return floating
    if out.dtype.bitwidth <= 16:

        def short(value: Any, low: Any, high: Any, out: Any) -> Any:
            v = np.rint(value)
            v = low if v < low else v
            v = high if v > high else v
            return np.int32(v)

        return short

    def long(value: Any, low: Any, high: Any, out: Any) -> Any:
        v = np.rint(value)
        v = low if v < low else v
        v = high if v > high else v
        return np.int64(v)

    return long
