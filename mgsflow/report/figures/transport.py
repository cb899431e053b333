"""Tortuosity and permeability against the cycle, a line for each axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgsflow.report.figures.drawing import SMALL, Drawing, panels_of, titled
from mgsflow.report.figures.grey_and_fractions import MOST_PANELS
from mgsflow.report.figures.palette import AXES, Theme, phase_colour
from mgsflow.report.numbers import ten_to, thousands
from mgsflow.report.sections.transport import PermeabilityRow, TortuosityRow, permeabilities, tortuosities
from mgsflow.report.state import SpecimenState

_MARKS = {"z": "o", "y": "s", "x": "^"}
#: Cycle, axis, number (None where there is none), and whether it is infinite.
_Point = tuple[int, str, float | None, bool]


def transport_drawings(state: SpecimenState) -> list[Drawing]:
    """Return τ of each phase, and K, against the cycle: where two cycles or more are solved."""
    drawings = []
    rows = tortuosities(state)
    points = {p: [_tortuosity(r) for r in rows if r.phase == p] for p in state.specimen.phases}
    shown = [p for p, of in points.items() if _drawable(of)][:MOST_PANELS]
    if shown:
        alt = f"Tortuosity factor of {', '.join(shown)} of {state.name} against the cycle, a line for each axis."
        key = _key([point for p in shown for point in points[p]])

        def draw(figure: Figure, theme: Theme) -> None:
            panels = panels_of(figure, theme, len(shown))
            for panel, phase in zip(panels, shown):
                _lines(panel, points[phase])
                titled(panel, phase, theme, phase_colour(state.specimen.phases.index(phase)))
                panel.set_ylabel("tortuosity factor τ")
            _cycles(panels[-1])

        drawings.append(Drawing(f"{state.name}_tortuosity_cycle", alt, (4.0, _height(len(shown))), draw, key))
    flows = permeabilities(state)
    if _drawable([_permeability(r) for r in flows]):
        alt = f"Permeability of {state.name} against the cycle, a line for each axis."
        power = thousands([r.permeability for r in flows])
        shrunk = [(c, a, None if v is None else v / 10.0**power, inf) for c, a, v, inf in map(_permeability, flows)]

        def draw_flow(figure: Figure, theme: Theme) -> None:
            panel = panels_of(figure, theme, 1)[0]
            _lines(panel, shrunk)
            panel.set_ylabel(f"permeability K in {ten_to(power)}µm²")
            _cycles(panel)

        name = f"{state.name}_permeability_cycle"
        drawings.append(Drawing(name, alt, (4.0, _height(1)), draw_flow, _key(shrunk)))
    return drawings


def _tortuosity(row: TortuosityRow) -> _Point:
    return row.cycle, row.axis, row.factor, row.infinite


def _permeability(row: PermeabilityRow) -> _Point:
    return row.cycle, row.axis, row.permeability, False


def _drawable(points: Sequence[_Point]) -> bool:
    return len({p[0] for p in points}) > 1 and any(p[2] is not None for p in points)


def _key(points: Sequence[_Point]) -> tuple[tuple[str, str], ...]:
    return tuple((a, c) for a, c in AXES.items() if any(p[1] == a for p in points))


def _lines(panel: Axes, points: Sequence[_Point]) -> None:
    for axis, colour in AXES.items():
        here = [(c, v) for c, a, v, _ in points if a == axis and v is not None]
        cycles, values = (np.array(one, dtype=np.float64) for one in (zip(*here) if here else ((), ())))
        order = np.unique(cycles)
        panel.plot(order, [values[cycles == c].mean() for c in order], color=colour, lw=1.2, alpha=0.75)
        panel.plot(cycles, values, _MARKS[axis], ms=4.5, color=colour, alpha=0.9)
        for cycle in (c for c, a, _, endless in points if a == axis and endless):
            panel.annotate(
                "∞", (cycle, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha={"z": "right", "y": "center", "x": "left"}[axis], va="top", fontsize=SMALL + 3, color=colour,
            )  # fmt: skip
    panel.yaxis.set_major_locator(MaxNLocator(5))
    panel.margins(y=0.25)
    low, _ = panel.get_ylim()
    panel.set_ylim(bottom=max(0.0, low))
    all_cycles = [c for c, *_ in points]
    room = 0.06 * (max(all_cycles) - min(all_cycles))
    panel.set_xlim(min(all_cycles) - room, max(all_cycles) + room)


def _cycles(panel: Axes) -> None:
    panel.set_xlabel("cycle")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def _height(panels: int) -> float:
    return 0.9 + 1.8 * panels
