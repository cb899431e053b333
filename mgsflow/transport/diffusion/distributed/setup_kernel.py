"""Kernels that set a block up: parts of boxes, their aggregates, and cells on faces."""

from __future__ import annotations

import numpy as np

from mgsflow.solvers.arithmetic import kernel
from mgsflow.solvers.coarsening_kernel import unite
from mgsflow.transport.diffusion.distributed.workspace import Pair


@kernel
def add_to_codes(cells: np.ndarray, amount: int, codes: Pair) -> None:
    """Add to the codes of cells (z, y, x)."""
    for i in range(len(cells)):
        z, y, x = cells[i, 0], cells[i, 1], cells[i, 2]
        codes[(z + y + x) & 1][z + 1, y + 1, (x >> 1) + 1] += amount


@kernel
def read_cells(cells: np.ndarray, a: Pair, out: np.ndarray) -> None:
    """Read the cells (z, y, x) of both colours."""
    for i in range(len(cells)):
        z, y, x = cells[i, 0], cells[i, 1], cells[i, 2]
        out[i] = a[(z + y + x) & 1][z + 1, y + 1, (x >> 1) + 1]


@kernel
def write_cells(cells: np.ndarray, values: np.ndarray, a: Pair) -> None:
    """Write the cells (z, y, x) of both colours; ghost cells lie in the border."""
    for i in range(len(cells)):
        z, y, x = cells[i, 0], cells[i, 1], cells[i, 2]
        a[(z + y + x) & 1][z + 1, y + 1, (x >> 1) + 1] = values[i]


@kernel
def join_parts(indptr: np.ndarray, indices: np.ndarray, key: np.ndarray, aggregate: np.ndarray) -> int:
    """Join linked nodes of one key to aggregates, numbered in the order of their first nodes; return their number."""
    n = key.size
    for i in range(n):
        aggregate[i] = i
    for i in range(n):
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            if j < i and key[i] == key[j]:
                unite(aggregate, i, j)
    count = 0
    for i in range(n):  # roots come before their members
        if aggregate[i] == i:
            aggregate[i] = -1 - count
            count += 1
        else:
            root = aggregate[i]
            while root >= 0:
                root = aggregate[root]
            aggregate[i] = root
    for i in range(n):
        aggregate[i] = -1 - aggregate[i]
    return count


@kernel
def clear_parts(boxes: np.ndarray, first: np.ndarray, parts: np.ndarray, bits: np.ndarray, kept: np.ndarray) -> None:
    """Clear the voxels of parts that are not kept."""
    BZ, BY, BX = boxes.shape
    for Z in range(BZ):
        for Y in range(BY):
            for X in range(BX):
                o, stays = boxes[Z, Y, X], 0
                for c in range(parts[o]):
                    if kept[first[Z, Y, X] + c]:
                        stays |= bits[o, c]
                boxes[Z, Y, X] = stays


@kernel
def parts_of_cells(cells: np.ndarray, boxes: np.ndarray, first: np.ndarray, part_of: np.ndarray) -> np.ndarray:
    """Return the part of each of some conducting voxels (z, y, x)."""
    out = np.empty(len(cells), np.int32)
    for i in range(len(cells)):
        z, y, x = cells[i, 0], cells[i, 1], cells[i, 2]
        bit = 4 * (z & 1) + 2 * (y & 1) + (x & 1)
        Z, Y, X = z >> 1, y >> 1, x >> 1
        out[i] = first[Z, Y, X] + part_of[boxes[Z, Y, X], bit]
    return out


@kernel
def count_part_voxels(
    boxes: np.ndarray, first: np.ndarray, parts: np.ndarray, bits: np.ndarray, ones: np.ndarray, nodes: int
) -> np.ndarray:
    """Return the voxels of each part."""
    out = np.zeros(nodes, np.uint8)
    BZ, BY, BX = boxes.shape
    for Z in range(BZ):
        for Y in range(BY):
            for X in range(BX):
                o = boxes[Z, Y, X]
                for c in range(parts[o]):
                    out[first[Z, Y, X] + c] = ones[bits[o, c]]
    return out


@kernel
def links_between_aggregates(
    indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, aggregate: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the links between nodes of different aggregates, from the lower aggregate to the higher."""
    count = 0
    for i in range(aggregate.size):
        for k in range(indptr[i], indptr[i + 1]):
            count += aggregate[i] < aggregate[indices[k]]
    row, column = np.empty(count, np.int32), np.empty(count, np.int32)
    weight = np.empty(count, np.float64)
    at = 0
    for i in range(aggregate.size):
        for k in range(indptr[i], indptr[i + 1]):
            if aggregate[i] < aggregate[indices[k]]:
                row[at], column[at], weight[at] = aggregate[i], aggregate[indices[k]], weights[k]
                at += 1
    return row, column, weight


@kernel
def unpack(codes: Pair, a: Pair, out: np.ndarray) -> None:
    """Write conducting voxels to a plain array."""
    nz, ny, nx = out.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                colour = (z + y + x) & 1
                if codes[colour][z + 1, y + 1, (x >> 1) + 1] > 0:
                    out[z, y, x] = a[colour][z + 1, y + 1, (x >> 1) + 1]
