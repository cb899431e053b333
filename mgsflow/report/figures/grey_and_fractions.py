"""Figures of grey values, volume fractions and depth profiles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter

from mgsflow.report.figures.drawing import SMALL, Drawing, axes_of, panels_of, plain_text, titled
from mgsflow.report.figures.histograms import curves
from mgsflow.report.figures.palette import Theme, ink_on, phase_colour, scan_colour
from mgsflow.report.numbers import plain
from mgsflow.report.state import SpecimenState
from mgsflow.report.tables import FractionRow, fraction_rows
from mgsflow.segmentation import GreyHistogram

_POINTS = 600
#: Phases that get a panel; a study of more has them in its tables.
MOST_PANELS = 12


def scan_key(state: SpecimenState) -> tuple[tuple[str, str], ...]:
    """Return the name and colour of each scan, in order of cycle."""
    count = len(state.scans)
    return tuple((s.scan.name, scan_colour(i, count)) for i, s in enumerate(state.scans))


def histogram_drawings(state: SpecimenState, found: dict[str, GreyHistogram], array: str) -> list[Drawing]:
    """Return the grey histograms of all scans with thresholds: with a linear, and with a logarithmic scale."""
    if not found:
        return []
    key = tuple((n, c) for n, c in scan_key(state) if n in found)
    grey, shares = curves(found)
    width = float(grey[1] - grey[0]) if grey.size > 1 else 1.0
    thresholds = state.thresholds

    def draw(figure: Figure, theme: Theme, log: bool) -> None:
        axes = axes_of(figure, theme)
        edges = [float(grey[0]) - width / 2, *thresholds, float(grey[-1]) + width / 2]
        for label, (low, high) in enumerate(pairwise(edges)):
            if thresholds and high > low:
                axes.axvspan(low, high, color=phase_colour(label), alpha=0.13, lw=0)
        for name, colour in key:
            share = 100 * shares[name]
            axes.plot(grey, np.where(share > 0, share, np.nan) if log else share, color=colour, lw=1.2)
        for value in thresholds:
            axes.axvline(value, color=theme.quiet, lw=0.8, ls=(0, (4, 3)))
            axes.annotate(
                plain(value), (value, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="center", va="bottom", fontsize=SMALL, color=theme.quiet, annotation_clip=True,
            )  # fmt: skip
        axes.set_xlim(edges[0], edges[-1])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(lambda v, _: plain(v))
        axes.set_xlabel("grey value")
        axes.set_ylabel("% of voxels per bin")
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}" if v >= 1e-3 else f"{v:.0e}".replace("e-0", "e-"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(bottom=0)

    what = {"filtered": "filtered images", "image": "images"}[array]
    drawings = []
    for scale, log in (("linear", False), ("logarithmic", True)):
        alt = f"Grey histograms of the {what} of {state.name}, {scale} scale, with the thresholds between phases."
        name = f"{state.name}_histogram_{'log' if log else 'linear'}"
        drawings.append(Drawing(name, alt, (5.0, 3.3), partial(draw, log=log), key))
    return drawings


def fraction_drawings(state: SpecimenState) -> list[Drawing]:
    """Return the fractions of all phases stacked, scan by scan, and each phase against the cycle."""
    rows = [r for r in fraction_rows(state) if any(f is not None for f in r.fractions)]
    if not rows:
        return []
    phases = state.specimen.phases
    key = tuple((p, phase_colour(i)) for i, p in enumerate(phases))
    shown = min(len(phases), MOST_PANELS)
    alt = f"Stacked bars: volume fractions of {', '.join(phases)} in each scan of {state.name}; numbers in the table."
    bars = Drawing(
        f"{state.name}_fractions_stacked", alt, (5.0, max(3.0, 1.45 * shown)), lambda f, t: _stacked(f, t, rows), key
    )
    if len({r.cycle for r in rows}) < 2:
        return [bars]
    alt = f"Volume fraction of each phase of {state.name} against the cycle, with its standard error."
    height = max(3.0, 1.45 * shown)
    lines = Drawing(f"{state.name}_fractions_cycle", alt, (5.0, height), lambda f, t: _by_cycle(f, t, rows, shown))
    return [bars, lines]


def profile_drawings(state: SpecimenState) -> list[Drawing]:
    """Return, for each axis, the depth profiles of the phases in all scans."""
    metrics = state.metrics
    if metrics is None:
        return []
    phases = state.specimen.phases[:MOST_PANELS]
    key = tuple((n, c) for (n, c), s in zip(scan_key(state), state.scans) if s.measured)
    drawings = []
    for axis in "zyx":
        name = f"depth_profile_{axis}"
        if name not in metrics:
            continue
        known = [p for p in phases if p in metrics["phase"].values]
        depth = np.asarray(metrics[axis].values, dtype=np.float64)
        lines = {n: np.asarray(metrics[name].sel(scan=n, phase=known).values, dtype=np.float64) for n, _ in key}
        alt = f"Volume fraction of {', '.join(known)} in each slice along {axis}, a line for each scan of {state.name}."

        def draw(
            figure: Figure,
            theme: Theme,
            axis: str = axis,
            depth: np.ndarray = depth,
            lines: dict[str, np.ndarray] = lines,
            known: list[str] = known,
        ) -> None:
            panels = panels_of(figure, theme, len(known))
            for i, (panel, phase) in enumerate(zip(panels, known)):
                for scan, colour in key:
                    x, y = _thinned(depth, lines[scan][i])
                    panel.plot(x, 100 * y, color=colour, lw=0.9, alpha=0.9)
                titled(panel, phase, theme, phase_colour(state.specimen.phases.index(phase)))
                panel.set_ylabel("%")
                panel.yaxis.set_major_locator(MaxNLocator(4))
                panel.set_xlim(0, float(depth[-1]) + float(depth[0]))
            panels[-1].set_xlabel(f"{axis} in µm")

        if known and key:
            drawings.append(Drawing(f"{state.name}_profile_{axis}", alt, (4.0, 0.5 + 1.45 * len(known)), draw, key))
    return drawings


def _stacked(figure: Figure, theme: Theme, rows: Sequence[FractionRow]) -> None:
    axes = axes_of(figure, theme)
    at = np.arange(len(rows))
    below = np.zeros(len(rows))
    for label in range(len(rows[0].phases)):
        part = np.array([100 * (r.fractions[label] or 0.0) for r in rows])
        colour = phase_colour(label)
        axes.bar(at, part, 0.72, bottom=below, color=colour, lw=0)
        if len(rows) <= 8:
            for x, height, base in zip(range(len(rows)), part.tolist(), below.tolist()):
                if height >= 5:
                    axes.text(
                        x, base + height / 2, f"{height:.1f}", ha="center", va="center", fontsize=SMALL,
                        color=ink_on(colour),
                    )  # fmt: skip
        below += part
    every = -(-len(rows) // 8)
    names = [r.scan if len(r.scan) <= 14 else r.scan[:13] + "…" for r in rows]
    crowded = len(names) > 4 and max(map(len, names)) > 7
    axes.set_xticks(at[::every], [plain_text(n) for n in names[::every]], rotation=30 if crowded else 0)
    if crowded:
        for label_text in axes.get_xticklabels():
            label_text.set_horizontalalignment("right")
    axes.set_ylim(0, 100)
    axes.set_xlim(-0.6, max(len(rows), 4) - 0.4)  # few bars are no wider than four
    axes.set_ylabel("% of the volume")
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _by_cycle(figure: Figure, theme: Theme, rows: list[FractionRow], shown: int) -> None:
    panels = panels_of(figure, theme, shown)
    for label, panel in enumerate(panels):
        colour = phase_colour(label)
        given = [r for r in rows if r.fractions[label] is not None]
        cycles = np.array([r.cycle for r in given], dtype=np.float64)
        values = np.array([100 * (r.fractions[label] or 0.0) for r in given])
        errors = np.array([100 * (r.errors[label] or 0.0) for r in given])
        means = [values[cycles == c].mean() for c in np.unique(cycles)]
        panel.plot(np.unique(cycles), means, color=colour, lw=1.2, alpha=0.6)
        panel.errorbar(
            cycles, values, errors, fmt="o", ms=4.5, color=colour, ecolor=theme.ink, elinewidth=0.9, capsize=2.5
        )
        titled(panel, rows[0].phases[label], theme, colour)
        panel.set_ylabel("%")
        panel.yaxis.set_major_locator(MaxNLocator(4))
        panel.margins(x=0.05, y=0.2)
        low, _ = panel.get_ylim()
        panel.set_ylim(bottom=max(0.0, low))
    panels[-1].set_xlabel("cycle")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))


def phase_legend(phases: Sequence[str], figure: Figure, theme: Theme) -> None:
    """Put a key of the phases under a figure."""
    handles = [Patch(color=phase_colour(i), label=plain_text(p)) for i, p in enumerate(phases[: 2 * MOST_PANELS])]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(6, len(handles)), frameon=False, fontsize=SMALL,
        labelcolor=theme.ink,
    )  # fmt: skip


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a profile's values, means of neighbouring slices where there are more than can be seen."""
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    step = -(-x.size // _POINTS)
    if step <= 1:
        return x, y
    whole = x.size // step * step
    return x[:whole].reshape(-1, step).mean(axis=1), y[:whole].reshape(-1, step).mean(axis=1)
