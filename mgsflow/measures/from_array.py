"""Measuring a phase image that is at hand: an array in memory, in a store, or behind a DataArray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Grid
from mgsflow.errors import InputError
from mgsflow.kernel import Reduction
from mgsflow.measures.definition import Measure
from mgsflow.measures.registry import DEFAULT, make_measures
from mgsflow.measures.surface.crofton import check_voxel_size
from mgsflow.measures.volume.layers import LayerProfile
from mgsflow.measures.windowed import AXES, Windowed

if TYPE_CHECKING:
    import xarray as xr


def measure(
    phase: Any,
    measures: Sequence[str | Measure] = DEFAULT,
    voxel_size: float | Sequence[float] | None = None,
    phases: Sequence[str] | None = None,
    block: int | Sequence[int] = 256,
    profiles: bool | str = False,
) -> xr.Dataset:
    """Measure a phase image, block by block, in this thread.

    Parameters
    ----------
    phase : ndarray, zarr array or DataArray, shape (z, y, x)
        Labels 0 … number of phases − 1. Only one block with its halo is read at a time.
    measures : sequence of str or Measure
        Names (see `mgsflow.measures.MEASURES`), or measures of your own.
    voxel_size : float or sequence of float
        Edge of a voxel in µm, or edges along (z, y, x). Must be given: every number but a fraction depends on it.
    phases : sequence of str, optional
        Names of the phases; label i is ``phases[i]``. Default: ``phase 0``, ``phase 1`` … up to the largest label.
    block : int or (int, int, int)
        Edge of a block in voxels. It changes the memory that is used, not the result.
    profiles : bool or str
        Axes along which every measure that can is also given layer by layer of its tiles, as ``"z"`` or ``"zyx"``
        (which is what True means); see `mgsflow.measures.LayerProfile`.

    Returns
    -------
    Dataset
        The variables of all measures, with ``units`` and ``long_name``.

    Raises
    ------
    InputError
        If the image does not have three axes, the voxel size is missing, no measure is given, or two give a variable
        of the same name.
    """
    import xarray as xr

    if len(phase.shape) != 3:
        raise InputError(f"a phase image has three axes (z, y, x), got an array of shape {tuple(phase.shape)}")
    if not len(measures) or isinstance(measures, str):
        raise InputError(f"measures must be a list of at least one, got {measures!r}")
    edges = edges_of(voxel_size)
    grid = Grid.regular(tuple(phase.shape), block)
    if phases is None:
        phases = names_of(count_phases(phase, grid))
    found: list[Measure] = []
    for m in measures:
        found += make_measures([m], len(phases), edges) if isinstance(m, str) else [m]
    if profiles:
        axes = AXES if profiles is True else profiles
        found += [LayerProfile(m, axes) for m in found if isinstance(m, Windowed)]
    records = _records(phase, found, grid)
    parts: list[xr.Dataset] = []
    for m in found:
        part = m.finalize(records[getattr(m, "source", m)], grid, edges, phases)
        taken = {str(v) for p in parts for v in p.data_vars} & {str(v) for v in part.data_vars}
        if taken:
            raise InputError(f"{type(m).__name__} gives {', '.join(sorted(taken))} again: name each measure once")
        parts.append(part)
    return xr.merge(parts, join="exact", compat="equals")


def edges_of(voxel_size: float | Sequence[float] | None) -> tuple[float, float, float]:
    """Return the edges of a voxel in µm from one number or three, or refuse them."""
    if voxel_size is None:
        raise InputError("voxel_size is missing: give the edge of a voxel in µm, as 0.126, or [z, y, x]")
    return check_voxel_size((voxel_size,) * 3 if isinstance(voxel_size, int | float) else tuple(voxel_size))


def count_phases(phase: Any, grid: Grid) -> int:
    """Return one more than the largest label."""
    return 1 + max(int(np.asarray(phase[b.core.slices]).max()) for b in grid.blocks())


def names_of(count: int) -> list[str]:
    """Return names for phases that have none."""
    return [f"phase {i}" for i in range(count)]


def _records(phase: Any, measures: Sequence[Measure], grid: Grid) -> dict[Reduction, np.ndarray]:
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
    return records
