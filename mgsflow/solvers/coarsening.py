"""Coarsening of a graph: connected aggregates of the nodes in a box, and the Galerkin operator on them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mgsflow.solvers import coarsening_kernel as build
from mgsflow.solvers.graph import FIELD, LOWEST, Y_SHIFT, Z_SHIFT, Graph, sort_by_colour
from mgsflow.solvers.huge_pages import zeros
from mgsflow.solvers.team import Team

_SLOW_COARSENING = 0.7  # ratio of nodes above which boxes are doubled once more


def coarsen(graph: Graph, strength: float, team: Team) -> tuple[np.ndarray, np.ndarray, np.ndarray, Graph] | None:
    """Return the aggregates of a graph and the Galerkin operator on them, or None if there are hardly fewer.

    Parameters
    ----------
    graph : Graph
    strength : float
        See `mgsflow.solvers.aggregation.Hierarchy`.
    team : Team

    Returns
    -------
    aggregate : ndarray of int32, shape (nodes,)
        Aggregate of each node, -1 for nodes without links.
    first, members : ndarray of int32
        Nodes of aggregate c are ``members[first[c]:first[c + 1]]``, without those of the last colour.
    coarse : Graph
    """
    n = graph.nodes
    strongest, island = np.empty(0, graph.weights.dtype), np.empty(0, np.bool_)
    if strength > 0:
        strongest, island = zeros(n, graph.weights.dtype), zeros(n, np.bool_)
        team.run(build.strongest_links, 0, n, graph.indptr, graph.weights, strongest)
        rows = (graph.indptr, graph.indices, graph.weights)
        team.run(build.mark_islands, 0, n, *rows, strongest, strength, island)
    parent, aggregate = zeros(n, np.int32), zeros(n, np.int32)
    last_shift = _doublings(graph.key)
    for shift in range(1, last_shift + 2):
        if shift > last_shift:
            # strong links alone form no more aggregates: use all links
            if not strongest.size:
                return None
            shift, strongest = 1, strongest[:0]
        low = LOWEST * ((1 << shift) - 1)
        box = ~low
        planes = int(graph.key[-1] >> Z_SHIFT) if n else 0
        planes = (max(planes, *(int(graph.key[e - 1] >> Z_SHIFT) for e in graph.colours[1:] if e)) >> shift) + 1
        starts = _plane_starts(graph, shift, planes)
        roots = np.zeros(planes + 1, np.int64)
        links = (graph.indptr, graph.indices, graph.weights, graph.key, box, strongest, strength, island)
        grain = max(1, _plane_grain(n, planes))
        team.run(build.join, 0, planes, starts, *links, parent, roots[1:], grain=grain)
        np.cumsum(roots, out=roots)
        if roots[-1] <= _SLOW_COARSENING * n:
            break
    count = int(roots[-1])
    if count > 0.95 * n:
        return None
    # each field of a key loses its lowest bits; bits shifted in from the next field are masked
    keep = FIELD >> shift
    fields = (keep << Z_SHIFT) | (keep << Y_SHIFT) | keep
    key = zeros(count, np.int64)
    arrays = (starts, graph.indptr, graph.key, shift, fields, parent, roots, aggregate, key)
    team.run(build.number, 0, planes, *arrays, grain=grain)
    del parent
    first, members, coarse = _galerkin(graph, aggregate, count, key, team)
    return aggregate, first, members, coarse


def _galerkin(
    graph: Graph, aggregate: np.ndarray, count: int, key: np.ndarray, team: Team
) -> tuple[np.ndarray, np.ndarray, Graph]:
    """Return the members of the aggregates, renumbered by colour in place, and the graph of the links between them."""
    first, members = _members(aggregate, count)
    index = graph.indptr.dtype
    starts = np.zeros(count + 1, index)
    links = (graph.indptr, graph.indices)
    team.run(build.count_links, 0, count, *links, aggregate, first, members, starts)
    np.cumsum(starts, out=starts)
    columns, values = zeros(starts[-1], np.int32), zeros(starts[-1], graph.weights.dtype)
    ground = zeros(count, graph.ground.dtype)
    rest = (aggregate, first, members, starts, columns, values, ground)
    team.run(build.sum_links, 0, count, *links, graph.weights, graph.ground, *rest)
    coarse = sort_by_colour(starts, columns, values, ground, key)
    if coarse.order is not None:
        renamed = zeros(count, np.int32)
        renamed[coarse.order] = np.arange(count, dtype=np.int32)
        held = aggregate >= 0
        aggregate[held] = renamed[aggregate[held]]
    # a forward sweep solves the last colour last, so that no residual remains there
    first, members = _members(aggregate[: graph.colours[-2]], count)
    return first, members, coarse


def _plane_grain(nodes: int, planes: int) -> int:
    """Return how many planes of boxes are worth a thread."""
    return -(-16384 * planes // max(nodes, 1))


def _doublings(key: np.ndarray) -> int:
    """Return how often boxes can be doubled until one contains all nodes."""
    if not key.size:
        return 1
    top = max(int(((key >> s) & FIELD).max()) for s in (Z_SHIFT, Y_SHIFT, 0))
    return max(1, top.bit_length())


def _plane_starts(graph: Graph, shift: int, planes: int) -> np.ndarray:
    """Return the first node of each colour in or after each plane of boxes, shape (colours, planes + 1)."""
    edges = np.arange(planes + 1, dtype=np.int64) << (Z_SHIFT + shift)
    ends = graph.colours
    starts = [a + np.searchsorted(graph.key[a:b], edges) for a, b in pairwise(ends.tolist())]
    return np.array(starts, np.int64)


def _members(aggregate: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.zeros(count + 1, np.int32)
    members = zeros(int(np.count_nonzero(aggregate >= 0)), np.int32)
    build.list_members(aggregate, first, members)
    return first, members
