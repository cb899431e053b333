"""Preconditioned conjugate gradients: stopped by the residual, or flexible and stopped by the error of the energy."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from mgsflow.solvers.arithmetic import dot
from mgsflow.solvers.energy_error import EnergyError, relative_error
from mgsflow.solvers.solution import BROKE_DOWN, CONVERGED, NOT_CONVERGED, History, Solution, Step

Operation = Callable[[np.ndarray, np.ndarray], None]


def conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray],
    precondition: Callable[[np.ndarray], np.ndarray],
    b: np.ndarray,
    rtol: float,
    max_iterations: int,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Solve ``A x = b`` from x = 0 until the residual ``r = b - A x`` is at most `rtol` times b, in the 2-norm.

    Parameters
    ----------
    product : callable
        Returns A p; A is symmetric and positive definite.
    precondition : callable
        Returns M⁻¹ r as a new array; M is symmetric and positive definite, too.
    b : ndarray of float64, shape (n,)
    rtol : float
    max_iterations : int

    Returns
    -------
    x, r : ndarray, shape (n,)
        Solution and residual, as the recurrence has it.
    converged : bool

    References
    ----------
    Hestenes, M. R. & Stiefel, E. (1952). Methods of conjugate gradients for solving linear systems. J. Res. Natl. Bur.
    Stand. 49, 409-436. doi:10.6028/jres.049.044
    """
    x, r = np.zeros(b.size), b.astype(np.float64)
    enough = rtol * sqrt(dot(r, r))
    p, rz = np.zeros(b.size), 1.0
    for iteration in range(max_iterations + 1):
        if sqrt(dot(r, r)) <= enough:
            return x, r, True
        if iteration == max_iterations:
            break
        z = precondition(r)
        rz, before = dot(r, z), rz
        p *= rz / before if iteration else 0.0
        p += z
        q = product(p)
        step = rz / dot(p, q)
        x += step * p
        r -= step * q
    return x, r, False


def minimise_energy(
    product: Operation,
    precondition: Operation,
    b: np.ndarray,
    x: np.ndarray,
    constant: float,
    rtol: float,
    max_iterations: int = 200,
    lowest: float = 0.3,
    progress: Callable[[Step], None] | None = None,
) -> Solution:
    """Solve ``A x = b`` until the energy ``c + x·A x - 2 b·x`` is within `rtol` of its minimum.

    Parameters
    ----------
    product : callable
        ``product(x, out)`` writes A x; A is symmetric and positive definite on what b spans.
    precondition : callable
        ``precondition(r, out)`` writes M⁻¹ r; it may change from one step to the next.
    b : ndarray of float64, shape (n,)
    x : ndarray of float64, shape (n,)
        First guess; changed in place.
    constant : float
        c, chosen so that the minimum is the quantity of interest (a flux).
    rtol : float
        Relative error asked for.
    max_iterations : int
    lowest : float
        Lower bound that is expected for the eigenvalues of M⁻¹ A.
    progress : callable, optional
        Called with a `Step` after each iteration; an exception that it raises ends the solve.

    Returns
    -------
    Solution

    Notes
    -----
    Notay's flexible variant: the new direction is made conjugate to the last one, whatever M does. The rounding error
    of the residual's recurrence is kept out of the answer: before a solve counts as converged, the residual is computed
    afresh from x, and the iteration restarts from there if the error proves larger.

    References
    ----------
    Notay, Y. (2000). Flexible conjugate gradients. SIAM J. Sci. Comput. 22, 1444-1460. doi:10.1137/S1064827599362314
    """
    q, z, p, ap = (np.empty_like(b) for _ in range(4))
    product(x, q)
    r = b - q
    value = constant - dot(x, b) - dot(x, r)
    precondition(r, z)
    rz = dot(r, z)
    tracker = EnergyError(lowest)
    history = History(progress)

    def record(iteration: int, estimate: float) -> Step:
        return history.record(iteration, value, relative_error(estimate, value))

    step = record(0, tracker.start(max(rz, 0.0)))
    fresh, first, status = True, True, NOT_CONVERGED
    iteration, pap = 0, 1.0
    while True:
        if step.error <= rtol:
            if fresh:
                status = CONVERGED
                break
            product(x, q)
            np.subtract(b, q, out=r)
            value = constant - dot(x, b) - dot(x, r)
            precondition(r, z)
            rz = dot(r, z)
            tracker = EnergyError(tracker.lowest)
            fresh = first = True
            step = Step(iteration, value, relative_error(tracker.start(max(rz, 0.0)), value), step.seconds)
            continue
        if iteration >= max_iterations:
            break
        if first:
            p[:] = z
        else:
            p *= -dot(z, ap) / pap
            p += z
        product(p, ap)
        pap, pr = dot(p, ap), dot(p, r)
        if not (pap > 0 and rz > 0 and np.isfinite(pap)):
            status = BROKE_DOWN
            break
        alpha = pr / pap
        x += alpha * p
        r -= alpha * ap
        value -= alpha * pr
        precondition(r, z)
        rz, before = dot(r, z), rz
        iteration += 1
        first = fresh = False
        step = record(iteration, tracker.step(alpha, max(rz, 0.0) / before, max(rz, 0.0)))
    return Solution(x, status, value, step.error, iteration, tuple(history.steps))
