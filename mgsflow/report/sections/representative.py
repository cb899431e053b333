"""Representative volumes: properties of windows against their size, and the smallest that stands for the scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from mgsflow.report.figures.drawing import Drawing
from mgsflow.report.figures.grey_and_fractions import scan_key
from mgsflow.report.figures.palette import Theme
from mgsflow.report.figures.series import Series, picked, scaled_for, series_drawings, series_of, title_of
from mgsflow.report.numbers import NONE, grouped, listing, plain, significant
from mgsflow.report.sections.part import Part
from mgsflow.report.state import SpecimenState
from mgsflow.report.tables import Table

#: Properties that are drawn, in this order; the table has all.
_DRAWN = (
    *("volume_fraction", "surface_per_total_volume", "tpb_density", "tortuosity_factor", "effective_diffusivity"),
    "permeability",
)
_ENDS = ("whole", "mean", "spread", "deviation", "reach", "count", "representative_size")


def representative_part(state: SpecimenState) -> Part | None:
    """Return what the study of representative volumes found; None where none was asked for."""
    data = state.study("rve")
    if data is None or "size" not in data.dims:
        return Part("Representative volume", notes=("Not finished.",)) if state.asks("rve") else None
    data = data.load()
    names = properties(data)
    every = [s for n in names for s in _series(state, data, n)]
    drawn = [s for n in _DRAWN for s in every if s.name == n]
    key = tuple((n, c) for n, c in scan_key(state) if n in {str(v) for v in data["scan"].values})
    return Part(
        "Representative volume",
        (_table(state, data, every),),
        tuple(_drawings(state, data, drawn, key)),
        key=key,
        caption=_caption(data),
        notes=tuple(_not_known(state, data)),
    )


def properties(data: xr.Dataset) -> list[str]:
    """Return the properties that windows were compared by."""
    return [str(n) for n in data.data_vars if f"{n}_mean" in data and f"{n}_whole" in data]


def _series(state: SpecimenState, data: xr.Dataset, name: str) -> list[Series]:
    scans = [s.scan.name for s in state.scans]
    found = series_of(data, f"{name}_mean", scans, state.specimen.phases, ("size",))
    words = title_of(name, data[name])
    return [replace(s, name=name, title=words) for s in found]


def _drawings(
    state: SpecimenState, data: xr.Dataset, drawn: list[Series], key: tuple[tuple[str, str], ...]
) -> list[Drawing]:
    several = "window" in data.dims and data.sizes["window"] > 1

    def line(panel: Axes, one: Series, scan: str, colour: str, theme: Theme) -> None:
        factor, here = scaled_for(one), {"scan": scan, **one.where}
        share = 100 * np.asarray(data["volume_share"].sel(scan=scan).values, np.float64)
        mean = factor * one.values[scan]
        known = np.isfinite(mean)
        if several:
            spread = factor * picked(data, f"{one.name}_spread", here)
            panel.errorbar(
                share[known], mean[known], np.nan_to_num(spread[known]), fmt="none", ecolor=colour, elinewidth=0.8,
                capsize=2, alpha=0.7,
            )  # fmt: skip
        panel.plot(share[known], mean[known], "o-", color=colour, lw=1.2, ms=3.5, alpha=0.9)
        whole = factor * float(picked(data, f"{one.name}_whole", here))
        if np.isfinite(whole):
            panel.plot([100], [whole], "o", ms=5, mfc="none", mec=colour, mew=1.1)
            if known.any():
                panel.plot([share[known][-1], 100], [mean[known][-1], whole], ":", color=colour, lw=1, alpha=0.7)

    def finish(panel: Axes, theme: Theme) -> None:
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        panel.xaxis.set_minor_locator(NullLocator())

    return series_drawings(f"{state.name}_rve", state.name, drawn, key, "share of the scan's volume in %", line, finish)


def _table(state: SpecimenState, data: xr.Dataset, every: list[Series]) -> Table:
    scans = [s.scan.name for s in state.scans if s.scan.name in {str(v) for v in data["scan"].values}]
    sizes = np.asarray(data["size"].values)
    volumes = dict(zip(sizes.tolist(), np.asarray(data["volume"].values).tolist()))
    rows, raw = [], []
    for one in every:
        cells: list[str] = []
        numbers: list[object] = []
        for scan in scans:
            here = {"scan": scan, **one.where}
            size = float(picked(data, f"{one.name}_representative_size", here))
            reach = picked(data, f"{one.name}_reach", here)
            last = reach[np.isfinite(reach)]
            within = float(last[-1]) if last.size else np.nan
            cells.append(_cell(size, volumes, within))
            numbers += [size if np.isfinite(size) else None, within if np.isfinite(within) else None]
        rows.append((one.title, one.of or NONE, *cells))
        raw.append((one.name, one.of, *numbers))
    tolerance = float(data.attrs.get("tolerance", np.nan))
    caption = (
        "Smallest window, as its edge in voxels and its volume, that represents the whole scan within "
        f"{100 * tolerance:g} % {_meaning(data)}. Where none of the windows does: the deviation from the whole that "
        "the largest one keeps."
    )
    columns = ("Property", "Of", *scans)
    full = ("property", "of", *(f"{s} {what}" for s in scans for what in ("edge (voxels)", "deviation of the largest")))
    return Table(
        f"{state.name}_rve", caption, columns, tuple(rows), text=2, raw_columns=full, raw=tuple(raw)
    )  # fmt: skip


def _cell(size: float, volumes: dict[int, float], within: float) -> str:
    if np.isfinite(size):
        return f"{size:.0f} ({_volume(volumes.get(int(size), np.nan))} µm³)"
    return f"none; {100 * within:.3g} %" if np.isfinite(within) else NONE


def _volume(value: float) -> str:
    return grouped(value) if value >= 1000 else significant(value, 3)


def _meaning(data: xr.Dataset) -> str:
    confidence = data.attrs.get("confidence")
    if isinstance(confidence, (int, float)):
        return (
            f"from this size on: another window of it keeps that with {100 * confidence:g} % confidence (prediction "
            "interval of Student's t over the windows)"
        )
    return "from this size on; from one window of a size, no confidence can be stated"


def _caption(data: xr.Dataset) -> str:
    sizes = [plain(v) for v in data["size"].values.tolist()]
    text = f"Properties of windows with edges of {listing(sizes)} voxels against their share of the scan's volume; "
    if "window" in data.dims and data.sizes["window"] > 1:
        text += "points are means, bars standard deviations between windows; "
    return text + "the hollow point is the whole scan."


def _not_known(state: SpecimenState, data: xr.Dataset) -> list[str]:
    """Return what did not come to a number: solves that did not converge, or found nothing that percolates."""
    said = []
    for name in (str(n) for n in data.data_vars if str(n).endswith("_status")):
        counts: dict[tuple[str, str], int] = {}
        values = data[name]
        if "scan" not in values.dims:
            continue
        for scan in (s.scan.name for s in state.scans):
            if scan in {str(v) for v in data["scan"].values}:
                for text in np.asarray(values.sel(scan=scan).values, dtype=object).ravel():
                    if isinstance(text, str) and text not in ("", "converged"):
                        counts[scan, text] = counts.get((scan, text), 0) + 1
        what = name.removesuffix("_status")
        said += [f"{scan}: {count} solves of the {what}: {text}; left out." for (scan, text), count in counts.items()]
    return said
