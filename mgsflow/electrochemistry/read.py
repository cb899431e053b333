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
    # what counts from the beginning of the test comes before what counts from that of a step
    "time": Wanted("time", ("test time", "testtime", "total time", "elapsed time", "test", "time", "t"), ordered=True),
    "voltage": Wanted(
        "voltage", ("voltage", "potential", "e", "u", "v", "ecell", "ewe", "<ewe>", "cell voltage", "vf")
    ),
    "current": Wanted("current", ("current", "i", "<i>", "im")),
    "capacity": Wanted("capacity", ("capacity", "q", "q q0", "charge passed")),
    "charge capacity": Wanted(
        "capacity", ("charge capacity", "q charge", "capacity charge", "chg. cap.", "charging capacity")
    ),
    "discharge capacity": Wanted(
        "capacity", ("discharge capacity", "q discharge", "capacity discharge", "dchg. cap.", "discharging capacity")
    ),
    "balance": Wanted("capacity", ("(q qo)", "q qo", "(q q0)")),  # EC-Lab: rises in charge, falls in discharge
    "cycle": Wanted(
        "number", ("cycle", "cycle number", "cycle index", "cycle no", "cycle no.", "cycle count", "cyc#", "cycle id")
    ),
    "step": Wanted("number", ("step", "step number", "step index", "ns")),
    "state": Wanted("direction", ("state", "status", "step type", "md")),
}
CHARGE_POSITIVE, DISCHARGE_POSITIVE = "charge-positive", "discharge-positive"
_SWING = 0.5  # of the range of voltage: how far it goes back where a current without sign hides a half cycle
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


