"""Arithmetic whose bits are the same on every processor.

BLAS, LAPACK and a compiler that may choose the order of a sum add as many numbers at once as the processor is wide, and
fuse products with sums where it suits them: the last bits then tell AVX2 from AVX-512, and a solve takes another way on
another node of a cluster. Kernels here and in the solvers round as they are written. What is done to whole rows at once
needs no order, and a sum is kept in `LANES` parts, element i in part i mod `LANES`, which any processor adds side by
side.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LANES = 64

#: For kernels of solvers: no ``fastmath``, and division by zero gives what IEEE 754 says.
kernel = njit(cache=True, nogil=True, error_model="numpy")


@kernel
def ordered_dot(x: np.ndarray, y: np.ndarray) -> float:
    """Return the sum of products of two vectors, in float64."""
    lanes = np.zeros(LANES)
    whole = x.size // LANES * LANES
    for i in range(0, whole, LANES):
        for lane in range(LANES):
            lanes[lane] += np.float64(x[i + lane]) * np.float64(y[i + lane])
    for i in range(whole, x.size):
        lanes[i - whole] += np.float64(x[i]) * np.float64(y[i])
    total = 0.0
    for lane in range(LANES):
        total += lanes[lane]
    return total


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """Return the sum of products of two vectors, in float64."""
    return float(ordered_dot(x, y))


@kernel
def times_symmetric(matrix: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Set `out` to the product of a symmetric matrix with a vector, row by row as columns."""
    out[:] = 0
    for j in range(b.size):
        for i in range(b.size):
            out[i] += b[j] * matrix[j, i]


@kernel
def _eliminate(matrix: np.ndarray, i: int, k: int, row: np.ndarray) -> None:
    factor = matrix[i, k]
    matrix[i, k] = 0.0
    for j in range(row.size):
        matrix[i, j] -= factor * row[j]


@kernel
def _invert(matrix: np.ndarray, rows: np.ndarray) -> None:
    """Invert a symmetric positive definite matrix in place, by Gauss–Jordan, which such a matrix lets go unpivoted.

    Some rows at a time, which stay in cache while all others are cleared of them.
    """
    n, wide = len(matrix), len(rows)
    for first in range(0, n, wide):
        last = min(n, first + wide)
        for k in range(first, last):
            pivot = 1.0 / matrix[k, k]
            for j in range(n):
                matrix[k, j] *= pivot
            matrix[k, k] = pivot
            rows[k - first] = matrix[k]
            for i in range(first, last):
                if i != k:
                    _eliminate(matrix, i, k, rows[k - first])
        for i in range(n):
            if i < first or i >= last:
                for k in range(first, last):
                    _eliminate(matrix, i, k, rows[k - first])


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a symmetric positive definite matrix, itself symmetric, in float64."""
    found = np.array(matrix, np.float64, order="C")
    _invert(found, np.empty((32, len(found))))
    return np.asarray((found + found.T) / 2)
