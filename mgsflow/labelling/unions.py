"""From labels of blocks to ids of the whole volume: pairs that belong together, groups, and their canonical numbers.

Labels of a block are 1 … n; with the block's offset (`mgsflow.labelling.shells.offsets_of`) they are *provisional ids*,
unique in the volume. Only those that occur in a pair can change company, so only those are held: the others are groups
of their own, whatever their number. A group's *canonical* id is the rank of its first voxel, in C order of the whole
volume, among the groups that are kept: it does not depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import numpy as np
from numba import njit

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Parts, indices
from mgsflow.labelling.components.kernel import find

#: Tells, of groups whose joint tables (columns × groups) are given, which to keep.
Keep: TypeAlias = Callable[[np.ndarray], np.ndarray]

#: Ways to put a column's values of one group together.
_HOW: dict[str, np.ufunc] = {"sum": np.add, "min": np.minimum, "max": np.maximum, "any": np.bitwise_or}


@dataclass(frozen=True)
class Unions:
    """Which provisional ids belong together.

    Parameters
    ----------
    members : ndarray of int64, shape (n,)
        Ids that have company, rising. All others are alone.
    leaders : ndarray of int64, shape (n,)
        The id that stands for each one's group, itself a member.
    """

    members: np.ndarray
    leaders: np.ndarray

    def leader(self, ids: np.ndarray) -> np.ndarray:
        """Return the id that stands for the group of each id; 0 stays 0."""
        ids = np.asarray(ids, np.int64)
        if not self.members.size:
            return ids
        at = np.minimum(np.searchsorted(self.members, ids), self.members.size - 1)
        return np.where(self.members[at] == ids, self.leaders[at], ids)

    def within(self, offsets: np.ndarray, index: Triple) -> tuple[np.ndarray, np.ndarray]:
        """Return the members among a block's labels, as 0 … n - 1, and their leaders."""
        place = int(np.ravel_multi_index(index, offsets.shape))
        start = int(offsets[index])
        a = np.searchsorted(self.members, start, side="right")
        b = self.members.size
        if place + 1 < offsets.size:
            b = np.searchsorted(self.members, offsets.ravel()[place + 1], side="right")
        return self.members[a:b] - (start + 1), self.leaders[a:b]


@dataclass(frozen=True)
class Groups:
    """The groups that were kept, in the order of their canonical ids ``after + 1 … after + count``.

    Parameters
    ----------
    after : int
        Ids given to others before.
    first : ndarray of int64, shape (count,)
        C index, in the whole volume, of each group's first voxel.
    columns : tuple of ndarray of int64, each of shape (count,)
        What the tables hold besides, put together over each group.
    """

    after: int
    first: np.ndarray
    columns: tuple[np.ndarray, ...]

    @property
    def count(self) -> int:
        """Number of groups."""
        return self.first.size

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest of uint32 and uint64 that holds the ids."""
        return id_dtype(self.after + self.count)


def id_dtype(last: int) -> np.dtype[np.unsignedinteger]:
    """Return uint32 where ids up to `last` fit in it, else uint64."""
    return np.dtype(np.uint32 if last < 2**32 else np.uint64)


def unite(pairs: Iterable[np.ndarray]) -> Unions:
    """Return the groups that pairs of ids make; the smallest id of a group stands for it.

    Parameters
    ----------
    pairs : iterable of ndarray of int64, shape (n, 2)
        Ids that belong together; an id may be paired with itself.
    """
    found = [np.asarray(p, np.int64).reshape(-1, 2) for p in pairs]
    links = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    members, places = np.unique(links, return_inverse=True)
    roots = _join(members.size, places.reshape(-1, 2).astype(np.int64))
    return Unions(members, members[roots])


def write_table(parts: Parts, index: Triple, first: np.ndarray, *columns: np.ndarray, name: str = "table") -> None:
    """Keep what a block knows of its labels 1 … n.

    Parameters
    ----------
    parts : Parts
    index : tuple of int
        The block's place in the grid.
    first : ndarray of int, shape (n,)
        C index, *within the block*, of each label's first voxel there.
    *columns : ndarray of int, shape (n,)
        Anything else; `number` is told how it adds up.
    name : str
    """
    wide = any(np.iinfo(c.dtype).max > np.iinfo(np.int32).max for c in (first, *columns) if c.size)
    table = np.empty((1 + len(columns), first.size), np.int64 if wide else np.int32)
    for row, column in zip(table, (first, *columns)):
        row[:] = column
    parts.write(index, name, table)


def read_table(parts: Parts, grid: Grid, index: Triple, name: str = "table") -> np.ndarray:
    """Return a block's table as int64, rows as they were given, `first` as C index within the whole volume."""
    table = parts.read(index, name).astype(np.int64)
    core = grid.block(index).core
    z, y, x = (i + a for i, a in zip(np.unravel_index(table[0], core.shape), core.start))
    table[0] = (z * grid.shape[1] + y) * grid.shape[2] + x
    return table