def read_cycling(path: str | Path, starts: str | None = None, current: str = CHARGE_POSITIVE) -> CyclingRows:
    """Read galvanostatic cycling.

    Parameters
    ----------
    path : path
        Neware ``.nda`` or ``.ndax``; Gamry ``.DTA`` with current and voltage over time; else a table as text: CSV, or
        what BTSDA (Neware), EC-Lab (``.mpt``) and Maccor export. Its columns are ``voltage``, and one of: ``time`` and
        ``current``; ``charge capacity`` and ``discharge capacity``; ``current`` and ``capacity``; or ``capacity``
        alone, if it rises in charge and falls in discharge. ``cycle``, ``step`` and ``state`` (charge, discharge,
        rest) may be there. Units stand in brackets: ``current (mA)``. A current without sign takes it from the state.
    starts : {"charge", "discharge"}, optional
        Count cycles anew, from each charge, or each discharge, on. Default: as the file numbers them; if it does not,
        from what the test begins with.
    current : {"charge-positive", "discharge-positive"}
        Sign of the current in the file.

    Raises
    ------
    InputError, InputNotFound
        If the file cannot be read, or its columns do not tell what passed: as a current without sign, while the
        voltage goes up and down.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    sign = -1.0 if current == DISCHARGE_POSITIVE else 1.0
    if suffix in _BINARY:
        raise InputError(f"{path}: {_BINARY[suffix]}")
    if suffix in neware.SUFFIXES:
        rows = neware.read_neware(path, starts)
        return rows if sign > 0 else rows.reversed(starts)
    if suffix in gamry.SUFFIXES:
        return _gamry_cycling(path, starts, sign)
    return _table_cycling(path, starts, sign)


#: Files that no library at hand reads, and what to export instead.
_BINARY = {
    ".mpr": "is a binary file of EC-Lab: export it as text (Experiment > Export as Text), which gives an .mpt file",
    ".res": "is a database of Arbin: export it as CSV with time, voltage, current, cycle and step",
    ".xlsx": "is an Excel workbook: save the sheet of records as CSV",
    ".xls": "is an Excel workbook: save the sheet of records as CSV",
}


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


def _gamry_cycling(path: Path, starts: str | None, sign: float) -> CyclingRows:
    curves = gamry.read_gamry(path).curves("T", "Vf", "Im")
    time, voltage, current = (np.concatenate([c.columns[k] for c in curves]) for k in ("T", "Vf", "Im"))
    current = sign * current
    step = np.repeat(np.arange(len(curves)), [c.columns["T"].size for c in curves])
    charge, discharge = parted(integrated(time, current * _AMPERE, step))
    return CyclingRows(voltage, charge, discharge, count_cycles(np.sign(current), starts))


def _table_cycling(path: Path, starts: str | None, sign: float) -> CyclingRows:
    columns = read_columns(path, _COLUMNS)
    require(path, columns, "voltage")
    _finite(path, columns)
    cycle = _whole(path, columns["cycle"]) if "cycle" in columns else None
    step = _whole(path, columns["step"]) if "step" in columns else None
    if "current" in columns:
        columns["current"] = _signed(path, sign * columns["current"], columns)
    section = _sections(step, cycle)
    by_current = None
    if "time" in columns and "current" in columns:
        by_current = _integral(path, columns["time"], columns["current"], step)
    if "charge capacity" in columns and "discharge capacity" in columns:
        charge, discharge = (
            counted(_positive(path, columns, f"{k} capacity"), section) for k in ("charge", "discharge")
        )
    elif "balance" in columns:
        charge, discharge = parted(sign * np.diff(columns["balance"], prepend=columns["balance"][:1]))
    elif "capacity" in columns and "current" in columns:
        passed = counted(_positive(path, columns, "capacity"), section)
        charge, discharge = parted(passed * np.sign(columns["current"]))
    elif by_current is not None:
        (charge, discharge), by_current = parted(by_current), None
    elif "capacity" in columns:
        charge, discharge = parted(sign * _running(path, columns["capacity"]))
    else:
        raise InputError(
            f"{path}: its columns do not tell what charge passed: add `time (s)` and `current (mA)`, or "
            "`charge capacity (mAh)` and `discharge capacity (mAh)`"
        )
    rows = CyclingRows(columns["voltage"], charge, discharge, np.ones(charge.size, np.int64), by_current)
    if cycle is not None and starts is None:
        if (np.diff(cycle) < 0).any():
            raise InputError(f"{path}: cycle numbers go back: sort the rows by time")
        number = from_one(cycle)
    else:
        number = count_cycles(rows.direction, starts)
    return CyclingRows(rows.voltage, charge, discharge, number, by_current)


def _sections(step: np.ndarray | None, cycle: np.ndarray | None) -> np.ndarray | None:
    """Return a number that changes where the step or the cycle does: where a counter may begin again."""
    known = [numbers for numbers in (step, cycle) if numbers is not None]
    if not known:
        return None
    changes = np.any([np.diff(numbers, prepend=numbers[:1]) != 0 for numbers in known], axis=0)
    return np.cumsum(changes)


def _signed(path: Path, current: np.ndarray, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return the current, positive into the cell: one without sign takes it from the state.

    Raises
    ------
    InputError
        If it has one sign throughout, the voltage goes back as it would in another half cycle, and there is neither a
        state nor a capacity of each direction.
    """
    moving = np.sign(current[current != 0])
    if moving.size == 0 or (moving != moving[0]).any():
        return current
    state = columns.get("state")
    if state is not None and (state[current != 0] != 0).all():
        return np.abs(current) * state
    told = {"charge capacity", "discharge capacity"} <= columns.keys() or "balance" in columns
    if not told and _goes_back(columns["voltage"][current != 0] * moving[0]):
        way = "falls" if moving[0] > 0 else "rises"
        raise InputError(
            f"{path}: the current is never {'negative' if moving[0] > 0 else 'positive'}, and the voltage {way} by "
            "more than half its range: the sign of the current is missing. Add a column `state` (charge, discharge, "
            "rest), or give discharge a negative current"
        )
    return current


def _goes_back(voltage: np.ndarray) -> bool:
    """Tell whether a voltage that should rise falls by more than half its range from where it was highest."""
    return bool((np.maximum.accumulate(voltage) - voltage).max() > _SWING * np.ptp(voltage) > 0)


def _integral(path: Path, time: np.ndarray, current: np.ndarray, step: np.ndarray | None) -> np.ndarray:
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
