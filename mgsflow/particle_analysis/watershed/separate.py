"""Particles that touch, separated where they are narrow: a watershed on exact distances, identical for any blocks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Parts, Source, indices
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import PhaseMask, check_mask, grid_of, like, sink_of
from mgsflow.labelling.components.out_of_core import check_min_voxels, write_offsets
from mgsflow.labelling.distance.certified import BeyondReach, DistanceSource
from mgsflow.labelling.distance.pencils import by_pencils
from mgsflow.labelling.passes import Each, client_for, folder_beside, parts_in, runner
from mgsflow.labelling.relabel import Relabel
from mgsflow.labelling.unions import Groups, Unions, number, read_table, unite
from mgsflow.particle_analysis.watershed.basins import HOW, BasinLabels, FindBasins, FindSeams, peak_bits
from mgsflow.particle_analysis.watershed.kernel import DEEPEST
from mgsflow.particle_analysis.watershed.merging import Merged, merge_basins
from mgsflow.particle_analysis.watershed.saddles import Meetings, read_meetings

PERSISTENCE = 0.5
"""Default persistence in voxels: as far as voxels move a surface, and the distance to it.

Of voxelised ellipsoids of any direction, with radii of 2.5 to 13 voxels, those with axes up to 1 : 1.6 have no maximum
that rises more than 0.38 above its saddle, and one in seventy of those with 1 : 3 is split at 0.5; at 0.25, a third is.
"""


@dataclass(frozen=True)
class Separation:
    """What is known of separated particles, in order of their ids 1 … count.

    Parameters
    ----------
    shape : tuple of int
        Of the volume.
    sizes : ndarray of int64, shape (count,)
        Voxels of each.
    first : ndarray of int64, shape (count,)
        C index, in the whole volume, of each one's first voxel; rising.
    depth : ndarray of float64, shape (count,)
        Largest distance to the background within each, in voxels; infinite beyond 8191 or without a background.
    contacts : Meetings
        Particles that touch, each two once: their ids, the squared distance at the saddle between them, and their
        pairs of neighbouring voxels in each of the 13 directions.
    basins : int
        Basins of steepest ascent before merging.
    persistence : ndarray of float64, shape (basins,)
        Of each basin, rising, in voxels (or as a share of its depth, if particles were separated so); infinite for the
        deepest of a connected part. At persistence h there are as many particles as numbers above h here.
    """

    shape: Triple
    sizes: np.ndarray
    first: np.ndarray
    depth: np.ndarray
    contacts: Meetings
    basins: int
    persistence: np.ndarray

    @property
    def count(self) -> int:
        """Number of particles."""
        return self.sizes.size

    def count_at(self, persistence: float) -> int:
        """Return how many particles there are at another persistence, before small ones are left out."""
        return int((self.persistence > persistence).sum())


def separate(
    mask: Any,
    persistence: float = PERSISTENCE,
    relative: bool = False,
    min_voxels: int = 0,
    out: Any = None,
    block: int | Sequence[int] = 256,
    threads: int | None = None,
    client: Any = None,
) -> tuple[Any, Separation]:
    """Separate the particles of a phase where it is narrow between them.

    Every voxel climbs to the largest exact distance in its reach by steepest ascent; basins of one peak are merged over
    saddles that are hardly lower than the lower peak. Labels, ids and tables are the same, to the bit, for any blocks,
    threads and cluster.

    Parameters
    ----------
    mask : ndarray, zarr array or DataArray, shape (z, y, x)
        Booleans or integers; all but 0 is inside. Voxels are taken as cubes.
    persistence : float
        Two basins are one particle if the smaller one's largest inscribed sphere is wider than the neck between them
        by at most this: the difference of radii in voxels. 0 keeps a particle for every maximum of the distance.
    relative : bool
        `persistence` is a share of the radius of the smaller one's inscribed sphere instead, from 0 to 1.
    min_voxels : int
        Smaller particles are left out, when all blocks have been merged.
    out : ndarray or zarr array, optional
        Where to write the labels, block by block: what does not fit in memory needs a zarr array. Its dtype must hold
        the ids: uint32, or uint64 where there are more than 2³² - 1.
    block : int or three
        Edges of a block in voxels, rounded up to whole files of `out`. It changes the memory that is used, not the
        result.
    threads : int, optional
        Threads, where there is no cluster; default, all cores.
    client : distributed.Client, optional
        Cluster to use where mask and `out` are stored; default, the current one.

    Returns
    -------
    labels : ndarray, zarr array or DataArray
        Ids 1 … count, 0 outside, by the C order of first voxels: `out` if it was given; a DataArray for a DataArray;
        else an ndarray, uint32 unless there are too many.
    separation : Separation
        Sizes, contacts, and what other values of `persistence` would give.

    Raises
    ------
    InputError
        If the mask, `out` or a parameter cannot be used.

    Notes
    -----
    A voxel's direction and all ties follow the total order (squared distance, C index). The phase is never cut by the
    border of the volume: what lies outside counts as nothing. The mask is read twice, and nothing is written beside
    the labels but tables and planes of the blocks. A maximum that is a plateau is one basin at persistence 0 [1]_.

    References
    ----------
    .. [1] S. Beucher, F. Meyer, The morphological approach to segmentation: the watershed transformation, in:
       Mathematical Morphology in Image Processing (1993). For merging by persistence: H. Edelsbrunner, D. Letscher,
       A. Zomorodian, Topological persistence and simplification (2002), doi:10.1007/s00454-002-2885-2.
    """
    inside = PhaseMask(check_mask(mask))
    limit = check_persistence(persistence, relative)
    check_min_voxels(min_voxels)
    if out is not None:  # of any dtype, here: that is checked when the ids are known
        sink_of(out, inside.shape, np.dtype(bool))
    peak_bits(inside.shape)
    grid = grid_of(inside.shape, block, out)
    client = None if out is None else client_for(client, mask, out)
    each = runner(client, threads)
    with ExitStack() as stack:
        folder = stack.enter_context(folder_beside(out, needed=client is not None))
        parts = parts_in(folder)
        source: Source = DistanceSource(inside)
        try:
            each(FindBasins(source, grid, parts).run, grid)
        except BeyondReach:  # wide open: distances of the whole volume first
            source = stack.enter_context(by_pencils(inside, None, False, folder, each))
            each(FindBasins(source, grid, parts).run, grid)
        groups, separation = merge_blocks(grid, parts, limit, relative, int(min_voxels), each)
        target = np.empty(grid.shape, groups.dtype) if out is None else out
        sink = sink_of(target, grid.shape, groups.dtype)
        each(Relabel(BasinLabels(grid, parts), parts, grid, sink, np.dtype(target.dtype)).run, grid)
        return like(mask, target, "particle") if out is None else out, separation


def merge_blocks(
    grid: Grid, parts: Parts, persistence: float, relative: bool, min_voxels: int, each: Each
) -> tuple[Groups, Separation]:
    """Make particles of the groups that `FindBasins` has found in every block, and leave each block its table of ids.

    Parameters
    ----------
    grid, parts
        As of `FindBasins`.
    persistence, relative, min_voxels
        As of `separate`.
    each : callable

    Returns
    -------
    groups : Groups
        The particles.
    separation : Separation

    Notes
    -----
    Held at once: about 60 bytes a group of a block, and 40 a meeting of two basins.
    """
    offsets = write_offsets(parts, grid)
    if len(grid) > 1:
        each(FindSeams(grid, parts).run, grid)
        unions = unite(parts.read(index, "pairs") for index in indices(grid))
    else:
        unions = unite([])
    node, peaks = _basins(parts, grid, offsets, unions)
    bits = peak_bits(grid.shape)
    heights = (peaks >> bits).astype(np.int32)

    def meetings(names: np.ndarray, directions: int) -> Meetings:
        pieces = (
            piece.renamed(names)
            for index in indices(grid)
            for piece in read_meetings(parts, index, int(offsets[index]), len(grid) > 1, directions)
        )
        return Meetings.total(pieces, directions)

    merged = merge_basins(heights, meetings(node, 0), persistence, relative)
    keep = None if min_voxels <= 1 else lambda table: table[1] >= min_voxels
    groups = number(parts, grid, offsets, _united(node, merged), HOW, keep)
    ids = np.concatenate([np.zeros(1, np.int64), *(_lut(parts, index)[1:] for index in indices(grid))])
    sizes, tops = groups.columns
    return groups, Separation(
        grid.shape,
        sizes,
        groups.first,
        np.where(tops >> bits < DEEPEST, _depth(tops >> bits), np.inf),
        meetings(ids, 13),
        peaks.size,
        np.sort(_persistence(heights, merged, relative)),
    )


def check_persistence(persistence: Any, relative: bool) -> float:
    """Return a persistence as a number.

    Raises
    ------
    InputError
        If it is not one that makes sense.
    """
    known = isinstance(persistence, int | float | np.number) and not isinstance(persistence, bool)
    if not known or not 0 <= float(persistence) < np.inf:
        raise InputError(f"persistence must be a number of voxels, at least 0, got {persistence!r}")
    if relative and float(persistence) > 1:
        raise InputError(
            f"a relative persistence is a share of the radius, from 0 to 1, got {persistence!r}: give relative=False "
            "for voxels"
        )
    return float(persistence)


def _basins(parts: Parts, grid: Grid, offsets: np.ndarray, unions: Unions) -> tuple[np.ndarray, np.ndarray]:
    """Return the basin 1 … n of each provisional id, in the order of their peaks, and these peaks."""
    tops = np.concatenate([np.full(1, -1, np.int64), *(read_table(parts, grid, i)[2] for i in indices(grid))])
    leaders = np.arange(tops.size)
    leaders[unions.members] = unions.leaders
    summits = np.flatnonzero(tops >= 0)  # every basin has one
    summits = summits[np.argsort(tops[summits])]
    node = np.zeros(tops.size, np.int64)
    node[leaders[summits]] = np.arange(1, summits.size + 1)
    return node[leaders], tops[summits]


def _united(node: np.ndarray, merged: Merged) -> Unions:
    """Return which provisional ids are in one particle; the smallest of each stands for it."""
    particle = np.concatenate([[-1], merged.particle])[node]
    ids = np.arange(node.size)
    smallest = np.zeros(merged.particle.size, np.int64)
    smallest[particle[:0:-1]] = ids[:0:-1]
    company = np.bincount(particle[1:], minlength=1) > 1 if node.size > 1 else np.zeros(0, bool)
    members = ids[1:][company[particle[1:]]] if node.size > 1 else ids[:0]
    return Unions(members, smallest[particle[members]])


def _lut(parts: Parts, index: Triple) -> np.ndarray:
    return parts.read(index, "lut").astype(np.int64)


def _depth(squares: np.ndarray) -> np.ndarray:
    return np.sqrt(squares.astype(np.float64))


def _persistence(heights: np.ndarray, merged: Merged, relative: bool) -> np.ndarray:
    depth = _depth(heights)
    rises = depth - _depth(merged.ends)
    if relative:
        rises /= depth
    return np.where(merged.ends > 0, rises, np.inf)
