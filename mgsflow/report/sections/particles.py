"""The particles of a specimen's scans as numbers: rows of plain data, and the table that shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import xarray as xr

from mgsflow.report.numbers import NONE, aligned, grouped, plain
from mgsflow.report.state import ScanState, SpecimenState
from mgsflow.report.tables import SCAN, Table, scan_names

#: What a particle is described by, with the words and units of a figure.
QUANTITIES = {
    "equivalent_diameter": ("equivalent diameter", "µm"),
    "volume_per_area": ("volume per area", "µm"),
    "sphericity": ("sphericity", ""),
}
#: Cell of a phase that has no particle.
EMPTY = "no particles"
BORDERS = {
    "keep": "those at the border of the scan are taken as they are",
    "drop": "those at the border of the scan are left out",
    "weight": (
        "those at the border of the scan are left out, and the others weighed by the chance to lie wholly inside "
        "(Miles and Lantuéjoul)"
    ),
}


@dataclass(frozen=True)
class ParticleRow:
    """Particles of one scan; numbers are None where they are not known, or there are no particles.

    Parameters
    ----------
    specimen, scan : str
    cycle : int
    state : str
    count : int or None
        Particles; None if the scan is not measured.
    spanning : int or None
        Of them, those that reach from one face of the scan to the opposite one.
    counted : int or None
        Particles that the distribution of diameters is of.
    d10, d50, d90, mean, std : float or None
        Of the equivalent diameter, in µm.
    sphericity : float or None
        Mean.
    volume_per_area : float or None
        Mean, in µm.
    """

    specimen: str
    scan: str
    cycle: int
    state: str
    count: int | None
    spanning: int | None
    counted: int | None
    d10: float | None
    d50: float | None
    d90: float | None
    mean: float | None
    std: float | None
    sphericity: float | None
    volume_per_area: float | None


def has_particles(state: SpecimenState) -> bool:
    """Tell whether any scan's particles are measured."""
    return state.metrics is not None and "particle_count" in state.metrics


def particle_rows(state: SpecimenState) -> list[ParticleRow]:
    """Return what is known of the particles of each scan; no rows where none are measured."""
    if not has_particles(state):
        return []
    rows = []
    for scan in state.scans:
        found = state.measured(scan)
        diameter = {k: _number(found, f"equivalent_diameter_{k}") for k in ("d10", "d50", "d90", "mean", "std")}
        s = scan.scan
        rows.append(
            ParticleRow(
                state.name,
                s.name,
                s.cycle,
                s.state,
                _whole(found, "particle_count"),
                _whole(found, "particles_spanning"),
                _whole(found, "equivalent_diameter_count"),
                **diameter,
                sphericity=_number(found, "sphericity_mean"),
                volume_per_area=_number(found, "volume_per_area_mean"),
            )
        )
    return rows


def particle_table(state: SpecimenState) -> Table | None:
    """Return the particles of each scan, with the quantiles of their diameters; None where none are measured."""
    rows = particle_rows(state)
    if not rows:
        return None
    # where particles are left out of the distributions, their numbers are of fewer
    fewer = any(r.counted not in (None, r.count) for r in rows)
    counts = [[_count(r.count) for r in rows], [_plain_count(r.spanning) for r in rows]]
    if fewer:
        counts.append([_plain_count(r.counted) for r in rows])
    quantiles = aligned([d for r in rows for d in (r.d10, r.d50, r.d90)])
    spread = aligned([d for r in rows for d in (r.mean, r.std)])
    means = [m if m == NONE else f"{m} ± {s}" for m, s in zip(spread[::2], spread[1::2])]
    columns = [
        *counts,
        *(quantiles[i::3] for i in range(3)),
        means,
        aligned([r.sphericity for r in rows]),
        aligned([r.volume_per_area for r in rows]),
    ]
    cells = tuple((*scan_names(scan), *row) for scan, row in zip(state.scans, zip(*columns)))
    heads = ("Number", "Spanning", *(["In distributions"] if fewer else []))
    diameter = ("D10", "D50", "D90", "Mean ± std")
    return Table(
        f"{state.name}_particles",
        _caption(state),
        (*SCAN, *heads, *diameter, "Sphericity", "Volume per area, µm"),
        cells,
        groups=(("Particles", len(heads)), ("Equivalent diameter, µm", len(diameter)), ("Mean", 2)),
        raw_columns=(
            *(*SCAN, "particles", "spanning", "in distributions", "D10 (µm)", "D50 (µm)", "D90 (µm)", "mean (µm)"),
            *("std (µm)", "mean sphericity", "mean volume per area (µm)"),
        ),
        raw=tuple(_raw(scan, row) for scan, row in zip(state.scans, rows)),
    )


def parting(asked: Mapping[str, Any]) -> str:
    """Return the persistence of a study file as words: ``0.5 voxels``, ``10 % of the smaller ball's radius``."""
    value = float(asked.get("persistence", 0.0))
    if asked.get("relative"):
        return f"{100 * value:g} % of the smaller one's radius"
    return f"{plain(value)} {'voxel' if value == 1 else 'voxels'}"


def _caption(state: SpecimenState) -> str:
    asked = state.recipe.get("particles")
    if not asked:
        return f"Particles in the {state.name}, each counted once."
    return (
        f"Particles of {asked['phase']} in the {state.name}, parted at a persistence of {parting(asked)}, of at least "
        f"{asked['min_voxels']} voxels. Spanning ones reach from one face of the scan to the opposite one. Quantiles, "
        f"means and standard deviations are by number; {BORDERS[str(asked['border'])]}. "
        "Of particles of a few voxels, surfaces are rough estimates: their sphericity may exceed 1."
    )


def _raw(scan: ScanState, r: ParticleRow) -> tuple[object, ...]:
    numbers = (r.count, r.spanning, r.counted, r.d10, r.d50, r.d90, r.mean, r.std, r.sphericity, r.volume_per_area)
    return (*scan_names(scan), *numbers)


def _count(count: int | None) -> str:
    return EMPTY if count == 0 else _plain_count(count)


def _plain_count(count: int | None) -> str:
    return NONE if count is None else grouped(count)


def _number(found: xr.Dataset | None, name: str) -> float | None:
    if found is None or name not in found:
        return None
    value = float(found[name])
    return value if isfinite(value) else None


def _whole(found: xr.Dataset | None, name: str) -> int | None:
    value = _number(found, name)
    return None if value is None else round(value)
