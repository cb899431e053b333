"""Electrochemistry of a study: files read whole before anything is written, and joined to the scans' metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from mgsflow.electrochemistry import (
    Cell,
    Voltammogram,
    cycles,
    last_half_cycles,
    read_cycling,
    read_scan_values,
    read_voltammetry,
    voltage_curves,
    voltammetry,
)
from mgsflow.electrochemistry.rows import CHARGE, DISCHARGE
from mgsflow.errors import InputError, InputNotFound
from mgsflow.readers import checksum
from mgsflow.recipe import SpecimenRecipe
from mgsflow.recipe.electrochemistry import Cycling, Electrochemistry, Micrograph, Voltammetry
from mgsflow.store import Study
from mgsflow.studies.micrograph import area_fractions, read_micrograph

#: The group of a study that holds all others.
ROOT = "electrochemistry"
CYCLES, CURVES, VOLTAMMETRY, IMAGES, VALUES = "cycles", "curves", "voltammetry", "images", "values"

_Entry = TypeVar("_Entry", Cycling, Voltammetry, Micrograph)
_Read = TypeVar("_Read")
_UNCERTAIN = ("capacity", "charge_capacity")


def electrochemistry_groups(
    asked: Electrochemistry | None, specimens: Mapping[str, SpecimenRecipe], file: str = "study file"
) -> dict[str, xr.Dataset]:
    """Read all files that a study names beside its scans.

    Parameters
    ----------
    asked : Electrochemistry, optional
    specimens : mapping of str to SpecimenRecipe
        All of the study.
    file : str
        Name of the study file, for messages.

    Returns
    -------
    dict of str to Dataset
        By the group that it belongs in, below `ROOT`, as far as there are files: ``cycles``, ``curves``,
        ``voltammetry``, ``images``, ``values``. Each says of its files what they are called, and their SHA-256.

    Raises
    ------
    InputError, InputNotFound
        If a file cannot be read; the message has its place in the study file.
    """
    groups: dict[str, xr.Dataset] = {}
    if asked is None:
        return groups
    if asked.cycling:
        rows = _each(file, "cycling", asked.cycling, lambda e: read_cycling(e.path, e.starts, e.current))
        cells = [Cell(e.name, r, e.mass) for e, r in zip(asked.cycling, rows)]
        named = _files("cell", asked.cycling) | _conventions(asked.cycling)
        groups[CYCLES] = cycles(cells).assign(named)
        groups[CURVES] = voltage_curves(cells)
    if asked.voltammetry:
        sweeps = _each(file, "voltammetry", asked.voltammetry, lambda e: read_voltammetry(e.path))
        found = [Voltammogram(e.name, r, e.scan_rate) for e, r in zip(asked.voltammetry, sweeps)]
        groups[VOLTAMMETRY] = voltammetry(found).assign(_files("cell", asked.voltammetry))
    if asked.images:
        images = _each(file, "images", asked.images, _area_fractions)
        whole = xr.concat(images, dim="image", join="outer", data_vars="all", combine_attrs="override")
        whole = whole.assign_coords(image=np.array([e.name for e in asked.images], dtype=object))
        groups[IMAGES] = whole.assign(_files("image", asked.images))
    if asked.values:
        groups[VALUES] = _values(asked, specimens, file)
    return groups


def with_electrochemistry(
    metrics: xr.Dataset, specimen: str, asked: Electrochemistry | None, groups: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """Return the metrics of a specimen with what the study knows of its scans besides.

    Parameters
    ----------
    metrics : Dataset
        Along ``scan``, with the coordinates ``cycle`` and ``state``.
    specimen : str
    asked : Electrochemistry, optional
    groups : mapping of str to Dataset
        What `electrochemistry_groups` returned.

    Returns
    -------
    Dataset
        Besides, along ``scan``: ``capacity``, that of the last discharge before the scan, and ``charge_capacity``, of
        the last charge (see `mgsflow.electrochemistry.last_half_cycles`), in mAh/g, or in mAh where a cell has no mass;
        ``capacity_retention`` and ``coulombic_efficiency``; ``capacity_cells``, the number of cells that they are the
        mean of, and, of several, ``capacity_uncertainty``, the standard error. NaN where there is no such half cycle,
        or it was cut off. Then the values of the files of ``values``.

    Raises
    ------
    InputError
        If a value is named as a metric that there is.
    """
    found = xr.Dataset()
    if asked is not None and CYCLES in groups:
        found = _capacities(metrics, specimen, asked, groups[CYCLES])
    if VALUES in groups:
        found = found.assign(_of_specimen(metrics, specimen, groups[VALUES]))
    taken = sorted({str(n) for n in found.data_vars} & {str(n) for n in metrics.variables})
    if taken:
        raise InputError(f"{ROOT}.values: {taken[0]} is a metric of its own: rename the column, or the file's `name`")
    return metrics.assign({name: found[name] for name in found.data_vars})


def write_electrochemistry(study: Study, groups: Mapping[str, xr.Dataset]) -> None:
    """Replace the study's electrochemistry; what is no longer asked for goes."""
    if ROOT in study.root:
        del study.root[ROOT]
    for group, data in groups.items():
        data.to_zarr(study.place, group=f"{ROOT}/{group}", mode="w", zarr_format=3, consolidated=False)


