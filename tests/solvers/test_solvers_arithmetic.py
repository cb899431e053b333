import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgsflow.solvers.arithmetic import LANES, dot, inverse, times_symmetric


@given(st.integers(0, 4 * LANES + 3), st.sampled_from(["float32", "float64"]), st.integers(0, 2**32))
def test_dot_is_the_sum_of_products_by_lanes(n, dtype, seed):
    x, y = np.random.default_rng(seed).normal(size=(2, n)).astype(dtype)
    products = x.astype(np.float64) * y.astype(np.float64)
    lanes = [0.0] * LANES
    for i, product in enumerate(products.tolist()):
        lanes[i % LANES] += product
    total = 0.0
    for lane in lanes:
        total += lane
    assert dot(x, y) == total  # to the bit: no product is fused with a sum, no sum taken in another order
    np.testing.assert_allclose(total, products.sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 100])
def test_inverse_and_product(n):
    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, n))
    matrix = root @ root.T + n * np.eye(n)
    found = inverse(matrix)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found, np.linalg.inv(matrix), rtol=1e-11, atol=1e-13)
    b = rng.normal(size=n)
    out = np.full(n, np.nan)
    times_symmetric(found, b, out)
    np.testing.assert_allclose(out, found @ b, rtol=1e-11, atol=1e-14)


def test_the_matrix_stays_as_it_was():
    matrix = np.array([[2.0, -1.0], [-1.0, 2.0]])
    np.testing.assert_allclose(inverse(matrix), [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], rtol=1e-15)
    np.testing.assert_array_equal(matrix, [[2, -1], [-1, 2]])
