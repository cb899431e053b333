"""From stored records to one Dataset of metrics for all scans of a specimen."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from mgsflow.measures import Measure, make_measures
from mgsflow.pipeline.analyses.network import network_groups, network_metrics
from mgsflow.pipeline.analyses.particles import particle_metrics, particle_rows, read_table
from mgsflow.pipeline.analyses.rve import rve_groups
from mgsflow.pipeline.analyses.sensitivity import sensitivity_groups, uncertainties
from mgsflow.pipeline.analyses.thickness import thickness_metrics
from mgsflow.pipeline.solves.transport import flux_groups, problems, solved, streamline_groups
from mgsflow.pipeline.solves.within_region import areas_inside, per_area_inside
from mgsflow.recipe import SpecimenRecipe
from mgsflow.recipe.region import OUTSIDE
from mgsflow.store import Specimen


def asked(specimen: Specimen, recipe: SpecimenRecipe) -> bool:
    """Tell whether a study asks for any number of the phases."""
    if recipe.segment is None:
        return False
    further = any(
        study is not None
        for study in (recipe.particles, recipe.thickness, recipe.network, recipe.rve, recipe.sensitivity)
    )
    return bool(recipe.measures) or further or any(problems(specimen, recipe))


def collect(specimen: Specimen, recipe: SpecimenRecipe) -> dict[str, xr.Dataset]:
    """Return what was found of all scans of the recipe, by the group that it belongs in.

    ``metrics`` holds every measure of every scan, with ``scan``, ``cycle`` and ``state`` coordinates; ``particles``,
    if they were asked for, one row a particle. Scans of different extent have profiles of different length: the shorter
    ones end in NaN.
    """
    measures = make_measures(recipe.measures, len(recipe.phases), specimen.voxel_size, recipe.has_outside)
    parts = []
    for scan in specimen.scans:
        if scan.name not in {s.name for s in recipe.scans}:
            continue
        found = [_finalized(m, specimen, scan.name, recipe.has_outside) for m in measures]
        found += [solved(specimen, recipe, scan.name), thickness_metrics(specimen, recipe, scan.name)]
        if recipe.has_outside:
            found = [per_area_inside(data, areas_inside(specimen, recipe, scan.name)) for data in found]
        part = xr.merge(found, join="exact", compat="equals")
        parts.append(
            part.expand_dims(scan=np.array([scan.name], dtype=object)).assign_coords(
                cycle=("scan", [scan.cycle]), state=("scan", np.array([scan.state], dtype=object))
            )
        )
    metrics = xr.concat(parts, dim="scan", join="outer", data_vars="all", combine_attrs="override")
    groups = {**network_groups(specimen, recipe), **rve_groups(specimen, recipe)}
    groups |= (bars := sensitivity_groups(specimen, recipe))
    groups |= {**flux_groups(specimen, recipe), **streamline_groups(specimen, recipe)}
    further = [network_metrics(specimen, recipe), uncertainties(specimen, recipe, bars)]
    if recipe.particles is not None:
        tables = {str(scan): read_table(specimen, str(scan)) for scan in metrics.scan.values}
        further.append(particle_metrics(tables, recipe.particles))
        groups["particles"] = particle_rows(specimen, tables)
    for part in further:
        metrics = metrics.merge(
            part.drop_vars(["scan", "cycle", "state"], errors="ignore"), join="exact", compat="equals"
        )
    return {"metrics": metrics, **groups}


def write(specimen: Specimen, group: str, data: xr.Dataset) -> None:
    """Replace a group of the specimen; what is along ``scan`` has ``cycle`` and ``state`` beside."""
    encodable = data.copy()
    if "scan" in data.dims and not {"cycle", "state"} <= set(data.coords):
        known = {s.name: s for s in specimen.scans}
        scans = [known[str(name)] for name in data["scan"].values]
        encodable = encodable.assign_coords(
            cycle=("scan", np.array([s.cycle for s in scans], np.int64)),
            state=("scan", np.array([s.state for s in scans], dtype=object)),
        )
    for name, variable in encodable.variables.items():
        if variable.dtype.kind == "U":  # fixed-width text has no zarr v3 specification
            encodable[name] = variable.astype(object)
    encodable.to_zarr(specimen.store, group=f"{specimen.name}/{group}", mode="w", zarr_format=3, consolidated=False)


def _finalized(measure: Measure, specimen: Specimen, scan: str, outside: bool) -> xr.Dataset:
    source: Any = getattr(measure, "source", measure)
    records = specimen.records(f"{source.name}_phase", source, scan)
    names = (*specimen.phases, OUTSIDE) if outside else specimen.phases
    found = measure.finalize(records, specimen.grid(scan), specimen.voxel_size, names)
    if not outside:
        return found
    labels = {d: list(specimen.phases) for d in ("phase", "neighbour") if d in found.dims}
    return found.sel(labels) if labels else found
