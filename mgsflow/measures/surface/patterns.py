"""Histograms of the 256 patterns that a phase makes in a 2×2×2 cube of voxels, tile by tile.

Any functional that is a sum over cubes of a value of the pattern follows from them by a table of 256 values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from mgsflow.blocks import Block, Box, Grid, Triple
from mgsflow.measures.labels import as_labels, check_phases, label_scratch
from mgsflow.measures.surface.pattern_kernel import count_patterns
from mgsflow.measures.tiles import check_tile, sums_of_windows, tile_slots, tile_spans
from mgsflow.measures.windowed import Tiled

CORNERS = np.array([(k >> 1 & 1, k & 1, k >> 2 & 1) for k in range(8)])
"""Place (z, y, x) in the cube of each bit of a pattern."""

_PATTERNS = np.arange(256)
_SUBSET = (_PATTERNS[:, None] & _PATTERNS[None, :]) == _PATTERNS[None, :]
"""``_SUBSET[p, s]``: all corners of s are in p."""


@dataclass(frozen=True)
class PatternCounts:
    """Patterns in a window.

    Attributes
    ----------
    shape : tuple of int
        Shape of the window in voxels.
    by_border : ndarray of int64, shape (8, P, 256)
        The cubes of all lowest voxels in the window, by the axes along which they leave it (4: z, 2: y, 1: x).
    """

    shape: Triple
    by_border: np.ndarray

    @property
    def whole(self) -> np.ndarray:
        """Cubes that lie in the window, by phase and pattern."""
        return self.by_border[0]

    @property
    def cubes(self) -> int:
        """Number of cubes that lie in the window."""
        return int(np.prod([n - 1 for n in self.shape]))

    def inside(self, table: np.ndarray) -> np.ndarray:
        """Sum a value of the pattern over the cubes that lie in the window, for each phase."""
        total: np.ndarray = self.whole @ table
        return total

    def padded(self, table: np.ndarray) -> np.ndarray:
        """Sum a value of the pattern over all cubes that touch the window, nothing being in the phase beyond it.

        The value of the empty pattern must be 0. A value is a sum over the sets S of corners that lie in the phase,
        ``f(p) = Σ_{S ⊆ p} g(S)`` (Möbius inversion). A set counts once wherever it is placed in the window, and each
        place lies in as many cubes as there are shifts of S within a cube.
        """
        held = np.zeros(self.by_border.shape[1:], np.int64)
        for extent in product((0, 1), repeat=3):
            fits = [not any(e and k for e, k in zip(extent, leaves)) for leaves in product((0, 1), repeat=3)]
            sets = np.all(np.equal(_EXTENTS, extent), axis=1)
            # whole numbers first: what lies beyond the window must not change a digit
            held[:, sets] = self.by_border[fits].sum(axis=0) @ _SUBSET[:, sets].astype(np.int64)
        total: np.ndarray = held @ _at_lowest_corner(np.asarray(table))
        return total


_EXTENTS = np.array(
    [np.ptp(CORNERS[[k for k in range(8) if s >> k & 1]], axis=0) if s else [-1] * 3 for s in _PATTERNS]
)
"""Extent along (z, y, x) of each set of corners; none has that of the empty set."""


def _at_lowest_corner(table: np.ndarray) -> np.ndarray:
    """Return what each set of corners adds for every place it has: g of its shifts within a cube, at the lowest one."""
    coefficient = table.copy()
    for bit in range(8):
        has = (_PATTERNS >> bit & 1).astype(bool)
        coefficient[has] -= coefficient[_PATTERNS[has] ^ (1 << bit)]
    lowest = np.zeros(256, table.dtype)
    for s in range(1, 256):
        corners = CORNERS[[k for k in range(8) if s >> k & 1]]
        base = sum(1 << int(y + 2 * z + 4 * x) for z, y, x in corners - corners.min(axis=0))
        lowest[base] += coefficient[s]
    return lowest


@dataclass(frozen=True)
class Patterns(Tiled[PatternCounts]):
    """Count the patterns of each phase in the 2×2×2 cubes of an image, tile by tile.

    Parameters
    ----------
    phases : int
        Number of phases P, at most 64: labels are ``0 … P - 1``.
    tile : int
        Edge of a tile in voxels, at most 1024. A record has 2048 P int32 a tile.
    """

    phases: int
    tile: int = 128

    name: ClassVar[str] = "patterns"
    halo: ClassVar[Triple] = (1, 1, 1)

    def __post_init__(self) -> None:
        check_phases(self.phases, 64)
        check_tile(self.tile, 1024)

    @property
    def source(self) -> Patterns:
        """The reduction whose records this measure reads: measures with equal sources share one pass."""
        return Patterns(self.phases, self.tile)

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of a record, ``(tiles z, y, x, 8, phases, 256)``."""
        return (*tile_slots(largest, self.tile), 8, self.phases, 256), np.dtype(np.int32)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the most bytes used beside the block and the record."""
        return label_scratch(shape, dtype) + shape[2] + (1 << 16)

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the record of a block."""
        labels = as_labels(array, block, self.phases)
        shape, dtype = self.record(block.core.shape)
        out = np.zeros(shape, dtype)
        present = np.zeros(256, np.uint8)
        column = np.zeros(labels.shape[2] + 1, np.uint8)
        scratch = np.zeros((4, 256), np.int32)
        zo, yo, xo = block.outer.start
        for (kz, za, zb), (ky, ya, yb), (kx, xa, xb) in product(*tile_spans(block.core, self.tile)):
            box = (za - zo, zb - zo, ya - yo, yb - yo, xa - xo, xb - xo)
            ends = tuple((a // self.tile + 1) * self.tile - o for a, o in zip((za, ya, xa), block.outer.start))
            count_patterns(labels, box, ends, self.phases, present, column, scratch, out[kz, ky, kx])
        return out

    def windows(self, records: Any, grid: Grid, boxes: Sequence[Box]) -> list[PatternCounts]:
        """Return the patterns of windows on borders of tiles: those of the cropped images, exactly.

        In ``by_border``, a cube that leaves the window keeps the bits of what lies beyond it; what `PatternCounts`
        computes does not read those.
        """
        found = []
        for window, sums in zip(boxes, sums_of_windows(records, grid, self.tile, boxes)):
            out = np.zeros(sums.shape[1:], np.int64)
            for last, crossed in product(range(8), repeat=2):
                out[crossed & last] += sums[last, crossed]
            found.append(PatternCounts(window.shape, out))
        return found
