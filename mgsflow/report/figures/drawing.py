"""A figure that can be drawn in any theme, and the style that all figures have.

Drawn with matplotlib's objects alone: no state is shared, so that threads may draw at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation
from PIL import Image

from mgsflow.report.figures.palette import LIGHT, Theme

#: Size of small print in points.
SMALL = 8.0
#: Scans named in a figure's key.
_KEYED = 16


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn in any theme.

    Parameters
    ----------
    name : str
        File name of its PNG.
    alt : str
        What it shows, for those who cannot see it.
    size : tuple of float
        Width and height in inches; 72 pixels of a page an inch and a half.
    draw : callable
        Takes an empty figure and a theme.
    key : tuple of (str, str)
        Names and colours of the lines: for a key that stands with the figure.
    fitted : bool
        Whether margins must be fitted to what stands in them, which takes its time.
    pictures : bool
        Whether it is made of pictures, so that it is not written as lines, and needs many colours.
    """

    name: str
    alt: str
    size: tuple[float, float]
    draw: Callable[[Figure, Theme], None]
    key: tuple[tuple[str, str], ...] = ()
    fitted: bool = False
    pictures: bool = False

    def png(self, theme: Theme = LIGHT, keyed: bool = False) -> bytes:
        """Return the figure as PNG; `keyed` puts the key into it."""
        figure = self._figure(theme, keyed)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        width, height = canvas.get_width_height()
        image = Image.frombuffer("RGBA", (width, height), canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")
        out = BytesIO()
        # few colours: a palette of them takes a third of the bytes
        colours = 256 if self.pictures else 192
        few = image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(out, "PNG", optimize=True)
        return out.getvalue()

    def svg(self, theme: Theme = LIGHT, keyed: bool = False) -> bytes:
        """Return the figure as SVG, its letters drawn as paths."""
        figure, out = self._figure(theme, keyed), BytesIO()
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
        return out.getvalue()

    def _figure(self, theme: Theme, keyed: bool) -> Figure:
        fitted = self.fitted or keyed
        figure = Figure(figsize=self.size, dpi=200, layout="constrained" if fitted else None, facecolor=theme.paper)
        if not fitted:  # the same margins, in inches, for all: panels side by side are aligned
            width, height = self.size
            left, right, bottom, top = 0.62 / width, 1 - 0.1 / width, 0.47 / height, 1 - 0.25 / height
            figure.subplots_adjust(left, bottom, right, top, hspace=0.3)
        self.draw(figure, theme)
        if keyed and self.key:
            handles = [Line2D([], [], color=c, label=plain_text(n)) for n, c in self.key[:_KEYED]]
            figure.legend(
                handles=handles,
                loc="outside lower center",
                ncols=min(4, len(handles)),
                frameon=False,
                fontsize=SMALL,
                labelcolor=theme.ink,
            )
        return figure


def panels_of(figure: Figure, theme: Theme, count: int) -> list[Axes]:
    """Return panels one above the other."""
    axes = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    return [_styled(a, theme) for a in axes]


def axes_of(figure: Figure, theme: Theme) -> Axes:
    """Return the axes of a figure that is one panel."""
    return _styled(figure.subplots(), theme)


def _styled(axes: Axes, theme: Theme) -> Axes:
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.line)
    axes.tick_params(colors=theme.quiet, labelsize=SMALL, width=0.6, color=theme.line)
    axes.xaxis.label.set(color=theme.quiet, fontsize=SMALL)
    axes.yaxis.label.set(color=theme.quiet, fontsize=SMALL)
    axes.grid(visible=True, axis="y", color=theme.line, lw=0.5)
    axes.set_axisbelow(True)
    return axes


def titled(axes: Axes, phase: str, theme: Theme, colour: str) -> None:
    """Put a title with a mark in a colour over a panel."""
    axes.set_title(
        plain_text(phase), loc="left", fontsize=SMALL + 0.5, color=theme.ink, fontweight="bold", x=0.025, pad=4
    )
    above = axes.transAxes + ScaledTranslation(0, 6 / 72, axes.figure.dpi_scale_trans)  # the same for any height
    axes.plot([0.004], [1], "s", ms=5, color=colour, transform=above, clip_on=False)


def plain_text(text: str) -> str:
    """Return a text that matplotlib draws as it is: no mathematics between dollars, no letters its font lacks."""
    return "".join(c if ord(c) in _letters() else "□" for c in text).replace("$", r"\$")


@cache
def _letters() -> frozenset[int]:
    # matplotlib's own font, and what it falls back on; □ is in it
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
