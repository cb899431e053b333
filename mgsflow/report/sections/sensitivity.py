"""Threshold studies: what a threshold moves, how far, and by how much the numbers are uncertain for it."""

from __future__ import annotations

from math import isfinite

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from mgsflow.report.figures.drawing import Drawing
from mgsflow.report.figures.grey_and_fractions import scan_key
from mgsflow.report.figures.palette import Theme
from mgsflow.report.figures.series import Series, picked, scaled_for, series_drawings, series_of
from mgsflow.report.numbers import NONE, grouped, plain, significant
from mgsflow.report.sections.part import Part
from mgsflow.report.state import ScanState, SpecimenState
from mgsflow.report.tables import Table

#: Scans whose thresholds the caption names.
_NAMED = 12
_ENDS = ("at the lowest", "at the highest", "uncertainty")
_DRAWN = (
    *("volume_fraction", "tortuosity_factor", "effective_diffusivity", "permeability", "surface_per_total_volume"),
    *("surface_per_phase_volume", "tpb_density"),
)


def sensitivity_part(state: SpecimenState) -> Part | None:
    """Return what the threshold study found; None where none was asked for."""
    data = state.study("sensitivity")
    if data is None or "threshold" not in data.dims:
        return Part("Threshold sensitivity", notes=("Not finished.",)) if state.asks("sensitivity") else None
    data = data.load()
    scans = [s.scan.name for s in state.scans]
    names = [str(n) for n in data.data_vars if {"scan", "threshold"} <= set(data[n].dims)]
    names = [n for n in names if data[n].dtype.kind in "iuf"]
    every = [s for n in names for s in series_of(data, n, scans, state.specimen.phases, ("threshold",))]
    every = [s for s in every if all(v.ndim == 1 for v in s.values.values())]
    key = tuple((n, c) for n, c in scan_key(state) if n in {str(v) for v in data["scan"].values})
    table = _table(state, data, [s for s in every if s.name in _DRAWN])
    return Part(
        "Threshold sensitivity",
        (table,) if table is not None else (),
        tuple(_drawings(state, data, [s for n in _DRAWN for s in every if s.name == n], key)),
        key=key,
        caption=(
            "Against the threshold that was moved. Dashed: the threshold in use, with what its standard "
            "uncertainty, from the valley of the grey histogram, does to each number. Where a phase does not "
            "percolate, there is no point."
        ),
        notes=tuple(_endings(state, data)),
    )


def thresholds_of(data: xr.Dataset, scan: str) -> np.ndarray:
    """Return the thresholds of a scan."""
    values = data["threshold_value"] if "threshold_value" in data else data["threshold"]
    return np.asarray((values.sel(scan=scan) if "scan" in values.dims else values).values, dtype=np.float64)


def _in_use(data: xr.Dataset, scan: str) -> tuple[float, float]:
    found = []
    for name in ("threshold_in_use", "threshold_uncertainty"):
        if name not in data.variables:
            found.append(float("nan"))
            continue
        one = data[name]
        found.append(float(one.sel(scan=scan) if "scan" in one.dims else one))
    return found[0], found[1]


def _drawings(
    state: SpecimenState, data: xr.Dataset, drawn: list[Series], key: tuple[tuple[str, str], ...]
) -> list[Drawing]:
    uses = {scan: _in_use(data, scan) for scan, _ in key}

    def line(panel: Axes, one: Series, scan: str, colour: str, theme: Theme) -> None:
        x, y = thresholds_of(data, scan), scaled_for(one) * one.values[scan]
        known = np.isfinite(y) & np.isfinite(x)
        panel.plot(x[known], y[known], "o-", color=colour, lw=1.2, ms=3.5, alpha=0.9)
        at = uses[scan][0]
        if not isfinite(at):
            return
        panel.axvline(at, color=theme.quiet, lw=0.8, ls=(0, (4, 3)))
        error = f"{one.name}_uncertainty"
        u = scaled_for(one) * float(picked(data, error, {"scan": scan, **one.where})) if error in data else float("nan")
        if isfinite(u) and known.any():
            y_used = float(np.interp(at, x[known], y[known]))
            panel.errorbar([at], [y_used], [u], fmt="none", ecolor=colour, elinewidth=1.0, capsize=3)

    def finish(panel: Axes, theme: Theme) -> None:
        every = np.concatenate([thresholds_of(data, scan) for scan, _ in key])
        low, high = np.nanmin(every), np.nanmax(every)
        room = 0.08 * (high - low) or 1.0
        panel.set_xlim(low - room, high + room)
        panel.xaxis.set_major_formatter(lambda v, _: plain(v))
        panel.locator_params(axis="x", nbins=4)

    return series_drawings(
        f"{state.name}_sensitivity", state.name, drawn, key, "threshold, grey value", line, finish
    )  # fmt: skip


