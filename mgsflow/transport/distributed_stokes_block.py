"""One slab of a Stokes solve: the vectors of the iteration.

The vectors are those of `mgsflow.transport.stokes_bramble_pasciak`: the direction d, the preconditioned residual z,
h = H z, y = P⁻¹ K d and q, first K d and then H y. What y will hold is scratch for sweeps before. Each vector has the
planes of the neighbours that the slab needs; sums are returned by plane, so that they do not depend on the cuts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.compute import Sink
from mgsflow.compute.block_store import BlockArrays
from mgsflow.transport import stokes_pressure_kernel as pressure
from mgsflow.transport import stokes_saddle_kernel as saddle
from mgsflow.transport.distributed_stokes_setup import Duct, Faces, StokesSlab
from mgsflow.transport.distributed_stokes_slab import HALO, Slab
from mgsflow.transport.stokes_boxes import LIFT, MIX, ONCE, STEPS
from mgsflow.transport.stokes_coarse_kernel import (
    apply_boxes,
    correct_and_smooth_boxes,
    smooth_boxes_and_restrict,
)
from mgsflow.transport.stokes_fine_kernel import correct_and_smooth, smooth_and_restrict
from mgsflow.transport.stokes_pressure import IDENTITY

Answer = tuple[Any, dict[Any, np.ndarray]]
"""What a step returns, and the planes that it publishes."""


@dataclass(frozen=True)
class FlowSinks:
    """Where the fields of a flow go, block by block.

    Attributes
    ----------
    pressure : Sink, optional
        1 at the inlet, 0 at the outlet, NaN where nothing flows; float32.
    velocity : tuple of three Sink, optional
        Components along (z, y, x) at the centres of voxels, in µm/s at a pressure drop over viscosity of 1 s⁻¹;
        float32.
    """

    pressure: Sink | None = None
    velocity: tuple[Sink, Sink, Sink] | None = None

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """All of them."""
        return tuple(s for s in (self.pressure, *(self.velocity or ())) if s is not None)


class StokesBlock(StokesSlab):
    """The slab at a position, with its vectors."""

    # ------------------------------------------------------------------ preconditioners

    def smooth_ones(self) -> Answer:
        """Smooth the velocity that a uniform gradient drives, for the weights of faces."""
        codes, q = self.arrays["codes"], self.arrays.edit("q")
        for d in range(3):
            np.multiply(codes[d] > 0, self.half[d][:, None, None], out=q[d])
        return self._smooth_velocity(self.arrays["q"])

    def smooth_boxes(self, faces: Faces) -> Answer:
        """Smooth on the slab's boxes; return the sums over its own larger boxes, (3, boxes, …)."""
        _unpack(faces, (self.slab, self.arrays.edit("y")[:3]), (self.boxed, self.arrays.edit("box_b")))
        return self._smooth_boxes()

    def correct_boxes(self, faces: Faces, coarse: np.ndarray) -> Answer:
        """Finish the first of two cycles on boxes."""
        return self._correct_boxes(faces, coarse, LIFT * ONCE)

    def smooth_boxes_again(self, faces: Faces) -> Answer:
        """Begin the second cycle, for what A makes of the first's result."""
        boxed, matrix, x = self.boxed, self.arrays["boxes"], self.arrays.edit("box_x")
        boxed.put(faces, x)
        b = self.arrays.edit("box_b")
        for d in range(3):
            apply_boxes(*boxed.around, *matrix[d], x[d], b[d])
        return self._smooth_boxes()

    def finish_boxes(self, faces: Faces, coarse: np.ndarray) -> Answer:
        """Finish the second cycle, and combine the two."""
        return self._correct_boxes(faces, coarse, MIX)

    def correct_velocity(self, faces: Faces, scale: float, coarse: np.ndarray | None = None) -> Answer:
        """Finish the velocity's cycle: y = scale · M q. Without larger boxes, what boxes add is given."""
        slab, codes = self.slab, self.arrays["codes"]
        q, y = self.arrays["q"], self.arrays.edit("y")
        if coarse is None:
            x = self.arrays.edit("box_x")
            self.boxed.put(faces, x)
        else:
            x = _own(coarse)
            slab.put(faces, y[:3])
        for d in range(3):
            # a plane of y is read before any of the result is written there or above
            correct_and_smooth(
                slab.start, slab.end, *self._component(codes, d), q[d], y[d], x[d, self.ahead :], STEPS,
                self.duct.periodic, slab.shift, np.float32(scale), y[d],
            )  # fmt: skip
        return None, slab.cut(y[:3])

    def _smooth_velocity(self, q: np.ndarray) -> Answer:
        """Begin the velocity's cycle for q; return the sums over the slab's own boxes if there are no larger ones."""
        slab, boxed, codes, y = self.slab, self.boxed, self.arrays["codes"], self.arrays.edit("y")
        deep = "boxes" in self.arrays
        b = self.arrays.edit("box_b") if deep else np.zeros((3, boxed.planes, *self._box_plane()), np.float32)
        for d in range(3):
            smooth_and_restrict(
                slab.start, slab.end, *self._component(codes, d), q[d], STEPS, self.duct.periodic, slab.shift, y[d],
                b[d, self.ahead :],
            )  # fmt: skip
        if deep:
            return None, _pack(slab.cut(y[:3]), boxed.cut(b))
        return b[:, boxed.start : boxed.end].copy(), slab.cut(y[:3])

    def _smooth_boxes(self) -> Answer:
        boxed, matrix = self.boxed, self.arrays["boxes"]
        b, x = self.arrays["box_b"], self.arrays.edit("box_s")
        coarse = np.zeros((3, boxed.box_planes, *self._box_plane(1)), np.float32)
        for d in range(3):
            smooth_boxes_and_restrict(
                boxed.start, boxed.end, *matrix[d], b[d], STEPS, self.duct.periodic, boxed.shift, x[d], coarse[d]
            )
        first, last = boxed.boxes
        return coarse[:, first:last].copy(), boxed.cut(x)

    def _correct_boxes(self, faces: Faces, coarse: np.ndarray, mix: np.ndarray) -> Answer:
        boxed, matrix, larger = self.boxed, self.arrays["boxes"], _own(coarse)
        b, smoothed, x = self.arrays["box_b"], self.arrays.edit("box_s"), self.arrays.edit("box_x")
        boxed.put(faces, smoothed)
        for d in range(3):
            correct_and_smooth_boxes(
                boxed.start, boxed.end, *matrix[d], b[d], smoothed[d], larger[d], STEPS, self.duct.periodic,
                boxed.shift, mix, x[d],
            )  # fmt: skip
        return None, boxed.cut(x)

    def _smooth_pressure(self, q: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Begin the pressure's cycle for q; return the sums over the slab's own parts."""
        slab = self.slab
        coarse = np.zeros(max(self.parts), np.float32)
        pressure.smooth_and_restrict_pressure(
            slab.start, slab.stop, *self._parts(), q[3], STEPS, self.duct.periodic, y[3], coarse
        )
        return coarse[self.parts[0] : self.parts[1]].copy()

    def _correct_pressure(self, faces: Faces, coarse: np.ndarray, identity: float, y: np.ndarray) -> None:
        slab = self.slab
        slab.put(faces, y[3])
        pressure.correct_and_smooth_pressure(
            slab.start, slab.stop, *self._parts(), self.arrays["q"][3], y[3], _own(coarse), STEPS, self.duct.periodic,
            np.float32(identity), y[3],
        )  # fmt: skip

    # ------------------------------------------------------------------ start by Darcy's law

    def darcy_begin(self) -> Answer:
        """Set the residual to that of no pressure, and begin the first cycle."""
        slab, q = self.slab, self.arrays.edit("q")
        for name in ("d", "h", "q", "y", "z"):
            self.arrays.edit(name)[:] = 0
        if slab.first:
            w = pressure.unpack_weights(self.arrays["weights"][0, 1])
            q[3, 1] = w * (self.arrays["pores"][1] > 0)
        return self.darcy_smooth(0.0)

    def darcy_smooth(self, alpha: float) -> Answer:
        """Take a step along the direction (kept in z), and begin the next cycle."""
        self._darcy_step(alpha)
        y = self.arrays.edit("y")
        return self._smooth_pressure(self.arrays["q"], y), self.slab.cut(y[3])

    def darcy_correct(self, faces: Faces, coarse: np.ndarray) -> Answer:
        """Finish the cycle; return the products of residual and result by plane."""
        slab, y = self.slab, self.arrays.edit("y")
        self._correct_pressure(faces, coarse, 0.0, y)
        line = np.zeros(slab.planes)
        saddle.dot_planes(slab.start, slab.stop, self.arrays["q"][3], y[3], line)
        return line[slab.start : slab.stop], slab.cut(y[3])

    def darcy_turn(self, faces: Faces, beta: float) -> np.ndarray:
        """Turn the direction; return its products with L times it, by plane."""
        slab = self.slab
        y, z, h = self.arrays.edit("y"), self.arrays.edit("z"), self.arrays.edit("h")
        slab.put(faces, y[3])
        saddle.add_scaled(0, slab.planes, z[3:], y[3:], np.float32(beta), np.float32(1))
        pressure.apply_pressure(*slab.around_voxels, *self.arrays["weights"], z[3], h[3])
        line = np.zeros(slab.planes)
        saddle.dot_planes(slab.start, slab.stop, z[3], h[3], line)
        return line[slab.start : slab.stop]

    def darcy_flow(self, alpha: float) -> Answer:
        """Take the last step, and set the velocity to what the pressure drives."""
        self._darcy_step(alpha)
        slab = self.slab
        d, q = self.arrays.edit("d"), self.arrays.edit("q")
        self._residual(d, q, (slab.start, slab.end))
        pressure.weigh(slab.start, slab.end, *self.arrays["weights"], q, d)
        if self.duct.periodic:
            saddle.fill_margin(slab.start, slab.end, d)
        for name in ("h", "z"):
            self.arrays.edit(name)[:] = 0
        return None, slab.cut(d)

    def _darcy_step(self, alpha: float) -> None:
        planes, a = self.slab.planes, np.float32(alpha)
        d, q, z, h = (self.arrays.edit(n) for n in "dqzh")
        saddle.add_scaled(0, planes, d[3:], z[3:], np.float32(1), a)
        saddle.add_scaled(0, planes, q[3:], h[3:], np.float32(1), -a)

    # ------------------------------------------------------------------ iteration

    def begin(self, faces: Faces, keep: bool) -> Answer:
        """Form the residual of what d holds, and begin the velocity's cycle; d becomes zero.

        Returns
        -------
        tuple
            Sums over boxes; by plane x·r, and the flow.
        """
        slab = self.slab
        d, q = self.arrays.edit("d"), self.arrays.edit("q")
        slab.put(faces, d)
        self._residual(d, q, slab.around)
        sums = np.zeros((2, slab.planes))
        line = np.zeros(slab.planes)
        for s in range(4):
            saddle.dot_planes(slab.start, slab.end, d[s], q[s], line)
            sums[0] += line
        sums[1] = d[0, :, 1:-1, 1:-1].sum(axis=(1, 2), dtype=np.float64)
        if keep:
            self.arrays["x"] = d.copy()
        d[:] = 0
        for name in ("h", "z"):
            self.arrays.edit(name)[:] = 0
        coarse, published = self._smooth_velocity(q)
        return (coarse, sums[:, slab.start : slab.end]), published

    def apply_metric(self, faces: Faces) -> Answer:
        """Set q to H y, and begin the pressure's cycle; return sums over parts, and d·H y by plane."""
        slab = self.slab
        y, q = self.arrays.edit("y"), self.arrays.edit("q")
        slab.put(faces, y[:3])
        line = np.zeros(slab.planes)
        saddle.apply_metric(*slab.around, *self._matrix(), y, self.arrays["d"], q, line)
        coarse = self._smooth_pressure(q, y)
        return (coarse, line[slab.start : slab.end]), slab.cut(y[3])

    def correct_pressure(self, faces: Faces, coarse: np.ndarray) -> Answer:
        """Finish the pressure's cycle; return y·h and y·q by plane."""
        slab, y = self.slab, self.arrays.edit("y")
        self._correct_pressure(faces, coarse, IDENTITY, y)
        h, q = self.arrays["h"], self.arrays["q"]
        sums, line = np.zeros((2, slab.planes)), np.zeros(slab.planes)
        for s in range(4):
            for i, other in enumerate((h, q)):
                saddle.dot_planes(slab.start, slab.end, y[s], other[s], line)
                sums[i] += line
        return sums[:, slab.start : slab.end], slab.cut(y[3])

    def advance(self, faces: Faces, alpha: float, beta: float) -> Answer:
        """Take a step, turn the direction, apply K to it, and begin the velocity's cycle.

        Returns
        -------
        tuple
            Sums over boxes; by plane those of `mgsflow.transport.stokes_saddle_kernel.apply_to_direction`.
        """
        slab, a = self.slab, np.float32(alpha)
        d, q, z, h, y = (self.arrays.edit(n) for n in "dqzhy")
        slab.put(faces, y[3])
        self._take(d, a)
        saddle.update(0, slab.planes, z, h, y, q, a, np.zeros(slab.planes))
        saddle.add_scaled(0, slab.planes, d, z, np.float32(beta), np.float32(1))
        sums = np.zeros((slab.planes, 4))
        saddle.apply_to_direction(*slab.around, *self._matrix(), d, z, h, q, sums)
        coarse, published = self._smooth_velocity(q)
        return (coarse, sums[slab.start : slab.end]), published

    def _take(self, d: np.ndarray, alpha: np.float32) -> None:
        """Take a step in the solution, where it is kept."""
        if "x" in self.arrays:
            saddle.add_scaled(0, self.slab.planes, self.arrays.edit("x"), d, np.float32(1), alpha)

    def _residual(self, x: np.ndarray, r: np.ndarray, planes: tuple[int, int]) -> None:
        """Set r to f − K x on some planes."""
        saddle.apply_saddle(*planes, *self._matrix(), x, r)
        part = r[:, planes[0] : planes[1]]
        np.negative(part, out=part)
        if self.slab.first:
            r[0, 1, 1:-1, 1:-1] += self.arrays["codes"][0, 1, 1:-1, 1:-1] > 0

    # ------------------------------------------------------------------ the end, and beginning again

    def finish(self, alpha: float) -> None:
        """Take the last step in the solution."""
        self._take(self.arrays["d"], np.float32(alpha))

    def save(self) -> dict[str, np.ndarray]:
        """Return the solution: all else follows from it."""
        slab = self.slab
        return {"x": self.arrays["x"][:, slab.start : slab.end]}

    def load(self, saved: Mapping[str, np.ndarray]) -> None:
        """Take up the solution in a slab that was just made; it is looked at when the set-up is done."""
        self.arrays["saved"] = saved["x"]

    def take_up(self) -> Answer:
        """Put the solution that was loaded in its place; one of another problem is no use, and no harm."""
        slab, d = self.slab, self.arrays.edit("d")
        saved = self.arrays["saved"]
        d[:] = 0
        own = d[:, slab.start : slab.end]
        if saved.shape == own.shape:
            own[:] = saved
            # what is no face or pore holds nothing, whatever the image was
            own[:3] *= self.arrays["codes"][:, slab.start : slab.end] > 0
            own[3] *= self.arrays["pores"][slab.start : slab.end] > 0
        del self.arrays["saved"]
        return None, slab.cut(d)

    def write(self, sinks: FlowSinks, turn: bool = True) -> None:
        """Store the slab's fields, if it is its turn."""
        duct = self.duct
        box = duct.box(*duct.image_planes(self.slab))
        if not turn or not box.size:
            return
        if sinks.velocity is not None:
            for d in range(3):
                sinks.velocity[duct.order[d]].write(box, self.velocity(d))
        if sinks.pressure is not None:
            sinks.pressure.write(box, self.pressure())

    def velocity(self, d: int) -> np.ndarray:
        """Return component d of the velocity at the centres of the image's voxels, in the image's order of axes."""
        start, stop = self._image_part()
        x = self.arrays["x"][d]
        here = (slice(start, stop), slice(1, -1), slice(1, -1))
        ahead = tuple(slice(s.start + 1, (s.stop + 1) or None) if e == d else s for e, s in enumerate(here))
        centre = (x[here] + x[ahead]) * np.float32(self.duct.edges[d] / 2)
        return np.ascontiguousarray(centre.transpose(np.argsort(self.duct.order)))

    def pressure(self) -> np.ndarray:
        """Return the pressure at the centres of the image's voxels, in the image's order of axes."""
        start, stop = self._image_part()
        here = (slice(start, stop), slice(1, -1), slice(1, -1))
        value = np.where(self.arrays["pores"][here] > 0, self.arrays["x"][3][here], np.float32(np.nan))
        return np.ascontiguousarray(value.transpose(np.argsort(self.duct.order)))

    # ------------------------------------------------------------------ arguments of kernels

    def _matrix(self) -> tuple[np.ndarray, ...]:
        return (self.arrays["pores"], *self.arrays["codes"], self.half, self.weights)

    def _parts(self) -> tuple[Any, ...]:
        return (self.arrays["pores"], self.slab.shift, self.arrays["first"], *self.arrays["weights"])


@dataclass(frozen=True)
class MakeStokesBlock:
    """Factory of the slabs: reads the voxels of each where they are."""

    duct: Duct

    def __call__(self, index: Triple, arrays: BlockArrays) -> StokesBlock:
        """Return the slab at a position along the flow."""
        return StokesBlock(index[0], arrays, self.duct)


def _pack(*cuts: Mapping[Any, np.ndarray]) -> dict[Any, np.ndarray]:
    """Return the planes of several fields as one array a face."""
    return {face: np.concatenate([cut[face].ravel() for cut in cuts]) for face in cuts[0]}


def _unpack(faces: Faces, *fields: tuple[Slab, np.ndarray]) -> None:
    """Write planes that were packed into the fields of their slabs."""
    at = 0
    for slab, field in fields:
        shape = (*field.shape[:-3], HALO, *field.shape[-2:])
        size = int(np.prod(shape))
        slab.put({face: np.asarray(both)[at : at + size].reshape(shape) for face, both in faces.items()}, field)
        at += size


def _own(values: np.ndarray) -> np.ndarray:
    """Return an array that kernels take as any other: what comes over a network may not be written to."""
    return np.require(values, np.float32, ["C", "W"])


def turns(box_of: list[Box], sinks: FlowSinks, axis: int) -> list[list[bool]]:
    """Return, round by round, which slabs may write: no two that share a chunk of any sink at a time."""
    chunk = [max(1, s.chunk[axis]) for s in sinks.sinks]
    inner = [b.stop[axis] for b in box_of[:-1]]
    if all(stop % c == 0 for stop in inner for c in chunk):
        return [[True] * len(box_of)]
    return [[i == k for i in range(len(box_of))] for k in range(len(box_of))]
