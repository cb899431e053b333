"""Parts of a table of particles: whole numbers by id and by pair of ids, which add up in any order.

Sums that outgrow int64 over a volume are kept as two columns, and floats as integers that sort as they do, so that
adding up and taking the largest is all there is to do with parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mgsflow.particle_analysis.kernel import BINS

LIMB = 31
"""Second moments and grey sums are kept as ``high · 2^31 + low``, so that sums over blocks fit int64 too."""


@dataclass(frozen=True)
class Columns:
    """Which columns a part has: those that add up, and those of which the largest is kept.

    Parameters
    ----------
    grey : {None, "i", "f"}
        Whether there is an image, and whether it holds whole numbers.
    distance : {None, "i", "f"}
        The same of a distance.
    """

    grey: str | None = None
    distance: str | None = None

    @property
    def added(self) -> dict[str, slice]:
        """Columns that add up."""
        widths = {"voxels": 1, "first": 3, "second_high": 6, "second_low": 6, "outside": 7, "open": 7}
        if self.grey == "i":
            widths |= {"grey_high": 1, "grey_low": 1}
        elif self.grey == "f":
            widths |= {"grey_digits": BINS}
        return _slices(widths)

    @property
    def topped(self) -> dict[str, slice]:
        """Columns of which the largest is kept: minus the first index, the last one, borders, minus the least grey …"""
        widths = {"low": 3, "high": 3, "border": 6}
        if self.grey:
            widths |= {"grey_low": 1, "grey_high": 1}
        if self.distance:
            widths |= {"distance": 1}
        return _slices(widths)


def _slices(widths: dict[str, int]) -> dict[str, slice]:
    stops = np.cumsum(list(widths.values())).tolist()
    return {k: slice(stop - w, stop) for (k, w), stop in zip(widths.items(), stops)}


def width(columns: dict[str, slice]) -> int:
    """Return how many columns there are."""
    return max(s.stop for s in columns.values())


@dataclass(frozen=True)
class Part:
    """Particles and contacts as some voxels show them; of a block, or of many.

    Attributes
    ----------
    ids : (n,) uint64
    added, topped : (n, …) int64
        See `Columns`.
    pairs : (m, 2) uint64
        Ids of particles that touch, the smaller first.
    contacts : (m, 7) int64
        Pairs of their voxels, by class of direction.
    """

    ids: np.ndarray
    added: np.ndarray
    topped: np.ndarray
    pairs: np.ndarray
    contacts: np.ndarray

    @classmethod
    def empty(cls, columns: Columns) -> Part:
        """Return no particles."""
        return cls(
            np.zeros(0, np.uint64),
            np.zeros((0, width(columns.added)), np.int64),
            np.zeros((0, width(columns.topped)), np.int64),
            np.zeros((0, 2), np.uint64),
            np.zeros((0, 7), np.int64),
        )

    def pack(self, more: bool) -> np.ndarray:
        """Return the part as one row of int64, led by whether the block has another."""
        lengths = [int(more), self.ids.size, len(self.pairs), self.added.shape[1], self.topped.shape[1]]
        parts = (np.array(lengths), self.ids, self.added, self.topped, self.pairs, self.contacts)
        return np.concatenate([np.ascontiguousarray(p).view(np.int64).ravel() for p in parts])

    @classmethod
    def unpack(cls, row: np.ndarray) -> tuple[Part, bool]:
        """Return a part from its row, and whether another follows."""
        more, n, m, a, t = (int(v) for v in row[:5])
        stops = np.cumsum([5, n, n * a, n * t, 2 * m, 7 * m])
        ids, added, topped, pairs, contacts = (row[i:j] for i, j in pairwise(stops))
        part = cls(
            ids.view(np.uint64),
            added.reshape(n, a),
            topped.reshape(n, t),
            pairs.view(np.uint64).reshape(m, 2),
            contacts.reshape(m, 7),
        )
        return part, bool(more)


def rank(values: np.ndarray) -> np.ndarray:
    """Return int64 that sort as the values do: whole numbers as they are, floats by their bits."""
    if values.dtype.kind != "f":
        return np.ascontiguousarray(values, np.int64)
    bits = np.ascontiguousarray(values, np.float64).view(np.int64)
    return bits ^ ((bits >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))


def from_rank(ranks: np.ndarray) -> np.ndarray:
    """Return the float64 values of ranks."""
    bits: np.ndarray = ranks ^ ((ranks >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))
    return bits.view(np.float64)
