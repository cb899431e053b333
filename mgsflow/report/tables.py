"""The numbers of a study as tables: plain data first, then cells as they are printed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, isfinite
from pathlib import Path

import xarray as xr

from mgsflow.report.files import write_anew
from mgsflow.report.names import file_name
from mgsflow.report.numbers import NONE, microns, percent, plus_minus, times, voxel
from mgsflow.report.state import ScanState, SpecimenState, StudyState, read_state
from mgsflow.store import Study

#: A difference counts as seen beyond so many combined standard errors.
COVERAGE = 2.0
SCAN = ("Scan", "Cycle", "State")


@dataclass(frozen=True)
class FractionRow:
    """Volume fractions of one scan.

    Parameters
    ----------
    specimen, scan : str
    cycle : int
    state : str
    phases : tuple of str
    fractions, errors : tuple of float or None
        One for each phase: fraction of the total volume, and its standard error; None where it is not known.
    """

    specimen: str
    scan: str
    cycle: int
    state: str
    phases: tuple[str, ...]
    fractions: tuple[float | None, ...]
    errors: tuple[float | None, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """The fractions in per cent, as printed: ``31.02 ± 0.45``."""
        return tuple(plus_minus(f, e) for f, e in zip(self.fractions, self.errors))


@dataclass(frozen=True)
class Table:
    """A table as it is printed.

    Parameters
    ----------
    name : str
        File name of its CSV.
    caption : str
    columns : tuple of str
    rows : tuple of tuple of str
    text : int
        Number of leading columns that hold text, not numbers.
    groups : tuple of (str, int)
        Headings over the number columns, each with the columns it spans.
    raw_columns, raw : tuple
        The same as full numbers, for other programs; None where there is none.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: int = 3
    groups: tuple[tuple[str, int], ...] = ()
    raw_columns: tuple[str, ...] = ()
    raw: tuple[tuple[object, ...], ...] = ()

    def write_csv(self, folder: Path) -> Path:
        """Write the numbers as CSV (UTF-8), in full digits and the units of their headings."""
        path = folder / f"{file_name(self.name)}.csv"
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(self.raw_columns or self.columns)
        writer.writerows(self.raw or self.rows)
        write_anew(path, text.getvalue().encode())
        return path


def fraction_table(store: str | Path | Study) -> list[FractionRow]:
    """Return the volume fractions of every scan of a study, by specimen and in order of cycle.

    Parameters
    ----------
    store : path or Study

    Returns
    -------
    list of FractionRow
        Scans that are not measured have None for each fraction.

    Raises
    ------
    StudyNotFound, StoreError
        If there is no study that can be read.
    """
    study = store if isinstance(store, Study) else Study.open(store)
    return [row for specimen in read_state(study).specimens for row in fraction_rows(specimen)]


def fraction_rows(state: SpecimenState) -> list[FractionRow]:
    """Return the volume fractions of a specimen's scans."""
    rows = []
    phases = state.specimen.phases
    for scan in state.scans:
        metrics = state.measured(scan)
        values = _of_phases(metrics, "volume_fraction", phases)
        errors = _of_phases(metrics, "volume_fraction_error", phases)
        s = scan.scan
        rows.append(FractionRow(state.name, s.name, s.cycle, s.state, phases, values, errors))
    return rows


def study_table(study: StudyState) -> Table:
    """Return what each scan is."""
    rows = []
    for state in study.specimens:
        size = state.specimen.voxel_size
        for scan in state.scans:
            shape = scan.scan.shape
            lengths = [n * v for n, v in zip(shape, size)]
            files = NONE if scan.files is None else str(scan.files)
            cells = (times(shape), microns(lengths), voxel(size), files, scan.sha256[:12] or NONE)
            rows.append((state.name, *scan_names(scan), *cells))
    columns = ("Specimen", "Scan", "Cycle", "State", "Extent, voxels", "Extent, µm", "Voxel, µm", "Files", "SHA-256")
    caption = "Scans of the study. Extents and voxel sizes are along z, y and x; the checksum is of the files' content."
    return Table("scans", caption, columns, tuple(rows), text=4)


def fractions(state: SpecimenState) -> Table:
    """Return volume fractions in per cent with their standard errors."""
    rows = tuple((*_row_names(r), *r.cells) for r in fraction_rows(state))
    caption = (
        f"Volume fractions of the {state.name} in % of the total volume, ± one standard error from the variance "
        "between parts of the scan; the material the scan was cut from lies within ± 2 errors with about 95 % "
        "confidence, if the scan is several times larger than its structure."
    )
    phases = state.specimen.phases
    raw = tuple((*_row_names(r), *_pairs(r.fractions, r.errors)) for r in fraction_rows(state))
    return Table(f"{state.name}_fractions", caption, (*SCAN, *phases), rows, raw_columns=_paired(phases), raw=raw)


