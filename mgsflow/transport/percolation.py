"""Percolation: the voxels of a phase that face-connected paths join to both ends of an axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from mgsflow.solvers.coarsening_kernel import unite
from mgsflow.solvers.huge_pages import zeros
from mgsflow.solvers.team import Team
from mgsflow.transport.diffusion.boxes import FACES, ONES, PART_BITS, PART_OF, PARTS, plane_grain
from mgsflow.transport.diffusion.part_graph import number_parts

_SLAB = 16  # planes of boxes that are searched on their own, then joined


@dataclass(frozen=True)
class Percolation:
    """Number of voxels that conduct, and that percolate.

    Attributes
    ----------
    conducting : int
        Voxels of the phase.
    percolating : int
        Voxels that are face-connected to both ends.
    """

    conducting: int
    percolating: int


def keep_percolating(boxes: np.ndarray, axis: int, length: int, team: Team) -> Percolation:
    """Clear the voxels of packed boxes that are not connected to both ends.

    Parameters
    ----------
    boxes : ndarray of uint8, shape (Z, Y, X)
        Packed voxels, see `mgsflow.transport.diffusion.boxes.pack`; changed in place.
    axis : int
        Axis of the two ends.
    length : int
        Voxels along it.
    team : Team

    Returns
    -------
    Percolation
    """
    planes = len(boxes)
    first, starts = number_parts(boxes, False, team)
    parent = zeros(int(starts[-1, 0]), np.int32)
    slabs, grain = -(-planes // _SLAB), plane_grain(boxes)
    tables = (boxes, first, PARTS, PART_OF)
    team.run(_join_slabs, 0, slabs, *tables, starts[:, 0], parent, grain=max(1, grain // _SLAB))
    for z in range(_SLAB, planes, _SLAB):
        _join_planes(z - 1, *tables, parent)
    ends = FACES[axis, [0, (length - 1) & 1]]
    flags = zeros(parent.size, np.uint8)
    _mark_ends(boxes, first, PARTS, PART_BITS, axis, ends, flags)
    _resolve_roots(parent, flags)
    kept = np.zeros((planes, 2), np.int64)
    team.run(_clear, 0, planes, boxes, first, PARTS, PART_BITS, ONES, parent, flags, kept, grain=grain)
    conducting, percolating = kept.sum(axis=0)
    return Percolation(int(conducting), int(percolating))


@njit(cache=True, nogil=True)
def _unite_boxes(
    o: int,
    q: int,
    i: int,
    j: int,
    shared: int,
    step: int,
    parts: np.ndarray,
    part_of: np.ndarray,
    parent: np.ndarray,
) -> None:
    """Unite parts of two boxes that share faces; bits of `shared` are the voxels of the second."""
    if parts[o] == 1 and parts[q] == 1:
        unite(parent, i, j)
        return
    for v in range(8):
        if shared >> v & 1:
            unite(parent, i + part_of[o, v + step], j + part_of[q, v])


@njit(cache=True, nogil=True)
def _join_rows(
    low: np.ndarray,
    high: np.ndarray,
    i: np.ndarray,
    j: np.ndarray,
    step: int,
    face: int,
    parts: np.ndarray,
    part_of: np.ndarray,
    parent: np.ndarray,
) -> None:
    """Unite the parts of a row of boxes with those of the next row along y or z."""
    before = False
    for X in range(low.size):
        shared = (low[X] >> step) & high[X] & face
        if not shared:
            before = False
            continue
        if parts[low[X]] == 1 and parts[high[X]] == 1:
            # usually the previous boxes of the row joined them already
            if not (before and (low[X - 1] >> 1) & low[X] & 0x55 and (high[X - 1] >> 1) & high[X] & 0x55):
                unite(parent, i[X], j[X])
            before = True
        else:
            _unite_boxes(low[X], high[X], i[X], j[X], shared, step, parts, part_of, parent)
            before = False


@njit(cache=True, nogil=True)
def _join_planes(
    z: int, boxes: np.ndarray, first: np.ndarray, parts: np.ndarray, part_of: np.ndarray, parent: np.ndarray
) -> None:
    """Unite the parts of plane z with those of the next."""
    for Y in range(boxes.shape[1]):
        _join_rows(boxes[z, Y], boxes[z + 1, Y], first[z, Y], first[z + 1, Y], 4, 0x0F, parts, part_of, parent)


@njit(cache=True, nogil=True)
def _join_slabs(
    lo: int,
    hi: int,
    boxes: np.ndarray,
    first: np.ndarray,
    parts: np.ndarray,
    part_of: np.ndarray,
    starts: np.ndarray,
    parent: np.ndarray,
) -> None:
    """Unite the connected parts within each of the slabs lo … hi."""
    planes, BY, BX = boxes.shape
    for slab in range(lo, hi):
        z0, z1 = slab * _SLAB, min(planes, (slab + 1) * _SLAB)
        for i in range(starts[z0], starts[z1]):
            parent[i] = i
        for Z in range(z0, z1):
            for Y in range(BY):
                row, at = boxes[Z, Y], first[Z, Y]
                for X in range(BX - 1):
                    shared = (row[X] >> 1) & row[X + 1] & 0x55
                    if shared:
                        _unite_boxes(row[X], row[X + 1], at[X], at[X + 1], shared, 1, parts, part_of, parent)
                if Y:
                    _join_rows(boxes[Z, Y - 1], row, first[Z, Y - 1], at, 2, 0x33, parts, part_of, parent)
            if z0 < Z:
                _join_planes(Z - 1, boxes, first, parts, part_of, parent)


@njit(cache=True, nogil=True)
def _mark_ends(
    boxes: np.ndarray,
    first: np.ndarray,
    parts: np.ndarray,
    bits: np.ndarray,
    axis: int,
    ends: np.ndarray,
    flags: np.ndarray,
) -> None:
    """Mark the parts that touch the first (1) and the last (2) plane of voxels."""
    BZ, BY, BX = boxes.shape
    shape = (BZ, BY, BX)
    for end in range(2):
        plane = 0 if end == 0 else shape[axis] - 1
        for Z in range(plane if axis == 0 else 0, plane + 1 if axis == 0 else BZ):
            for Y in range(plane if axis == 1 else 0, plane + 1 if axis == 1 else BY):
                for X in range(plane if axis == 2 else 0, plane + 1 if axis == 2 else BX):
                    o = boxes[Z, Y, X]
                    for c in range(parts[o]):
                        if bits[o, c] & ends[end]:
                            flags[first[Z, Y, X] + c] |= 1 << end


@njit(cache=True, nogil=True)
def _resolve_roots(parent: np.ndarray, flags: np.ndarray) -> None:
    """Link every part to its root, and collect there the flags of all members."""
    for i in range(parent.size):
        root = parent[parent[i]]  # roots of lower numbers are resolved
        parent[i] = root
        flags[root] |= flags[i]


@njit(cache=True, nogil=True)
def _clear(
    lo: int,
    hi: int,
    boxes: np.ndarray,
    first: np.ndarray,
    parts: np.ndarray,
    bits: np.ndarray,
    ones: np.ndarray,
    parent: np.ndarray,
    flags: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Clear the parts whose root does not touch both ends; count the voxels before and after."""
    for Z in range(lo, hi):
        before, after = 0, 0
        for Y in range(boxes.shape[1]):
            row, at = boxes[Z, Y], first[Z, Y]
            for X in range(row.size):
                o = row[X]
                if o == 0:
                    continue
                before += ones[o]
                kept = 0
                for c in range(parts[o]):
                    if flags[parent[at[X] + c]] == 3:
                        kept |= bits[o, c]
                row[X] = kept
                after += ones[kept]
        counts[Z, 0] = before
        counts[Z, 1] = after
