"""Flexible conjugate gradients, stopped by the error of the energy."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from mgsflow.solvers.arithmetic import dot
from mgsflow.solvers.energy_error import EnergyError, relative_error
from mgsflow.solvers.solution import BROKE_DOWN, CONVERGED, NOT_CONVERGED, Solution, Step

Operation = Callable[[np.ndarray, np.ndarray], None]


def minimise_energy(
    product: Operation,
    precondition: Operation,
    b: np.ndarray,
    x: np.ndarray,
    constant: float,
    rtol: float,
    most: int = 200,
    lowest: float = 0.3,
    watch: Callable[[Step], None] | None = None,
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
        c, so that the minimum is what is wanted (a flux) and its relative error means something.
    rtol : float
        Relative error asked for.
    most : int
        Iterations allowed.
    lowest : float
        What the smallest eigenvalue of M⁻¹ A is expected not to fall below.
    watch : callable, optional
        Called with a `Step` after each iteration; what it raises stops the solve.

    Returns
    -------
    Solution

    Notes
    -----
    Notay's flexible variant: the new direction is made conjugate to the last one, whatever M does. The rounding error
    of the residual's recurrence is kept out of the answer: before a solve is called converged, the residual is formed
    anew from x, and the iteration goes on from there if the error proves larger.
    """
    begin = time.perf_counter()
    q, z, p, ap = (np.empty_like(b) for _ in range(4))
    product(x, q)
    r = b - q
    value = constant - dot(x, b) - dot(x, r)
    precondition(r, z)
    rz = dot(r, z)
    tracker = EnergyError(lowest)
    history: list[Step] = []

    def note(iteration: int, estimate: float) -> Step:
        step = Step(iteration, value, relative_error(estimate, value), time.perf_counter() - begin)
        history.append(step)
        if watch is not None:
            watch(step)
        return step

    step = note(0, tracker.start(max(rz, 0.0)))
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
        if iteration >= most:
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
        step = note(iteration, tracker.step(alpha, max(rz, 0.0) / before, max(rz, 0.0)))
    return Solution(x, status, value, step.error, iteration, tuple(history))
