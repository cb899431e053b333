"""Stokes flow in slabs across the flow: the driver's side, for volumes larger than memory or on a cluster.

Slabs hold all vectors and sweep over voxels and over boxes of 2×2×2 faces, which moves nearly all the bytes; the
driver has the coarser levels and the scalars, which follow from
`mgsflow.transport.stokes.bramble_pasciak.EnergyRecurrence` as they do for the solve in memory. An iteration is eight
supersteps. The iterates are equal to the bit however the volume is cut: the number of iterations and the result do
not depend on the slabs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mgsflow.compute.supersteps.checkpoint import Checkpoint, Checkpoints
from mgsflow.compute.supersteps.executor import Executor, run_to_end
from mgsflow.solvers.solution import Step
from mgsflow.solvers.team import Team, default_threads
from mgsflow.transport.stokes.bramble_pasciak import GAMMA, EnergyRecurrence, FlowState
from mgsflow.transport.stokes.distributed.block import MakeStokesBlock
from mgsflow.transport.stokes.distributed.coarse import PLANES, SharedLevels
from mgsflow.transport.stokes.distributed.duct import Duct
from mgsflow.transport.stokes.distributed.fields import FlowSinks, turns
from mgsflow.transport.stokes.pore_volume import flow_status

DARCY_STEPS = 3
"""Conjugate gradients by Darcy's law for a start."""

RAISES = 3
"""How often γ is doubled where γ M A does not exceed 1."""


@dataclass(frozen=True)
class SlabSolution:
    """Result of a solve in slabs.

    Attributes
    ----------
    state : FlowState or None
        None where nothing percolates, or no wall is touched.
    pores, percolating : int
        Voxels of the image.
    covered : int
        Percolating voxels that a ball of diameter 4 covers.
    seconds : dict of str to float
    """

    state: FlowState | None
    pores: int
    percolating: int
    covered: int
    seconds: dict[str, float] = field(default_factory=dict)


def solve_in_slabs(
    executor: Executor,
    duct: Duct,
    rtol: float,
    max_iterations: int = 200,
    checkpoints: Checkpoints | None = None,
    callback: Callable[[Step], None] | None = None,
    out: FlowSinks | None = None,
    gamma: float = GAMMA,
    parallel: int = 1,
) -> SlabSolution:
    """Solve for the flow on the slabs of a duct.

    Parameters
    ----------
    executor : Executor
        Of `FaceNeighbours((slabs, 1, 1))`.
    duct : Duct
    rtol : float
        Relative error of the energy to stop at.
    max_iterations : int
    checkpoints : Checkpoints, optional
        Hold the solution, which takes a sixth vector.
    callback : callable, optional
        Called with a `Step` after each iteration; what it raises ends the solve.
    out : FlowSinks, optional
        Take the fields where the solve converged; a sixth vector, too.
    gamma : float
        Scale of the velocity's cycle.
    parallel : int
        Slabs that are worked on at once.

    Raises
    ------
    ComputeError
        If too many workers were lost.
    """
    with Team(default_threads()) as team:
        solve = _Solve(executor, duct, rtol, max_iterations, checkpoints, callback, out, gamma, team, parallel)
        return run_to_end(executor, MakeStokesBlock(duct), solve.run, checkpoints)


