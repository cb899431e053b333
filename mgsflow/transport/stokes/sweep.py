"""How the planes of a field are shared out to threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mgsflow.solvers.team import Team

WORTH = 200_000
"""Voxels for which it pays to wake a thread."""

_MARGIN = 12
"""Planes at least: up to four are computed twice at a cut."""


def sweep(
    team: Team, kernel: Callable[..., Any], start: int, stop: int, plane: int, *args: Any, align: int = 1
) -> None:
    """Call ``kernel(a, b, *args)`` on ranges of planes from `start` to `stop`.

    Parameters
    ----------
    team : Team
    kernel : callable
        What it computes of a plane must not depend on the range.
    start, stop : int
    plane : int
        Voxels of a plane.
    *args
        What the kernel takes beside the range.
    align : int
        Ranges start at multiples of this, counted from `start`.
    """
    # two ranges a thread: one that is held up leaves half its work to the other
    grain = max(WORTH // plane, _MARGIN, (stop - start) // (2 * team.threads))
    team.run(kernel, start, stop, *args, grain=grain, align=align)
