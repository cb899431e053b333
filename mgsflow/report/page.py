"""The page: everything the report shows, put into one HTML file that needs nothing else."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mgsflow.errors import InputError
from mgsflow.memory import format_bytes
from mgsflow.report.export import export
from mgsflow.report.figures.drawing import Drawing
from mgsflow.report.figures.grey_and_fractions import (
    MOST_PANELS,
    fraction_drawings,
    histogram_drawings,
    profile_drawings,
    scan_key,
)
from mgsflow.report.figures.histograms import histograms, window
from mgsflow.report.figures.palette import DARK, LIGHT, phase_colour
from mgsflow.report.figures.particles import CUT, particle_drawings
from mgsflow.report.figures.pictures import budget, data_uri, grey_picture, particle_picture, phase_picture
from mgsflow.report.figures.slices import PLANES, Plane, ScaleBar, grey_planes, particle_planes, phase_planes, scale_bar
from mgsflow.report.figures.transport import transport_drawings
from mgsflow.report.files import write_anew
from mgsflow.report.numbers import duration, grouped, moment, significant
from mgsflow.report.scene.render import webp
from mgsflow.report.scene.renderings import Rendering, clear_phase, particle_renderings, phase_renderings
from mgsflow.report.sections.certificates import certificates
from mgsflow.report.sections.methods import methods
from mgsflow.report.sections.order import further_parts, opening_tables, study_parts
from mgsflow.report.sections.other_measures import further_tables
from mgsflow.report.sections.part import Part
from mgsflow.report.sections.particles import has_particles, particle_table
from mgsflow.report.sections.status import status
from mgsflow.report.sections.transport import AXES, permeability_table, tortuosities, tortuosity_tables
from mgsflow.report.state import ScanState, SpecimenState, StudyState, read_state
from mgsflow.report.tables import (
    difference_table,
    fractions,
    gradient_table,
    study_table,
)
from mgsflow.store import Study

#: Height of a scan's planes together, at most, as a share of the width they may have.
_TALLEST = 0.7
#: Inches from which a figure has a row of its own.
_WIDE = 6.0
_HERE = Path(__file__).parent


def write_report(store: str | Path, out: str | Path | None = None, figures: str | Path | None = None) -> Path:
    """Write the report of a study as one HTML file.

    The file holds its pictures and needs no network. It depends on the store alone: the same store gives the same
    file. An unfinished study has a report too, which says what is missing.

    Parameters
    ----------
    store : path
        The study's store.
    out : path, optional
        File to write. Default: beside the store, ``report.html`` for ``study.zarr``, ``NAME-report.html`` for
        another.
    figures : path, optional
        Folder in which each figure is put as PNG and each table as CSV.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StudyNotFound, StoreError
        If there is no study that can be read.
    InputError
        If the file or the folder cannot be written.
    """
    study = Study.open(store)
    state = read_state(study)
    path = Path(out) if out is not None else _beside(Path(store))
    try:
        # before the work, so that it is not done in vain
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        write_anew(path, render(state).encode())
    except OSError as error:
        raise InputError(f"the report cannot be written to {path}: {error.strerror or error}") from error
    if figures is not None:
        export(state, Path(figures))
    return path


def render(state: StudyState) -> str:
    """Return the page of a study."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = sum(len(s.scans) * (8 if s.asks("particles") or has_particles(s) else 6) for s in state.specimens)
    most = budget(pictures)
    page = environment.get_template("report.html").render(
        css=Markup((_HERE / "report.css").read_text(encoding="utf-8")),  # our own file: nothing to escape
        title=state.study.title or "Study",
        notes=state.recipe.get("notes", ""),
        status=status(state),
        certificates=certificates(state),
        methods=methods(state),
        parts=[_part(p) for p in study_parts(state)],
        scans=study_table(state),
        specimens=[_section(s, most) for s in state.specimens],
        runs=[_run(r) for r in reversed(state.runs)],
        versions=state.runs[-1].get("versions", {}) if state.runs else {},
        machine=state.runs[-1].get("machine", "") if state.runs else "",
        digest=state.runs[-1].get("recipe_sha256", "") if state.runs else "",
        recipe=json.dumps(state.recipe, indent=2, ensure_ascii=False) if state.recipe else "",
        checksums=[(s.name, c.scan.name, c.sha256) for s in state.specimens for c in s.scans if c.sha256],
    )
    return page if page.endswith("\n") else page + "\n"


