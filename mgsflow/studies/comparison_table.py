"""A comparison as one flat table: a row a scan, a column a number."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import product
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mgsflow.errors import InputError
from mgsflow.studies.compare import compared_names

if TYPE_CHECKING:
    import xarray as xr

#: What a table may hold of each metric, beside its value.
PARTS = ("difference", "ratio", "combined_uncertainty", "differs")
Cell = str | int | float | None


def comparison_table(comparison: xr.Dataset, parts: Sequence[str] = PARTS) -> tuple[list[str], list[list[Cell]]]:
    """Return the headings and rows of a comparison.

    Parameters
    ----------
    comparison : Dataset
        From `mgsflow.studies.compare.compare`.
    parts : sequence of str
        What is given of each metric beside its value, of `PARTS`.

    Returns
    -------
    columns : list of str
        ``scan``, ``cycle``, ``state``, then metrics with their place and unit, as ``permeability [x] (µm²)``, each
        followed by its parts, as ``permeability [x] ratio``, and how solves ended.
    rows : list of list
        One a scan; None where there is no number.

    Raises
    ------
    InputError
        If a part is unknown.
    """
    for part in parts:
        if part not in PARTS:
            raise InputError(f"{part!r} is no part of a comparison; there are {', '.join(PARTS)}")
    columns: list[str] = []
    values: list[list[Cell]] = []
    for name in ("scan", "cycle", "state"):
        if name in comparison.coords:
            columns.append(name)
            values.append([int(v) if name == "cycle" else str(v) for v in comparison[name].values])
    statuses = [str(n) for n in comparison.data_vars if str(n).endswith("_status")]
    for name in (*compared_names(comparison), *statuses):
        variable = comparison[name]
        for place in _places(variable):
            of = f" [{', '.join(place.values())}]" if place else ""
            column = _column(variable.sel(place))
            if all(v is None or v == "" for v in column):
                continue
            units = str(variable.attrs.get("units", ""))
            columns.append(f"{name}{of}" + (f" ({units})" if units not in ("", "1") else ""))
            values.append(column)
            for part in parts:
                if f"{name}_{part}" in comparison:
                    columns.append(f"{name}{of} {part.replace('_', ' ')}")
                    values.append(_column(comparison[f"{name}_{part}"].sel(place)))
    return columns, [list(row) for row in zip(*values)]


def write_comparison(comparison: xr.Dataset, path: str | Path, parts: Sequence[str] = PARTS) -> Path:
    """Write the table of a comparison as CSV (UTF-8), and return the file.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    path = Path(path)
    columns, rows = comparison_table(comparison, parts)
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _places(variable: xr.DataArray) -> list[dict[str, str]]:
    """Return the coordinates of each number of a scan; a pair of phases once."""
    dims = [str(d) for d in variable.dims if d != "scan"]
    places = [dict(zip(dims, key)) for key in product(*([str(v) for v in variable[d].values] for d in dims))]
    if {"phase", "neighbour"} <= set(dims):  # symmetric
        order = {str(p): i for i, p in enumerate(variable["phase"].values)}
        places = [p for p in places if order[p["phase"]] < order.get(p["neighbour"], -1)]
    return places


def _column(values: xr.DataArray) -> list[Cell]:
    found: list[Cell] = []
    for value in np.asarray(values.values).ravel().tolist():
        number = isinstance(value, (int, float))
        found.append((value if isfinite(value) else None) if number else str(value))
    return found
