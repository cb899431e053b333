"""What an iterative solver returns: the solution and how it ended, as values."""

from __future__ import annotations

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
        The energy, or what the caller makes of it.
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


def scale_progress(progress: Callable[[Step], None] | None, factor: float) -> Callable[[Step], None] | None:
    """Return a callback that hands on each step with its value in other units."""
    return None if progress is None else lambda step: progress(step.scaled(factor))


@dataclass(frozen=True)
class Solution:
    """Solution of a linear system, or how far it came.

    Attributes
    ----------
    x : ndarray
    status : str
        ``"converged"``; ``"not converged"``: the iterations allowed were not enough; ``"broke down"``: the operator or
        the preconditioner is not positive definite in the arithmetic used, so no further step is possible.
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
        """Tell whether the error asked for was reached."""
        return self.status == CONVERGED
