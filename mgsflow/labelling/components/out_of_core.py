"""Connected components of masks that do not fit in memory, with ids that do not depend on the blocks.

Three passes over blocks: components of each block by itself, with their table and the block's outer planes; pairs of
labels that touch across seams, from these planes alone; and, after the driver has merged the pairs and numbered the
groups, the final ids. The mask is read twice, labels are never stored before they are final.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Parts, Source, indices
from mgsflow.errors import InputError
from mgsflow.labelling.components.kernel import seam_pairs
from mgsflow.labelling.components.runs import Runs, most_components
from mgsflow.labelling.passes import Each
from mgsflow.labelling.shells import offsets_of, seam_bytes, seams, shell_bytes, write_planes
from mgsflow.labelling.unions import Unions, unite, write_table

#: How the columns after `first` add up over a component: voxels, and flags.
HOW = ("sum", "any")
CONNECTIVITIES = (6, 18, 26)


@dataclass(frozen=True)
class FindComponents:
    """Label each block by itself, and keep the table of its components and its outer planes.

    Parameters
    ----------
    mask : Source
        Booleans.
    grid : Grid
    parts : Parts
    connectivity : {6, 18, 26}
    marks : Source, optional
        Booleans: components with a voxel here get the flag `MARKED`.
    kept : dict, optional
        Where to leave the runs of each block, for `RunLabels` in this process: up to 4 bytes a voxel of the volume.
    """

    mask: Source
    grid: Grid
    parts: Parts
    connectivity: int = 6
    marks: Source | None = None
    kept: dict[Triple, Runs] | None = None

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when everything is stored."""
        core = self.grid.block(index).core
        runs = Runs.of(self.mask.read(core), self.connectivity)
        first, size, flags = runs.table(border_faces(core, self.grid))
        if self.marks is not None:
            runs.mark(self.marks.read(core), flags)
        write_table(self.parts, index, first, size, flags)
        if len(self.grid) > 1:
            write_planes(self.parts, self.grid, index, "label", runs.planes())
        if self.kept is not None:
            self.kept[core.start] = runs
        return index

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        shape = self.grid.largest
        voxels = prod(shape)
        reading = max(s.scratch(shape) for s in (self.mask, self.marks) if s is not None)
        most = most_components(shape, self.connectivity)
        # the columns, the table, and what writing it encodes; or the planes, with the table of their labels
        tables = 12 * most + max(3 * 12 * most, 4 * most + 3 * shell_bytes(self.grid, 4))
        return voxels * (1 + (self.marks is not None)) + max(reading, Runs.memory(shape) + tables)


@dataclass(frozen=True)
class FindPairs:
    """Keep the pairs of provisional ids that touch across each block's seams.

    Parameters
    ----------
    grid : Grid
    parts : Parts
        Where `FindComponents` has left every block's planes, and the driver the offsets (`write_offsets`).
    connectivity : {6, 18, 26}
    """

    grid: Grid
    parts: Parts
    connectivity: int = 6

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when everything is stored."""
        offsets = {"label": read_offsets(self.parts)}
        found = [
            touching_pairs(seam.lower["label"], seam.upper["label"], self.connectivity)
            for seam in seams(self.parts, self.grid, index, ["label"], offsets, corners=self.connectivity > 6)
        ]
        self.parts.write(index, "pairs", np.concatenate([np.empty((0, 2), np.int64), *found]))
        return index

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        return 6 * seam_bytes(self.grid, 8)


@dataclass(frozen=True)
class RunLabels:
    """The labels that `FindComponents` gave a block, kept or made again; see `mgsflow.labelling.relabel`.

    To make them again is faster than to store them: reading a mask and finding its runs take 3 ns a voxel, of 13 that
    go from a stored mask to stored labels.

    Parameters
    ----------
    mask, connectivity, kept
        As of `FindComponents`.
    """

    mask: Source
    connectivity: int = 6
    kept: dict[Triple, Runs] | None = None

    def painted(self, box: Box, lut: np.ndarray) -> np.ndarray:
        """Return ``lut[label]`` at every voxel of a block."""
        out = np.empty(box.shape, lut.dtype)
        self.paint(box, lut, out)
        return out

    def paint(self, box: Box, lut: np.ndarray, out: np.ndarray) -> None:
        """Fill a C-contiguous array of a block's shape with ``lut[label]``."""
        runs = self.kept.pop(box.start, None) if self.kept is not None else None
        (runs or Runs.of(self.mask.read(box), self.connectivity)).paint(lut, out)

    def scratch(self, shape: Triple) -> int:
        """Return the bytes of the mask, of reading it, and of the runs."""
        return prod(shape) + max(self.mask.scratch(shape), Runs.memory(shape))

    def most(self, shape: Triple) -> int:
        """Return the most labels that a block of this shape can have."""
        return most_components(shape, self.connectivity)


