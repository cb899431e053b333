"""Where the arrays of a solver's blocks are: all in memory, or on local disk with a bounded part of them in memory.

A block reaches its arrays through a `BlockArrays` by name, for the time of one call, and says which of them it
changes. So a store may move the arrays of other blocks out meanwhile, and writes back only what was changed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.compute.supersteps.scratch_file import Extent, ScratchFile
from mgsflow.errors import DoesNotFit
from mgsflow.memory import format_bytes


class BlockArrays(Protocol):
    """The arrays of one block, by name."""

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an array to be read; what is written into it may be lost."""
        ...

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        """Store an array, which is the store's from now on."""
        ...

    def __delitem__(self, name: str) -> None:
        """Drop an array."""
        ...

    def __contains__(self, name: object) -> bool:
        """Tell whether there is an array of this name."""
        ...

    def edit(self, name: str) -> np.ndarray:
        """Return an array to be changed in place, for the time of this call."""
        ...


@dataclass(frozen=True)
class StoreCounts:
    """Bytes of a store.

    Attributes
    ----------
    total : int
        Bytes of all arrays.
    held, peak : int
        Bytes in memory now, and the most there were.
    disk : int
        Bytes of scratch.
    read, written : int
        Bytes moved from and to scratch so far.
    """

    total: int
    held: int
    peak: int
    disk: int = 0
    read: int = 0
    written: int = 0


class BlockStore(Protocol):
    """Keeps the arrays of many blocks. Safe for threads that work on different blocks."""

    def arrays(self, index: Triple) -> BlockArrays:
        """Return the arrays of a block, empty at first."""
        ...

    def use(self, index: Triple) -> Any:
        """Return a context in which the arrays that a block touches stay in memory."""
        ...

    def counts(self) -> StoreCounts:
        """Return how many bytes there are, and where."""
        ...

    def close(self) -> None:
        """Drop everything."""
        ...


def open_store(budget: int | None = None, directory: str | Path | None = None) -> BlockStore:
    """Return a store in memory, or one that holds at most `budget` bytes there and the rest in scratch."""
    return MemoryStore() if budget is None else DiskStore(budget, directory)


class _Held(dict[str, np.ndarray]):
    """Arrays in memory: reading and changing are the same."""

    def edit(self, name: str) -> np.ndarray:
        return self[name]


class MemoryStore:
    """All arrays in memory."""

    def __init__(self) -> None:
        self._blocks: dict[Triple, _Held] = {}

    def arrays(self, index: Triple) -> BlockArrays:
        """Return the arrays of a block."""
        return self._blocks.setdefault(index, _Held())

    @contextmanager
    def use(self, index: Triple) -> Iterator[None]:
        """Return a context for a call on a block."""
        yield

    def counts(self) -> StoreCounts:
        """Return how many bytes there are."""
        total = sum(a.nbytes for block in list(self._blocks.values()) for a in list(block.values()))
        return StoreCounts(total, total, total)

    def close(self) -> None:
        """Drop everything."""
        self._blocks.clear()


