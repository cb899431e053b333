"""Local thickness of phases of a scan: a step a phase, whose blocks keep how many voxels have which."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.compute import StoredParts, indices
from mgsflow.labelling.arrays import PhaseMask
from mgsflow.labelling.distance.certified import DistanceSource
from mgsflow.measures.thickness.distribution import ThicknessDistribution
from mgsflow.measures.thickness.local_thickness import ThicknessBlocks
from mgsflow.pipeline.step import Step
from mgsflow.recipe import SpecimenRecipe
from mgsflow.store import Specimen

if TYPE_CHECKING:
    import xarray as xr


def thickness_steps(specimen: Specimen, recipe: SpecimenRecipe, scan: str, inputs: str) -> Iterator[Step]:
    """Yield a step for every phase whose thickness is asked for, on a scan whose phases are made."""
    asked = recipe.thickness
    if asked is None:
        return
    edges, scale = _metric(specimen)
    for phase in asked.phases:
        label = recipe.phases.index(phase)
        mask = PhaseMask(specimen.volume("phase", scan), (label,))
        parts = _parts(specimen, scan, label)
        # the distance of a ball's centre is not above its radius
        near = DistanceSource(mask, edges, halo=min(32, asked.reach), reach=asked.reach)
        work = ThicknessBlocks(near, specimen.grid(scan), None, parts, edges, scale, reach=asked.reach)
        parameters = repr((label, asked.reach, edges))
        yield Step(
            f"thickness_{label}", specimen, scan, work, inputs, parameters=parameters, output_paths=(parts.path,)
        )


def thickness_metrics(specimen: Specimen, recipe: SpecimenRecipe, scan: str) -> xr.Dataset:
    """Return mean, deviation, quantiles and largest of the local thickness along ``phase``."""
    import xarray as xr

    data: dict[str, Any] = {}
    for phase in recipe.thickness.phases if recipe.thickness is not None else ():
        label = recipe.phases.index(phase)
        parts = _parts(specimen, scan, label)
        found = [parts.read(index, "thickness") for index in indices(specimen.grid(scan))]
        whole = ThicknessDistribution.of(found, specimen.voxel_size, _metric(specimen)[1]).to_dataset()
        for name, value in whole.data_vars.items():
            if not value.dims:
                column = data.setdefault(str(name), ("phase", np.full(len(recipe.phases), nan), value.attrs))
                column[1][label] = float(value)
    return xr.Dataset(data, coords={"phase": np.array(list(recipe.phases), dtype=object)} if data else {})


def _metric(specimen: Specimen) -> tuple[tuple[float, float, float] | None, float]:
    """Return the edges of voxels that are not cubes, and what lengths in voxels are to be multiplied with."""
    z, y, x = specimen.voxel_size
    return (None, z) if z == y == x else ((z, y, x), 1.0)


def _parts(specimen: Specimen, scan: str, label: int) -> StoredParts:
    return specimen.parts(f"thickness_{label}_{specimen.index(scan)}")
