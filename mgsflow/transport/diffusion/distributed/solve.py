"""Diffusion through one phase of a volume that is larger than memory, or on a cluster.

Two-level conjugate gradients: each block applies its own multigrid cycle, and a coarse level that all blocks share is
projected out, so that what is left converges as in one piece (deflation). An iteration is one pass over a block's
voxels and a short exchange of faces; between the two the driver solves the coarse equations.

References
----------
Tang, J. M., Nabben, R., Vuik, C. & Erlangga, Y. A. (2009). Comparison of two-level preconditioners derived from
deflation, domain decomposition and multigrid methods. J. Sci. Comput. 39, 340-370. doi:10.1007/s10915-009-9272-6
(there, A-DEF2).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Sink
from mgsflow.compute.supersteps.checkpoint import Checkpoint, Checkpoints
from mgsflow.compute.supersteps.executor import Executor, run_to_end, sum_blocks
from mgsflow.compute.supersteps.subdomain import FaceNeighbours
from mgsflow.errors import InputError
from mgsflow.solvers.arithmetic import dot
from mgsflow.solvers.energy_error import EnergyError
from mgsflow.solvers.solution import BROKE_DOWN, CONVERGED, NOT_CONVERGED, Step
from mgsflow.transport.diffusion.distributed.block import MakeDiffusionBlock
from mgsflow.transport.diffusion.distributed.coarse import CoarseLevel
from mgsflow.transport.diffusion.flux_maps import FluxMaps, Maps
from mgsflow.transport.diffusion.medium import Medium

#: Smallest eigenvalue of the preconditioned operator that is taken for granted in the estimate of the error.
LOWEST = 0.2


@dataclass(frozen=True)
class BlockSolution:
    """How a distributed solve ended, per unit conductance of a face along the flow.

    Attributes
    ----------
    status : str
        As of `mgsflow.solvers.solution.Solution`, or "" where nothing percolates and there was nothing to solve.
    conducting, percolating : int
        Voxels.
    energy : float
        Flux: the energy, less what is still to come off it as far as the last steps tell.
    error_estimate : float
        Estimated relative error of it.
    plane_fluxes : ndarray, shape (length + 1,)
        Flux through every plane between voxels along the flow, the end faces included.
    unknowns : int
        Of the coarse level.
    iterations : int
    history : tuple of Step
    seconds : dict of str to float
    maps : tuple of ndarray, or None
        Of the flux density, as `mgsflow.transport.diffusion.flux_maps.FluxMaps` has them, if asked for.
    """

    status: str
    conducting: int
    percolating: int
    energy: float
    error_estimate: float
    plane_fluxes: np.ndarray
    unknowns: int
    iterations: int
    history: tuple[Step, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    maps: Maps | None = None


def solve_in_blocks(
    executor: Executor,
    medium: Medium,
    grid: Grid,
    axis: int,
    conductance: tuple[float, float, float],
    rtol: float,
    most: int = 200,
    checkpoints: Checkpoints | None = None,
    watch: Callable[[Step], None] | None = None,
    out: Sink | None = None,
    maps: bool = False,
    flux_out: Sink | None = None,
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
        Relative error of the flux that is allowed; what single precision gives, about 1e-6, is the limit.
    most : int
        Iterations allowed.
    checkpoints : Checkpoints, optional
    watch : callable, optional
        Called with a `Step` after each iteration; what it raises ends the solve.
    out : Sink, optional
        Takes the concentration, block by block, where the solve converged.
    maps : bool
        Whether to return the maps of the flux density.
    flux_out : Sink, optional
        Takes the flux density, as `out` does the concentration.

    Raises
    ------
    InputError
        If the grid is not one of the medium, or rtol is too small.
    ComputeError
        If too many workers were lost.
    """
    if grid.shape != medium.shape:
        raise InputError(f"blocks of a volume of {grid.shape} voxels cannot hold an image of {medium.shape}")
    if rtol < 1e-6:
        raise InputError(f"blocks are solved in single precision: rtol must be at least 1e-6, got {rtol}")
    make = MakeDiffusionBlock(grid, medium, axis, conductance)
    solve = _Solve(executor, grid, axis, rtol, most, checkpoints, watch, _Fields(out, maps, flux_out))
    return run_to_end(executor, make, solve.run, checkpoints)


