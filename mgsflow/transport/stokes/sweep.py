"""Sweeps over the planes of a field, distributed over threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mgsflow.solvers.team import Team

MIN_VOXELS = 200_000
"""Fewest voxels for which it pays to wake a thread."""

_MIN_PLANES = 12
"""Fewest planes of a range: up to four are computed twice at a cut."""


def sweep(
    team: Team, kernel: Callable[..., Any], start: int, stop: int, plane: int, *args: Any, align: int = 1
) -> None:
    """Call ``kernel(a, b, *args)`` on ranges of planes from `start` to `stop`.

    Parameters
    ----------
    team : Team
    kernel : callable
        Its result for a plane must not depend on the range.
    start, stop : int
    plane : int
        Voxels of a plane.
    *args
        Further arguments of the kernel.
    align : int
        Ranges start at multiples of this, counted from `start`.
    """
    # two ranges a thread: one that is held up leaves half its work to the other
    grain = max(MIN_VOXELS // plane, _MIN_PLANES, (stop - start) // (2 * team.threads))
    team.run(kernel, start, stop, *args, grain=grain, align=align)