def group_tables(
    parts: Parts, grid: Grid, offsets: np.ndarray, unions: Unions, how: tuple[str, ...] = (), name: str = "table"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the leaders of all groups that occur in a pair, rising, and their joint tables.

    Parameters
    ----------
    parts, grid, name
        Where `write_table` put the tables.
    offsets : ndarray of int64, shape ``grid.counts``
        What makes provisional ids of each block's labels.
    unions : Unions
    how : tuple of {"sum", "min", "max", "any"}
        How each column besides `first` adds up over a group; *any* is the bitwise or.

    Returns
    -------
    leaders : ndarray of int64, shape (groups,)
    table : ndarray of int64, shape (1 + columns, groups)
        Row 0 is `first`.
    """
    steps = [np.minimum, *(_HOW[h] for h in how)]
    leaders = np.unique(unions.leaders)
    joint = np.empty((len(steps), leaders.size), np.int64)
    for row, step in zip(joint, steps):
        row[:] = _NEUTRAL[step]
    for index in indices(grid):
        here, above = unions.within(offsets, index)
        if not here.size:
            continue
        table = read_table(parts, grid, index, name)[:, here]
        at = np.searchsorted(leaders, above)
        for row, step, column in zip(joint, steps, table, strict=True):
            step.at(row, at, column)
    return leaders, joint


def number(
    parts: Parts,
    grid: Grid,
    offsets: np.ndarray,
    unions: Unions,
    how: tuple[str, ...] = (),
    keep: Keep | None = None,
    after: int = 0,
    name: str = "table",
    lut: str = "lut",
) -> Groups:
    """Number the groups by their first voxels, and leave in each block the table from its labels to these ids.

    One layer of blocks is held at a time, and the groups that are kept.

    Parameters
    ----------
    parts, grid, offsets, unions, how, name
        As of `group_tables`.
    keep : callable, optional
        Takes joint tables, (1 + columns, n), and tells which of the n groups to keep; the others get 0. Default: all.
    after : int
        Ids given to others before: the first group here gets ``after + 1``.
    lut : str
        Name of the tables that are written: the entry at i is the id of the block's label i, and that at 0 is 0.
    """
    leaders, joint = group_tables(parts, grid, offsets, unions, how, name)
    ids = np.zeros(leaders.size, np.int64)
    wanted = np.ones(leaders.size, bool) if keep is None else keep(joint)
    # a layer of blocks holds whole planes: first voxels in it come after all those of the layers before
    last_of_layer = np.cumsum(grid.cuts[0]) * (grid.shape[1] * grid.shape[2])
    layer_of = np.searchsorted(last_of_layer, joint[0], side="right")
    given = after
    kept: list[np.ndarray] = []
    for layer, places in groupby(indices(grid), key=lambda index: index[0]):
        joined = np.flatnonzero(wanted & (layer_of == layer))
        found = [joint[:, joined]]
        alone: list[tuple[Triple, int, np.ndarray]] = []
        for index in places:
            table = read_table(parts, grid, index, name)
            single = np.ones(table.shape[1], bool)
            single[unions.within(offsets, index)[0]] = False
            if keep is not None:
                single &= keep(table)
            alone.append((index, table.shape[1], np.flatnonzero(single)))
            found.append(table[:, single])
        every = np.concatenate(found, axis=1)
        order = np.argsort(every[0], kind="stable")
        ranks = np.empty(order.size, np.int64)
        ranks[order] = np.arange(given + 1, given + 1 + order.size)
        kept.append(every[:, order])
        given += order.size
        ids[joined] = ranks[: joined.size]
        at = joined.size
        for index, count, which in alone:
            entries = np.zeros(count + 1, np.int64)
            entries[1 + which] = ranks[at : at + which.size]
            at += which.size
            here, above = unions.within(offsets, index)
            entries[1 + here] = ids[np.searchsorted(leaders, above)]
            parts.write(index, lut, entries.astype(id_dtype(int(entries.max()))))
    first, *columns = np.concatenate(kept, axis=1)
    return Groups(after, first, tuple(columns))


def select(
    parts: Parts,
    grid: Grid,
    offsets: np.ndarray,
    unions: Unions,
    how: tuple[str, ...],
    keep: Keep,
    inside: bool = True,
    name: str = "table",
    lut: str = "lut",
) -> int:
    """Leave in each block a table of booleans: `inside` at the labels whose group is kept, its opposite elsewhere.

    Parameters
    ----------
    parts, grid, offsets, unions, how, keep, name, lut
        As of `number`.
    inside : bool
        What a kept label gets. All others, and 0, get the opposite.

    Returns
    -------
    int
        Number of groups that were kept.
    """
    leaders, joint = group_tables(parts, grid, offsets, unions, how, name)
    wanted = keep(joint)
    kept = int(wanted.sum())
    for index in indices(grid):
        here, above = unions.within(offsets, index)
        single = keep(read_table(parts, grid, index, name))
        single[here] = False
        kept += int(single.sum())
        single[here] = wanted[np.searchsorted(leaders, above)]
        parts.write(index, lut, np.concatenate([[False], single]) == inside)
    return kept


_NEUTRAL: dict[np.ufunc, int] = {
    np.add: 0,
    np.bitwise_or: 0,
    np.minimum: np.iinfo(np.int64).max,
    np.maximum: np.iinfo(np.int64).min,
}


@njit(cache=True, nogil=True)
def _join(count, links):  # type: ignore[no-untyped-def]
    """Return for each of 0 … count - 1 the smallest number that links (n, 2) connect it with."""
    parent = np.arange(count)
    for k in range(links.shape[0]):
        a, b = find(parent, links[k, 0]), find(parent, links[k, 1])
        if a < b:
            parent[b] = a
        else:
            parent[a] = b
    for k in range(count):  # a parent is smaller than its child, and settled when the child's turn comes
        parent[k] = parent[parent[k]]
    return parent
