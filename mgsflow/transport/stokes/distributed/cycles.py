"""One slab of a Stokes solve: its part of the preconditioners' cycles, from which the vectors of `y` come.

A cycle is smoothed from zero, restricted to what the driver solves for, corrected and smoothed again. Each half is a
superstep: between them the driver works, and neighbours see each other's planes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mgsflow.transport.stokes.distributed.setup import Faces, StokesSlab
from mgsflow.transport.stokes.distributed.slab import HALO, Slab
from mgsflow.transport.stokes.pressure import kernel as pressure
from mgsflow.transport.stokes.velocity.coarse import LIFT, MIX, ONCE, STEPS
from mgsflow.transport.stokes.velocity.coarse_kernel import (
    apply_boxes,
    correct_and_smooth_boxes,
    smooth_boxes_and_restrict,
)
from mgsflow.transport.stokes.velocity.fine_kernel import correct_and_smooth, smooth_and_restrict

Answer = tuple[Any, dict[Any, np.ndarray]]
"""What a step returns, and the planes that it publishes."""


class StokesCycles(StokesSlab):
    """The slab at a position, with its part of the cycles."""

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

    def _parts(self) -> tuple[Any, ...]:
        return (self.arrays["pores"], self.slab.shift, self.arrays["first"], *self.arrays["weights"])


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
