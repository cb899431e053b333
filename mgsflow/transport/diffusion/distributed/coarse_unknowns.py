"""Coarse unknowns of a block, aggregates of the connected parts of its boxes, and the codes of its voxels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from mgsflow.blocks import Triple
from mgsflow.solvers.graph import FIELD, Y_SHIFT, Z_SHIFT, Graph, box_key
from mgsflow.transport.diffusion import boxes as pack
from mgsflow.transport.diffusion.distributed import setup_kernel as build
from mgsflow.transport.diffusion.distributed.workspace import Pair
from mgsflow.transport.diffusion.part_graph import PartGraph


@dataclass(frozen=True)
class CoarseShare:
    """A block's share of the coarse level.

    Attributes
    ----------
    count : int
        Unknowns.
    first, second, weight : ndarray
        CoarseShare between them, each once.
    ground, source : ndarray of float64, shape (count,)
        Conductance to both ends, and to the first alone.
    voxels : ndarray of int64, shape (count,)
    key : ndarray of int64, shape (count,)
        Their small boxes in the volume: see `mgsflow.solvers.graph.box_key`.
    """

    count: int
    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    ground: np.ndarray
    source: np.ndarray
    voxels: np.ndarray
    key: np.ndarray


def join_parts(
    graph: Graph, boxes: tuple[int, ...], neighbours: tuple[tuple[int, int], ...], small: int, large: int
) -> tuple[int, np.ndarray]:
    """Join the connected parts in a box to unknowns of the coarse level; return their number, and that of each part.

    Parameters
    ----------
    graph : Graph
    boxes : tuple of int
        Boxes of 2×2×2 voxels in the block.
    neighbours : tuple of (axis, side)
        Faces shared with another block.
    small, large : int
        Edges, in voxels, of the boxes next to these faces and of those inside.
    """
    key = graph.key
    near, far = small.bit_length() - 2, large.bit_length() - 2  # as shifts of boxes of two voxels
    coordinates = [(key >> Z_SHIFT) & FIELD, (key >> Y_SHIFT) & FIELD, key & FIELD]
    inside = np.ones(key.size, np.bool_)
    for axis, coordinate in enumerate(coordinates):
        low = coordinate >> far << far
        if (axis, -1) in neighbours:
            inside &= low >= 1 << near
        if (axis, 1) in neighbours:
            inside &= boxes[axis] - (low + (1 << far)) >= 1 << near
    z, y, x = (np.where(inside, coordinate >> far, coordinate >> near) for coordinate in coordinates)
    box = (inside.astype(np.int64) << 63) | box_key(z, y, x)
    aggregate = np.empty(key.size, np.int32)
    return build.join_parts(graph.indptr, graph.indices, box, aggregate), aggregate


def coarse_share(
    parts: PartGraph, count: int, aggregate: np.ndarray, voxels: np.ndarray, origin: Triple, small: int
) -> CoarseShare:
    """Return a block's share of the coarse level: its unknowns and the links between them."""
    graph = parts.graph
    row, column, weight = build.links_between_aggregates(graph.indptr, graph.indices, graph.weights, aggregate)
    sums = sp.coo_array((weight, (row, column)), (count, count)).tocsr().tocoo()
    leader = np.empty(count, np.int64)
    leader[aggregate[::-1]] = np.arange(aggregate.size)[::-1]
    key = graph.key[leader]
    coordinates = [key >> Z_SHIFT, (key >> Y_SHIFT) & FIELD, key & FIELD]
    return CoarseShare(
        count,
        sums.row.astype(np.int32),
        sums.col.astype(np.int32),
        sums.data,
        np.bincount(aggregate, graph.ground, count),
        np.bincount(aggregate, parts.source, count),
        np.bincount(aggregate, voxels, count).astype(np.int64),
        box_key(*((2 * coordinate + start) // small for coordinate, start in zip(coordinates, origin))),
    )


def neighbour_codes(
    boxes: np.ndarray, axis: int, links: Iterable[tuple[int, np.ndarray]], ends: Iterable[np.ndarray]
) -> Pair:
    """Return the codes of a block's voxels, of both colours.

    Parameters
    ----------
    boxes : ndarray of uint8
    axis : int
        Direction of the flow.
    links : iterable of (axis, cells)
        Cells that are linked to other blocks along an axis.
    ends : iterable of cells
        Cells that touch an end of the volume.
    """
    shifts = pack.code_shifts(axis)
    padded = (2 * boxes.shape[0] + 2, 2 * boxes.shape[1] + 2, boxes.shape[2] + 2)
    codes = (np.zeros(padded, np.uint8), np.zeros(padded, np.uint8))
    # ends of the block are counted below: not all of them are ends of the volume
    pack.neighbour_counts(0, len(boxes), boxes, shifts, -1, -1, *codes)
    for along, cells in links:
        build.add_to_codes(cells, 1 << int(shifts[along]), codes)
    for cells in ends:
        build.add_to_codes(cells, 2 << int(shifts[axis]), codes)
    return codes
