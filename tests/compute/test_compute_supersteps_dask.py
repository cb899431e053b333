"""Supersteps on a cluster: the same numbers as in one process, and what happens when workers and drivers are lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import cluster
from poisson import MakePoisson, Traps, conjugate_gradients, jacobi, joined

from mgsflow.blocks import Grid
from mgsflow.compute.supersteps.block_server import NAME, StaleEpoch
from mgsflow.compute.supersteps.checkpoint import Checkpoints
from mgsflow.compute.supersteps.dask_executor import DaskExecutor
from mgsflow.compute.supersteps.executor import SerialExecutor, WorkerLost, run_to_end
from mgsflow.compute.supersteps.subdomain import FaceNeighbours
from mgsflow.errors import ComputeError

GRID = Grid(((9, 7), (8, 6), (7, 11)))
NEIGHBOURS = FaceNeighbours(GRID.counts)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    executor = SerialExecutor(NEIGHBOURS)
    executor.place(MakePoisson(GRID))
    return joined(GRID, conjugate_gradients(executor, None)[0])


def _solve(executor: Any, folder: Path, traps: Traps | None = None, seen: Any = lambda done: None) -> Any:
    """Return the solution and how many iterations were done, those that were lost included."""
    checkpoints = Checkpoints(folder, "poisson", every=0)
    done = [0]

    def count(iteration: int) -> None:
        done[0] += 1
        seen(done[0])

    parts, _ = run_to_end(
        executor,
        MakePoisson(GRID, traps=traps),
        lambda saved: conjugate_gradients(executor, saved, checkpoints, seen=count),
        checkpoints,
    )
    return joined(GRID, parts), done[0]


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 2, 2), (3, 3, 3)])
def test_workers_give_the_numbers_of_one_process(two_workers: Any, counts: tuple[int, int, int]) -> None:
    grid = Grid.regular((12, 13, 14), tuple(-(-n // c) for n, c in zip((12, 13, 14), counts)))
    serial = SerialExecutor(FaceNeighbours(grid.counts))
    for budget in (None, 300_000):
        with DaskExecutor(two_workers, FaceNeighbours(grid.counts), budget=budget) as executor:
            for solve in (lambda e: jacobi(e, 5), lambda e: conjugate_gradients(e, None, tolerance=0.1)[0]):
                serial.place(MakePoisson(grid))
                executor.place(MakePoisson(grid))
                assert np.array_equal(joined(grid, solve(executor)), joined(grid, solve(serial)))
            assert len(executor.workers) == min(2, len(grid))


def test_a_disk_store_on_workers(two_workers: Any) -> None:
    budget = 6 * 8 * int(np.prod(GRID.largest))
    with DaskExecutor(two_workers, NEIGHBOURS, budget=budget) as executor:
        executor.place(MakePoisson(GRID))
        found, _ = conjugate_gradients(executor, None, tolerance=0.01)
        counts = executor.counts()
    plain = SerialExecutor(NEIGHBOURS)
    plain.place(MakePoisson(GRID))
    assert np.array_equal(joined(GRID, found), joined(GRID, conjugate_gradients(plain, None, tolerance=0.01)[0]))
    assert all(c.peak <= budget < c.total and c.written > 0 for c in counts)


def test_two_solves_share_a_cluster_and_blocks_are_dropped_at_the_end(two_workers: Any) -> None:
    def runs(dask_worker: Any = None) -> int:
        return len(dask_worker.extensions["mgsflow-blocks"].runs)

    with DaskExecutor(two_workers, NEIGHBOURS) as one, DaskExecutor(two_workers, NEIGHBOURS) as two:
        one.place(MakePoisson(GRID, seed=1))
        two.place(MakePoisson(GRID, seed=2))
        first, second = jacobi(one, 2), jacobi(two, 2)
        assert list(two_workers.run(runs).values()) == [2, 2]
    assert list(two_workers.run(runs).values()) == [0, 0]
    assert not np.array_equal(joined(GRID, first), joined(GRID, second))


def test_what_block_code_raises_reaches_the_driver(two_workers: Any) -> None:
    with DaskExecutor(two_workers, NEIGHBOURS) as executor:
        executor.place(MakePoisson(GRID))
        with pytest.raises(KeyError, match="nothing"):
            executor.step("publish", "nothing", publish="x")


def test_a_stale_epoch_and_stale_faces_are_refused(two_workers: Any) -> None:
    with DaskExecutor(two_workers, NEIGHBOURS) as executor:
        executor.place(MakePoisson(GRID))
        executor.step("publish", "x", publish="x")
        executor._versions._latest["x"] = 7  # a driver that has lost count
        with pytest.raises(WorkerLost, match="version 7"):
            executor.step("sweep", pull="x", publish="x")
        executor.place(MakePoisson(GRID))
        executor._epoch -= 1  # a driver from before the last placement
        with pytest.raises(WorkerLost, match="epoch 1 are not on"):
            executor.step("solution")
        executor._epoch += 1

        # what a peer asks of another epoch is refused as well
        def ask(dask_worker: Any = None, run: str = "") -> str:
            server = dask_worker.extensions[NAME]
            try:
                server.find(run, 1)
            except StaleEpoch as error:
                return str(error)
            return "found"

        assert all("epoch 1" in answer for answer in two_workers.run(ask, run=executor._run).values())


def test_blocks_are_dropped_when_the_driver_is_gone(two_workers: Any) -> None:
    executor = DaskExecutor(two_workers, NEIGHBOURS, lease=0.4)
    executor.place(MakePoisson(GRID))
    time.sleep(1.0)

    def held(dask_worker: Any = None, run: str = "") -> bool:
        return run in dask_worker.extensions[NAME].runs

    assert not any(two_workers.run(held, run=executor._run).values())
    with pytest.raises(WorkerLost, match="are not on"):
        executor.step("solution")


@pytest.mark.slow
def test_a_killed_worker_costs_no_more_than_a_checkpoint(tmp_path: Path, truth: np.ndarray) -> None:
    """Killed in a step, in a checkpoint, while one is taken up, and once more: the same answer, little done twice."""
    traps = Traps(str(tmp_path / "traps"))
    traps.set("multiply", 4, signal.SIGKILL)
    traps.set("save", 3, signal.SIGKILL)
    traps.set("load", 1, signal.SIGKILL)
    traps.set("multiply", 2, signal.SIGKILL)
    with cluster() as client, DaskExecutor(client, NEIGHBOURS, silence=5, settle=2) as executor:
        _, plain = _solve(executor, tmp_path / "plain")
        began = time.monotonic()
        found, done = _solve(executor, tmp_path / "kept", traps)
        assert traps.left() == 0
        assert time.monotonic() - began < 60
    np.testing.assert_allclose(found, truth, atol=1e-6 * np.abs(truth).max())
    # each restart of the Krylov method costs some; from the beginning each time, it would be over twice as many
    assert done < 2 * plain


@pytest.mark.slow
def test_a_silent_worker_is_given_up(tmp_path: Path, truth: np.ndarray) -> None:
    traps = Traps(str(tmp_path / "traps"))
    traps.set("multiply", 5, signal.SIGSTOP)
    with cluster() as client, DaskExecutor(client, NEIGHBOURS, silence=2, settle=1) as executor:
        pids = client.run(os.getpid)
        began = time.monotonic()
        found, _ = _solve(executor, tmp_path / "kept", traps)
        assert time.monotonic() - began < 30
        used = executor.workers
        assert len(used) == 1
        stopped = next(pid for worker, pid in pids.items() if worker not in used)
        os.kill(stopped, signal.SIGCONT)  # wakes up in a cluster that has gone on without it
    assert traps.left() == 0
    np.testing.assert_allclose(found, truth, atol=1e-6 * np.abs(truth).max())


@pytest.mark.slow
def test_a_worker_that_joins_late_is_used_after_the_next_loss(tmp_path: Path, truth: np.ndarray) -> None:
    traps = Traps(str(tmp_path / "traps"))
    with cluster(1) as client, DaskExecutor(client, NEIGHBOURS, silence=5, settle=2) as executor:

        def seen(done: int) -> None:
            if done == 3:
                client.cluster.scale(3)
                client.wait_for_workers(3, timeout=60)
            if done == 5:
                assert len(executor.workers) == 1
                traps.set("multiply", 1, signal.SIGKILL)

        found, _ = _solve(executor, tmp_path / "kept", traps, seen)
        assert len(executor.workers) >= 2
    np.testing.assert_allclose(found, truth, atol=1e-6 * np.abs(truth).max())


def test_no_worker_at_all_is_an_error_after_a_while() -> None:
    with cluster(0) as client:
        executor = DaskExecutor(client, NEIGHBOURS, joining=1)
        with pytest.raises(ComputeError, match="has had no worker"):
            executor.place(MakePoisson(GRID))


@pytest.mark.slow
def test_a_solve_that_only_loses_workers_ends(tmp_path: Path) -> None:
    traps = Traps(str(tmp_path / "traps"))
    for _ in range(4):
        traps.set("multiply", 1, signal.SIGKILL)
    with (
        cluster() as client,
        DaskExecutor(client, NEIGHBOURS, silence=5, settle=2) as executor,
        pytest.raises(ComputeError, match="lost 3 times in one solve"),
    ):
        run_to_end(
            executor,
            MakePoisson(GRID, traps=traps),
            lambda saved: conjugate_gradients(executor, saved),
            losses=2,
        )


RUN = """
import os, signal, sys
import test_compute_supersteps_dask as t
from clusters import cluster
from pathlib import Path
if __name__ == "__main__":
    def seen(done):
        if done == 6:
            print("at six", flush=True)
            os.killpg(0, signal.SIGKILL)
    with cluster() as client, t.DaskExecutor(client, t.NEIGHBOURS) as executor:
        t._solve(executor, Path(sys.argv[1]), seen=seen)
"""


@pytest.mark.slow
def test_a_run_that_was_killed_is_resumed(tmp_path: Path, truth: np.ndarray, two_workers: Any) -> None:
    """SIGKILL of everything: driver, scheduler and workers. Resumed on other workers from the last checkpoint."""
    here = Path(__file__).parent
    script = tmp_path / "run.py"
    script.write_text(RUN)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent), str(here.parents[1])])}
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "kept")],
        env=environment, start_new_session=True, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert "at six" in run.stdout
    assert [c.number for c in Checkpoints(tmp_path / "kept", "poisson").found()] == [5, 4]
    with DaskExecutor(two_workers, NEIGHBOURS) as executor:
        found, done = _solve(executor, tmp_path / "kept")
        _, plain = _solve(executor, tmp_path / "plain")
    np.testing.assert_allclose(found, truth, atol=1e-6 * np.abs(truth).max())
    assert done < plain
