"""Studies of arrays at hand: representative volume of a phase image, sensitivity of a grey image to its thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Box, Grid
from mgsflow.compute import MemoryParts, Source, Work, indices
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import source_of
from mgsflow.measures.from_array import count_phases, edges_of, names_of
from mgsflow.segmentation import Extremes, GreyHistogram, Histogram
from mgsflow.studies.metrics import properties, solved, study_measures
from mgsflow.studies.properties import WindowProperties
from mgsflow.studies.rve import rve_dataset
from mgsflow.studies.sensitivity import Variants, sensitivity_dataset
from mgsflow.studies.threshold_uncertainty import threshold_uncertainties
from mgsflow.studies.thresholding import CountThresholds, Thresholded, counts_of_variants, whole_reduction
from mgsflow.studies.transport import Transport
from mgsflow.studies.windows import place_windows

if TYPE_CHECKING:
    import xarray as xr


def rve(
    phase: Any,
    sizes: Sequence[int],
    placement: str = "nested",
    windows: int = 8,
    voxel_size: float | Sequence[float] | None = None,
    phases: Sequence[str] | None = None,
    measures: Sequence[str] = ("volume", "surface", "tpb"),
    tortuosity: Sequence[int | str] | int | str = (),
    permeability: Sequence[int | str] | int | str = (),
    axes: str = "zyx",
    tolerance: float = 0.05,
    confidence: float = 0.95,
    seed: int = 0,
    block: int | Sequence[int] = 256,
    rtol: float = 1e-3,
) -> xr.Dataset:
    """Return properties of windows of a phase image against their size: which are representative of the whole.

    Additive properties come from one reading of the image; each window's are those of the cropped image.

    Parameters
    ----------
    phase : ndarray, zarr array or DataArray, shape (z, y, x)
        Labels 0 … number of phases − 1.
    sizes : sequence of int
        Edges of cubic windows in voxels, rising.
    placement : {"nested", "random", "tiled"}
        Cubes about the centre, each inside the next; anywhere; or side by side.
    windows : int
        Most windows of a size, where they are random or tiled.
    voxel_size : float or sequence of float
        Edge of a voxel in µm, or edges along (z, y, x). Must be given.
    phases : sequence of str, optional
        Names of the phases.
    measures : sequence of str
        Of ``volume``, ``surface``, ``interface``, ``tpb``, ``curvature``.
    tortuosity : sequence of int or str
        Phases whose tortuosity factor is solved for in each window, and in the whole.
    permeability : sequence of int or str
        Phases that are open to flow, together.
    axes : str
        Directions of the solves, of ``"zyx"``.
    tolerance : float
        Relative deviation up to which a window represents the whole.
    confidence : float
        Share of windows that must keep it; of nested windows none can be stated.
    seed : int
        Of the placement.
    block : int or (int, int, int)
        Edge of a block in voxels: it changes the memory that is used, not the result.
    rtol : float
        Relative error of the solves.

    Returns
    -------
    Dataset
        See `mgsflow.studies.rve.rve_dataset`, and `mgsflow.studies.representative` for what is representative.

    Raises
    ------
    InputError
        If a value is out of its range, or no window fits in the image.
    """
    edges, source = edges_of(voxel_size), source_of(phase, "phase")
    grid = Grid.regular(source.shape, block)
    if phases is None:
        phases = names_of(count_phases(phase, grid))
    placed = place_windows(source.shape, sizes, placement, windows, seed)
    boxes = tuple(box for some in placed.values() for box in some)
    if not boxes:
        raise InputError(
            f"no cube of {min(placed)} voxels fits in an image of shape {source.shape}: give smaller sizes"
        )
    asked = study_measures(measures, len(phases), edges)
    names = list(phases)
    solves = Transport.of(names, tortuosity, permeability, axes, rtol)
    study = WindowProperties(source, grid, boxes, placement != "random", asked, MemoryParts())
    works: list[Work] = [w for w in (study.pieces, study.apart) if w is not None]
    for work in works:
        for index in indices(work.grid):
            work.run(index)
    known = study.gather(edges, names)
    import xarray as xr

    for box in known:
        labels = source.read(box) if solves.asked else np.empty(0)
        found = solved(list(solves.solve(labels, edges)), names) if labels.size else xr.Dataset()
        known[box] = xr.merge([known[box], found], join="exact", compat="equals")
    return rve_dataset(
        source.shape,
        edges,
        placed,
        {size: [known[box] for box in some] for size, some in placed.items()},
        known[Box.of(source.shape)],
        tolerance,
        None if placement == "nested" else confidence,
    )


def sensitivity(
    grey: Any,
    thresholds: Sequence[float],
    phase: int | str = 0,
    values: Sequence[float] = (),
    voxel_size: float | Sequence[float] | None = None,
    phases: Sequence[str] | None = None,
    majority: int = 0,
    measures: Sequence[str] = ("volume", "surface", "tpb"),
    tortuosity: Sequence[int | str] | int | str = (),
    permeability: Sequence[int | str] | int | str = (),
    axes: str = "zyx",
    block: int | Sequence[int] = 256,
    rtol: float = 1e-3,
) -> xr.Dataset:
    """Return what the numbers of a grey image owe to the thresholds between its phases.

    Parameters
    ----------
    grey : ndarray, zarr array or DataArray, shape (z, y, x)
        Grey values as they are cut, so after any filter.
    thresholds : sequence of float
        In use; rising.
    phase : int or str
        The threshold between this phase and the next brighter one is moved.
    values : sequence of float, optional
        Where to; the one in use is added. Default: five about it, out to its uncertainty on either side.
    voxel_size : float or sequence of float
        Edge of a voxel in µm, or edges along (z, y, x). Must be given.
    phases : sequence of str, optional
        Names of the phases by rising grey value.
    majority : int
        Radius of a majority filter on the labels; 0 for none.
    measures : sequence of str
        Of ``volume``, ``surface``, ``interface``, ``tpb``, ``curvature``.
    tortuosity, permeability, axes, rtol
        Transport to be solved for at each threshold; see `rve`.
    block : int or (int, int, int)
        Edge of a block in voxels: it changes the memory that is used, not the properties.

    Returns
    -------
    Dataset
        See `mgsflow.studies.sensitivity.sensitivity_dataset`; the uncertainty of a threshold is that of
        `mgsflow.studies.threshold_uncertainty`.

    Raises
    ------
    InputError
        If a value is out of its range.
    """
    import xarray as xr

    edges, source = edges_of(voxel_size), source_of(grey, "grey image")
    grid = Grid.regular(source.shape, block)
    names = list(phases) if phases is not None else names_of(len(thresholds) + 1)
    if len(names) != len(thresholds) + 1:
        raise InputError(f"{len(thresholds)} thresholds part {len(thresholds) + 1} phases, got {len(names)} names")
    moved = names.index(phase) if isinstance(phase, str) and phase in names else phase
    if not isinstance(moved, int) or not 0 <= moved < len(thresholds):
        raise InputError(f"phase must be one with a threshold above it, of {', '.join(names[:-1])}, got {phase!r}")
    known, statuses = threshold_uncertainties(_histogram(source, grid), thresholds)
    variants = Variants.of(thresholds, moved, values, known, majority, statuses)
    asked = study_measures(measures, len(names), edges)
    solves = Transport.of(names, tortuosity, permeability, axes, rtol)
    parts = MemoryParts()
    reductions = tuple(dict.fromkeys(whole_reduction(m) for m in asked))
    work = CountThresholds(source, grid, variants.all, reductions, parts)
    for index in indices(grid):
        work.run(index)
    by_variant = {}
    for variant, counts in zip(variants.all, counts_of_variants(asked, parts, grid, len(variants.all))):
        one = properties(asked, counts, edges, names)
        if solves.asked:
            labels = Thresholded(source, variant).read(Box.of(source.shape))
            one = xr.merge([one, solved(list(solves.solve(labels, edges)), names)], join="exact", compat="equals")
        by_variant[variant] = one
    return sensitivity_dataset(variants, by_variant)


def _histogram(source: Source, grid: Grid) -> GreyHistogram:
    dtype = np.dtype(source.dtype).name
    reduction = Histogram(dtype) if dtype in ("uint8", "uint16", "int16") else None
    if reduction is None:
        ends = [Extremes()(source.read(b.core), replace(b, outer=b.core)) for b in grid.blocks()]
        reduction = Histogram(dtype, float(min(a for a, _ in ends)), float(max(b for _, b in ends)))
    return reduce(add, (reduction.gather(reduction(source.read(b.core), b)[None]) for b in grid.blocks()))
