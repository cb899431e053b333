"""From stored records to one Dataset of metrics for all scans of a specimen."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from mgsflow.measures import Measure, make_measures
from mgsflow.recipe import SpecimenRecipe
from mgsflow.store import Specimen


def collect(specimen: Specimen, recipe: SpecimenRecipe) -> xr.Dataset:
    """Return every measure of every scan of the recipe, with ``scan``, ``cycle`` and ``state`` coordinates.

    Scans of different extent have profiles of different length: the shorter ones end in NaN.
    """
    measures = make_measures(recipe.measures, len(recipe.phases), specimen.voxel_size)
    parts = []
    for scan in specimen.scans:
        if scan.name not in {s.name for s in recipe.scans}:
            continue
        found = [_finalized(m, specimen, scan.name) for m in measures]
        part = xr.merge(found, join="exact", compat="equals")
        parts.append(
            part.expand_dims(scan=np.array([scan.name], dtype=object)).assign_coords(
                cycle=("scan", [scan.cycle]), state=("scan", np.array([scan.state], dtype=object))
            )
        )
    return xr.concat(parts, dim="scan", join="outer", data_vars="all", combine_attrs="override")


def write(specimen: Specimen, metrics: xr.Dataset) -> None:
    """Replace the specimen's ``metrics``."""
    encodable = metrics.copy()
    for name, variable in encodable.variables.items():
        if variable.dtype.kind == "U":  # fixed-width text has no zarr v3 specification
            encodable[name] = variable.astype(object)
    encodable.to_zarr(specimen.store, group=f"{specimen.name}/metrics", mode="w", zarr_format=3, consolidated=False)


def _finalized(measure: Measure, specimen: Specimen, scan: str) -> xr.Dataset:
    source: Any = getattr(measure, "source", measure)
    records = specimen.records(f"{source.name}_phase", source, scan)
    return measure.finalize(records, specimen.grid(scan), specimen.voxel_size, specimen.phases)
