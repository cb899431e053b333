"""Sweeps, products and transfers on the levels of a graph hierarchy.

Nodes are sorted by colour, and nodes of a colour are not linked: Gauss–Seidel visits the colours in order, and the
nodes of each in any order. Kernels work on the rows ``lo … hi``. Sums over all nodes are partial sums of `GROUP` nodes,
each stored on its own, so that they do not depend on the distribution over threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.solvers.arithmetic import kernel, ordered_dot

GROUP = 8192


@kernel
def first_colour(lo: int, hi: int, inverse: np.ndarray, b: np.ndarray, x: np.ndarray) -> None:
    """Solve for the nodes of the first colour, from x = 0."""
    for i in range(lo, hi):
        x[i] = b[i] * inverse[i]


@kernel
def later_colour(
    lo: int,
    hi: int,
    start: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    inverse: np.ndarray,
    b: np.ndarray,
    x: np.ndarray,
) -> None:
    """Solve for nodes of the colour that begins at `start`, where x of later colours is 0."""
    for i in range(lo, hi):
        s = b[i]
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            if j < start:
                s += weights[k] * x[j]
        x[i] = s * inverse[i]


@kernel
def sweep(
    lo: int,
    hi: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    inverse: np.ndarray,
    b: np.ndarray,
    x: np.ndarray,
) -> None:
    """Solve for nodes of one colour."""
    for i in range(lo, hi):
        s = b[i]
        for k in range(indptr[i], indptr[i + 1]):
            s += weights[k] * x[indices[k]]
        x[i] = s * inverse[i]


@kernel
def restrict(
    lo: int,
    hi: int,
    colours: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    x: np.ndarray,
    first: np.ndarray,
    members: np.ndarray,
    coarse: np.ndarray,
) -> None:
    """Sum over aggregates lo … hi the residual after one forward sweep from x = 0.

    A node's equation held when it was solved; only later colours have changed since. `members` lists the nodes of each
    aggregate, except those of the last colour.
    """
    for c in range(lo, hi):
        total = coarse.dtype.type(0)
        for m in range(first[c], first[c + 1]):
            i = members[m]
            q = 1
            while colours[q] <= i:
                q += 1
            end = colours[q]
            for k in range(indptr[i], indptr[i + 1]):
                j = indices[k]
                if j >= end:
                    total += weights[k] * x[j]
        coarse[c] = total


@kernel
def prolong(lo: int, hi: int, aggregate: np.ndarray, coarse: np.ndarray, x: np.ndarray) -> None:
    """Add to each node the correction of its aggregate."""
    for i in range(lo, hi):
        c = aggregate[i]
        if c >= 0:
            x[i] += coarse[c]


@kernel
def product(
    lo: int,
    hi: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    inverse: np.ndarray,
    x: np.ndarray,
    out: np.ndarray,
) -> None:
    """Compute rows of A x."""
    one = x.dtype.type(1)
    for i in range(lo, hi):
        d = inverse[i]
        s = x[i] * (one / d) if d > 0 else x.dtype.type(0)
        for k in range(indptr[i], indptr[i + 1]):
            s -= weights[k] * x[indices[k]]
        out[i] = s


@kernel
def combine(lo: int, hi: int, a: float, x: np.ndarray, b: float, y: np.ndarray) -> None:
    """Set x to a x + b y."""
    for i in range(lo, hi):
        x[i] = a * x[i] + b * y[i]


@kernel
def group_dots(lo: int, hi: int, x: np.ndarray, y: np.ndarray, z: np.ndarray, out: np.ndarray) -> None:
    """Compute x·y and x·z over the groups lo … hi of nodes."""
    for g in range(lo, hi):
        start, stop = g * GROUP, min(x.size, (g + 1) * GROUP)
        part = x[start:stop]
        out[g, 0] = ordered_dot(part, y[start:stop])
        out[g, 1] = ordered_dot(part, z[start:stop])


@njit(cache=True, nogil=True)
def improper(indptr: np.ndarray, indices: np.ndarray, colour: np.ndarray) -> bool:
    """Return whether two linked nodes have the same colour."""
    for i in range(colour.size):
        for k in range(indptr[i], indptr[i + 1]):
            if colour[i] == colour[indices[k]]:
                return True
    return False


@njit(cache=True, nogil=True)
def greedy_colours(indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Give each node in turn the lowest colour that none of its neighbours has."""
    n = indptr.size - 1
    colour = np.full(n, 255, np.uint8)
    for i in range(n):
        taken = np.uint64(0)
        for k in range(indptr[i], indptr[i + 1]):
            c = colour[indices[k]]
            if c < 64:
                taken |= np.uint64(1) << np.uint64(c)
        c = 0
        while c < 63 and (taken >> np.uint64(c)) & np.uint64(1):
            c += 1
        colour[i] = c
    return colour


@njit(cache=True, nogil=True)
def permute_rows(
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    order: np.ndarray,
    where: np.ndarray,
    starts: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
) -> None:
    """Write the rows `order` of a matrix in CSR form, its columns renamed to `where`."""
    for i in range(order.size):
        at = starts[i]
        row = order[i]
        for k in range(indptr[row], indptr[row + 1]):
            columns[at] = where[indices[k]]
            values[at] = weights[k]
            at += 1
