"""Colours: one for each phase, the same in every figure, and a ramp for the cycles.

The first phases differ in lightness as well as in hue, so that they stay apart in any kind of colour vision and in
print without colour; all are visible on white and on near-black.
"""

from __future__ import annotations

from colorsys import hls_to_rgb
from dataclasses import dataclass

_PHASES = ("#656e7c", "#4398d4", "#e9a820", "#2a9d6f", "#c9639b", "#cf5a1e", "#8d7bd0", "#b4bf3a")
#: From the first cycle to the last: dark to light violet-to-orange, both ends visible on white and near-black.
_RAMP = ((88, 106, 196), (146, 88, 182), (203, 84, 138), (228, 118, 84), (226, 164, 58))

#: Of the axes z, y and x: none is a phase's or a scan's.
AXES = {"z": "#1596a0", "y": "#b0457c", "x": "#8b7d1d"}
#: Colours that particles share out among them.
PARTICLES = 252


@dataclass(frozen=True)
class Theme:
    """Colours of a figure's paper and ink."""

    name: str
    paper: str
    ink: str
    quiet: str
    line: str


LIGHT = Theme("light", "#ffffff", "#23272e", "#656d78", "#d9dde3")
DARK = Theme("dark", "#1b1f25", "#e4e7eb", "#9aa3af", "#3a414b")


def phase_colour(label: int) -> str:
    """Return the colour of a phase by its label."""
    if label < len(_PHASES):
        return _PHASES[label]
    # steps of the golden angle: any number of hues, neighbours far apart
    hue = (0.61803398875 * (label - len(_PHASES)) + 0.07) % 1
    r, g, b = hls_to_rgb(hue, (0.45, 0.6, 0.35)[label % 3], 0.55)
    return f"#{round(255 * r):02x}{round(255 * g):02x}{round(255 * b):02x}"


def particle_colour(index: int) -> str:
    """Return one of the colours of particles, 0 to `PARTICLES` - 1."""
    hue = (0.61803398875 * index + 0.02) % 1
    r, g, b = hls_to_rgb(hue, (0.5, 0.62, 0.56)[index % 3], (0.62, 0.5)[index % 2])
    return f"#{round(255 * r):02x}{round(255 * g):02x}{round(255 * b):02x}"


def scan_colour(index: int, count: int) -> str:
    """Return the colour of a scan by its place among the scans in order of cycle."""
    at = index / (count - 1) * (len(_RAMP) - 1) if count > 1 else 0.0
    low = min(int(at), len(_RAMP) - 2)
    part = at - low
    return "#" + "".join(f"{round(a + part * (b - a)):02x}" for a, b in zip(_RAMP[low], _RAMP[low + 1]))


def ink_on(colour: str) -> str:
    """Return black or white, whichever reads better on a colour."""
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return "#000000" if 0.2126 * r**2.2 + 0.7152 * g**2.2 + 0.0722 * b**2.2 > 0.22 else "#ffffff"
