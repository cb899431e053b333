"""Which voxels to evaluate: boxes cut into tiles, and sparse lattices on which thresholds are calibrated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mgsflow.blocks import Box, Grid, Triple

# Tiles bound the scratch of a geometry (about 12 bytes a voxel) whatever box is asked for.
TILE: Triple = (32, 128, 512)
# Lattices: at most so many points along an axis, so far apart (a step much larger than a grain samples poorly).
POINTS, STEP = 96, 4


@dataclass(frozen=True)
class Lattice:
    """Voxels ``start + step * i`` for ``0 <= i < count`` along z, y and x.

    Parameters
    ----------
    start, count : tuple of int
    step : int
        1 for a box of voxels.
    """

    start: Triple
    count: Triple
    step: int = 1

    @classmethod
    def of(cls, box: Box) -> Lattice:
        """Return every voxel of a box."""
        return cls(box.start, box.shape)

    @classmethod
    def sparse(cls, shape: Triple) -> Lattice:
        """Return a lattice that represents a volume, in its middle if the volume is larger than 384 voxels."""
        step = min(STEP, max(1, -(-max(shape) // POINTS)))
        count = tuple(max(1, min(POINTS, n // step)) for n in shape)
        start = tuple((n - (c - 1) * step - 1) // 2 for n, c in zip(shape, count))
        return cls(start, count, step)  # type: ignore[arg-type]

    @property
    def box(self) -> Box:
        """The smallest box around the lattice."""
        stop = tuple(a + (n - 1) * self.step + 1 for a, n in zip(self.start, self.count))
        return Box(self.start, stop)  # type: ignore[arg-type]

    @property
    def args(self) -> tuple[np.ndarray, int]:
        """Start as an integer array, and step: what compiled kernels take."""
        return np.array(self.start, np.int64), self.step

    def coordinates(self, axis: int) -> np.ndarray:
        """Return the voxel indices along an axis."""
        return self.start[axis] + self.step * np.arange(self.count[axis], dtype=np.int64)


def tiles(box: Box) -> Iterator[Box]:
    """Yield boxes of at most `TILE` voxels that tile a box."""
    if not box.size:
        return
    for block in Grid.regular(box.shape, TILE).blocks():
        yield block.core.shift(box.start)