def _table(state: SpecimenState, data: xr.Dataset, every: list[Series]) -> Table | None:
    """Return, for each number and scan, what the thresholds moved it from and to."""
    if not every:
        return None
    scans = [s.scan.name for s in state.scans if s.scan.name in {str(v) for v in data["scan"].values}]
    rows, raw = [], []
    for one in every:
        cells, numbers = [], []
        for scan in scans:
            x, y = thresholds_of(data, scan), scaled_for(one) * one.values[scan]
            known = np.isfinite(x) & np.isfinite(y)
            ends = (float(y[known][0]), float(y[known][-1])) if known.any() else (float("nan"),) * 2
            error = f"{one.name}_uncertainty"
            u = float("nan")
            if error in data:
                u = scaled_for(one) * float(picked(data, error, {"scan": scan, **one.where}))
            bar = f" (± {significant(u, 2)})" if isfinite(u) and u > 0 else ""
            cells.append(NONE if not known.any() else f"{significant(ends[0])} → {significant(ends[1])}{bar}")
            numbers += [v if isfinite(v) else None for v in (*ends, u)]
        units = "%" if scaled_for(one) == 100 else one.units
        rows.append((one.title, one.of or NONE, units or NONE, *cells))
        raw.append((one.name, one.of, units, *numbers))
    use = [f"{s}: {_use(data, s)}" for s in scans[:_NAMED]]
    use += ["…"] if len(scans) > _NAMED else []
    caption = (
        f"What the study of thresholds moves in the {state.name}: from the lowest to the highest threshold at which "
        "there is a number; in brackets, the standard uncertainty at the threshold in use. In use, with standard "
        f"uncertainty: {'; '.join(use)}."
    )
    full = ("property", "of", "units", *(f"{s} {end}" for s in scans for end in _ENDS))
    return Table(
        f"{state.name}_sensitivity", caption, ("Property", "Of", "Unit", *scans), tuple(rows), text=3,
        raw_columns=full, raw=tuple(raw),
    )  # fmt: skip


def _use(data: xr.Dataset, scan: str) -> str:
    at, u = _in_use(data, scan)
    if not isfinite(at):
        return NONE
    return f"{grouped(at) if abs(at) >= 100 else significant(at)} ± {significant(u, 2) if isfinite(u) else NONE}"


def _endings(state: SpecimenState, data: xr.Dataset) -> list[str]:
    """Return at which thresholds a solve came to no number."""
    said = []
    for name in (str(n) for n in data.data_vars if str(n).endswith("_status")):
        values = data[name]
        if not {"scan", "threshold"} <= set(values.dims):
            continue
        what = name.removesuffix("_status")
        for scan in _known(state, data):
            at = thresholds_of(data, scan.scan.name)
            one = values.sel(scan=scan.scan.name).transpose("threshold", ...)
            ends: dict[str, list[float]] = {}
            for x, texts in zip(at.tolist(), one.values):
                for text in dict.fromkeys(
                    str(t) for t in np.asarray(texts, dtype=object).ravel() if isinstance(t, str)
                ):
                    if text not in ("", "converged"):
                        ends.setdefault(text, []).append(x)
            said += [
                f"{scan.scan.name}, {what} at {', '.join(plain(v) for v in where)}: {text}."
                for text, where in ends.items()
            ]
    return said


def _known(state: SpecimenState, data: xr.Dataset) -> list[ScanState]:
    known = {str(v) for v in data["scan"].values}
    return [s for s in state.scans if s.scan.name in known]