def merge_blocks(
    mask: Source,
    grid: Grid,
    parts: Parts,
    connectivity: int,
    marks: Source | None,
    each: Each,
    kept: dict[Triple, Runs] | None = None,
) -> tuple[np.ndarray, Unions]:
    """Find the components of every block, and which of them belong together.

    Parameters
    ----------
    mask, grid, parts, connectivity, marks, kept
        As of `FindComponents`.
    each : callable
        See `mgsflow.labelling.passes`.

    Returns
    -------
    offsets : ndarray of int64
        See `mgsflow.labelling.shells.offsets_of`.
    unions : Unions
    """
    each(FindComponents(mask, grid, parts, connectivity, marks, kept).run, grid)
    offsets = write_offsets(parts, grid)
    if len(grid) == 1:
        return offsets, unite([])
    each(FindPairs(grid, parts, connectivity).run, grid)
    return offsets, unite(parts.read(index, "pairs") for index in indices(grid))


def write_offsets(parts: Parts, grid: Grid, name: str = "table") -> np.ndarray:
    """Count the labels of every block by its table, keep the offsets for tasks to read, and return them."""
    counts = np.zeros(grid.counts, np.int64)
    for index in indices(grid):
        counts[index] = parts.read(index, name).shape[1]
    offsets = offsets_of(counts)
    parts.write((0, 0, 0), "offsets", offsets)
    return offsets


def read_offsets(parts: Parts) -> np.ndarray:
    """Return what `write_offsets` kept."""
    return parts.read((0, 0, 0), "offsets")


def border_faces(core: Box, grid: Grid) -> int:
    """Return the bits of a block's faces that lie in the border of the volume."""
    bits = 0
    for axis, n in enumerate(grid.shape):
        bits |= (core.start[axis] == 0) << (2 * axis)
        bits |= (core.stop[axis] == n) << (2 * axis + 1)
    return bits


def check_connectivity(connectivity: Any) -> int:
    """Return the connectivity, if it is one.

    Raises
    ------
    InputError
        Otherwise.
    """
    if isinstance(connectivity, bool) or connectivity not in CONNECTIVITIES:
        raise InputError(
            "connectivity must be 6 (across faces), 18 (and edges) or 26 (and corners), "
            f"got {connectivity!r}: it is the number of neighbours of a voxel"
        )
    return int(connectivity)


def check_min_voxels(min_voxels: Any) -> None:
    """Refuse a smallest size that is no whole number of voxels.

    Raises
    ------
    InputError
        Then.
    """
    if isinstance(min_voxels, bool) or not isinstance(min_voxels, int | np.integer) or min_voxels < 0:
        raise InputError(f"min_voxels must be a whole number of voxels, got {min_voxels!r}")


def touching_pairs(lower: np.ndarray, upper: np.ndarray, connectivity: int) -> np.ndarray:
    """Return the pairs of ids across a seam, each once."""
    room = np.empty((4096, 2), np.int64)
    n = seam_pairs(lower, upper, connectivity, room)
    if n > len(room):
        room = np.empty((n, 2), np.int64)
        seam_pairs(lower, upper, connectivity, room)
    pairs = room[:n]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    fresh = np.ones(len(pairs), bool)
    fresh[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[fresh]
