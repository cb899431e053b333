"""Phase images as the kernels take them: contiguous uint8 labels below the number of phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgsflow.blocks import Block, Triple
from mgsflow.errors import InputError


def check_phases(phases: int, most: int) -> None:
    """Refuse a number of phases that is not between 1 and `most`."""
    if isinstance(phases, bool) or not isinstance(phases, int) or not 1 <= phases <= most:
        raise InputError(
            f"phases must be a whole number from 1 to {most}, got {phases!r}: group the labels into fewer phases,"
            " or measure them as particles"
        )


def check_outside(outside: int | None, phases: int) -> None:
    """Refuse a label of voxels outside the volume that is none of the labels."""
    if outside is not None and outside not in range(phases):
        raise InputError(f"outside must be a label from 0 to {phases - 1} or None, got {outside!r}")


def check_names(phases: Sequence[str], count: int) -> None:
    """Refuse names of phases that are not one for each label."""
    if len(phases) != count:
        raise InputError(f"the measure has {count} phases, but {len(phases)} names: {', '.join(map(str, phases))}")
    if len(set(phases)) != count:
        raise InputError(f"names of phases must differ, got {', '.join(map(str, phases))}")


def label_scratch(shape: Triple, dtype: np.dtype[Any]) -> int:
    """Return the bytes that `as_labels` may need for an array of this shape and dtype."""
    return int(np.prod(shape)) * (1 if dtype == np.uint8 else 2)


def as_labels(array: np.ndarray, block: Block, phases: int) -> np.ndarray:
    """Return the labels of a block as contiguous uint8.

    Raises
    ------
    InputError
        The array is not of whole numbers or has not the block's shape, or a label is not in ``0 … phases - 1``.
    """
    if array.shape != block.outer.shape:
        raise InputError(f"expected the voxels of block {block.index}, {block.outer.shape}, got {array.shape}")
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"a phase image holds whole numbers, got {array.dtype} in block {block.index}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= phases:
        bad = high if high >= phases else low
        where = np.unravel_index(int(np.argmax(array == bad)), array.shape)
        voxel = tuple(int(i) + a for i, a in zip(where, block.outer.start))
        raise InputError(f"label {bad} at voxel {voxel} is none of the {phases} phases, 0 to {phases - 1}")
    return np.ascontiguousarray(array, dtype=np.uint8)
