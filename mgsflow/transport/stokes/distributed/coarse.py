"""What the driver holds of a Stokes solve in slabs: percolation, and the coarse levels that all slabs share.

Slabs sweep over voxels and over boxes of 2×2×2 faces; the driver has the larger boxes of the velocity, and the parts of
the pores in boxes of 2×2×2 voxels, which carry the pressure's graph.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from mgsflow.blocks import Triple
from mgsflow.compute.supersteps.executor import Executor
from mgsflow.solvers.graph import Graph
from mgsflow.solvers.team import Team
from mgsflow.transport.stokes.distributed.duct import Duct
from mgsflow.transport.stokes.pressure.schur import PressureParts
from mgsflow.transport.stokes.velocity.coarse import LIFT, Boxes, CoarseVelocity, velocity_boxes

PLANES = "planes"
"""Name of what slabs publish: one for all, so that nothing is kept that the next step does not ask for."""

PIECE = 2
"""Planes of boxes whose graph a slab tells of at a time."""


class SharedLevels:
    """The steps that set slabs up and precondition, and the coarse levels between them.

    Parameters
    ----------
    executor : Executor
    duct : Duct
    team : Team
        Threads of this process: slabs wait while it works.
    parallel : int
        Slabs that are worked on at once.
    """

    def __init__(self, executor: Executor, duct: Duct, team: Team, parallel: int) -> None:
        self.executor, self.duct, self.team, self.parallel = executor, duct, team, parallel
        self.slabs = duct.slabs
        self.blocks: list[Triple] = [(i, 0, 0) for i in range(len(self.slabs))]
        #: seconds of each step, and of what the driver does between them
        self.seconds: dict[str, float] = {}
        self._clock = time.perf_counter()

    # ------------------------------------------------------------------ set-up

    def percolate(self) -> tuple[int, int]:
        """Keep the pores that lead from inlet to outlet; return those of the image, and those that are kept."""
        step = self.step
        labels = step("label", publish=PLANES)
        pairs = step("meet", pull=PLANES)
        lower, upper = [np.asarray(p[1]) for p in labels], [np.asarray(p[2]) for p in labels]
        own = [np.union1d(a, b) for a, b in zip(lower, upper)]
        start = np.concatenate([[0], np.cumsum([o.size for o in own])])
        first = [np.empty(0, np.int64)]
        second = [np.empty(0, np.int64)]
        for i, found in enumerate(pairs):
            if len(found):
                first.append(start[i - 1] + np.searchsorted(own[i - 1], found[:, 0]))
                second.append(start[i] + np.searchsorted(own[i], found[:, 1]))
        n = int(start[-1])
        ends = (np.concatenate(first), np.concatenate(second))
        _, part = sp.csgraph.connected_components(
            sp.coo_array((np.ones(ends[0].size, np.int8), ends), (n, n)), directed=False
        )
        inlet = part[np.searchsorted(own[0], lower[0])]
        outlet = part[start[-2] + np.searchsorted(own[-1], upper[-1])]
        through = np.isin(part, np.intersect1d(inlet, outlet))
        roots = {b: (o[through[s : s + o.size]],) for b, o, s in zip(self.blocks, own, start)}
        kept = step("keep", each=roots, publish=PLANES)
        return sum(p[0] for p in labels), sum(kept)

    def set_up(self) -> int:
        """Make matrix, weights and coarse levels; return how many voxels a ball of 4 covers."""
        step, duct = self.step, self.duct
        covered = sum(step("code", pull=PLANES, publish=PLANES))
        step("take_codes", pull=PLANES)
        self._velocity_levels()
        self.lap("velocity's matrices")
        sums = step("smooth_ones", publish=PLANES)
        self.precondition_velocity(sums, 1.0)
        found = np.concatenate(step("product_sums", pull=PLANES), axis=-1).sum(axis=-1)
        steepest = tuple(float(a / b) if b > 0 else 1.0 for a, b in found)
        step("pack", steepest, publish=PLANES)
        parts = np.array(step("split", pull=PLANES), np.int64)
        #: first part of each slab
        self.start = np.concatenate([[0], np.cumsum(parts[:, 0])])
        self.pressure = PressureParts(self._graph(int(parts[:, 1].sum())), duct.edges, self.team)
        self.lap("pressure's matrices")
        # which parts each slab needs: those before its first, its own, and those after
        self.needs = step("needs")
        return covered

    def _graph(self, links: int) -> Graph:
        """Return the pressure's graph: slabs tell of theirs piece by piece, or workers would run out of memory."""
        n = int(self.start[-1])
        starts = np.zeros(n + 1, np.int32 if links < 2**31 else np.int64)
        ends: np.ndarray = np.empty(links, np.int32)
        values: np.ndarray = np.empty(links, np.float32)
        ground, key = np.empty(n, np.float32), np.empty(n, np.int64)
        at = 0
        for i in range(0, len(self.blocks), self.parallel):
            turn = range(i, min(i + self.parallel, len(self.blocks)))
            pieces = {k: _pieces(*self.slabs[k].voxel_boxes) for k in turn}
            told: dict[int, list[tuple[np.ndarray, ...]]] = {k: [] for k in turn}
            for j in range(max(len(p) for p in pieces.values())):
                each = {self.blocks[k]: pieces[k][j] for k in turn if j < len(pieces[k])}
                found = self.step("link", each=each)
                for k in turn:
                    if found[k] is not None:
                        told[k].append(found[k])
            for k in turn:
                first = position = int(self.start[k])
                for counts, other, weights, grounds, keys in told.pop(k):
                    last = position + counts.size
                    starts[position + 1 : last + 1] = np.cumsum(counts, dtype=starts.dtype) + starts[position]
                    np.add(other, np.int32(first), out=ends[at : at + other.size])
                    values[at : at + other.size] = weights
                    ground[position:last], key[position:last] = grounds, keys
                    at += other.size
                    position = last
        return Graph.from_links(starts, ends, values, ground, key)

    # ------------------------------------------------------------------ preconditioners

    def precondition_velocity(self, sums: list[np.ndarray], scale: float) -> None:
        """Finish the velocity's cycle that slabs have begun, from what they say of their boxes."""
        step = self.step
        if not self.deep:
            step("correct_velocity", scale, each=self._larger_boxes(sums), pull=PLANES, publish=PLANES)
            return
        sums = step("smooth_boxes", pull=PLANES, publish=PLANES)
        step("correct_boxes", each=self._larger_boxes(sums), pull=PLANES, publish=PLANES)
        sums = step("smooth_boxes_again", pull=PLANES, publish=PLANES)
        step("finish_boxes", each=self._larger_boxes(sums), pull=PLANES, publish=PLANES)
        step("correct_velocity", scale, pull=PLANES, publish=PLANES)

    def _larger_boxes(self, sums: list[np.ndarray]) -> dict[Triple, tuple[np.ndarray]]:
        """Return what the driver's levels give for all slabs' sums, as each slab needs it."""
        coarse: list[list[np.ndarray]] = [[] for _ in self.slabs]
        for d in range(3):
            right_side = self.velocity.right_side
            for (a, b), part in zip(self.own, sums):
                right_side[a:b] = part[d]
            found = self.velocity.solve(d)
            for (a, b), mine in zip(self.held, coarse):
                mine.append(found[a:b].copy())
        self.lap("coarse velocity")
        return {b: (np.stack(c),) for b, c in zip(self.blocks, coarse)}

    def _velocity_levels(self) -> None:
        """Make the driver's levels of the velocity: those beyond the slabs' boxes, or of these if there are no more."""
        duct = self.duct
        shifts, shapes = velocity_boxes(duct.shape, duct.edges)
        self.deep = len(shapes) > 1
        boxed = [slab.of_boxes(shapes[0], shifts[min(1, len(shifts) - 1)]) for slab in self.slabs]
        if self.deep:
            #: planes of the driver's finest level that each slab tells of, and those that it needs
            self.own = [(s.box_offset + s.boxes[0], s.box_offset + s.boxes[1]) for s in boxed]
            self.held = [(s.box_offset, s.box_offset + s.box_planes) for s in boxed]
            shifts, shapes = shifts[1:], shapes[1:]
        else:
            self.own = [(s.offset + s.start, s.offset + s.end) for s in boxed]
            self.held = [(s.offset, s.offset + s.planes) for s in boxed]
        self.step("sum_boxes", publish=PLANES)
        parts = self.step("take_boxes", pull=PLANES, each={b: (self.deep,) for b in self.blocks})
        finest = []
        for d in range(3):
            box = Boxes.zeros(shapes[0])
            for (a, b), part in zip(self.own, parts):
                for e, values in zip(box.arrays, part[d]):
                    e[a:b] = values
            finest.append(box)
        lift = np.float32(1) if self.deep else LIFT
        self.velocity = CoarseVelocity(finest, shifts, shapes, duct.periodic, self.team, lift)

    def precondition_pressure(self, method: str, sums: list[np.ndarray]) -> list[Any]:
        """Finish the pressure's cycle from the sums of all slabs over their parts."""
        np.concatenate(sums, out=self.pressure.right_side)
        found = self.pressure.solve()
        each = {}
        for b, start, (before, needed) in zip(self.blocks, self.start, self.needs):
            each[b] = (found[start - before : start - before + needed].copy(),)
        self.lap("coarse pressure")
        return self.step(method, each=each, pull=PLANES, publish=PLANES)

    def step(
        self, method: str, *common: Any, each: Mapping[Triple, tuple[Any, ...]] | None = None, **faces: str
    ) -> list[Any]:
        """Call a method on all slabs, and return their results in order; see `Executor.step`."""
        found = self.executor.step(method, *common, each=each, **faces)
        self.lap(method)
        return [found[b] for b in self.blocks]

    def lap(self, name: str) -> None:
        """Note the time since the last call."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._clock
        self._clock = now


def _pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """Return a range of planes of boxes in pieces."""
    return [(a, min(a + PIECE, stop)) for a in range(start, stop, PIECE)]
