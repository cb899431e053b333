"""Columns of a CSV file, chosen by what they hold and brought to one unit.

The header names each column with its unit, as ``voltage (V)``, ``current [mA]``, ``time/s``, ``voltage_volt`` (Battery
Data Format) or ``Volts`` (Maccor). It is the first line that names two of the wanted columns: what programs write above
it (EC-Lab, Maccor) is passed over. Times may be of a clock, ``00:29:58.500``. Columns are parted by commas, semicolons
or tabs; with semicolons or tabs a decimal may be written with a comma. Rows are read a piece at a time, and only the
columns that are wanted are kept: pandas, which reads CSV too, has no bound on what a line may hold and tells neither
the line nor the column of a value that is no number.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from mgsflow.electrochemistry.text import numbered_lines
from mgsflow.errors import InputError

#: What each unit is in the first of its kind.
UNITS: Mapping[str, Mapping[str, float]] = {
    "time": {"s": 1.0, "sec": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0, "hr": 3600.0},
    "voltage": {"V": 1.0, "mV": 1e-3},
    "current": {"mA": 1.0, "A": 1e3, "µA": 1e-3, "uA": 1e-3, "¦ÌA": 1e-3, "nA": 1e-6},  # µ of GB 2312, read as cp1252
    "capacity": {
        "mAh": 1.0,
        "Ah": 1e3,
        "mAs": 1 / 3600,
        "As": 1 / 3.6,
        "µAh": 1e-3,
        "uAh": 1e-3,
        "C": 1 / 3.6,
        "mC": 1 / 3600,
    },
    "number": {"": 1.0},
    "direction": {"": 1.0},
}
#: Units that end a title in words.
_UNIT_WORDS = {
    "second": "s", "seconds": "s", "sec": "s", "hour": "h", "hours": "h", "volt": "V", "volts": "V", "ampere": "A",
    "amps": "A", "milliampere": "mA", "ampere hour": "Ah", "milliampere hour": "mAh", "ah": "Ah", "mah": "mAh",
    "amp hr": "Ah",
}  # fmt: skip
#: Titles that are a unit alone.
_UNIT_TITLES = {"volts": "voltage", "amps": "current", "amp hr": "capacity"}
_HEADER_LINES = 200  # below the head that a program writes
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
    ordered : bool
        Where a file has several, the one whose name is first is taken; else they are refused.
    """

    kind: str
    names: tuple[str, ...]
    ordered: bool = False


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
    header = _table_header(path, wanted) or read_header(path)
    found = _find(header, wanted)
    if not found:
        raise InputError(f"{path}:{header.line}: no column is named as one of {_listed(wanted)}; there are: "
                         f"{', '.join(header.titles)}")  # fmt: skip
    positions = [at for at, _ in found.values()]
    texts = {at: direction_of for name, (at, _) in found.items() if wanted[name].kind == "direction"}
    clocks = {at: seconds for name, (at, _) in found.items() if wanted[name].kind == "time" and _is_clock(header, at)}
    pieces = list(_pieces(header, positions, texts | clocks))
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


def seconds(text: str) -> float:
    """Return the seconds of a clock's ``[days-]hours:minutes:seconds``; of a plain number, itself.

    Raises
    ------
    ValueError
        If it is neither.
    """
    days, _, clock = text.strip().rpartition("-")
    parts = [float(p) for p in clock.strip().replace("d ", ":").split(":")]
    if len(parts) > 3 or (days and len(parts) < 3):
        raise ValueError(text)
    total = 0.0
    for part in parts:
        total = 60 * total + part
    return total + (86400 * float(days) if days else 0.0)


def direction_of(text: str) -> float:
    """Return 1 for a state of charge, −1 of discharge, 0 of neither: ``C``, ``D`` (Maccor), ``CC DChg`` (Neware)."""
    word = text.strip().strip('"').lower()
    if word == "d" or any(w in word for w in ("dchg", "discharg", "dis ch")):
        return -1.0
    if word == "c" or any(w in word for w in ("chg", "charg")):
        return 1.0
    return 0.0


