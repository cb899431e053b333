"""What a study compares between windows, or at thresholds: numbers that do not grow with the volume.

Names and units are those of ``metrics``. Totals are left out where there is a density beside them; the others become
one, as ``euler_number_per_total_volume``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.measures import make_measures
from mgsflow.measures.windowed import Windowed
from mgsflow.solvers.solution import CONVERGED

if TYPE_CHECKING:
    import xarray as xr

#: Totals, and what there is beside them.
_DENSITY = {
    "voxel_count": "volume_fraction",
    "volume": "volume_fraction",
    "surface_area": "surface_per_total_volume",
    "interface_area": "interface_per_total_volume",
    "tpb_edge_length": "tpb_edge_density",
    "tpb_length": "tpb_density",
}
_TOTALS = ("mean_curvature_integral", "euler_number", "marching_cubes_area")
_PER_VOLUME = {"µm": "µm⁻²", "1": "µm⁻³", "µm²": "µm⁻¹"}
#: Certificates of a solve, which are no properties of the material; a flow rate follows from K.
_CERTIFICATES = (
    "volume_fraction_error",
    "tortuosity_error",
    "tortuosity_flux_spread",
    "tortuosity_iterations",
    "permeability_error",
    "permeability_by_flux",
    "permeability_iterations",
    "flow_rate",
    "mean_velocity",
    "reynolds_number",
)
#: Numbers that hold where nothing percolates, too.
_ALWAYS = ("percolating_fraction", "percolating_porosity")


def study_measures(names: Sequence[str], phases: int, voxel_size: Sequence[float]) -> tuple[Windowed[Any], ...]:
    """Return the measures that names stand for, all of which have a result for a window."""
    found = make_measures(names, phases, voxel_size)
    return tuple(m for m in found if isinstance(m, Windowed))


def comparable(
    measures: Sequence[Windowed[Any]],
    counts: Sequence[Any],
    shape: Sequence[int],
    voxel_size: Sequence[float],
    phases: Sequence[str],
) -> xr.Dataset:
    """Return the densities of a window from what its measures counted.

    Parameters
    ----------
    measures : sequence of Windowed
    counts : sequence
        Of each measure.
    shape : tuple of int
        Shape of the window in voxels.
    voxel_size : sequence of float
        µm along (z, y, x).
    phases : sequence of str
        Names.
    """
    whole = properties(measures, counts, voxel_size, phases)
    volume = prod(shape) * prod(voxel_size)
    for name in _TOTALS:
        if name in whole:
            total = whole[name]
            units = _PER_VOLUME[total.attrs["units"]]
            attrs = {**total.attrs, "units": units, "long_name": f"{total.attrs['long_name']}, per total volume"}
            whole[f"{name}_per_total_volume"] = (total.dims, total.values / volume, attrs)
    return whole.drop_vars([n for n in (*_DENSITY, *_TOTALS) if n in whole])


def properties(
    measures: Sequence[Windowed[Any]], counts: Sequence[Any], voxel_size: Sequence[float], phases: Sequence[str]
) -> xr.Dataset:
    """Return what measures make of their counts, as ``metrics`` has it, without certificates."""
    import xarray as xr  # not needed by workers: 40 MiB less in each

    parts = [m.dataset(c, voxel_size, phases) for m, c in zip(measures, counts)]
    whole = xr.merge(parts, join="exact", compat="equals") if parts else xr.Dataset()
    return whole.drop_vars([n for n in _CERTIFICATES if n in whole])


def solved(
    found: Sequence[tuple[Mapping[str, int], Mapping[str, tuple[str, str]], Mapping[str, float | str]]],
    phases: Sequence[str],
) -> xr.Dataset:
    """Return what solves have found, along ``phase`` and ``axis``; numbers only where the solve converged.

    Parameters
    ----------
    found : sequence of (place, variables, numbers)
        Of each problem: its position along each dimension, units and description of each number, and the numbers with
        the status.
    phases : sequence of str
        Names.

    Notes
    -----
    Where nothing percolates, the status says so and the numbers are NaN: none of them is averaged with others. The
    share of the phase that percolates is known even then.
    """
    import xarray as xr

    coords = {"phase": np.array(list(phases), dtype=object), "axis": np.array(list("zyx"), dtype=object)}
    data: dict[str, Any] = {}
    for place, variables, numbers in found:
        dims = tuple(place)
        shape = tuple(coords[d].size for d in dims)
        status = next(v for k, v in numbers.items() if k.endswith("_status"))
        for name, value in numbers.items():
            if name in _CERTIFICATES:
                continue
            if name not in data:
                units, long_name = variables.get(name, ("", "how the solve ended"))
                attrs = {"long_name": long_name} | ({"units": units} if units else {})
                empty = np.full(shape, "", dtype=object) if isinstance(value, str) else np.full(shape, np.nan)
                data[name] = (dims, empty, attrs)
            holds = isinstance(value, str) or status == CONVERGED or name in _ALWAYS
            data[name][1][tuple(place.values())] = value if holds else np.nan
    used = {d for dims, _, _ in data.values() for d in dims}
    return xr.Dataset(data, coords={k: v for k, v in coords.items() if k in used})
