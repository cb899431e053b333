"""The minimal residual method for the Stokes equations: slower than Bramble–Pasciak's, but it needs no scale of M.

It takes over where γ M A does not exceed 1, with the block-diagonal preconditioner diag(M, 0.45 I + L⁻¹), and keeps
the solution: seven vectors instead of five.

References
----------
C. C. Paige and M. A. Saunders, *SIAM J. Numer. Anal.* 12 (1975) 617–629, doi:10.1137/0712047.
"""

from __future__ import annotations

from math import hypot, sqrt

import numpy as np

from mgsflow.transport.stokes.bramble_pasciak import FlowState
from mgsflow.transport.stokes.system import StokesSystem

SAFETY = 10.0
"""The estimated error is so many times the squared residual in the preconditioner's norm; the inf-sup constant of the
pressure is unknown, so the margin is wide."""


def minimal_residual(system: StokesSystem, rtol: float, max_iterations: int = 400, keep: bool = False) -> FlowState:
    """Solve the Stokes system by minimal residuals; parameters and result as in `bramble_pasciak`."""
    x, z = system.vector(), system.vector()
    system.darcy_start(x, z)
    v, before, w, w_before, q = (system.vector() for _ in range(5))
    system.residual(x, v)

    def precondition(r: np.ndarray, out: np.ndarray) -> float:
        system.precondition_velocity(r, out)
        system.precondition_pressure(r[3], out[3])
        return sqrt(max(system.dot(r, out), 0.0))

    history: list[float] = []
    g = precondition(v, z)
    g_before, eta = 1.0, g
    s = s_before = 0.0
    c = c_before = 1.0
    inflow = system.inflow(x)
    error = SAFETY * g**2 / abs(inflow)
    status = "not converged" if g > 0 else "converged"
    while status == "not converged" and len(history) < max_iterations and g > 0:
        # one step of Lanczos: z holds g times the next basis vector, preconditioned
        system.apply(z, q)
        delta = system.dot(z, q) / g**2
        a0 = c * delta - c_before * s * g
        a2 = s * delta + c_before * c * g
        a3 = s_before * g
        system.add(before, v, -g / g_before, -delta / g)
        system.add(before, q, 1.0, 1.0 / g)
        v, before = before, v
        g_after = precondition(v, q)
        a1 = hypot(a0, g_after)
        c_before, c = c, a0 / a1
        s_before, s = s, g_after / a1
        system.add(w_before, w, -a3 / a1, -a2 / a1)
        system.add(w_before, z, 1.0, 1.0 / (g * a1))
        w, w_before = w_before, w
        system.add(x, w, 1.0, c * eta)
        eta = -s * eta
        z, q = q, z
        g_before, g = g, g_after
        inflow = system.inflow(x)
        history.append(inflow)
        error = SAFETY * eta**2 / abs(inflow)
        if error < rtol:
            status = "converged"
    system.residual(x, q)
    flows = x[0, 1:-1, 1:-1, 1:-1].sum(axis=(1, 2), dtype=np.float64)
    return FlowState(
        inflow, inflow + system.dot(x, q), float(error), len(history), status, flows, x if keep else None,
        history, method="MINRES",
    )  # fmt: skip
