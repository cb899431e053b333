"""Conjugate gradients against a direct solve by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from mgsflow.solvers.conjugate_gradients import conjugate_gradients


def laplacian(n: int) -> sp.csr_array:
    """Return the five-point operator on n × n nodes with conductances that vary a hundredfold along the rows."""
    line = sp.diags_array([2.0 * np.ones(n), -np.ones(n - 1), -np.ones(n - 1)], offsets=[0, 1, -1])
    eye = sp.eye_array(n)
    return (sp.kron(line, eye) + 0.01 * sp.kron(eye, line)).tocsr()


@pytest.mark.parametrize("rtol", [1e-3, 1e-11])
def test_the_residual_is_within_the_tolerance(rtol: float) -> None:
    matrix = laplacian(24)
    diagonal = matrix.diagonal()
    b = np.random.default_rng(1).standard_normal(matrix.shape[0])
    x, r, converged = conjugate_gradients(lambda p: matrix @ p, lambda r: r / diagonal, b, rtol, 500)
    assert converged
    np.testing.assert_allclose(b - matrix @ x, r, atol=1e-12 * np.linalg.norm(b))
    assert np.linalg.norm(b - matrix @ x) <= rtol * np.linalg.norm(b)
    if rtol < 1e-10:
        np.testing.assert_allclose(x, spsolve(matrix.tocsc(), b), rtol=1e-7)


def test_iterations_that_are_not_enough() -> None:
    matrix = laplacian(24)
    b = np.ones(matrix.shape[0])
    x, r, converged = conjugate_gradients(lambda p: matrix @ p, np.copy, b, 1e-10, 3)
    assert not converged
    np.testing.assert_allclose(b - matrix @ x, r, rtol=1e-9, atol=1e-12)
    assert x.any()


def test_nothing_on_the_right() -> None:
    x, r, converged = conjugate_gradients(np.copy, np.copy, np.zeros(5), 1e-6, 3)
    assert converged
    assert not x.any()
    assert not r.any()
