"""One block of a distributed diffusion solve: its voxels, its own multigrid, its share of the coarse level.

A block conducts to its neighbours through the links of its faces. Its own cycle holds what lies beyond at zero; what
that leaves wrong between blocks is smooth on the scale of a few voxels, and removed by the coarse level that all blocks
share: one unknown for each connected part of what lies in a box of voxels. Boxes are small next to other blocks, where
the cycle says nothing of value, and larger inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Sink
from mgsflow.compute.supersteps.block_store import BlockArrays
from mgsflow.solvers.arithmetic import dot
from mgsflow.solvers.team import Team
from mgsflow.transport.diffusion import boxes as pack
from mgsflow.transport.diffusion.distributed import cycle_kernel as sweeps
from mgsflow.transport.diffusion.distributed import kernel as fine
from mgsflow.transport.diffusion.distributed import parts_kernel as build
from mgsflow.transport.diffusion.distributed.cycle import StoredCycle
from mgsflow.transport.diffusion.distributed.face_cells import Seam, beyond, face_cells, read_plane
from mgsflow.transport.diffusion.distributed.parts import (
    Links,
    join_groups,
    links_of,
    neighbour_codes,
)
from mgsflow.transport.diffusion.distributed.workspace import Pair, Rooms
from mgsflow.transport.diffusion.flux_maps import Maps, flux_density, seen
from mgsflow.transport.diffusion.medium import Medium
from mgsflow.transport.diffusion.part_graph import PartGraph, part_graph

#: Factor on the correction by the first coarse level. In memory it is 1.5 and two cycles are combined; next to what is
#: left between blocks, one is enough.
OVERCORRECTION = 1.75

_TABLES = (pack.PARTS, pack.PART_OF)

Faces = Mapping[Any, np.ndarray]


class DiffusionBlock:
    """The block at a position of the grid; see the methods for the order in which supersteps call them."""

    def __init__(self, index: Triple, arrays: BlockArrays, make: MakeDiffusionBlock) -> None:
        axis, grid, medium = make.axis, make.grid, make.medium
        self.arrays, self.axis, self.conductance = arrays, axis, make.conductance
        self.small, self.large, self.rooms = make.small, make.large, make.rooms
        core = grid.block(index).core
        self.core, self.origin, self.shape = core, core.start, core.shape
        self.inlet = core.start[axis] == 0
        self.outlet = core.stop[axis] == grid.shape[axis]
        self.w = pack.code_weights(make.conductance, axis, np.float32)
        labels = medium.source.read(core)
        if medium.diffusivities is None:
            inside = labels > 0
        else:
            inside = np.zeros(core.shape, np.bool_)
            for label in medium.diffusivities:
                inside |= labels == label
        del labels
        boxes = np.empty([-(-n // 2) for n in core.shape], np.uint8)
        pack.pack(0, len(boxes), inside.view(np.uint8), np.array([0, 1], np.uint8), 0, boxes)
        arrays["boxes"] = boxes
        self.seams: list[Seam] = []
        self.neighbours: tuple[tuple[int, int], ...] = ()
        self.groups = 0
        self._stored: StoredCycle | None = None
        self._size = 0  # of a packed vector

    # ------------------------------------------------------------------ set-up

    def show(self) -> tuple[None, dict[Any, np.ndarray]]:
        """Publish which voxels of each face conduct."""
        boxes = self.arrays["boxes"]
        return None, {(a, s): np.packbits(read_plane(boxes, self.shape, a, s)) for a in range(3) for s in (-1, 1)}

    def join(self, faces: Faces) -> tuple[Links, dict[Any, np.ndarray]]:
        """Find the block's share of the coarse level; publish its number at each link of a face."""
        boxes = self.arrays["boxes"]
        self.neighbours = tuple(sorted(faces))
        self.seams = []
        cells: list[np.ndarray] = [np.zeros((0, 3), np.int32)]
        at = 0
        for axis, side in self.neighbours:
            plane = read_plane(boxes, self.shape, axis, side)
            theirs = np.unpackbits(np.asarray(faces[axis, side]), count=plane.size).reshape(plane.shape)
            cells.append(face_cells(self.shape, axis, side, plane & theirs.view(np.bool_)))
            self.seams.append(Seam(axis, side, at, at + len(cells[-1])))
            at += len(cells[-1])
        self.arrays["cells"] = np.concatenate(cells)
        parts = self._parts()
        numbers = self._number(parts)
        group, voxels = self.arrays["group"], self._count_voxels(parts)
        return links_of(parts, self.groups, group, voxels, self.origin, self.small), numbers

    def meet(self, numbers: Faces) -> dict[Any, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return the links with each neighbour's share: own and its numbers, and their conductance."""
        own, found = self.arrays["cell_group"], {}
        for seam in self.seams:
            if seam.side < 0:
                continue  # the neighbour tells
            pairs = np.stack([own[seam.part], np.asarray(numbers[seam.face])]).astype(np.int64)
            wide = int(pairs[1].max(initial=0)) + 1
            both, count = np.unique(pairs[0] * wide + pairs[1], return_counts=True)
            found[seam.face] = (both // wide, both % wide, count * float(self.conductance[seam.axis]))
        return found

    def keep(self, kept: np.ndarray) -> tuple[int, dict[Any, np.ndarray]]:
        """Drop the unknowns that are not kept; set up the cycle; publish the numbers again.

        Parameters
        ----------
        kept : ndarray of bool
            Which of the block's unknowns percolate.
        """
        arrays = self.arrays
        if not kept.all():
            held = kept[arrays["group"]]
            build.clear_parts(arrays.edit("boxes"), arrays["first"], pack.PARTS, pack.PART_BITS, held)
            stays = kept[arrays["cell_group"]]
            before = np.concatenate([[0], np.cumsum(stays)])
            self.seams = [Seam(s.axis, s.side, int(before[s.start]), int(before[s.stop])) for s in self.seams]
            arrays["cells"] = np.ascontiguousarray(arrays["cells"][stays])
        parts = self._parts()
        numbers = self._number(parts)
        voxels = int(self._count_voxels(parts).sum())
        arrays["red"], arrays["black"] = self._count_neighbours()
        ground = parts.graph.ground
        for seam in self.seams:  # the cycle holds what lies beyond at zero
            links = np.bincount(arrays["cell_part"][seam.part], minlength=parts.nodes)
            ground += np.float32(self.conductance[seam.axis]) * links.astype(np.float32)
        del arrays["cell_part"]
        self._stored, arrays["cycle"] = StoredCycle.of(parts.graph) if parts.nodes else (None, np.zeros(0, np.uint8))
        self._size = voxels + 1
        for name in ("cell_x", "cell_p", "cell_v", "cell_own"):
            arrays[name] = np.zeros(len(arrays["cells"]), np.float32)
        return voxels, numbers

    def adjoin(self, numbers: Faces) -> dict[Any, np.ndarray]:
        """Take the numbers of the neighbours' unknowns at the links; return which of them the block needs."""
        other = np.empty(len(self.arrays["cells"]), np.int32)
        needed, count = {}, self.groups
        for seam in self.seams:
            theirs, where = np.unique(np.asarray(numbers[seam.face]), return_inverse=True)
            other[seam.part] = where + count
            needed[seam.face] = theirs
            count += theirs.size
        self.arrays["cell_other"] = other
        return needed

    # ------------------------------------------------------------------ iteration

    def start(self, coarse: np.ndarray) -> tuple[dict[str, Any], dict[Any, np.ndarray]]:
        """Add a coarse solution to x, form the residual and apply the cycle; publish the result's faces.

        Parameters
        ----------
        coarse : ndarray of float32
            Values of the block's unknowns, then of those that it needs of its neighbours.
        """
        arrays = self.arrays
        codes, boxes, first = self._codes(), arrays["boxes"], arrays["first"]
        with self._room(2) as (x, rest):
            fine.add_parts(codes, boxes, first, *_TABLES, self._by_part(coarse), self._vector("x"), x)
            beyond_x = arrays.edit("cell_x")
            beyond_x += coarse[arrays["cell_other"]]
            self._write_beyond(beyond_x, x)
            flow, product = fine.residual(codes, self.w, self.axis, self.inlet, x, self._vector("r"), rest)
            self._vector("p")[:] = 0
            arrays.edit("cell_p")[:] = 0
            results, faces = self._precondition(codes, rest, x)
        results["energy"] = flow - product
        return results, faces

    def advance(self, alpha: float, beta: float, coarse: np.ndarray) -> tuple[dict[str, Any], dict[Any, np.ndarray]]:
        """Take a step of conjugate gradients, and apply the cycle to the new residual; publish the result's faces.

        The direction is ``v - Z coarse + beta p`` with what the cycle gave before; x takes `alpha` of it.
        """
        arrays = self.arrays
        codes, boxes, first = self._codes(), arrays["boxes"], arrays["first"]
        a, b = np.float32(alpha), np.float32(beta)
        with self._room(2) as (p, rest):
            vectors = (arrays["v"], arrays.edit("p"), arrays.edit("x"))
            fine.turn_and_step(codes, boxes, first, *_TABLES, self._by_part(coarse), b, a, *vectors, p)
            beyond_p = arrays.edit("cell_p")
            beyond_p *= b
            beyond_p += arrays["cell_v"] - coarse[arrays["cell_other"]]
            self._write_beyond(beyond_p, p)
            fine.subtract_product(codes, self.w, p, a, arrays.edit("r"), rest)
            return self._precondition(codes, rest, p)

    def exchange(self, faces: Faces) -> tuple[float, np.ndarray]:
        """Take the neighbours' faces of v; return what the links to them add to v·A v, and to the sums of A v."""
        theirs = np.empty(len(self.arrays["cells"]), np.float32)
        own, group = self.arrays["cell_own"], self.arrays["cell_group"]
        flow = np.empty(theirs.size)
        for seam in self.seams:
            theirs[seam.part] = faces[seam.face]
            flow[seam.part] = -float(self.conductance[seam.axis]) * theirs[seam.part].astype(np.float64)
        self.arrays["cell_v"] = theirs
        # the diagonal of the block's own operator counts these links already
        return dot(flow, own.astype(np.float64)), np.bincount(group, flow, self.groups)

    # ------------------------------------------------------------------ beginning again, and the end

    def faces_of_x(self) -> tuple[None, dict[Any, np.ndarray]]:
        """Publish the faces of x."""
        with self._room() as (x,):
            self._lay_out("x", x)
            return None, self._published(x)

    def take_x(self, faces: Faces) -> dict[str, Any]:
        """Take the neighbours' faces of x, form the residual, and return its sums over the coarse level."""
        theirs = np.empty(len(self.arrays["cells"]), np.float32)
        for seam in self.seams:
            theirs[seam.part] = faces[seam.face]
        self.arrays["cell_x"] = theirs
        codes = self._codes()
        boxes, first, group = self.arrays["boxes"], self.arrays["first"], self.arrays["group"]
        sums = np.zeros(self.groups)
        with self._room(2) as (x, rest):
            self._lay_out("x", x)
            self._write_beyond(theirs, x)
            flow, product = fine.residual(codes, self.w, self.axis, self.inlet, x, self._vector("r"), rest)
            sweeps.sum_groups(boxes, first, pack.PART_OF, group, rest, sums)
            flows = self._flows(codes, x)
            self._write_beyond(np.zeros_like(theirs), x)
        return {"energy": flow - product, "residual": sums, "flows": flows}

    def save(self) -> dict[str, np.ndarray]:
        """Return x: all else follows from it."""
        return {"x": self.arrays["x"]}

    def load(self, saved: Mapping[str, np.ndarray]) -> None:
        """Take up x in a block that was just made; it is looked at when the set-up is done."""
        self.arrays["saved"] = saved["x"]

    def take_up(self) -> None:
        """Put the x that was loaded in its place; one of another problem is no use, and no harm."""
        x = self._vector("x")
        if self.arrays["saved"].shape == x.shape:
            x[:] = self.arrays["saved"]
        del self.arrays["saved"]

    def write(self, sink: Sink) -> None:
        """Store the concentration of the block."""
        sink.write(self.core, self.values())

    def show_flux(self, length: int, sink: Sink | None) -> Maps:
        """Return the sums of the flux density along each axis, for a volume of `length` planes; store it if asked."""
        planes = []
        for side, there in ((-1, self.inlet), (1, self.outlet)):
            plane = np.full([n for a, n in enumerate(self.shape) if a != self.axis], np.nan, np.float32)
            for seam in self.seams:
                if seam.face == (self.axis, side):
                    across = np.delete(self.arrays["cells"][seam.part], self.axis, axis=1)
                    plane[across[:, 0], across[:, 1]] = self.arrays["cell_x"][seam.part]
            planes.append(None if there else plane)
        flux = flux_density(self.values(), self.axis, length, *planes)
        if sink is not None:
            sink.write(self.core, flux)
        return seen(flux)

    def values(self) -> np.ndarray:
        """Return the concentration on the block's voxels, NaN where nothing conducts."""
        out = np.full(self.shape, np.nan, np.float32)
        with self._room() as (x,):
            self._lay_out("x", x)
            build.unpack(self._codes(), x, out)
        return out

    # ------------------------------------------------------------------ parts

    def _number(self, parts: PartGraph) -> dict[Any, np.ndarray]:
        """Number the block's unknowns of the coarse level, and return the numbers at the links of each face."""
        arrays, boxes = self.arrays, self.arrays["boxes"]
        self.groups, group = join_groups(parts.graph, boxes.shape, self.neighbours, self.small, self.large)
        cell_part = build.parts_of_cells(arrays["cells"], boxes, parts.first, pack.PART_OF)
        arrays["first"], arrays["group"], arrays["cell_part"] = parts.first, group, cell_part
        arrays["cell_group"] = group[cell_part]
        return {seam.face: arrays["cell_group"][seam.part].copy() for seam in self.seams}

    def _count_neighbours(self) -> Pair:
        boxes, cells = self.arrays["boxes"], self.arrays["cells"]
        links = [(seam.axis, cells[seam.part]) for seam in self.seams]
        sides = [side for side, there in ((-1, self.inlet), (1, self.outlet)) if there]
        ends = [face_cells(self.shape, self.axis, s, read_plane(boxes, self.shape, self.axis, s)) for s in sides]
        return neighbour_codes(boxes, self.axis, links, ends)

    def _parts(self) -> PartGraph:
        boxes, ends = self.arrays["boxes"], (self.inlet, self.outlet)
        return part_graph(boxes, self.shape, self.axis, self.conductance, Team(), *ends)

    def _count_voxels(self, parts: PartGraph) -> np.ndarray:
        tables = (pack.PARTS, pack.PART_BITS, pack.ONES)
        voxels: np.ndarray = build.count_part_voxels(self.arrays["boxes"], parts.first, *tables, parts.nodes)
        return voxels

    def _precondition(self, codes: Pair, rest: Pair, v: Pair) -> tuple[dict[str, Any], dict[Any, np.ndarray]]:
        """Apply the cycle to a residual; `v` is room for the result."""
        arrays, w = self.arrays, self.w
        boxes, first, group = arrays["boxes"], arrays["first"], arrays["group"]
        red, black = codes
        tables = (boxes, first, *_TABLES)
        self._write_beyond(np.zeros(len(arrays["cells"]), np.float32), v)  # nothing beyond the block
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
        sums = np.zeros((2, self.groups))
        packed = self._vector("v")
        rv, av, rr = sweeps.pack_and_project(codes, w, *tables, group, rest, v, packed, sums)
        own = arrays.edit("cell_own")
        build.read_cells(arrays["cells"], v, own)
        results = {"rv": rv, "av": av, "rr": rr, "residual": sums[0], "product": sums[1]}
        return results, {seam.face: own[seam.part].copy() for seam in self.seams}

    def _flows(self, codes: Pair, x: Pair) -> np.ndarray:
        """Return the flux through each plane of faces along the axis, from the block's lower face to its upper."""
        length = self.shape[self.axis]
        flows = np.zeros(length + 1)
        inner = np.zeros(length)
        sweeps.plane_flows(codes, self.w, self.axis, length, x, inner)
        flows[1:length] = inner[: length - 1]
        cells, beyond_x = self.arrays["cells"], self.arrays["cell_x"]
        own = np.empty(len(cells), np.float32)
        build.read_cells(cells, x, own)
        f = float(self.conductance[self.axis])
        for seam in self.seams:
            if seam.axis == self.axis and seam.side > 0:
                drop = own[seam.part].astype(np.float64) - beyond_x[seam.part].astype(np.float64)
                flows[length] += f * float(drop.sum())
        for side, there, value in ((-1, self.inlet, 1.0), (1, self.outlet, 0.0)):
            if there:
                plane = read_plane(self.arrays["boxes"], self.shape, self.axis, side)
                ends = face_cells(self.shape, self.axis, side, plane)
                at = np.empty(len(ends), np.float32)
                build.read_cells(ends, x, at)
                flows[0 if side < 0 else length] += -side * 2 * f * float((value - at.astype(np.float64)).sum())
        return flows

    def _by_part(self, coarse: np.ndarray) -> np.ndarray:
        """Return the value of each part's unknown, and a spare one."""
        group = self.arrays["group"]
        out = np.zeros(group.size + 1, np.float32)
        np.take(coarse, group, out=out[:-1])
        return out

    def _vector(self, name: str) -> np.ndarray:
        """Return a packed vector to be changed; zeros at first, made as late as that so that no store writes them."""
        if name not in self.arrays:
            self.arrays[name] = np.zeros(self._size, np.float32)
        return self.arrays.edit(name)

    def _codes(self) -> Pair:
        return self.arrays["red"], self.arrays["black"]

    def _room(self, count: int = 1) -> AbstractContextManager[list[Pair]]:
        return self.rooms.lend(self.arrays["red"].shape, count)

    def _lay_out(self, name: str, out: Pair) -> None:
        fine.lay_out(self._codes(), self.arrays[name], out)

    def _write_beyond(self, values: np.ndarray, a: Pair) -> None:
        cells = self.arrays["cells"]
        for seam in self.seams:
            build.write_cells(beyond(cells[seam.part], seam.axis, seam.side), values[seam.part], a)

    def _published(self, a: Pair) -> dict[Any, np.ndarray]:
        own = np.empty(len(self.arrays["cells"]), np.float32)
        build.read_cells(self.arrays["cells"], a, own)
        return {seam.face: own[seam.part].copy() for seam in self.seams}


@dataclass(frozen=True)
class MakeDiffusionBlock:
    """Factory of the blocks: reads the voxels of each where they are.

    Attributes
    ----------
    grid : Grid
    medium : Medium
    axis : int
    conductance : (float, float, float)
        Of a face along each axis, over that along `axis`.
    small, large : int
        Edges in voxels, powers of two from 2 up, of the boxes of the coarse level: next to other blocks, and inside.
    """

    grid: Grid
    medium: Medium
    axis: int
    conductance: tuple[float, float, float]
    small: int = 4
    large: int = 8
    rooms: Rooms = field(default_factory=Rooms, repr=False, compare=False)

    def __call__(self, index: Triple, arrays: BlockArrays) -> DiffusionBlock:
        """Return the block at a position."""
        return DiffusionBlock(index, arrays, self)
