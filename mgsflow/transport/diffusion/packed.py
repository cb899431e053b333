"""Diffusion through one phase of uniform diffusivity: the fast solver, on packed voxels.

Conjugate gradients on the red voxels, preconditioned by one multigrid cycle: a forward and a backward Gauss–Seidel
sweep around a coarse correction on the connected parts of 2×2×2 boxes. The first guess is the smoothed solution of that
first coarse level. The flux is the energy of the concentration, and its error the square of the concentration's error.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mgsflow.solvers.aggregation import Hierarchy
from mgsflow.solvers.energy_error import EnergyError, relative_error
from mgsflow.solvers.graph_kernel import GROUP, combine, group_dots
from mgsflow.solvers.huge_pages import zeros
from mgsflow.solvers.solution import BROKE_DOWN, CONVERGED, NOT_CONVERGED, History, Step
from mgsflow.solvers.stopwatch import Stopwatch
from mgsflow.solvers.team import Team
from mgsflow.transport.diffusion import boxes as pack
from mgsflow.transport.diffusion import flux_kernel as flux
from mgsflow.transport.diffusion import packed_kernel as fine
from mgsflow.transport.diffusion.part_graph import part_graph
from mgsflow.transport.diffusion.solution import FluxSolution

#: Factor on the coarse correction of the finest level: piecewise constants on 2×2×2 boxes are twice too stiff.
OVERCORRECTION = 1.5

#: Lower bound that is assumed for the eigenvalues of the preconditioned operator in the estimate of the error.
LOWEST = 0.3

#: Tolerance below which vectors are in double precision.
DOUBLE = 2e-5

_START_ITERATIONS = 8
_START_RTOL = 2e-2
_SWEEPS = 2


class PackedDiffusion:
    """The diffusion equation on the voxels of packed boxes, held at 1 and 0 on the end faces along an axis.

    Parameters
    ----------
    boxes : ndarray of uint8, shape (Z, Y, X)
        Voxels that conduct, all of them connected to both ends.
    shape : (int, int, int)
        Voxels along (z, y, x).
    axis : int
    conductance : sequence of float
        Conductance of a face along z, y, x over that along `axis`.
    dtype : {float32, float64}
        Of the vectors.
    team : Team
    """

    def __init__(
        self,
        boxes: np.ndarray,
        shape: tuple[int, int, int],
        axis: int,
        conductance: tuple[float, float, float],
        dtype: type[np.floating],
        team: Team,
    ) -> None:
        self.boxes, self.shape, self.axis, self.team = boxes, shape, axis, team
        self.dtype = np.dtype(dtype)
        self.planes = 2 * len(boxes)
        self.w = pack.code_weights(conductance, axis, dtype)
        self.last = shape[axis] - 1
        self._stopwatch = Stopwatch()
        self.padded = (self.planes + 2, 2 * boxes.shape[1] + 2, boxes.shape[2] + 2)
        self.red, self.black = zeros(self.padded, np.uint8), zeros(self.padded, np.uint8)
        codes = (pack.code_shifts(axis), axis, self.last, self.red, self.black)
        team.run(pack.neighbour_counts, 0, len(boxes), boxes, *codes, grain=pack.plane_grain(boxes))
        self._stopwatch.lap("codes")
        parts = part_graph(boxes, shape, axis, conductance, team)
        self._first, self._source = parts.first, parts.source
        self._stopwatch.lap("first coarse level")
        self.hierarchy = Hierarchy(parts.graph, team=team)
        del parts
        self._stopwatch.lap("coarse levels")

    def solve(self, rtol: float, max_iterations: int, progress: Callable[[Step], None] | None = None) -> FluxSolution:
        """Solve for the concentration until the flux is within `rtol`; keep it in ``x``."""
        history = History(progress)
        lap = self._stopwatch.lap
        x = self.x = zeros(self.padded, self.dtype)
        r = zeros(self.padded, self.dtype)
        self._guess(x, r)
        lap("first guess")
        p = zeros(self.padded, self.dtype)
        iteration, status = 0, NOT_CONVERGED
        while True:
            # the recurrences start from the residual of x itself, and restart from it
            value = self._residual(x, r)
            tracker = EnergyError(LOWEST)
            rz = self._precondition(r, p)
            estimate = relative_error(tracker.start(max(rz, 0.0)), value)
            history.record(iteration, value, estimate)
            beta, fresh = 0.0, True
            while estimate > rtol and iteration < max_iterations:
                energy_of_p = self._update_direction(r, beta, p) - self._black_energy(p)
                if not (energy_of_p > 0 and rz > 0 and np.isfinite(energy_of_p)):
                    status = BROKE_DOWN
                    break
                alpha = rz / energy_of_p
                self._run(fine.update, self.red, self.black, self.w, p, self.dtype.type(alpha), x, r)
                value -= alpha * rz
                before, rz = rz, self._precondition(r, p)
                beta = max(rz, 0.0) / before
                iteration += 1
                estimate = relative_error(tracker.step(alpha, beta, max(rz, 0.0)), value)
                fresh = False
                history.record(iteration, value, estimate)
            lap("iterations")
            energy, fluxes = self._energy(x)
            lap("flux")
            if status == BROKE_DOWN or (iteration >= max_iterations and estimate > rtol):
                break
            # in exact arithmetic the two energies agree; where they do not, the residual has drifted
            if fresh or abs(energy - value) <= max(0.25 * rtol, 1e-12) * energy:
                status = CONVERGED
                break
        return FluxSolution(
            status=status,
            energy=energy,
            error_estimate=estimate,
            plane_fluxes=fluxes,
            iterations=iteration,
            history=tuple(history.steps),
            seconds=dict(self._stopwatch.seconds),
        )

    def release(self) -> None:
        """Free what only the solve needs, most of the memory; the concentration stays."""
        del self.hierarchy, self._first

    def concentration(self) -> np.ndarray:
        """Return the concentration on plain voxels, float32, NaN where nothing conducts."""
        out = np.empty(self.shape, np.float32)
        grain = self._grain()
        self.team.run(flux.unpack, 0, self.shape[0], self.red, self.black, self.w, self.axis, self.x, out, grain=grain)
        return out

    # ------------------------------------------------------------------ parts of the iteration

    def _guess(self, x: np.ndarray, other: np.ndarray) -> None:
        """Solve on the first coarse level and smooth: the flux is then within a few tenths of a per cent."""
        coarse = self._coarse_solution()
        self._run(fine.spread_parts, self.boxes, self._first, pack.PART_OF, coarse.astype(self.dtype, copy=False), x)
        del coarse
        for _ in range(_SWEEPS // 2):
            for before, after in ((x, other), (other, x)):
                self._run(fine.smooth, self.red, self.black, self.w, self.axis, before, after)

    def _coarse_solution(self) -> np.ndarray:
        b = self._source
        total = float(b.sum(dtype=np.float64))
        x, p, z, ap = (zeros(b.size, b.dtype) for _ in range(4))
        r = b  # the source is not needed again
        del b, self._source
        value, before = total, 0.0
        kind = np.float32
        for i in range(_START_ITERATIONS):
            self.hierarchy.cycle(r, z)
            rz = self._dot(r, z)
            if not rz > 0:
                break
            self._combine(kind(rz / before if i else 0.0), p, kind(1), z)
            self.hierarchy.product(p, ap)
            energy = self._dot(p, ap)
            if not energy > 0:
                break
            step, before = rz / energy, rz
            self._combine(kind(1), x, kind(step), p)
            self._combine(kind(1), r, kind(-step), ap)
            value -= step * rz
            if step * rz <= _START_RTOL * value:
                break
        return x

    def _residual(self, x: np.ndarray, r: np.ndarray) -> float:
        sums = np.zeros((self.planes, 2))
        self._run(flux.residual, self.red, self.black, self.w, self.axis, self.last, x, r, sums)
        flow, product = sums.sum(axis=0)
        # E(x) = c - b·x - r·x, where c - b·x is the flux through the inlet
        return float(flow - product)

    def _precondition(self, r: np.ndarray, p: np.ndarray) -> float:
        """Solve the coarse problem for a residual; return r·z."""
        top = self.hierarchy.levels[0]
        tables = (self.boxes, self._first)
        self._run(fine.restrict, self.red, self.black, self.w, *tables, pack.PARTS, pack.PART_OF, r, top.b)
        self._stopwatch.lap("iterations")
        self.hierarchy.correct(top.b, top.x)
        self._stopwatch.lap("coarse corrections")
        return self._finest(r, False, 0.0, p)

    def _update_direction(self, r: np.ndarray, beta: float, p: np.ndarray) -> float:
        """Set p to z + beta p; return the sum of d p²."""
        return self._finest(r, True, beta, p)

    def _finest(self, r: np.ndarray, update: bool, beta: float, p: np.ndarray) -> float:
        sums = np.zeros(self.planes)
        tables = (self.red, self.black, self.w, self.boxes, self._first, pack.PART_OF)
        correction, kind = self.hierarchy.levels[0].x, self.dtype.type
        self._run(fine.precondition, *tables, correction, kind(OVERCORRECTION), r, update, kind(beta), p, sums)
        return float(sums.sum())

    def _black_energy(self, p: np.ndarray) -> float:
        sums = np.zeros(self.planes)
        self._run(fine.black_energy, self.black, self.w, p, sums)
        return float(sums.sum())

    def _energy(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        sums, fluxes = np.zeros(self.planes), np.zeros((self.planes, self.last + 2))
        self._run(flux.energy_and_fluxes, self.red, self.black, self.w, self.axis, self.last, x, sums, fluxes)
        return float(sums.sum()), fluxes.sum(axis=0)

    def _dot(self, x: np.ndarray, y: np.ndarray) -> float:
        sums = np.zeros((-(-x.size // GROUP), 2))
        self.team.run(group_dots, 0, len(sums), x, y, y, sums, grain=16)
        return float(sums[:, 0].sum())

    def _combine(self, a: np.floating, x: np.ndarray, b: np.floating, y: np.ndarray) -> None:
        self.team.run(combine, 0, x.size, a, x, b, y, grain=1 << 18)

    def _grain(self) -> int:
        return 2 * max(2, (1 << 17) // (self.padded[1] * self.padded[2]))

    def _run(self, kernel: Callable[..., None], *arguments: object) -> None:
        self.team.run(kernel, 0, self.planes, *arguments, grain=self._grain(), align=2)
