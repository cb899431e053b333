"""Graph multigrid and conjugate gradients against scipy's direct solver, and what a preconditioner must be."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from mgsflow.errors import InputError
from mgsflow.solvers import EnergyError, Graph, Hierarchy, Step, Team, box_key, minimise_energy


def lattice(
    shape: tuple[int, int, int],
    conductivity: np.ndarray,
    edges: tuple[float, float, float] = (1, 1, 1),
    periodic: bool = False,
) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray, np.ndarray]:
    """Return links, ground, right side and keys of a conducting lattice between two ends along z."""
    index = np.arange(conductivity.size).reshape(shape)
    rows, cols, values = [], [], []
    for axis in range(3):
        for shifted in (False, True):
            if shifted and not (periodic and axis):
                continue
            low = [shape[axis] - 1] if shifted else range(shape[axis] - 1)
            high = [0] if shifted else range(1, shape[axis])
            a, b = (np.take(conductivity, k, axis) for k in (low, high))
            rows.append(np.take(index, low, axis).ravel())
            cols.append(np.take(index, high, axis).ravel())
            values.append((2 * a * b / (a + b) / edges[axis] ** 2).ravel())
    i, j, w = (np.concatenate(v) for v in (rows, cols, values))
    links = sp.coo_matrix((np.r_[w, w], (np.r_[i, j], np.r_[j, i])), shape=(index.size,) * 2).tocsr()
    inlet, ground = np.zeros(shape), np.zeros(shape)
    inlet[0] = 2 * conductivity[0] / edges[0] ** 2
    ground[0] = inlet[0]
    ground[-1] += 2 * conductivity[-1] / edges[0] ** 2
    return links, ground.ravel(), inlet.ravel(), box_key(*np.indices(shape)).ravel()


def graph_of(links: sp.csr_matrix, ground: np.ndarray, key: np.ndarray) -> Graph:
    return Graph.from_links(links.indptr.astype(np.int32), links.indices.astype(np.int32), links.data, ground, key)


def operator(links: sp.csr_matrix, ground: np.ndarray) -> sp.csc_matrix:
    return (sp.diags(ground + np.asarray(links.sum(axis=1)).ravel()) - links).tocsc()


CASES = {
    "uniform": (1.0, (1, 1, 1), False, 0.0),
    "contrast": (1e-6, (1, 1, 1), False, 0.25),
    "flat voxels": (1.0, (1, 5, 0.5), False, 0.25),
    "flat voxels, contrast": (1e-4, (1, 3, 0.5), False, 0.25),
    "odd and periodic": (1e-2, (1, 1, 1), True, 0.25),
}


@pytest.mark.parametrize("case", CASES)
def test_solution_equals_the_direct_solvers(case: str) -> None:
    contrast, edges, periodic, strength = CASES[case]
    shape = (15, 14, 13)
    conductivity = np.where(np.random.default_rng(0).random(shape) < 0.5, 1.0, contrast)
    links, ground, b, key = lattice(shape, conductivity, edges, periodic)
    exact = spsolve(operator(links, ground), b)
    hierarchy = Hierarchy(graph_of(links, ground, key), strength, "krylov", direct=50)
    assert len(hierarchy.sizes()) > 2
    found = minimise_energy(hierarchy.product, hierarchy.cycle, b, np.zeros_like(b), float(b.sum()), 1e-12)
    assert found.converged
    assert found.iterations < 25
    assert np.abs(found.x - exact).max() < 1e-5
    assert found.value == pytest.approx(b.sum() - b @ exact, rel=1e-11)
    errors = [s.value / (b.sum() - b @ exact) - 1 for s in found.history]
    assert all(s.error >= e / 3 for s, e in zip(found.history, errors) if e > 1e-10)


@pytest.mark.parametrize("cycle", ["polynomial", "krylov"])
def test_product_is_the_operator_in_the_callers_order(cycle: str) -> None:
    shape = (6, 7, 5)
    rng = np.random.default_rng(1)
    links, ground, _, key = lattice(shape, rng.uniform(0.1, 1, shape))
    shuffled = rng.permutation(key.size)
    matrix = operator(links, ground)[shuffled][:, shuffled]
    moved = links[shuffled][:, shuffled].tocsr()
    hierarchy = Hierarchy(graph_of(moved, ground[shuffled], key[shuffled]), cycle=cycle, direct=20)
    x, out = rng.random(key.size), np.empty(key.size)
    hierarchy.product(x, out)
    assert np.allclose(out, matrix @ x, rtol=1e-12)
    hierarchy.cycle(x, out)
    assert np.linalg.norm(matrix @ out - x) < np.linalg.norm(x)


def test_cycle_is_symmetric_positive_definite_and_close_to_the_inverse() -> None:
    shape = (6, 7, 5)
    links, ground, _, key = lattice(shape, np.ones(shape))
    hierarchy = Hierarchy(graph_of(links, ground, key), direct=10)
    n = key.size
    inverse = np.empty((n, n))
    for i, unit in enumerate(np.eye(n)):
        hierarchy.cycle(unit, inverse[i])
    assert np.abs(inverse - inverse.T).max() < 1e-12
    spectrum = np.linalg.eigvals(inverse @ operator(links, ground).toarray()).real
    assert spectrum.min() > 0.3
    assert spectrum.max() < 1.1


def test_iterations_do_not_depend_on_the_size() -> None:
    iterations = []
    for n in (8, 16, 32):
        links, ground, b, key = lattice((n, n, n), np.ones((n, n, n)))
        hierarchy = Hierarchy(graph_of(links, ground, key), cycle="krylov", direct=50)
        found = minimise_energy(hierarchy.product, hierarchy.cycle, b, np.zeros_like(b), float(b.sum()), 1e-8)
        iterations.append(found.iterations)
    assert max(iterations) - min(iterations) <= 2


def test_boxes_alone_are_bad_aggregates_where_the_contrast_is_high() -> None:
    """The negative control of `strength`."""
    shape = (14, 14, 14)
    conductivity = np.where(np.random.default_rng(2).random(shape) < 0.5, 1.0, 1e-5)
    links, ground, b, key = lattice(shape, conductivity)
    needed = {}
    for strength in (0.0, 0.25):
        hierarchy = Hierarchy(graph_of(links, ground, key), strength, "krylov", direct=50)
        found = minimise_energy(hierarchy.product, hierarchy.cycle, b, np.zeros_like(b), float(b.sum()), 1e-9)
        needed[strength] = found.iterations
    assert needed[0.0] > 2 * needed[0.25]


def test_threads_change_no_bit() -> None:
    shape = (40, 40, 40)
    links, ground, b, key = lattice(shape, np.random.default_rng(3).uniform(0.1, 1, shape))
    found = []
    for threads in (1, 2, 3):
        with Team(threads) as team:
            hierarchy = Hierarchy(graph_of(links, ground, key), team=team)
            out = np.empty_like(b)
            hierarchy.correct(b, out)
            found.append(out)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_isolated_nodes_and_parts_without_ground_stay_finite() -> None:
    links = sp.csr_matrix((np.ones(4), ([0, 1, 2, 3], [1, 0, 3, 2])), shape=(6, 6))
    ground = np.array([1.0, 0, 0, 0, 2.0, 0])
    hierarchy = Hierarchy(graph_of(links, ground, box_key(np.arange(6), 0, 0)))
    out = np.empty(6)
    hierarchy.cycle(np.array([1.0, 1, 0, 0, 4, 0]), out)
    assert out == pytest.approx([2, 3, 0, 0, 2, 0], rel=1e-6, abs=1e-6)


def test_the_solve_says_when_it_fails() -> None:
    shape = (8, 8, 8)
    links, ground, b, key = lattice(shape, np.ones(shape))
    hierarchy = Hierarchy(graph_of(links, ground, key), direct=50)
    found = minimise_energy(
        hierarchy.product, hierarchy.cycle, b, np.zeros_like(b), float(b.sum()), 1e-10, max_iterations=2
    )
    assert found.status == "not converged"
    assert len(found.history) == 3

    def negative(x: np.ndarray, out: np.ndarray) -> None:
        out[:] = -x

    found = minimise_energy(negative, hierarchy.cycle, b, np.zeros_like(b), float(b.sum()), 1e-10)
    assert found.status == "broke down"


def test_who_watches_can_stop_the_solve() -> None:
    shape = (8, 8, 8)
    links, ground, b, key = lattice(shape, np.ones(shape))
    hierarchy = Hierarchy(graph_of(links, ground, key), direct=50)
    seen: list[Step] = []

    def watch(step: Step) -> None:
        seen.append(step)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimise_energy(hierarchy.product, hierarchy.cycle, b, np.zeros_like(b), float(b.sum()), 1e-10, progress=watch)
    assert seen[1].error < seen[0].error


def test_energy_error_bounds_the_true_error() -> None:
    rng = np.random.default_rng(4)
    spectrum = rng.uniform(0.35, 1.0, 60)
    b = rng.standard_normal(60)
    exact, x, r = b / spectrum, np.zeros(60), b.copy()
    p, tracker, rz = r.copy(), EnergyError(0.3), b @ b
    estimate = tracker.start(rz)
    for _ in range(12):
        error = ((x - exact) ** 2 * spectrum).sum()
        assert error * (1 - 1e-9) <= estimate < 3.4 * error
        alpha = rz / (p @ (spectrum * p))
        x += alpha * p
        r -= alpha * spectrum * p
        ratio, rz = (r @ r) / rz, r @ r
        p = r + ratio * p
        estimate = tracker.step(alpha, ratio, rz)
    assert 0.35 <= tracker.lowest_ritz() < 0.5


def test_a_team_does_every_row_once_and_passes_errors_on() -> None:
    with Team(3) as team:
        done = np.zeros(1000, int)
        threads = set()

        def work(lo: int, hi: int) -> None:
            assert (lo - 7) % 5 == 0
            threads.add(threading.get_ident())
            done[lo:hi] += 1

        team.run(work, 7, 900, grain=10, align=5)
        assert np.array_equal(done, (np.arange(1000) >= 7) & (np.arange(1000) < 900))

        def fail(lo: int, hi: int) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            team.run(fail, 0, 100, grain=1)
        team.run(work, 7, 7)
    with pytest.raises(InputError, match="threads"):
        Team(0)


def test_bad_input() -> None:
    links, ground, _, key = lattice((3, 3, 3), np.ones((3, 3, 3)))
    with pytest.raises(InputError, match="row starts"):
        Graph.from_links(links.indptr[:-1], links.indices, links.data, ground, key)
    graph = graph_of(links, ground, key)
    with pytest.raises(InputError, match="cycle"):
        Hierarchy(graph, cycle="W")
    with pytest.raises(InputError, match="interval"):
        Hierarchy(graph, interval=(0.0, 1.0))
    with pytest.raises(InputError, match="27 nodes"):
        Hierarchy(graph).cycle(np.ones(3), np.ones(3))
