"""What a measure says about itself, and how measures run on a volume that is at hand.

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
from mgsflow.measures.crofton import check_voxel_size

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


def measure(
    phase: Any,
    measures: Sequence[Measure],
    voxel_size: Sequence[float],
    phases: Sequence[str],
    block: int | Sequence[int] = 256,
) -> xr.Dataset:
    """Run measures over a phase image, block by block, in this thread.

    Parameters
    ----------
    phase : ndarray, zarr array or DataArray, shape (z, y, x)
        Labels 0 … number of phases − 1. Only one block with its halo is read at a time.
    measures : sequence of Measure
    voxel_size : sequence of float
        Edges of a voxel along (z, y, x) in µm.
    phases : sequence of str
        Names of the phases; label i is ``phases[i]``.
    block : int or (int, int, int)
        Edge of a block in voxels. It changes the memory that is used, not the result.

    Returns
    -------
    Dataset
        The variables of all measures.

    Raises
    ------
    InputError
        If the image does not have three axes, no measure is given, or two give a variable of the same name.
    """
    if len(phase.shape) != 3:
        raise InputError(f"a phase image has three axes (z, y, x), got an array of shape {tuple(phase.shape)}")
    if not measures:
        raise InputError("no measures are given: name one at least")
    check_voxel_size(voxel_size)
    grid = Grid.regular(tuple(phase.shape), block)
    records: dict[Reduction, np.ndarray] = {}
    for m in measures:
        source: Reduction = getattr(m, "source", m)
        if source not in records:
            shape, dtype = source.record(grid.largest)
            records[source] = np.zeros((*grid.counts, *shape), dtype)
    for source, stored in records.items():
        for b in grid.blocks(source.halo):
            record = source(np.asarray(phase[b.outer.slices]), b)
            # a block smaller than the largest records less
            stored[b.index][tuple(slice(n) for n in record.shape)] = record
    parts: list[xr.Dataset] = []
    for m in measures:
        part = m.finalize(records[getattr(m, "source", m)], grid, voxel_size, phases)
        taken = {str(v) for p in parts for v in p.data_vars} & {str(v) for v in part.data_vars}
        if taken:
            raise InputError(f"{type(m).__name__} gives {', '.join(sorted(taken))} again: name each measure once")
        parts.append(part)
    import xarray as xr  # not needed by workers: 40 MiB less in each

    return xr.merge(parts, join="exact", compat="equals")


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
