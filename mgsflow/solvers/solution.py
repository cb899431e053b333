"""What an iterative solver returns: the solution, how it ended, and its history."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

CONVERGED = "converged"
NOT_CONVERGED = "not converged"
BROKE_DOWN = "broke down"


@dataclass(frozen=True)
class Step:
    """State of a solve after an iteration.

    Attributes
    ----------
    iteration : int
    value : float
        The energy, in the units of the caller.
    error : float
        Estimated error of the value, relative to it.
    seconds : float
        Time since the solve began.
    """

    iteration: int
    value: float
    error: float
    seconds: float

    def scaled(self, factor: float) -> Step:
        """Return the step with its value in other units."""
        return replace(self, value=self.value * factor)


class History:
    """Steps of a solve, each handed to a callback as it is recorded.

    Parameters
    ----------
    progress : callable, optional
        Called with each `Step`; an exception that it raises ends the solve.
    """

    def __init__(self, progress: Callable[[Step], None] | None = None) -> None:
        self.steps: list[Step] = []
        self._progress = progress
        self._begin = time.perf_counter()

    def record(self, iteration: int, value: float, error: float) -> Step:
        """Record a step, timed from the start of this run."""
        step = Step(iteration, value, error, time.perf_counter() - self._begin)
        self.steps.append(step)
        if self._progress is not None:
            self._progress(step)
        return step


def scale_progress(progress: Callable[[Step], None] | None, factor: float) -> Callable[[Step], None] | None:
    """Return a callback that hands on each step with its value in other units."""
    return None if progress is None else lambda step: progress(step.scaled(factor))


@dataclass(frozen=True)
class Solution:
    """Solution of a linear system, or the last iterate where the solve did not converge.

    Attributes
    ----------
    x : ndarray
    status : str
        ``"converged"``; ``"not converged"`` within the iterations allowed; ``"broke down"``: the operator or the
        preconditioner is not positive definite in the arithmetic used, so that no further step is possible.
    value : float
        Energy ``c + x·A x - 2 b·x``.
    error_estimate : float
        Estimated relative error of the value.
    iterations : int
    history : tuple of Step
    """

    x: np.ndarray
    status: str
    value: float
    error_estimate: float
    iterations: int
    history: tuple[Step, ...] = field(repr=False)

    @property
    def converged(self) -> bool:
        """Whether the tolerance was reached."""
        return self.status == CONVERGED
