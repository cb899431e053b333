"""Galvanostatic cycling: capacity of each cycle, its retention, efficiency, and voltage against capacity.

In each cycle the cell is charged and discharged, one after the other; which comes first is the cell's own. With Q₁ and
Q₂ the charge that passed in the first and the second half of a cycle,

- the coulombic efficiency is Q₂ / Q₁: what came back of what was moved,
- the retention is the discharge capacity over that of the first complete cycle.

A cycle is ``complete`` if both halves are there and the file does not end before the last of them did (``cut off``: at
a voltage that lies before those to which it went in earlier cycles). The others have a capacity, which is what passed,
and neither efficiency nor retention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.electrochemistry.rows import CHARGE, DISCHARGE, CyclingRows
from mgsflow.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

HALVES = (DISCHARGE, CHARGE)
COMPLETE, ONE_HALF, CUT_OFF, REST = "complete", "one half only", "cut off", "rest only"
#: Points of a resampled curve.
POINTS = 101
_NEAR = 0.01  # of the range of voltage: how near the end of a half cycle comes to those before it
_NEGLIGIBLE = 1e-4  # of the largest capacity: a half cycle that is none


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell's cycling.

    Parameters
    ----------
    name : str
    rows : CyclingRows
    mass : float, optional
        Active material in mg.
    """

    name: str
    rows: CyclingRows
    mass: float | None = None


def first_half(rows: CyclingRows) -> str:
    """Return what a cycle begins with, in most of the cycles that have both halves: ``charge`` or ``discharge``."""
    direction = rows.direction
    moving = np.flatnonzero(direction)
    if not moving.size:
        return CHARGE
    cycle, signs = rows.cycle[moving], direction[moving]
    starts = np.concatenate([[True], cycle[1:] != cycle[:-1]])
    both = [set(part.tolist()) == {1, -1} for part in np.split(signs, np.flatnonzero(starts)[1:])]
    leading = signs[starts][both] if any(both) else signs[:1]
    return CHARGE if np.sum(leading) > 0 or (np.sum(leading) == 0 and leading[0] > 0) else DISCHARGE


def cycles(cells: Sequence[Cell]) -> xr.Dataset:
    """Return what each cycle of each cell gave.

    Parameters
    ----------
    cells : sequence of Cell

    Returns
    -------
    Dataset
        Along ``cell`` and ``cycle`` (numbers from 1, of all cells): ``charge_capacity``, ``discharge_capacity`` in mAh;
        ``specific_…`` in mAh/g where the mass is known; ``…_integrated`` in mAh, the same by integration of the
        current, where the file has a counter of its own beside; ``coulombic_efficiency``, ``capacity_retention``;
        ``cycle_status``. Along ``cell``: ``mass`` in mg, ``first_half``, ``reference_cycle`` of the retention,
        ``cut_off`` (the half in the middle of which the file ends, or "").

    Raises
    ------
    InputError
        If no charge passes in a file.
    """
    import xarray as xr

    last = max((int(c.rows.cycle.max()) for c in cells), default=0)
    shape = (len(cells), last)
    numbers = {name: np.full(shape, np.nan) for name in _LONG_NAMES}
    status = np.full(shape, "", dtype=object)
    lead, cut, reference = [], [], np.full(len(cells), np.nan)
    specific = any(c.mass is not None for c in cells)
    for at, cell in enumerate(cells):
        if not (cell.rows.charge.any() or cell.rows.discharge.any()):
            raise InputError(f"{cell.name}: no charge passes in it: is it cycling at all?")
        one, status[at], began, first = _of_cell(cell, last)
        for name, values in one.items():
            numbers[name][at] = values
        lead.append(first)
        cut.append(_last_half(cell.rows) if CUT_OFF in status[at] else "")
        reference[at] = began
    data: dict[str, Any] = {
        name: (("cell", "cycle"), values, {"units": _UNITS.get(name, "mAh"), "long_name": _LONG_NAMES[name]})
        for name, values in numbers.items()
        if name in _ALWAYS or (name.startswith("specific_") and specific) or np.isfinite(values).any()
    }
    data["cycle_status"] = (("cell", "cycle"), status, {"long_name": "whether both halves of the cycle are there"})
    masses = [np.nan if c.mass is None else c.mass for c in cells]
    data["mass"] = ("cell", np.array(masses, float), {"units": "mg", "long_name": "mass of active material"})
    data["first_half"] = ("cell", np.array(lead, object), {"long_name": "what a cycle begins with"})
    data["cut_off"] = ("cell", np.array(cut, object), {"long_name": "half cycle in the middle of which the file ends"})
    data["reference_cycle"] = ("cell", reference, {"long_name": "cycle that the retention refers to"})
    coords = {"cell": np.array([c.name for c in cells], dtype=object), "cycle": np.arange(1, last + 1)}
    return xr.Dataset(data, coords=coords)


