"""Diffusion through one phase of a volume that is larger than memory, or on a cluster.

Two-level conjugate gradients: each block applies its own multigrid cycle, and the coarse level that all blocks share is
projected out (deflation), so that the rest converges as in a single block. An iteration is one pass over the voxels of
each block and a short exchange of faces; in between, the driver solves the coarse equations.

References
----------
Tang, J. M., Nabben, R., Vuik, C. & Erlangga, Y. A. (2009). Comparison of two-level preconditioners derived from
deflation, domain decomposition and multigrid methods. J. Sci. Comput. 39, 340-370. doi:10.1007/s10915-009-9272-6
(there, A-DEF2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute.supersteps.checkpoint import Checkpoint, Checkpoints
from mgsflow.compute.supersteps.executor import Executor, run_to_end, sum_blocks
from mgsflow.compute.supersteps.subdomain import FaceNeighbours
from mgsflow.errors import InputError
from mgsflow.solvers.arithmetic import dot
from mgsflow.solvers.energy_error import EnergyError
from mgsflow.solvers.solution import BROKE_DOWN, CONVERGED, NOT_CONVERGED, History, Step
from mgsflow.solvers.stopwatch import Stopwatch
from mgsflow.transport.diffusion.distributed.block import MakeDiffusionBlock
from mgsflow.transport.diffusion.distributed.coarse_level import CoarseLevel
from mgsflow.transport.diffusion.flux_maps import FieldRequest, FluxMaps, Maps
from mgsflow.transport.diffusion.medium import Medium
from mgsflow.transport.diffusion.solution import FluxSolution

#: Lower bound that is assumed for the eigenvalues of the preconditioned operator in the estimate of the error.
LOWEST = 0.2

_NO_FIELDS = FieldRequest()


@dataclass(frozen=True, kw_only=True)
class BlockSolution(FluxSolution):
    """Flux from a solve in blocks. Its energy is extrapolated: reduced by what later steps would take off it.

    Attributes
    ----------
    conducting, percolating : int
        Voxels.
    unknowns : int
        Of the coarse level.
    maps : tuple of ndarray, or None
        Of the flux density, see `mgsflow.transport.diffusion.flux_maps.FluxMaps`, if they were asked for.
    """

    conducting: int
    percolating: int
    unknowns: int
    maps: Maps | None = None


def solve_in_blocks(
    executor: Executor,
    medium: Medium,
    grid: Grid,
    axis: int,
    conductance: tuple[float, float, float],
    rtol: float,
    max_iterations: int = 200,
    checkpoints: Checkpoints | None = None,
    progress: Callable[[Step], None] | None = None,
    fields: FieldRequest = _NO_FIELDS,
) -> BlockSolution:
    """Solve the diffusion equation on the blocks of a grid.

    Parameters
    ----------
    executor : Executor
        Of `FaceNeighbours(grid.counts)`.
    medium : Medium
        Of one diffusivity.
    grid : Grid
    axis : int
        Direction of the flow.
    conductance : (float, float, float)
        Of a face along each axis, over that along `axis`.
    rtol : float
        Relative error of the flux that is allowed, at least 1e-6: the limit of single precision.
    max_iterations : int
    checkpoints : Checkpoints, optional
    progress : callable, optional
        Called with a `Step` after each iteration; an exception that it raises ends the solve.
    fields : FieldRequest
        Fields to write and maps to return, where the solve converged.

    Returns
    -------
    BlockSolution
        Of status "" where nothing percolates, so that there was nothing to solve.

    Raises
    ------
    InputError
        If the shapes of grid and medium differ, or rtol is too small.
    ComputeError
        If workers were lost too often.
    """
    if grid.shape != medium.shape:
        raise InputError(f"blocks of a volume of {grid.shape} voxels cannot hold an image of {medium.shape}")
    if rtol < 1e-6:
        raise InputError(f"blocks are solved in single precision: rtol must be at least 1e-6, got {rtol}")
    make = MakeDiffusionBlock(grid, medium, axis, conductance)
    solve = _Solve(executor, grid, axis, rtol, max_iterations, checkpoints, progress, fields)
    return run_to_end(executor, make, solve.run, checkpoints)


@dataclass(frozen=True)
class _Outcome:
    """How conjugate gradients ended: the energy, the reduction still to be expected, and the estimated error then."""

    status: str
    iteration: int
    energy: float
    remainder: float
    error: float


class _Solve:
    """The driver's side: scalars, the coarse level, and the order of supersteps."""

    def __init__(
        self,
        executor: Executor,
        grid: Grid,
        axis: int,
        rtol: float,
        max_iterations: int,
        checkpoints: Checkpoints | None,
        progress: Callable[[Step], None] | None,
        fields: FieldRequest,
    ) -> None:
        self.executor, self.grid, self.axis = executor, grid, axis
        self.rtol, self.max_iterations = rtol, max_iterations
        self.checkpoints, self.fields = checkpoints, fields
        self.history = History(progress)

    def run(self, saved: Checkpoint | None) -> BlockSolution:
        self._stopwatch = Stopwatch()
        steps = self.history.steps = [Step(**step) for step in saved.header["history"]] if saved is not None else []
        coarse = self._set_up()
        percolating = int(coarse.voxels.sum())
        if not percolating:
            return BlockSolution(
                status="",
                energy=0.0,
                error_estimate=0.0,
                plane_fluxes=np.zeros(self.grid.shape[self.axis] + 1),
                iterations=0,
                history=(),
                seconds=self._stopwatch.seconds,
                conducting=self._conducting,
                percolating=0,
                unknowns=0,
            )
        iteration = steps[-1].iteration if steps else 0
        state = self._first_guess(coarse) if saved is None else self._restore(coarse)
        while True:
            outcome = self._iterate(coarse, state, iteration)
            iteration = outcome.iteration
            checked = self._check_solution(coarse)
            if outcome.status != CONVERGED:
                break
            # in exact arithmetic, the energy by the recurrences is that of x
            if abs(checked["energy"] - outcome.energy) <= max(0.25 * self.rtol, 1e-6) * outcome.energy:
                break
            state = self._start(coarse, coarse.solve(checked["residual"])[0])
        maps = self._write_fields() if outcome.status == CONVERGED else None
        return BlockSolution(
            status=outcome.status,
            energy=checked["energy"] - outcome.remainder,
            error_estimate=outcome.error,
            plane_fluxes=checked["fluxes"],
            iterations=iteration,
            history=tuple(self.history.steps),
            seconds=self._stopwatch.seconds,
            conducting=self._conducting,
            percolating=percolating,
            unknowns=coarse.size,
            maps=maps,
        )

    def _write_fields(self) -> Maps | None:
        """Store the fields that are asked for; return the maps of the flux density, if they are."""
        fields = self.fields
        if fields.out is not None:
            self.executor.step("write", fields.out)
        maps = None
        if fields.maps or fields.flux_out is not None:
            sums = self.executor.step("flux_maps", self.grid.shape[self.axis], fields.flux_out)
            total = FluxMaps(self.grid.shape)
            for block in self.grid.blocks():
                total.add(block.core, sums[block.index])
            maps = total.means()
        self._stopwatch.lap("fields")
        return maps

    def _set_up(self) -> CoarseLevel:
        step, lap = self.executor.step, self._stopwatch.lap
        step("publish_mask", publish="mask")
        shares = step("number_unknowns", pull="mask", publish="numbers")
        interfaces = step("link_neighbours", pull="numbers")
        coarse = CoarseLevel(FaceNeighbours(self.grid.counts), shares, interfaces)
        self._conducting = int(coarse.voxels.sum())
        lap("joining blocks")
        kept = coarse.keep_percolating()
        lap("percolation")
        if coarse.size:
            step("keep_percolating", each={b: (k,) for b, k in kept.items()}, publish="numbers")
            coarse.register(step("request_unknowns", pull="numbers"))
        lap("cycles")
        return coarse

    def _first_guess(self, coarse: CoarseLevel) -> dict[str, Any]:
        guess, _ = coarse.solve(coarse.source)
        self._stopwatch.lap("coarse level")
        return self._start(coarse, guess)

    def _restore(self, coarse: CoarseLevel) -> dict[str, Any]:
        self.executor.step("restore")
        return self._start(coarse, coarse.solve(self._check_solution(coarse)["residual"])[0])

    def _check_solution(self, coarse: CoarseLevel) -> dict[str, Any]:
        """Return energy, residual over the coarse level, and plane fluxes, computed afresh from x."""
        step = self.executor.step
        step("publish_solution", publish="x")
        results = step("check_solution", pull="x")
        fluxes = np.zeros(self.grid.shape[self.axis] + 1)
        for block in self.grid.blocks():
            start, stop = block.core.start[self.axis], block.core.stop[self.axis]
            # the plane between two blocks is summed by the lower one
            lower = 1 if start else 0
            fluxes[start + lower : stop + 1] += results[block.index]["fluxes"][lower:]
        self._stopwatch.lap("checks")
        return {
            "energy": float(sum_blocks({b: r["energy"] for b, r in results.items()})),
            "residual": coarse.from_blocks({b: r["residual"] for b, r in results.items()}),
            "fluxes": fluxes,
        }

    def _start(self, coarse: CoarseLevel, correction: np.ndarray) -> dict[str, Any]:
        return self._project(coarse, self.executor.step("start", each=coarse.to_blocks(correction), publish="v"))

    def _project(self, coarse: CoarseLevel, results: Mapping[Triple, dict[str, Any]]) -> dict[str, Any]:
        """Sum the results of the blocks' cycles, add the links between blocks, and project out the coarse level."""
        across = self.executor.step("exchange", pull="v")
        names = [name for name in ("rv", "av", "energy") if name in next(iter(results.values()))]
        state: dict[str, Any] = {n: float(sum_blocks({b: r[n] for b, r in results.items()})) for n in names}
        state["av"] += float(sum_blocks({b: a[0] for b, a in across.items()}))
        residual = coarse.from_blocks({b: r["residual"] for b, r in results.items()})
        product = coarse.from_blocks({b: r["product"] + across[b][1] for b, r in results.items()})
        self._stopwatch.lap("blocks")
        correction, image = coarse.solve(product - residual)
        self._stopwatch.lap("coarse level")
        # z = v - Z correction, and Zᵀ A Z correction = image
        state["rz"] = state["rv"] - dot(residual, correction)
        state["az"] = state["av"] + dot(correction, image - 2 * product)
        state["correction"] = correction
        return state

    def _iterate(self, coarse: CoarseLevel, state: dict[str, Any], iteration: int) -> _Outcome:
        """Run conjugate gradients from a start, until the energy of the next iterate is near enough to the minimum."""
        energy = state["energy"]
        tracker = EnergyError(LOWEST)
        excess = tracker.start(max(state["rz"], 0.0))
        beta = pap = drop_before = 0.0
        while True:
            rz, pap = state["rz"], state["az"] - beta * beta * pap
            if not (rz >= 0 and pap > 0 and np.isfinite(pap)):
                status = CONVERGED if rz == 0 else BROKE_DOWN
                return _Outcome(status, iteration, energy, 0.0, excess / energy)
            # the reduction of the energy by the next step is known before the step is taken
            drop = rz * rz / pap
            excess_next = max(excess - drop, 0.0)
            error = excess_next / (energy - drop)
            self.history.record(iteration, energy - drop, error)
            # after a last step that reduces the energy by more than the tolerance, the remainder is too uncertain
            enough = error <= self.rtol and drop <= self.rtol * energy
            if enough or iteration >= self.max_iterations:
                # later steps are taken to shrink as the last two did
                ratio = min(drop / drop_before, 0.5) if drop_before > 0 else 0.0
                remainder = drop + min(drop * ratio / (1 - ratio), excess_next / 2)
                return _Outcome(CONVERGED if enough else NOT_CONVERGED, iteration, energy, remainder, error)
            if iteration and self.checkpoints is not None and self.checkpoints.due():
                self.executor.checkpoint(self.checkpoints, {"history": [vars(step) for step in self.history.steps]})
                self._stopwatch.lap("checkpoints")
            each = coarse.to_blocks(state["correction"])
            state = self._project(coarse, self.executor.step("advance", rz / pap, beta, each=each, publish="v"))
            energy, drop_before = energy - drop, drop
            beta = max(state["rz"], 0.0) / rz
            excess = tracker.step(rz / pap, beta, max(state["rz"], 0.0))
            iteration += 1
