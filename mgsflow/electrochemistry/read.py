"""Files of cyclers and potentiostats, opened by their suffix: Neware, Gamry, or CSV with units in its header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgsflow.electrochemistry import gamry, neware
from mgsflow.electrochemistry.columns import Wanted, read_columns, require
from mgsflow.electrochemistry.rows import CyclingRows, count_cycles, counted, from_one, integrated, parted
from mgsflow.electrochemistry.sweeps import sweep_number
from mgsflow.errors import InputError

#: Columns of a CSV file, and what they may be called.
_COLUMNS = {
    "time": Wanted("time", ("time", "t", "test time", "elapsed time", "total time")),
    "voltage": Wanted("voltage", ("voltage", "potential", "e", "u", "v", "ecell", "ewe", "cell voltage", "vf")),
    "current": Wanted("current", ("current", "i", "im")),
    "capacity": Wanted("capacity", ("capacity", "q", "q q0", "charge passed")),
    "charge capacity": Wanted("capacity", ("charge capacity", "q charge", "capacity charge")),
    "discharge capacity": Wanted("capacity", ("discharge capacity", "q discharge", "capacity discharge")),
    "cycle": Wanted("number", ("cycle", "cycle number", "cycle index", "cycle no", "cycle no.")),
    "step": Wanted("number", ("step", "step number", "step index", "ns")),
}
_AMPERE = 1000.0  # mA


@dataclass(frozen=True, eq=False)
class SweepRows:
    """Rows of a cyclic voltammogram.

    Parameters
    ----------
    voltage : ndarray, shape (rows,)
        V.
    current : ndarray, shape (rows,)
        mA, positive in oxidation.
    cycle : ndarray of int64, shape (rows,)
        From 1.
    rate : float
        mV/s, as the file states it; NaN if it does not.
    """

    voltage: np.ndarray
    current: np.ndarray
    cycle: np.ndarray
    rate: float = float("nan")


def read_cycling(path: str | Path, starts: str | None = None) -> CyclingRows:
    """Read galvanostatic cycling.

    Parameters
    ----------
    path : path
        Neware ``.nda`` or ``.ndax``; Gamry ``.DTA`` with current and voltage over time; else CSV. Columns of a CSV
        are ``voltage``, and one of: ``time`` and ``current`` (positive in charge); ``charge capacity`` and ``discharge
        capacity``; ``current`` and ``capacity``; or ``capacity`` alone, if it rises in charge and falls in discharge.
        ``cycle`` and ``step`` may be there. Units stand in brackets: ``current (mA)``.
    starts : {"charge", "discharge"}, optional
        Count cycles anew, from each charge, or each discharge, on. Default: as the file numbers them; if it does not,
        from what the test begins with.

    Raises
    ------
    InputError, InputNotFound
        If the file cannot be read, or its columns do not tell what passed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in neware.SUFFIXES:
        return neware.read_neware(path, starts)
    if suffix in gamry.SUFFIXES:
        return _gamry_cycling(path, starts)
    return _csv_cycling(path, starts)


def read_voltammetry(path: str | Path) -> SweepRows:
    """Read a cyclic voltammogram.

    Parameters
    ----------
    path : path
        Gamry ``.DTA``; else CSV with the columns ``voltage`` and ``current``, and perhaps ``cycle``.

    Raises
    ------
    InputError, InputNotFound
        If the file cannot be read, or lacks a column.
    """
    path = Path(path)
    if path.suffix.lower() in gamry.SUFFIXES:
        file = gamry.read_gamry(path)
        curves = file.curves("Vf", "Im")
        cycle = np.repeat(np.arange(1, len(curves) + 1), [c.columns["Vf"].size for c in curves])
        rate = file.header.get("SCANRATE", float("nan"))
        voltage, current = (np.concatenate([c.columns[k] for c in curves]) for k in ("Vf", "Im"))
        return SweepRows(voltage, current * _AMPERE, cycle, rate if isinstance(rate, float) else float("nan"))
    columns = read_columns(path, {k: _COLUMNS[k] for k in ("voltage", "current", "cycle")})
    require(path, columns, "voltage", "current")
    _finite(path, columns)
    voltage = columns["voltage"]
    cycle = _whole(path, columns["cycle"]) if "cycle" in columns else sweep_number(voltage) // 2 + 1
    return SweepRows(voltage, columns["current"], from_one(cycle))


