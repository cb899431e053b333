"""Plans, states and results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mgsflow.memory import format_bytes
from mgsflow.pipeline import Capacity, Plan, Rates, Summary
from mgsflow.report import FractionRow, fraction_table
from mgsflow.report.numbers import aligned, grouped
from mgsflow.report.sections.particles import particle_rows
from mgsflow.report.sections.transport import (
    PermeabilityRow,
    TortuosityRow,
    permeabilities,
    permeability_cells,
    tortuosities,
    tortuosity_cells,
)
from mgsflow.report.state import read_state
from mgsflow.store import Study
from mgsflow.store.tree import open_study


def show_plan(plan: Plan, room: Capacity, rates: Rates | None, out: Console) -> None:
    """Print a plan's steps and totals, with times where there was a rehearsal."""
    table = Table(box=box.SIMPLE_HEAD, title="Plan", title_justify="left", pad_edge=False)
    table.add_column("step", no_wrap=True)
    for name in ("blocks", "halo", "peak", "disk", *(() if rates is None else ("time",))):
        table.add_column(name, justify="right", no_wrap=True)
    scan = ""
    for line in plan.lines:
        if line.scan != scan:  # steps go from scan to scan and back
            scan = line.scan
            table.add_row(f"[bold]{escape(scan)}[/]")
        sizes = (str(line.blocks), str(max(line.halo)), format_bytes(line.peak), format_bytes(line.disk))
        times = () if rates is None else ("?" if line.expected is None else _time(line.expected.seconds),)
        table.add_row(*map(escape, (f"  {line.step}", *sizes, *times)))
    out.print(table)
    threads = "1 thread" if room.threads == 1 else f"{room.threads} threads"
    workers = "1 process" if room.workers == 1 else f"{room.workers} workers"
    free = "" if plan.free is None else f", {format_bytes(plan.free)} free"
    out.print(
        f"{plan.blocks} tasks on {workers} of {threads}; peak {format_bytes(plan.peak)} of "
        f"{format_bytes(room.memory)} each; disk at most {format_bytes(plan.disk)}{free}",
        soft_wrap=True,
    )
    for text in plan.regions:
        out.print(f"What counts of {escape(text)}", soft_wrap=True)
    show_warnings(plan.warnings, out)
    if rates is None:
        return
    whole = plan.expected
    hours = grouped(round(whole.busy / 3600)) if whole.busy > 1e5 else f"{whole.busy / 3600:.2g}"
    out.print(
        f"about [bold]{_time(whole.seconds)}[/], {hours} core hours; {_bytes(whole.read)} read from the store and "
        f"{_bytes(whole.written)} written to it, compressed; by a rehearsal on this machine, the report not counted",
        soft_wrap=True,
    )
    for name in plan.untold:
        reason = "; ".join(rates.unknown.values()) or "there was nothing to solve in the windows of the rehearsal"
        out.print(f"[yellow]The time of {escape(name)} is not known[/]: {escape(reason)}", soft_wrap=True)


def _bytes(count: float) -> str:
    return format_bytes(count) if isfinite(count) else "–"


