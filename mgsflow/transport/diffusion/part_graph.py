"""The links between the connected parts of packed boxes: the first coarse level of a volume, or of a block of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.solvers.graph import Graph
from mgsflow.solvers.huge_pages import zeros
from mgsflow.solvers.team import Team
from mgsflow.transport.diffusion import boxes as pack


@dataclass(frozen=True)
class PartGraph:
    """The links between the parts of packed boxes.

    Attributes
    ----------
    graph : Graph
        Its ground is the conductance to both ends of the volume.
    first : ndarray of int32, shape (Z, Y, X)
        Number of the first part of each box.
    source : ndarray of float32, shape (parts,)
        Conductance to the inlet alone.
    """

    graph: Graph
    first: np.ndarray
    source: np.ndarray

    @property
    def nodes(self) -> int:
        """Number of parts."""
        return self.source.size


def number_parts(boxes: np.ndarray, by_parity: bool, team: Team) -> tuple[np.ndarray, np.ndarray]:
    """Number the parts of packed boxes.

    Parameters
    ----------
    boxes : ndarray of uint8, shape (Z, Y, X)
    by_parity : bool
        Whether parts of boxes of even parity come before all of odd; else they are in C order.
    team : Team

    Returns
    -------
    first : ndarray of int32, shape (Z, Y, X)
        Number of the first part of each box.
    starts : ndarray of int64, shape (Z + 1, 2)
        First part of each plane of boxes: of even and of odd parity, or of any in the first column.
    """
    planes, grain = len(boxes), pack.plane_grain(boxes)
    counts = np.zeros((planes, 2), np.int64)
    team.run(pack.count_parts, 0, planes, boxes, pack.PARTS, counts, grain=grain)
    starts = np.zeros((planes + 1, 2), np.int64)
    if by_parity:
        np.cumsum(counts, axis=0, out=starts[1:])
        starts[:, 1] += starts[-1, 0]
    else:
        np.cumsum(counts.sum(axis=1), out=starts[1:, 0])
    first = zeros(boxes.shape, np.int32)
    team.run(pack.number_parts, 0, planes, boxes, pack.PARTS, starts, int(by_parity), first, grain=grain)
    return first, starts


def part_graph(
    boxes: np.ndarray,
    shape: Triple,
    axis: int,
    conductance: tuple[float, float, float],
    team: Team,
    inlet: bool = True,
    outlet: bool = True,
) -> PartGraph:
    """Return the links between the parts of packed boxes, in single precision.

    Parameters
    ----------
    boxes : ndarray of uint8, shape (Z, Y, X)
    shape : (int, int, int)
        Voxels along (z, y, x).
    axis : int
        Direction of the flow.
    conductance : (float, float, float)
        Of a face along z, y, x.
    team : Team
    inlet, outlet : bool
        Whether the first, the last plane along the axis is an end of the volume.
    """
    planes, grain = len(boxes), pack.plane_grain(boxes)
    first, starts = number_parts(boxes, True, team)
    even, nodes = int(starts[0, 1]), int(starts[-1, 1])
    sizes = zeros(nodes + 1, np.int64)
    team.run(pack.count_part_links, 0, planes, boxes, pack.PARTS, pack.PART_BITS, first, sizes, grain=grain)
    np.cumsum(sizes, out=sizes)
    indptr = sizes.astype(np.int32) if sizes[-1] < 2**31 else sizes
    del sizes
    indices, weights = zeros(int(indptr[-1]), np.int32), zeros(int(indptr[-1]), np.float32)
    ground, source = zeros(nodes, np.float32), zeros(nodes, np.float32)
    key = zeros(nodes, np.int64)
    lower = pack.FACES[axis, 0] if inlet else np.uint8(0)
    upper = pack.FACES[axis, (shape[axis] - 1) & 1] if outlet else np.uint8(0)
    tables = (boxes, pack.PARTS, pack.PART_BITS, pack.ONES, first, np.array(conductance, np.float32))
    links = (indptr, indices, weights, ground, source, key)
    team.run(pack.link_parts, 0, planes, *tables, axis, np.array([lower, upper], np.uint8), *links, grain=grain)
    graph = Graph(indptr, indices, weights, ground, key, np.array([0, even, nodes], np.int64))
    return PartGraph(graph, first, source)
