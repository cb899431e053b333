"""Tortuosity and permeability of a specimen's scans: plain data, and the tables that show them.

A number stands only where a solve converged; elsewhere its status stands in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import xarray as xr

from mgsflow.report.numbers import NONE, aligned, listing, percent, scaled
from mgsflow.report.state import SpecimenState
from mgsflow.report.tables import SCAN, Table, scan_names

CONVERGED = "converged"
AXES = "zyx"
_NOT_PERCOLATING = "not percolating"
#: Relative difference of the two factors from which both are shown: below, they are the same in print.
_ALIKE = 5e-4


@dataclass(frozen=True)
class TortuosityRow:
    """Tortuosity of a phase of one scan along an axis; numbers are None where there are none.

    Parameters
    ----------
    scan : str
    cycle : int
    phase, axis : str
    status : str
        As the solver says; empty where nothing was solved.
    factor, percolating_factor : float or None
        τ with the whole fraction of the phase, and with that of its percolating part.
    percolating : float or None
        Share of the phase that percolates.
    diffusivity : float or None
        Effective, over that in the phase.
    error : float or None
        Estimated relative error of it, by the solver.
    """

    scan: str
    cycle: int
    phase: str
    axis: str
    status: str
    factor: float | None
    percolating_factor: float | None
    percolating: float | None
    diffusivity: float | None
    error: float | None

    @property
    def infinite(self) -> bool:
        """Whether nothing percolates, so that τ is infinite."""
        return self.status == _NOT_PERCOLATING


@dataclass(frozen=True)
class PermeabilityRow:
    """Permeability of one scan along an axis; numbers are None where there are none.

    Parameters
    ----------
    scan : str
    cycle : int
    axis, status : str
    permeability : float or None
        In µm².
    error : float or None
        Estimated relative error of it, by the solver.
    porosity : float or None
        Open pores that percolate, per volume.
    narrow : float or None
        Share of them in throats under 4 voxels.
    flow_rate, velocity, reynolds : float or None
        In m³/s, m/s, and 1.
    """

    scan: str
    cycle: int
    axis: str
    status: str
    permeability: float | None
    error: float | None
    porosity: float | None
    narrow: float | None
    flow_rate: float | None
    velocity: float | None
    reynolds: float | None

    @property
    def inertial(self) -> bool:
        """Whether inertia counts, so that the flow is less than that of Stokes."""
        from mgsflow.transport.stokes.result import CREEPING  # compiles for a while: only where something flows

        return self.reynolds is not None and self.reynolds > CREEPING


def tortuosities(state: SpecimenState) -> list[TortuosityRow]:
    """Return the tortuosities of all scans, phases and axes that a study solved, by phase, scan and axis."""
    found = []
    for phase in state.specimen.phases:
        for scan in state.scans:
            metrics = state.measured(scan)
            for axis in AXES:
                one = _at(metrics, "tortuosity", phase=phase, axis=axis)
                if one is None:
                    continue
                status, at = one
                solved = status == CONVERGED
                found.append(
                    TortuosityRow(
                        scan.scan.name,
                        scan.scan.cycle,
                        phase,
                        axis,
                        status,
                        _number(at, "tortuosity_factor", solved),
                        _number(at, "tortuosity_factor_percolating", solved),
                        _number(at, "percolating_fraction"),
                        _number(at, "effective_diffusivity", solved or status == _NOT_PERCOLATING),
                        _number(at, "tortuosity_error", solved),
                    )
                )
    return found


def permeabilities(state: SpecimenState) -> list[PermeabilityRow]:
    """Return the permeabilities of all scans and axes that a study solved, by scan and axis."""
    found = []
    for scan in state.scans:
        metrics = state.measured(scan)
        for axis in AXES:
            one = _at(metrics, "permeability", axis=axis)
            if one is None:
                continue
            status, at = one
            solved = status == CONVERGED
            found.append(
                PermeabilityRow(
                    scan.scan.name,
                    scan.scan.cycle,
                    axis,
                    status,
                    _number(at, "permeability", solved),
                    _number(at, "permeability_error", solved),
                    _number(at, "percolating_porosity"),
                    _number(at, "narrow_share", solved),
                    _number(at, "flow_rate", solved),
                    _number(at, "mean_velocity", solved),
                    _number(at, "reynolds_number", solved),
                )
            )
    return found


def tortuosity_tables(state: SpecimenState) -> list[Table]:
    """Return a table for each phase whose tortuosity was solved."""
    rows = tortuosities(state)
    phases = [p for p in state.specimen.phases if any(r.phase == p for r in rows)]
    return [_tortuosity_table(state, p, [r for r in rows if r.phase == p]) for p in phases]


def tortuosity_cells(rows: Sequence[TortuosityRow | None]) -> list[str]:
    """Return τ of each, or why there is none: ``∞, not percolating``, ``not converged``."""
    numbers = aligned([None if r is None else r.factor for r in rows])
    return [_words(r, number) for r, number in zip(rows, numbers)]


def permeability_cells(rows: Sequence[PermeabilityRow | None]) -> tuple[list[str], str]:
    """Return K of each, or why there is none, and its unit."""
    numbers, power = scaled([None if r is None else r.permeability for r in rows])
    cells = [NONE if r is None else n if r.permeability is not None else r.status for r, n in zip(rows, numbers)]
    return cells, f"{power}µm²"


def permeability_table(state: SpecimenState) -> Table | None:
    """Return permeability and flow, a row for each scan and axis; None where nothing was solved."""
    rows = permeabilities(state)
    if not rows:
        return None
    from mgsflow.transport.stokes.result import DARCY_UM2

    scans = {s.scan.name: s for s in state.scans}
    k, unit = permeability_cells(rows)
    darcy, darcies = scaled([None if r.permeability is None else r.permeability / DARCY_UM2 for r in rows])
    flow, flows = scaled([r.flow_rate for r in rows])
    velocity, velocities = scaled([r.velocity for r in rows])
    reynolds = [_reynolds(r) for r in rows]
    columns: list[tuple[str, list[str]]] = [
        (unit, k),
        (f"{darcies}darcy", darcy),
        ("% of volume", [percent(r.porosity) for r in rows]),
        ("% in throats", [percent(r.narrow) for r in rows]),
    ]
    groups = [("Permeability K", 2), ("Percolating pores", 2)]
    if any(r.flow_rate is not None for r in rows):
        columns += [(f"Rate, {flows}m³/s", flow), (f"Velocity, {velocities}m/s", velocity), ("Reynolds", reynolds)]
        groups.append(("Flow", 3))
    cells = tuple((*scan_names(scans[r.scan]), r.axis, *one) for r, one in zip(rows, zip(*(c for _, c in columns))))
    raw = tuple(
        (
            *(*scan_names(scans[r.scan]), r.axis, r.status, r.permeability, r.error, r.porosity, r.narrow),
            *(r.flow_rate, r.velocity, r.reynolds),
        )
        for r in rows
    )
    full = (
        *(*SCAN, "Axis", "status", "K (µm²)", "relative error of the solver", "percolating pores", "in throats"),
        *("flow rate (m³/s)", "velocity (m/s)", "Reynolds number"),
    )
    heads = (*SCAN, "Axis", *(head for head, _ in columns))
    caption = _flow_caption(state, rows)
    name = f"{state.name}_permeability"
    return Table(name, caption, heads, cells, text=4, groups=tuple(groups), raw_columns=full, raw=raw)


def _tortuosity_table(state: SpecimenState, phase: str, rows: list[TortuosityRow]) -> Table:
    axes = [a for a in AXES if any(r.axis == a for r in rows)]
    at = {(r.scan, r.axis): r for r in rows}
    places = [[at.get((s.scan.name, a)) for a in axes] for s in state.scans]
    flat = [one for row in places for one in row]
    apart = any(
        r.factor is not None and r.percolating_factor is not None and abs(r.percolating_factor / r.factor - 1) > _ALIKE
        for r in rows
    )
    groups = [("Tortuosity factor τ", tortuosity_cells(flat))]
    if apart:
        numbers = aligned([None if r is None else r.percolating_factor for r in flat])
        groups.append(("τ of the percolating part", [_words(r, n) for r, n in zip(flat, numbers)]))
    groups.append(("Percolating, %", [percent(None if r is None else r.percolating) for r in flat]))
    groups.append(("Effective diffusivity", aligned([None if r is None else r.diffusivity for r in flat])))
    n = len(axes)
    cells = tuple(
        (*scan_names(scan), *(c for _, column in groups for c in column[i * n : i * n + n]))
        for i, scan in enumerate(state.scans)
    )
    names = ("status", "tau", "tau of the percolating part", "percolating share", "effective diffusivity")
    full = (*SCAN, *(f"{name} {a}" for a in axes for name in (*names, "relative error of the solver")))
    raw = tuple((*scan_names(s), *(c for one in row for c in _full(one))) for s, row in zip(state.scans, places))
    return Table(
        f"{state.name}_tortuosity_{phase}",
        _caption(phase, rows, apart),
        (*SCAN, *(axes * len(groups))),
        cells,
        groups=tuple((name, n) for name, _ in groups),
        raw_columns=full,
        raw=raw,
    )


def _caption(phase: str, rows: list[TortuosityRow], apart: bool) -> str:
    text = (
        f"Diffusion through {phase}, by axis. τ = ε D₀ / D_eff with the fraction ε of the phase"
        f"{', or of its part that percolates' if apart else ''}"
        "; the effective diffusivity is D_eff / D₀."
    )
    if not any(r.factor is not None for r in rows):
        text = f"Diffusion through {phase}, by axis."
    return text + _certified([r.error for r in rows], "D_eff")


def _flow_caption(state: SpecimenState, rows: list[PermeabilityRow]) -> str:
    asked = state.recipe.get("permeability") or {}
    through = f" through {listing(list(asked['phase']))}" if asked.get("phase") else ""
    text = (
        f"Permeability K of the {state.name}, by Stokes flow{through}; 1 µm² is 10⁻¹² m². In throats: share of the "
        "percolating pores that is under 4 voxels wide, where voxels are too coarse for the flow."
    )
    if asked.get("pressure") and any(r.flow_rate is not None for r in rows):
        drop = (asked["pressure"][0] - asked["pressure"][1]) / 1000
        text += (
            f" Flow rate and velocity are of the whole section, at {drop:g} kPa over the scan and a viscosity of "
            f"{asked.get('viscosity', 1e-3):g} Pa s."
        )
    if any(r.inertial for r in rows):
        from mgsflow.transport.stokes.result import CREEPING

        text += f" ● Above a Reynolds number of {CREEPING:g}, inertia makes the flow smaller than given."
    return text + _certified([r.error for r in rows], "K")


def _certified(errors: Sequence[float | None], what: str) -> str:
    known = [e for e in errors if e is not None]
    if not known:
        return ""
    return f" Estimated error of {what} by the solver: at most {100 * max(known):.2g} %, without that of the voxels."


def _words(row: TortuosityRow | None, number: str) -> str:
    if row is None:
        return NONE
    if row.factor is not None:
        return number
    return f"∞, {row.status}" if row.infinite else row.status


def _reynolds(row: PermeabilityRow) -> str:
    if row.reynolds is None:
        return NONE
    return f"{row.reynolds:.3g}{' ●' if row.inertial else ''}"


def _full(row: TortuosityRow | None) -> tuple[object, ...]:
    if row is None:
        return ("", *[None] * 5)
    return row.status, row.factor, row.percolating_factor, row.percolating, row.diffusivity, row.error


def _at(metrics: xr.Dataset | None, what: str, **where: str) -> tuple[str, xr.Dataset] | None:
    """Return the status of a solve, and the metrics there; None if there was none."""
    name = f"{what}_status"
    if metrics is None or name not in metrics:
        return None
    try:
        at = metrics.sel(where)
    except KeyError:  # the phases have other names since
        return None
    status = at[name].item()
    # a scan that was solved on fewer axes than others has no text there
    return (status, at) if isinstance(status, str) and status else None


def _number(at: xr.Dataset, name: str, solved: bool = True) -> float | None:
    if not solved or name not in at:
        return None
    value = float(at[name])
    return value if isfinite(value) else None
