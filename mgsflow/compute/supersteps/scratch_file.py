"""A file for arrays that do not fit in memory, which is gone when the process is, however it ends."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.errors import ComputeError

#: Room is given out in whole pages, so that arrays that grow a little stay in place.
PAGE = 4096


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of the file that belong to one array: where they begin, and how many there are room for."""

    start: int
    room: int


class ScratchFile:
    """A nameless file of arrays: its name is removed at once, so that the system frees it even after a SIGKILL.

    One file for all arrays of a process: the number of open files stays one. Not safe for threads on its own.

    Parameters
    ----------
    directory : path, optional
        Where to make it: fast, local disk (not a file system in memory). Default, the system's temporary directory.

    Raises
    ------
    ComputeError
        If no file can be made there, and later, if the disk is full.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self._where = str(directory or tempfile.gettempdir())
        try:
            self._file, name = tempfile.mkstemp(prefix="mgsflow-", suffix=".scratch", dir=self._where)
            os.unlink(name)
        except OSError as error:
            raise ComputeError(f"no scratch file can be made in {self._where}: {error.strerror}") from error
        self._end = 0
        self._free: dict[int, list[int]] = {}
        self.bytes_read = 0
        self.bytes_written = 0

    @property
    def size(self) -> int:
        """Bytes of disk that the file takes at most."""
        return self._end

    def write(self, array: np.ndarray, extent: Extent | None = None) -> Extent:
        """Store an array, in its old place if that is large enough, and return its place."""
        if extent is None or extent.room < array.nbytes:
            if extent is not None:
                self.free(extent)
            extent = self._take(array.nbytes)
        self.bytes_written += array.nbytes
        left, at = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, extent.start
        try:
            while left:
                done = os.pwrite(self._file, left, at)
                left, at = left[done:], at + done
        except OSError as error:
            raise ComputeError(
                f"scratch in {self._where} cannot be written ({error.strerror}): free {array.nbytes} bytes or more, "
                "or give another scratch directory"
            ) from error
        return extent

    def read(self, extent: Extent, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return the array that was stored at a place."""
        array = np.empty(shape, dtype)
        self.bytes_read += array.nbytes
        left, at = array.reshape(-1).view(np.uint8).data, extent.start
        while left:
            done = os.preadv(self._file, [left], at)
            if done == 0:
                raise ComputeError(f"scratch in {self._where} ends early: the file was cut short from outside")
            left, at = left[done:], at + done
        return array

    def free(self, extent: Extent) -> None:
        """Give room back to later arrays."""
        if extent.room:
            self._free.setdefault(extent.room, []).append(extent.start)

    def close(self) -> None:
        """Give the disk back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _take(self, nbytes: int) -> Extent:
        room = -(-nbytes // PAGE) * PAGE
        if self._free.get(room):
            return Extent(self._free[room].pop(), room)
        start = self._end
        self._end += room
        return Extent(start, room)
