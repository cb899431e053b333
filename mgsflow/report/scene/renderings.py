"""Three-dimensional pictures of scans: their phases, and their particles, each in a colour of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from mgsflow.report.figures.palette import PARTICLES, particle_colour, phase_colour
from mgsflow.report.numbers import listing, significant
from mgsflow.report.scene.render import Scene, View
from mgsflow.report.scene.volumes import Drawn, particle_volume, phase_volume
from mgsflow.report.state import ScanState, SpecimenState
from mgsflow.report.tables import fraction_rows

#: Width of a picture in pixels; where there are more scans than `_MANY`, of a small one.
WIDTH, _SMALL, _LEAST, _MANY = 560, 360, 160, 8
#: Colours of numbers, from the least to the largest: both ends visible on white and near-black.
RAMP = "plasma"
RAMP_ENDS = (0.05, 0.88)


@dataclass(frozen=True)
class ColourBar:
    """What colours stand for: a title with units, the numbers at both ends, and colours between."""

    title: str
    low: str
    high: str
    colours: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Rendering:
    """A picture of a scan in three dimensions.

    Parameters
    ----------
    name : str
        File name.
    scan : str
    said : str
        What is drawn, if not all.
    alt : str
    view : View
    draw : callable
        Returns the picture, (rows, columns, 4) bytes.
    bar : ColourBar or None
    """

    name: str
    scan: str
    said: str
    alt: str
    view: View
    draw: Callable[[], np.ndarray]
    bar: ColourBar | None = None


def picture_width(state: SpecimenState, longest: int = 10_000) -> int:
    """Return the width of each scan's picture: small where there are many scans, or few voxels to be seen."""
    return max(_LEAST, min(WIDTH if len(state.scans) <= _MANY else _SMALL, 2 * longest))


def ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return colours (n, 3) in bytes of values between two."""
    share = np.clip((np.asarray(values, np.float64) - low) / ((high - low) or 1.0), 0, 1)
    a, b = RAMP_ENDS
    return np.asarray(np.round(255 * colormaps[RAMP](a + (b - a) * share)[:, :3]).astype(np.uint8))


def colour_bar(title: str, low: float, high: float) -> ColourBar:
    """Return the bar of `ramp`."""
    a, b = RAMP_ENDS
    colours = tuple(to_hex(colormaps[RAMP](a + (b - a) * t)) for t in np.linspace(0, 1, 9))
    return ColourBar(title, significant(low, 3), significant(high, 3), colours)


def clear_phase(state: SpecimenState) -> int:
    """Return the phase that is left clear: the most frequent one, the same in all scans."""
    rows = fraction_rows(state)
    means = [
        np.mean([f for r in rows if (f := r.fractions[label]) is not None] or [nan])
        for label in range(len(state.specimen.phases))
    ]
    return int(np.nanargmax(means)) if np.isfinite(means).any() else 0


def phase_renderings(state: SpecimenState) -> list[Rendering]:
    """Return a picture of each scan's phases, but for the most frequent one, through which one looks."""
    clear = clear_phase(state)
    phases = state.specimen.phases
    shown = [p for i, p in enumerate(phases) if i != clear]
    found = []
    for scan in state.scans:
        if (drawn := phase_volume(state, scan)) is not None:
            # what is outside the region has a label beyond the phases'
            seen = (drawn.labels != clear) & (drawn.labels < len(phases))
            labels = np.where(seen, drawn.labels + 1, 0).astype(np.uint8)
            colours = [phase_colour(i) for i in range(len(phases))]
            alt = f"{listing(shown)} of {state.name} {scan.scan.name} in three dimensions; {phases[clear]} is clear."
            found.append(voxel_rendering(state, scan, "phases_3d", drawn, labels, colours, alt))
    return found


def particle_renderings(state: SpecimenState) -> list[Rendering]:
    """Return a picture of each scan's particles in three dimensions."""
    colours = [particle_colour(k) for k in range(PARTICLES)]
    found = []
    for scan in state.scans if state.segmented else ():
        if (drawn := particle_volume(state, scan)) is not None:
            alt = f"Particles of {state.name} {scan.scan.name} in three dimensions, each in a colour of its own."
            found.append(voxel_rendering(state, scan, "particles_3d", drawn, drawn.labels, colours, alt))
    return found


def voxel_rendering(
    state: SpecimenState,
    scan: ScanState,
    what: str,
    drawn: Drawn,
    labels: np.ndarray,
    colours: Sequence[str],
    alt: str,
) -> Rendering:
    """Return a picture of labelled voxels in their box."""
    view = View(drawn.lengths, picture_width(state, max(labels.shape)))

    def draw() -> np.ndarray:
        scene = Scene(view)
        scene.add_voxels(labels, colours)
        scene.add_frame()
        return scene.shade()

    return Rendering(f"{state.name}_{scan.scan.name}_{what}", scan.scan.name, drawn.said, alt, view, draw)