@dataclass(frozen=True)
class Picture:
    """A slice as it stands on the page."""

    uri: str
    alt: str
    position: str
    kind: str
    ratio: str
    bar: ScaleBar
    wide: float
    thin: bool
    partial: bool


def _section(state: SpecimenState, most: int) -> dict[str, Any]:
    array, found = histograms(state)
    drawn_range = window(found)
    further, left = further_tables(state)
    source = ("filter", "segment") if array == "filtered" else ("ingest",)
    partial = [s.scan.name for s in state.scans if s.scan.name in found and not any(map(s.complete, source))]
    return {
        "name": state.name,
        "phases": [(p, phase_colour(i)) for i, p in enumerate(state.specimen.phases)] if state.segmented else [],
        "segmented": state.segmented,
        "scans": [_scan(state, s, drawn_range, most) for s in state.scans],
        "window": None if drawn_range is None else [significant(v) for v in drawn_range],
        "scan_key": [(n, c) for n, c in scan_key(state)],
        "histograms": _figures(histogram_drawings(state, found, array)),
        "histogram_of": {"filtered": "filtered images", "image": "images"}[array],
        "histogram_partial": partial,
        "bins": len(found),
        "thresholds": state.thresholds,
        "views": _views(phase_renderings(state)),
        "through": state.specimen.phases[clear_phase(state)] if state.specimen.phases else "",
        "tables": opening_tables(state),
        "fractions": fractions(state) if state.segmented else None,
        "fraction_figures": _figures(fraction_drawings(state)),
        "differences": difference_table(state),
        "profiles": _figures(profile_drawings(state)),
        "panels": MOST_PANELS,
        "gradients": gradient_table(state),
        "particles": _particles(state, most),
        "transport": _transport(state),
        "parts": [_part(p) for p in further_parts(state)],
        "further": further,
        "left": left,
    }


def _scan(state: SpecimenState, scan: ScanState, drawn: tuple[float, float] | None, most: int) -> dict[str, Any]:
    grey = grey_planes(state, scan)
    phases = phase_planes(state, scan)
    if grey and drawn is None:
        drawn = (min(float(p.pixels.min()) for p in grey), max(float(p.pixels.max()) for p in grey))
        drawn = drawn if drawn[0] < drawn[1] else (drawn[0], drawn[0] + 1)
    pairs = []
    for i in range(3):
        pair = []
        if grey and drawn is not None:
            pair.append(_picture(state, scan, grey[i], data_uri(grey_picture(grey[i], drawn, most)), grey[i]))
        if phases:
            content = phase_picture(phases[i], len(state.specimen.phases), most)
            pair.append(_picture(state, scan, phases[i], data_uri(content), phases[i]))
        if pair:
            pairs.append(pair)
    rows = max((len(p) for p in pairs), default=0)
    shown = grey or phases
    tall = rows * max((p.size[0] for p in shown), default=0.0) / sum(p.size[1] for p in shown) if shown else 0.0
    said = []
    if grey:
        said.append("filtered image" if grey[0].array == "filtered" else "image as read")
        if grey[0].array == "image" and state.filtered:
            said[-1] += " (the filtered one has no coarse level, or is not finished)"
        if grey[0].reduction > 1:
            said.append(f"1 pixel for {grey[0].reduction} voxels")
    unfinished = [str(p) for p in scan.missing if p.step in ("ingest", "filter", "segment")]
    return {
        "name": scan.scan.name,
        "cycle": scan.scan.cycle,
        "state": scan.scan.state,
        "pairs": pairs,
        "rows": rows,
        "widest": min(100, round(100 * _TALLEST / tall)) if tall else 100,
        "said": ", ".join(said),
        "unfinished": unfinished,
        "partial": any(p.partial for pair in pairs for p in pair),
        "failed": state.failed.get(scan.scan.name, ""),
        "no_grey": not grey,
        "no_phases": state.segmented and not phases,
    }


