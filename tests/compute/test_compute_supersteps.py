"""Supersteps without a cluster: a toy Poisson problem against scipy, over blocks, threads and stores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg as sl
from poisson import DIAGONAL, MakePoisson, conjugate_gradients, jacobi, joined, whole_matrix, whole_right_side

from mgsflow.blocks import Grid
from mgsflow.compute.supersteps.block_host import BlockHost, Call, StaleFaces
from mgsflow.compute.supersteps.block_store import MemoryStore
from mgsflow.compute.supersteps.executor import SerialExecutor, ThreadExecutor, run_to_end, sum_blocks
from mgsflow.compute.supersteps.subdomain import FaceNeighbours
from mgsflow.errors import ComputeError, DoesNotFit

SHAPE = (12, 11, 13)
GRIDS = {
    1: Grid.regular(SHAPE, SHAPE),
    8: Grid(((5, 7), (8, 3), (6, 7))),
    27: Grid(((1, 7, 4), (3, 3, 5), (6, 2, 5))),
}


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return sl.spsolve(whole_matrix(SHAPE), whole_right_side(SHAPE, 0).ravel()).reshape(SHAPE)


def _solve(executor: Any, grid: Grid) -> tuple[np.ndarray, int]:
    parts, iterations = run_to_end(executor, MakePoisson(grid), lambda saved: conjugate_gradients(executor, saved))
    return joined(grid, parts), iterations


@pytest.mark.parametrize("blocks", GRIDS)
def test_conjugate_gradients_against_scipy(blocks: int, truth: np.ndarray) -> None:
    grid = GRIDS[blocks]
    executor = SerialExecutor(FaceNeighbours(grid.counts))
    found, _ = _solve(executor, grid)
    np.testing.assert_allclose(found, truth, atol=1e-7 * np.abs(truth).max())
    executor.close()


@pytest.mark.parametrize("blocks", GRIDS)
def test_jacobi_is_the_same_to_the_bit_over_blocks_threads_and_stores(blocks: int) -> None:
    b, x = whole_right_side(SHAPE, 0), np.zeros(SHAPE)
    for _ in range(7):
        p = np.pad(x, 1)
        c = slice(1, -1)
        around = p[:-2, c, c] + p[2:, c, c] + p[c, :-2, c] + p[c, 2:, c] + p[c, c, :-2] + p[c, c, 2:]
        x = (b + around) / DIAGONAL
    grid = GRIDS[blocks]
    topology = FaceNeighbours(grid.counts)
    one_block = 2 * 8 * int(np.prod(grid.largest)) + 8 * int(np.prod(grid.largest))
    for executor in (
        SerialExecutor(topology),
        ThreadExecutor(topology, threads=3),
        SerialExecutor(topology, budget=one_block),
        ThreadExecutor(topology, threads=2, budget=2 * one_block),
    ):
        executor.place(MakePoisson(grid))
        assert np.array_equal(joined(grid, jacobi(executor, 7)), x)
        executor.close()


def test_threads_and_disk_change_no_bit_of_a_krylov_solve() -> None:
    grid = GRIDS[27]
    topology = FaceNeighbours(grid.counts)
    plain, iterations = _solve(SerialExecutor(topology), grid)
    # what one block touches in a call: x, r, p and q of the largest
    budget = 5 * 8 * int(np.prod(grid.largest))
    tight = SerialExecutor(topology, budget=budget)
    for executor in (ThreadExecutor(topology, threads=4), tight):
        again, same = _solve(executor, grid)
        assert same == iterations
        assert np.array_equal(again, plain)
    counts = tight.counts()[0]
    assert counts.peak <= budget < counts.total
    assert counts.written > counts.total
    assert counts.read > counts.total


def test_periodic_neighbours_and_a_block_that_is_its_own() -> None:
    links = FaceNeighbours((1, 2, 3), (True, False, True)).links((0, 0, 0))
    assert links == {
        (0, -1): ((0, 0, 0), (0, 1)),
        (0, 1): ((0, 0, 0), (0, -1)),
        (1, 1): ((0, 1, 0), (1, -1)),
        (2, -1): ((0, 0, 2), (2, 1)),
        (2, 1): ((0, 0, 1), (2, -1)),
    }


def test_arguments_of_single_blocks_and_the_order_of_results() -> None:
    executor = ThreadExecutor(FaceNeighbours((2, 2, 2)), threads=2)
    executor.place(MakePoisson(Grid.regular((4, 4, 4), 2)))
    own = {index: (float(i),) for i, index in enumerate(executor.blocks)}
    assert list(executor.step("weigh", 3.0, each=own).items()) == [(b, 3.0 * v) for b, (v,) in own.items()]


def test_sums_are_taken_in_c_order_of_the_blocks() -> None:
    values = np.random.default_rng(0).standard_normal(27)
    order = FaceNeighbours((3, 3, 3)).blocks
    results = dict(zip(order, values))
    total = 0.0
    for value in values:
        total += value
    assert sum_blocks(results) == total
    shuffles = [np.random.default_rng(i).permutation(27) for i in range(20)]
    assert all(sum_blocks({order[i]: results[order[i]] for i in shuffle}) == total for shuffle in shuffles)
    # the control: added as they come, it is another number
    assert any(sum(values[i] for i in shuffle) != total for shuffle in shuffles)


def test_faces_of_an_old_version_are_refused() -> None:
    grid = GRIDS[8]
    host = BlockHost(FaceNeighbours(grid.counts), MemoryStore())
    host.make(MakePoisson(grid), [(0, 0, 0), (1, 0, 0)])
    host.step(Call("publish", ("x",), publish=("x", 1)), {})
    wanted = [((0, 0, 0), (0, 1))]
    assert host.faces(("x", 1), wanted)[0].shape == (8, 6)
    host.step(Call("publish", ("x",), publish=("x", 2)), {})
    for version in (1, 3):
        with pytest.raises(StaleFaces, match=f"version {version} are not there"):
            host.faces(("x", version), wanted)
    with pytest.raises(StaleFaces):
        host.step(Call("sweep", pull=("x", 1), publish=("x", 3)), {})


def test_a_solve_on_old_faces_does_not_come_out_right(truth: np.ndarray) -> None:
    """The control of the version check: served what was published one step before, the solve goes wrong."""

    class Forgetful(BlockHost):
        def _handed(self, index: Any, version: Any, remote: Any) -> Any:
            return super()._handed(index, version if version[1] == 1 else (version[0], version[1] - 1), remote)

        def _publish(self, call: Call, faces: Any) -> None:
            kept = dict(self._published)
            super()._publish(call, faces)
            self._published = kept | self._published

    grid = GRIDS[8]
    executor = SerialExecutor(FaceNeighbours(grid.counts))
    executor._host = Forgetful(FaceNeighbours(grid.counts), MemoryStore())
    executor._host.make(MakePoisson(grid), executor.blocks)
    executor.step("publish", "x", publish="x")
    square = sum_blocks(executor.step("residual", pull="x", publish="p"))
    for _ in range(60):
        alpha = square / sum_blocks(executor.step("multiply", pull="p"))
        before, square = square, sum_blocks(executor.step("update", alpha))
        executor.step("turn", square / before, publish="p")
    found = joined(grid, executor.step("solution"))
    assert not np.allclose(found, truth, atol=1e-3 * np.abs(truth).max())


def test_misuse_is_said() -> None:
    grid = GRIDS[8]
    executor = SerialExecutor(FaceNeighbours(grid.counts))
    with pytest.raises(ComputeError, match="place them first"):
        executor.step("solution")
    executor.place(MakePoisson(grid))
    with pytest.raises(ComputeError, match="never published"):
        executor.step("sweep", pull="x", publish="x")
    with pytest.raises(AttributeError):
        executor.step("no_such_method")
    tight = SerialExecutor(FaceNeighbours(grid.counts), budget=1000)
    with pytest.raises(DoesNotFit, match="larger budget"):
        tight.place(MakePoisson(grid))
