"""Where basins meet: the saddle between each two, and how many pairs of neighbouring voxels they share.

A *meeting* of two groups of voxels is a row of their numbers, of the saddle (the largest, over all pairs of neighbours
(26) with a voxel in each, of the smaller squared distance of the two), and of the pairs in each of the 13 directions
`saddle_kernel.DIRECTIONS`. Meetings of the same two add up, by the maximum and by sums, so that
they may be found in any number of pieces, and kept so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.compute import Parts
from mgsflow.labelling.shells import Seam
from mgsflow.particle_analysis.watershed.saddle_kernel import DIRECTIONS, meet, meet_across

#: Pairs of groups that are collected at a time: what does not fit starts another piece.
_SLOTS = 1 << 16

_COLUMNS = 16  # two groups, the saddle, 13 directions


@dataclass(frozen=True)
class Meetings:
    """Meetings of numbered things.

    Parameters
    ----------
    first, second : ndarray of int64, shape (n,)
        The two, the smaller number first.
    saddle : ndarray of int32, shape (n,)
        Squared distance at which they meet.
    pairs : ndarray of int64, shape (n, 13)
        Pairs of neighbours in each direction, or shape (n, 0) where they are not wanted.
    """

    first: np.ndarray
    second: np.ndarray
    saddle: np.ndarray
    pairs: np.ndarray

    @property
    def faces(self) -> np.ndarray:
        """Voxel faces that the two share, shape (n,)."""
        return np.asarray(self.pairs[:, np.abs(DIRECTIONS).sum(axis=1) == 1].sum(axis=1))

    @classmethod
    def none(cls, directions: int = 13) -> Meetings:
        """Return no meetings."""
        number = np.zeros(0, np.int64)
        return cls(number, number, np.zeros(0, np.int32), np.zeros((0, directions), np.int64))

    def renamed(self, names: np.ndarray) -> Meetings:
        """Return meetings of what these are part of: i is part of ``names[i]``, or of nothing where that is 0."""
        a, b = names[self.first], names[self.second]
        keep = (a != b) & (a != 0) & (b != 0)
        a, b = a[keep], b[keep]
        return Meetings(np.minimum(a, b), np.maximum(a, b), self.saddle[keep], self.pairs[keep])

    def summed(self) -> Meetings:
        """Return each meeting once, by rising numbers."""
        if not self.first.size:
            return self
        order = np.lexsort((self.second, self.first))
        first, second = self.first[order], self.second[order]
        fresh = np.ones(order.size, bool)
        fresh[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        starts = np.flatnonzero(fresh)
        pairs = np.add.reduceat(self.pairs[order], starts, axis=0)
        return Meetings(first[starts], second[starts], np.maximum.reduceat(self.saddle[order], starts), pairs)

    @classmethod
    def joined(cls, pieces: list[Meetings]) -> Meetings:
        """Return the sum of some."""
        return cls(
            np.concatenate([p.first for p in pieces]),
            np.concatenate([p.second for p in pieces]),
            np.concatenate([p.saddle for p in pieces]),
            np.concatenate([p.pairs for p in pieces]),
        ).summed()

    @classmethod
    def total(cls, pieces: Iterator[Meetings], directions: int = 13) -> Meetings:
        """Return the sum of many, of which not many are held at a time."""
        settled, waiting, size = cls.none(directions), [], 0
        for piece in pieces:
            waiting.append(piece)
            size += piece.first.size
            if size > max(settled.first.size, 1 << 20):
                settled, waiting, size = cls.joined([settled, *waiting]), [], 0
        return cls.joined([settled, *waiting])


def write_within(parts: Parts, index: Triple, labels: np.ndarray, d2: np.ndarray, margin: int) -> None:
    """Keep where the groups of a block meet.

    Parameters
    ----------
    parts : Parts
    index : tuple of int
        The block's place in the grid.
    labels, d2 : ndarray of int32, padded
        Groups 1 … n, zero in the margin, and squared distances.
    margin : int
    """
    rows = (labels.shape[0] - 2 * margin) * (labels.shape[1] - 2 * margin)
    pieces = _pieces(rows, 13 * labels.shape[2], lambda start, table: meet(labels, d2, margin, start, *table))
    _write_pieces(parts, index, "meetings", pieces)


def write_across(parts: Parts, index: Triple, ids: np.ndarray, found: list[Seam]) -> None:
    """Keep where groups meet across a block's seams.

    Parameters
    ----------
    parts : Parts
    index : tuple of int
        The block's place in the grid.
    ids : ndarray of int64
        Provisional id of each number that stands for a group in the seams; ``ids[0]`` is 0.
    found : list of Seam
        With planes "label" of these numbers (int32), and "rise" (``D² · 32 + direction``).
    """
    _write_pieces(parts, index, "across", (piece for seam in found for piece in _pieces_across(seam)))
    parts.write(index, "across.ids", ids)


def _pieces_across(seam: Seam) -> Iterator[np.ndarray]:
    planes = (seam.lower["label"], seam.lower["rise"], seam.upper["label"], seam.upper["rise"], seam.axis)
    m, n = seam.lower["label"].shape
    yield from _pieces(m, 9 * n, lambda start, table: meet_across(*planes, start, *table))


def read_meetings(parts: Parts, index: Triple, offset: int, seams: bool, directions: int = 13) -> Iterator[Meetings]:
    """Yield what was kept for a block, by provisional ids.

    Parameters
    ----------
    parts, index
        As they were written with.
    offset : int
        What makes provisional ids of the block's groups.
    seams : bool
        Whether there are other blocks, so that `write_across` was called.
    directions : int
        13, or 0 to leave out the pairs.
    """
    for rows in _read_pieces(parts, index, "meetings"):
        yield _meetings(rows, rows[:, :2].astype(np.int64) + offset, directions)
    if seams:
        ids = parts.read(index, "across.ids")
        for rows in _read_pieces(parts, index, "across"):
            yield _meetings(rows, ids[rows[:, :2]], directions)


def table_bytes(entries: int) -> int:
    """Return the bytes held while meetings are found, of rows of voxels that have at most so many pairs."""
    # the table; and a piece of it, plain and encoded
    return _slots(entries) * (8 + 4 + 4 * 13) + 2 * _slots(entries) * 4 * _COLUMNS


def _meetings(rows: np.ndarray, ids: np.ndarray, directions: int) -> Meetings:
    pairs = rows[:, 3 : 3 + directions].astype(np.int64)
    return Meetings(ids.min(axis=1), ids.max(axis=1), rows[:, 2].copy(), pairs)


def _write_pieces(parts: Parts, index: Triple, name: str, pieces: Iterable[np.ndarray]) -> None:
    """Keep pieces, and last how many: one that is lost is missed, and one that an earlier run left is not read."""
    count = 0
    for piece in pieces:
        parts.write(index, f"{name}.{count}", piece)
        count += 1
    parts.write(index, f"{name}.count", np.array([count]))


def _read_pieces(parts: Parts, index: Triple, name: str) -> Iterator[np.ndarray]:
    for k in range(int(parts.read(index, f"{name}.count")[0])):
        yield parts.read(index, f"{name}.{k}")


def _slots(entries: int) -> int:
    return max(_SLOTS, 1 << (4 * entries).bit_length())


def _pieces(
    rows: int, entries: int, find: Callable[[int, tuple[np.ndarray, ...]], tuple[int, int]]
) -> Iterator[np.ndarray]:
    """Yield meetings, int32 of shape (n, 16), that a kernel finds row by row until its table is full."""
    slots = _slots(entries)
    keys = np.full(slots, -1, np.int64)
    saddles = np.zeros(slots, np.int32)
    contacts = np.zeros((slots, 13), np.int32)
    row = 0
    while row < rows:
        row, used = find(row, (keys, saddles, contacts))
        if not used:
            continue
        places = np.flatnonzero(keys >= 0)
        piece = np.empty((places.size, _COLUMNS), np.int32)
        piece[:, 0] = keys[places] >> 32
        piece[:, 1] = keys[places] & 0xFFFFFFFF
        piece[:, 2] = saddles[places]
        piece[:, 3:] = contacts[places]
        if row < rows:
            keys[places], saddles[places], contacts[places] = -1, 0, 0
        yield piece
