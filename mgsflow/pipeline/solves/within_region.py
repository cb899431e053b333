"""Effective properties of a region that is not the whole box in which a solve was made.

Nothing flows outside a region: it is one more phase that does not conduct. A solve takes the flux through the faces of
the box, so that its effective properties are per area of the box; per area inside they are larger by the box's area
over that of the region. This is an effective property only where that area is the same in each slice along the axis, as
of a cylinder along it: elsewhere there is no number, and a status says why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from mgsflow.measures.volume.profile import DepthProfile
from mgsflow.recipe import SpecimenRecipe
from mgsflow.store import Specimen
from mgsflow.store.schema import AXES

#: Status where the region's area changes along the axis.
UNEVEN = "region changes along the axis"
#: Numbers per area: those of the solve times the box's area over that inside, or divided by it.
_PER_AREA = {
    "effective_diffusivity": 1.0,
    "formation_factor": -1.0,
    "permeability": 1.0,
    "permeability_by_flux": 1.0,
    "percolating_porosity": 1.0,  # per volume: as the area, where that does not change
    "mean_velocity": 1.0,
    "reynolds_number": 1.5,  # mean velocity times the square root of the permeability
}


def areas_inside(specimen: Specimen, recipe: SpecimenRecipe, scan: str) -> dict[str, float]:
    """Return the share of the box's area that is inside, by axis; NaN where it changes along the axis."""
    labels = len(recipe.phases) + 1
    profile = DepthProfile(labels)
    grid = specimen.grid(scan)
    found = {}
    for axis, counts in zip(AXES, profile.counts(specimen.records("depth_profile_phase", profile, scan), grid)):
        inside = counts[:-1].sum(axis=0)
        share = float(inside[0]) / float(counts[:, 0].sum())
        found[axis] = share if (inside == inside[0]).all() and share > 0 else np.nan
    return found


def per_area_inside(data: xr.Dataset, areas: dict[str, float]) -> xr.Dataset:
    """Return the results of solves per area inside; without a number along axes whose area changes."""
    statuses = [str(name) for name in data.data_vars if str(name).endswith("_status")]
    if not statuses:
        return data
    share = xr.DataArray([areas[str(a)] for a in data["axis"].values], dims="axis", coords={"axis": data["axis"]})
    uneven = share.isnull()
    changed: dict[str, Any] = {}
    for name, values in data.data_vars.items():
        if "axis" not in values.dims:
            continue
        if str(name) in statuses:
            changed[str(name)] = values.where(~uneven | (values == ""), UNEVEN).assign_attrs(values.attrs)
        elif values.dtype.kind == "f":
            power = _PER_AREA.get(str(name), 0.0)
            scaled = values / share**power if power else values.where(~uneven)  # NaN where the share is
            changed[str(name)] = scaled.transpose(*values.dims).assign_attrs(values.attrs)
    return data.assign(changed)
