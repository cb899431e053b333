"""Tiles inside blocks: where records of a small, global grid of tiles lie, and how a window of them adds up.

A tile is a cube of `tile` voxels on a grid that starts at the origin of the scan, whatever the blocks are; a tile that
blocks cut apart is the sum of what each of them recorded. The last tile along an axis is what remains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Grid, Triple, triple
from mgsflow.errors import InputError

Span = tuple[int, int, int]
"""Slot in the record, first voxel and one past the last, along one axis."""


def tile_slots(largest: Triple, tile: int) -> Triple:
    """Return how many tiles a block can touch along each axis, wherever it starts."""
    z, y, x = ((n + tile - 2) // tile + 1 for n in largest)
    return z, y, x


def tile_spans(core: Box, tile: int) -> tuple[list[Span], list[Span], list[Span]]:
    """Return the parts of a block by tile, along z, y and x, in voxels of the scan."""
    z, y, x = (
        [(k - a // tile, max(a, k * tile), min(b, (k + 1) * tile)) for k in range(a // tile, -(-b // tile))]
        for a, b in zip(core.start, core.stop)
    )
    return z, y, x


def check_tile(tile: int, most: int) -> None:
    """Refuse a tile that is not between 1 and `most` voxels."""
    if isinstance(tile, bool) or not isinstance(tile, int) or not 1 <= tile <= most:
        raise InputError(f"tile must be a whole number of voxels from 1 to {most}, got {tile!r}")


def check_window(window: Box, shape: Triple, tile: int) -> None:
    """Refuse a window that is empty, leaves the scan, or cuts through a tile."""
    if not Box.of(shape).contains(window) or window.size == 0:
        raise InputError(f"window {window.start} to {window.stop} must hold voxels of the scan of shape {shape}")
    for axis, a, b, n in zip("zyx", window.start, window.stop, shape):
        if a % tile or (b % tile and b != n):
            raise InputError(
                f"window along {axis}, {a} to {b}, must start and stop on borders of tiles: multiples of {tile}"
                f" (or stop at the scan's end, {n})"
            )


def layers(shape: Triple, tile: int, axis: int) -> list[Box]:
    """Return the layers of tiles along an axis, as windows over the whole of the other two."""
    found = []
    for a in range(0, shape[axis], tile):
        start, stop = [0, 0, 0], list(shape)
        start[axis], stop[axis] = a, min(a + tile, shape[axis])
        found.append(Box(triple(start), triple(stop)))
    return found


def window_sums(records: Any, grid: Grid, tile: int, window: Box) -> np.ndarray:
    """Add up the tiles of a window: what `sums_of_windows` does for one."""
    total: np.ndarray = sums_of_windows(records, grid, tile, [window])[0]
    return total


def sums_of_windows(records: Any, grid: Grid, tile: int, windows: Sequence[Box]) -> np.ndarray:
    """Add up the tiles of windows, apart by which of a window's high faces they touch.

    Parameters
    ----------
    records : array, shape (blocks z, y, x, slots z, y, x, *payload)
        Records of all blocks; each is read once, so that they need not be in memory together.
    grid : Grid
        Blocks that made the records.
    tile : int
        Edge of a tile in voxels.
    windows : sequence of Box
        On borders of tiles (`check_window`); they may overlap.

    Returns
    -------
    ndarray of int64, shape (windows, 8, *payload)
        Entry ``4 a + 2 b + c`` holds the tiles that are last in the window along z (a = 1), y (b = 1), x (c = 1).
    """
    for window in windows:
        check_window(window, grid.shape, tile)
    sums = np.zeros((len(windows), 8, *records.shape[6:]), np.int64)
    first = np.array([w.start for w in windows]) // tile
    last = -(-np.array([w.stop for w in windows]) // tile) - 1
    for block in grid.blocks():
        base = np.array(block.core.start) // tile
        end = -(-np.array(block.core.stop) // tile)
        touched = np.flatnonzero(((first < end) & (last >= base)).all(axis=1))
        if not touched.size:
            continue
        record = np.asarray(records[block.index])
        for i in touched:
            # slots of this block: those before the window's last tile, and that tile itself
            before = zip(np.maximum(first[i], base) - base, np.minimum(last[i], end) - base)
            there = zip(np.maximum(last[i], base) - base, np.minimum(last[i] + 1, end) - base)
            spans = list(zip(before, there))
            for at in range(8):
                picks = [spans[0][at >> 2], spans[1][at >> 1 & 1], spans[2][at & 1]]
                if all(p < q for p, q in picks):
                    part = record[tuple(slice(p, q) for p, q in picks)]
                    sums[i, at] += part.sum(axis=(0, 1, 2), dtype=np.int64)
    return sums
