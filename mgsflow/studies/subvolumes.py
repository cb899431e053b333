"""Counts of many windows from one reading of a scan: it is cut at the windows' planes, and the pieces are added up.

What is counted of a piece is kept apart by the high faces that it reaches through, as in the tiles of
`mgsflow.measures.tiles`, so that a window of pieces has the counts of the cropped image, exactly. To a measure, a piece
is a tile: the last voxels of it are put at the end of a tile, and the pieces then stand beside each other as tiles do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from mgsflow.blocks import Block, Box, Grid, Triple, triple
from mgsflow.compute import Parts, Source
from mgsflow.errors import InputError
from mgsflow.kernel import crop
from mgsflow.measures.surface.contacts import ContactCounts
from mgsflow.measures.surface.patterns import PatternCounts
from mgsflow.measures.triple_phase.corrected import TripleLine

#: Longest edge of a piece, which is the largest tile that all measures take.
LONGEST = 256
Spans = list[tuple[int, int]]


def additive(measure: Any) -> bool:
    """Tell whether a measure's counts of a window are sums over its pieces.

    The length of triple lines is not: it looks at the voxels around each voxel, and at the border of a window there are
    none.
    """
    return not isinstance(measure, TripleLine)


def counted(measure: Any) -> Any:
    """Return the reduction that counts a piece for a measure: of the largest tiles."""
    return replace(getattr(measure, "source", measure), tile=LONGEST)


@dataclass(frozen=True)
class Cuts:
    """A grid of blocks, each cut further at the planes of windows.

    Parameters
    ----------
    grid : Grid
        Blocks of the scan.
    planes : tuple of tuple of int
        Rising positions of all cuts along z, y and x, those between blocks and the ends of the scan included.
    """

    grid: Grid
    planes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @classmethod
    def of(cls, grid: Grid, windows: Sequence[Box]) -> Cuts:
        """Return the cuts at the faces of windows and of blocks, and where a piece would be longer than `LONGEST`."""
        whole = Box.of(grid.shape)
        for window in windows:
            if not whole.contains(window) or not window.size:
                raise InputError(f"window {window.start} to {window.stop} is not within the scan of shape {grid.shape}")
        planes = []
        for axis, cut in enumerate(grid.cuts):
            at = {0, *(int(n) for n in np.cumsum(cut))}
            at |= {w.start[axis] for w in windows} | {w.stop[axis] for w in windows}
            ends = sorted(at)
            for a, b in pairwise(ends):
                at |= set(range(a, b, LONGEST))
            planes.append(tuple(sorted(at)))
        return cls(grid, (planes[0], planes[1], planes[2]))

    def spans(self, block: Box) -> tuple[Spans, Spans, Spans]:
        """Return the pieces of a block along each axis."""
        z, y, x = (
            [(p, q) for p, q in pairwise(at) if a <= p and q <= b]
            for at, a, b in zip(self.planes, block.start, block.stop)
        )
        return z, y, x

    @property
    def tiles(self) -> Grid:
        """The blocks, with a tile of `LONGEST` for each piece."""
        cuts = []
        for axis, cut in enumerate(self.grid.cuts):
            ends = [0, *(int(n) for n in np.cumsum(cut))]
            at = self.planes[axis]
            cuts.append(tuple(LONGEST * sum(a <= p < b for p in at) for a, b in pairwise(ends)))
        return Grid((cuts[0], cuts[1], cuts[2]))

    def tiled(self, window: Box) -> Box:
        """Return the tiles that stand for a window of whole pieces."""
        start = [LONGEST * at.index(a) for at, a in zip(self.planes, window.start)]
        stop = [LONGEST * at.index(b) for at, b in zip(self.planes, window.stop)]
        return Box(triple(start), triple(stop))

    @property
    def most(self) -> int:
        """Most pieces of a block."""
        return prod(max(cut) // LONGEST for cut in self.tiles.cuts)


@dataclass(frozen=True)
class CountPieces:
    """Count the pieces of every block of a scan, as work on its grid.

    Parameters
    ----------
    phases : Source
        Labels.
    cuts : Cuts
    reductions : tuple
        What is counted: `counted` of additive measures.
    around : tuple
        Reductions of whole blocks, for what does not add up over pieces but is asked for of the whole scan.
    parts : Parts
    only : tuple of Box, optional
        Blocks that touch none of these windows are not counted; by default, all blocks are.
    """

    phases: Source
    cuts: Cuts
    reductions: tuple[Any, ...]
    around: tuple[Any, ...]
    parts: Parts
    only: tuple[Box, ...] | None = None

    @property
    def grid(self) -> Grid:
        """Blocks of the scan."""
        return self.cuts.grid

    @property
    def halo(self) -> Triple:
        """Voxels beyond a block that are read."""
        z, y, x = (max((r.halo[a] for r in (*self.reductions, *self.around)), default=0) for a in range(3))
        return z, y, x

    def run(self, index: Triple) -> Triple:
        """Store the counts of the block's pieces, and return the index."""
        block = self.grid.block(index, self.halo)
        if self.only is not None and not touches(block.core, self.only):
            return index
        labels = self.phases.read(block.outer)
        whole = Box.of(self.grid.shape)
        spans = self.cuts.spans(block.core)
        for reduction in self.reductions:
            kept: np.ndarray | None = None
            for at in np.ndindex(*(len(s) for s in spans)):
                piece = [spans[axis][i] for axis, i in enumerate(at)]
                box = Box(triple([a for a, _ in piece]), triple([b for _, b in piece]))
                row = _piece(reduction, labels, block.outer, box, whole)
                if kept is None:
                    kept = np.zeros((*(len(s) for s in spans), *row.shape), row.dtype)
                kept[at] = row
            assert kept is not None
            self.parts.write(index, reduction.name, kept)
        for reduction in self.around:
            own = block.core.grow(reduction.halo, within=whole)
            record = reduction(crop(labels, block.outer, own), Block(index, block.core, own))
            self.parts.write(index, reduction.name, record)
        return index

    def memory(self) -> int:
        """Return the most bytes that a block holds."""
        core = self.grid.largest
        outer = triple([min(n, c + 2 * h) for n, c, h in zip(self.grid.shape, core, self.halo)])
        dtype = np.dtype(self.phases.dtype)
        held = prod(outer) * dtype.itemsize
        peak = held + self.phases.scratch(outer)
        for reduction in self.reductions:
            shape, kind = reduction.record(core)
            row = prod(shape[3:]) * np.dtype(kind).itemsize
            # a crop of the labels may be copied; the counts are encoded as they are stored
            peak = max(peak, held + reduction.scratch(outer, dtype) + 8 * row + 3 * self.cuts.most * row)
        for reduction in self.around:
            shape, kind = reduction.record(core)
            peak = max(peak, held + reduction.scratch(outer, dtype) + 3 * prod(shape) * np.dtype(kind).itemsize)
        return peak + (1 << 16)


