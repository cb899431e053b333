"""Which blocks of a step are finished, and of what: so that a run that was stopped continues where it was.

A step's flags are one small zarr array (scan, block_z, block_y, block_x), written only by the driver, after the
block itself is stored: a crash in between costs that block a second time, never a hole. A key says what the flags
stand for (inputs, parameters, code); under another key all blocks are to be done again. Beside the flags are the stamps
of the shards that were written (`mgsflow.store.shards`): one array for each volume, written before the flags.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from mgsflow.blocks import Grid, Triple, triple
from mgsflow.compute.checked_store import CHECKSUM
from mgsflow.store.remote import drop
from mgsflow.store.schema import BLOCK_DIMS, attributes, note
from mgsflow.store.shards import Shard

#: Seconds of finished work that a crash may cost.
FLUSH_EVERY = 0.5


class Ledger:
    """The finished blocks of one step on one scan.

    Parameters
    ----------
    group : zarr.Group
        The specimen's ``blocks`` group.
    step : str
        Name of the step.
    scan : int
        Position of the scan.
    name : str
        Name of the scan.
    grid : Grid
        The scan's blocks.
    shape : tuple of int
        Number of scans, and of blocks along each axis for the largest scan.
    """

    def __init__(self, group: zarr.Group, step: str, scan: int, name: str, grid: Grid, shape: Sequence[int]) -> None:
        self.step, self.scan, self.name, self.grid = step, scan, name, grid
        self._group = group
        self._array = _block_array(group, f"done_{step}", "uint8", tuple(shape))
        z, y, x = grid.counts
        self._within = (scan, slice(0, z), slice(0, y), slice(0, x))
        try:
            self._done = np.asarray(self._array[self._within]).astype(bool)
        except (ValueError, RuntimeError):  # flags that are damaged say nothing: the blocks are done again
            self._done = np.zeros(grid.counts, bool)
            if not group.read_only:
                drop(group, f"{self._array.path}/c/{scan}")
        self._stamps: dict[str, np.ndarray] = {}
        self._flushed = time.monotonic()

    @property
    def key(self) -> str | None:
        """What the flags stand for, or None if the step never began."""
        keys: dict[str, dict[str, str]] = attributes(self._group).get("keys", {})
        return keys.get(self.step, {}).get(self.name)

    def pending(self, key: str) -> list[Triple]:
        """Return the blocks that are not finished under this key, in C order."""
        if self.key != key:
            return [triple(i) for i in np.ndindex(self.grid.counts)]
        return [triple([int(k) for k in i]) for i in np.argwhere(~self._done)]

    def begin(self, key: str, writes: Sequence[str] = ()) -> list[Triple]:
        """Start or continue the step under a key, and return the blocks that are to be done."""
        if self.key != key:
            # flags first: whatever is cut off here, old flags never stand under the new key
            self._done[...] = False
            self.flush()
            for path in writes:
                name = stamps_name(self._group, path)
                if name in self._group:
                    drop(self._group, f"{_array(self._group, name).path}/c/{self.scan}")
            ours = attributes(self._group)  # from the store: another ledger of this run may have added to it
            for what, value in (("keys", key), ("totals", len(self.grid))):
                ours.setdefault(what, {}).setdefault(self.step, {})[self.name] = value
            written = ours.setdefault("writes", {})
            written[self.step] = sorted({*written.get(self.step, ()), *writes})
            for step, paths in written.items():  # another step's blocks in the same arrays are no more
                if step != self.step and not set(paths).isdisjoint(writes):
                    ours["keys"].get(step, {}).pop(self.name, None)
            note(self._group, ours)
        return self.pending(key)

    def finish(self, index: Triple, shards: Sequence[Shard] = ()) -> None:
        """Note that a block is stored, and the shards that were written for it, as far as they are known."""
        self._done[index] = True
        for shard in shards:
            self._stamps_of(shard.path)[shard.index[1:]] = shard.stamp
        if time.monotonic() - self._flushed > FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write the stamps, then the flags."""
        for path, stamps in self._stamps.items():
            _array(self._group, stamps_name(self._group, path))[self.scan] = stamps
        self._array[self._within] = self._done.astype(np.uint8)
        self._flushed = time.monotonic()

    def _stamps_of(self, path: str) -> np.ndarray:
        if path not in self._stamps:
            array = _block_array(self._group, stamps_name(self._group, path), "uint64", self._array.shape)
            self._stamps[path] = read_block_array(array, self.scan)
        return self._stamps[path]

    @property
    def count(self) -> int:
        """Number of finished blocks."""
        return int(self._done.sum())


def stamps_name(group: zarr.Group, path: str) -> str:
    """Return the name of the stamps of an array, from its path in the store: of one in ``scale0`` it has both names."""
    specimen = group.path.rpartition("/")[0]
    return f"stamps_{path.removeprefix(f'{specimen}/').replace('/', '.')}"


def read_block_array(array: zarr.Array, scan: int) -> np.ndarray:
    """Return the flags or stamps of a scan; zeros, which say nothing of its blocks, where they are damaged."""
    try:
        return np.asarray(array[scan])
    except (ValueError, RuntimeError):
        return np.zeros(array.shape[1:], array.dtype)


def _array(group: zarr.Group, name: str) -> zarr.Array:
    found = group[name]
    assert isinstance(found, zarr.Array)
    return found


def _block_array(group: zarr.Group, name: str, dtype: str, shape: tuple[int, ...]) -> zarr.Array:
    if name not in group:
        return group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=(1, 64, 64, 64),
            compressors=[ZstdCodec(level=1), CHECKSUM],
            fill_value=0,
            dimension_names=BLOCK_DIMS,
        )
    array = _array(group, name)
    if array.shape != shape:
        array.resize(shape)
    return array
