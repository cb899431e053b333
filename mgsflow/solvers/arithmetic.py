"""Arithmetic whose bits are the same on every processor.

BLAS, LAPACK and compilers that may reorder sums use the full vector width of the processor, and fused multiply-adds:
their last bits differ between AVX2 and AVX-512, and a solve would run differently on different nodes of a cluster.
Kernels of this package round as they are written. Elementwise operations need no order; sums are accumulated in `LANES`
partial sums, element i in partial sum i mod `LANES`, which any processor adds in parallel.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LANES = 64

#: Decorator of solver kernels: no ``fastmath``, and division by zero as in IEEE 754.
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
    """Set `out` to the product of a symmetric matrix with a vector; rows serve as columns."""
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
    """Invert a symmetric positive definite matrix in place, by Gauss–Jordan elimination without pivoting.

    A few rows at a time: they stay in cache while they are eliminated from all others.
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
