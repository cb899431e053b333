"""Basins of steepest ascent on exact squared distances, block by block, for volumes that do not fit in memory.

Voxels of a block from which the steepest way leads to one peak make a *group*, numbered 1 … n by their first voxels.
Ways that leave the block are followed for some voxels more: those that have met by then are one group, of the others it
is not known yet. The block leaves

- its voxels' groups, as runs along x, and a table of them: first voxel, size and peak;
- its outer planes: groups; squared distances and directions, as ``D² · 32 + direction``;
- where two groups meet (see `mgsflow.particle_analysis.watershed.saddles`).

A second pass looks at the planes alone: which groups lead into which across the seams, and where they meet there.
Groups that lead into each other are one basin. Because directions follow a total order of all voxels of the volume,
basins are the same for any blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Parts, Source
from mgsflow.errors import InputError
from mgsflow.labelling.components.out_of_core import read_offsets
from mgsflow.labelling.shells import Seam, seam_bytes, seams, shell_bytes, shell_of, write_planes, write_shell
from mgsflow.labelling.unions import write_table
from mgsflow.particle_analysis.watershed.kernel import (
    DEEPEST,
    count_runs,
    find_peaks,
    gather,
    paint_runs,
    point,
    tabulate,
)
from mgsflow.particle_analysis.watershed.saddle_kernel import lead_across
from mgsflow.particle_analysis.watershed.saddles import table_bytes, write_across, write_within

#: How the columns after `first` add up over a basin: voxels, and the peak (see `peak_bits`).
HOW = ("sum", "max")

MARGIN = 6
"""Voxels that a way is followed beyond its block: it leaves a tenth of the groups that 1 does, for 10 % more voxels."""

_MOST_VOXELS = 2**31
_SLAB = 2**22  # voxels whose runs are kept in one part


@dataclass(frozen=True)
class Ascent:
    """Groups of voxels in a block: arrays are padded by `margin` voxels on every side.

    Parameters
    ----------
    d2 : ndarray of int32
        Squared distances; 0 beyond the volume.
    directions : ndarray of uint8
        See `mgsflow.particle_analysis.watershed.kernel`.
    labels : ndarray of int32
        Groups 1 … count; 0 in the margin.
    count : int
    margin : int
    """

    d2: np.ndarray
    directions: np.ndarray
    labels: np.ndarray
    count: int
    margin: int

    @classmethod
    def of(cls, source: Source, core: Box, margin: int = MARGIN) -> Ascent:
        """Return the groups of a block of squared distances (int32, 0 outside the phase)."""
        if prod(n + 2 * margin for n in core.shape) >= _MOST_VOXELS:
            raise InputError(f"a block of {core.shape} voxels is too large to be separated at once: use smaller blocks")
        d2 = _padded(source, core, margin)
        directions = np.empty(d2.shape, np.uint8)
        point(d2, directions)
        labels = np.zeros(d2.shape, np.int32)
        count = int(gather(directions, margin, labels))
        return cls(d2, directions, labels, count, margin)

    @property
    def core(self) -> tuple[slice, slice, slice]:
        """Index an array to get the block."""
        z, y, x = (slice(self.margin, n - self.margin) for n in self.d2.shape)
        return z, y, x

    def peaks(self, core: Box, volume: Triple) -> np.ndarray:
        """Return the peak of each group (int64, see `peak_bits`), -1 for those that have none in the block."""
        found = np.full(self.count, -1, np.int64)
        plane, row = volume[1] * volume[2], volume[2]
        bits = peak_bits(volume)
        find_peaks(self.directions, self.labels, self.d2, self.margin, core.start, plane, row, bits, found)
        return found


@dataclass(frozen=True)
class FindBasins:
    """Find the groups of each block by itself, and keep them, their table, the outer planes, and where they meet.

    Parameters
    ----------
    source : Source
        Squared distances to the background, int32; 0 outside the phase.
    grid : Grid
    parts : Parts
    margin : int
        Voxels that are read around a block, at least 1.
    """

    source: Source
    grid: Grid
    parts: Parts
    margin: int = MARGIN

    @property
    def halo(self) -> Triple:
        """Voxels beyond a block that are read, of most blocks."""
        beyond = self.margin + getattr(self.source, "halo", 0)
        return beyond, beyond, beyond

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when everything is stored."""
        core = self.grid.block(index).core
        groups = Ascent.of(self.source, core, self.margin)
        if len(self.grid) > 1:
            write_shell(self.parts, self.grid, index, "label", groups.labels[groups.core])
            heights, ways = shell_of(groups.d2[groups.core]), shell_of(groups.directions[groups.core])
            rises = [(a << 5 | v & 31, b << 5 | w & 31) for (a, b), (v, w) in zip(heights, ways)]
            write_planes(self.parts, self.grid, index, "rise", rises)
        write_within(self.parts, index, groups.labels, groups.d2, self.margin)
        peaks = groups.peaks(core, self.grid.shape)
        labels, count = groups.labels, groups.count
        del groups
        first, size = self._write_runs(index, labels, count)
        write_table(self.parts, index, first, size, peaks)
        return index

    def _write_runs(self, index: Triple, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Keep the labels of a block, and return first voxel (C index in the block) and size of each group."""
        first, size = np.empty(count, np.int32), np.zeros(count, np.int32)
        shape = self.grid.block(index).core.shape
        seen = 0
        for k, (a, b) in enumerate(_slabs(shape)):
            n = count_runs(labels, self.margin, a, b)
            runs = np.empty((2, n), np.int32)
            seen = int(tabulate(labels, self.margin, a, b, seen, first, size, runs))
            self.parts.write(index, f"runs.{k}", runs)
        return first, size

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        shape = self.grid.largest
        padded = prod(n + 2 * self.margin for n in shape)
        outer: Triple = tuple(min(n + 2 * self.margin, m) for n, m in zip(shape, self.grid.shape))  # type: ignore[assignment]
        reading = 4 * prod(outer) + max(self.source.scratch(outer), 4 * padded)
        most = most_groups(shape)
        # of noise, every voxel is a run; arrays are there plain and encoded
        slab = max((b - a) * shape[1] * shape[2] for a, b in _slabs(shape))
        tables = 16 * most + max(3 * 24 * most, 3 * 8 * slab)
        planes = max(3 * shell_bytes(self.grid, 4), table_bytes(13 * (shape[2] + 2 * self.margin)))
        return max(reading, 9 * padded + 8 * most + planes, 4 * padded + tables)


@dataclass(frozen=True)
class FindSeams:
    """Keep which groups lead into which across each block's seams, and where groups meet there.

    Parameters
    ----------
    grid : Grid
    parts : Parts
        Where `FindBasins` has left every block's planes, and the driver the offsets
        (`mgsflow.labelling.components.out_of_core.write_offsets`).
    """

    grid: Grid
    parts: Parts

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when everything is stored."""
        offsets = {"label": read_offsets(self.parts)}
        found = list(seams(self.parts, self.grid, index, ["label", "rise"], offsets))
        ids = _number(found)
        pairs = [np.zeros((0, 2), np.int64)]
        for seam in found:
            low, high = seam.lower, seam.upper
            room = np.empty((9 * low["label"].size, 2), np.int32)
            n = lead_across(low["label"], low["rise"], high["label"], high["rise"], seam.axis, room)
            pairs.append(ids[_distinct(room[:n])])
        self.parts.write(index, "pairs", np.concatenate(pairs))
        write_across(self.parts, index, ids, found)
        return index

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        # planes as they are read; as they are numbered, with what sorting takes; and the ways across
        faces = seam_bytes(self.grid, 1) // 6
        return seam_bytes(self.grid, 8 + 4) + faces * (4 * 8 * 2 + 9 * 24) + table_bytes(9 * max(self.grid.largest))


@dataclass(frozen=True)
class BasinLabels:
    """The groups that `FindBasins` has kept of every block; see `mgsflow.labelling.relabel`."""

    grid: Grid
    parts: Parts

    def painted(self, box: Box, lut: np.ndarray) -> np.ndarray:
        """Return ``lut[label]`` at every voxel of a block."""
        index: Any = tuple(
            int(np.searchsorted(np.cumsum(cut), start, side="right")) for cut, start in zip(self.grid.cuts, box.start)
        )
        out = np.empty(box.shape, lut.dtype)
        for k, (a, b) in enumerate(_slabs(box.shape)):
            paint_runs(self.parts.read(index, f"runs.{k}"), lut, out[a:b].reshape(-1))
        return out

    def scratch(self, shape: Triple) -> int:
        """Return the bytes of the runs that are read at once."""
        slab = max((b - a) * shape[1] * shape[2] for a, b in _slabs(shape))
        return 2 * 8 * slab

    def most(self, shape: Triple) -> int:
        """Return the most labels that a block of this shape can have."""
        return most_groups(shape)


def most_groups(shape: Triple) -> int:
    """Return the most groups that a block can have: peaks in no two neighbouring voxels, and ways out."""
    inside = prod(ceil(n / 2) for n in shape)
    return min(prod(shape), inside + prod(n + 2 for n in shape) - prod(shape))


def peak_bits(volume: Triple) -> int:
    """Return how many bits the C index takes in a peak, which is ``D² · 2^bits + C index``: peaks order as voxels do.

    Raises
    ------
    InputError
        If the volume has so many voxels that a peak does not fit in 63 bits.
    """
    bits = max(1, (prod(volume) - 1).bit_length())
    if bits + DEEPEST.bit_length() > 63:
        raise InputError(f"separating takes at most 2³⁷ voxels, got a volume of {volume}: separate parts of it")
    return bits


def _padded(source: Source, core: Box, margin: int) -> np.ndarray:
    """Return the squared distances of a block with a margin, 0 beyond the volume."""
    wanted = Box.of([n + 2 * margin for n in core.shape])
    outer = core.grow(margin, Box.of(source.shape))
    found = source.read(outer)
    if outer.shape == wanted.shape and found.flags.owndata:
        return np.minimum(found, DEEPEST, out=found)
    padded = np.zeros(wanted.shape, np.int32)
    place = outer.shift([margin - n for n in core.start])
    np.minimum(found, DEEPEST, out=padded[place.slices])
    return padded


def _slabs(shape: Triple) -> list[tuple[int, int]]:
    """Return the planes of a block, first and past the last, whose runs make one part."""
    step = max(1, _SLAB // (shape[1] * shape[2]))
    return [(a, min(a + step, shape[0])) for a in range(0, shape[0], step)]


def _number(found: list[Seam]) -> np.ndarray:
    """Number the groups in seams 0 … n (0 is none) instead of by provisional ids, and return the id of each number."""
    planes = [(side, side["label"]) for seam in found for side in (seam.lower, seam.upper)]
    ids = np.unique(np.concatenate([np.zeros(1, np.int64), *(p.ravel() for _, p in planes)]))
    for side, plane in planes:
        side["label"] = np.searchsorted(ids, plane).astype(np.int32)
    return ids


def _distinct(pairs: np.ndarray) -> np.ndarray:
    """Return pairs of numbers below 2³¹, each once."""
    keys = np.unique((pairs[:, 0].astype(np.int64) << 32) | pairs[:, 1])
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)
