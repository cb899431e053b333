"""Tables of whatever else was measured: any number per scan, or per scan and phase, without knowing the measure."""

from __future__ import annotations

from math import isfinite

import numpy as np
import xarray as xr

from mgsflow.report.numbers import aligned
from mgsflow.report.sections.particles import QUANTITIES
from mgsflow.report.state import SpecimenState
from mgsflow.report.tables import SCAN, Table, scan_names

#: Columns of a table of further measures, at most.
_WIDEST = 36
#: Further measures that come first; the others follow by name.
_FIRST = ("surface_per_phase_volume", "surface_per_total_volume", "tpb_density", "interface_per_total_volume")
_ESTIMATORS = (
    " crofton13 and crofton3: from intersections with lines in 13 and 3 directions; faces: faces of voxels, about 1.5 "
    "times too large on curved surfaces."
)
_STATISTICS = ("mean", "std", "d10", "d50", "d90")
_HANDLED = {
    *("volume_fraction", "volume_fraction_error", "voxel_count", "volume", "depth_gradient"),
    # of the sections on particles and transport
    *("particle_count", "particles_spanning"),
    *("effective_diffusivity", "formation_factor", "percolating_fraction"),
    *("percolating_porosity", "narrow_share", "flow_rate", "mean_velocity", "reynolds_number"),
    *("pore_count", "throat_count", "pore_specks", "mean_coordination", "mean_pore_radius", "mean_throat_radius"),
    *(f"{q}_{n}" for q in QUANTITIES for n in (*_STATISTICS, "share", "outside", "count", "too_small", "at_border")),
}
_HANDLED_TOO = ("tortuosity_", "permeability", "network_")


def further_tables(state: SpecimenState) -> tuple[list[Table], list[str]]:
    """Return a table for each other measure that has few numbers a scan, and the names of those that have many."""
    tables: list[Table] = []
    left: list[str] = []
    metrics = state.metrics
    if metrics is None:
        return tables, left
    rank = {name: i for i, name in enumerate(_FIRST)}
    for name in sorted((str(v) for v in metrics.data_vars), key=lambda v: (rank.get(v, len(rank)), v)):
        values = metrics[name]
        if name in _HANDLED or name.startswith(_HANDLED_TOO) or "scan" not in values.dims:
            continue
        if name.endswith("_uncertainty"):
            continue
        if "_profile_" in name or any(str(d).endswith("_bin") for d in values.dims):
            continue
        if values.dtype.kind not in "iufb":
            continue
        table = _further(state, name, values)
        if table is None:
            left.append(name)
        else:
            tables.append(table)
    return tables, left


def _further(state: SpecimenState, name: str, values: xr.DataArray) -> Table | None:
    dims = [d for d in values.dims if d != "scan"]
    # the estimator, where there is one, stands over its columns
    dims.sort(key=lambda d: d != "estimator")
    if "neighbour" in dims:  # symmetric: each pair once
        order = {p: i for i, p in enumerate(state.specimen.phases)}
        rank = {
            d: xr.DataArray([order.get(str(p), -1) for p in values[d].values], dims=d) for d in ("phase", "neighbour")
        }
        values = values.where(rank["phase"] < rank["neighbour"])
    wide = values.transpose("scan", *dims)
    flat = np.asarray(wide.values, dtype=np.float64).reshape(wide.sizes["scan"], -1)
    labels = [
        [str(v) for v in wide[d].values] if d in wide.coords else list(map(str, range(wide.sizes[d]))) for d in dims
    ]
    keep = [i for i in range(flat.shape[1]) if np.isfinite(flat[:, i]).any()]
    if not keep or len(keep) > _WIDEST:
        return None
    heads, groups = _heads(labels, keep)
    names = [str(s) for s in wide["scan"].values]
    raw: list[tuple[object, ...]] = []
    columns: list[list[float | None]] = []
    for scan in state.scans:
        row = flat[names.index(scan.scan.name)] if scan.measured else np.full(flat.shape[1], np.nan)
        numbers = [float(row[i]) if isfinite(row[i]) else None for i in keep]
        columns.append(numbers)
        raw.append((*scan_names(scan), *numbers))
    cells = zip(*(aligned(column) for column in zip(*columns)))
    rows = [(*scan_names(scan), *row) for scan, row in zip(state.scans, cells)]
    units = str(values.attrs.get("units", ""))
    title = str(values.attrs.get("long_name", name.replace("_", " ")))
    caption = f"{title[:1].upper()}{title[1:]}{'' if units in ('', '1') else f', in {units}'}."
    if "estimator" in dims:
        caption += _ESTIMATORS
    if values.attrs.get("border") == "excluded":
        caption += " The borders of the scan are no surface."
    over = [g for g, span in groups for _ in range(span)] or [""] * len(heads)
    full = (*SCAN, *(f"{a} {b} ({units})".strip() for a, b in zip(over, heads)))
    return Table(
        f"{state.name}_{name}", caption, (*SCAN, *heads), tuple(rows), groups=groups, raw_columns=full, raw=tuple(raw)
    )


def _heads(labels: list[list[str]], keep: list[int]) -> tuple[tuple[str, ...], tuple[tuple[str, int], ...]]:
    """Return the headings of the columns that are kept, and of the first dimension over them."""
    if not labels:
        return ("value",), ()
    shape = tuple(len(one) for one in labels)
    places = [np.unravel_index(i, shape) for i in keep]
    if len(labels) == 1:
        return tuple(labels[0][int(p[0])] for p in places), ()
    heads = tuple("–".join(one[int(k)] for one, k in zip(labels[1:], p[1:])) for p in places)
    groups: list[tuple[str, int]] = []
    for p in places:
        over = labels[0][int(p[0])]
        if groups and groups[-1][0] == over:
            groups[-1] = (over, groups[-1][1] + 1)
        else:
            groups.append((over, 1))
    return heads, tuple(groups)
