"""NumPy .npy files."""

from __future__ import annotations

from math import prod
from pathlib import Path
from tokenize import TokenError

from numpy.lib import format as npy_format

from mgsflow.blocks import triple
from mgsflow.errors import InputError
from mgsflow.readers.files import file_size, reading
from mgsflow.readers.flat import FlatSource
from mgsflow.readers.voxels import check_declared, delivered_dtype

PATTERNS = ("*.npy",)


def open_npy(path: Path) -> FlatSource:
    """Open a .npy file that holds a three-dimensional array (z, y, x), in C or Fortran order.

    Only the header is parsed, as literals; nothing is ever unpickled.

    Raises
    ------
    InputNotFound
        If there is no such file.
    InputError
        If it is no .npy file, is truncated, or holds no three-dimensional array of real numbers.
    """
    size = file_size(path)
    try:
        with reading(path), path.open("rb") as file:
            version = npy_format.read_magic(file)
            read_header = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
            if version not in read_header:
                raise InputError(f"{path}: .npy version {version} holds structured data, not voxels")
            shape, fortran, stored = read_header[version](file)
            offset = file.tell()
    except InputError:
        raise
    except (ValueError, TypeError, OverflowError, SyntaxError, TokenError) as error:
        raise InputError(f"{path}: is not a .npy file, or its header is damaged ({error})") from error
    delivered = delivered_dtype(stored, str(path))
    if len(shape) != 3:
        raise InputError(f"{path}: holds an array of shape {shape}; a volume has three axes (z, y, x)")
    check_declared(shape, stored.itemsize, None, str(path))
    expected = prod(shape) * stored.itemsize + offset
    if size < expected:
        raise InputError(
            f"{path}: truncated: shape {shape} of {stored.name} needs {expected} bytes, the file has {size}"
        )
    return FlatSource(path.absolute(), triple(shape), stored, delivered, offset, "F" if fortran else "C")