def _gamry_cycling(path: Path, starts: str | None) -> CyclingRows:
    curves = gamry.read_gamry(path).curves("T", "Vf", "Im")
    time, voltage, current = (np.concatenate([c.columns[k] for c in curves]) for k in ("T", "Vf", "Im"))
    step = np.repeat(np.arange(len(curves)), [c.columns["T"].size for c in curves])
    charge, discharge = parted(integrated(time, current * _AMPERE, step))
    return CyclingRows(voltage, charge, discharge, count_cycles(np.sign(current), starts))


def _csv_cycling(path: Path, starts: str | None) -> CyclingRows:
    columns = read_columns(path, _COLUMNS)
    require(path, columns, "voltage")
    _finite(path, columns)
    step = _whole(path, columns["step"]) if "step" in columns else None
    by_current = None
    if "time" in columns and "current" in columns:
        by_current = _named(path, columns["time"], columns["current"], step)
    if "charge capacity" in columns and "discharge capacity" in columns:
        charge, discharge = (counted(_positive(path, columns, f"{k} capacity"), step) for k in ("charge", "discharge"))
    elif "capacity" in columns and "current" in columns:
        passed = counted(_positive(path, columns, "capacity"), step)
        charge, discharge = parted(passed * np.sign(columns["current"]))
    elif by_current is not None:
        (charge, discharge), by_current = parted(by_current), None
    elif "capacity" in columns:
        charge, discharge = parted(_running(path, columns["capacity"]))
    else:
        raise InputError(
            f"{path}: its columns do not tell what charge passed: add `time (s)` and `current (mA)`, or "
            "`charge capacity (mAh)` and `discharge capacity (mAh)`"
        )
    rows = CyclingRows(columns["voltage"], charge, discharge, np.ones(charge.size, np.int64), by_current)
    if "cycle" in columns and starts is None:
        cycle = from_one(_whole(path, columns["cycle"]))
        if (np.diff(cycle) < 0).any():
            raise InputError(f"{path}: cycle numbers go back: sort the rows by time")
    else:
        cycle = count_cycles(rows.direction, starts)
    return CyclingRows(rows.voltage, charge, discharge, cycle, by_current)


def _named(path: Path, time: np.ndarray, current: np.ndarray, step: np.ndarray | None) -> np.ndarray:
    try:
        return integrated(time, current, step)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _running(path: Path, capacity: np.ndarray) -> np.ndarray:
    """Return what passed by a capacity that rises in charge and falls in discharge."""
    passed = np.diff(capacity, prepend=capacity[:1])
    falls = passed < 0
    # one that begins again from 0 in each half cycle only falls to almost nothing, and does not tell the direction
    anew = (capacity[falls] >= 0) & (capacity[falls] <= 0.05 * (capacity - passed)[falls])
    if falls.sum() == anew.sum():
        raise InputError(
            f"{path}: `capacity` begins again from 0 and does not tell charge from discharge: add `current (mA)`, or "
            "give `charge capacity (mAh)` and `discharge capacity (mAh)`"
        )
    return passed


def _finite(path: Path, columns: dict[str, np.ndarray]) -> None:
    for name, values in columns.items():
        odd = np.flatnonzero(~np.isfinite(values))
        if odd.size:
            raise InputError(f"{path}: {name} is {values[odd[0]]} in row {odd[0] + 1} of the data: delete such rows")


def _positive(path: Path, columns: dict[str, np.ndarray], name: str) -> np.ndarray:
    values = columns[name]
    if values.min() < 0 < values.max():
        raise InputError(f"{path}: {name} has both signs; it counts what passed, from 0: give its amount")
    return np.abs(values)


def _whole(path: Path, values: np.ndarray) -> np.ndarray:
    numbers = np.rint(values)
    if np.abs(numbers).max() > 1e9 or (numbers != values).any() or (numbers < 0).any():
        raise InputError(f"{path}: numbers of cycles and steps must be whole, 0 or more")
    return numbers.astype(np.int64)
