"""The median of 5×5×5 voxels, bit by bit, over whole rows.

The median of 125 values is the largest v with at most 62 values below it. Its bits are found from the highest down,
each by one count over the neighbourhood; counts run along rows, so a SIMD register handles up to 64 voxels at once.
Values are mapped to unsigned integers in the same order first (sign bit flipped; negative floats inverted).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.filters.grey import fold

RADIUS = 2
WIDTH = 2 * RADIUS + 1
HALF = WIDTH**3 // 2


def scratch_values(nx: int) -> int:
    """Return how many values `run` holds beside its input and result."""
    return WIDTH**2 * (nx + 2 * RADIUS) + 3 * nx


def run(flat: np.ndarray, sz: int, sy: int, out: np.ndarray) -> None:
    """Write the median of the volume given by `flat` and its strides to `out`."""
    nx = out.shape[2]
    key = np.dtype(f"u{out.itemsize}")
    top = key.type(1 << (8 * out.itemsize - 1))
    if out.dtype.kind == "f":
        positive, negative = top, key.type(np.iinfo(key).max)
    else:
        positive = negative = top if out.dtype.kind == "i" else key.type(0)
    pad = np.empty(WIDTH**2 * (nx + 2 * RADIUS), key)
    rows = np.empty((3, nx), key)
    _filter(flat.view(key), sz, sy, pad, rows[0], rows[1], rows[2], top, positive, negative, out.view(key))


@njit(cache=True, nogil=True)
def _filter(
    flat: np.ndarray,
    sz: int,
    sy: int,
    pad: np.ndarray,
    found: np.ndarray,
    trial: np.ndarray,
    below: np.ndarray,
    top: int,
    positive: int,
    negative: int,
    out: np.ndarray,
) -> None:
    nz, ny, nx = out.shape
    width = nx + 2 * RADIUS
    for z in range(nz):
        for y in range(ny):
            for k in range(WIDTH * WIDTH):
                at = fold(z + k // WIDTH - RADIUS, nz) * sz + fold(y + k % WIDTH - RADIUS, ny) * sy
                row = pad[k * width : (k + 1) * width]
                _encode(flat[at : at + nx], row[RADIUS : RADIUS + nx], top, positive, negative)
                for i in range(1, RADIUS + 1):
                    row[RADIUS - i] = row[RADIUS + fold(-i, nx)]
                    row[RADIUS + nx - 1 + i] = row[RADIUS + fold(nx - 1 + i, nx)]
            found[:] = 0
            bit = top
            while bit != 0:
                _set_bit(found, bit, trial, below)
                for k in range(WIDTH * WIDTH):
                    _count(pad[k * width : (k + 1) * width], trial, below)
                _keep_bit(trial, below, found)
                bit = bit >> 1
            _decode(found, out[z, y], top, positive, negative)


@njit(cache=True, nogil=True)
def _encode(values: np.ndarray, keys: np.ndarray, top: int, positive: int, negative: int) -> None:
    for x in range(values.size):
        keys[x] = values[x] ^ (negative if values[x] & top else positive)


@njit(cache=True, nogil=True)
def _decode(keys: np.ndarray, values: np.ndarray, top: int, positive: int, negative: int) -> None:
    for x in range(keys.size):
        values[x] = keys[x] ^ (positive if keys[x] & top else negative)


@njit(cache=True, nogil=True)
def _set_bit(found: np.ndarray, bit: int, trial: np.ndarray, below: np.ndarray) -> None:
    for x in range(found.size):
        trial[x] = found[x] | bit
        below[x] = 0


@njit(cache=True, nogil=True)
def _count(row: np.ndarray, trial: np.ndarray, below: np.ndarray) -> None:
    for x in range(trial.size):
        t = trial[x]
        n = (row[x] < t) + (row[x + 1] < t) + (row[x + 2] < t) + (row[x + 3] < t) + (row[x + 4] < t)
        below[x] += n


@njit(cache=True, nogil=True)
def _keep_bit(trial: np.ndarray, below: np.ndarray, found: np.ndarray) -> None:
    for x in range(trial.size):
        found[x] = trial[x] if below[x] <= HALF else found[x]
