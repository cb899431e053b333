"""Numbers of a study against something that it varied, such as the size of windows: one panel for each, by scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgsflow.report.figures.drawing import Drawing, panels_of, titled
from mgsflow.report.figures.palette import AXES, Theme, phase_colour

#: The estimator that is drawn where there are several.
ESTIMATOR = "crofton13"
#: What a panel is named, by variable; others by their long name.
SHORT = {
    "volume_fraction": "volume fraction",
    "surface_per_total_volume": "area per total volume",
    "surface_per_phase_volume": "area per volume of the phase",
    "tpb_density": "triple-phase boundary",
    "tpb_edge_density": "triple-phase boundary, by edges",
    "tortuosity_factor": "tortuosity factor τ",
    "effective_diffusivity": "effective diffusivity",
    "permeability": "permeability",
    "interface_per_total_volume": "interface per total volume",
}


@dataclass(frozen=True, eq=False)
class Series:
    """One number of all scans against what was varied.

    Parameters
    ----------
    name : str
        Variable.
    title : str
        What it is, without phase and axis.
    units : str
        Empty where there is none.
    of : str
        Phase, axis or both, as ``pore, x``; empty where there is none.
    where : dict
        Coordinates of it.
    values : dict of str to ndarray
        By scan, along what was varied, and further dimensions.
    colour : str
        Of its mark.
    """

    name: str
    title: str
    units: str
    of: str
    where: dict[str, str]
    values: dict[str, np.ndarray]
    colour: str

    @property
    def label(self) -> str:
        """What it is, with phase and axis."""
        return f"{self.title}, {self.of}" if self.of else self.title


def title_of(name: str, variable: xr.DataArray) -> str:
    """Return the words for a variable."""
    return SHORT.get(name, str(variable.attrs.get("long_name", name.replace("_", " "))))


def units_of(variable: xr.DataArray) -> str:
    """Return the units of a variable; empty for a pure number."""
    units = str(variable.attrs.get("units", ""))
    return "" if units == "1" else units


def series_of(
    data: xr.Dataset, name: str, scans: Sequence[str], phases: Sequence[str], along: tuple[str, ...]
) -> list[Series]:
    """Return what there is of one variable: one series for each phase and axis that has a number.

    Parameters
    ----------
    data : Dataset
        Variables along ``scan``, `along` and others.
    name : str
    scans, phases : sequence of str
    along : tuple of str
        Dimensions that are kept.
    """
    variable = data[name]
    if "estimator" in variable.dims:
        known = [str(e) for e in variable["estimator"].values]
        variable = variable.sel(estimator=ESTIMATOR if ESTIMATOR in known else known[0])
    free = [str(d) for d in variable.dims if str(d) not in ("scan", *along)]
    if any(d not in variable.coords for d in free) or "scan" not in variable.dims:
        return []
    free.sort(key=lambda d: ("phase", "neighbour", "pair", "axis").index(d) if d in _KNOWN else 9)
    keys: list[dict[str, str]] = [{}]
    for d in free:
        keys = [k | {d: str(v)} for k in keys for v in variable[d].values]
    if {"phase", "neighbour"} <= set(free):  # symmetric: each pair once
        rank = {p: i for i, p in enumerate(phases)}
        keys = [k for k in keys if rank.get(k["phase"], -1) < rank.get(k["neighbour"], -1)]
    there = [s for s in scans if s in {str(v) for v in data["scan"].values}]
    found = []
    for key in keys:
        one = variable.sel(key).transpose("scan", *(d for d in along if d in variable.dims))
        values = {s: np.asarray(one.sel(scan=s).values, dtype=np.float64) for s in there}
        if any(np.isfinite(v).any() for v in values.values()):
            of = ", ".join("–".join(key[d] for d in group if d in key) for group in _GROUPS if set(group) & set(key))
            found.append(
                Series(name, title_of(name, variable), units_of(variable), of, key, values, _colour(key, phases))
            )
    return found


_KNOWN = ("phase", "neighbour", "pair", "axis")
_GROUPS = (("phase", "neighbour"), ("pair",), ("axis",))


def _colour(key: dict[str, str], phases: Sequence[str]) -> str:
    if "phase" in key and key["phase"] in phases:
        return phase_colour(list(phases).index(key["phase"]))
    return AXES.get(key.get("axis", ""), "#8b929c")


#: Draws one scan's line in a panel: axes, series, scan, colour.
Line = Callable[[Axes, Series, str, str, Theme], None]


def series_drawings(
    name: str,
    of: str,
    series: Sequence[Series],
    key: Sequence[tuple[str, str]],
    against: str,
    line: Line,
    finish: Callable[[Axes, Theme], None] | None = None,
    most: int = 4,
) -> list[Drawing]:
    """Return a figure for each variable, a panel for each phase and axis (at most `most` in a figure)."""
    drawings = []
    names = list(dict.fromkeys(s.name for s in series))
    for variable in names:
        group = [s for s in series if s.name == variable]
        for first in range(0, len(group), most):
            shown = group[first : first + most]

            def draw(figure: Figure, theme: Theme, shown: list[Series] = shown) -> None:
                panels = panels_of(figure, theme, len(shown))
                for panel, one in zip(panels, shown):
                    for scan, colour in key:
                        if scan in one.values:
                            line(panel, one, scan, colour, theme)
                    percent = one.name.endswith("fraction")
                    titled(panel, one.label, theme, one.colour)
                    panel.set_ylabel("%" if percent else one.units)
                    panel.yaxis.set_major_locator(MaxNLocator(4))
                    panel.margins(x=0.05, y=0.15)
                    shown_values = np.concatenate([v.ravel() for v in one.values.values()])
                    if np.nanmin(shown_values) >= 0:  # bars and margins may lead below what can be
                        panel.set_ylim(bottom=max(0.0, panel.get_ylim()[0]))
                    if finish is not None:
                        finish(panel, theme)
                panels[-1].set_xlabel(against)

            suffix = f"_{first // most + 1}" if len(group) > most else ""
            alt = f"{shown[0].title} of {of} ({'; '.join(s.of for s in shown if s.of) or 'all'}) against {against}."
            size = (4.0, 0.55 + 1.5 * len(shown))
            drawings.append(Drawing(f"{name}_{variable}{suffix}", alt, size, draw, tuple(key)))
    return drawings


def scaled_for(series: Series) -> float:
    """Return the factor of a series in a figure: fractions are in per cent."""
    return 100.0 if series.name.endswith("fraction") else 1.0


def picked(data: xr.Dataset, name: str, where: dict[str, str]) -> np.ndarray:
    """Return the numbers of a variable at some coordinates, by `ESTIMATOR` where there are several."""
    one = data[name]
    if "estimator" in one.dims:
        known = [str(e) for e in one["estimator"].values]
        one = one.sel(estimator=ESTIMATOR if ESTIMATOR in known else known[0])
    return np.asarray(one.sel({k: v for k, v in where.items() if k in one.dims}).values, dtype=np.float64)
