"""Throats: the faces between each two pores, and those of pores on the border of the volume, from one pass over blocks.

A block leaves whole numbers by pair of pores, which add up over blocks in any order; lengths and areas are made of them
once, when all are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Parts, Source
from mgsflow.errors import InputError
from mgsflow.network.throat_kernel import COLUMNS, DIGITS, FACES, meet_faces
from mgsflow.particle_analysis.watershed.kernel import DEEPEST

#: Pairs that are collected at a time, at least: what does not fit starts another piece.
_SLOTS = 1 << 14
#: Rows that are waited for before they are added up, or as many as there are by then.
_FEWEST = 1 << 17


@dataclass(frozen=True)
class Throats:
    """Faces of voxels between pores, by rising pair of ids.

    Parameters
    ----------
    pairs : ndarray of int64, shape (n, 2)
        Ids of the two pores, the smaller first. The second of a throat to a face of the volume is `FACES` and up.
    sums : ndarray of int64, shape (n, 11)
        See `mgsflow.network.throat_kernel.COLUMNS`.
    """

    pairs: np.ndarray
    sums: np.ndarray

    @classmethod
    def none(cls) -> Throats:
        """Return no throats."""
        return cls(np.zeros((0, 2), np.int64), np.zeros((0, COLUMNS), np.int64))

    @property
    def faces(self) -> np.ndarray:
        """Voxel faces across each axis, shape (n, 3)."""
        return self.sums[:, :3]

    @property
    def crossing(self) -> np.ndarray:
        """Faces that point from the first pore to the second, less those that point back, by axis; shape (n, 3).

        Of a flat throat this is its area in voxel faces times its normal, whatever its direction, but for its rim: the
        steps of voxels, which make the number of faces up to 1.7 times as large, cancel.
        """
        return self.sums[:, 3:6]

    @property
    def cross_section(self) -> np.ndarray:
        """Area of the throat across its mean direction in voxel faces, shape (n,).

        Of an oblique throat, a face is missing where the way along an axis through it ends outside before it arrives.
        Both ends of it, seen along the throat, are √(1 - nᵢ²) apart, so that what is left of a disc is its overlap with
        itself as far off: of the area a, 2√(a/π) Σ nᵢ² √(1 - nᵢ²) is lost in all. Made up for that, discs of a radius
        from 2 voxels on, in any direction, have their area within 2 % on average.
        """
        # a throat around a corner may cancel to nothing: it is one face wide at least
        crossing = self.crossing.astype(np.float64)
        seen = np.maximum(np.sqrt((crossing**2).sum(axis=1)), 1.0)
        squares = np.minimum((crossing / seen[:, None]) ** 2, 1.0)
        lost = (squares * np.sqrt(1.0 - squares)).sum(axis=1) / np.sqrt(np.pi)
        return np.asarray((lost + np.sqrt(lost**2 + seen)) ** 2)

    @property
    def position(self) -> np.ndarray:
        """Mean centre of the faces in voxels from the volume's corner, shape (n, 3)."""
        return self.sums[:, 6:9] / (2 * self.faces.sum(axis=1))[:, None]

    @property
    def mean_distance(self) -> np.ndarray:
        """Mean distance to the solid of the voxels on both sides of the faces, in voxels, centre to centre."""
        return np.asarray(self.sums[:, 9] / (2 * DIGITS * self.faces.sum(axis=1)))

    @property
    def largest_distance(self) -> np.ndarray:
        """The distance at the saddle: the largest of the smaller ones of two voxels; infinite beyond 8191."""
        squared = self.sums[:, 10]
        return np.where(squared < DEEPEST, np.sqrt(squared.astype(np.float64)), np.inf)

    def select(self, keep: np.ndarray) -> Throats:
        """Return some of them."""
        return Throats(self.pairs[keep], self.sums[keep])

    @classmethod
    def total(cls, pieces: Iterable[Throats]) -> Throats:
        """Return the sum of many, of which not many are held at a time."""
        settled, waiting, rows = cls.none(), [], 0
        for piece in pieces:
            waiting.append(piece)
            rows += len(piece.pairs)
            if rows > max(_FEWEST, len(settled.pairs)):
                settled, waiting, rows = cls._joined([settled, *waiting]), [], 0
        return cls._joined([settled, *waiting])

    @classmethod
    def _joined(cls, pieces: list[Throats]) -> Throats:
        pairs = np.concatenate([p.pairs for p in pieces])
        sums = np.concatenate([p.sums for p in pieces])
        if not len(pairs):
            return cls.none()
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs, sums = pairs[order], sums[order]
        fresh = np.ones(len(pairs), bool)
        fresh[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
        starts = np.flatnonzero(fresh)
        added = np.add.reduceat(sums[:, :-1], starts, axis=0)
        topped = np.maximum.reduceat(sums[:, -1:], starts, axis=0)
        return cls(pairs[starts], np.concatenate([added, topped], axis=1))


@dataclass(frozen=True)
class ThroatSums:
    """One pass over the pores of a volume: which of them meet where.

    Parameters
    ----------
    labels : Source
        Ids of pores, 0 where there is none.
    distance : Source
        Squared distances to the solid in voxels, int32; see `mgsflow.labelling.distance.certified.DistanceSource`.
    grid : Grid
        Of the labels' shape.
    parts : Parts
        Where a block's throats go, as ``throats.0`` and, where there are many, ``throats.1`` …

    Raises
    ------
    InputError
        If shapes or dtypes do not fit. When run: for an id that is too large.
    """

    labels: Source
    distance: Source
    grid: Grid
    parts: Parts

    def __post_init__(self) -> None:
        if self.labels.dtype.kind not in "ui":
            raise InputError(f"ids of pores are whole numbers, got {self.labels.dtype}")
        if not tuple(self.labels.shape) == tuple(self.distance.shape) == self.grid.shape:
            raise InputError(
                f"pores of shape {tuple(self.labels.shape)}, distances of {tuple(self.distance.shape)} and blocks of "
                f"{self.grid.shape} must be of one shape"
            )

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when everything is stored."""
        core = self.grid.block(index).core
        stop: Triple = tuple(min(b + 1, n) for b, n in zip(core.stop, self.grid.shape))  # type: ignore[assignment]
        outer = Box(core.start, stop)
        d2 = self.distance.read(outer)
        labels = self.labels.read(outer)
        if labels.size and int(labels.max()) >= FACES:
            raise InputError(f"a pore has the id {int(labels.max())}: a network has fewer than {FACES} pores")
        pieces = self._pieces(np.ascontiguousarray(labels, np.uint32), d2, core)
        for k, (keys, sums, more) in enumerate(pieces):
            piece = np.empty((1 + len(keys), 2 + COLUMNS), np.int64)
            piece[0] = more  # what an earlier run has left beyond the last piece is not read
            piece[1:, 0], piece[1:, 1], piece[1:, 2:] = keys >> 32, keys & 0xFFFFFFFF, sums
            self.parts.write(index, f"throats.{k}", piece)
        return index

    def read(self, index: Triple) -> Iterator[Throats]:
        """Yield the throats of a block that was run."""
        k, more = 0, True
        while more:
            piece = self.parts.read(index, f"throats.{k}")
            yield Throats(piece[1:, :2], piece[1:, 2:])
            k, more = k + 1, bool(piece[0, 0])

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        outer: Triple = tuple(min(n, c + 1) for n, c in zip(self.grid.shape, self.grid.largest))  # type: ignore[assignment]
        d2 = prod(outer) * 4
        # ids as they are stored, and as uint32
        labels = prod(outer) * (self.labels.dtype.itemsize + 4)
        slots = _slots(outer[2])
        # the table; and a piece of it: half of it at most, as it is taken, plain and encoded
        table = slots * 8 * (1 + COLUMNS) + 3 * (slots // 2) * 8 * (2 + COLUMNS)
        reading = max(self.distance.scratch(outer), d2 + labels + self.labels.scratch(outer))
        return max(reading + d2, d2 + labels + table)

    def _pieces(self, labels: np.ndarray, d2: np.ndarray, core: Box) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
        slots = _slots(core.shape[2])
        keys, table = np.full(slots, -1, np.int64), np.zeros((slots, COLUMNS), np.int64)
        row, rows = 0, core.shape[0] * core.shape[1]
        while row < rows:
            row, used = meet_faces(labels, d2, core.shape, core.start, self.grid.shape, row, keys, table)
            if used or row == rows:
                places = np.flatnonzero(keys >= 0)
                yield keys[places], table[places], row < rows
                keys[places], table[places] = -1, 0


def _slots(length: int) -> int:
    return max(_SLOTS, 1 << (4 * 6 * length).bit_length())
