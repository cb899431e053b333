"""How many voxels, neighbouring pairs and triple edges there are, tile by tile: what areas and lengths follow from.

One record serves surface areas, interfaces and triple-phase edges. Every 2×2×2 cube of voxels is owned by the block
that owns its lowest corner, so counts are whole numbers that add up exactly over any blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, ClassVar

import numpy as np

from mgsflow.blocks import Block, Box, Grid, Triple
from mgsflow.errors import InputError
from mgsflow.measures.labels import as_labels, check_outside, check_phases, label_scratch
from mgsflow.measures.surface.contact_kernel import BINS, BRICK, count_contacts, pair_index
from mgsflow.measures.surface.crofton import MEMBERS
from mgsflow.measures.tiles import check_tile, sums_of_windows, tile_slots, tile_spans
from mgsflow.measures.windowed import Tiled

BORDERS = ("excluded", "included", "corrected")

_CELLS: tuple[Triple, ...] = tuple((z, y, x) for z in (0, 1) for y in (0, 1) for x in (0, 1))
"""Extents of cells along (z, y, x), in the order of records."""


def _cell_columns(phases: int) -> dict[Triple, slice]:
    """Return where the cells of each extent lie in a row of counts."""
    s = phases * (phases + 1) // 2
    widths = (phases, s, s, s, s + 1, s + 1, s + 1, s)
    order = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1))
    stops = np.cumsum(widths).tolist()
    return {e: slice(stop - w, stop) for e, w, stop in zip(order, widths, stops)}


@lru_cache(maxsize=64)  # small blocks ask for it as often as they count
def _slots(phases: int) -> tuple[tuple[Triple, Triple, slice, slice], ...]:
    """Return (extent, crossed faces, columns of a row, columns of the record) of each part of a record."""
    at, found = 0, []
    for extent, columns in _cell_columns(phases).items():
        for crossed in _CELLS:
            if all(c <= e for c, e in zip(crossed, extent)):
                n = columns.stop - columns.start
                found.append((extent, crossed, columns, slice(at, at + n)))
                at += n
    return tuple(found)


@lru_cache(maxsize=64)
def _starts(phases: int) -> np.ndarray:
    """Return where each part of a record starts, by extent and crossed faces (4 z + 2 y + x), shape (8, 8)."""
    starts = np.full((8, 8), -1, np.int64)
    for extent, crossed, _, to in _slots(phases):
        starts[_CELLS.index(extent), _CELLS.index(crossed)] = to.start
    return starts


@dataclass(frozen=True)
class ContactCounts:
    """Counts in a window.

    Attributes
    ----------
    shape : tuple of int
        Shape of the window in voxels.
    voxels : ndarray of int64, shape (P,)
        Voxels of each phase.
    pairs : ndarray of int64, shape (7, P, P)
        Pairs of neighbours in the window by class of direction (`crofton.CLASSES`) and by the phases of the two,
        symmetric; a pair of one phase counts once.
    edges : ndarray of int64, shape (3,)
        Voxel edges along z, y, x inside the window that at least three (active) phases share.
    """

    shape: Triple
    voxels: np.ndarray
    pairs: np.ndarray
    edges: np.ndarray

    @property
    def total(self) -> int:
        """Number of voxels that count: all of the window, but for those outside the volume."""
        return int(self.voxels.sum())

    def without(self, label: int) -> ContactCounts:
        """Return the counts with voxels of a label, and pairs that have one, left out: the shape stays the window's."""
        voxels, pairs = self.voxels.copy(), self.pairs.copy()
        voxels[label] = 0
        pairs[:, label, :] = pairs[:, :, label] = 0
        return ContactCounts(self.shape, voxels, pairs, self.edges)

    def pair_totals(self) -> np.ndarray:
        """Return how many pairs of each class the window holds, shape (7,)."""
        same = np.arange(self.voxels.size)
        totals: np.ndarray = (self.pairs.sum(axis=(1, 2)) + self.pairs[:, same, same].sum(axis=1)) // 2
        return totals

    def contacts(self, border: str = "excluded") -> np.ndarray:
        """Return pairs of unlike phases by class, shape (7, P, P), zero on the diagonal.

        With `border` ``"corrected"``, each class is scaled by the voxels of the window over the pairs that fit in it
        (what a homogeneous material would show without its border).
        """
        unlike = self.pairs.astype(float)
        same = np.arange(self.voxels.size)
        unlike[:, same, same] = 0.0
        return unlike * self._scale()[:, None, None] if border == "corrected" else unlike

    def transitions(self, border: str = "excluded") -> np.ndarray:
        """Return pairs with one voxel in a phase and one outside it, by class and phase, shape (7, P).

        With `border` ``"included"``, what lies beyond the window is outside every phase.
        """
        out = self.contacts(border).sum(axis=2)
        if border == "included":
            n = self.voxels.size
            ends = self.pairs.sum(axis=2) + self.pairs[:, np.arange(n), np.arange(n)]
            out += 2 * MEMBERS[:, None] * self.voxels - ends
        return out

    def _scale(self) -> np.ndarray:
        totals = self.pair_totals()
        full = MEMBERS * float(self.total)
        # a class without a pair tells nothing: its contribution stays zero
        return np.divide(full, totals, out=np.zeros(7), where=totals > 0)


