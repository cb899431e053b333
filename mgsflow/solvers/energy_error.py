"""Error of the energy in conjugate gradients, estimated from their own coefficients.

The squared error of an iterate in the energy norm, ``e·A e = r·A⁻¹ r``, is the error of the flux. In exact arithmetic
the Gauss–Radau rule bounds it from above, given a lower bound of the preconditioned spectrum. That bound is the one
observed for the multigrid cycle, and is lowered where the Ritz values of the run are smaller.

References
----------
Meurant, G. & Tichý, P. (2013). On computing quadrature-based bounds for the A-norm of the error in conjugate gradients.
doi:10.1007/s11075-012-9591-9
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def relative_error(error: float, value: float) -> float:
    """Return the relative error of a value that exceeds a minimum by `error`; infinite if the minimum may be zero."""
    if error <= 0:
        return 0.0
    return np.inf if 0 < value <= error else error / abs(value - error)


class EnergyError:
    """Upper estimate of the energy error, updated with each step of preconditioned conjugate gradients.

    Parameters
    ----------
    lowest : float
        Lower bound that is expected for the eigenvalues of M⁻¹ A.
    safety : float
        Factor on the smallest Ritz value, which lies above the smallest eigenvalue.
    """

    def __init__(self, lowest: float = 0.3, safety: float = 0.6) -> None:
        self.lowest = lowest
        self._safety = safety
        self._steps: list[float] = []
        self._ratios: list[float] = []

    def start(self, rz: float) -> float:
        """Return the estimate for a first residual r with r·M⁻¹ r = `rz`."""
        return rz / self.lowest

    def step(self, alpha: float, ratio: float, rz: float) -> float:
        """Return the estimate after a step.

        Parameters
        ----------
        alpha : float
            Length of the step.
        ratio : float
            New ``r·z`` over the old one.
        rz : float
            New ``r·z``.
        """
        self._steps.append(alpha)
        self._ratios.append(ratio)
        low = min(self.lowest, self._safety * self.lowest_ritz())
        gauss_radau = 1 / low
        for a, b in zip(self._steps, self._ratios):
            excess = max(gauss_radau - a, 0.0)
            gauss_radau = excess / (low * excess + b) if excess > 0 else 1 / low
        return gauss_radau * rz

    def lowest_ritz(self) -> float:
        """Return the lowest of the Ritz values of the steps so far."""
        diagonal = [1 / a for a in self._steps]
        beside = [b / a**2 for a, b in zip(self._steps, self._ratios[:-1])]
        for i, (a, b) in enumerate(zip(self._steps, self._ratios[:-1])):
            diagonal[i + 1] += b / a
        return _lowest(diagonal, beside)


def _lowest(diagonal: Sequence[float], squares: Sequence[float]) -> float:
    """Return the lowest eigenvalue of a positive definite tridiagonal matrix, by bisection with its pivots' signs.

    LAPACK's eigenvalues differ in the last bits between processors, and with them the iteration at which a solve ends.
    """

    def below(x: float) -> bool:
        pivot = diagonal[0] - x
        for d, square in zip(diagonal[1:], squares):
            if pivot <= 0:
                return True
            pivot = d - x - square / pivot
        return pivot <= 0

    low, high = 0.0, min(diagonal)
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if below(middle) else (middle, high)
    return high
