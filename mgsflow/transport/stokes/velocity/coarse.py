"""Coarse levels of the velocity multigrid: boxes of faces, level by level, down to a few that are solved directly.

Two cycles are combined on every coarse level by the Chebyshev polynomial of degree two on [¼, 1], an algebraic
multilevel iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.solvers.arithmetic import inverse, times_symmetric
from mgsflow.solvers.team import Team
from mgsflow.transport.stokes.sweep import sweep
from mgsflow.transport.stokes.velocity.coarse_kernel import (
    apply_boxes,
    correct_and_smooth_boxes,
    smooth_boxes_and_restrict,
    sum_boxes,
)
from mgsflow.transport.stokes.velocity.faces import wrap

MAX_DIRECT = 300
"""Most boxes that are solved directly: where walls are few, smoothers do not reduce the mean flow."""


def chebyshev_steps(degree: int, ratio: float, top: float = 2.0) -> np.ndarray:
    """Return (α, β) of each Chebyshev step on [top / ratio, top]: x₊ = x + α (x − x₋) + β D⁻¹ (b − A x)."""
    low = top / ratio
    middle, radius = (low + top) / 2, (top - low) / 2
    sigma = middle / radius
    rho = 1 / sigma
    steps = [(0.0, 1 / middle)]
    for _ in range(1, degree):
        after = 1 / (2 * sigma - rho)
        steps.append((after * rho, 2 * after / radius))
        rho = after
    return np.array(steps, np.float32)


def mix_of_two_cycles(low: float = 0.25, top: float = 1.0) -> tuple[np.float32, np.float32]:
    """Return c₀, c₁ of the polynomial cycle c₀ B + c₁ B A B whose error is least on [low, top]."""
    middle, radius = (low + top) / 2, (top - low) / 2
    r0, r1 = middle - radius * cos(pi / 4), middle + radius * cos(pi / 4)
    return np.float32(1 / r0 + 1 / r1), np.float32(-1 / (r0 * r1))


STEPS = chebyshev_steps(2, 4.0)
MIX = np.array(mix_of_two_cycles(), np.float32)
ONCE = np.array([0, 1], np.float32)

LIFT = np.float32(1.5)
"""Factor of the coarse correction: constants in boxes are too stiff, about twice for a smooth velocity. It narrows the
spectrum of M A from [0.45, 1.05] to [0.62, 1.5], and in most pore spaces from [0.6, 1] to [0.8, 1.2]."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """The matrix of one component on one coarse level."""

    g: np.ndarray
    e0: np.ndarray
    e1: np.ndarray
    e2: np.ndarray

    @classmethod
    def zeros(cls, shape: Triple) -> Boxes:
        """Return a matrix of zeros."""
        return cls(*(np.zeros(shape, np.float32) for _ in range(4)))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Diagonal, and coupling of each box to the one before it along each axis."""
        return self.g, self.e0, self.e1, self.e2


def box_shifts(shape: Triple, edges: Sequence[float]) -> Iterator[tuple[Triple, Triple]]:
    """Yield, level by level, by which axes boxes double (1 or 0), and the shape of the next, margin included.

    Only edges that are about the shortest double: couplings along the others are too weak for a sweep to reach.
    """
    h = list(edges)
    while max(shape) > 3:
        shortest = min(v for v, n in zip(h, shape) if n > 3)
        s0, s1, s2 = (int(n > 3 and v < 1.5 * shortest) for v, n in zip(h, shape))
        h = [v * (1 + s) for v, s in zip(h, (s0, s1, s2))]
        z, y, x = (((n - 2 + s) >> s) + 2 for n, s in zip(shape, (s0, s1, s2)))
        shape = (z, y, x)
        yield (s0, s1, s2), shape
    while True:
        yield (0, 0, 0), shape


def velocity_boxes(shape: Triple, edges: Sequence[float]) -> tuple[list[Triple], list[Triple]]:
    """Return how boxes double, and their shapes, for each coarse level: see `box_shifts`."""
    shifts: list[Triple] = []
    shapes: list[Triple] = []
    for shift, boxes in box_shifts(shape, edges):
        shifts.append(shift)
        shapes.append(boxes)
        if _inner_size(boxes) <= MAX_DIRECT:
            break
    return shifts, shapes


