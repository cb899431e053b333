"""How far conjugate gradients are from the minimum of the energy, estimated from their own coefficients.

The error of an iterate in the energy norm, ``e·A e = r·A⁻¹ r``, is what is wrong with the flux. In exact arithmetic the
Gauss–Radau rule bounds it from above once a lower bound of the preconditioned spectrum is known; that bound is taken
from what multigrid is known to do, and lowered when the Ritz values of the run show less.

References
----------
Meurant, G. & Tichý, P. (2013). On computing quadrature-based bounds for the A-norm of the error in conjugate gradients.
doi:10.1007/s11075-012-9591-9
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh_tridiagonal


def relative_error(error: float, value: float) -> float:
    """Return the relative error of a minimum that a value lies above by `error`; infinite where that may be zero."""
    if error <= 0:
        return 0.0
    return np.inf if 0 < value <= error else error / abs(value - error)


class EnergyError:
    """Upper estimate of the energy error, brought forward with each step of preconditioned conjugate gradients.

    Parameters
    ----------
    lowest : float
        What the smallest eigenvalue of M⁻¹ A is expected not to fall below.
    safety : float
        Factor that is put on the smallest Ritz value, which lies above the smallest eigenvalue.
    """

    def __init__(self, lowest: float = 0.3, safety: float = 0.6) -> None:
        self.lowest = lowest
        self._safety = safety
        self._steps: list[float] = []
        self._ratios: list[float] = []

    def start(self, rz: float) -> float:
        """Return the estimate for the first residual, whose product with its preconditioned self is `rz`."""
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
        ritz = self.ritz()
        low = min(self.lowest, self._safety * float(ritz[0]))
        gauss_radau = 1 / low
        for a, b in zip(self._steps, self._ratios):
            excess = max(gauss_radau - a, 0.0)
            gauss_radau = excess / (low * excess + b) if excess > 0 else 1 / low
        return gauss_radau * rz

    def ritz(self) -> np.ndarray:
        """Return the Ritz values of the steps so far, in increasing order."""
        a = np.asarray(self._steps)
        b = np.asarray(self._ratios[:-1])
        diagonal = 1 / a
        diagonal[1:] += b / a[:-1]
        if a.size == 1:
            return diagonal
        return np.asarray(eigh_tridiagonal(diagonal, np.sqrt(b) / a[:-1], eigvals_only=True))