def _particles(state: SpecimenState, most: int) -> dict[str, Any] | None:
    if not (state.asks("particles") or has_particles(state)):
        return None
    scans = []
    for scan in state.scans:
        ids = particle_planes(state, scan)
        planes = [*phase_planes(state, scan)[:1], *ids] if ids else []
        contents = [phase_picture(p, len(state.specimen.phases), most) for p in planes[:-1]]
        contents += [particle_picture(p, most) for p in ids]
        pictures = [_picture(state, scan, p, data_uri(c), p) for p, c in zip(planes, contents)]
        scans.append({"name": scan.scan.name, "pictures": pictures})
    figures = particle_drawings(state)
    return {
        "table": particle_table(state),
        "figures": _figures(figures),
        "cut": f"{100 * CUT:g}",
        "scans": [s for s in scans if s["pictures"]],
        "missing": [s["name"] for s in scans if not s["pictures"]],
        "views": _views(particle_renderings(state)),
    }


def _transport(state: SpecimenState) -> dict[str, Any] | None:
    tables = [*tortuosity_tables(state), *filter(None, [permeability_table(state)])]
    if not tables and not (state.asks("tortuosity") or state.asks("permeability")):
        return None
    figures = transport_drawings(state)
    axes = dict(pair for d in figures for pair in d.key)
    solved = tortuosities(state)
    drawn = {r.phase for r in solved if r.factor is not None}
    return {
        "tables": tables,
        "figures": _figures(figures),
        "axes": [(a, axes[a]) for a in AXES if a in axes],
        "endless": any(r.infinite and r.phase in drawn for r in solved),
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "title": part.title,
        "tables": part.tables,
        "figures": _figures(list(part.drawings)),
        "columns": part.columns,
        "key": part.key,
        "caption": part.caption,
        "views": _views(part.renderings),
        "view": part.view,
        "notes": part.notes,
    }


def _views(renderings: Iterable[Rendering]) -> list[dict[str, Any]]:
    found = []
    for one in renderings:
        picture = one.draw()
        rows, columns = picture.shape[:2]
        found.append(
            {
                "scan": one.scan,
                "said": one.said,
                "alt": one.alt,
                "uri": data_uri(webp(picture)),
                "ratio": f"{columns} / {rows}",
                "widest": columns,
                "labels": one.view.labels(),
                "bar": one.bar,
            }
        )
    return found


def _picture(state: SpecimenState, scan: ScanState, plane: Plane, uri: str, like: Plane) -> Picture:
    height, width = like.size
    rows, columns = PLANES[plane.axis]
    what = {"phase": "Phases", "particle": "Particles"}.get(plane.array, "Grey values")
    where = f"{plane.axis} = {plane.position:.4g} µm"
    alt = (
        f"{what} of {state.name} {scan.scan.name} in the plane {where}: {columns} to the right, {rows} down, "
        f"{width:.4g} by {height:.4g} µm."
    )
    return Picture(
        uri=uri,
        alt=alt,
        position=where,
        kind=plane.array if plane.array in ("phase", "particle") else "grey",
        ratio=f"{width:.6g} / {height:.6g}",
        bar=scale_bar(width),
        wide=width,
        thin=width > 4 * height,
        partial=plane.missing is not None,
    )


def _figures(drawings: list[Drawing]) -> list[dict[str, Any]]:
    return [
        {
            "light": data_uri(d.png(LIGHT)),
            "dark": data_uri(d.png(DARK)),
            "alt": d.alt,
            "key": d.key,
            "ratio": f"{d.size[0]:g} / {d.size[1]:g}",
            "wide": d.size[0] > _WIDE,
        }
        for d in drawings
    ]


def _run(run: dict[str, Any]) -> dict[str, str]:
    peaks = {k: run.get(k) for k in ("planned_peak", "measured_peak")}
    return {
        "started": moment(run.get("started")),
        "took": duration(run.get("started"), run.get("finished")),
        "status": str(run.get("status", "did not end")),
        "blocks": grouped(run["blocks"]) if "blocks" in run else "–",
        **{k: format_bytes(v) if v else "–" for k, v in peaks.items()},
        "error": str(run.get("error", "")),
        "version": str(run.get("versions", {}).get("mgsflow", "–")),
    }


def _beside(store: Path) -> Path:
    store = store.absolute()
    return store.parent / ("report.html" if store.stem == "study" else f"{store.stem}-report.html")