class _Solve:
    def __init__(
        self,
        executor: Executor,
        duct: Duct,
        rtol: float,
        max_iterations: int,
        checkpoints: Checkpoints | None,
        callback: Callable[[Step], None] | None,
        out: FlowSinks | None,
        gamma: float,
        team: Team,
        parallel: int,
    ) -> None:
        self.executor, self.duct, self.rtol, self.max_iterations = executor, duct, rtol, max_iterations
        self.checkpoints, self.callback, self.out, self.gamma = checkpoints, callback, out, gamma
        self.team, self.parallel = team, parallel
        self.keep = checkpoints is not None or out is not None
        self.begin = time.perf_counter()

    def run(self, saved: Checkpoint | None) -> SlabSolution:
        levels = self.levels = SharedLevels(self.executor, self.duct, self.team, self.parallel)
        pores, percolating = levels.percolate()
        z, y, x = self.duct.image_shape
        if flow_status(pores, percolating, z * y * x, self.duct.sides):
            return SlabSolution(None, pores, percolating, 0, levels.seconds)
        covered = levels.set_up()
        history: list[float] = [] if saved is None else list(saved.header["history"])
        gamma = self.gamma if saved is None else saved.header["gamma"]
        for tries in range(RAISES + 1):
            state = self._iterate(gamma, saved, history)
            if state.status != "lost positivity" or tries == RAISES:
                break
            saved, history, gamma = None, [], 2 * gamma
        if self.out is not None and state.status == "converged":
            boxes = [self.duct.box(*self.duct.image_planes(s)) for s in levels.slabs]
            for may in turns(boxes, self.out, self.duct.order[0]):
                levels.step("write", self.out, each={b: (turn,) for b, turn in zip(levels.blocks, may)})
        return SlabSolution(state, pores, percolating, covered, levels.seconds)

    def _start(self) -> None:
        """Set d to a flow by Darcy's law."""
        sums = self.levels.step("darcy_begin", publish=PLANES)
        before, alpha = 0.0, 0.0
        for i in range(DARCY_STEPS):
            rz = float(np.concatenate(self.levels.precondition_pressure("darcy_correct", sums)).sum())
            if not rz > 0:
                alpha = 0.0
                break
            along = self.levels.step("darcy_turn", rz / before if i else 0.0, pull=PLANES)
            before, alpha = rz, rz / float(np.concatenate(along).sum())
            if i < DARCY_STEPS - 1:
                sums = self.levels.step("darcy_smooth", alpha, publish=PLANES)
        self.levels.step("darcy_flow", alpha, publish=PLANES)

    def _iterate(self, gamma: float, saved: Checkpoint | None, before: list[float]) -> FlowState:
        """Run Bramble and Pasciak's conjugate gradients; see `mgsflow.transport.stokes.bramble_pasciak`."""
        if saved is None:
            self._start()
        else:
            self.levels.step("take_up", publish=PLANES)
        found = self.levels.step("begin", self.keep, pull=PLANES, publish=PLANES)
        products, flows = np.concatenate([f[1] for f in found], axis=-1)
        xr, inflow = float(products.sum()), float(flows[0])
        _, _, norm = self._precondition([f[0] for f in found], gamma)
        state = EnergyRecurrence(inflow, xr, norm, flows, before)
        # the first step makes z of y
        alpha = -1.0
        for _ in range(self.max_iterations):
            if state.status != "not converged":
                break
            found = self.levels.step("advance", alpha, state.beta, pull=PLANES, publish=PLANES)
            sums = np.concatenate([f[1] for f in found])
            dq, zq, dh, _ = (float(s) for s in sums.sum(axis=0))
            scale, yh, yq = self._precondition([f[0] for f in found], gamma)
            step = state.step_length(scale)
            if state.status == "lost positivity":
                break
            alpha = step
            state.advance(alpha, dq, zq, dh, sums[:, 3], inlet=0)
            # z₊·H z₊ with z₊ = z − α y, which slabs form in their next step
            after = state.norm - 2 * alpha * yh + alpha**2 * yq
            state.check(after, self.rtol)
            if not after > 0:
                break
            self._report(len(state.history), state.energy, state.error)
            if state.status == "converged":
                break
            if self.checkpoints is not None and self.checkpoints.due():
                # slabs have yet to take the last step
                self.executor.checkpoint(self.checkpoints, {"history": state.history[:-1], "gamma": gamma})
                self.levels.lap("checkpoints")
        if self.keep and state.status == "converged" and state.estimates:
            self.levels.step("finish", alpha)
        return state.result(state.flows, None, "Bramble-Pasciak CG in slabs")

    def _precondition(self, sums: list[np.ndarray], gamma: float) -> tuple[float, float, float]:
        """Set y to P⁻¹ q and q to H y; return d·H y, y·h and y·H y."""
        self.levels.precondition_velocity(sums, gamma)
        parts = self.levels.step("apply_metric", pull=PLANES, publish=PLANES)
        products = self.levels.precondition_pressure("correct_pressure", [p[0] for p in parts])
        yh, yq = (float(p.sum()) for p in np.concatenate(products, axis=-1))
        return float(np.concatenate([p[1] for p in parts]).sum()), yh, yq

    def _report(self, iteration: int, energy: float, error: float) -> None:
        if self.callback is not None:
            self.callback(Step(iteration, energy, error, time.perf_counter() - self.begin))
