"""A conducting phase as one byte for each box of 2×2×2 voxels, and the connected parts of its boxes.

Bit ``4a + 2b + c`` of a box is its voxel (a, b, c). Tables of the 256 bytes give the face-connected parts of the voxels
of a box, at most four. They are the nodes of the first coarse level, and the units of a search for connected voxels.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from mgsflow.solvers.arithmetic import kernel


def _parts_of_bytes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the parts of each byte: their number, the bits of each, and the part of each voxel."""
    count = np.zeros(256, np.uint8)
    bits = np.zeros((256, 4), np.uint8)
    part = np.zeros((256, 8), np.uint8)
    for byte in range(256):
        rest = byte
        while rest:
            grown, found = 0, rest & -rest
            while grown != found:
                grown = found
                for step, low in ((1, 0x55), (2, 0x33), (4, 0x0F)):
                    found |= ((found & low) << step | (found >> step) & low) & byte
            bits[byte, count[byte]] = found
            part[byte, [v for v in range(8) if found >> v & 1]] = count[byte]
            count[byte] += 1
            rest &= ~found
    return count, bits, part


PARTS, PART_BITS, PART_OF = _parts_of_bytes()
"""Number of parts of a byte (256,), their bits (256, 4), and the part of each voxel (256, 8)."""

ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
"""Voxels of a byte."""

FACES = np.array([[0x0F, 0xF0], [0x33, 0xCC], [0x55, 0xAA]], np.uint8)
"""Bits of a box's lower and upper face along z, y, x."""


