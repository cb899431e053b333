"""How a region enters the passes over a scan: labels of their own outside, and sums over what is inside alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mgsflow.blocks import Block, Box, Triple
from mgsflow.kernel import Reduction
from mgsflow.regions.shapes import Region


@dataclass(frozen=True)
class LabelOutside:
    """Give voxels outside a region, and phases that do not count, one label.

    Parameters
    ----------
    label : int
    region : Region, optional
        None where all voxels are inside.
    phases : tuple of int
        Labels of phases that do not count.
    """

    label: int
    region: Region | None = None
    phases: tuple[int, ...] = ()

    @property
    def halo(self) -> Triple:
        """No neighbour is read."""
        return (0, 0, 0)

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the labels."""
        return dtype

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of masks of the block, and what the region holds."""
        return 2 * int(np.prod(shape)) + (0 if self.region is None else self.region.scratch(shape))

    def __call__(self, array: np.ndarray, origin: Triple = (0, 0, 0)) -> np.ndarray:
        """Return the labels; see `Kernel`."""
        out = array.copy()
        for phase in self.phases:
            out[array == phase] = self.label
        if self.region is not None:
            out[~self.region.inside(Box.of(array.shape).shift(origin))] = self.label
        return out


@dataclass(frozen=True)
class OnlyInside:
    """A sum over the voxels of a region alone, of a reduction that asks for no neighbours and no places.

    Parameters
    ----------
    reduction : Reduction
        As `Histogram` or `Extremes`: its record depends on the values alone.
    region : Region
    """

    reduction: Reduction
    region: Region

    @property
    def name(self) -> str:
        """Name of the stored records."""
        return self.reduction.name

    @property
    def halo(self) -> Triple:
        """No voxel beyond the block is read."""
        return (0, 0, 0)

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of a record."""
        return self.reduction.record(largest)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of the mask and of a copy of the values inside."""
        inside = int(np.prod(shape)) * (1 + dtype.itemsize)
        return inside + self.region.scratch(shape) + self.reduction.scratch(shape, dtype)

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the record of the voxels that the block owns and that are inside."""
        core = array[block.trim]
        values = core[self.region.inside(block.core)]
        if not values.size:
            return self.nothing(block)
        row = Box.of((1, 1, values.size))
        found = self.reduction(values.reshape(row.shape), Block(block.index, row, row))
        # wide enough for the block, whatever part of it is inside
        return found.astype(self.record(block.core.shape)[1], copy=False)

    def nothing(self, block: Block) -> np.ndarray:
        """Return the record of no voxel."""
        shape, dtype = self.record(block.core.shape)
        empty = getattr(self.reduction, "empty", None)
        return np.zeros(shape, dtype) if empty is None else np.asarray(empty, dtype)

    def gather(self, records: Any) -> Any:
        """Return what the reduction makes of all records."""
        return self.reduction.gather(records)  # type: ignore[attr-defined]
