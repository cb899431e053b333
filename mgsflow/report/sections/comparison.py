"""All numbers of all scans beside those of the reference scan, and how they go with the capacity."""

from __future__ import annotations

from math import isfinite

import numpy as np
import xarray as xr

from mgsflow.report.figures.series import SHORT, Series, series_of
from mgsflow.report.numbers import NONE, fixed, significant
from mgsflow.report.sections.part import Part
from mgsflow.report.state import SpecimenState
from mgsflow.report.tables import Table

_MOST_ROWS = 80


def comparison_part(state: SpecimenState) -> Part | None:
    """Return the comparison of states; None where there is none."""
    data = state.study("comparison")
    if data is None or "scan" not in data.dims:
        return None
    data = data.load()
    tables = [t for t in (_table(state, data), _correlations(state, data)) if t is not None]
    return Part("Comparison of states", tuple(tables)) if tables else None


def _rows(state: SpecimenState, data: xr.Dataset) -> list[Series]:
    scans = [s.scan.name for s in state.scans]
    rank = {name: i for i, name in enumerate(SHORT)}
    names = sorted((str(n) for n in data.data_vars if f"{n}_ratio" in data), key=lambda n: (rank.get(n, len(rank)), n))
    return [s for n in names for s in series_of(data, n, scans, state.specimen.phases, ())]


def _table(state: SpecimenState, data: xr.Dataset) -> Table | None:
    every = _rows(state, data)
    if not every:
        return None
    reference = str(data.attrs.get("reference", ""))
    scans = [s.scan.name for s in state.scans if s.scan.name in {str(v) for v in data["scan"].values}]
    rows, raw = [], []
    for one in every[:_MOST_ROWS]:
        cells: list[str] = []
        numbers: list[object] = []
        for scan in scans:
            value = float(one.values[scan])
            ratio = _pick(data, f"{one.name}_ratio", scan, one.where)
            differs = _pick(data, f"{one.name}_differs", scan, one.where)
            mark = {1.0: " ●", 0.0: " ○"}.get(differs if isfinite(differs) else -1.0, "")
            text = significant(value)
            if scan != reference and isfinite(ratio):
                text += f" (×{ratio:.3g}){mark}"
            cells.append(text)
            numbers += [v if isfinite(v) else None for v in (value, ratio, differs)]
        rows.append((one.title, one.of or NONE, one.units or NONE, *cells))
        raw.append((one.name, one.of, one.units, *numbers))
    caption = (
        f"Numbers of all scans of the {state.name}"
        + (f"; in brackets, the ratio to {reference}" if reference else "")
        + ". ● differs by more than the combined uncertainty, ○ does not; no mark where that is not known."
        + (f" The first {_MOST_ROWS} of {len(every)}; the others are in the store." if len(every) > _MOST_ROWS else "")
    )
    full = ("property", "of", "units", *(f"{s}{w}" for s in scans for w in ("", " ratio", " differs")))
    return Table(
        f"{state.name}_comparison", caption, ("Property", "Of", "Unit", *scans), tuple(rows), text=3,
        raw_columns=full, raw=tuple(raw),
    )  # fmt: skip


def _correlations(state: SpecimenState, data: xr.Dataset) -> Table | None:
    """Return how each number goes with the capacity, the closest first; None where no capacity is known."""
    rows: list[tuple[float, tuple[str, ...], tuple[object, ...]]] = []
    for one in _rows(state, data):
        r, rho, n, p = (
            _pick(data, f"{one.name}_{k}", "", one.where) for k in ("pearson", "spearman", "pairs", "pearson_p")
        )
        if not isfinite(r):
            continue
        cells = (one.title, one.of or NONE, fixed(r, 3), fixed(rho, 3), f"{n:.0f}", fixed(p, 3))
        raw = tuple(v if isfinite(v) else None for v in (r, rho, n, p))
        rows.append((-abs(r), cells, (one.name, one.of, *raw)))
    if not rows:
        return None
    rows.sort(key=lambda row: row[0])
    caption = (
        "Correlation with the capacity over the scans: Pearson's r and Spearman's ρ of n scans, the closest first. "
        "Of few scans, chance alone gives values near 1: p is stated from five on, and is that of one test among many."
        + (f" The first {_MOST_ROWS} of {len(rows)}." if len(rows) > _MOST_ROWS else "")
    )
    return Table(
        f"{state.name}_correlations", caption, ("Property", "Of", "r", "ρ", "n", "p"),
        tuple(r[1] for r in rows[:_MOST_ROWS]), text=2,
        raw_columns=("property", "of", "pearson", "spearman", "scans", "p of pearson"), raw=tuple(r[2] for r in rows),
    )  # fmt: skip


def _pick(data: xr.Dataset, name: str, scan: str, where: dict[str, str]) -> float:
    if name not in data:
        return float("nan")
    one = data[name]
    if "estimator" in one.dims:
        one = one.isel(estimator=0)
    value = one.sel({k: v for k, v in {"scan": scan, **where}.items() if k in one.dims})
    return float(np.asarray(value.values, dtype=np.float64).ravel()[0]) if value.size == 1 else float("nan")
