"""Toy kernels, reductions, sources and sinks, each with an answer that scipy or numpy gives of the whole array."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from mgsflow.blocks import Block, Box


@dataclass(frozen=True)
class BoxSum:
    """Sum over a box of 2·reach + 1 voxels along each axis, mirrored at the borders; exact in integers."""

    reach: tuple[int, int, int]

    @property
    def halo(self) -> tuple[int, int, int]:
        return self.reach

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(np.int64)

    def scratch(self, shape: Any, dtype: Any) -> int:
        return 0

    def __call__(self, array: np.ndarray, origin: Any = (0, 0, 0)) -> np.ndarray:
        out = array.astype(np.int64)
        for axis, r in enumerate(self.reach):
            out = ndimage.correlate1d(out, np.ones(2 * r + 1, np.int64), axis, mode="reflect")
        return out


@dataclass(frozen=True)
class Liar(BoxSum):
    """Reaches farther than it says."""

    @property
    def halo(self) -> tuple[int, int, int]:
        z, y, x = self.reach
        return z, y, max(0, x - 1)


@dataclass(frozen=True)
class Place:
    """Adds to each voxel a number that depends on where it is in the scan."""

    halo: ClassVar[tuple[int, int, int]] = (0, 0, 0)

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return dtype

    def scratch(self, shape: Any, dtype: Any) -> int:
        return 0

    def __call__(self, array: np.ndarray, origin: Any = (0, 0, 0)) -> np.ndarray:
        z, y, x = (np.arange(n) + o for n, o in zip(array.shape, origin))
        return array + (z[:, None, None] * 7 + y[:, None] * 3 + x).astype(array.dtype)


@dataclass(frozen=True)
class Steps:
    """Sum of |a[z+1] - a[z-1]| + the same along y and x, over voxels that have such neighbours: reads one beyond."""

    name: ClassVar[str] = "steps"
    halo: ClassVar[tuple[int, int, int]] = (1, 1, 1)

    def record(self, largest: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
        return (3,), np.dtype(np.int64)

    def scratch(self, shape: Any, dtype: Any) -> int:
        return 0

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        assert array.shape == block.outer.shape
        out = np.zeros(3, np.int64)
        for axis in range(3):
            a = np.moveaxis(array.astype(np.int64), axis, 0)
            change = np.zeros_like(a)
            change[1:-1] = np.abs(a[2:] - a[:-2])
            out[axis] = np.moveaxis(change, 0, axis)[block.trim].sum()
        return out

    @staticmethod
    def whole(a: np.ndarray) -> list[int]:
        a = a.astype(np.int64)
        return [
            int(np.abs(a[2:] - a[:-2]).sum()),
            int(np.abs(a[:, 2:] - a[:, :-2]).sum()),
            int(np.abs(a[:, :, 2:] - a[:, :, :-2]).sum()),
        ]


@dataclass
class Held:
    """An array as a source and a sink."""

    array: np.ndarray
    chunk: tuple[int, int, int] = (4, 4, 4)
    reads: list[Box] = field(default_factory=list)

    @property
    def shape(self) -> Any:
        return self.array.shape

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def scratch(self, shape: Any) -> int:
        return 0

    def read(self, box: Box) -> np.ndarray:
        self.reads.append(box)
        return self.array[box.slices].copy()

    def write(self, box: Box, array: np.ndarray) -> None:
        self.array[box.slices] = array


@dataclass
class Kept:
    """Records in memory."""

    found: dict[Any, np.ndarray] = field(default_factory=dict)

    def write(self, index: Any, record: np.ndarray) -> None:
        assert index not in self.found
        self.found[index] = record


def square(n: int) -> int:
    return n * n


def refuse(n: int) -> int:
    from mgsflow.errors import InputError

    if n == 5:
        raise InputError("five is refused: take another")
    return n


def die_once(job: tuple[str, int]) -> int:
    """Kill the process that works on item 3, the first time."""
    flag, n = job
    if n == 3:
        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return n * n
        os.kill(os.getpid(), 9)
    return n * n


def die(n: int) -> int:
    """Kill the process that works on item 3, always."""
    if n == 3:
        os.kill(os.getpid(), 9)
    return n


def noted(job: tuple[str, int]) -> int:
    """Leave a file that tells which item was worked on, and by which process."""
    import time

    folder, n = job
    with open(os.path.join(folder, f"{n}"), "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.05)
    return n