@dataclass(frozen=True)
class Difference:
    """How a scan's fraction of one phase differs from that of the reference scan."""

    change: float | None
    error: float | None

    @property
    def seen(self) -> bool | None:
        """Whether the change exceeds `COVERAGE` combined standard errors; None if that cannot be told."""
        if self.change is None or self.error is None:
            return None
        return abs(self.change) > COVERAGE * self.error

    @property
    def cell(self) -> str:
        """Percentage points with the combined standard error, and a mark where the change is seen."""
        mark = {True: " ●", False: " ○", None: ""}[self.seen]
        return plus_minus(self.change, self.error, sign=True) + (mark if self.change is not None else "")


def reference_scan(state: SpecimenState) -> ScanState | None:
    """Return the measured scan that others are compared with: pristine if there is one, else the earliest cycle."""
    measured = [s for s in state.scans if s.measured]
    pristine = [s for s in measured if s.scan.cycle == 0]
    named = [s for s in pristine if s.scan.state == "pristine"]
    return next(iter(named or pristine or measured), None)


def differences(state: SpecimenState) -> dict[str, tuple[Difference, ...]]:
    """Return the differences to the reference scan, by scan; empty if there is nothing to compare."""
    reference = reference_scan(state)
    rows = {r.scan: r for r in fraction_rows(state)}
    if reference is None or sum(s.measured for s in state.scans) < 2:
        return {}
    base = rows.pop(reference.scan.name)
    found = {}
    for name, row in rows.items():
        one = []
        for f, e, f0, e0 in zip(row.fractions, row.errors, base.fractions, base.errors):
            change = None if f is None or f0 is None else f - f0
            one.append(Difference(change, None if e is None or e0 is None else hypot(e, e0)))
        found[name] = tuple(one)
    return found


def difference_table(state: SpecimenState) -> Table | None:
    """Return the differences to the reference scan in percentage points."""
    found, reference = differences(state), reference_scan(state)
    if not found or reference is None:
        return None
    rows = tuple((*scan_names(s), *(d.cell for d in found[s.scan.name])) for s in state.scans if s.scan.name in found)
    caption = (
        f"Change against {reference.scan.name} ({reference.scan.state}, cycle {reference.scan.cycle}) in percentage "
        f"points, ± combined standard error. ● exceeds {COVERAGE:g} combined errors, ○ does not. Both scans are taken "
        "as independent samples; what thresholds and grey scale add is not in the error."
    )
    phases, raw = state.specimen.phases, []
    for s in state.scans:
        if s.scan.name in found:
            one = found[s.scan.name]
            raw.append((*scan_names(s), *_pairs([d.change for d in one], [d.error for d in one])))
    columns = (*SCAN, *phases)
    return Table(f"{state.name}_differences", caption, columns, rows, raw_columns=_paired(phases), raw=tuple(raw))


def gradient_table(state: SpecimenState) -> Table | None:
    """Return the slopes of the depth profiles in percentage points per 10 µm."""
    if state.metrics is None or "depth_gradient" not in state.metrics:
        return None
    phases, rows, raw = state.specimen.phases, [], []
    for scan in state.scans:
        metrics = state.measured(scan)
        cells, numbers = [], []
        for phase in phases:
            for axis in "zyx":
                value = _pick(metrics, "depth_gradient", phase=phase, axis=axis)
                numbers.append(value)
                cells.append(percent(None if value is None else 10 * value, sign=True))
        rows.append((*scan_names(scan), *cells))
        raw.append((*scan_names(scan), *numbers))
    caption = (
        f"Slopes of straight lines through the depth profiles of the {state.name}, in percentage points per 10 µm "
        "along each axis, counted from the first slice."
    )
    groups = tuple((p, 3) for p in phases)
    full = (*SCAN, *(f"{p} {a} (1/µm)" for p in phases for a in "zyx"))
    columns = (*SCAN, *("zyx" * len(phases)))
    return Table(
        f"{state.name}_gradients", caption, columns, tuple(rows), groups=groups, raw_columns=full, raw=tuple(raw)
    )


def scan_names(scan: ScanState) -> tuple[str, str, str]:
    """Return the cells that tell which scan a row is of."""
    return scan.scan.name, str(scan.scan.cycle), scan.scan.state


def _row_names(row: FractionRow) -> tuple[str, str, str]:
    return row.scan, str(row.cycle), row.state


def _of_phases(metrics: xr.Dataset | None, name: str, phases: Sequence[str]) -> tuple[float | None, ...]:
    return tuple(_pick(metrics, name, phase=p) for p in phases)


def _pick(metrics: xr.Dataset | None, name: str, **where: str) -> float | None:
    if metrics is None or name not in metrics:
        return None
    try:
        value = float(metrics[name].sel(where))
    except KeyError:  # the phases have other names since
        return None
    return value if isfinite(value) else None


def _paired(phases: Sequence[str]) -> tuple[str, ...]:
    return (*SCAN, *(c for p in phases for c in (p, f"{p} error")))


def _pairs(values: Sequence[float | None], errors: Sequence[float | None]) -> list[float | None]:
    return [v for pair in zip(values, errors) for v in pair]
