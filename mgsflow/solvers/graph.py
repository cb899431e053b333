"""A symmetric diffusion operator on a graph whose nodes lie in the boxes of a lattice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgsflow.errors import InputError
from mgsflow.solvers.graph_kernel import greedy_colours, improper, permute_rows

_BITS = 21
Z_SHIFT, Y_SHIFT = 2 * _BITS, _BITS
FIELD = (1 << _BITS) - 1
LOWEST = (1 << Z_SHIFT) | (1 << Y_SHIFT) | 1
"""Lowest bit of each of the three coordinates in a key."""


def box_key(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the int64 keys of boxes at coordinates 0 … 2²¹ − 1: keys sort in C order."""
    return (np.asarray(z, np.int64) << Z_SHIFT) | (np.asarray(y, np.int64) << Y_SHIFT) | np.asarray(x, np.int64)


@dataclass(frozen=True)
class Graph:
    """The operator ``(A x)_i = ground_i x_i + Σ_j w_ij (x_i - x_j)``.

    Nodes of one colour are not linked with each other and form one range, in which z does not decrease. `from_links`
    sorts the nodes of any graph.

    Attributes
    ----------
    indptr : ndarray of int32 or int64, shape (n + 1,)
    indices : ndarray of int32, shape (links,)
        Neighbours of node i are ``indices[indptr[i]:indptr[i + 1]]``; each link is stored at both its ends.
    weights : ndarray of float32 or float64, shape (links,)
        Conductances w > 0.
    ground : ndarray, shape (n,)
        Conductance of a node to a Dirichlet boundary x = 0, at least 0.
    key : ndarray of int64, shape (n,)
        Box of each node, see `box_key`. A box may hold several nodes.
    colours : ndarray of int64, shape (number of colours + 1,)
        First node of each colour; the last entry is n.
    order : ndarray of int32, shape (n,), optional
        Node i is the caller's node ``order[i]``; None where they are the same.
    """

    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray
    ground: np.ndarray
    key: np.ndarray
    colours: np.ndarray
    order: np.ndarray | None = None

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.ground.size

    @classmethod
    def from_links(
        cls, indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, ground: np.ndarray, key: np.ndarray
    ) -> Graph:
        """Return the graph of symmetric links in CSR form, its nodes sorted by colour.

        Parameters
        ----------
        indptr, indices, weights, ground, key : ndarray
            As the attributes, in any order of nodes; a node is not linked with itself.

        Raises
        ------
        InputError
            If the shapes of the arrays do not match.
        """
        n = ground.size
        if indptr.size != n + 1 or key.size != n or indices.size != weights.size or int(indptr[-1]) != indices.size:
            raise InputError(
                f"a graph of {n} nodes has {n + 1} row starts and a key a node, got {indptr.size} and {key.size};"
                f" {indices.size} neighbours need as many weights, got {weights.size}"
            )
        plane = np.asarray(key, np.int64) >> Z_SHIFT
        before = None
        if np.any(plane[1:] < plane[:-1]):
            before = np.argsort(plane, kind="stable").astype(np.int32)
            indptr, indices, weights, ground, key = _reorder(indptr, indices, weights, ground, key, before)
        graph = sort_by_colour(indptr, indices, weights, ground, key)
        if before is not None:
            order = before if graph.order is None else before[graph.order]
            graph = Graph(graph.indptr, graph.indices, graph.weights, graph.ground, graph.key, graph.colours, order)
        return graph


def sort_by_colour(
    indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, ground: np.ndarray, key: np.ndarray
) -> Graph:
    """Return the graph of CSR links, nodes of one colour together and otherwise in the order given.

    Where links only join boxes that share a face, as on all levels of a lattice, the parity of the boxes gives two
    colours; else colours are assigned greedily.
    """
    parity = ((key >> Z_SHIFT) + (key >> Y_SHIFT) + key) & 1
    colour = parity.astype(np.uint8)
    if improper(indptr, indices, colour):
        colour = greedy_colours(indptr, indices)
    sizes = np.bincount(colour, minlength=2)
    colours = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    if np.all(colour[1:] >= colour[:-1]):
        return Graph(indptr, indices, weights, ground, key, colours)
    order = np.argsort(colour, kind="stable").astype(np.int32)
    indptr, indices, weights, ground, key = _reorder(indptr, indices, weights, ground, key, order)
    return Graph(indptr, indices, weights, ground, key, colours, order)


def _reorder(
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    ground: np.ndarray,
    key: np.ndarray,
    order: np.ndarray,
) -> tuple[np.ndarray, ...]:
    where = np.empty_like(order)
    where[order] = np.arange(order.size, dtype=order.dtype)
    starts = np.zeros_like(indptr)
    np.cumsum(np.diff(indptr)[order], out=starts[1:])
    columns, values = np.empty_like(indices), np.empty_like(weights)
    permute_rows(indptr, indices, weights, order, where, starts, columns, values)
    return starts, columns, values, ground[order], key[order]
