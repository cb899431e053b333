"""Phases at several thresholds from one reading of a grey image, none of which is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from mgsflow.blocks import Block, Box, Grid, Triple, triple
from mgsflow.compute import Parts, Source
from mgsflow.kernel import Kernel, chain_halo, crop, run_chain, run_stages
from mgsflow.measures.tiles import tile_spans
from mgsflow.segmentation import Majority, Threshold
from mgsflow.studies.subvolumes import additive, counted

#: Planes that are thresholded at a time.
_SLAB = 32
#: Bytes of counts that are held while they are added up.
_HELD = 1 << 28


@dataclass(frozen=True)
class Labelling:
    """How grey values become phases: as a study's segmentation does it.

    Parameters
    ----------
    thresholds : tuple of float
        Rising.
    majority : int
        Radius of the majority filter on the labels; 0 for none.
    """

    thresholds: tuple[float, ...]
    majority: int = 0

    @property
    def chain(self) -> tuple[Kernel, ...]:
        """The kernels."""
        made = Threshold(self.thresholds)
        return (made, Majority(self.majority)) if self.majority else (made,)


@dataclass(frozen=True)
class Thresholded:
    """The phases of a grey image, made as they are read."""

    grey: Source
    labelling: Labelling

    @property
    def shape(self) -> Triple:
        """Lengths along (z, y, x)."""
        return self.grey.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Labels are uint8."""
        return np.dtype(np.uint8)

    def scratch(self, shape: Triple) -> int:
        """Return the bytes held beside the result: the grey values of a few planes, and what becomes of them."""
        outer = self._outer((min(shape[0], _SLAB), shape[1], shape[2]))
        dtype, most = np.dtype(self.grey.dtype), self.grey.scratch(outer)
        for kernel in self.labelling.chain:
            most = max(most, kernel.scratch(outer, dtype) + 2 * prod(outer))
            dtype = np.dtype(kernel.dtype(dtype))
        return prod(outer) * self.grey.dtype.itemsize + most

    def read(self, box: Box) -> np.ndarray:
        """Return the labels of a box."""
        out = np.empty(box.shape, np.uint8)
        halo, whole = chain_halo(self.labelling.chain), Box.of(self.shape)
        (a, *start), (b, *stop) = box.start, box.stop
        for z in range(a, b, _SLAB):
            core = Box(triple([z, *start]), triple([min(z + _SLAB, b), *stop]))
            block = Block((0, 0, 0), core, core.grow(halo, within=whole))
            out[core.relative_to(box).slices] = run_chain(self.labelling.chain, self.grey.read(block.outer), block)
        return out

    def _outer(self, shape: Triple) -> Triple:
        return triple([min(n, c + 2 * h) for n, c, h in zip(self.shape, shape, chain_halo(self.labelling.chain))])


@dataclass(frozen=True)
class CountThresholds:
    """Count the phases of every block at several thresholds, from one reading of its grey values.

    Parameters
    ----------
    grey : Source
    grid : Grid
    variants : tuple of Labelling
    reductions : tuple
    parts : Parts
        Where a block's records go: under a reduction's name, an array with one record a variant.
    """

    grey: Source
    grid: Grid
    variants: tuple[Labelling, ...]
    reductions: tuple[Any, ...]
    parts: Parts

    def run(self, index: Triple) -> Triple:
        """Store the records of a block, and return the index."""
        block = self.grid.block(index, self.halo)
        grey, margin = self.grey.read(block.outer), self._margin
        kept: dict[Any, np.ndarray] = {}
        for i, labelling in enumerate(self.variants):
            margins = [(0, 0, 0)] * len(labelling.chain) + [margin]
            for labels, box in run_stages(labelling.chain, grey, block.outer, block.core, margins):  # noqa: B007
                pass
            for reduction in self.reductions:
                own = Block(index, block.core, block.core.grow(reduction.halo, within=Box.of(self.grid.shape)))
                record = reduction(crop(labels, box, own.outer), own)
                # without the slots of tiles that the block does not touch
                record = record[tuple(slice(len(s)) for s in tile_spans(block.core, reduction.tile))]
                kept.setdefault(reduction, np.zeros((len(self.variants), *record.shape), record.dtype))[i] = record
        for reduction, records in kept.items():
            self.parts.write(index, reduction.name, records)
        return index

    def memory(self) -> int:
        """Return the most bytes that a block holds."""
        core = self.grid.largest
        outer = triple([min(n, c + 2 * h) for n, c, h in zip(self.grid.shape, core, self.halo)])
        size, most = prod(outer), self.grey.scratch(outer)
        for labelling in self.variants:
            dtype = np.dtype(self.grey.dtype)
            for kernel in labelling.chain:
                most = max(most, kernel.scratch(outer, dtype) + 2 * size)
                dtype = np.dtype(kernel.dtype(dtype))
        kept = 0
        for reduction in self.reductions:
            shape, kind = reduction.record(core)
            row = prod(shape) * np.dtype(kind).itemsize
            most = max(most, reduction.scratch(outer, dtype) + 2 * size + row)
            kept += row * len(self.variants)
        return size * self.grey.dtype.itemsize + max(most + kept, 3 * kept) + (1 << 16)

    @property
    def halo(self) -> Triple:
        """Voxels beyond a block that are read."""
        reach = [chain_halo(labelling.chain) for labelling in self.variants]
        return triple([m + max(h[axis] for h in reach) for axis, m in enumerate(self._margin)])

    @property
    def _margin(self) -> Triple:
        return triple([max((r.halo[axis] for r in self.reductions), default=0) for axis in range(3)])


def whole_reduction(measure: Any) -> Any:
    """Return what counts the whole of a scan for a measure: few numbers a block."""
    return counted(measure) if additive(measure) else measure


def counts_of_variants(measures: Sequence[Any], parts: Parts, grid: Grid, variants: int) -> list[list[Any]]:
    """Return what measures make of each variant of a scan that `CountThresholds` has counted.

    Parameters
    ----------
    measures : sequence of Windowed
    parts : Parts
    grid : Grid
    variants : int
        How many there are.

    Returns
    -------
    list of list
        By variant and measure.
    """
    columns: list[list[Any]] = [[] for _ in range(variants)]
    read: Any = None
    for measure in measures:
        reduction = whole_reduction(measure)
        if read is None or read.reduction != reduction:  # measures of the same counts stand beside each other
            read = _Read(parts, reduction, grid)
        for i, column in enumerate(columns):
            records = _VariantRecords(read, grid.counts, reduction.record(grid.largest)[0], i)
            column.append(replace(measure, tile=reduction.tile).counts(records, grid))
    return columns


class _Read:
    """What blocks have counted for a reduction: read once, or, where it is much, once for each variant."""

    def __init__(self, parts: Parts, reduction: Any, grid: Grid) -> None:
        self.parts, self.reduction = parts, reduction
        self.held: dict[Triple, np.ndarray] = {}
        self.room = _HELD // len(grid)

    def __getitem__(self, index: Triple) -> np.ndarray:
        if index in self.held:
            return self.held[index]
        found = self.parts.read(index, self.reduction.name)
        if found.nbytes <= self.room:
            self.held[index] = found
        return found


@dataclass(frozen=True)
class _VariantRecords:
    """The records of one variant, as those of a reduction are read."""

    held: _Read
    counts: Triple
    record: tuple[int, ...]
    variant: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Blocks along (z, y, x), then the shape of the longest record."""
        return (*self.counts, *self.record)

    def __getitem__(self, index: Triple) -> np.ndarray:
        return self.held[index][self.variant]