@dataclass
class _Entry:
    """One array: its value where it is in memory, and its place where it is (also) on disk."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    nbytes: int
    value: np.ndarray | None
    extent: Extent | None = None
    dirty: bool = True


class DiskStore:
    """Arrays in a scratch file, and as many of them in memory as a budget allows, the latest used.

    Parameters
    ----------
    budget : int
        Most bytes of arrays in memory. What a block touches in one call must fit, times the threads that work.
    directory : path, optional
        Where the scratch file is made.

    Notes
    -----
    An array is read when a call first touches it, and stays at least until the call ends. It is written when its
    room is wanted, and only if it was changed since. Blocks that are visited to and fro (see `BlockHost`) find what
    fits in the budget in memory.
    """

    def __init__(self, budget: int, directory: str | Path | None = None) -> None:
        self.budget = int(budget)
        self._scratch = ScratchFile(directory)
        self._blocks: dict[Triple, dict[str, _Entry]] = {}
        #: arrays in memory, those not used for longest first
        self._order: OrderedDict[tuple[Triple, str], None] = OrderedDict()
        self._pinned: dict[Triple, int] = {}
        self._held = self._peak = 0
        self._lock = threading.RLock()

    def arrays(self, index: Triple) -> BlockArrays:
        """Return the arrays of a block."""
        self._blocks.setdefault(index, {})
        return _Spilled(self, index)

    @contextmanager
    def use(self, index: Triple) -> Iterator[None]:
        """Return a context in which the arrays that a block touches stay in memory."""
        with self._lock:
            self._pinned[index] = self._pinned.get(index, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._pinned[index] -= 1
                if not self._pinned[index]:
                    del self._pinned[index]

    def counts(self) -> StoreCounts:
        """Return how many bytes there are, and where."""
        with self._lock:
            total = sum(entry.nbytes for block in self._blocks.values() for entry in block.values())
            scratch = self._scratch
            return StoreCounts(total, self._held, self._peak, scratch.size, scratch.bytes_read, scratch.bytes_written)

    def close(self) -> None:
        """Drop everything, and give the disk back."""
        with self._lock:
            self._blocks.clear()
            self._order.clear()
            self._held = 0
            self._scratch.close()

    def get(self, index: Triple, name: str, change: bool) -> np.ndarray:
        """Return an array of a block, read from scratch if it is not in memory."""
        with self._lock:
            entry = self._blocks[index][name]
            if entry.value is None:
                assert entry.extent is not None
                self._make_room(entry.nbytes, index, name)
                entry.value = self._scratch.read(entry.extent, entry.shape, entry.dtype)
                entry.dirty = False
                self._hold(entry.nbytes)
            self._order[index, name] = None
            self._order.move_to_end((index, name))
            entry.dirty = entry.dirty or change
            return entry.value

    def put(self, index: Triple, name: str, array: np.ndarray) -> None:
        """Store an array of a block, instead of what was there."""
        array = np.ascontiguousarray(array)
        with self._lock:
            old = self._blocks[index].get(name)
            extent = None
            if old is not None:
                extent = old.extent
                self._forget(index, name, old)
            self._make_room(array.nbytes, index, name)
            self._blocks[index][name] = _Entry(array.shape, array.dtype, array.nbytes, array, extent)
            self._order[index, name] = None
            self._hold(array.nbytes)

    def drop(self, index: Triple, name: str) -> None:
        """Remove an array of a block."""
        with self._lock:
            entry = self._blocks[index].pop(name)
            self._forget(index, name, entry)
            if entry.extent is not None:
                self._scratch.free(entry.extent)

    def has(self, index: Triple, name: object) -> bool:
        """Tell whether a block has an array of this name."""
        return name in self._blocks[index]

    def _forget(self, index: Triple, name: str, entry: _Entry) -> None:
        if entry.value is not None:
            self._held -= entry.nbytes
            self._order.pop((index, name), None)
            entry.value = None

    def _hold(self, nbytes: int) -> None:
        self._held += nbytes
        self._peak = max(self._peak, self._held)

    def _make_room(self, nbytes: int, index: Triple, name: str) -> None:
        for key in list(self._order):
            if self._held + nbytes <= self.budget:
                return
            owner, other = key
            if owner in self._pinned or owner == index:
                continue
            entry = self._blocks[owner][other]
            if entry.dirty:
                assert entry.value is not None
                entry.extent = self._scratch.write(entry.value, entry.extent)
                entry.dirty = False
            self._forget(owner, other, entry)
        if self._held + nbytes > self.budget:
            raise DoesNotFit(
                f"the arrays that are used at once do not fit in {format_bytes(self.budget)} of memory: "
                f"{format_bytes(self._held)} are in use and {name!r} of block {index} needs {format_bytes(nbytes)}; "
                "use smaller blocks, fewer threads or a larger budget"
            )


@dataclass(frozen=True)
class _Spilled:
    """The arrays of one block in a `DiskStore`."""

    store: DiskStore
    index: Triple

    def __getitem__(self, name: str) -> np.ndarray:
        return self.store.get(self.index, name, change=False)

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        self.store.put(self.index, name, array)

    def __delitem__(self, name: str) -> None:
        self.store.drop(self.index, name)

    def __contains__(self, name: object) -> bool:
        return self.store.has(self.index, name)

    def edit(self, name: str) -> np.ndarray:
        return self.store.get(self.index, name, change=True)