def _area_fractions(entry: Micrograph) -> xr.Dataset:
    return area_fractions(read_micrograph(entry.path, entry.bar), entry.thresholds, entry.phases)


def _each(file: str, section: str, entries: Sequence[_Entry], read: Callable[[_Entry], _Read]) -> list[_Read]:
    found = []
    for i, entry in enumerate(entries):
        with _placed(f"{file}: {ROOT}.{section}[{i}] ({entry.name})"):
            found.append(read(entry))
    return found


@contextmanager
def _placed(where: str) -> Iterator[None]:
    try:
        yield
    except (InputError, InputNotFound) as error:
        raise type(error)(f"{where}: {error}") from error


def _files(along: str, entries: Sequence[Any]) -> dict[str, Any]:
    """Return what tells the files of a group: names, and digests by which a change is noticed."""
    names = np.array([e.path.name for e in entries], dtype=object)
    digests = np.array([checksum([e.path]) for e in entries], dtype=object)
    return {
        "file": (along, names, {"long_name": "name of the file"}),
        "sha256": (along, digests, {"long_name": "SHA-256 of the file's content"}),
    }


def _conventions(entries: Sequence[Cycling]) -> dict[str, Any]:
    """Return how each file was read: the sign of its current, and by what its cycles are numbered."""
    signs = np.array(["positive in " + e.current.partition("-")[0] for e in entries], dtype=object)
    numbers = [
        "as in the file, or from the first half cycle on" if e.starts is None else f"from each {e.starts} on"
        for e in entries
    ]
    return {
        "current_sign": ("cell", signs, {"long_name": "sign of the current in the file"}),
        "cycle_numbering": ("cell", np.array(numbers, dtype=object), {"long_name": "how cycles are numbered"}),
    }


def _values(asked: Electrochemistry, specimens: Mapping[str, SpecimenRecipe], file: str) -> xr.Dataset:
    """Return the values of all files, a row for each scan of the study."""
    scans = {name: [s.name for s in specimen.scans] for name, specimen in specimens.items()}
    rows = [(specimen, scan) for specimen, names in scans.items() for scan in names]
    data: dict[str, Any] = {}
    for i, entry in enumerate(asked.values):
        with _placed(f"{file}: {ROOT}.values[{i}] ({entry.name})"):
            one = read_scan_values(entry.path, scans, entry.name)
            for name, values in one.values.items():
                if name in data:
                    raise InputError(f"{name} is a value of another file too: change the `name` of one")
                attrs = {"units": one.units[name], "long_name": f"{one.titles[name]}, {entry.name}"}
                data[name] = ("row", np.array([values.get(row, np.nan) for row in rows]), attrs)
    coords = {
        "specimen": ("row", np.array([r[0] for r in rows], dtype=object)),
        "scan": ("row", np.array([r[1] for r in rows], dtype=object)),
    }
    digests = {entry.name: checksum([entry.path]) for entry in asked.values}
    return xr.Dataset(data, coords=coords, attrs={"sha256": digests})


