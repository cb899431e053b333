"""Volumes in run lengths of bytes (Amira's HxByteRLE): a table of where slices start lets each be read alone.

A count below 128 repeats the next byte, one above copies as many bytes, less 128, as follow it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Box, Triple
from mgsflow.errors import InputError
from mgsflow.readers.files import open_file, read_exactly
from mgsflow.readers.voxels import check_box

_CHUNK = 1 << 22


@dataclass(frozen=True, eq=False)
class RunLengthSource:
    """A volume of bytes in run lengths.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        Voxels along (z, y, x).
    dtype : dtype
        uint8.
    starts : ndarray of int64
        For each slice, and the end: the offset in the file of the run that holds its first voxel, and the voxels of
        that run that belong to slices before.
    end : int
        Offset after the last run.
    voxel_size : tuple of float or None
        (z, y, x) in µm.
    warnings : tuple of str
        See `mgsflow.readers.reader.Reader`.
    """

    path: Path
    shape: Triple
    dtype: np.dtype[Any]
    starts: np.ndarray = field(repr=False)
    end: int
    voxel_size: tuple[float, float, float] | None
    warnings: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    @property
    def grain(self) -> Triple:
        """Least box that is read without decoding its neighbours: a slice."""
        return (1, self.shape[1], self.shape[2])

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        return 3 * self.shape[1] * self.shape[2] + 1024  # a slice, and its runs, which at worst are twice as long

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box inside the volume."""
        check_box(box, self.shape, str(self.path))
        out = np.empty(box.shape, self.dtype)
        if not out.size:
            return out
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        plane = np.empty(self.shape[1:], np.uint8)
        with open_file(self.path) as file:
            for z in range(z0, z1):
                first, used = (int(v) for v in self.starts[z])
                last = min(int(self.starts[z + 1, 0]) + 129, self.end)
                runs = np.empty(last - first, np.uint8)
                read_exactly(file, first, runs)
                if _decode(runs, used, plane.reshape(-1)) != plane.size:
                    raise InputError(f"{self.path}: slice z={z}: its run lengths are damaged")
                out[z - z0] = plane[y0:y1, x0:x1]
        return out


def slice_starts(path: Path, offset: int, size: int, shape: Triple) -> np.ndarray:
    """Return where each slice starts, from one pass over the run lengths.

    Raises
    ------
    InputError
        If they hold fewer or more voxels than the volume has.
    """
    plane = shape[1] * shape[2]
    starts = np.zeros((shape[0] + 1, 2), np.int64)
    at, done = 0, 0
    with open_file(path) as file:
        while at < size and done < shape[0] * plane:
            chunk = np.empty(min(_CHUNK, size - at), np.uint8)
            read_exactly(file, offset + at, chunk)
            used, done = _index(chunk, at + chunk.size == size, offset + at, done, plane, starts)
            if used <= 0:
                break
            at += used
    if done != shape[0] * plane:
        raise InputError(
            f"{path}: its run lengths are damaged: they hold {done} voxels in {at} of {size} bytes, the header says "
            f"{shape[0] * plane}"
        )
    starts[-1] = (offset + size, 0)
    return starts


@njit(cache=True, nogil=True)
def _index(runs: np.ndarray, last: bool, base: int, done: int, plane: int, starts: np.ndarray) -> tuple[int, int]:
    """Note the slices that start in these runs; return the bytes that were used, and the voxels up to there."""
    i: Any = 0
    total = (starts.shape[0] - 1) * plane
    while i < runs.size and done < total:  # what follows the last voxel, a byte or two, counts for nothing
        count: Any = np.int64(runs[i])
        length = 2 if count < 128 else count - 127
        voxels = count if count < 128 else count - 128
        if i + length > runs.size:
            if last:
                return -1, done
            break
        z = -(-done // plane)
        while z * plane < done + voxels and z < starts.shape[0] - 1:
            starts[z, 0] = base + i
            starts[z, 1] = z * plane - done
            z += 1
        done += voxels
        i += length
    return i, done


@njit(cache=True, nogil=True)
def _decode(runs: np.ndarray, used: int, out: np.ndarray) -> int:
    """Fill `out` from runs, without the first `used` voxels; return how many were found."""
    i: Any = 0
    filled = 0
    while i < runs.size and filled < out.size:
        count: Any = np.int64(runs[i])
        repeat = count < 128
        if not repeat:
            count -= 128
        for k in range(used, count):
            if filled == out.size:
                break
            at = i + 1 + (0 if repeat else k)
            if at >= runs.size:
                return filled
            out[filled] = runs[at]
            filled += 1
        used = max(0, used - count)
        i += 2 if repeat else count + 1
    return filled