def plane_grain(boxes: np.ndarray) -> int:
    """Return how many planes of boxes are worth a thread."""
    return max(1, (1 << 16) // max(1, boxes[0].size))


def axis_first(axis: int) -> tuple[int, int, int]:
    """Return the three axes, that of the flow first: the order of the counts in a code."""
    first, second = (a for a in range(3) if a != axis)
    return axis, first, second


def code_shifts(axis: int) -> np.ndarray:
    """Return the lowest bit of the count along each of z, y, x in the code of a voxel."""
    shifts = np.zeros(3, np.int64)
    shifts[list(axis_first(axis))] = (0, 3, 5)
    return shifts


def code_weights(conductance: tuple[float, float, float], axis: int, dtype: DTypeLike) -> np.ndarray:
    """Return the conductances along z, y, x, then those that the three counts of a code stand for, low bits first."""
    return np.array([*conductance, *(conductance[a] for a in axis_first(axis))], dtype)


@njit(cache=True, nogil=True)
def pack(lo: int, hi: int, labels: np.ndarray, conducts: np.ndarray, first: int, boxes: np.ndarray) -> None:
    """Set the bits of conducting voxels for the planes of boxes lo … hi, from labels whose plane 0 is plane `first`."""
    nz, ny, nx = labels.shape
    half = nx // 2
    for Z in range(lo, hi):
        for Y in range(boxes.shape[1]):
            row = boxes[Z, Y]
            row[:] = 0
            for a in range(2):
                z = 2 * Z + a - first
                if z >= nz:
                    continue
                for b in range(2):
                    y = 2 * Y + b
                    if y >= ny:
                        continue
                    line = labels[z, y]
                    shift = np.uint8(4 * a + 2 * b)
                    for X in range(half):
                        pair = conducts[line[2 * X]] | (conducts[line[2 * X + 1]] << np.uint8(1))
                        row[X] |= np.uint8(pair << shift)
                    if nx & 1:
                        row[half] |= np.uint8(conducts[line[nx - 1]] << shift)


@njit(cache=True, nogil=True)
def count_voxels(lo: int, hi: int, boxes: np.ndarray, ones: np.ndarray, out: np.ndarray) -> None:
    """Count the voxels of planes lo … hi of boxes."""
    for Z in range(lo, hi):
        n = 0
        for Y in range(boxes.shape[1]):
            row = boxes[Z, Y]
            for X in range(row.size):
                n += ones[row[X]]
        out[Z] = n


@njit(cache=True, nogil=True)
def count_parts(lo: int, hi: int, boxes: np.ndarray, parts: np.ndarray, out: np.ndarray) -> None:
    """Count the parts in planes lo … hi, those of boxes of even and of odd parity apart."""
    for Z in range(lo, hi):
        even, odd = 0, 0
        for Y in range(boxes.shape[1]):
            row = boxes[Z, Y]
            for X in range(row.size):
                n = parts[row[X]]
                if (Z + Y + X) & 1:
                    odd += n
                else:
                    even += n
        out[Z, 0] = even
        out[Z, 1] = odd


@njit(cache=True, nogil=True)
def number_parts(
    lo: int, hi: int, boxes: np.ndarray, parts: np.ndarray, starts: np.ndarray, parity: int, first: np.ndarray
) -> None:
    """Give each box the number of its first part; `parity` 0: in C order, 1: boxes of even parity before all odd."""
    for Z in range(lo, hi):
        even, odd = starts[Z, 0], starts[Z, 1]
        for Y in range(boxes.shape[1]):
            row, out = boxes[Z, Y], first[Z, Y]
            for X in range(row.size):
                n = parts[row[X]]
                if parity & (Z + Y + X):
                    out[X] = odd
                    odd += n
                else:
                    out[X] = even
                    even += n


@njit(cache=True, nogil=True)
def neighbour_counts(
    lo: int, hi: int, boxes: np.ndarray, shifts: np.ndarray, axis: int, last: int, even: np.ndarray, odd: np.ndarray
) -> None:
    """Write the code of each conducting voxel for the planes of boxes lo … hi: its neighbours along each axis.

    A code holds three counts, each at the bit that `shifts` names for its axis; an end face of `axis`, half a voxel
    away and therefore twice as good a conductor, counts two. `last` is the last voxel along that axis. Voxels of even
    and odd parity go to arrays of their own, padded by one.
    """
    BZ, BY, BX = boxes.shape
    none = np.zeros(BX, np.uint8)
    masks = np.empty((6, BX), np.uint8)
    sz, sy, sx = shifts
    for Z in range(lo, hi):
        for Y in range(BY):
            o = boxes[Z, Y]
            below, above = boxes[Z - 1, Y] if Z > 0 else none, boxes[Z + 1, Y] if Z < BZ - 1 else none
            front, back = boxes[Z, Y - 1] if Y > 0 else none, boxes[Z, Y + 1] if Y < BY - 1 else none
            for X in range(BX):
                masks[0, X] = ((o[X] << 4) | (below[X] >> 4)) & 0xFF
                masks[1, X] = ((o[X] >> 4) | (above[X] << 4)) & 0xFF
                masks[2, X] = ((o[X] & 0x33) << 2) | ((front[X] >> 2) & 0x33)
                masks[3, X] = ((o[X] >> 2) & 0x33) | ((back[X] & 0x33) << 2)
                masks[4, X] = (o[X] & 0x55) << 1
                masks[5, X] = (o[X] >> 1) & 0x55
            for X in range(1, BX):
                masks[4, X] |= (o[X - 1] >> 1) & 0x55
                masks[5, X - 1] |= (o[X] & 0x55) << 1
            for a in range(2):
                for b in range(2):
                    ends = 0
                    if axis == 0:
                        ends = 2 * (2 * Z + a == 0) + 2 * (2 * Z + a == last)
                    elif axis == 1:
                        ends = 2 * (2 * Y + b == 0) + 2 * (2 * Y + b == last)
                    s = (a + b) & 1
                    for odd_voxel in range(2):
                        c = 1 - s if odd_voxel else s
                        v = 4 * a + 2 * b + c
                        out = (odd if odd_voxel else even)[2 * Z + a + 1, 2 * Y + b + 1, 1 : BX + 1]
                        for X in range(BX):
                            nz = ((masks[0, X] >> v) & 1) + ((masks[1, X] >> v) & 1)
                            ny = ((masks[2, X] >> v) & 1) + ((masks[3, X] >> v) & 1)
                            nx = ((masks[4, X] >> v) & 1) + ((masks[5, X] >> v) & 1)
                            code = (nz << sz) + (ny << sy) + (nx << sx) + ends
                            out[X] = code * ((o[X] >> v) & 1)
                        if axis == 2:
                            if c == 0 and (o[0] >> v) & 1:
                                out[0] += 2
                            if c == last & 1 and (o[last // 2] >> v) & 1:
                                out[last // 2] += 2


@kernel
def count_part_links(
    lo: int,
    hi: int,
    boxes: np.ndarray,
    parts: np.ndarray,
    bits: np.ndarray,
    first: np.ndarray,
    sizes: np.ndarray,
) -> None:
    """Count the neighbours of each part in the planes of boxes lo … hi; `sizes` has one entry more, in front."""
    _, BY, BX = boxes.shape
    for Z in range(lo, hi):
        for Y in range(BY):
            for X in range(BX):
                o = boxes[Z, Y, X]
                for c in range(parts[o]):
                    mask = np.int64(bits[o, c])
                    n = 0
                    for side in range(6):
                        _, _, _, q, shared = _faces_shared(boxes, mask, side, Z, Y, X)
                        if shared == 0:
                            continue
                        if parts[q] == 1:
                            n += 1
                        else:
                            for e in range(parts[q]):
                                n += (shared & np.int64(bits[q, e])) != 0
                    sizes[first[Z, Y, X] + c + 1] = n


@kernel
def link_parts(
    lo: int,
    hi: int,
    boxes: np.ndarray,
    parts: np.ndarray,
    bits: np.ndarray,
    ones: np.ndarray,
    first: np.ndarray,
    conductance: np.ndarray,
    axis: int,
    ends: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    ground: np.ndarray,
    source: np.ndarray,
    key: np.ndarray,
) -> None:
    """Write the links between parts: the conductance of a face along each axis times the faces they share.

    `ends` are the bits of a box that touch the first and the last plane of voxels along `axis`; a face there counts
    two. `source` gets the ground of the first plane alone.
    """
    BZ, BY, BX = boxes.shape
    zero = weights.dtype.type(0)
    for Z in range(lo, hi):
        for Y in range(BY):
            for X in range(BX):
                o = boxes[Z, Y, X]
                place = Z if axis == 0 else (Y if axis == 1 else X)
                final = (BZ if axis == 0 else (BY if axis == 1 else BX)) - 1
                for c in range(parts[o]):
                    mask = np.int64(bits[o, c])
                    i = first[Z, Y, X] + c
                    at = indptr[i]
                    for side in range(6):
                        a, b, g, q, shared = _faces_shared(boxes, mask, side, Z, Y, X)
                        if shared == 0:
                            continue
                        for e in range(parts[q]):
                            n = ones[shared & np.int64(bits[q, e])]
                            if n:
                                indices[at] = first[a, b, g] + e
                                weights[at] = conductance[side >> 1] * n
                                at += 1
                    enters = conductance[axis] * (2 * ones[mask & ends[0]]) if place == 0 else zero
                    leaves = conductance[axis] * (2 * ones[mask & ends[1]]) if place == final else zero
                    source[i] = enters
                    ground[i] = enters + leaves
                    key[i] = (np.int64(Z) << 42) | (np.int64(Y) << 21) | np.int64(X)


@njit(cache=True, nogil=True, inline="always")
def _beside(side: int, Z: int, Y: int, X: int) -> tuple[int, int, int, int, int]:
    """Return the box on a side (0, 1 along z, 2, 3 along y, 4, 5 along x), the bits between voxels, its near face."""
    if side == 0:
        return Z - 1, Y, X, 4, 0xF0
    if side == 1:
        return Z + 1, Y, X, 4, 0x0F
    if side == 2:
        return Z, Y - 1, X, 2, 0xCC
    if side == 3:
        return Z, Y + 1, X, 2, 0x33
    if side == 4:
        return Z, Y, X - 1, 1, 0xAA
    return Z, Y, X + 1, 1, 0x55


@njit(cache=True, nogil=True, inline="always")
def _faces_shared(boxes: np.ndarray, mask: int, side: int, Z: int, Y: int, X: int) -> tuple[int, int, int, int, int]:
    """Return the box on a side, its bits, and those of them that share a face with the bits of a mask."""
    a, b, g, step, face = _beside(side, Z, Y, X)
    if a < 0 or b < 0 or g < 0 or a >= boxes.shape[0] or b >= boxes.shape[1] or g >= boxes.shape[2]:
        return a, b, g, 0, 0
    q: int = np.int64(boxes[a, b, g])  # type: ignore[assignment]
    # of the lower face seen from above, or of the upper from below
    opposite = (mask << step) & 0xFF if (side & 1) == 0 else mask >> step
    return a, b, g, q, opposite & q & face
