"""Numbers of scans that come from elsewhere (EDX, XPS, SEM …), as a CSV file.

A row is a scan: the column ``scan`` has its name, ``specimen`` its specimen, which may be left out where the name
tells. Every other column is a number, with its unit in brackets: ``sulfur [at%]``; a cell may be empty.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from mgsflow.electrochemistry.columns import read_header, split_title
from mgsflow.electrochemistry.text import numbered_lines
from mgsflow.errors import InputError

_MOST_ROWS = 10_000


@dataclass(frozen=True)
class ScanValues:
    """The values of one file.

    Parameters
    ----------
    values : dict of str to dict of (str, str) to float
        By variable name, then by (specimen, scan).
    titles, units : dict of str to str
        Of each variable, as the file has them.
    """

    values: dict[str, dict[tuple[str, str], float]]
    titles: dict[str, str]
    units: dict[str, str]


def read_scan_values(path: str | Path, scans: Mapping[str, Sequence[str]], prefix: str = "") -> ScanValues:
    """Read values of scans.

    Parameters
    ----------
    path : path
    scans : mapping of str to sequence of str
        Names of the scans that there are, by specimen.
    prefix : str
        What variables are named by: ``edx`` makes ``edx_sulfur`` of the column ``sulfur``.

    Raises
    ------
    InputError, InputNotFound
        If the file cannot be read, names a scan that there is not, or twice, or holds something that is no number.
    """
    path = Path(path)
    header = read_header(path)
    words = [split_title(t) for t in header.titles]
    plain = [w.lower() for w, _ in words]
    if "scan" not in plain:
        raise InputError(f"{path}:{header.line}: has no column `scan`: add it, with the names of the study's scans")
    at_scan, at_specimen = plain.index("scan"), plain.index("specimen") if "specimen" in plain else None
    columns = {i: variable_name(w, prefix) for i, (w, _) in enumerate(words) if i not in (at_scan, at_specimen)}
    if len(set(columns.values())) < len(columns) or "" in plain:
        raise InputError(f"{path}:{header.line}: columns must have names, each its own, apart from their units")
    if not columns:
        raise InputError(f"{path}:{header.line}: has no values beside the scans' names")
    values: dict[str, dict[tuple[str, str], float]] = {name: {} for name in columns.values()}
    seen: dict[tuple[str, str], int] = {}
    for number, line in numbered_lines(path):
        if number <= header.line or not line.strip():
            continue
        where = f"{path}:{number}"
        if len(seen) >= _MOST_ROWS:
            raise InputError(f"{where}: is a table of more than {_MOST_ROWS} rows, not one row a scan")
        cells = [c.strip() for c in next(csv.reader([line], delimiter=header.delimiter))]
        if len(cells) != len(words):
            raise InputError(f"{where}: has {len(cells)} columns, and the header {len(words)}")
        specimen = cells[at_specimen] if at_specimen is not None else ""
        for key in _scans_named(where, specimen, cells[at_scan], scans):
            if key in seen:
                raise InputError(f"{where}: scan {key[1]} of {key[0]} is in line {seen[key]} already: one row a scan")
            seen[key] = number
            for i, name in columns.items():
                if cells[i]:
                    values[name][key] = _number(where, header.titles[i], cells[i], header.delimiter)
    titles = {columns[i]: words[i][0] for i in columns}
    return ScanValues(values, titles, {columns[i]: words[i][1] for i in columns})


def variable_name(title: str, prefix: str = "") -> str:
    """Return a heading as the name of a variable: ``C/S ratio`` with ``edx`` is ``edx_c_s_ratio``."""
    return re.sub(r"\W+", "_", f"{prefix} {title}".strip().lower()).strip("_")


def _scans_named(where: str, specimen: str, scan: str, scans: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return the scan that a row is of; or those of that name in all specimens."""
    if specimen and specimen not in scans:
        raise InputError(f"{where}: no specimen is named {specimen[:60]!r}{_like(specimen, list(scans))}")
    found = [(s, scan) for s, names in scans.items() if scan in names and specimen in ("", s)]
    if not found:
        known = [n for s, names in scans.items() for n in names if specimen in ("", s)]
        of = f" of {specimen}" if specimen else ""
        raise InputError(f"{where}: no scan{of} is named {scan[:60]!r}{_like(scan, known)}")
    return found


def _like(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name[:100], known, n=1)
    return f": did you mean {near[0]!r}?" if near else f"; there are {', '.join(dict.fromkeys(known))}"


def _number(where: str, title: str, text: str, delimiter: str) -> float:
    plain = text.replace(",", ".") if delimiter != "," else text
    try:
        return float(plain)
    except ValueError:
        raise InputError(f"{where}: {title}: {text[:40]!r} is no number (a cell may be empty)") from None
