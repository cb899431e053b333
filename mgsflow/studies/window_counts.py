"""Counting windows one by one, a task each: for windows that share no planes, and for what does not add up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Grid, Triple, triple
from mgsflow.compute import Parts, Source
from mgsflow.studies.windows import Cropped

#: Edge of the blocks in which a window is read.
_BLOCK = 128


@dataclass(frozen=True)
class CountWindows:
    """Count each of some windows as if it were a scan by itself.

    Parameters
    ----------
    phases : Source
        Labels of the scan.
    windows : tuple of Box
    reductions : tuple
    parts : Parts
        Where the records go, under the window's first voxel and size: see `records_of`.
    """

    phases: Source
    windows: tuple[Box, ...]
    reductions: tuple[Any, ...]
    parts: Parts

    @property
    def grid(self) -> Grid:
        """A block a window."""
        return Grid.regular((len(self.windows), 1, 1), 1)

    def run(self, index: Triple) -> Triple:
        """Store the records of a window, and return the index."""
        box = self.windows[index[0]]
        source, grid = Cropped(self.phases, box), _grid(box)
        for reduction in self.reductions:
            shape, dtype = reduction.record(grid.largest)
            kept = np.zeros((*grid.counts, *shape), dtype)
            for block in grid.blocks(reduction.halo):
                record = reduction(source.read(block.outer), block)
                kept[block.index][tuple(slice(n) for n in record.shape)] = record
            self.parts.write(box.start, _name(box, reduction), kept)
        return index

    def memory(self) -> int:
        """Return the most bytes that a window holds."""
        dtype, most = np.dtype(self.phases.dtype), 0
        for box in self.windows:
            grid = _grid(box)
            for reduction in self.reductions:
                outer = triple([min(n, c + 2 * h) for n, c, h in zip(box.shape, grid.largest, reduction.halo)])
                shape, kind = reduction.record(grid.largest)
                row = prod(shape) * np.dtype(kind).itemsize
                held = prod(outer) * dtype.itemsize
                beside = max(self.phases.scratch(outer), reduction.scratch(outer, dtype) + row)
                # records are encoded as they are stored
                most = max(most, held + beside + len(grid) * row, 3 * len(grid) * row)
        return most + (1 << 16)


def counts_of_window(measure: Any, reduction: Any, parts: Parts, window: Box) -> Any:
    """Return what a measure makes of a window that `CountWindows` has counted."""
    records = parts.read(window.start, _name(window, reduction))
    measure = replace(measure, tile=reduction.tile)
    return measure.windows(records, _grid(window), [Box.of(window.shape)])[0]


def _grid(box: Box) -> Grid:
    return Grid.regular(box.shape, _BLOCK)


def _name(box: Box, reduction: Any) -> str:
    return f"{'x'.join(map(str, box.shape))}.{reduction.name}"