def _time(seconds: float) -> str:
    """Return a time with the digits that a forecast is good for: ``40 s``, ``12 min``, ``3.4 h``, ``2.1 d``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.2g} {unit}" if seconds < 9.95 * length else f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.2g} s"


def show_status(study: Study, out: Console) -> None:
    """Print how many blocks of each step of each scan are finished."""
    state = study.attributes.get("status", "empty")
    colour = "green" if state == "complete" else "yellow"
    out.print(f"{escape(study.title or study.path)}: [bold {colour}]{state}[/]")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("specimen", "scan", "step"):
        table.add_column(name)
    table.add_column("blocks", justify="right")
    for specimen in (study[name] for name in study.specimens):
        for scan in specimen.scans:
            for step, done, total in specimen.progress(scan.name):
                mark = "" if done == total else "[yellow]"
                cells = (specimen.name, scan.name, step)
                table.add_row(*map(escape, cells), f"{mark}{done} of {total}")
    out.print(table)
    runs = study.attributes.get("runs", [])
    if runs and runs[-1].get("error"):
        out.print(f"The last run stopped: {escape(runs[-1]['error'])}", soft_wrap=True)


def show_summary(summary: Summary, out: Console) -> None:
    """Print what a run did, and the memory that it took against the plan."""
    measured = max(summary.peaks.values(), default=0)
    blocks = "nothing was left to do" if summary.blocks == 0 else f"{summary.blocks} blocks done"
    out.print(
        f"{blocks}; peak memory {format_bytes(measured)} a worker, planned {format_bytes(summary.planned)}",
        soft_wrap=True,
    )
    show_warnings(summary.warnings, out)


def show_warnings(warnings: Iterable[str], out: Console) -> None:
    """Print what a user should know of the files."""
    for text in warnings:
        out.print(f"[yellow]Warning[/]: {escape(text)}", soft_wrap=True)


def show_fractions(store: Path, out: Console) -> None:
    """Print the volume fractions of all scans, a table a specimen, as Table 3 of a paper would."""
    specimens: dict[str, list[FractionRow]] = {}
    for row in fraction_table(store):
        specimens.setdefault(row.specimen, []).append(row)
    for name, rows in specimens.items():
        if not rows[0].phases:
            continue  # grey images only
        table = Table(box=box.SIMPLE_HEAD, title=f"{name}: volume fractions, %", title_justify="left", pad_edge=False)
        table.add_column("scan")
        table.add_column("cycle", justify="right")
        table.add_column("state")
        for phase in rows[0].phases:
            table.add_column(escape(phase), justify="right")
        for row in rows:
            table.add_row(*map(escape, (row.scan, str(row.cycle), row.state, *row.cells)))
        out.print(table)


def show_areas(store: Path, out: Console) -> None:
    """Print the area of each phase per its own volume, where surfaces were measured."""
    tree = open_study(store)
    for name, specimen in tree.children.items():
        metrics = specimen.children["metrics"].ds if "metrics" in specimen.children else None
        if metrics is None or "surface_per_phase_volume" not in metrics:
            continue
        areas = metrics["surface_per_phase_volume"].sel(estimator="crofton13")
        title = f"{name}: area per volume of the phase, µm²/µm³ (Crofton, 13 directions)"
        table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
        table.add_column("scan")
        table.add_column("cycle", justify="right")
        for phase in areas["phase"].values:
            table.add_column(escape(str(phase)), justify="right")
        for scan in metrics["scan"].values:
            row = areas.sel(scan=scan)
            cells = [f"{float(a):.2f}" if np.isfinite(a) else "–" for a in row.values]
            table.add_row(*map(escape, (str(scan), str(int(row["cycle"])), *cells)))
        out.print(table)


def show_particles(store: Path, out: Console) -> None:
    """Print how many particles each scan has, and their median diameter, where particles were separated."""
    for specimen in read_state(Study.open(store)).specimens:
        rows = particle_rows(specimen)
        if not rows:
            continue
        title = f"{specimen.name}: particles"
        table = Table(box=box.SIMPLE_HEAD, title=escape(title), title_justify="left", pad_edge=False)
        table.add_column("scan")
        for name in ("cycle", "particles", "spanning", "D50, µm"):
            table.add_column(name, justify="right")
        medians = aligned([r.d50 for r in rows])
        for row, median in zip(rows, medians):
            counts = ("–" if n is None else grouped(n) for n in (row.count, row.spanning))
            table.add_row(*map(escape, (row.scan, str(row.cycle), *counts, median)))
        out.print(table)


def show_transport(store: Path, out: Console) -> None:
    """Print tortuosity factors and permeabilities by axis, or how their solves ended, where they were asked for."""
    for specimen in read_state(Study.open(store)).specimens:
        solved = tortuosities(specimen)
        for phase in specimen.specimen.phases:
            rows = [r for r in solved if r.phase == phase]
            _show_axes(f"{specimen.name}: tortuosity factor of {phase}", rows, tortuosity_cells(rows), out)
        flows = permeabilities(specimen)
        cells, unit = permeability_cells(flows)
        _show_axes(f"{specimen.name}: permeability, {unit}", flows, cells, out)


def _show_axes(title: str, rows: Sequence[TortuosityRow | PermeabilityRow], cells: Sequence[str], out: Console) -> None:
    """Print cells, one of each row, with scans down and axes across."""
    axes = [a for a in "zyx" if any(r.axis == a for r in rows)]
    if not axes:
        return
    # few columns are narrower than their title
    width = len(title)
    table = Table(box=box.SIMPLE_HEAD, title=escape(title), title_justify="left", pad_edge=False, min_width=width)
    table.add_column("scan")
    for name in ("cycle", *axes):
        table.add_column(name, justify="right")
    at = {(r.scan, r.axis): cell for r, cell in zip(rows, cells)}
    for scan, cycle in dict.fromkeys((r.scan, r.cycle) for r in rows):
        table.add_row(*map(escape, (scan, str(cycle), *(at.get((scan, a), "–") for a in axes))))
    out.print(table)
