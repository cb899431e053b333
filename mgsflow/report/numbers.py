"""How numbers are written: one way for tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import floor, isfinite, log10

#: Shown where there is no number.
NONE = "–"


def fixed(value: float | None, digits: int, sign: bool = False) -> str:
    """Return a number with so many decimals, with a true minus; a dash for None and NaN."""
    if value is None or not isfinite(value):
        return NONE
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")


def percent(value: float | None, sign: bool = False) -> str:
    """Return a fraction as per cent with two decimals, without the sign of per cent."""
    return fixed(None if value is None else 100 * value, 2, sign)


def plus_minus(value: float | None, error: float | None, sign: bool = False) -> str:
    """Return a fraction and its standard error in per cent; the error is left out where it is not known."""
    if error is None or not isfinite(error):
        return percent(value, sign)
    return f"{percent(value, sign)} ± {percent(error)}"


def significant(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits, integers and thousands in full."""
    if value is None or not isfinite(value):
        return NONE
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    return grouped(value) if decimals == 0 else fixed(value, min(decimals, 12))


def aligned(values: Sequence[float | None], least: int = 3, most: int = 4) -> list[str]:
    """Return numbers of one column with the same decimals: those that give the smallest `least` significant digits.

    The largest gets at least `most`; six decimals are the limit.
    """
    sizes = [abs(v) for v in values if v is not None and isfinite(v) and v != 0]
    decimals = 0
    if sizes:
        decimals = max(least - 1 - floor(log10(min(sizes))), most - 1 - floor(log10(max(sizes))))
        decimals = min(max(decimals, 0), 6)
    known = [v if v is not None and isfinite(v) else None for v in values]
    return [NONE if v is None else grouped(v) if decimals == 0 else fixed(v, decimals) for v in known]


def thousands(values: Sequence[float | None]) -> int:
    """Return the power of ten, one of a thousand, that a column's unit is to be headed by; 0 where none is needed."""
    largest = max((abs(v) for v in values if v is not None and isfinite(v)), default=0.0)
    return 0 if largest == 0 or 0.01 <= largest < 1e5 else 3 * floor(log10(largest) / 3)


def scaled(values: Sequence[float | None]) -> tuple[list[str], str]:
    """Return numbers of one column, and what stands before their unit: nothing, or as ``"10⁻⁹ "``."""
    power = thousands(values)
    return aligned([None if v is None else v / 10.0**power for v in values]), ten_to(power)


def ten_to(power: int) -> str:
    """Return a power of ten as it stands before a unit: ``"10⁻⁹ "``, nothing for 0."""
    digits = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits} " if power else ""


def grouped(value: float) -> str:
    """Return a number rounded to an integer, thousands parted by a comma from five digits on."""
    whole = round(value)
    return (f"{whole:,}" if abs(whole) >= 10_000 else str(whole)).replace("-", "\N{MINUS SIGN}")


def plain(value: float) -> str:
    """Return a parameter as short as it can be read back: ``0.126``, ``23,100``."""
    if float(value).is_integer() and abs(value) < 1e15:
        return grouped(value)
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")


def times(values: Sequence[float]) -> str:
    """Return lengths along (z, y, x), joined by ×."""
    return " × ".join(plain(v) for v in values)


def microns(values: Sequence[float]) -> str:
    """Return lengths in µm with four significant digits, joined by ×; one number where all are equal."""
    return " × ".join(f"{v:.4g}" for v in values)


def voxel(size: Sequence[float]) -> str:
    """Return a voxel size in µm, one number for a cube."""
    return f"{size[0]:.6g}" if len(set(size)) == 1 else " × ".join(f"{v:.6g}" for v in size)


def listing(items: Sequence[str]) -> str:
    """Return items as prose: ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def moment(iso: str | None) -> str:
    """Return a time stamp of the store as people read it."""
    try:
        return f"{datetime.fromisoformat(str(iso)):%Y-%m-%d %H:%M:%S %Z}".strip()
    except ValueError:
        return NONE


def duration(start: str | None, stop: str | None) -> str:
    """Return the time between two time stamps."""
    try:
        seconds = int((datetime.fromisoformat(str(stop)) - datetime.fromisoformat(str(start))).total_seconds())
    except ValueError:
        return NONE
    hours, rest = divmod(seconds, 3600)
    if hours:
        return f"{hours} h {rest // 60:02d} min"
    return f"{rest // 60} min {rest % 60:02d} s" if rest >= 60 else f"{rest} s"