def _of_specimen(metrics: xr.Dataset, specimen: str, values: xr.Dataset) -> xr.Dataset:
    """Return the values of the scans that metrics have, in their order; those of which there is any."""
    at = {str(scan): i for i, (s, scan) in enumerate(zip(values.specimen.values, values.scan.values)) if s == specimen}
    rows = [at[str(scan)] for scan in metrics.scan.values]
    data = {name: ("scan", v.values[rows], v.attrs) for name, v in values.data_vars.items()}
    return xr.Dataset({name: one for name, one in data.items() if np.isfinite(one[1]).any()})


def _capacities(metrics: xr.Dataset, specimen: str, asked: Electrochemistry, found: xr.Dataset) -> xr.Dataset:
    scans = [
        (str(scan), int(cycle), str(state))
        for scan, cycle, state in zip(metrics.scan.values, metrics.cycle.values, metrics.state.values)
    ]
    covering = {scan: [c for c in asked.cycling if c.covers(specimen, scan)] for scan, _, _ in scans}
    if not any(covering.values()):
        return xr.Dataset()
    specific = all(c.mass is not None for cells in covering.values() for c in cells)
    names = ("capacity", "charge_capacity", "capacity_retention", "coulombic_efficiency")
    numbers = {name: np.full((len(scans), max(map(len, covering.values()))), np.nan) for name in names}
    for at, (scan, cycle, state) in enumerate(scans):
        for which, cell in enumerate(covering[scan]):
            for name, value in _of_scan(found.sel(cell=cell.name), cycle, state, specific).items():
                numbers[name][at, which] = value
    count = np.isfinite(numbers["capacity"]).sum(axis=1)
    units = "mAh/g" if specific else "mAh"
    data: dict[str, Any] = {}
    for name, long_name in _JOINED.items():
        values = numbers[name]
        known = np.isfinite(values)
        there = known.sum(axis=1)
        mean = np.where(there > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(there, 1), np.nan)
        of = {"units": units if name in _UNCERTAIN else "1"}
        data[name] = ("scan", mean, {**of, "long_name": long_name})
        if name in _UNCERTAIN and (there > 1).any():
            apart = np.where(known, values - mean[:, None], 0)
            several = np.maximum(there, 2)
            error = np.sqrt((apart**2).sum(axis=1) / (several - 1) / several)
            attrs = {**of, "long_name": f"standard error of the mean of several cells: {long_name}"}
            data[f"{name}_uncertainty"] = ("scan", np.where(there > 1, error, np.nan), attrs)
    data["capacity_cells"] = ("scan", count, {"units": "1", "long_name": "cells that the capacity is the mean of"})
    return xr.Dataset(data)


_JOINED = {
    "capacity": "discharge capacity of the cell in the last discharge before the scan",
    "charge_capacity": "charge capacity of the cell in the last charge before the scan",
    "capacity_retention": "discharge capacity over that of the first complete cycle",
    "coulombic_efficiency": "charge of the second half over that of the first, in the last whole cycle before the scan",
}


def _of_scan(cell: xr.Dataset, cycle: int, state: str, specific: bool) -> dict[str, float]:
    """Return what one cell gave before a scan."""
    discharge, charge = last_half_cycles(cycle, state, str(cell.first_half.item()))
    prefix = "specific_" if specific else ""
    found = {}
    for name, half, number in (("capacity", DISCHARGE, discharge), ("charge_capacity", CHARGE, charge)):
        cut = str(cell.cut_off.item()) == half and number == _last_cycle(cell)
        found[name] = np.nan if cut else _at(cell, f"{prefix}{half}_capacity", number)
    found["capacity_retention"] = _at(cell, "capacity_retention", discharge)
    found["coulombic_efficiency"] = _at(cell, "coulombic_efficiency", min(discharge, charge))
    return found


def _last_cycle(cell: xr.Dataset) -> int:
    return int(cell.cycle.values[cell.cycle_status.values != ""][-1])


def _at(cell: xr.Dataset, name: str, number: int) -> float:
    return float(cell[name].values[number - 1]) if 1 <= number <= cell.sizes["cycle"] else float("nan")
