"""Figures as PNG and tables as CSV, for papers and slides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mgsflow.errors import InputError
from mgsflow.report.drawing import Drawing
from mgsflow.report.figures import (
    fraction_drawings,
    histogram_drawings,
    phase_legend,
    profile_drawings,
)
from mgsflow.report.further import further_tables
from mgsflow.report.histograms import histograms, window
from mgsflow.report.palette import PARTICLES, Theme, particle_colour, phase_colour
from mgsflow.report.particle_figures import particle_drawings
from mgsflow.report.particles import particle_table
from mgsflow.report.pictures import particle_indices, to_bytes
from mgsflow.report.slices import Plane, grey_planes, particle_planes, phase_planes, scale_bar
from mgsflow.report.state import ScanState, SpecimenState, StudyState
from mgsflow.report.tables import (
    Table,
    difference_table,
    fractions,
    gradient_table,
    study_table,
)
from mgsflow.report.transport import permeability_table, tortuosity_tables
from mgsflow.report.transport_figures import transport_drawings


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
        for specimen in state.specimens:
            written += [t.write_csv(folder) for t in _tables(specimen)]
            for drawing in _drawings(specimen):
                path = folder / f"{drawing.name}.png"
                path.write_bytes(drawing.png(keyed=True))
                written.append(path)
    except OSError as error:
        raise InputError(f"figures cannot be written to {folder}: {error.strerror or error}") from error
    return written


def _tables(state: SpecimenState) -> list[Table]:
    tables = [fractions(state)] if state.segmented else []
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

        drawings.append(Drawing(f"{state.name}_{scan.scan.name}_slices", "", size, draw, fitted=True))
    return drawings + [_particles(state, scan, plane) for scan in state.scans for plane in particle_planes(state, scan)]


def _particles(state: SpecimenState, scan: ScanState, plane: Plane) -> Drawing:
    def draw(figure: Figure, theme: Theme) -> None:
        _show(figure.subplots(), plane, None, 0, theme)

    size = (4.5, max(1.5, 4.5 * plane.size[0] / plane.size[1] + 0.3))
    return Drawing(f"{state.name}_{scan.scan.name}_particles", "", size, draw, fitted=True)


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
