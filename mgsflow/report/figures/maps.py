"""Numbers in a plane as colours: one map for each scan, all on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from mgsflow.report.figures.drawing import SMALL, Drawing, plain_text
from mgsflow.report.figures.palette import Theme

_ACROSS = 4
_COLOURS = "plasma"


@dataclass(frozen=True, eq=False)
class Map:
    """A map of one scan.

    Parameters
    ----------
    title : str
    values : ndarray, shape (rows, columns)
        NaN where there is nothing.
    size : (float, float)
        Height and width in µm.
    """

    title: str
    values: np.ndarray
    size: tuple[float, float]


def map_drawings(
    name: str, alt: str, maps: Sequence[Map], units: str, axes: tuple[str, str], least: float | None = 0.0
) -> list[Drawing]:
    """Return maps side by side, as many rows as they need, with one bar of colours.

    Parameters
    ----------
    name, alt : str
        Of the drawing.
    maps : sequence of Map
    units : str
        What the numbers are.
    axes : (str, str)
        To the right, and down.
    least : float or None
        Number of the darkest colour; None for that of the maps.
    """
    known = [m.values[np.isfinite(m.values)] for m in maps]
    known = [k for k in known if k.size]
    if not known:
        return []
    low = min(float(np.quantile(k, 0.002)) for k in known) if least is None else least
    high = max(float(np.quantile(k, 0.998)) for k in known)
    high = high if high > low else low + 1.0
    across = min(_ACROSS, max(2, len(maps)))
    down = -(-len(maps) // across)
    width = 9.0
    tall = max(m.size[0] / m.size[1] for m in maps)
    height = down * ((width - 0.9) / across * min(tall, 2.0) + 0.42) + 0.2

    def draw(figure: Figure, theme: Theme) -> None:
        panels = figure.subplots(down, across, squeeze=False)
        for panel, one in zip(panels.ravel(), maps):
            image = panel.imshow(
                one.values, cmap=_COLOURS, vmin=low, vmax=high, extent=(0, one.size[1], one.size[0], 0),
                interpolation="nearest",
            )  # fmt: skip
            panel.set_title(plain_text(one.title), fontsize=SMALL, color=theme.ink, loc="left", pad=3)
            panel.tick_params(colors=theme.quiet, labelsize=SMALL - 1.5, width=0.5, color=theme.line, length=2)
            for side in panel.spines.values():
                side.set_visible(False)
        for panel in panels.ravel()[len(maps) :]:
            panel.set_axis_off()
        for panel in panels[:, 0]:
            panel.set_ylabel(f"{axes[1]} in µm", fontsize=SMALL - 0.5, color=theme.quiet)
        panels[-1, 0].set_xlabel(f"{axes[0]} in µm", fontsize=SMALL - 0.5, color=theme.quiet)
        bar = figure.colorbar(image, ax=panels, fraction=0.025, pad=0.015, aspect=28)
        bar.set_label(units, fontsize=SMALL, color=theme.quiet)
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=theme.quiet, labelsize=SMALL - 1, width=0.5, color=theme.line)

    return [Drawing(name, alt, (width, height), draw, fitted=True, pictures=True)]
