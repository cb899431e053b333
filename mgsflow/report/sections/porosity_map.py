"""Maps of local porosity: the share of pores in cubes of some voxels, in the plane across z in the middle of scans."""

from __future__ import annotations

import numpy as np
import xarray as xr

from mgsflow.report.figures.drawing import Drawing
from mgsflow.report.figures.maps import Map, map_drawings
from mgsflow.report.state import SpecimenState

_NAME = "local_porosity"


def porosity_drawings(state: SpecimenState) -> list[Drawing]:
    """Return the maps of all scans, side by side, on one scale of colours; none where there are none."""
    data = _maps(state)
    if data is None:
        return []
    values = data[_NAME]
    planes = [str(d) for d in values.dims if d != "scan"]
    known = {str(s) for s in values["scan"].values}
    maps = []
    for scan in (s for s in state.scans if s.scan.name in known):
        cubes = values.sel(scan=scan.scan.name).transpose(*planes).values.astype(np.float64)
        there = np.isfinite(cubes)
        if not there.any() or cubes.ndim != 3:
            continue
        z, y, x = (int(np.flatnonzero(there.any(axis=tuple(e for e in range(3) if e != d)))[-1]) + 1 for d in range(3))
        _, height, width = (n * v for n, v in zip(scan.scan.shape, state.specimen.voxel_size))
        maps.append(Map(scan.scan.name, 100 * cubes[z // 2, :y, :x], (height, width)))
    alt = f"Local porosity of {state.name} in the plane across z in the middle, a map for each scan."
    return map_drawings(f"{state.name}_local_porosity", alt, maps, "local porosity in %", ("x", "y"))


def _maps(state: SpecimenState) -> xr.Dataset | None:
    for data in (*state.studies.values(), state.metrics):
        if data is not None and _NAME in data and data[_NAME].ndim == 4 and "scan" in data[_NAME].dims:
            return data
    return None
