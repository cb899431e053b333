"""What a measure says about itself.

A measure is a `mgsflow.kernel.Reduction` of a phase image that can also turn the stored records of a scan into a
Dataset with units. To add one of your own, write a frozen dataclass with the parameters as fields and

- ``name``, ``halo``, ``record(largest)``, ``scratch(shape, dtype)`` and ``__call__(array, block)`` of a Reduction: the
  last returns the record of one block, which must add up with, or lie beside, those of other blocks so that the result
  does not depend on the blocks;
- ``finalize(records, grid, voxel_size, phases)``, which reads the records block by block and returns a Dataset whose
  variables have ``units`` and ``long_name``.

A measure that reads the records of another reduction says so with a ``source`` property; measures of equal sources
share one pass over the voxels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from mgsflow.blocks import Block, Grid
from mgsflow.errors import InputError
from mgsflow.kernel import Reduction

if TYPE_CHECKING:
    import xarray as xr


@runtime_checkable
class Measure(Reduction, Protocol):
    """A reduction of a phase image that knows what its records mean."""

    def finalize(self, records: Any, grid: Grid, voxel_size: Sequence[float], phases: Sequence[str]) -> xr.Dataset:
        """Return the result for one scan.

        Parameters
        ----------
        records : ndarray or zarr array, shape (blocks z, y, x, *record)
            Records of all blocks, zero beyond what a smaller block recorded; read one block at a time.
        grid : Grid
            The blocks, which tile the scan's own extent.
        voxel_size : sequence of float
            Edges of a voxel along (z, y, x) in µm.
        phases : sequence of str
            Names of the phases; label i is ``phases[i]``.
        """
        ...


def block_records(records: Any, grid: Grid) -> Iterator[tuple[Block, np.ndarray]]:
    """Yield each block with its record, read one at a time.

    Raises
    ------
    InputError
        If the records are not those of the grid.
    """
    if tuple(records.shape[:3]) != grid.counts:
        raise InputError(f"records of {tuple(records.shape[:3])} blocks do not belong to a grid of {grid.counts}")
    for block in grid.blocks():
        yield block, np.asarray(records[block.index])