@dataclass(frozen=True)
class _Reached:
    """How conjugate gradients ended: with which energy, what is still to come off it, and the error that leaves."""

    status: str
    iteration: int
    energy: float
    rest: float
    error: float


@dataclass(frozen=True)
class _Fields:
    """What is wanted of the solution beside numbers."""

    out: Sink | None
    maps: bool
    flux_out: Sink | None


class _Solve:
    """The driver's side: scalars, the coarse level, and what to do next."""

    def __init__(
        self,
        executor: Executor,
        grid: Grid,
        axis: int,
        rtol: float,
        most: int,
        checkpoints: Checkpoints | None,
        watch: Callable[[Step], None] | None,
        fields: _Fields,
    ) -> None:
        self.fields = fields
        self.executor, self.grid, self.axis = executor, grid, axis
        self.rtol, self.most, self.checkpoints, self.watch = rtol, most, checkpoints, watch
        self.begin = time.perf_counter()

    def run(self, saved: Checkpoint | None) -> BlockSolution:
        self.seconds: dict[str, float] = {}
        self._clock = time.perf_counter()
        self.history: list[Step] = [Step(**s) for s in saved.header["history"]] if saved is not None else []
        coarse = self._set_up()
        conducting, percolating = self._conducting, int(coarse.voxels.sum())
        length = self.grid.shape[self.axis]
        if not percolating:
            nothing = np.zeros(length + 1)
            return BlockSolution("", conducting, 0, 0.0, 0.0, nothing, 0, 0, (), self.seconds)
        iteration = self.history[-1].iteration if self.history else 0
        state = self._first(coarse) if saved is None else self._take_up(coarse)
        while True:
            reached = self._iterate(coarse, state, iteration)
            iteration = reached.iteration
            ended = self._look(coarse)
            if reached.status != CONVERGED:
                break
            # the recurrences are checked against what x itself says; in exact arithmetic they agree
            if abs(ended["energy"] - reached.energy) <= max(0.25 * self.rtol, 1e-6) * reached.energy:
                break
            state = self._start(coarse, coarse.solve(ended["residual"])[0])
        maps = self._write() if reached.status == CONVERGED else None
        return BlockSolution(
            reached.status,
            conducting,
            percolating,
            ended["energy"] - reached.rest,
            reached.error,
            ended["flows"],
            coarse.size,
            iteration,
            tuple(self.history),
            self.seconds,
            maps,
        )

    def _write(self) -> Maps | None:
        """Store the fields that are asked for; return the maps of the flux density, if they are."""
        fields = self.fields
        if fields.out is not None:
            self.executor.step("write", fields.out)
        maps = None
        if fields.maps or fields.flux_out is not None:
            found = self.executor.step("show_flux", self.grid.shape[self.axis], fields.flux_out)
            gathered = FluxMaps(self.grid.shape)
            for block in self.grid.blocks():
                gathered.add(block.core, found[block.index])
            maps = gathered.means()
        self._lap("fields")
        return maps

    def _set_up(self) -> CoarseLevel:
        step = self.executor.step
        step("show", publish="mask")
        shares = step("join", pull="mask", publish="numbers")
        seams = step("meet", pull="numbers")
        coarse = CoarseLevel(FaceNeighbours(self.grid.counts), shares, seams)
        self._conducting = int(coarse.voxels.sum())
        self._lap("joining blocks")
        kept = coarse.keep_percolating()
        self._lap("percolation")
        if coarse.size:
            step("keep", each={b: (k,) for b, k in kept.items()}, publish="numbers")
            coarse.need(step("adjoin", pull="numbers"))
        self._lap("cycles")
        return coarse

    def _first(self, coarse: CoarseLevel) -> dict[str, Any]:
        guess, _ = coarse.solve(coarse.source)
        self._lap("coarse level")
        return self._start(coarse, guess)

    def _take_up(self, coarse: CoarseLevel) -> dict[str, Any]:
        self.executor.step("take_up")
        return self._start(coarse, coarse.solve(self._look(coarse)["residual"])[0])

    def _look(self, coarse: CoarseLevel) -> dict[str, Any]:
        """Return energy, residual over the coarse level, and plane fluxes, from x alone."""
        step = self.executor.step
        step("faces_of_x", publish="x")
        found = step("take_x", pull="x")
        flows = np.zeros(self.grid.shape[self.axis] + 1)
        for block in self.grid.blocks():
            part = found[block.index]["flows"]
            start, stop = block.core.start[self.axis], block.core.stop[self.axis]
            # a plane between two blocks is told of by the lower one
            lower = 1 if start else 0
            flows[start + lower : stop + 1] += part[lower:]
        self._lap("looking")
        return {
            "energy": float(sum_blocks({b: f["energy"] for b, f in found.items()})),
            "residual": coarse.from_blocks({b: f["residual"] for b, f in found.items()}),
            "flows": flows,
        }

    def _start(self, coarse: CoarseLevel, correction: np.ndarray) -> dict[str, Any]:
        return self._joined(coarse, self.executor.step("start", each=coarse.to_blocks(correction), publish="v"))

    def _joined(self, coarse: CoarseLevel, found: Mapping[Triple, dict[str, Any]]) -> dict[str, Any]:
        """Add up what the blocks say of their cycles, and what the links between them change."""
        across = self.executor.step("exchange", pull="v")
        names = [name for name in ("rv", "av", "rr", "energy") if name in next(iter(found.values()))]
        state: dict[str, Any] = {n: float(sum_blocks({b: f[n] for b, f in found.items()})) for n in names}
        state["av"] += float(sum_blocks({b: a[0] for b, a in across.items()}))
        residual = coarse.from_blocks({b: f["residual"] for b, f in found.items()})
        product = coarse.from_blocks({b: f["product"] + across[b][1] for b, f in found.items()})
        self._lap("blocks")
        correction, lifted = coarse.solve(product - residual)
        self._lap("coarse level")
        # z = v - Z correction, and Zᵀ A Z correction = lifted
        state["rz"] = state["rv"] - dot(residual, correction)
        state["az"] = state["av"] + dot(correction, lifted - 2 * product)
        state["correction"] = correction
        return state

    def _iterate(self, coarse: CoarseLevel, state: dict[str, Any], iteration: int) -> _Reached:
        """Run conjugate gradients from a start, until the energy of the next iterate is near enough to the lowest."""
        energy = state["energy"]
        tracker = EnergyError(LOWEST)
        excess = tracker.start(max(state["rz"], 0.0))
        beta = along = before = 0.0
        while True:
            rz, along = state["rz"], state["az"] - beta * beta * along
            if not (rz >= 0 and along > 0 and np.isfinite(along)):
                status = CONVERGED if rz == 0 else BROKE_DOWN
                return _Reached(status, iteration, energy, 0.0, excess / energy)
            # what the next step takes off the energy is known before it is taken
            drop = rz * rz / along
            left = max(excess - drop, 0.0)
            error = left / (energy - drop)
            self._note(Step(iteration, energy - drop, error, time.perf_counter() - self.begin))
            # a last step that takes off more than is allowed leaves what follows it too uncertain
            enough = error <= self.rtol and drop <= self.rtol * energy
            if enough or iteration >= self.most:
                # what follows is taken to shrink as the last steps did
                shrinks = min(drop / before, 0.5) if before > 0 else 0.0
                rest = drop + min(drop * shrinks / (1 - shrinks), left / 2)
                return _Reached(CONVERGED if enough else NOT_CONVERGED, iteration, energy, rest, error)
            if iteration and self.checkpoints is not None and self.checkpoints.due():
                self.executor.checkpoint(self.checkpoints, {"history": [vars(s) for s in self.history]})
                self._lap("checkpoints")
            each = coarse.to_blocks(state["correction"])
            state = self._joined(coarse, self.executor.step("advance", rz / along, beta, each=each, publish="v"))
            energy, before = energy - drop, drop
            beta = max(state["rz"], 0.0) / rz
            excess = tracker.step(rz / along, beta, max(state["rz"], 0.0))
            iteration += 1

    def _note(self, step: Step) -> None:
        self.history.append(step)
        if self.watch is not None:
            self.watch(step)

    def _lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._clock
        self._clock = now
