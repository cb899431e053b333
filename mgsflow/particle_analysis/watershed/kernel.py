"""Steepest ascent within one block: the numba side of `basins`.

Every voxel of the phase points to the largest of its 27 neighbours, itself among them, in the order of (squared
distance, C index in the volume). No two voxels are equal in it, so that where a voxel points depends on nothing but
distances. All arrays here are *padded*: the block with a margin of voxels around it, whatever the block borders on.
Squared distances are 0 outside the phase and beyond the volume.

A direction is a byte ``9·(dz + 1) + 3·(dy + 1) + (dx + 1)``: of equal distances, the larger byte has the larger C
index, in the block as in the volume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

HERE = 13
"""Direction of a peak: to itself."""

NOWHERE = 255
"""Direction of what is not in the phase."""

_RING = 254

_KEPT = 1 << 12

DEEPEST = 2**26 - 1
"""Squared distances beyond this one (8191 voxels deep) count as equal to it: with a direction, they fill 31 bits."""


@njit(cache=True, nogil=True)
def point(d2, directions):  # type: ignore[no-untyped-def]
    """Fill `directions` (uint8) from squared distances (int32), both padded; the ring is marked as such."""
    nz, ny, nx = d2.shape
    best = np.zeros(nx, np.int32)
    directions[0] = _RING
    directions[nz - 1] = _RING
    for z in range(1, nz - 1):
        directions[z, 0] = _RING
        directions[z, ny - 1] = _RING
        for y in range(1, ny - 1):
            own, out = d2[z, y], directions[z, y]
            most = np.int32(0)
            for x in range(1, nx - 1):
                most = max(most, own[x])
            if most == 0:
                out[:] = NOWHERE
            else:
                best[:] = 0
                for dz in range(3):
                    for dy in range(3):
                        row = d2[z + dz - 1, y + dy - 1]
                        code = np.int32(9 * dz + 3 * dy)
                        for x in range(nx):  # becomes SIMD, as do the next
                            best[x] = max(best[x], np.int32((row[x] << 5) | code))
                for x in range(1, nx - 1):
                    found = max(best[x - 1], max(np.int32(best[x] + 1), np.int32(best[x + 1] + 2)))
                    out[x] = np.uint8(found & 31) if own[x] > 0 else np.uint8(NOWHERE)
            out[0] = _RING
            out[nx - 1] = _RING


@njit(cache=True, nogil=True)
def gather(directions, margin, labels):  # type: ignore[no-untyped-def]
    """Fill `labels` (int32, zeros), padded, with groups 1 … n in C order of their first voxels in the block; return n.

    A group is the voxels from which the steepest way leads to one peak, or to one voxel of the ring. What lies in the
    margin is labelled where ways pass, and then cleared.
    """
    nz, ny, nx = directions.shape
    steps = np.empty(256, np.int64)
    for c in range(27):
        steps[c] = ((c // 9 - 1) * ny + (c // 3 % 3 - 1)) * nx + (c % 3 - 1)
    ways = directions.reshape(-1)
    found = labels.reshape(-1)
    passed = np.empty(_KEPT, np.int64)
    n = 0
    for z in range(margin, nz - margin):
        for y in range(margin, ny - margin):
            start = (z * ny + y) * nx
            for i in range(start + margin, start + nx - margin):
                if ways[i] == NOWHERE or found[i]:
                    continue
                v = i
                kept = 0
                while found[v] == 0:
                    way = ways[v]
                    if way in (HERE, _RING):
                        n += 1
                        found[v] = n
                        break
                    if kept < _KEPT:
                        passed[kept] = v
                    kept += 1
                    v += steps[way]
                label = found[v]
                for k in range(min(kept, _KEPT)):
                    found[passed[k]] = label
                if kept > _KEPT:  # a long way: the rest of it is walked again
                    v = passed[_KEPT - 1] + steps[ways[passed[_KEPT - 1]]]
                    while found[v] == 0:
                        found[v] = label
                        v += steps[ways[v]]
    for z in range(nz):
        for y in range(ny):
            if min(z, nz - 1 - z, y, ny - 1 - y) < margin:
                labels[z, y] = 0
            else:
                labels[z, y, :margin] = 0
                labels[z, y, nx - margin :] = 0
    return n


@njit(cache=True, nogil=True)
def count_runs(labels, margin, first_plane, last_plane):  # type: ignore[no-untyped-def]
    """Return the number of unbroken rows of one label, background too, in some planes of the block."""
    _, ny, nx = labels.shape
    n = 0
    for z in range(margin + first_plane, margin + last_plane):
        for y in range(margin, ny - margin):
            row = labels[z, y]
            changes: Any = np.int32(1)
            for x in range(margin + 1, nx - margin):  # becomes SIMD
                changes += np.int32(row[x] != row[x - 1])
            n += changes
    return n


@njit(cache=True, nogil=True)
def tabulate(labels, margin, first_plane, last_plane, seen, first, size, runs):  # type: ignore[no-untyped-def]
    """Go through some planes of the block: their groups' first voxels and sizes, and their runs.

    Parameters
    ----------
    labels : ndarray of int32, padded
    margin, first_plane, last_plane : int
    seen : int
        Groups that occur in earlier planes: 1 … seen.
    first, size : ndarray of int32, shape (groups,)
        C index of each group's first voxel in the block; voxels, zeros at first.
    runs : ndarray of int32, shape (2, `count_runs`)
        Label and voxels of each unbroken row of one label.

    Returns
    -------
    int
        `seen`, for the following planes.
    """
    _, ny, nx = labels.shape
    stop = nx - margin
    height, width = ny - 2 * margin, nx - 2 * margin
    n = 0
    for z in range(margin + first_plane, margin + last_plane):
        for y in range(margin, ny - margin):
            row = labels[z, y]
            x = margin
            while x < stop:
                label = row[x]
                start = x
                while x < stop and row[x] == label:
                    x += 1
                runs[0, n] = label
                runs[1, n] = x - start
                n += 1
                if label == 0:
                    continue
                size[label - 1] += x - start
                if label > seen:  # groups are numbered in this order
                    first[label - 1] = ((z - margin) * height + y - margin) * width + start - margin
                    seen = label
    return seen


@njit(cache=True, nogil=True)
def paint_runs(runs, lut, out):  # type: ignore[no-untyped-def]
    """Fill `out`, flat, with ``lut[label]`` of each run."""
    at = 0
    for k in range(runs.shape[1]):
        value = lut[runs[0, k]]
        end = at + runs[1, k]
        for i in range(at, end):
            out[i] = value
        at = end


@njit(cache=True, nogil=True)
def find_peaks(directions, labels, d2, margin, origin, plane, row, bits, peaks):  # type: ignore[no-untyped-def]
    """Fill, for groups with a peak in the block, its squared distance and its C index in the volume as one number.

    The volume has rows of `row` and planes of `plane` voxels, the block's first is at `origin` there, and the C index
    takes `bits`.
    """
    nz, ny, nx = directions.shape
    for z in range(margin, nz - margin):
        for y in range(margin, ny - margin):
            ways = directions[z, y]
            some = False
            for x in range(nx):
                some |= ways[x] == HERE
            if some:
                start = (origin[0] + z - margin) * plane + (origin[1] + y - margin) * row + origin[2] - margin
                for x in range(margin, nx - margin):
                    if ways[x] == HERE:
                        peaks[labels[z, y, x] - 1] = (np.int64(d2[z, y, x]) << bits) | (start + x)
