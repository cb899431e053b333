"""Faces between voxels of two pores, collected by pair in a hash table: the numba side of `throats`.

What is kept of a pair is whole numbers that add up, so that no order of blocks or threads can change them. A face of
the volume counts as one more pore, numbered from `FACES` on.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FACES = 2**31 - 8
"""Number of the volume's first face along z; then its last along z, first along y … All pores have smaller ids."""

COLUMNS = 11
"""Faces across each axis (3), the same with the sign of the way from the smaller id to the larger (3), sums of twice
the faces' centres in voxels (3), sum over both voxels of `DIGITS`-ths of their distance, and the largest of the smaller
squared distance of the two."""

DIGITS = 1024
"""Fractions of a voxel in which distances are summed: rounded once a face, they add up in any order."""


@njit(cache=True, nogil=True)
def meet_faces(labels, d2, core, origin, volume, start, keys, table):  # type: ignore[no-untyped-def]
    """Collect the faces of a block, row by row from row `start` on, until all are done or the table may not hold more.

    Parameters
    ----------
    labels : ndarray of uint32, shape (z, y, x)
        Pores of the block, and of one voxel more at each of its ends that is not the volume's.
    d2 : ndarray of int32
        Squared distances of the same voxels.
    core, origin, volume : tuple of int
        Shape of the block, its place in the volume, and the volume's shape.
    start : int
        First row, ``z · ny + y`` in the block.
    keys : ndarray of int64, shape (2^k,)
        Hash table by pair of pores, the smaller in the upper 32 bits: -1 where it is empty.
    table : ndarray of int64, shape (2^k, `COLUMNS`)
        Zeros where it is empty.

    Returns
    -------
    row, used : int
        The first row that is not done, and the slots that are taken.
    """
    nz, ny, nx = core
    used = 0
    last = np.int64(-1)
    at = np.int64(0)
    step = np.zeros(3, np.int64)
    mask = keys.size - 1
    for r in range(start, nz * ny):
        if 2 * (used + 6 * nx) > keys.size:
            return r, used
        z, y = r // ny, r % ny
        for x in range(nx):
            own = np.int64(labels[z, y, x])
            if own == 0:
                continue
            for k in range(6):
                axis, forward = k >> 1, k & 1
                step[0], step[1], step[2] = 0, 0, 0
                step[axis] = 2 * forward - 1
                here = z if axis == 0 else y if axis == 1 else x
                edge = here + origin[axis] == (volume[axis] - 1 if forward else 0)
                if edge:
                    other, across = np.int64(FACES + k), d2[z, y, x]
                elif forward:  # each face between two voxels is seen from the first of them
                    other = np.int64(labels[z + step[0], y + step[1], x + step[2]])
                    across = d2[z + step[0], y + step[1], x + step[2]]
                else:
                    continue
                if other == own or other == 0:
                    continue
                key = (min(own, other) << 32) | max(own, other)
                if key != last:
                    at = ((key * np.int64(-7046029254386353131)) >> 20) & mask
                    while keys[at] != key and keys[at] != -1:
                        at = (at + 1) & mask
                    if keys[at] == -1:
                        keys[at] = key
                        used += 1
                    last = key
                row = table[at]
                row[axis] += 1
                row[3 + axis] += step[axis] if own < other else -step[axis]
                row[6] += 2 * (origin[0] + z) + 1 + step[0]
                row[7] += 2 * (origin[1] + y) + 1 + step[1]
                row[8] += 2 * (origin[2] + x) + 1 + step[2]
                for squared in (d2[z, y, x], across):
                    row[9] += np.int64(np.sqrt(np.float64(squared)) * DIGITS + 0.5)
                row[10] = max(row[10], min(d2[z, y, x], across))
    return nz * ny, used
