"""Figures as PNG and SVG, and tables as CSV, for papers and slides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mgsflow.errors import InputError
from mgsflow.report.figures.drawing import Drawing, plain_text
from mgsflow.report.figures.grey_and_fractions import (
    fraction_drawings,
    histogram_drawings,
    phase_legend,
    profile_drawings,
)
from mgsflow.report.figures.histograms import histograms, window
from mgsflow.report.figures.palette import PARTICLES, Theme, particle_colour, phase_colour
from mgsflow.report.figures.particles import particle_drawings
from mgsflow.report.figures.pictures import particle_indices, to_bytes
from mgsflow.report.figures.slices import Plane, grey_planes, particle_planes, phase_planes, scale_bar
from mgsflow.report.figures.transport import transport_drawings
from mgsflow.report.files import write_anew
from mgsflow.report.names import file_name
from mgsflow.report.scene.renderings import Rendering, particle_renderings, phase_renderings
from mgsflow.report.sections.order import further_parts, opening_tables, study_parts
from mgsflow.report.sections.other_measures import further_tables
from mgsflow.report.sections.part import Part
from mgsflow.report.sections.particles import particle_table
from mgsflow.report.sections.transport import permeability_table, tortuosity_tables
from mgsflow.report.state import ScanState, SpecimenState, StudyState
from mgsflow.report.tables import (
    Table,
    difference_table,
    fractions,
    gradient_table,
    study_table,
)


def export(state: StudyState, folder: Path) -> list[Path]:
    """Write each figure and each table of a study to a folder, and return the files.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [study_table(state).write_csv(folder)]
        written += _parts(study_parts(state), folder)
        for specimen in state.specimens:
            written += [t.write_csv(folder) for t in _tables(specimen)]
            for drawing in _drawings(specimen):
                written += _write(drawing, folder)
            written += [_render(r, folder) for r in (*phase_renderings(specimen), *particle_renderings(specimen))]
            written += _parts(further_parts(specimen), folder)
    except OSError as error:
        raise InputError(f"figures cannot be written to {folder}: {error.strerror or error}") from error
    return written


def _parts(parts: Sequence[Part], folder: Path) -> list[Path]:
    written = []
    for part in parts:
        written += [t.write_csv(folder) for t in part.tables]
        written += [path for d in part.drawings for path in _write(d, folder)]
        written += [_render(r, folder) for r in part.renderings]
    return written


def _write(drawing: Drawing, folder: Path) -> list[Path]:
    """Write a figure as PNG, and as SVG where it is not made of pictures."""
    written = [folder / f"{file_name(drawing.name)}.png"]
    write_anew(written[0], drawing.png(keyed=True))
    if not drawing.pictures:
        written.append(folder / f"{file_name(drawing.name)}.svg")
        write_anew(written[1], drawing.svg(keyed=True))
    return written


def _render(rendering: Rendering, folder: Path) -> Path:
    """Write a picture of three dimensions as PNG on white, with its axes and colours named."""
    picture = rendering.draw()
    rows, columns = picture.shape[:2]

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        axes.imshow(picture, extent=(0, columns, rows, 0), interpolation="antialiased")
        for label in rendering.view.labels():
            across = {"left": "right", "right": "left", "beside": "left"}[label.anchor]
            axes.annotate(
                label.text, (label.left * columns, label.top * rows), (3 if across == "left" else -3, 0),
                textcoords="offset points", ha=across, va="center" if label.anchor == "beside" else "top",
                rotation=270 if label.anchor == "beside" else 0, fontsize=7, color=theme.quiet, annotation_clip=False,
            )  # fmt: skip
        axes.set_axis_off()
        said = f" ({rendering.said})" if rendering.said else ""
        axes.set_title(plain_text(f"{rendering.scan}{said}"), fontsize=8, color=theme.ink, loc="left")
        if rendering.bar is not None:
            bar = rendering.bar
            strip = axes.inset_axes((0.0, -0.07, 0.3, 0.025))
            strip.imshow([[to_rgb(c) for c in bar.colours]], aspect="auto", extent=(0, 1, 0, 1))
            strip.set_yticks([])
            strip.set_xticks([0, 1], [bar.low, bar.high], fontsize=7, color=theme.quiet)
            strip.set_xlabel(plain_text(bar.title), fontsize=7, color=theme.quiet)

    path = folder / f"{file_name(rendering.name)}.png"
    write_anew(path, Drawing(rendering.name, "", (5.0, 5.0 * rows / columns + 0.8), draw, fitted=True).png())
    return path


