"""One block of a distributed diffusion solve: the supersteps of conjugate gradients, checkpoints, and fields."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.compute import Sink
from mgsflow.compute.supersteps.block_store import BlockArrays
from mgsflow.solvers.arithmetic import dot
from mgsflow.transport.diffusion import boxes as pack
from mgsflow.transport.diffusion.distributed import cycle_kernel as sweeps
from mgsflow.transport.diffusion.distributed import setup_kernel as build
from mgsflow.transport.diffusion.distributed import vector_kernel as fine
from mgsflow.transport.diffusion.distributed.block_setup import BlockProblem, BlockSetup, Faces
from mgsflow.transport.diffusion.distributed.interfaces import ghost_cells
from mgsflow.transport.diffusion.distributed.workspace import Pair
from mgsflow.transport.diffusion.flux_maps import Maps, flux_density, flux_sums

#: Factor on the correction by the first coarse level. In memory it is 1.5 and two cycles are combined; beside the error
#: between blocks, one is enough.
OVERCORRECTION = 1.75

_TABLES = (pack.PARTS, pack.PART_OF)


class DiffusionBlock(BlockSetup):
    """A block after its set-up. Vectors rest packed; ``ghost_…`` holds the neighbours' values at interface cells."""

    # ------------------------------------------------------------------ iteration

    def start(self, coarse: np.ndarray) -> tuple[dict[str, Any], dict[Any, np.ndarray]]:
        """Add a coarse solution to x, form the residual and apply the cycle; publish the faces of the result.

        Parameters
        ----------
        coarse : ndarray of float32
            Values of the block's unknowns, then of those of its neighbours that it needs.
        """
        arrays, codes = self.arrays, self._codes()
        for name in ("v", "p"):
            self._vector(name)[:] = 0
        with self._lend(2) as (x, rest):
            # a step of length 1 along the coarse solution
            self._step(-coarse, np.float32(0), np.float32(1), x)
            self._lay_out("x", x)
            ghost_x = arrays.edit("ghost_x")
            ghost_x += coarse[arrays["ghost_aggregate"]]
            self._write_ghosts(ghost_x, x)
            flow, product = fine.residual(codes, self.w, self.axis, self.inlet, x, self._vector("r"), rest)
            self._vector("p")[:] = 0
            arrays.edit("ghost_p")[:] = 0
            results, faces = self._precondition(codes, rest, x)
        results["energy"] = flow - product
        return results, faces

    def advance(self, alpha: float, beta: float, coarse: np.ndarray) -> tuple[dict[str, Any], dict[Any, np.ndarray]]:
        """Take a step of conjugate gradients, and apply the cycle to the new residual; publish the result's faces.

        The direction is ``v - Z coarse + beta p`` with the result v of the last cycle; x moves by `alpha` times it.
        """
        arrays, codes = self.arrays, self._codes()
        a, b = np.float32(alpha), np.float32(beta)
        with self._lend(2) as (p, rest):
            self._step(coarse, b, a, p)
            ghost_p = arrays.edit("ghost_p")
            ghost_p *= b
            ghost_p += arrays["ghost_v"] - coarse[arrays["ghost_aggregate"]]
            self._write_ghosts(ghost_p, p)
            fine.subtract_product(codes, self.w, p, a, arrays.edit("r"), rest)
            return self._precondition(codes, rest, p)

    def exchange(self, faces: Faces) -> tuple[float, np.ndarray]:
        """Take the neighbours' faces of v; return what the links to them add to v·A v, and to the sums of A v."""
        ghost_v = self._from_faces(faces)
        flow = np.empty(ghost_v.size)
        for interface in self.interfaces:
            values = ghost_v[interface.span].astype(np.float64)
            flow[interface.span] = -float(self.conductance[interface.axis]) * values
        self.arrays["ghost_v"] = ghost_v
        own, aggregate = self.arrays["cell_v"], self.arrays["cell_aggregate"]
        # the diagonal of the block's own operator includes these links already
        return dot(flow, own.astype(np.float64)), np.bincount(aggregate, flow, self.unknowns)

    # ------------------------------------------------------------------ restart and checkpoints

    def publish_solution(self) -> tuple[None, dict[Any, np.ndarray]]:
        """Publish the faces of x."""
        with self._lend() as (x,):
            self._lay_out("x", x)
            return None, self._by_face(self._at_cells(x))

    def check_solution(self, faces: Faces) -> dict[str, Any]:
        """Take the neighbours' faces of x; return its energy, the sums of its residual over unknowns, and its flux."""
        arrays = self.arrays
        ghost_x = arrays["ghost_x"] = self._from_faces(faces)
        codes = self._codes()
        sums = np.zeros(self.unknowns)
        with self._lend(2) as (x, rest):
            self._lay_out("x", x)
            self._write_ghosts(ghost_x, x)
            flow, product = fine.residual(codes, self.w, self.axis, self.inlet, x, self._vector("r"), rest)
            sweeps.sum_aggregates(arrays["boxes"], arrays["first"], pack.PART_OF, arrays["aggregate"], rest, sums)
            fluxes = self._plane_fluxes(codes, x)
            self._write_ghosts(np.zeros_like(ghost_x), x)
        return {"energy": flow - product, "residual": sums, "fluxes": fluxes}

    def save(self) -> dict[str, np.ndarray]:
        """Return x: all else follows from it."""
        return {"x": self.arrays["x"]}

    def load(self, saved: Mapping[str, np.ndarray]) -> None:
        """Take the x of a checkpoint, in a block that was just made; `restore` uses it once the set-up is done."""
        self.arrays["saved"] = saved["x"]

    def restore(self) -> None:
        """Start from the x of the checkpoint; one of another shape, of another problem, is ignored."""
        x = self._vector("x")
        if self.arrays["saved"].shape == x.shape:
            x[:] = self.arrays["saved"]
        del self.arrays["saved"]

    # ------------------------------------------------------------------ fields

    def write(self, sink: Sink) -> None:
        """Store the concentration of the block."""
        sink.write(self.core, self.values())

    def flux_maps(self, length: int, sink: Sink | None) -> Maps:
        """Return the sums of the flux density along each axis, for a volume of `length` planes; store it if asked."""
        planes = []
        for side, is_end in ((-1, self.inlet), (1, self.outlet)):
            plane = np.full([n for a, n in enumerate(self.shape) if a != self.axis], np.nan, np.float32)
            for interface in self.interfaces:
                if interface.face == (self.axis, side):
                    across = np.delete(self.arrays["cells"][interface.span], self.axis, axis=1)
                    plane[across[:, 0], across[:, 1]] = self.arrays["ghost_x"][interface.span]
            planes.append(None if is_end else plane)
        flux = flux_density(self.values(), self.axis, length, *planes)
        if sink is not None:
            sink.write(self.core, flux)
        return flux_sums(flux)

    def values(self) -> np.ndarray:
        """Return the concentration on the block's voxels, NaN where nothing conducts."""
        out = np.full(self.shape, np.nan, np.float32)
        with self._lend() as (x,):
            self._lay_out("x", x)
            build.unpack(self._codes(), x, out)
        return out

    # ------------------------------------------------------------------ vectors

    def _precondition(self, codes: Pair, rest: Pair, v: Pair) -> tuple[dict[str, Any], dict[Any, np.ndarray]]:
        """Apply the cycle to a residual; `v` is workspace for the result."""
        arrays, w = self.arrays, self.w
        boxes, first, aggregate = arrays["boxes"], arrays["first"], arrays["aggregate"]
        red, black = codes
        tables = (boxes, first, *_TABLES)
        self._write_ghosts(np.zeros(len(arrays["cells"]), np.float32), v)
        sweeps.divide(red, w, rest[0], v[0])
        sweeps.sweep(1, black, w, rest[1], v[0], v[1])
        if self._stored is not None:
            cycle = self._stored.open(arrays["cycle"])
            level = cycle.levels[0]
            sweeps.restrict(red, w, *tables, v[1], level.b)
            cycle.cycle(level.b, level.x)
            sweeps.prolong(red, *tables, np.float32(OVERCORRECTION), level.x, v[0])
        sweeps.sweep(1, black, w, rest[1], v[0], v[1])
        sweeps.sweep(0, red, w, rest[0], v[1], v[0])
        sums = np.zeros((2, self.unknowns))
        packed = self._vector("v")
        rv, av = sweeps.pack_and_project(codes, w, *tables, aggregate, rest, v, packed, sums)
        own = arrays["cell_v"] = self._at_cells(v)
        results = {"rv": rv, "av": av, "residual": sums[0], "product": sums[1]}
        return results, self._by_face(own)

    def _plane_fluxes(self, codes: Pair, x: Pair) -> np.ndarray:
        """Return the flux through each plane of faces along the axis, from the block's lower face to its upper."""
        length = self.shape[self.axis]
        fluxes = np.zeros(length + 1)
        inner = np.zeros(length)
        sweeps.plane_fluxes(codes, self.w, self.axis, length, x, inner)
        fluxes[1:length] = inner[: length - 1]
        own, ghost_x = self._at_cells(x), self.arrays["ghost_x"]
        f = float(self.conductance[self.axis])
        for interface in self.interfaces:
            if interface.face == (self.axis, 1):
                drop = own[interface.span].astype(np.float64) - ghost_x[interface.span].astype(np.float64)
                fluxes[length] += f * float(drop.sum())
        for side, ends in self._end_cells():
            held = 1.0 if side < 0 else 0.0
            inside = np.empty(len(ends), np.float32)
            build.read_cells(ends, x, inside)
            flux = -side * 2 * f * float((held - inside.astype(np.float64)).sum())
            fluxes[0 if side < 0 else length] += flux
        return fluxes

    def _step(self, coarse: np.ndarray, beta: np.float32, alpha: np.float32, out: Pair) -> None:
        """Set p to ``v - Z coarse + beta p``, laid out in `out`, and add `alpha` times it to x."""
        arrays = self.arrays
        tables = (self._codes(), arrays["boxes"], arrays["first"], *_TABLES, self._by_part(coarse))
        vectors = (arrays["v"], arrays.edit("p"), self._vector("x"))
        fine.update_direction_and_step(*tables, beta, alpha, *vectors, out)

    def _by_part(self, coarse: np.ndarray) -> np.ndarray:
        """Return the value of each part's unknown, and a spare one."""
        aggregate = self.arrays["aggregate"]
        out = np.zeros(aggregate.size + 1, np.float32)
        np.take(coarse, aggregate, out=out[:-1])
        return out

    def _vector(self, name: str) -> np.ndarray:
        """Return a packed vector to be changed; made as zeros when first used, so that no store writes them before."""
        if name not in self.arrays:
            self.arrays[name] = np.zeros(self._size, np.float32)
        return self.arrays.edit(name)

    def _codes(self) -> Pair:
        return self.arrays["red"], self.arrays["black"]

    def _lend(self, count: int = 1) -> AbstractContextManager[list[Pair]]:
        return self.workspace.lend(self.arrays["red"].shape, count)

    def _lay_out(self, name: str, out: Pair) -> None:
        fine.lay_out(self._codes(), self.arrays[name], out)

    def _write_ghosts(self, values: np.ndarray, a: Pair) -> None:
        """Write values to the ghost cells, in the border of the arrays."""
        cells = self.arrays["cells"]
        for interface in self.interfaces:
            ghosts = ghost_cells(cells[interface.span], interface.axis, interface.side)
            build.write_cells(ghosts, values[interface.span], a)

    def _at_cells(self, a: Pair) -> np.ndarray:
        """Return the values at the interface cells."""
        out = np.empty(len(self.arrays["cells"]), np.float32)
        build.read_cells(self.arrays["cells"], a, out)
        return out


@dataclass(frozen=True)
class MakeDiffusionBlock(BlockProblem):
    """Factory of the blocks: each reads its voxels in the process that holds it."""

    def __call__(self, index: Triple, arrays: BlockArrays) -> DiffusionBlock:
        """Return the block at a position."""
        return DiffusionBlock(index, arrays, self)
