"""Check the numbers a person gives to a filter, and say which one is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from mgsflow.errors import InputError


def real(name: str, value: Any, at_least: float = -math.inf, above: float = -math.inf) -> float:
    """Return a finite number as a float, or raise `InputError` naming the parameter and what is allowed."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, got {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, got {value!r}")
    if number < at_least:
        raise InputError(f"{name} must be at least {at_least:g}, got {number:g}")
    if number <= above:
        raise InputError(f"{name} must be above {above:g}, got {number:g}")
    return number


def whole(name: str, value: Any, low: int, high: int) -> int:
    """Return an integer between `low` and `high`, or raise `InputError` naming the parameter."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
        raise InputError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
    return int(value)


def per_axis(name: str, value: Any, at_least: float = 0.0) -> float | tuple[float, float, float]:
    """Return one number for every axis, or three for (z, y, x), or raise `InputError`."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 3:
            raise InputError(f"{name} must be one number or three for (z, y, x), got {list(value)}")
        z, y, x = (real(f"{name} along {axis}", v, at_least) for axis, v in zip("zyx", value))
        return z, y, x
    return real(name, value, at_least)
