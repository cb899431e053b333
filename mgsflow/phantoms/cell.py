"""A phantom cell: what a cycler and a potentiostat would have written of a Mg/S cell, of known capacity and peaks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

#: Charge of sulfur in mAh/g, the capacity of the first cycle, and the voltages between which the cell is cycled.
_THEORY, _FIRST = 1672.0, 772.0
_LOW, _HIGH = 0.5, 2.3
#: Peaks of the voltammogram in V: reduction and oxidation.
PEAKS = (1.01, 2.05)


def capacities(cycles: int) -> np.ndarray:
    """Return the discharge capacity of each cycle in mAh/g: 772 in the first, fading to a third."""
    return _FIRST * (0.35 + 0.65 * np.exp(-np.arange(cycles) / 4))


def cycling(cycles: int = 15, mass: float = 1.0, rate: float = 0.03, samples: int = 120) -> dict[str, np.ndarray]:
    """Return galvanostatic cycling: each cycle a discharge from 2.3 to 0.5 V, and a charge back.

    Parameters
    ----------
    cycles : int
    mass : float
        Sulfur in mg.
    rate : float
        Current, as a share of what moves all the charge of the sulfur in an hour.
    samples : int
        Rows of a half cycle.

    Returns
    -------
    dict of str to ndarray
        Columns ``time [s]``, ``cycle``, ``voltage [V]``, ``current [mA]`` (negative on discharge).
    """
    current = rate * _THEORY * mass / 1000
    share = np.linspace(0, 1, samples)
    down = 1 + 0.6 * np.exp(-share / 0.03) + 0.7 * np.exp(-share / 0.15) - 0.5 * share**12
    up = 1.95 - (1.95 - _LOW) * np.exp(-share / 0.03) + (_HIGH - 1.95) * share**12
    parts = []
    time = 0.0
    for cycle, capacity in enumerate(capacities(cycles) * mass / 1000, start=1):
        for sign, voltage, passed in ((-1, down, capacity), (1, up, 0.97 * capacity)):
            hours = passed / current
            rows = np.empty((samples, 4))
            rows[:, 0] = time + share * hours * 3600
            rows[:, 1], rows[:, 2], rows[:, 3] = cycle, voltage, sign * current
            parts.append(rows)
            time = rows[-1, 0] + 60
    table = np.concatenate(parts)
    return dict(zip(("time [s]", "cycle", "voltage [V]", "current [mA]"), table.T))


def voltammogram(rate: float = 0.03, step: float = 0.002) -> dict[str, np.ndarray]:
    """Return a cyclic voltammogram, from 2.5 to 0.5 V and back.

    Parameters
    ----------
    rate : float
        mV/s.
    step : float
        Between rows, in V.

    Returns
    -------
    dict of str to ndarray
        Columns ``time [s]``, ``cycle``, ``voltage [V]``, ``current [mA]``.
    """
    down = np.arange(2.5, 0.5, -step)
    voltage = np.concatenate([down, down[::-1]])
    reduction = np.exp(-(((down - PEAKS[0]) / 0.12) ** 2))
    oxidation = np.exp(-(((down[::-1] - PEAKS[1]) / 0.15) ** 2))
    current = np.concatenate([-0.004 - 0.05 * reduction, 0.004 + 0.06 * oxidation])
    time = np.arange(voltage.size) * step / (rate / 1000)
    return {"time [s]": time, "cycle": np.ones(voltage.size), "voltage [V]": voltage, "current [mA]": current}


def write_table(columns: Mapping[str, np.ndarray], path: str | Path) -> Path:
    """Write columns as CSV, and return the file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.stack(list(columns.values()), axis=1)
    np.savetxt(path, rows, fmt="%.8g", delimiter=",", header=",".join(columns), comments="", encoding="utf-8")
    return path
