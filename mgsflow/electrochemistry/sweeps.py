"""Sweeps of a voltammogram, and the peaks of current in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OXIDATION, REDUCTION = "oxidation", "reduction"
_TURN = 0.05  # of the range of voltage: what goes back less is noise
_PROMINENCE = 0.05  # of the range of current in a cycle


@dataclass(frozen=True)
class Peak:
    """A peak of current.

    Parameters
    ----------
    sweep : {"oxidation", "reduction"}
        Of a rising voltage, or a falling one.
    voltage : float
        V, of the row with the largest current.
    current : float
        mA.
    prominence : float
        mA by which it rises over the higher of the two saddles beside it.
    """

    sweep: str
    voltage: float
    current: float
    prominence: float


def sweep_number(voltage: np.ndarray) -> np.ndarray:
    """Number the sweeps of a voltammogram: one more at each turn of the voltage.

    Parameters
    ----------
    voltage : ndarray, shape (rows,)

    Returns
    -------
    ndarray of int64, shape (rows,)
        From 0. A turn is a row from which the voltage goes back by more than 5 % of its whole range; it belongs to the
        sweep that it ends.
    """
    v = np.asarray(voltage, dtype=np.float64)
    number = np.zeros(v.size, np.int64)
    if v.size < 3:
        return number
    least = _TURN * float(v.max() - v.min())
    if least == 0:
        return number
    turns: list[int] = []
    low = high = at = 0  # rows of the extremes since the last turn
    rising = 0
    for at, value in enumerate(v.tolist()):
        if value >= v[high]:
            high = at
        if value <= v[low]:
            low = at
        if rising >= 0 and value < v[high] - least:
            if rising > 0 or high > 0:
                turns.append(high)
            rising, low = -1, at
            high = at
        elif rising <= 0 and value > v[low] + least:
            if rising < 0 or low > 0:
                turns.append(low)
            rising, high = 1, at
            low = at
    for turn in turns:
        number[turn + 1 :] += 1
    return number


def find_peaks(voltage: np.ndarray, current: np.ndarray) -> list[Peak]:
    """Return the peaks of one cycle, sweep by sweep as they come.

    Parameters
    ----------
    voltage : ndarray, shape (rows,)
        V.
    current : ndarray, shape (rows,)
        mA, positive in oxidation.

    Returns
    -------
    list of Peak
        Greatest current of rising sweeps, least of falling ones, that stand out by 5 % of the cycle's range of current;
        ends of a sweep are no peaks.
    """
    from scipy.signal import find_peaks as of_signal  # slow to import

    v, i = (np.asarray(a, dtype=np.float64) for a in (voltage, current))
    span = float(i.max() - i.min()) if i.size else 0.0
    found: list[Peak] = []
    if span == 0:
        return found
    number = sweep_number(v)
    for sweep in range(int(number[-1]) + 1):
        rows = np.flatnonzero(number == sweep)
        if rows.size < 3:
            continue
        sign = 1.0 if v[rows[-1]] > v[rows[0]] else -1.0
        places, of = of_signal(sign * i[rows], prominence=_PROMINENCE * span)
        name = OXIDATION if sign > 0 else REDUCTION
        found += [Peak(name, float(v[rows[p]]), float(i[rows[p]]), float(h)) for p, h in zip(places, of["prominences"])]
    return found