class CoarseVelocity:
    """The coarse levels of all three components.

    Parameters
    ----------
    finest : list of Boxes
        The finest level of each component: sums over faces. Their margins are filled here.
    shifts : list of tuple of int
        By level: see `velocity_boxes`; the first is that of the finest level over the faces.
    shapes : list of tuple of int
    periodic : bool
    team : Team
    lift : float
        Factor of the first of the two cycles on the finest of these levels.
    """

    def __init__(
        self,
        finest: list[Boxes],
        shifts: list[Triple],
        shapes: list[Triple],
        periodic: bool,
        team: Team,
        lift: np.float32 = LIFT,
    ):
        self.shifts, self.periodic, self.team, self._lift = shifts, periodic, team, lift
        self.levels = [self._matrices(boxes, shapes) for boxes in finest]
        self.inverse = [_inverse(levels[-1]) for levels in self.levels]
        # work arrays serve all components: right-hand side, smoothed, and result
        self.work = [tuple(np.zeros(s, np.float32) for _ in range(3)) for s in shapes]

    @property
    def right_side(self) -> np.ndarray:
        """Where the right-hand side of the finest level is to be put."""
        return self.work[0][0]

    def solve(self, d: int) -> np.ndarray:
        """Return the correction for what lies in `right_side`, which is overwritten; the next call overwrites it."""
        return self._solve(d, 0)

    def _matrices(self, finest: Boxes, shapes: list[Triple]) -> list[Boxes]:
        levels: list[Boxes] = []
        for shape in shapes:
            if not levels:
                box = finest
            else:
                box = Boxes.zeros(shape)
                sum_boxes(1, shape[0] - 1, *levels[-1].arrays, self.shifts[len(levels)], *box.arrays)
            for e in (box.e0, box.e1, box.e2):
                wrap(e, self.periodic)
            levels.append(box)
        for box in levels:
            # boxes without a face: any diagonal keeps them at zero
            box.g[box.g <= 1e-6] = 1
        return levels

    def _sweep(self, k: int, kernel: Callable[..., Any], *args: Any, align: int = 1) -> None:
        n0, n1, n2 = self.work[k][0].shape
        sweep(self.team, kernel, 1, n0 - 1, n1 * n2, *args, align=align)

    def _solve(self, d: int, k: int) -> np.ndarray:
        """Return the correction of level k for the right-hand side in its work array, which is overwritten."""
        b, _, x = self.work[k]
        self._cycle(d, k, b, x, ONCE if k else self._lift * ONCE)
        if k < len(self.work) - 1:
            self._sweep(k, apply_boxes, *self.levels[d][k].arrays, x, b)
            self._cycle(d, k, b, x, MIX)
        return x

    def _cycle(self, d: int, k: int, b: np.ndarray, x: np.ndarray, mix: np.ndarray) -> None:
        """Set x to mix₀ x + mix₁ B b with a cycle B."""
        if k == len(self.work) - 1:
            inside = x[1:-1, 1:-1, 1:-1]
            found = np.empty(inside.size, np.float32)
            times_symmetric(self.inverse[d], b[1:-1, 1:-1, 1:-1].ravel(), found)
            inside[:] = mix[1] * found.reshape(inside.shape)
            return
        matrix = self.levels[d][k].arrays
        shift = self.shifts[k + 1]
        smoothed, below = self.work[k][1], self.work[k + 1][0]
        self._sweep(
            k, smooth_boxes_and_restrict, *matrix, b, STEPS, self.periodic, shift, smoothed, below, align=1 << shift[0]
        )  # fmt: skip
        found = self._solve(d, k + 1)
        self._sweep(k, correct_and_smooth_boxes, *matrix, b, smoothed, found, STEPS, self.periodic, shift, mix, x)


def _inner_size(shape: Triple) -> int:
    return (shape[0] - 2) * (shape[1] - 2) * (shape[2] - 2)


def _inverse(box: Boxes) -> np.ndarray:
    """Return the inverse of a level's matrix, with boxes in C order."""
    shape = tuple(n - 2 for n in box.g.shape)
    number = np.arange(_inner_size(box.g.shape)).reshape(shape)
    inside = (slice(1, -1),) * 3
    matrix = np.diag(box.g[inside].astype(np.float64).ravel())
    for axis, e in enumerate((box.e0, box.e1, box.e2)):
        value = e[inside].astype(np.float64).ravel()
        before = np.roll(number, 1, axis).ravel()
        here = number.ravel()
        # a box alone along a periodic axis is its own neighbour, and two are each other's twice
        np.add.at(matrix, (here, before), -value)
        np.add.at(matrix, (before, here), -value)
    return inverse(matrix).astype(np.float32)
