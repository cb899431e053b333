"""Tables in the layout of publications: fractions and areas of the phases side by side, and K along x, y and z."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgsflow.report.figures.series import ESTIMATOR
from mgsflow.report.numbers import NONE, aligned, fixed
from mgsflow.report.sections.transport import PermeabilityRow, permeabilities, permeability_cells
from mgsflow.report.state import SpecimenState
from mgsflow.report.tables import SCAN, Table, fraction_rows, scan_names

_AREA = "surface_per_phase_volume"
_AXES = "xyz"


def composition_table(state: SpecimenState) -> Table | None:
    """Return volume fractions and areas per volume of all phases, a row for each scan; None without areas."""
    metrics = state.metrics
    if metrics is None or _AREA not in metrics or "phase" not in metrics[_AREA].dims:
        return None
    phases = [p for p in state.specimen.phases if p in {str(v) for v in metrics["phase"].values}]
    rows = {r.scan: r for r in fraction_rows(state)}
    areas = [_areas(state, s.scan.name, phases) if s.measured else [None] * len(phases) for s in state.scans]
    cells, raw = [], []
    numbers = aligned([a for row in areas for a in row])
    n = len(phases)
    for i, scan in enumerate(state.scans):
        one = rows[scan.scan.name]
        of = [one.phases.index(p) for p in phases]
        cells.append((*scan_names(scan), *(one.cells[k] for k in of), *numbers[i * n : i * n + n]))
        values = [v for k in of for v in (one.fractions[k], one.errors[k])]
        raw.append((*scan_names(scan), *values, *areas[i]))
    caption = (
        f"Phases of the {state.name}: volume fraction, ± one standard error, and surface area per volume of the phase "
        "itself. Areas are from intersections with lines in 13 directions; the borders of the scan are no surface."
    )
    full = (*SCAN, *(c for p in phases for c in (p, f"{p} error")), *(f"area of {p} (µm²/µm³)" for p in phases))
    return Table(
        f"{state.name}_composition",
        caption,
        (*SCAN, *phases, *phases),
        tuple(cells),
        groups=(("Volume fraction, %", n), ("Area per volume, µm²/µm³", n)),
        raw_columns=full,
        raw=tuple(raw),
    )


def axes_table(state: SpecimenState) -> Table | None:
    """Return K along x, y and z, a row for each scan; None where nothing was solved."""
    rows = permeabilities(state)
    if not rows:
        return None
    at = {(r.scan, r.axis): r for r in rows}
    axes = [a for a in _AXES if any(r.axis == a for r in rows)]
    flat: list[PermeabilityRow | None] = [at.get((s.scan.name, a)) for s in state.scans for a in axes]
    values, unit = permeability_cells(flat)
    n = len(axes)
    cells = tuple((*scan_names(s), *values[i * n : i * n + n]) for i, s in enumerate(state.scans))
    raw = tuple(
        (*scan_names(s), *(None if r is None else r.permeability for r in flat[i * n : i * n + n]))
        for i, s in enumerate(state.scans)
    )
    caption = f"Permeability of the {state.name} along each axis; what certifies it is in the next table."
    return Table(
        f"{state.name}_permeability_axes",
        caption,
        (*SCAN, *(a.upper() for a in axes)),
        cells,
        groups=((f"K, {unit}", n),),
        raw_columns=(*SCAN, *(f"K {a} (µm²)" for a in axes)),
        raw=raw,
    )


def uncertainty_table(state: SpecimenState) -> Table | None:
    """Return what the uncertainty of thresholds does to numbers that have a phase; None where it is not known."""
    metrics = state.metrics
    if metrics is None:
        return None
    suffix = "_uncertainty"
    names = [str(n).removesuffix(suffix) for n in metrics.data_vars if str(n).endswith(suffix)]
    heads: list[str] = []
    groups: list[tuple[str, int]] = []
    columns: list[list[str]] = []
    raw: list[list[float | None]] = []
    for name in (n for n in names if n in metrics):
        value, error = metrics[name], metrics[name + suffix]
        if "estimator" in value.dims:
            value = value.sel(estimator=ESTIMATOR)
        if "estimator" in error.dims:
            error = error.sel(estimator=ESTIMATOR)
        free = [str(d) for d in error.dims if d != "scan"]
        if set(value.dims) != set(error.dims) or any(d not in ("phase", "axis") for d in free):
            continue
        span = 0
        for key in _keys(free, [[str(v) for v in error[d].values] for d in free]):
            pairs = [_pair(state, s.measured, s.scan.name, value.sel(key), error.sel(key)) for s in state.scans]
            if not any(p[1] is not None for p in pairs):
                continue
            percent = 100.0 if name.endswith("fraction") else 1.0
            flat = aligned([None if v is None else percent * v for p in pairs for v in p], least=2)
            columns.append([a if b == NONE else f"{a} ± {b}" for a, b in zip(flat[::2], flat[1::2])])
            heads.append(" ".join(key.values()) or "all")
            raw += [[p[0] for p in pairs], [p[1] for p in pairs]]
            span += 1
        if span:
            units = "%" if name.endswith("fraction") else str(value.attrs.get("units", ""))
            words = str(value.attrs.get("long_name", name.replace("_", " ")))
            groups.append((f"{words[:1].upper()}{words[1:]}{'' if units in ('', '1') else f', {units}'}", span))
    if not columns:
        return None
    rows = tuple((*scan_names(s), *cells) for s, cells in zip(state.scans, zip(*columns)))
    full_rows = tuple((*scan_names(s), *cells) for s, cells in zip(state.scans, zip(*raw)))
    over = [g for g, span in groups for _ in range(span)]
    full = (*SCAN, *(c for g, h in zip(over, heads) for c in (f"{g} {h}", f"{g} {h} uncertainty")))
    caption = (
        f"Numbers of the {state.name} ± what the standard uncertainty of the thresholds does to them. It is not in the "
        "errors given elsewhere, and is shared by scans that were segmented with the same thresholds."
    )
    return Table(
        f"{state.name}_uncertainty", caption, (*SCAN, *heads), rows, groups=tuple(groups), raw_columns=full,
        raw=full_rows,
    )  # fmt: skip


def _keys(dims: Sequence[str], labels: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    keys: list[dict[str, str]] = [{}]
    for d, names in zip(dims, labels):
        keys = [k | {d: v} for k in keys for v in names]
    return keys


def _pair(state: SpecimenState, measured: bool, scan: str, value: object, error: object) -> tuple[float | None, ...]:
    if not measured:
        return None, None
    numbers = [float(v.sel(scan=scan)) for v in (value, error)]  # type: ignore[attr-defined]
    return tuple(v if np.isfinite(v) else None for v in numbers)


def _areas(state: SpecimenState, scan: str, phases: list[str]) -> list[float | None]:
    assert state.metrics is not None
    one = state.metrics[_AREA].sel(scan=scan)
    if "estimator" in one.dims:
        one = one.sel(estimator=ESTIMATOR)
    values = [float(one.sel(phase=p)) for p in phases]
    return [v if fixed(v, 3) != NONE else None for v in values]
