"""Electrochemistry: capacity by cycle, voltage against capacity, and voltammograms with their peaks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgsflow.report.figures.drawing import SMALL, Drawing, axes_of, panels_of, titled
from mgsflow.report.figures.palette import Theme, phase_colour, scan_colour
from mgsflow.report.numbers import NONE, aligned, fixed, percent, significant
from mgsflow.report.sections.part import Part
from mgsflow.report.state import StudyState
from mgsflow.report.tables import Table

#: Curves of a cell, at most: the first, the last, and others between.
_CURVES = 8
#: Peaks of a sweep that are named, at most.
_PEAKS = 2
#: Least range of an axis of per cent.
_LEAST_RANGE = 4.0
_HALVES = {"discharge": "-", "charge": "--"}


def electrochemistry_parts(study: StudyState) -> list[Part]:
    """Return what the files of cyclers and potentiostats say; nothing where there are none."""
    makers = (("cycles", _cycling), ("voltammetry", _voltammetry), ("images", _images))
    parts = []
    for name, make in makers:
        data = study.electrochemistry.get(name)
        if data is not None and (part := make(study, data.load())) is not None:
            parts.append(part)
    return parts


def scans_of_cycles(study: StudyState) -> list[int]:
    """Return the cycles that scans were taken at, but for 0."""
    return sorted({s.scan.cycle for state in study.specimens for s in state.scans if s.scan.cycle > 0})


def _cycling(study: StudyState, data: xr.Dataset) -> Part | None:
    cells = [str(c) for c in data["cell"].values]
    if not cells or not data.sizes.get("cycle"):
        return None
    key = tuple((c, phase_colour(1 + i)) for i, c in enumerate(cells))
    drawings = [_capacity(study, data, key)]
    if np.isfinite(data["coulombic_efficiency"].values).any():
        drawings.append(_efficiency(data, key))
    curves = study.electrochemistry.get("curves")
    if curves is not None:
        drawings += _voltage(curves.load(), cells)
    return Part(
        "Cycling",
        (_table(study, data),),
        tuple(drawings),
        key=key,
        caption=(
            "Full marks: discharge; hollow ones: charge. Vertical lines: cycles at which scans were taken. Curves: "
            "discharge solid, charge dashed, from the first cycle (violet) to the last (yellow)."
        ),
    )


def _named(data: xr.Dataset, half: str) -> tuple[str, str]:
    """Return the variable of a capacity, per mass where all masses are known, and its units."""
    name = f"specific_{half}_capacity"
    if name in data and np.isfinite(data["mass"].values).all():
        return name, "mAh/g"
    return f"{half}_capacity", "mAh"


def _table(study: StudyState, data: xr.Dataset) -> Table:
    cells = [str(c) for c in data["cell"].values]
    numbers = np.asarray(data["cycle"].values)
    wanted = sorted({int(numbers[0]), int(numbers[-1]), *scans_of_cycles(study)} & set(numbers.tolist()))
    rows, raw = [], []
    discharge, units = _named(data, "discharge")
    charge, _ = _named(data, "charge")
    for cell in cells:
        for cycle in numbers.tolist():
            one = data.sel(cell=cell, cycle=cycle)
            values = [float(one[n]) for n in (discharge, charge, "coulombic_efficiency", "capacity_retention")]
            said = str(one["cycle_status"].item()) if "cycle_status" in data else ""
            raw.append((cell, cycle, said, *(v if np.isfinite(v) else None for v in values)))
            if cycle in wanted:
                rows.append((cell, str(cycle), said or NONE, values))
    columns = [aligned([r[3][i] for r in rows]) for i in range(2)]
    cells_of = tuple(
        (cell, cycle, said, columns[0][k], columns[1][k], percent(v[2]), percent(v[3]))
        for k, (cell, cycle, said, v) in enumerate(rows)
    )
    heads = ("Cell", "Cycle", "Status", f"Discharge, {units}", f"Charge, {units}", "Efficiency, %", "Retention, %")
    full = ("cell", "cycle", "status", f"discharge ({units})", f"charge ({units})", "efficiency", "retention")
    caption = (
        "Capacity in the first and the last cycle, and in those at which scans were taken. The efficiency is the "
        "charge of the second half of a cycle over that of the first; the retention refers to the first complete cycle."
        + _conventions(data)
    )
    return Table("electrochemistry_cycles", caption, heads, cells_of, raw_columns=full, raw=tuple(raw))


def _conventions(data: xr.Dataset) -> str:
    """Return a sentence for each way in which files were read: sign of the current, numbering of the cycles."""
    if "current_sign" not in data:
        return ""
    ways: dict[tuple[str, str, str], list[str]] = {}
    for cell in data["cell"].values:
        one = data.sel(cell=cell)
        way = tuple(str(one[n].item()) for n in ("current_sign", "cycle_numbering", "first_half"))
        ways.setdefault(way, []).append(str(cell))  # type: ignore[arg-type]
    return "".join(
        f" {', '.join(cells)}: current {sign}, cycles numbered {numbering}, each beginning with a {first}."
        for (sign, numbering, first), cells in ways.items()
    )


def _capacity(study: StudyState, data: xr.Dataset, key: Sequence[tuple[str, str]]) -> Drawing:
    scanned = scans_of_cycles(study)
    cycles = np.asarray(data["cycle"].values, np.float64)

    def draw(figure: Figure, theme: Theme) -> None:
        axes = axes_of(figure, theme)
        for cycle in scanned:
            if cycles[0] <= cycle <= cycles[-1]:
                axes.axvline(cycle, color=theme.quiet, lw=0.8, ls=(0, (4, 3)))
        units = ""
        for cell, colour in key:
            for half, fill in (("discharge", colour), ("charge", "none")):
                name, units = _named(data, half)
                values = np.asarray(data[name].sel(cell=cell).values, np.float64)
                axes.plot(cycles, values, "o", ms=4.5, mfc=fill, mec=colour, mew=1.0)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("cycle")
        axes.set_ylabel(f"capacity in {units}")

    alt = "Capacity of discharge and charge against the cycle, for each cell."
    return Drawing("electrochemistry_capacity", alt, (4.0, 3.0), draw, tuple(key))


def _efficiency(data: xr.Dataset, key: Sequence[tuple[str, str]]) -> Drawing:
    cycles = np.asarray(data["cycle"].values, np.float64)

    def draw(figure: Figure, theme: Theme) -> None:
        panels = panels_of(figure, theme, 2)
        for panel, name, words in zip(
            panels, ("coulombic_efficiency", "capacity_retention"), ("coulombic efficiency", "capacity retention")
        ):
            for cell, colour in key:
                panel.plot(cycles, 100 * data[name].sel(cell=cell).values, "o-", ms=3.5, lw=1, color=colour)
            titled(panel, words, theme, theme.line)
            panel.set_ylabel("%")
            panel.margins(y=0.2)
            low, high = panel.get_ylim()
            if high - low < _LEAST_RANGE:  # differences that are none look like ones
                panel.set_ylim((low + high - _LEAST_RANGE) / 2, (low + high + _LEAST_RANGE) / 2)
            panel.yaxis.set_major_locator(MaxNLocator(4))
            panel.ticklabel_format(axis="y", useOffset=False)
        panels[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
        panels[-1].set_xlabel("cycle")

    alt = "Coulombic efficiency and capacity retention against the cycle, for each cell."
    return Drawing("electrochemistry_efficiency", alt, (4.0, 3.0), draw, tuple(key))


def _voltage(data: xr.Dataset, cells: Sequence[str]) -> list[Drawing]:
    name = "specific_capacity" if "specific_capacity" in data else "capacity"
    units = str(data[name].attrs.get("units", "mAh"))
    drawings = []
    for cell in (c for c in cells if c in {str(v) for v in data["cell"].values}):
        one = data.sel(cell=cell)
        there = np.isfinite(one["voltage"].values).any(axis=tuple(range(1, one["voltage"].ndim)))
        known = np.asarray(one["cycle"].values)[there]
        if not known.size:
            continue
        shown = known[np.unique(np.linspace(0, known.size - 1, min(_CURVES, known.size)).round().astype(int))]

        def draw(
            figure: Figure, theme: Theme, one: xr.Dataset = one, shown: np.ndarray = shown, cell: str = cell
        ) -> None:
            axes = axes_of(figure, theme)
            for i, cycle in enumerate(shown.tolist()):
                for half, style in _HALVES.items():
                    curve = one.sel(cycle=cycle, half=half)
                    axes.plot(
                        curve[name].values, curve["voltage"].values, ls=style, lw=1.1, color=scan_colour(i, shown.size)
                    )
            titled(axes, f"{cell}: cycles {', '.join(map(str, shown.tolist()))}", theme, theme.line)
            axes.set_xlim(left=0)
            axes.set_xlabel(f"capacity in {units}")
            axes.set_ylabel("voltage in V")

        alt = f"Voltage against capacity of {cell}, in {shown.size} cycles."
        drawings.append(Drawing(f"electrochemistry_voltage_{cell}", alt, (4.0, 3.0), draw))
    return drawings


def _voltammetry(study: StudyState, data: xr.Dataset) -> Part | None:
    del study
    cells = [str(c) for c in data["cell"].values]
    drawings, rows, raw = [], [], []
    for cell in cells:
        one = data.sel(cell=cell)
        cycles = [
            int(c) for c in one["cycle"].values if np.isfinite(one["current"].sel(cycle=c).values).any()
        ]  # fmt: skip
        if not cycles:
            continue
        peaks = _peaks(one, cycles)
        for cycle, sweep, voltage, current in peaks:
            rows.append((cell, str(cycle), sweep, fixed(voltage, 3), significant(current, 3)))
            raw.append((cell, cycle, sweep, voltage, current))
        drawings.append(_cv(cell, one, cycles, peaks))
    if not drawings:
        return None
    caption = f"Peaks of the voltammograms, the {_PEAKS} that stand out most in each sweep."
    table = Table(
        "electrochemistry_peaks", caption, ("Cell", "Cycle", "Sweep", "Voltage, V", "Current, mA"), tuple(rows),
        raw_columns=("cell", "cycle", "sweep", "voltage (V)", "current (mA)"), raw=tuple(raw),
    )  # fmt: skip
    rates = [f"{c}: {r:g} mV/s" for c in cells if np.isfinite(r := float(data["scan_rate"].sel(cell=c)))]
    caption = "Cyclic voltammograms, from the first cycle (violet) to the last (yellow); dots are peaks."
    return Part(
        "Voltammetry",
        (table,) if rows else (),
        tuple(drawings),
        caption=caption + (f" Scan rates: {'; '.join(rates)}." if rates else ""),
    )


def _peaks(one: xr.Dataset, cycles: Sequence[int]) -> list[tuple[int, str, float, float]]:
    found = []
    for cycle in cycles:
        for sweep in (str(s) for s in one["sweep"].values):
            at = one.sel(cycle=cycle, sweep=sweep)
            for voltage, current in list(zip(at["peak_voltage"].values, at["peak_current"].values))[:_PEAKS]:
                if np.isfinite(voltage):
                    found.append((cycle, sweep, float(voltage), float(current)))
    return found


def _cv(cell: str, one: xr.Dataset, cycles: Sequence[int], peaks: Sequence[tuple[int, str, float, float]]) -> Drawing:
    def draw(figure: Figure, theme: Theme) -> None:
        axes = axes_of(figure, theme)
        axes.axhline(0, color=theme.line, lw=0.8)
        for i, cycle in enumerate(cycles):
            curve = one.sel(cycle=cycle)
            colour = scan_colour(i, len(cycles))
            axes.plot(curve["voltage"].values, curve["current"].values, lw=1.2, color=colour)
            for _, _, voltage, current in (p for p in peaks if p[0] == cycle):
                axes.plot([voltage], [current], "o", ms=3.5, color=colour)
                if cycle == cycles[0]:
                    axes.annotate(
                        f"{voltage:.2f} V", (voltage, current), (0, 5 if current > 0 else -5),
                        textcoords="offset points", ha="center", va="bottom" if current > 0 else "top", fontsize=SMALL,
                        color=theme.ink,
                    )  # fmt: skip
        titled(axes, cell, theme, theme.line)
        axes.margins(y=0.18)
        axes.set_xlabel("voltage in V")
        axes.set_ylabel("current in mA")

    alt = f"Cyclic voltammogram of {cell}: current against voltage in {len(cycles)} cycles, with peaks."
    return Drawing(f"electrochemistry_voltammogram_{cell}", alt, (4.0, 3.0), draw)


#: Heads of columns, where the store's own description is too long for one.
_IMAGES = {
    "volume_fraction": "fraction of",
    "volume_fraction_error": "its error,",
    "voxel_count": "pixels of",
    "threshold": "threshold above",
}


def _images(study: StudyState, data: xr.Dataset) -> Part | None:
    """Return what two-dimensional images give, beside the fractions of the scans."""
    del study
    dim = next((str(d) for d in data.dims if str(d) in ("image", "images")), None)
    if dim is None:
        return None
    names = [str(v) for v in (data[dim].values if dim in data.coords else range(data.sizes[dim]))]
    columns, heads, full, raw = [], [], [], []
    for name, variable in data.data_vars.items():
        if variable.dims[:1] != (dim,) or variable.ndim > 2 or variable.dtype.kind not in "iuf":
            continue
        other = str(variable.dims[1]) if variable.ndim == 2 else ""
        labels = [str(v) for v in variable[other].values] if other else [""]
        for i, label in enumerate(labels):
            values = np.asarray(variable.values if not other else variable.values[:, i], np.float64)
            if not np.isfinite(values).any():
                continue
            words = _IMAGES.get(str(name), str(variable.attrs.get("long_name", name)).replace("_", " "))
            units = str(variable.attrs.get("units", "1"))
            share = units == "1" and float(np.nanmax(values)) <= 1
            heads.append(
                f"{words}{f' {label}' if label else ''}{', %' if share else '' if units == '1' else f', {units}'}"
            )
            columns.append([percent(v) for v in values] if share else aligned(values.tolist()))
            full.append(f"{name}{f' {label}' if label else ''} ({units})")
            raw.append(values.tolist())
    if not columns:
        return None
    table = Table(
        "electrochemistry_images", "Images in two dimensions, segmented as the scans are.", ("Image", *heads),
        tuple((n, *row) for n, row in zip(names, zip(*columns))), text=1, raw_columns=("image", *full),
        raw=tuple((n, *row) for n, row in zip(names, zip(*raw))),
    )  # fmt: skip
    return Part("Images", (table,))
