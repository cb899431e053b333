"""Pure block arithmetic: boxes of voxels, halos, and grids of blocks of any (uneven) size.

Everything here is integer bookkeeping on ``(z, y, x)`` triples; nothing touches data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TypeAlias

from mgsflow.errors import InputError

Triple: TypeAlias = tuple[int, int, int]


def triple(value: int | Sequence[int]) -> Triple:
    """Return three integers from one (used for every axis) or from three."""
    if isinstance(value, Sequence):
        if len(value) != 3:
            raise InputError(f"expected one integer or three (z, y, x), got {list(value)}")
        z, y, x = (int(v) for v in value)
        return z, y, x
    return int(value), int(value), int(value)


@dataclass(frozen=True, order=True, slots=True)
class Box:
    """A half-open box of voxels ``start <= v < stop``, in (z, y, x).

    Parameters
    ----------
    start, stop : tuple of int
        First voxel, and one past the last, on each axis.
    """

    start: Triple
    stop: Triple

    @classmethod
    def of(cls, shape: Sequence[int]) -> Box:
        """Return the box that starts at the origin and has this shape."""
        return cls((0, 0, 0), triple(shape))

    @property
    def shape(self) -> Triple:
        """Lengths of the edges; zero where the box is empty."""
        z, y, x = (max(0, b - a) for a, b in zip(self.start, self.stop))
        return z, y, x

    @property
    def size(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index an array whose first voxel is the origin."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop))
        return z, y, x

    def grow(self, halo: int | Sequence[int], within: Box) -> Box:
        """Return the box with a margin of `halo` voxels, clipped at the borders of `within`."""
        h = triple(halo)
        start = tuple(max(w, a - m) for a, m, w in zip(self.start, h, within.start))
        stop = tuple(min(w, b + m) for b, m, w in zip(self.stop, h, within.stop))
        return Box(start, stop)  # type: ignore[arg-type]

    def shift(self, by: Sequence[int]) -> Box:
        """Return the box moved by `by` voxels."""
        start = tuple(a + d for a, d in zip(self.start, by))
        stop = tuple(b + d for b, d in zip(self.stop, by))
        return Box(start, stop)  # type: ignore[arg-type]

    def relative_to(self, other: Box) -> Box:
        """Return the same voxels, counted from the first voxel of `other`."""
        return self.shift(tuple(-a for a in other.start))

    def intersect(self, other: Box) -> Box:
        """Return the voxels in both boxes (shape 0 on some axis if there are none)."""
        start = tuple(max(a, b) for a, b in zip(self.start, other.start))
        stop = tuple(max(s, min(a, b)) for s, a, b in zip(start, self.stop, other.stop))
        return Box(start, stop)  # type: ignore[arg-type]

    def contains(self, other: Box) -> bool:
        """Tell whether every voxel of `other` is in this box."""
        return all(a <= c and d <= b for a, b, c, d in zip(self.start, self.stop, other.start, other.stop))


@dataclass(frozen=True, slots=True)
class Block:
    """A unit of work: the voxels it owns, and those it reads.

    Parameters
    ----------
    index : tuple of int
        Position in the grid of blocks.
    core : Box
        Voxels that the block owns: the cores of a grid tile its volume.
    outer : Box
        Core with its halo, clipped at the true borders of the volume.
    """

    index: Triple
    core: Box
    outer: Box

    @property
    def trim(self) -> tuple[slice, slice, slice]:
        """Index an array of `outer`'s shape to get `core`."""
        return self.core.relative_to(self.outer).slices


@dataclass(frozen=True)
class Grid:
    """Blocks that tile a volume.

    Parameters
    ----------
    cuts : tuple of tuple of int
        Block lengths along z, y and x, as dask's ``chunks``; they may be uneven.
    """

    cuts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    def __post_init__(self) -> None:
        for axis, cut in zip("zyx", self.cuts):
            if not cut or any(c <= 0 for c in cut):
                raise InputError(f"block lengths along {axis} must be positive, got {cut}")

    @classmethod
    def regular(cls, shape: Sequence[int], block: int | Sequence[int]) -> Grid:
        """Return blocks of one shape; the last along an axis is what remains."""
        cuts = []
        for axis, n, b in zip("zyx", triple(shape), triple(block)):
            if n <= 0 or b <= 0:
                raise InputError(f"volume and block must be at least one voxel along {axis}, got {n} and {b}")
            full, rest = divmod(n, b)
            cuts.append((b,) * full + ((rest,) if rest else ()))
        return cls(tuple(cuts))  # type: ignore[arg-type]

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Grid:
        """Return a single block."""
        return cls.regular(shape, shape)

    @property
    def shape(self) -> Triple:
        """Shape of the volume in voxels."""
        z, y, x = (sum(c) for c in self.cuts)
        return z, y, x

    @property
    def counts(self) -> Triple:
        """Number of blocks along each axis."""
        z, y, x = (len(c) for c in self.cuts)
        return z, y, x

    @property
    def largest(self) -> Triple:
        """Longest block along each axis."""
        z, y, x = (max(c) for c in self.cuts)
        return z, y, x

    def __len__(self) -> int:
        return prod(self.counts)

    def block(self, index: Sequence[int], halo: int | Sequence[int] = 0) -> Block:
        """Return the block at a grid position, with its halo."""
        i = triple(index)
        if not all(0 <= k < n for k, n in zip(i, self.counts)):
            raise InputError(f"no block {i} in a grid of {self.counts}")
        start = tuple(sum(c[:k]) for c, k in zip(self.cuts, i))
        stop = tuple(a + c[k] for a, c, k in zip(start, self.cuts, i))
        core = Box(start, stop)  # type: ignore[arg-type]
        return Block(i, core, core.grow(halo, Box.of(self.shape)))

    def blocks(self, halo: int | Sequence[int] = 0) -> Iterator[Block]:
        """Yield every block in C order."""
        for index in product(*(range(n) for n in self.counts)):
            yield self.block(index, halo)
