"""How particles are distributed, as figures: a step curve for each scan, on bins that all scans share."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgsflow.report.figures.drawing import Drawing, axes_of
from mgsflow.report.figures.grey_and_fractions import scan_key
from mgsflow.report.figures.palette import Theme
from mgsflow.report.sections.particles import QUANTITIES, has_particles
from mgsflow.report.state import SpecimenState

#: Share of particles in the bins that are left out of a figure at its upper end, at most, in every scan.
CUT = 0.002


def particle_drawings(state: SpecimenState) -> list[Drawing]:
    """Return the distributions of equivalent diameter, volume per area and sphericity."""
    metrics = state.metrics
    if metrics is None or not has_particles(state):
        return []
    named = tuple((n, c) for (n, c), s in zip(scan_key(state), state.scans) if s.measured)
    drawings = []
    for quantity, (words, units) in QUANTITIES.items():
        if f"{quantity}_share" not in metrics:
            continue
        shares = {n: np.asarray(metrics[f"{quantity}_share"].sel(scan=n).values, dtype=np.float64) for n, _ in named}
        shares = {n: v for n, v in shares.items() if np.isfinite(v).all()}  # no particles, no distribution
        key = tuple((n, c) for n, c in named if n in shares)
        if not key:
            continue
        lower, upper = (np.asarray(metrics[f"{quantity}_{end}"].values, dtype=np.float64) for end in ("lower", "upper"))
        edges = np.append(lower, upper[-1])

        def draw(
            figure: Figure,
            theme: Theme,
            words: str = words,
            units: str = units,
            shares: dict[str, np.ndarray] = shares,
            edges: np.ndarray = edges,
            key: tuple[tuple[str, str], ...] = key,
        ) -> None:
            axes = axes_of(figure, theme)
            for name, colour in key:
                axes.stairs(100 * shares[name], edges, color=colour, lw=1.3, alpha=0.9)
            axes.set_xlim(edges[0], _end(edges, list(shares.values())))
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(MaxNLocator(6))
            axes.set_xlabel(f"{words} in {units}" if units else words)
            axes.set_ylabel("% of particles per bin")

        alt = f"Distribution of the {words} of particles by number, a curve for each scan of {state.name}."
        drawings.append(Drawing(f"{state.name}_{quantity}", alt, (4.0, 2.7), draw, key))
    return drawings


def _end(edges: np.ndarray, shares: list[np.ndarray]) -> float:
    """Return the edge beyond which no scan has more than `CUT` of its particles."""
    beyond = np.max([np.cumsum(s[::-1])[::-1] for s in shares], axis=0)
    kept = np.flatnonzero(beyond > CUT)
    return float(edges[kept[-1] + 1]) if kept.size else float(edges[-1])
