"""Gamry Framework files (.DTA): header, and tables of numbers with their units.

The format is text of lines whose cells are parted by tabs. The first line is ``EXPLAIN``, the second ``TAG`` with the
kind of experiment. A line of the header holds key, type, value and label; ``NOTES`` is followed by as many lines of
text as it says. ``CURVE1 TABLE`` begins a table: a line of names, one of units, then rows that begin with a blank.
Numbers are written as the computer's locale had it, with a point or a comma.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mgsflow.electrochemistry.text import numbered_lines
from mgsflow.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

SUFFIXES = (".dta",)
_NUMBERS = ("QUANT", "IQUANT", "POTEN", "SELECTOR")
_PIECE = 1 << 15  # rows


@dataclass(frozen=True, eq=False)
class GamryTable:
    """One table of a file.

    Parameters
    ----------
    name : str
        As ``CURVE1``.
    columns : dict of str to ndarray, shape (rows,)
        Those that hold numbers.
    units : dict of str to str
        As the file has them: ``V vs. Ref.``.
    """

    name: str
    columns: dict[str, np.ndarray]
    units: dict[str, str]

    def dataset(self) -> xr.Dataset:
        """Return the columns along ``row``, with their units."""
        import xarray as xr

        data = {k: ("row", v, {"units": self.units[k]}) for k, v in self.columns.items()}
        return xr.Dataset(data, attrs={"table": self.name})


@dataclass(frozen=True, eq=False)
class GamryFile:
    """A Gamry file.

    Parameters
    ----------
    path : Path
    tag : str
        Kind of experiment: ``CV``, ``CHRONOA``, ``CORPOT`` (open circuit), ``EISPOT``, ``PWR800_DISCHARGE`` and others.
    header : dict of str to (float or str)
        Numbers in the units that their labels state.
    labels : dict of str to str
        What each key of the header is.
    tables : tuple of GamryTable
        At least one, each with rows.
    """

    path: Path
    tag: str
    header: Mapping[str, float | str]
    labels: Mapping[str, str]
    tables: tuple[GamryTable, ...]

    def curves(self, *columns: str) -> list[GamryTable]:
        """Return the tables of the experiment itself, which have some columns.

        Raises
        ------
        InputError
            If there is none.
        """
        found = [t for t in self.tables if re.fullmatch(r"Z?CURVE\d*", t.name)]
        for table in found:
            for column in columns:
                if column not in table.columns:
                    there = ", ".join(table.columns)
                    raise InputError(f"{self.path}: {table.name} ({self.tag}) has no column {column}; it has {there}")
        if not found:
            there = ", ".join(t.name for t in self.tables)
            raise InputError(f"{self.path}: has no table CURVE ({self.tag}); there are {there}")
        return found


def read_gamry(path: str | Path) -> GamryFile:
    """Read a Gamry file.

    Parameters
    ----------
    path : path
        A ``.DTA`` file.

    Raises
    ------
    InputError, InputNotFound
        If it cannot be read, is not a Gamry file, or ends before its first row of numbers.
    """
    path = Path(path)
    parser, last = _Parser(path), 0
    for number, line in numbered_lines(path):
        if number == 1 and line.strip().upper() != "EXPLAIN":
            raise InputError(f"{path}: is not a Gamry file: its first line is not EXPLAIN")
        parser.line(number, line)
        last = number
    return parser.finish(last)


@dataclass
class _Open:
    """A table that is being read."""

    name: str
    line: int
    names: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    numeric: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    pieces: list[np.ndarray] = field(default_factory=list)


class _Parser:
    """Takes a file line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tag, self._last = "", ""
        self._header: dict[str, float | str] = {}
        self._labels: dict[str, str] = {}
        self._tables: list[GamryTable] = []
        self._notes = 0
        self._table: _Open | None = None

    def line(self, number: int, line: str) -> None:
        if self._table is not None:
            if line[:1].isspace():
                self._row(self._table, number, line)
                return
            self._close()
        if self._notes:
            self._notes -= 1
            return
        cells = [c.strip() for c in line.split("\t")]
        if len(cells) < 2 or not cells[0]:
            return
        key, kind = cells[0], cells[1].upper()
        self._last = key
        if key == "TAG":
            self._tag = cells[1]
        elif kind == "TABLE":
            self._table = _Open(key, number)
        elif kind == "NOTES":
            self._notes = int(cells[2]) if len(cells) > 2 and cells[2].isdecimal() else 0
        elif len(cells) > 2:
            self._header[key] = _number(cells[2]) if kind in _NUMBERS else cells[2]
            self._labels[key] = cells[-1].replace("&", "")

    def finish(self, lines: int) -> GamryFile:
        """Return what was read.

        Raises
        ------
        InputError
            If there is no row of numbers.
        """
        self._close()
        if not self._tables:
            where = f"in its header, after {self._last}" if self._last else "before its header"
            raise InputError(
                f"{self._path}: ends {where} (line {lines}), before any table of data: copy it from the instrument "
                "again, whole"
            )
        return GamryFile(self._path, self._tag, self._header, self._labels, tuple(self._tables))

    def _row(self, table: _Open, number: int, line: str) -> None:
        if not table.names:
            table.names = [c.strip() for c in line.split("\t")][1:]
            return
        if not table.units:
            table.units = [c.strip() for c in line.split("\t")][1:]
            return
        if not line.strip():
            return
        cells = line.replace(",", ".").split()
        if len(cells) != len(table.names):
            raise InputError(
                f"{self._path}:{number}: a row of {table.name} has {len(cells)} of {len(table.names)} values: was the "
                "file copied whole?"
            )
        if not table.numeric:
            table.numeric = [i for i, c in enumerate(cells) if _is_number(c)]
        table.lines.append(" ".join(cells))
        table.numbers.append(number)
        if len(table.lines) == _PIECE:
            self._convert(table)

    def _convert(self, table: _Open) -> None:
        try:
            table.pieces.append(np.loadtxt(table.lines, usecols=table.numeric, ndmin=2, comments=None))
        except ValueError:
            for number, line in zip(table.numbers, table.lines):
                cells = line.split()
                for i in table.numeric:
                    if not _is_number(cells[i]):
                        what = f"{table.names[i]} in {table.name}: {cells[i][:40]!r} is no number"
                        raise InputError(f"{self._path}:{number}: {what}") from None
            raise
        table.lines, table.numbers = [], []

    def _close(self) -> None:
        table, self._table = self._table, None
        if table is None:
            return
        if table.lines:
            self._convert(table)
        if not table.pieces:
            return  # a curve that was stopped before its first row
        whole = np.concatenate(table.pieces)
        columns = {table.names[at]: whole[:, i] for i, at in enumerate(table.numeric)}
        units = {n: table.units[i] if i < len(table.units) else "" for i, n in enumerate(table.names)}
        self._tables.append(GamryTable(table.name, columns, {n: units[n] for n in columns}))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> float | str:
    plain = text.replace(",", ".")
    return float(plain) if _is_number(plain) else text
