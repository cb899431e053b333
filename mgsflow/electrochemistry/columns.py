"""Columns of a CSV file, chosen by what they hold and brought to one unit.

The header names each column with its unit, as ``voltage (V)``, ``current [mA]`` or ``time/s``. Columns are parted by
commas, semicolons or tabs; with semicolons or tabs a decimal may be written with a comma. Rows are read a piece at a
time, and only the columns that are wanted are kept.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgsflow.electrochemistry.text import numbered_lines
from mgsflow.errors import InputError

#: What each unit is in the first of its kind.
UNITS: Mapping[str, Mapping[str, float]] = {
    "time": {"s": 1.0, "sec": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0, "hr": 3600.0},
    "voltage": {"V": 1.0, "mV": 1e-3},
    "current": {"mA": 1.0, "A": 1e3, "µA": 1e-3, "uA": 1e-3, "nA": 1e-6},
    "capacity": {"mAh": 1.0, "Ah": 1e3, "µAh": 1e-3, "uAh": 1e-3, "C": 1 / 3.6, "mC": 1 / 3600},
    "number": {"": 1.0},
}
_MOST_COLUMNS = 1000
_PIECE = 1 << 16  # rows


@dataclass(frozen=True)
class Wanted:
    """A column that may be in a file.

    Parameters
    ----------
    kind : str
        Key of `UNITS`.
    names : tuple of str
        What it is called, in lower case.
    """

    kind: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Header:
    """The first lines of a CSV file.

    Parameters
    ----------
    path : Path
    delimiter : str
    titles : tuple of str
        As they are written.
    line : int
        Line of the header, from 1.
    """

    path: Path
    delimiter: str
    titles: tuple[str, ...]
    line: int


def read_header(path: Path) -> Header:
    """Return the header of a CSV file: its first line that is neither blank nor begins with ``#``.

    Raises
    ------
    InputError, InputNotFound
        If the file cannot be read, or has no header.
    """
    found = next((one for one in numbered_lines(path) if one[1].strip() and not one[1].lstrip().startswith("#")), None)
    if found is None:
        raise InputError(f"{path}: holds no table: the first line must name the columns, as `time (s),voltage (V)`")
    number, line = found
    delimiter = ";" if ";" in line else "\t" if "\t" in line else ","
    titles = tuple(t.strip() for t in next(csv.reader([line], delimiter=delimiter)))
    if len(titles) > _MOST_COLUMNS:
        raise InputError(f"{path}:{number}: {len(titles)} columns, and {_MOST_COLUMNS} are the most")
    return Header(path, delimiter, titles, number)


def split_title(title: str) -> tuple[str, str]:
    """Return name and unit of a heading: ``("voltage", "V")`` of ``voltage (V)``, ``voltage [V]`` or ``voltage/V``."""
    found = re.fullmatch(r"(.*?)\s*(?:\(([^()]*)\)|\[([^\[\]]*)\])\s*", title) or re.fullmatch(r"(.*?)/([^/]*)", title)
    if not found:
        return title.strip(), ""
    return found[1].strip(), next(g for g in found.groups()[1:] if g is not None).strip()


def read_columns(path: Path, wanted: Mapping[str, Wanted]) -> dict[str, np.ndarray]:
    """Return those of the wanted columns that a CSV file has.

    Parameters
    ----------
    path : Path
    wanted : mapping of str to Wanted

    Returns
    -------
    dict of str to ndarray of float64, shape (rows,)
        In the first unit of their kind.

    Raises
    ------
    InputError, InputNotFound
        If the file cannot be read, a unit is missing or unknown, a column is there twice, or a value is no number.
    """
    header = read_header(path)
    found = _find(header, wanted)
    if not found:
        raise InputError(f"{path}:{header.line}: no column is named as one of {_listed(wanted)}; there are: "
                         f"{', '.join(header.titles)}")  # fmt: skip
    positions = [at for at, _ in found.values()]
    pieces = list(_pieces(header, positions))
    if not pieces:
        raise InputError(f"{path}: has a header and no rows")
    whole = np.concatenate(pieces)
    return {name: whole[:, i] * scale for i, (name, (_, scale)) in enumerate(found.items())}


def require(path: Path, columns: Mapping[str, np.ndarray], *names: str) -> None:
    """Refuse a file that lacks a column.

    Raises
    ------
    InputError
    """
    for name in names:
        if name not in columns:
            raise InputError(f"{path}: has no column `{name}`: add it, its unit in brackets, as `{_EXAMPLES[name]}`")


_EXAMPLES = {
    "time": "time (s)",
    "voltage": "voltage (V)",
    "current": "current (mA)",
    "capacity": "capacity (mAh)",
}


def _find(header: Header, wanted: Mapping[str, Wanted]) -> dict[str, tuple[int, float]]:
    found: dict[str, tuple[int, float]] = {}
    for at, title in enumerate(header.titles):
        word, unit = split_title(title)
        plain = re.sub(r"[\s_-]+", " ", word.lower()).strip()
        for name, one in wanted.items():
            if plain not in one.names:
                continue
            where = f"{header.path}:{header.line}"
            if name in found:
                both = f"{header.titles[found[name][0]]!r} and {title!r}"
                raise InputError(f"{where}: both {both} are the {name}: delete or rename one")
            units = UNITS[one.kind]
            scale = units.get(unit.replace("μ", "µ").replace("·", "").replace(".", ""))
            if scale is None and one.kind == "number":
                scale = 1.0
            if scale is None:
                what = f"unit {unit!r} of column {title!r} is unknown" if unit else f"column {title!r} has no unit"
                raise InputError(f"{where}: {what}: write `{word} ({next(iter(units))})`; known: {', '.join(units)}")
            found[name] = (at, scale)
    return found


def _pieces(header: Header, positions: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield rows of the chosen columns, a piece at a time."""
    rows = _Rows(header)
    while lines := rows.take(_PIECE):
        try:
            yield np.loadtxt(
                lines, delimiter=header.delimiter, usecols=positions, ndmin=2, quotechar='"', comments=None
            )
        except ValueError:
            raise _no_number(header, rows.numbers, lines, positions) from None


