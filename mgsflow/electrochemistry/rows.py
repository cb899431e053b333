"""Rows of a cycler's file, whatever wrote it: voltage, and the charge that passed from each row to the next.

A counter of capacity begins again at 0 in every step, half cycle or cycle, or never; what passed in a row is its rise.
Where there is none, it is the integral of the current I over time t (trapezoids, each half cycle by itself)

    q_i = (I_i + I_{i−1}) (t_i − t_{i−1}) / 2,

which is also the second method that a counter is checked by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mgsflow.errors import InputError

CHARGE, DISCHARGE = "charge", "discharge"
_SIGN = {CHARGE: 1, DISCHARGE: -1}
_SECONDS = 3600.0  # of an hour: mA s to mAh


@dataclass(frozen=True, eq=False)
class CyclingRows:
    """What a cycler has recorded, row by row.

    Parameters
    ----------
    voltage : ndarray, shape (rows,)
        V.
    charge, discharge : ndarray, shape (rows,)
        mAh that passed since the row before, into and out of the cell; never negative.
    cycle : ndarray of int64, shape (rows,)
        Number of the cycle, from 1.
    integrated : ndarray, shape (rows,), optional
        The same charge from current and time, positive into the cell; None where `charge` and `discharge` are from
        there themselves, or the file lacks one of the two.
    """

    voltage: np.ndarray
    charge: np.ndarray
    discharge: np.ndarray
    cycle: np.ndarray
    integrated: np.ndarray | None = None

    @property
    def direction(self) -> np.ndarray:
        """1 where the cell is charged, −1 where it is discharged, 0 at rest; int8, shape (rows,)."""
        return np.sign(self.charge - self.discharge).astype(np.int8)

    def reversed(self, starts: str | None = None) -> CyclingRows:
        """Return the rows of a file whose current is positive in discharge; cycles are counted anew if `starts` is."""
        turned = None if self.integrated is None else -self.integrated
        rows = CyclingRows(self.voltage, self.discharge, self.charge, self.cycle, turned)
        return rows if starts is None else replace(rows, cycle=count_cycles(rows.direction, starts))


def counted(counter: np.ndarray, step: np.ndarray | None = None) -> np.ndarray:
    """Return what passed in each row by a counter that begins again now and then.

    Parameters
    ----------
    counter : ndarray, shape (rows,)
        Not negative.
    step : ndarray, shape (rows,), optional
        Number of the step: where it changes, any fall is a new beginning; elsewhere a fall to less than half, as the
        last digit of a counter may waver.

    Returns
    -------
    ndarray of float64, shape (rows,)
    """
    values = np.asarray(counter, dtype=np.float64)
    before = np.concatenate([[0.0], values[:-1]])
    anew = values < 0.5 * before
    if step is not None:
        changed = np.concatenate([[True], np.diff(step) != 0])
        anew |= changed & (values < before)
    return np.where(anew, values, np.maximum(values - before, 0.0))


def integrated(time: np.ndarray, current: np.ndarray, step: np.ndarray | None = None) -> np.ndarray:
    """Return the charge that passed in each row, in mAh, by the current.

    Parameters
    ----------
    time : ndarray, shape (rows,)
        s; from the beginning of the test, or of each step.
    current : ndarray, shape (rows,)
        mA, positive into the cell.
    step : ndarray, shape (rows,), optional
        Number of the step, where time may begin again; without it, time that falls to less than half does.

    Raises
    ------
    InputError
        If time goes back other than to the beginning of a step.
    """
    t, i = np.asarray(time, dtype=np.float64), np.asarray(current, dtype=np.float64)
    t0, i0 = (np.concatenate([a[:1], a[:-1]]) for a in (t, i))
    back = t < t0
    begins = t < 0.5 * t0 if step is None else np.concatenate([[False], np.diff(step) != 0])
    odd = np.flatnonzero(back & ~begins)
    if odd.size:
        at = int(odd[0])
        raise InputError(f"time goes back from {t0[at]:g} s to {t[at]:g} s in row {at + 1}: sort the rows by time")
    turned = np.sign(i) != np.sign(i0)
    # nothing is known of the time between the last row in one direction and the first in the other
    passed = np.where(turned, 0.0, (i + i0) / 2 * (t - t0))
    return np.where(back, i * t, passed) / _SECONDS


def parted(passed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what passed into the cell and what out of it, of a signed charge."""
    return np.maximum(passed, 0.0), np.maximum(-passed, 0.0)


def count_cycles(direction: np.ndarray, starts: str | None = None) -> np.ndarray:
    """Number the cycles of a test.

    Parameters
    ----------
    direction : ndarray, shape (rows,)
        1 in charge, −1 in discharge, 0 at rest.
    starts : {"charge", "discharge"}, optional
        A cycle begins with each charge that follows a discharge, or with each discharge that follows a charge; what
        passes before the first such is cycle 1. Default: with what the test begins with.

    Returns
    -------
    ndarray of int64, shape (rows,)
        From 1. A rest belongs to the cycle before it.
    """
    moving = np.flatnonzero(direction)
    number = np.ones(direction.size, np.int64)
    if not moving.size:
        return number
    signs = direction[moving]
    first = _SIGN[starts] if starts is not None else int(signs[0])
    begins = (signs == first) & np.concatenate([[True], signs[1:] != signs[:-1]])
    counts = np.cumsum(begins) + (0 if signs[0] == first else 1)
    last = np.searchsorted(moving, np.arange(direction.size), side="right") - 1
    return np.where(last >= 0, counts[np.maximum(last, 0)], 1).astype(np.int64)


def from_one(cycle: np.ndarray) -> np.ndarray:
    """Return cycle numbers that begin at 1: some instruments begin at 0."""
    numbers = np.asarray(cycle)
    return numbers + 1 if numbers.size and numbers.min() == 0 else numbers
