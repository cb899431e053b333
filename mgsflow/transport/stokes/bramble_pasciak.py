"""Conjugate gradients for the Stokes equations in the inner product of Bramble and Pasciak.

With Â = (γ M)⁻¹ below A, the preconditioned matrix P⁻¹ K, P = [Â, 0; Gᵀ, −Ŝ], is symmetric and positive in the inner
product of H = diag(A − Â, Ŝ). Five vectors suffice: the preconditioned residual z and the direction d, H z, y = P⁻¹ K
d and H y (which takes the place of K d); neither the residual nor the solution is kept, since energy, error and flow
by plane follow by recurrence: `EnergyRecurrence`.

The permeability is K = f·x of the exact solution x. From an approximation, f·x + x·r with r = f − K x misses it only
by the square of the error, and that square is about ‖z‖²_H, which the iteration computes anyway.

References
----------
J. H. Bramble and J. E. Pasciak, *Math. Comp.* 50 (1988) 1–17, doi:10.1090/S0025-5718-1988-0917816-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mgsflow.transport.stokes.saddle_kernel import apply_metric, apply_to_direction, update
from mgsflow.transport.stokes.sweep import sweep
from mgsflow.transport.stokes.system import StokesSystem

GAMMA = 2.0
"""Scale of M. M A has its spectrum within [0.62, 1.6] (wide ducts), so that γ M A exceeds 1 as the method needs, and by
enough that no error is nearly invisible in H."""

SAFETY = 2.0
"""The estimated error is so many times ‖z‖²_H. On 128 images of all kinds the true error was 0.5 times ‖z‖²_H in the
median, and never above 0.8 of what was asked for."""


@dataclass(frozen=True, eq=False)
class FlowState:
    """Result of an outer iteration.

    Attributes
    ----------
    inflow : float
        f·x.
    energy : float
        f·x + x·r, the better estimate of f·x at the solution.
    error : float
        Estimated relative error of `energy`.
    iterations : int
    status : {"converged", "not converged", "lost positivity"}
    plane_flow : ndarray of float64, shape (nz + 1,)
        Flow through each plane of faces.
    vector : ndarray of float32 or None
        The solution, where it was kept.
    history : list of float
        `energy` after each iteration.
    estimates : list of float
        `error` after each iteration.
    method : str
    """

    inflow: float
    energy: float
    error: float
    iterations: int
    status: str
    plane_flow: np.ndarray
    vector: np.ndarray | None = None
    history: list[float] = field(default_factory=list)
    estimates: list[float] = field(default_factory=list)
    method: str = "Bramble-Pasciak CG"


class EnergyRecurrence:
    """Scalars of the iteration: energy, estimated error and flow by plane, from the products of each step.

    Both drivers, in memory and in slabs, form the products; what follows from them is computed once, here.

    Parameters
    ----------
    inflow : float
        f·x of the start.
    xr : float
        x·r of the start.
    norm : float
        ‖z‖²_H of the start.
    flows : ndarray of float64
        Flow of the start through each plane of faces.
    history : list of float
        Energies of iterations before, where a solve is resumed.
    """

    def __init__(self, inflow: float, xr: float, norm: float, flows: np.ndarray, history: Sequence[float] = ()) -> None:
        self.inflow, self.xr, self.norm, self.flows = inflow, xr, norm, flows
        self.history = list(history)
        self.estimates: list[float] = []
        self.error = SAFETY * abs(norm / inflow)
        self.status = "not converged" if norm > 0 else _status_without_norm(norm, inflow)
        #: coefficient of the previous direction in the next one
        self.beta = 0.0

    @property
    def energy(self) -> float:
        """f·x + x·r, which misses f·x of the solution by the square of the error only."""
        return self.inflow + self.xr

    def step_length(self, scale: float) -> float:
        """Return α from d·H y; 0, and another status, where that is not positive."""
        if not scale > 0:
            self.status = "lost positivity"
            return 0.0
        return self.norm / scale

    def advance(self, alpha: float, dq: float, zq: float, dh: float, flow: np.ndarray, inlet: int) -> None:
        """Take a step x₊ = x + α d, r₊ = r − α q.

        Parameters
        ----------
        alpha : float
        dq, zq, dh : float
            d·q, z_u·q_u and d·H z. With them d·r = z_u·q_u − d·H z and x·q = f·d − d·r.
        flow : ndarray of float64
            What d carries through each plane of faces.
        inlet : int
            The plane of the inlet among these.
        """
        flow_in = float(flow[inlet])
        self.xr += 2 * alpha * (zq - dh) - alpha * flow_in - alpha**2 * dq
        self.inflow += alpha * flow_in
        self.flows = self.flows + alpha * flow
        self.history.append(self.energy)

    def check(self, norm: float, rtol: float) -> None:
        """Estimate the error after a step from ‖z₊‖²_H; set the status, and β of the next direction."""
        if not norm > 0:
            self.status, self.error = _status_without_norm(norm, self.energy), abs(norm / self.energy)
            return
        self.error = SAFETY * norm / abs(self.energy)
        self.estimates.append(float(self.error))
        if self.error < rtol:
            self.status = "converged"
        self.beta, self.norm = norm / self.norm, norm

    def result(self, flows: np.ndarray, vector: np.ndarray | None, method: str) -> FlowState:
        """Return the state, with the flows of the planes that carry unknowns."""
        return FlowState(
            self.inflow, self.energy, float(self.error), len(self.history), self.status, flows, vector, self.history,
            self.estimates, method,
        )  # fmt: skip


def bramble_pasciak(
    system: StokesSystem, rtol: float, max_iterations: int = 200, keep: bool = False, gamma: float = GAMMA
) -> FlowState:
    """Solve the Stokes system by conjugate gradients in the inner product of H.

    Parameters
    ----------
    system : StokesSystem
    rtol : float
        Relative error of ``energy`` to stop at.
    max_iterations : int
    keep : bool
        Whether to keep the solution: a sixth vector.
    gamma : float
        Scale of M.

    Returns
    -------
    FlowState
        With status "lost positivity" where γ M A did not exceed 1: another method is needed.
    """
    team, planes, matrix = system.team, system.planes, system.matrix
    n0 = system.faces.shape[0]
    d, y, q = system.vector(), system.vector(), system.vector()
    sums = np.zeros((n0, 4))
    line = np.zeros(n0)

    def precondition() -> float:
        """From q, set y = P⁻¹ q and q = H y; return d·H y."""
        system.precondition_velocity(q, y, gamma)
        line[:] = 0
        sweep(team, apply_metric, *planes, *matrix, y, d, q, line)
        system.precondition_pressure(q[3], y[3])
        return float(line.sum())

    system.darcy_start(d, q)
    system.residual(d, q)
    inflow, xr = system.inflow(d), system.dot(d, q)
    flows = d[0, :, 1:-1, 1:-1].sum(axis=(1, 2), dtype=np.float64)
    vector = d.copy() if keep else None
    precondition()
    z, hz = y, q
    y, q = system.vector(), system.vector()
    d[:] = 0
    state = EnergyRecurrence(inflow, xr, system.dot(z, hz), flows)
    while state.status == "not converged" and len(state.history) < max_iterations:
        system.add(d, z, state.beta, 1.0)
        sums[:] = 0
        sweep(team, apply_to_direction, *planes, *matrix, d, z, hz, q, sums)
        dq, zq, dh, _ = (float(s) for s in sums.sum(axis=0))
        alpha = state.step_length(precondition())
        if state.status == "lost positivity":
            break
        state.advance(alpha, dq, zq, dh, sums[:, 3], inlet=1)
        if vector is not None:
            system.add(vector, d, 1.0, alpha)
        line[:] = 0
        sweep(team, update, 0, n0, planes[2], z, hz, y, q, np.float32(alpha), line)
        state.check(float(line.sum()), rtol)
    return state.result(state.flows[1:-1], vector, "Bramble-Pasciak CG")


def _status_without_norm(norm: float, energy: float) -> str:
    """Return "converged" where a squared norm is zero up to rounding, "lost positivity" where it is negative."""
    return "converged" if abs(norm) <= 1e-6 * abs(energy) else "lost positivity"