def touches(core: Box, windows: Sequence[Box]) -> bool:
    """Tell whether a block has voxels of any window."""
    return any(core.intersect(w).size for w in windows)


def counts_of_windows(
    measure: Any, cuts: Cuts, parts: Parts, windows: Sequence[Box], only: Sequence[Box] | None = None
) -> list[Any]:
    """Return what an additive measure makes of windows: the same as of the cropped images.

    Parameters
    ----------
    measure : Windowed
    cuts : Cuts
        At the planes of these windows, among others.
    parts : Parts
        Where `CountPieces` left its counts.
    windows : sequence of Box
    only : sequence of Box, optional
        Windows that `CountPieces` kept to.
    """
    reduction = counted(measure)
    tiled = replace(measure, tile=LONGEST)
    shape, dtype = reduction.record((LONGEST,) * 3)
    empty = {}
    for block in cuts.grid.blocks():
        if only is not None and not touches(block.core, only):
            pieces = [len(s) for s in cuts.spans(block.core)]
            empty[block.index] = np.broadcast_to(np.zeros((), dtype), (*pieces, *shape[3:]))  # takes no room
    records = PartRecords(parts, reduction.name, cuts.tiles.counts, shape, empty)
    found = tiled.windows(records, cuts.tiles, [cuts.tiled(w) for w in windows])
    return [_true(counts, w) for counts, w in zip(found, windows)]


@dataclass(frozen=True)
class PartRecords:
    """What blocks left under a name, read as the records of a reduction are: one block at a time.

    Parameters
    ----------
    parts : Parts
    name : str
    counts : tuple of int
        Blocks along (z, y, x).
    record : tuple of int
        Shape of the longest record.
    empty : dict, optional
        What stands for blocks that left nothing.
    """

    parts: Parts
    name: str
    counts: Triple
    record: tuple[int, ...]
    empty: dict[Triple, np.ndarray] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Blocks along (z, y, x), then the shape of the longest record."""
        return (*self.counts, *self.record)

    def __getitem__(self, index: Triple) -> np.ndarray:
        return self.empty[index] if index in self.empty else self.parts.read(index, self.name)


def _piece(reduction: Any, labels: np.ndarray, box: Box, piece: Box, whole: Box) -> np.ndarray:
    """Return the counts of a piece, placed so that it ends where a tile does."""
    outer = piece.grow(reduction.halo, within=whole)
    shift = [reduction.tile - b for b in piece.stop]
    block = Block((0, 0, 0), piece.shift(shift), outer.shift(shift))
    record: np.ndarray = reduction(crop(labels, box, outer), block)
    return record[0, 0, 0]


def _true(counts: Any, window: Box) -> Any:
    """Return counts with the window's own shape, instead of that of its tiles."""
    if isinstance(counts, ContactCounts | PatternCounts):
        return replace(counts, shape=window.shape)
    tiles, _ = counts  # of `VolumeFraction`
    total = tiles.sum(axis=(0, 1, 2), keepdims=True, dtype=np.int64)
    return total, np.full((1, 1, 1), window.size, np.int64)