class _Rows:
    """Lines of data below a header, and where they stand in the file."""

    def __init__(self, header: Header) -> None:
        self._lines, self._header = numbered_lines(header.path), header
        self.numbers: list[int] = []

    def take(self, count: int) -> list[str]:
        header, commas = self._header, len(self._header.titles) - 1
        self.numbers, kept = [], []
        for number, line in self._lines:
            if number <= header.line or not line.strip():
                continue
            if line.count(header.delimiter) != commas and '"' not in line:
                hint = ": are decimals written with commas? Part the columns by semicolons" if "," in line else ""
                found = line.count(header.delimiter) + 1
                raise InputError(f"{header.path}:{number}: has {found} columns, and the header {commas + 1}{hint}")
            kept.append(line.replace(",", ".") if header.delimiter != "," else line)
            self.numbers.append(number)
            if len(kept) == count:
                break
        return kept


def _no_number(header: Header, numbers: Sequence[int], lines: Iterable[str], positions: Sequence[int]) -> InputError:
    """Return the error for the first value that is no number."""
    for number, line in zip(numbers, lines):
        cells = next(csv.reader([line], delimiter=header.delimiter))
        for at in positions:
            try:
                float(cells[at])
            except (ValueError, IndexError):
                value = cells[at].strip() if at < len(cells) else ""
                what = f"{value[:40]!r} is no number" if value else "is empty"
                return InputError(f"{header.path}:{number}: {header.titles[at]}: {what}")
    return InputError(f"{header.path}: holds something that is no table of numbers")


def _listed(wanted: Mapping[str, Wanted]) -> str:
    return ", ".join(wanted)
