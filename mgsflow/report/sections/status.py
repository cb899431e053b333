"""The first thing a report says: whether the study is complete, and what its reader should be wary of."""

from __future__ import annotations

from dataclasses import dataclass

from mgsflow.memory import format_bytes
from mgsflow.report.numbers import listing
from mgsflow.report.sections.certificates import cautions
from mgsflow.report.state import SpecimenState, StudyState, analyses

_MANY = 6


@dataclass(frozen=True)
class Status:
    """Headline, and the notes under it.

    Parameters
    ----------
    level : str
        ``complete``, ``warned`` (complete, with warnings) or ``incomplete``.
    headline : str
    missing : tuple of str
        What is not there yet.
    warnings : tuple of str
        What is there, but to be read with care.
    """

    level: str
    headline: str
    missing: tuple[str, ...]
    warnings: tuple[str, ...]


def status(study: StudyState) -> Status:
    """Return what is missing in a study, and what to be wary of."""
    missing: list[str] = []
    warnings: list[str] = []
    if not study.specimens:
        missing.append("There is no specimen in this study yet.")
    for state in study.specimens:
        missing += _missing(state)
        warnings += _warnings(state)
    warnings += _memory(study)
    run = study.runs[-1] if study.runs else {}
    ended = study.attributes.get("status") == "complete"
    if run.get("error"):
        missing.insert(0, f"The last run was stopped: {run['error']}")
    elif run and not ended and not run.get("failed"):  # what failed is said of each scan
        missing.insert(0, "The last run did not end: it is at work, or it was killed.")
    elif not run:
        missing.insert(0, "The study has never been run.")
    if missing:
        headline = "Incomplete. Run the study again: it goes on where it stopped."
        if run.get("failed") and not run.get("error"):
            headline = "Incomplete. Mend what failed, or leave it out, and run the study again."
        return Status("incomplete", headline, tuple(missing), tuple(warnings))
    if warnings:
        count = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
        return Status("warned", f"Complete, with {count}.", (), tuple(warnings))
    return Status("complete", "Complete: every step of every scan is finished.", (), ())


def _missing(state: SpecimenState) -> list[str]:
    stored = {s.scan.name for s in state.scans}
    asked = [s["name"] for s in state.recipe.get("scans", [])]
    found = [f"{state.name}: scan {n} of the study file is not in the store." for n in asked if n not in stored]
    if not state.scans:
        found.append(f"{state.name} has no scan yet.")
    unmeasured = []
    for name, why in state.failed.items():
        found.append(f"{state.name}, {name} was left out; the others are complete without it. {why}")
    for scan in (s for s in state.scans if s.scan.name not in state.failed):
        steps = [str(p) for p in scan.missing]
        if len(steps) > _MANY:
            steps = [*steps[:_MANY], f"{len(steps) - _MANY} more steps"]
        if steps:
            found.append(f"{state.name}, {scan.scan.name}: {'; '.join(steps)}.")
        wanted = state.segmented and (state.recipe.get("measures", True) or analyses(state.recipe))
        if wanted and scan.listed and not scan.measured:
            unmeasured.append(scan.scan.name)
    return found + _of(state, unmeasured, "no measurements yet.")


def _warnings(state: SpecimenState) -> list[str]:
    unlisted = [s.scan.name for s in state.scans if state.recipe and not s.listed]
    found = [f"{state.name}, {text}" for text in state.specimen.attributes.get("input_warnings", [])]
    found += _of(state, unlisted, "not in the study file of the last run; what the store has of it is from before.")
    stale = [s.scan.name for s in state.scans if s.measured and s.progress and not s.complete("segment")]
    found += _of(state, stale, "the numbers are those of an earlier run; the phases are being made anew.")
    steps = analyses(state.recipe) if state.segmented else []
    behind = [
        s.scan.name
        for s in state.scans
        if s.measured and s.listed and s.complete("segment") and (s.separating or not all(map(s.complete, steps)))
    ]
    found += _of(state, behind, "the numbers of particles and transport are those of an earlier run, or missing.")
    if state.recipe and not state.segmented:
        found.append(f"{state.name}: the study asks for grey images only; there are no phases to measure.")
    return found + _thresholds(state) + _errors(state) + cautions(state)


def _of(state: SpecimenState, scans: list[str], text: str) -> list[str]:
    """Return one line on some scans, naming the first few."""
    if not scans:
        return []
    named = scans if len(scans) <= _MANY else [*scans[:_MANY], f"{len(scans) - _MANY} more"]
    return [f"{state.name}, {listing(named)}: {text}"]


def _thresholds(state: SpecimenState) -> list[str]:
    if not (state.recipe.get("segment") or {}).get("multi_otsu"):
        return []
    fitted = set((state.specimen.attributes.get("thresholds") or {}).get("fitted_to") or [])
    names = [s.scan.name for s in state.scans if s.listed]
    others = [n for n in names if n not in fitted]
    if not fitted or not others:
        return []
    text = (
        f"{state.name}: thresholds were fitted before {listing(others)} {'was' if len(others) == 1 else 'were'} added, "
        "and kept so that scans stay comparable."
    )
    return [text + " Run with --refit to fit them to all scans."]


def _errors(state: SpecimenState) -> list[str]:
    if state.metrics is None or "volume_fraction_error" not in state.metrics:
        return []
    small = []
    for scan in state.scans:
        metrics = state.measured(scan)
        if metrics is None:
            continue
        unknown = metrics["volume_fraction_error"].isnull() & (metrics["volume_fraction"] > 0)
        if bool(unknown.any()):
            small.append(scan.scan.name)
    return _of(state, small, "too small for an error of the volume fractions.")


def _memory(study: StudyState) -> list[str]:
    run = study.runs[-1] if study.runs else {}
    planned, measured = run.get("planned_peak"), run.get("measured_peak")
    if planned and measured and run.get("blocks") and measured > planned:
        return [f"A worker took {format_bytes(measured)} of memory, more than the {format_bytes(planned)} planned."]
    return []