def _table_header(path: Path, wanted: Mapping[str, Wanted]) -> Header | None:
    """Return the first line that names two of the wanted columns, or None."""
    for number, line in numbered_lines(path):
        if number > _HEADER_LINES:
            return None
        delimiter = "\t" if "\t" in line else ";" if ";" in line else ","
        titles = tuple(t.strip() for t in next(csv.reader([line], delimiter=delimiter), []))
        named = {name for title in titles for name, one in wanted.items() if _named(title)[0] in one.names}
        if len(named) > 1 and len(titles) <= _MOST_COLUMNS:
            return Header(path, delimiter, titles, number)
    return None


def _named(title: str) -> tuple[str, str]:
    """Return a title's name in lower case, and its unit: also one that is a word of the title, as ``voltage_volt``."""
    word, unit = split_title(title)
    plain = re.sub(r"[\s_-]+", " ", word.lower()).strip()
    if unit:
        return plain, unit
    if plain in _UNIT_TITLES:
        return _UNIT_TITLES[plain], _UNIT_WORDS[plain]
    for words in sorted(_UNIT_WORDS, key=len, reverse=True):
        if plain.endswith(f" {words}"):
            return plain.removesuffix(words).strip(), _UNIT_WORDS[words]
    return plain, ""


def _is_clock(header: Header, at: int) -> bool:
    """Tell whether the first row of data has a clock's time in a column."""
    rows = _Rows(header).take(1)
    cells = next(csv.reader(rows, delimiter=header.delimiter)) if rows else []
    return at < len(cells) and ":" in cells[at]


def _find(header: Header, wanted: Mapping[str, Wanted]) -> dict[str, tuple[int, float]]:
    """Return position and scale of each wanted column that is there; of several, of the name that is preferred."""
    found: dict[str, tuple[int, float]] = {}
    for name, one in wanted.items():
        named = [(one.names.index(n), at) for at, t in enumerate(header.titles) if (n := _named(t)[0]) in one.names]
        if not named:
            continue
        rank, at = min(named)
        same = [k for r, k in named if r == rank or not one.ordered]
        if len(same) > 1:
            both = f"{header.titles[same[0]]!r} and {header.titles[same[1]]!r}"
            raise InputError(f"{header.path}:{header.line}: both {both} are the {name}: delete or rename one")
        found[name] = at, _scale(header, at, one.kind)
    return found


def _scale(header: Header, at: int, kind: str) -> float:
    title = header.titles[at]
    units, unit = UNITS[kind], _named(title)[1]
    plain = re.sub(r"[·.]", "", unit).replace("μ", "µ")
    scale = units.get(plain, units.get(plain.lower()))
    if scale is None and kind in ("number", "direction"):
        return 1.0
    if scale is None and kind == "time" and not unit and _is_clock(header, at):
        return 1.0
    if scale is None:
        word = split_title(title)[0]
        what = f"unit {unit!r} of column {title!r} is unknown" if unit else f"column {title!r} has no unit"
        known = f"write `{word} ({next(iter(units))})`; known: {', '.join(units)}"
        raise InputError(f"{header.path}:{header.line}: {what}: {known}")
    return scale


def _pieces(
    header: Header, positions: Sequence[int], converters: Mapping[int, Callable[[str], float]]
) -> Iterator[np.ndarray]:
    """Yield rows of the chosen columns, a piece at a time; `converters` read those that are not numbers."""
    rows, special = _Rows(header), cast(Any, dict(converters) or None)
    while lines := rows.take(_PIECE):
        try:
            yield np.loadtxt(
                lines, delimiter=header.delimiter, usecols=positions, ndmin=2, quotechar='"', comments=None,
                converters=special,
            )  # fmt: skip
        except ValueError:
            raise _no_number(header, rows.numbers, lines, positions, converters) from None


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


def _no_number(
    header: Header,
    numbers: Sequence[int],
    lines: Iterable[str],
    positions: Sequence[int],
    converters: Mapping[int, Callable[[str], float]],
) -> InputError:
    """Return the error for the first value that is no number."""
    for number, line in zip(numbers, lines):
        cells = next(csv.reader([line], delimiter=header.delimiter))
        for at in positions:
            try:
                converters.get(at, float)(cells[at])
            except (ValueError, IndexError):
                value = cells[at].strip() if at < len(cells) else ""
                what = f"{value[:40]!r} is no number" if value else "is empty"
                return InputError(f"{header.path}:{number}: {header.titles[at]}: {what}")
    return InputError(f"{header.path}: holds something that is no table of numbers")


def _listed(wanted: Mapping[str, Wanted]) -> str:
    return ", ".join(wanted)
