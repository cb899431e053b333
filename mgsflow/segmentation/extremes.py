"""Least and greatest grey value of an image: what the bins of a histogram of floats must span."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mgsflow.blocks import Block, Triple
from mgsflow.errors import InputError


@dataclass(frozen=True, slots=True)
class Extremes:
    """Least and greatest value of each block, as two float64."""

    @property
    def name(self) -> str:
        """Name of the stored records."""
        return "extremes"

    @property
    def empty(self) -> tuple[float, float]:
        """The record of no voxel."""
        return float("inf"), float("-inf")

    @property
    def halo(self) -> Triple:
        """No voxel beyond the block is read."""
        return (0, 0, 0)

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of a record."""
        return (2,), np.dtype(np.float64)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes used beside the input: nothing to speak of."""
        return 4096

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the extremes of the voxels that the block owns."""
        core = array[block.trim]
        return np.array([core.min(), core.max()], dtype=np.float64)

    def gather(self, records: Any) -> tuple[float, float]:
        """Return the extremes over all blocks of `records`, of shape (blocks z, y, x, 2).

        Raises
        ------
        InputError
            If every voxel has the same value: there is nothing to tell apart.
        """
        rows = np.asarray(records[...]).reshape(-1, 2)
        low, high = float(rows[:, 0].min()), float(rows[:, 1].max())
        if not low < high:
            raise InputError(f"every voxel has the grey value {low:g}: this is not a tomogram")
        return low, high
