"""Which blocks of a step are finished, and of what: so that a run that was stopped continues where it was.

A step's flags are one small zarr array (scan, block_z, block_y, block_x), written only by the driver, after the
block itself is stored: a crash in between costs that block a second time, never a hole. A key says what the flags
stand for (inputs, parameters, code); under another key all blocks are to be done again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import zarr

from mgsflow.blocks import Grid, Triple, triple
from mgsflow.store.schema import BLOCK_DIMS, attributes, note

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
        self._array = _flags(group, f"done_{step}", tuple(shape))
        z, y, x = grid.counts
        self._within = (scan, slice(0, z), slice(0, y), slice(0, x))
        self._done = np.asarray(self._array[self._within]).astype(bool)
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

    def finish(self, index: Triple) -> None:
        """Note that a block is stored."""
        self._done[index] = True
        if time.monotonic() - self._flushed > FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write the flags."""
        self._array[self._within] = self._done.astype(np.uint8)
        self._flushed = time.monotonic()

    @property
    def count(self) -> int:
        """Number of finished blocks."""
        return int(self._done.sum())


def _flags(group: zarr.Group, name: str, shape: tuple[int, ...]) -> zarr.Array:
    if name not in group:
        return group.create_array(
            name, shape=shape, dtype="uint8", chunks=(1, 64, 64, 64), fill_value=0, dimension_names=BLOCK_DIMS
        )
    array = group[name]
    assert isinstance(array, zarr.Array)
    if array.shape != shape:
        array.resize(shape)
    return array