def _tables(state: SpecimenState) -> list[Table]:
    tables = [fractions(state), *opening_tables(state)] if state.segmented else []
    tables += [t for t in (difference_table(state), gradient_table(state)) if t is not None]
    tables += [
        t for t in (particle_table(state), *tortuosity_tables(state), permeability_table(state)) if t is not None
    ]
    return tables + further_tables(state)[0]


def _drawings(state: SpecimenState) -> list[Drawing]:
    array, found = histograms(state)
    drawings = histogram_drawings(state, found, array) + fraction_drawings(state) + profile_drawings(state)
    drawings += particle_drawings(state) + transport_drawings(state)
    drawn = window(found)
    for scan in state.scans:
        grey = grey_planes(state, scan) if drawn else []
        phases = phase_planes(state, scan)
        if not grey and not phases:
            continue
        widths = [p.size[1] for p in (grey or phases)]
        tall = max(p.size[0] for p in (grey or phases)) / sum(widths)
        rows = bool(grey) + bool(phases)
        size = (9.0, max(1.5, 9.0 * tall * rows + 0.7))

        def draw(
            figure: Figure,
            theme: Theme,
            grey: list[Plane] = grey,
            phases: list[Plane] = phases,
            rows: int = rows,
            widths: list[float] = widths,
        ) -> None:
            axes = figure.subplots(rows, 3, squeeze=False, width_ratios=widths)
            for row, planes in zip(axes, [p for p in (grey, phases) if p]):
                for panel, plane in zip(row, planes):
                    _show(panel, plane, drawn, len(state.specimen.phases), theme)
            if phases:
                phase_legend(state.specimen.phases, figure, theme)

        drawings.append(Drawing(f"{state.name}_{scan.scan.name}_slices", "", size, draw, fitted=True, pictures=True))
    return drawings + [_particles(state, scan, plane) for scan in state.scans for plane in particle_planes(state, scan)]


def _particles(state: SpecimenState, scan: ScanState, plane: Plane) -> Drawing:
    def draw(figure: Figure, theme: Theme) -> None:
        _show(figure.subplots(), plane, None, 0, theme)

    size = (4.5, max(1.5, 4.5 * plane.size[0] / plane.size[1] + 0.3))
    return Drawing(f"{state.name}_{scan.scan.name}_particles", "", size, draw, fitted=True, pictures=True)


def _show(axes: Axes, plane: Plane, drawn: tuple[float, float] | None, phases: int, theme: Theme) -> None:
    height, width = plane.size
    if plane.array == "phase":
        colours = np.array([to_rgb(phase_colour(i)) for i in range(max(phases, int(plane.pixels.max()) + 1))])
        rgb = np.round(255 * colours[plane.pixels]).astype(np.uint8)
        if plane.missing is not None:
            rgb[plane.missing] = 255
    elif plane.array == "particle":
        colours = np.array([to_rgb(c) for c in (*map(particle_colour, range(PARTICLES)), "#ffffff")])
        rgb = np.round(255 * colours[particle_indices(plane.pixels)]).astype(np.uint8)
    else:
        assert drawn is not None
        rgb = np.repeat(to_bytes(plane, drawn)[..., None], 3, axis=2)
    smooth = "nearest" if plane.array in ("phase", "particle") else "antialiased"
    axes.imshow(rgb, extent=(0, width, height, 0), interpolation=smooth)
    bar = scale_bar(width)
    left, bottom = 0.035 * width, height - 0.04 * width
    thick = 0.012 * width
    axes.add_patch(Rectangle((left, bottom - thick), bar.length, thick, color="white", ec="black", lw=0.4))
    axes.annotate(
        bar.label, (left, bottom - 1.4 * thick), fontsize=7, color="white", va="bottom",
        bbox={"boxstyle": "square,pad=0.15", "fc": (0, 0, 0, 0.45), "ec": "none"},
    )  # fmt: skip
    axes.set_axis_off()
    axes.set_title(f"{plane.axis} = {plane.position:.4g} µm", fontsize=7.5, color=theme.quiet, loc="left", pad=3)