_LONG_NAMES = {
    "charge_capacity": "charge that passed into the cell",
    "discharge_capacity": "charge that passed out of the cell",
    "specific_charge_capacity": "charge that passed into the cell, per mass of active material",
    "specific_discharge_capacity": "charge that passed out of the cell, per mass of active material",
    "charge_capacity_integrated": "charge that passed into the cell, by the current",
    "discharge_capacity_integrated": "charge that passed out of the cell, by the current",
    "coulombic_efficiency": "charge of the second half of the cycle over that of the first",
    "capacity_retention": "discharge capacity over that of the first complete cycle",
}
_UNITS = {
    "specific_charge_capacity": "mAh/g",
    "specific_discharge_capacity": "mAh/g",
    "coulombic_efficiency": "1",
    "capacity_retention": "1",
}
_ALWAYS = ("charge_capacity", "discharge_capacity", "coulombic_efficiency", "capacity_retention")


def _of_cell(cell: Cell, last: int) -> tuple[dict[str, np.ndarray], np.ndarray, float, str]:
    """Return numbers and status of each cycle, the cycle that others refer to, and the half that comes first."""
    rows = cell.rows
    passed = {CHARGE: _sums(rows.cycle, rows.charge, last), DISCHARGE: _sums(rows.cycle, rows.discharge, last)}
    status = _statuses(rows, passed, last)
    halves = {half: amount > _NEGLIGIBLE * amount.max() for half, amount in passed.items()}
    found = {f"{half}_capacity": np.where(halves[half], passed[half], np.nan) for half in HALVES}
    if cell.mass is not None:
        found |= {f"specific_{n}": v / (cell.mass / 1000) for n, v in list(found.items())}
    if rows.integrated is not None:
        for half, sign in ((CHARGE, 1), (DISCHARGE, -1)):
            amount = _sums(rows.cycle, np.maximum(sign * rows.integrated, 0.0), last)
            found[f"{half}_capacity_integrated"] = np.where(halves[half], amount, np.nan)
    complete = status == COMPLETE
    first = first_half(rows)
    second = CHARGE if first == DISCHARGE else DISCHARGE
    found["coulombic_efficiency"] = np.full(last, np.nan)
    found["coulombic_efficiency"][complete] = passed[second][complete] / passed[first][complete]
    found["capacity_retention"] = np.full(last, np.nan)
    began = np.nan
    if complete.any():
        at = int(np.flatnonzero(complete)[0])
        began = at + 1.0
        found["capacity_retention"][complete] = passed[DISCHARGE][complete] / passed[DISCHARGE][at]
    return found, status, began, first


def _last_half(rows: CyclingRows) -> str:
    return CHARGE if rows.direction[-1] > 0 else DISCHARGE


def _sums(cycle: np.ndarray, values: np.ndarray, last: int) -> np.ndarray:
    return np.bincount(cycle, weights=values, minlength=last + 1)[1 : last + 1]


