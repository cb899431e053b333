"""Opening files for reading, with errors that say which file, and reading exactly what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from mgsflow.errors import InputError, InputNotFound, MgsflowError
from mgsflow.readers.remote import RemotePath


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the system says about a file inside the block into errors that name it."""
    try:
        yield
    except (InputError, InputNotFound):
        raise
    except FileNotFoundError as error:
        raise InputNotFound(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def trusting(where: str, what: str) -> Iterator[None]:
    """Turn any failure of a library on damaged bytes, of whatever type, into an error that says what was damaged."""
    try:
        yield
    except MgsflowError:
        raise
    except Exception as error:
        raise InputError(f"{where}: {what} is damaged ({type(error).__name__}: {error})") from error


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file unbuffered."""
    with reading(path), path.open("rb", buffering=0) as file:
        yield cast(BinaryIO, file)


def file_size(path: Path) -> int:
    """Return the size of a file in bytes; an empty file is refused.

    Raises
    ------
    InputNotFound
        If there is no such file.
    InputError
        If it is a folder or is empty.
    """
    with reading(path):
        size = path.stat().st_size
    if not isinstance(path, RemotePath) and path.is_dir():  # an object that is there is a file
        raise InputError(f"{path}: is a folder, not a file")
    if size == 0:
        raise InputError(f"{path}: is empty (0 bytes)")
    return size


def read_exactly(file: BinaryIO, offset: int, out: np.ndarray) -> None:
    """Fill a C-contiguous array with the bytes that start at `offset`."""
    left = memoryview(out.reshape(-1).view(np.uint8).data)
    file.seek(offset)
    while left.nbytes:
        n = file.readinto(left)  # type: ignore[attr-defined]
        if not n:
            raise InputError(
                f"{getattr(file, 'name', 'file')}: ends {left.nbytes} bytes early; was it changed after it was opened?"
            )
        left = left[n:]