@dataclass(frozen=True)
class Contacts(Tiled[ContactCounts]):
    """Count voxels, pairs of neighbours and triple edges of a phase image, tile by tile.

    Parameters
    ----------
    phases : int
        Number of phases P, at most 64: labels are ``0 … P - 1``.
    tile : int
        Edge of a tile in voxels, at most 256.
    inactive : int, optional
        Label that is left out of triple edges. Give voxels outside the percolating parts this label, and the edges
        are the active ones; `active_tpb` does it.
    outside : int, optional
        Label of voxels that are none of the volume: there is no surface between them and a phase, and they are in no
        denominator.

    Notes
    -----
    A record has ``P + 26 S + 12`` counts a tile, S = P (P + 1) / 2: for three phases 171 int32, 2 % of a tile of 32³.
    """

    phases: int
    tile: int = 32
    inactive: int | None = None
    outside: int | None = None

    halo: ClassVar[Triple] = (1, 1, 1)

    def __post_init__(self) -> None:
        check_phases(self.phases, 64)
        check_tile(self.tile, 256)
        if self.inactive is not None and self.inactive not in range(self.phases):
            raise InputError(f"inactive must be a label from 0 to {self.phases - 1} or None, got {self.inactive!r}")
        check_outside(self.outside, self.phases)

    @property
    def name(self) -> str:
        """Name of the records, apart for active edges."""
        return "contacts" if self.inactive is None else f"contacts_without_{self.inactive}"

    @property
    def source(self) -> Contacts:
        """The reduction whose records this measure reads: measures with equal sources share one pass."""
        return Contacts(self.phases, self.tile, self.inactive)

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of a record, ``(tiles z, y, x, counts)``."""
        counts = max(to.stop for *_, to in _slots(self.phases))
        return (*tile_slots(largest, self.tile), counts), np.dtype(np.int32)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the most bytes used beside the block and the record."""
        return label_scratch(shape, dtype) + 4 * prod(BINS) + (BRICK + 1) ** 3 + 8 * self.phases**2 + (1 << 16)

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the record of a block."""
        labels = as_labels(array, block, self.phases)
        shape, dtype = self.record(block.core.shape)
        out = np.zeros(shape, dtype)
        inactive = -1 if self.inactive is None else self.inactive
        pair, starts = pair_index(self.phases), _starts(self.phases)
        scratch = (
            np.empty((BRICK + 1,) * 3, np.uint8),
            np.empty((13, BRICK + 1), np.uint16),
            np.zeros(BINS, np.int32),
        )
        zo, yo, xo = block.outer.start
        for (kz, za, zb), (ky, ya, yb), (kx, xa, xb) in product(*tile_spans(block.core, self.tile)):
            box = (za - zo, zb - zo, ya - yo, yb - yo, xa - xo, xb - xo)
            ends = tuple((a // self.tile + 1) * self.tile - o for a, o in zip((za, ya, xa), block.outer.start))
            count_contacts(labels, box, ends, starts, pair, inactive, *scratch, out[kz, ky, kx])
        return out

    def windows(self, records: Any, grid: Grid, boxes: Sequence[Box]) -> list[ContactCounts]:
        """Return the counts of windows on borders of tiles: those of the cropped images, exactly."""
        found = []
        for window, sums in zip(boxes, sums_of_windows(records, grid, self.tile, boxes)):
            row = np.zeros(_cell_columns(self.phases)[1, 1, 1].stop, np.int64)
            for _, crossed, columns, at in _slots(self.phases):
                for last, part in zip(_CELLS, sums):
                    if not any(c and e for c, e in zip(crossed, last)):
                        row[columns] += part[at]
            counts = self._unpack(window.shape, row)
            found.append(counts if self.outside is None else counts.without(self.outside))
        return found

    def _unpack(self, shape: Triple, row: np.ndarray) -> ContactCounts:
        s = self.phases * (self.phases + 1) // 2
        cells = [row[c] for c in _cell_columns(self.phases).values()]
        pair = pair_index(self.phases)
        pairs = np.stack([c[:s][pair] for c in cells[1:]])
        return ContactCounts(shape, cells[0].copy(), pairs, np.array([int(c[s]) for c in cells[4:7]]))


def check_border(border: str) -> None:
    """Refuse a way of treating the window's border that is not one of `BORDERS`."""
    if border not in BORDERS:
        raise InputError(f"border must be one of {', '.join(BORDERS)}, got {border!r}")
