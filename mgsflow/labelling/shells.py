"""The outer planes of every block, kept for the blocks next to it, and the seams where two blocks meet.

A block leaves its six outer planes, of labels or whatever else its neighbours must know. Later, each block looks at the
seams towards its neighbours at larger z, y and x, so that every pair of voxels that are neighbours (26) and lie in two
blocks is seen once: at the seam of the first axis along which their blocks differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Parts

_SIDES = ("low", "high")


@dataclass(frozen=True)
class Seam:
    """Where a block meets its neighbours along one axis.

    Parameters
    ----------
    axis : int
        0, 1, 2 for z, y, x.
    lower : dict of str to ndarray, shape (m, n)
        The block's own last plane, by name.
    upper : dict of str to ndarray, shape (m + 2, n + 2)
        The first plane behind it, with a margin of one voxel from the blocks around: voxel (i, j) of `lower` faces
        voxel (i + 1, j + 1); its neighbours (26) across this seam are (i … i + 2, j … j + 2). The margin is 0 beyond
        the volume, and where a pair belongs to the seam of another axis.
    """

    axis: int
    lower: dict[str, np.ndarray]
    upper: dict[str, np.ndarray]


def shell_of(array: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the first and the last plane of a block along z, y and x."""
    return [(array[0], array[-1]), (array[:, 0], array[:, -1]), (array[:, :, 0], array[:, :, -1])]


def write_shell(parts: Parts, grid: Grid, index: Triple, name: str, array: np.ndarray) -> None:
    """Keep the outer planes of a block.

    Parameters
    ----------
    parts : Parts
    grid : Grid
    index : tuple of int
        The block's place in the grid.
    name : str
        Under which `seams` finds the planes again.
    array : ndarray, of the block's shape
    """
    write_planes(parts, grid, index, name, shell_of(array))


def write_planes(
    parts: Parts, grid: Grid, index: Triple, name: str, planes: Sequence[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Keep the outer planes of a block, given as `shell_of` returns them."""
    for side, place in enumerate(_SIDES):
        # at the border of the volume nobody will ask
        kept = [p[side].ravel() for axis, p in enumerate(planes) if _neighbour(grid, index, axis, side)]
        if kept:
            parts.write(index, f"{name}.{place}", np.concatenate(kept))


def shell_bytes(grid: Grid, itemsize: int) -> int:
    """Return the bytes of the largest shell, encoded copies included, that writing one holds."""
    z, y, x = grid.largest
    return 4 * (z * y + z * x + y * x) * itemsize


def seam_bytes(grid: Grid, itemsize: int) -> int:
    """Return the bytes of the largest seams that a block looks at, for voxels of this size in all names together."""
    z, y, x = (n + 2 for n in grid.largest)
    # one part that is being read, decoded and encoded; the block's own; and the seam
    return 6 * (z * y + z * x + y * x) * itemsize


def seams(
    parts: Parts,
    grid: Grid,
    index: Triple,
    names: Sequence[str],
    offsets: Mapping[str, np.ndarray] | None = None,
    corners: bool = True,
) -> Iterator[Seam]:
    """Yield a block's seams towards its neighbours at larger z, y and x, where there are any.

    Parameters
    ----------
    parts : Parts
        Where all blocks have written their shells.
    grid : Grid
    index : tuple of int
        The block's place in the grid.
    names : sequence of str
        Shells to read.
    offsets : dict of str to ndarray of int64, shape ``grid.counts``, optional
        For each name that holds labels of its block (1 … n): what to add to those of each block, so that they are told
        apart in the whole volume (see `offsets_of`). Such planes come out as int64, and 0 stays 0.
    corners : bool
        Whether the margins are wanted: not for neighbours across faces alone. Without, they are 0.
    """
    offsets = offsets or {}
    own = {name: _Shell(parts, grid, index, name, "high", offsets.get(name)) for name in names}
    for axis in range(3):
        if not _neighbour(grid, index, axis, 1):
            continue
        lower = {name: own[name].plane(axis) for name in names}
        upper = {n: np.zeros([k + 2 for k in p.shape], p.dtype) for n, p in lower.items()}
        sides = [a for a in range(3) if a != axis]
        # pairs that differ along an earlier axis belong to that one's seam
        reach = [(-1, 0, 1) if a > axis and corners else (0,) for a in sides]
        for steps in product(*reach):
            place = list(index)
            place[axis] += 1
            for a, step in zip(sides, steps):
                place[a] += step
            if not all(0 <= p < n for p, n in zip(place, grid.counts)):
                continue
            target, piece = zip(*(_MARGINS[step] for step in steps))
            for name in names:
                there = _Shell(parts, grid, (place[0], place[1], place[2]), name, "low", offsets.get(name))
                upper[name][target] = there.plane(axis)[piece]
        yield Seam(axis, lower, upper)


def offsets_of(counts: np.ndarray) -> np.ndarray:
    """Return what to add to each block's labels so that all blocks' labels are one row of numbers.

    Parameters
    ----------
    counts : ndarray of int, shape (blocks z, y, x)
        Number of labels in each block.

    Returns
    -------
    ndarray of int64, same shape
        Number of labels in all blocks before it, in C order.
    """
    flat = np.fromiter(accumulate(counts.ravel().tolist(), initial=0), np.int64, counts.size + 1)
    return flat[:-1].reshape(counts.shape)


#: Where a neighbour's plane goes in the upper plane, and which piece of it: before, at, and after the block.
_MARGINS = {
    -1: (slice(0, 1), slice(-1, None)),
    0: (slice(1, -1), slice(None)),
    1: (slice(-1, None), slice(0, 1)),
}


def _neighbour(grid: Grid, index: Triple, axis: int, side: int) -> bool:
    return index[axis] + 1 < grid.counts[axis] if side else index[axis] > 0


class _Shell:
    """Planes of one side of a block's shell, as they lie one after the other in its part."""

    def __init__(
        self, parts: Parts, grid: Grid, index: Triple, name: str, place: str, offsets: np.ndarray | None
    ) -> None:
        self._grid, self._index, self._side = grid, index, _SIDES.index(place)
        self._shape = tuple(c[i] for c, i in zip(grid.cuts, index))
        self._read = (parts, f"{name}.{place}")
        self._flat: np.ndarray | None = None
        self._offset = None if offsets is None else int(offsets[index])

    def plane(self, axis: int) -> np.ndarray:
        """Return the plane across an axis."""
        if self._flat is None:
            parts, key = self._read
            self._flat = parts.read(self._index, key)
        at = 0
        for a in range(axis + 1):
            shape = [n for b, n in enumerate(self._shape) if b != a]
            size = shape[0] * shape[1] if _neighbour(self._grid, self._index, a, self._side) else 0
            if a == axis:
                found = self._flat[at : at + size].reshape(shape)
                return found if self._offset is None else _numbered(found, self._offset)
            at += size
        raise AssertionError("unreachable")


def _numbered(labels: np.ndarray, offset: int) -> np.ndarray:
    wide = labels.astype(np.int64)
    return np.where(wide > 0, wide + offset, 0)
