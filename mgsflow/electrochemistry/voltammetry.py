"""Cyclic voltammograms as Datasets: curves, and the potentials of their peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.electrochemistry.read import SweepRows
from mgsflow.electrochemistry.sweeps import OXIDATION, REDUCTION, find_peaks

if TYPE_CHECKING:
    import xarray as xr

#: Points of a cycle, at most; where there are more rows, peaks are still looked for in all of them.
POINTS = 2001


@dataclass(frozen=True, eq=False)
class Voltammogram:
    """One cell's voltammogram.

    Parameters
    ----------
    name : str
    rows : SweepRows
    rate : float, optional
        Scan rate in mV/s. Default: what the file states.
    """

    name: str
    rows: SweepRows
    rate: float | None = None


def voltammetry(voltammograms: Sequence[Voltammogram], points: int = POINTS) -> xr.Dataset:
    """Return the curves of voltammograms, and their peaks.

    Parameters
    ----------
    voltammograms : sequence of Voltammogram
    points : int
        Most points of a cycle; longer ones are resampled, evenly in time.

    Returns
    -------
    Dataset
        ``voltage`` in V and ``current`` in mA along ``cell``, ``cycle`` and ``point``; ``peak_voltage``,
        ``peak_current`` and ``peak_prominence`` along ``cell``, ``cycle``, ``sweep`` (``oxidation``, ``reduction``) and
        ``peak``, the most prominent first; ``scan_rate`` in mV/s along ``cell``. NaN where there is none.
    """
    import xarray as xr

    last = max((int(v.rows.cycle.max()) for v in voltammograms), default=0)
    curves: dict[tuple[int, int], np.ndarray] = {}
    peaks: dict[tuple[int, int, int], list[tuple[float, float, float]]] = {}
    for at, one in enumerate(voltammograms):
        for number in range(last):
            rows = np.flatnonzero(one.rows.cycle == number + 1)
            if not rows.size:
                continue
            voltage, current = one.rows.voltage[rows], one.rows.current[rows]
            curves[at, number] = _resampled(np.stack([voltage, current]), points)
            for peak in find_peaks(voltage, current):
                key = (at, number, _SWEEPS.index(peak.sweep))
                peaks.setdefault(key, []).append((peak.voltage, peak.current, peak.prominence))
    long = max((c.shape[1] for c in curves.values()), default=0)
    most = max((len(p) for p in peaks.values()), default=0)
    drawn = np.full((2, len(voltammograms), last, long), np.nan)
    for (at, number), curve in curves.items():
        drawn[:, at, number, : curve.shape[1]] = curve
    found = np.full((3, len(voltammograms), last, len(_SWEEPS), most), np.nan)
    for (at, number, sweep), values in peaks.items():
        ordered = np.array(sorted(values, key=lambda p: -p[2]))
        found[:, at, number, sweep, : len(ordered)] = ordered.T
    rates = [one.rows.rate if one.rate is None else one.rate for one in voltammograms]
    along, of_peaks = ("cell", "cycle", "point"), ("cell", "cycle", "sweep", "peak")
    data: dict[str, Any] = {
        "voltage": (along, drawn[0], {"units": "V", "long_name": "voltage"}),
        "current": (along, drawn[1], {"units": "mA", "long_name": "current, positive in oxidation"}),
        "peak_voltage": (of_peaks, found[0], {"units": "V", "long_name": "voltage of the peak"}),
        "peak_current": (of_peaks, found[1], {"units": "mA", "long_name": "current of the peak"}),
        "peak_prominence": (
            of_peaks,
            found[2],
            {"units": "mA", "long_name": "current by which the peak stands out"},
        ),
        "scan_rate": ("cell", np.array(rates, float), {"units": "mV/s", "long_name": "scan rate"}),
    }
    coords = {
        "cell": np.array([v.name for v in voltammograms], dtype=object),
        "cycle": np.arange(1, last + 1),
        "sweep": np.array(_SWEEPS, dtype=object),
    }
    return xr.Dataset(data, coords=coords)


_SWEEPS = (OXIDATION, REDUCTION)


def _resampled(curve: np.ndarray, points: int) -> np.ndarray:
    rows = curve.shape[1]
    if rows <= points:
        return curve
    at, of = np.linspace(0, rows - 1, points), np.arange(rows)
    return np.stack([np.interp(at, of, values) for values in curve])
