"""Set-up of one block of a distributed diffusion solve: its voxels, interfaces, coarse unknowns and multigrid.

A block conducts to its neighbours through the links of its faces. Its own multigrid cycle holds the neighbours' voxels
at zero; the error that this leaves between blocks is smooth on the scale of a few voxels, and is removed by the coarse
level that all blocks share: one unknown for each connected part of the voxels in a box. Boxes are small next to other
blocks, where the cycle is poor, and larger inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute.supersteps.block_store import BlockArrays
from mgsflow.solvers.team import Team
from mgsflow.transport.diffusion import boxes as pack
from mgsflow.transport.diffusion.distributed import setup_kernel as build
from mgsflow.transport.diffusion.distributed.coarse_unknowns import (
    CoarseShare,
    coarse_share,
    join_parts,
    neighbour_codes,
)
from mgsflow.transport.diffusion.distributed.interfaces import Interface, face_cells, read_plane
from mgsflow.transport.diffusion.distributed.stored_cycle import StoredCycle
from mgsflow.transport.diffusion.distributed.workspace import Pair, Workspace
from mgsflow.transport.diffusion.medium import Medium
from mgsflow.transport.diffusion.part_graph import PartGraph, part_graph

Faces = Mapping[Any, np.ndarray]


@dataclass(frozen=True)
class BlockProblem:
    """The diffusion problem that the blocks share.

    Attributes
    ----------
    grid : Grid
    medium : Medium
    axis : int
        Direction of the flow.
    conductance : (float, float, float)
        Of a face along each axis, over that along `axis`.
    small, large : int
        Edges in voxels, powers of two from 2 up, of the boxes of the coarse level: next to other blocks, and inside.
    workspace : Workspace
    """

    grid: Grid
    medium: Medium
    axis: int
    conductance: tuple[float, float, float]
    small: int = 4
    large: int = 8
    workspace: Workspace = field(default_factory=Workspace, repr=False, compare=False)


class BlockSetup:
    """The block at a position of the grid; its methods are supersteps, called in their order here."""

    def __init__(self, index: Triple, arrays: BlockArrays, problem: BlockProblem) -> None:
        axis, grid, medium = problem.axis, problem.grid, problem.medium
        self.arrays, self.axis, self.conductance = arrays, axis, problem.conductance
        self.small, self.large, self.workspace = problem.small, problem.large, problem.workspace
        core = grid.block(index).core
        self.core, self.origin, self.shape = core, core.start, core.shape
        self.inlet = core.start[axis] == 0
        self.outlet = core.stop[axis] == grid.shape[axis]
        self.w = pack.code_weights(problem.conductance, axis, np.float32)
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
        self.interfaces: list[Interface] = []
        self.neighbours: tuple[tuple[int, int], ...] = ()
        self.unknowns = 0  # of the coarse level
        self._stored: StoredCycle | None = None
        self._size = 0  # of a packed vector

    def publish_mask(self) -> tuple[None, dict[Any, np.ndarray]]:
        """Publish which voxels of each face conduct."""
        boxes = self.arrays["boxes"]
        return None, {(a, s): np.packbits(read_plane(boxes, self.shape, a, s)) for a in range(3) for s in (-1, 1)}

    def number_unknowns(self, faces: Faces) -> tuple[CoarseShare, dict[Any, np.ndarray]]:
        """Return the block's share of the coarse level; publish the number of its unknown at each link of a face."""
        boxes = self.arrays["boxes"]
        self.neighbours = tuple(sorted(faces))
        self.interfaces = []
        cells: list[np.ndarray] = [np.zeros((0, 3), np.int32)]
        start = 0
        for axis, side in self.neighbours:
            plane = read_plane(boxes, self.shape, axis, side)
            theirs = np.unpackbits(np.asarray(faces[axis, side]), count=plane.size).reshape(plane.shape)
            cells.append(face_cells(self.shape, axis, side, plane & theirs.view(np.bool_)))
            self.interfaces.append(Interface(axis, side, start, start + len(cells[-1])))
            start += len(cells[-1])
        self.arrays["cells"] = np.concatenate(cells)
        parts = self._parts()
        numbers = self._number(parts)
        aggregate, voxels = self.arrays["aggregate"], self._count_voxels(parts)
        return coarse_share(parts, self.unknowns, aggregate, voxels, self.origin, self.small), numbers

    def link_neighbours(self, numbers: Faces) -> dict[Any, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return the links to each neighbour's unknowns: own and its numbers, and their conductance."""
        own, links = self.arrays["cell_aggregate"], {}
        for interface in self.interfaces:
            if interface.side < 0:
                continue  # the neighbour returns these
            pairs = np.stack([own[interface.span], np.asarray(numbers[interface.face])]).astype(np.int64)
            stride = int(pairs[1].max(initial=0)) + 1
            both, count = np.unique(pairs[0] * stride + pairs[1], return_counts=True)
            conductance = count * float(self.conductance[interface.axis])
            links[interface.face] = (both // stride, both % stride, conductance)
        return links

    def keep_percolating(self, kept: np.ndarray) -> tuple[int, dict[Any, np.ndarray]]:
        """Drop the unknowns that do not percolate; set up the cycle; publish the numbers again.

        Parameters
        ----------
        kept : ndarray of bool
            Which of the block's unknowns percolate.
        """
        arrays = self.arrays
        if not kept.all():
            held = kept[arrays["aggregate"]]
            build.clear_parts(arrays.edit("boxes"), arrays["first"], pack.PARTS, pack.PART_BITS, held)
            stays = kept[arrays["cell_aggregate"]]
            before = np.concatenate([[0], np.cumsum(stays)])
            self.interfaces = [
                Interface(i.axis, i.side, int(before[i.start]), int(before[i.stop])) for i in self.interfaces
            ]
            arrays["cells"] = np.ascontiguousarray(arrays["cells"][stays])
        parts = self._parts()
        numbers = self._number(parts)
        voxels = int(self._count_voxels(parts).sum())
        arrays["red"], arrays["black"] = self._count_neighbours()
        ground = parts.graph.ground
        for interface in self.interfaces:  # the cycle holds the neighbours' voxels at zero
            links = np.bincount(arrays["cell_part"][interface.span], minlength=parts.nodes)
            ground += np.float32(self.conductance[interface.axis]) * links.astype(np.float32)
        del arrays["cell_part"]
        self._stored, arrays["cycle"] = StoredCycle.of(parts.graph) if parts.nodes else (None, np.zeros(0, np.uint8))
        self._size = voxels + 1
        for name in ("ghost_x", "ghost_p", "ghost_v", "cell_v"):
            arrays[name] = np.zeros(len(arrays["cells"]), np.float32)
        return voxels, numbers

    def request_unknowns(self, numbers: Faces) -> dict[Any, np.ndarray]:
        """Take the numbers of the neighbours' unknowns at the links; return which of them the block needs."""
        ghost = np.empty(len(self.arrays["cells"]), np.int32)
        needed, count = {}, self.unknowns
        for interface in self.interfaces:
            theirs, position = np.unique(np.asarray(numbers[interface.face]), return_inverse=True)
            ghost[interface.span] = position + count
            needed[interface.face] = theirs
            count += theirs.size
        self.arrays["ghost_aggregate"] = ghost
        return needed

    def _number(self, parts: PartGraph) -> dict[Any, np.ndarray]:
        """Number the block's unknowns of the coarse level, and return the numbers at the links of each face."""
        arrays, boxes = self.arrays, self.arrays["boxes"]
        self.unknowns, aggregate = join_parts(parts.graph, boxes.shape, self.neighbours, self.small, self.large)
        cell_part = build.parts_of_cells(arrays["cells"], boxes, parts.first, pack.PART_OF)
        arrays["first"], arrays["aggregate"], arrays["cell_part"] = parts.first, aggregate, cell_part
        arrays["cell_aggregate"] = aggregate[cell_part]
        return self._by_face(arrays["cell_aggregate"])

    def _count_neighbours(self) -> Pair:
        boxes, cells = self.arrays["boxes"], self.arrays["cells"]
        links = [(interface.axis, cells[interface.span]) for interface in self.interfaces]
        ends = [cells for _, cells in self._end_cells()]
        return neighbour_codes(boxes, self.axis, links, ends)

    def _end_cells(self) -> list[tuple[int, np.ndarray]]:
        """Return the sides of the block that are ends of the volume, and the cells there."""
        sides = [side for side, is_end in ((-1, self.inlet), (1, self.outlet)) if is_end]
        boxes, shape, axis = self.arrays["boxes"], self.shape, self.axis
        return [(side, face_cells(shape, axis, side, read_plane(boxes, shape, axis, side))) for side in sides]

    def _parts(self) -> PartGraph:
        boxes, ends = self.arrays["boxes"], (self.inlet, self.outlet)
        return part_graph(boxes, self.shape, self.axis, self.conductance, Team(), *ends)

    def _count_voxels(self, parts: PartGraph) -> np.ndarray:
        tables = (pack.PARTS, pack.PART_BITS, pack.ONES)
        voxels: np.ndarray = build.count_part_voxels(self.arrays["boxes"], parts.first, *tables, parts.nodes)
        return voxels

    def _by_face(self, values: np.ndarray) -> dict[Any, np.ndarray]:
        """Return the values of interface cells as the faces that a superstep publishes."""
        return {interface.face: values[interface.span].copy() for interface in self.interfaces}

    def _from_faces(self, faces: Faces) -> np.ndarray:
        """Return the neighbours' values at all interface cells."""
        values = np.empty(len(self.arrays["cells"]), np.float32)
        for interface in self.interfaces:
            values[interface.span] = faces[interface.face]
        return values
