"""Triple-phase boundary that takes part in the reaction: where all three phases are connected to where they lead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Block, Grid
from mgsflow.errors import InputError
from mgsflow.measures.from_array import count_phases, edges_of, names_of
from mgsflow.measures.labels import check_names
from mgsflow.measures.triple_phase.edges import TriplePhase, edge_dataset

if TYPE_CHECKING:
    import xarray as xr


def active_tpb(
    phase: Any,
    voxel_size: float | Sequence[float],
    axis: str | None = None,
    active: Any = None,
    connectivity: int = 6,
    phases: Sequence[str] | None = None,
    block: int | Sequence[int] = 256,
) -> xr.Dataset:
    """Measure the total and the active triple-phase boundary of a phase image.

    An edge between four voxels is active if at least three phases meet there in active voxels: those of the parts of
    their phase that percolate, so that ions, electrons and gas (say) can reach the edge.

    Parameters
    ----------
    phase : ndarray, zarr array or DataArray, shape (z, y, x)
        Labels 0 … number of phases − 1; at most 63 phases.
    voxel_size : float or sequence of float
        Edge of a voxel in µm, or edges along (z, y, x).
    axis : {"z", "y", "x"}, optional
        Axis along which parts of a phase must percolate, from one border of the scan to the other
        (`mgsflow.labelling.components.label.percolating`). Labels and masks of the whole image are then held in memory.
    active : array or sequence of arrays of bool, optional
        In place of `axis`: the voxels that are active, as one array for all phases or one for each phase (which may be
        None for a phase that is active everywhere). Only one block of them is read at a time. So phases that lead to
        different sides each get their own mask.
    connectivity : {6, 18, 26}
        Along `axis`: voxels of one phase that share a face, an edge, or a corner are connected.
    phases : sequence of str, optional
        Names of the phases; default ``phase 0``, ``phase 1`` ….
    block : int or (int, int, int)
        Edge of a block in voxels. It changes the memory that is used, not the result.

    Returns
    -------
    Dataset
        ``tpb_edge_length`` (µm) and ``tpb_edge_density`` (µm⁻²) as `TriplePhase` gives them, ``active_`` the same of
        active edges, ``active_tpb_fraction`` (NaN without any edge), and ``active_phase_fraction`` by phase: the share
        of its voxels that is active (NaN without any). Times ``active_tpb_fraction``, the ``tpb_length`` of
        `TripleLine` becomes an estimate of the active length without the staircase of voxel edges.

    Raises
    ------
    InputError
        If neither or both of `axis` and `active` are given, or an array is not of the image's shape or not of bool.
    """
    if len(phase.shape) != 3:
        raise InputError(f"a phase image has three axes (z, y, x), got an array of shape {tuple(phase.shape)}")
    sizes = edges_of(voxel_size)
    grid = Grid.regular(tuple(phase.shape), block)
    names = names_of(count_phases(phase, grid)) if phases is None else phases
    count = len(names)
    check_names(names, count)
    if (axis is None) == (active is None):
        raise InputError("give either axis, along which phases must percolate, or active, the masks of active voxels")
    masks = (
        _percolating(phase, count, axis, connectivity)
        if axis is not None
        else _masks(active, count, tuple(phase.shape))
    )
    every, some = TriplePhase(count), TriplePhase(count + 1, inactive=count)
    stored = [np.zeros((*grid.counts, *m.record(grid.largest)[0]), np.int32) for m in (every, some)]
    for b in grid.blocks(every.halo):
        labels = np.asarray(phase[b.outer.slices])
        for m, records, array in zip((every, some), stored, (labels, _inactive_out(labels, masks, b))):
            record = m(array, b)
            records[b.index][tuple(slice(n) for n in record.shape)] = record
    all_counts, counts = every.counts(stored[0], grid), some.counts(stored[1], grid)
    total, part = edge_dataset(all_counts, sizes), edge_dataset(counts, sizes)
    import xarray as xr  # not needed by workers: 40 MiB less in each

    found = {str(k): v for k, v in total.data_vars.items()}
    for k, v in part.data_vars.items():
        found[f"active_{k}"] = v.assign_attrs(long_name=v.attrs["long_name"].replace("three", "three percolating"))
    length = float(total.tpb_edge_length)
    found["active_tpb_fraction"] = xr.DataArray(
        float(part.tpb_edge_length) / length if length else np.nan,
        attrs={"units": "1", "long_name": "share of the triple-phase boundary that is active"},
    )
    voxels = all_counts.voxels
    share = np.divide(counts.voxels[:count], voxels, out=np.full(count, np.nan), where=voxels > 0)
    found["active_phase_fraction"] = xr.DataArray(
        share, dims="phase", attrs={"units": "1", "long_name": "share of the phase that percolates"}
    )
    return xr.Dataset(found, coords={"phase": list(names)})


def _percolating(phase: Any, count: int, axis: str, connectivity: int) -> list[Any]:
    from mgsflow.labelling.components.label import percolating  # not needed by workers

    labels = np.asarray(phase[...])
    return [percolating(labels == p, axis, connectivity) for p in range(count)]


def _masks(active: Any, count: int, shape: tuple[int, ...]) -> list[Any]:
    """Return a mask for each phase; None where all of it is active."""
    masks = [active] * count if hasattr(active, "shape") else list(active)
    if len(masks) != count:
        raise InputError(f"active must be one mask, or one for each of {count} phases, got {len(masks)}")
    for i, mask in enumerate(masks):
        if mask is None:
            continue
        if not hasattr(mask, "shape") or tuple(mask.shape) != shape or np.dtype(mask.dtype) != np.bool_:
            what = f"{np.dtype(mask.dtype)} of shape {tuple(mask.shape)}" if hasattr(mask, "shape") else repr(mask)
            raise InputError(f"the mask of phase {i} must be an array of bool of the image's shape {shape}, got {what}")
    return masks


def _inactive_out(labels: np.ndarray, masks: list[Any], block: Block) -> np.ndarray:
    """Return the labels of a block, with a label of their own (one more) for inactive voxels."""
    out = labels.astype(np.int64 if labels.dtype.itemsize > 4 else np.int32)
    read: dict[int, np.ndarray] = {}
    for p, mask in enumerate(masks):
        if mask is None:
            continue
        if id(mask) not in read:
            read[id(mask)] = np.asarray(mask[block.outer.slices])
        out[(labels == p) & ~read[id(mask)]] = len(masks)
    return out