def _statuses(rows: CyclingRows, passed: Mapping[str, np.ndarray], last: int) -> np.ndarray:
    """Return the status of each cycle; "" where a number is not used."""
    status = np.full(last, "", dtype=object)
    used = np.bincount(rows.cycle, minlength=last + 1)[1 : last + 1] > 0
    some = {half: amount > _NEGLIGIBLE * amount.max() for half, amount in passed.items()}
    status[used] = REST
    status[some[CHARGE] | some[DISCHARGE]] = ONE_HALF
    status[some[CHARGE] & some[DISCHARGE]] = COMPLETE
    if _cut_off(rows, status):
        status[int(rows.cycle[-1]) - 1] = CUT_OFF
    return status


def _cut_off(rows: CyclingRows, status: np.ndarray) -> bool:
    """Tell whether a file ends before the voltage to which the same half went in all complete cycles before."""
    direction = rows.direction
    now = int(direction[-1])
    if now == 0:  # a rest: the half came to its end
        return False
    before = (direction == now) & (rows.cycle < rows.cycle[-1])
    moved = np.flatnonzero(before)
    if not moved.size:
        return False
    ends = moved[np.concatenate([np.diff(rows.cycle[moved]) != 0, [True]])]
    ends = ends[[status[int(c) - 1] == COMPLETE for c in rows.cycle[ends]]]
    if not ends.size:
        return False
    near = _NEAR * float(rows.voltage.max() - rows.voltage.min())
    end = float(rows.voltage[-1])
    return end < rows.voltage[ends].min() - near if now > 0 else end > rows.voltage[ends].max() + near


def voltage_curves(cells: Sequence[Cell], points: int = POINTS) -> xr.Dataset:
    """Return voltage against capacity of every half cycle, at as many points each.

    Parameters
    ----------
    cells : sequence of Cell
    points : int
        Evenly spaced in capacity, from 0 to what the half cycle gave.

    Returns
    -------
    Dataset
        ``voltage`` in V and ``capacity`` in mAh (``specific_capacity`` in mAh/g, where a mass is known) along ``cell``,
        ``cycle``, ``half`` (``discharge``, ``charge``) and ``point``, whose coordinate ``share`` is the share of the
        half cycle's capacity. NaN where there is no such half.
    """
    import xarray as xr

    last = max((int(c.rows.cycle.max()) for c in cells), default=0)
    shape = (len(cells), last, len(HALVES), points)
    voltage, capacity = np.full(shape, np.nan), np.full(shape, np.nan)
    share = np.linspace(0, 1, points)
    for at, cell in enumerate(cells):
        rows = cell.rows
        bounds = np.searchsorted(rows.cycle, np.arange(1, last + 2))
        for h, half in enumerate(HALVES):
            amount = rows.charge if half == CHARGE else rows.discharge
            least = _NEGLIGIBLE * float(_sums(rows.cycle, amount, last).max())
            for number, (start, stop) in enumerate(pairwise(bounds)):
                moving = start + np.flatnonzero(amount[start:stop])
                total = float(amount[moving].sum())
                if total <= least or moving.size < 2:
                    continue
                passed = np.cumsum(amount[moving])
                capacity[at, number, h] = share * total
                voltage[at, number, h] = np.interp(share * total, passed, rows.voltage[moving])
    dims = ("cell", "cycle", "half", "point")
    data: dict[str, Any] = {
        "voltage": (dims, voltage, {"units": "V", "long_name": "voltage"}),
        "capacity": (dims, capacity, {"units": "mAh", "long_name": "charge that passed in the half cycle"}),
    }
    grams = np.array([np.nan if c.mass is None else c.mass / 1000 for c in cells])
    if np.isfinite(grams).any():
        attrs = {"units": "mAh/g", "long_name": "charge that passed in the half cycle, per mass of active material"}
        data["specific_capacity"] = (dims, capacity / grams[:, None, None, None], attrs)
    coords: dict[str, Any] = {
        "cell": np.array([c.name for c in cells], dtype=object),
        "cycle": np.arange(1, last + 1),
        "half": np.array(HALVES, dtype=object),
        "share": ("point", share, {"units": "1", "long_name": "share of the capacity of the half cycle"}),
    }
    return xr.Dataset(data, coords=coords)
