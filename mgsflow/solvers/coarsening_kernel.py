"""Aggregates of a graph, the connected sets of the nodes in a box, and the Galerkin operator on them."""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.solvers.arithmetic import kernel


@njit(cache=True, nogil=True, inline="always")
def find(parent: np.ndarray, i: int) -> int:
    """Return the root of i, halving the path to it."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True, inline="always")
def unite(parent: np.ndarray, i: int, j: int) -> None:
    """Join the sets of i and j; the smaller root represents both."""
    if parent[i] == parent[j]:
        return
    a, b = find(parent, i), find(parent, j)
    if a < b:
        parent[b] = a
    elif b < a:
        parent[a] = b


@kernel
def strongest_links(lo: int, hi: int, indptr: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Find the largest weight of each node's links."""
    for i in range(lo, hi):
        top = out.dtype.type(0)
        for k in range(indptr[i], indptr[i + 1]):
            top = max(top, weights[k])
        out[i] = top


@kernel
def mark_islands(
    lo: int,
    hi: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    strongest: np.ndarray,
    strength: float,
    island: np.ndarray,
) -> None:
    """Mark nodes all of whose links are weak at the other end: islands in surroundings of far higher conductance."""
    for i in range(lo, hi):
        alone = True
        for k in range(indptr[i], indptr[i + 1]):
            if weights[k] >= strength * max(strongest[i], strongest[indices[k]]):
                alone = False
                break
        island[i] = alone


@njit(cache=True, nogil=True)
def join(
    lo: int,
    hi: int,
    starts: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    key: np.ndarray,
    box: int,
    strongest: np.ndarray,
    strength: float,
    island: np.ndarray,
    parent: np.ndarray,
    roots: np.ndarray,
) -> None:
    """Join linked nodes of a box, for the planes of boxes lo … hi; count the aggregates of each plane.

    Two nodes are in one box if their keys agree in the bits `box`. With strengths, only links that are strong at both
    ends join nodes; an island then joins its best-linked neighbour alone, so that it connects no others.
    """
    colours = starts.shape[0]
    strict = strongest.size > 0
    for plane in range(lo, hi):
        for c in range(colours):
            for i in range(starts[c, plane], starts[c, plane + 1]):
                parent[i] = i
        for c in range(colours):
            for i in range(starts[c, plane], starts[c, plane + 1]):
                for k in range(indptr[i], indptr[i + 1]):
                    j = indices[k]
                    if j > i or (key[i] ^ key[j]) & box:
                        continue
                    if strict and weights[k] < strength * max(strongest[i], strongest[j]):
                        continue
                    unite(parent, i, j)
        for c in range(colours if strict else 0):
            for i in range(starts[c, plane], starts[c, plane + 1]):
                best, to = strength * strongest[i], -1
                if not island[i]:
                    continue
                for k in range(indptr[i], indptr[i + 1]):
                    j = indices[k]
                    if not (key[i] ^ key[j]) & box and (weights[k] > best or (weights[k] == best and j < to)):
                        best, to = weights[k], j
                if to >= 0:
                    a, b = find(parent, i), find(parent, to)
                    parent[max(a, b)] = min(a, b)
        n = 0
        for c in range(colours):
            for i in range(starts[c, plane], starts[c, plane + 1]):
                n += parent[i] == i and indptr[i + 1] > indptr[i]
        roots[plane] = n


@njit(cache=True, nogil=True)
def number(
    lo: int,
    hi: int,
    starts: np.ndarray,
    indptr: np.ndarray,
    key: np.ndarray,
    shift: int,
    fields: int,
    parent: np.ndarray,
    first: np.ndarray,
    aggregate: np.ndarray,
    coarse_key: np.ndarray,
) -> None:
    """Number the aggregates plane by plane; nodes without links get -1: one sweep solves them exactly."""
    colours = starts.shape[0]
    for plane in range(lo, hi):
        n = first[plane]
        for c in range(colours):
            for i in range(starts[c, plane], starts[c, plane + 1]):
                if indptr[i + 1] == indptr[i]:
                    aggregate[i] = -1
                elif parent[i] == i:
                    aggregate[i] = n
                    coarse_key[n] = (key[i] >> shift) & fields
                    n += 1
        for c in range(colours):
            for i in range(starts[c, plane], starts[c, plane + 1]):
                if parent[i] != i:
                    aggregate[i] = aggregate[find(parent, i)]


@njit(cache=True, nogil=True)
def list_members(aggregate: np.ndarray, first: np.ndarray, members: np.ndarray) -> None:
    """List the nodes of each aggregate; `first`, zeros, gets where each list starts."""
    n = first.size - 1
    for i in range(aggregate.size):
        if aggregate[i] >= 0:
            first[aggregate[i] + 1] += 1
    for c in range(n):
        first[c + 1] += first[c]
    for i in range(aggregate.size):
        c = aggregate[i]
        if c >= 0:
            members[first[c]] = i
            first[c] += 1
    for c in range(n, 0, -1):
        first[c] = first[c - 1]
    first[0] = 0


@njit(cache=True, nogil=True)
def count_links(
    lo: int,
    hi: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    aggregate: np.ndarray,
    first: np.ndarray,
    members: np.ndarray,
    sizes: np.ndarray,
) -> None:
    """Count the neighbours of aggregates lo … hi."""
    mark = np.full(first.size - 1, -1, np.int32)
    for c in range(lo, hi):
        n = 0
        for m in range(first[c], first[c + 1]):
            i = members[m]
            for k in range(indptr[i], indptr[i + 1]):
                j = aggregate[indices[k]]
                if j != c and mark[j] != c:
                    mark[j] = c
                    n += 1
        sizes[c + 1] = n


@kernel
def sum_links(
    lo: int,
    hi: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    ground: np.ndarray,
    aggregate: np.ndarray,
    first: np.ndarray,
    members: np.ndarray,
    starts: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add up the links between aggregates lo … hi and others, and their ground."""
    mark = np.full(first.size - 1, -1, starts.dtype)
    for c in range(lo, hi):
        begin = starts[c]
        end = begin
        total = sums.dtype.type(0)
        for m in range(first[c], first[c + 1]):
            i = members[m]
            total += ground[i]
            for k in range(indptr[i], indptr[i + 1]):
                j = aggregate[indices[k]]
                if j == c:
                    continue
                if mark[j] < begin:
                    mark[j] = end
                    columns[end] = j
                    values[end] = weights[k]
                    end += 1
                else:
                    values[mark[j]] += weights[k]
        sums[c] = total


@kernel
def invert_diagonal(
    lo: int, hi: int, indptr: np.ndarray, weights: np.ndarray, ground: np.ndarray, inverse: np.ndarray
) -> None:
    """Compute 1 / (ground + Σ w), 0 where that is not positive."""
    for i in range(lo, hi):
        d = ground[i]
        for k in range(indptr[i], indptr[i + 1]):
            d += weights[k]
        inverse[i] = 1 / d if d > 0 else 0.0
