"""The order of slices in a folder, and whether one is missing, from the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from math import gcd
from pathlib import PurePath

from mgsflow.errors import InputError

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Return a sort key by which ``im2`` comes before ``im10``."""
    parts = _DIGITS.split(name)
    return tuple((0, int(p), "") if i % 2 else (1, 0, p.lower()) for i, p in enumerate(parts)), name


def ordered_slices(names: Sequence[str], where: str, numbered: bool = True) -> list[str]:
    """Return file names in the order of their slice numbers, or in natural order if they are not `numbered`.

    The slice number is the group of digits that varies over the names, by one step; where several vary (a time stamp
    beside a counter), it is the one that leaves the fewest gaps, and of these the last. A step other than one is
    fine where it is constant.

    Raises
    ------
    InputError
        If names follow more than one pattern, a number occurs twice, or numbers are missing (the message lists them).
    """
    names = sorted(names, key=natural_key)
    if len(names) < 2 or not numbered:
        return names
    pattern = {name: _DIGITS.sub("#", PurePath(name).stem.lower()) for name in names}
    for name in names[1:]:
        if pattern[name] != pattern[names[0]]:
            raise InputError(
                f"{where}: {names[0]} and {name} are not named alike, so they cannot be slices of one scan; move one "
                "away, or name the slices by a glob such as 'folder/slice_*.tif'"
            )
    groups = list(zip(*(map(int, _DIGITS.findall(PurePath(name).stem)) for name in names)))
    varying = [group for group in groups if len(set(group)) > 1]
    if not varying:
        raise InputError(f"{where}: {names[0]} and {names[1]} have the same slice number; remove one")
    unique = [group for group in varying if len(set(group)) == len(group)]
    if not unique:
        last = varying[-1]
        twice = next(i for i, number in enumerate(last) if number in last[:i])
        raise InputError(
            f"{where}: {names[last.index(last[twice])]} and {names[twice]} have the same slice number {last[twice]}; "
            "are there two scans in one folder? Name one by a glob"
        )
    numbers = min(reversed(unique), key=_gaps)
    if missing := _gaps(numbers):
        present = set(numbers)
        absent = (n for n in range(min(numbers), max(numbers), _step(numbers)) if n not in present)
        shown = ", ".join(str(n) for n in islice(absent, 10)) + (f" and {missing - 10} more" if missing > 10 else "")
        raise InputError(
            f"{where}: slices are numbered {min(numbers)} to {max(numbers)} but {missing} of them "
            f"{'is' if missing == 1 else 'are'} missing: {shown}"
        )
    return [name for _, name in sorted(zip(numbers, names))]


def _step(numbers: Sequence[int]) -> int:
    low = min(numbers)
    return gcd(*(n - low for n in numbers))


def _gaps(numbers: Sequence[int]) -> int:
    return (max(numbers) - min(numbers)) // _step(numbers) + 1 - len(numbers)
