"""One slab of a Stokes solve: the vectors of the iteration.

The vectors are those of `mgsflow.transport.stokes.bramble_pasciak`: the direction d, the preconditioned residual z,
h = H z, y = P⁻¹ K d and q, first K d and then H y. What y will hold is scratch for sweeps before. Each vector has the
planes of the neighbours that the slab needs; sums are returned by plane, so that they do not depend on the cuts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.compute.supersteps.block_store import BlockArrays
from mgsflow.transport.stokes import saddle_kernel as saddle
from mgsflow.transport.stokes.distributed.cycles import Answer, StokesCycles
from mgsflow.transport.stokes.distributed.duct import Duct
from mgsflow.transport.stokes.distributed.fields import FlowSinks
from mgsflow.transport.stokes.distributed.setup import Faces
from mgsflow.transport.stokes.pressure import kernel as pressure
from mgsflow.transport.stokes.pressure.schur import IDENTITY


class StokesBlock(StokesCycles):
    """The slab at a position, with its vectors."""

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
            Sums over boxes; by plane those of `mgsflow.transport.stokes.saddle_kernel.apply_to_direction`.
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

    def _matrix(self) -> tuple[np.ndarray, ...]:
        return (self.arrays["pores"], *self.arrays["codes"], self.half, self.weights)


@dataclass(frozen=True)
class MakeStokesBlock:
    """Factory of the slabs: reads the voxels of each where they are."""

    duct: Duct

    def __call__(self, index: Triple, arrays: BlockArrays) -> StokesBlock:
        """Return the slab at a position along the flow."""
        return StokesBlock(index[0], arrays, self.duct)
