"""Diffusion on a cluster that fails: workers killed and stopped, others that come late, a whole run killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import cluster
from poisson import Traps
from scipy import ndimage

from mgsflow.blocks import Grid, Triple
from mgsflow.compute.supersteps.block_store import BlockArrays
from mgsflow.compute.supersteps.checkpoint import Checkpoints
from mgsflow.compute.supersteps.dask_executor import DaskExecutor
from mgsflow.compute.supersteps.subdomain import FaceNeighbours
from mgsflow.solvers.solution import Step
from mgsflow.transport.diffusion.distributed import solve as distributed
from mgsflow.transport.diffusion.distributed.block import DiffusionBlock, MakeDiffusionBlock
from mgsflow.transport.diffusion.medium import medium_of
from mgsflow.transport.tortuosity import tortuosity_factor

SHAPE = (40, 44, 36)
GRID = Grid.regular(SHAPE, (20, 22, 18))
RTOL = 1e-5


def labels() -> np.ndarray:
    """Return an image with narrow ways: the solve takes a dozen iterations."""
    noise = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal(SHAPE), 1.5, mode="wrap")
    return (noise < np.quantile(noise, 0.35)).astype(np.uint8)


class Trapped(DiffusionBlock):
    """A block that ends or stops its process when a trap says so."""

    traps: Traps
    calls: dict[str, int]
    trapped: bool

    def advance(self, alpha: float, beta: float, coarse: np.ndarray) -> Any:
        self._trap("advance")
        return super().advance(alpha, beta, coarse)

    def save(self) -> dict[str, np.ndarray]:
        self._trap("save")
        return super().save()

    def _trap(self, method: str) -> None:
        if self.trapped:
            self.calls[method] = self.calls.get(method, 0) + 1
            self.traps.spring(method, self.calls[method])


@dataclass(frozen=True)
class MakeTrapped(MakeDiffusionBlock):
    """Makes them; the last block alone has traps."""

    traps: Traps = field(default=Traps(""))

    def __call__(self, index: Triple, arrays: BlockArrays) -> DiffusionBlock:
        block = Trapped(index, arrays, self)
        block.traps, block.calls, block.trapped = self.traps, {}, index == (1, 1, 1)
        return block


@pytest.fixture(scope="module")
def truth() -> float:
    return tortuosity_factor(labels(), rtol=1e-8, threads=1).effective_diffusivity


def solve(client: Any, kept: Path, traps: Traps, watch: Any = None, silence: float = 30.0) -> Any:
    """Solve on a cluster; return the effective diffusivity, the iterations done in all, and the executor."""
    done = [0]

    def count(step: Step) -> None:
        done[0] += 1
        if watch is not None:
            watch(done[0], executor)

    medium = medium_of(labels(), None)
    before = distributed.MakeDiffusionBlock
    distributed.MakeDiffusionBlock = lambda *given: MakeTrapped(*given, traps=traps)  # type: ignore
    try:
        with DaskExecutor(client, FaceNeighbours(GRID.counts), silence=silence, settle=2) as executor:
            checkpoints = Checkpoints(kept, "faults", every=0)
            found = distributed.solve_in_blocks(
                executor, medium, GRID, 0, (1.0, 1.0, 1.0), RTOL, 200, checkpoints, count
            )
            workers = list(executor.workers)
    finally:
        distributed.MakeDiffusionBlock = before  # type: ignore
    assert found.status == "converged"
    return found.energy * SHAPE[0] ** 2 / np.prod(SHAPE), done[0], workers


@pytest.fixture(scope="module")
def plain(two_workers: Any, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Return the iterations of a solve that nothing happens to."""
    folder = tmp_path_factory.mktemp("plain")
    traps = Traps(str(folder / "traps"))
    (folder / "traps").mkdir()
    _, done, _ = solve(two_workers, folder / "kept", traps)
    return int(done)


@pytest.fixture
def traps(tmp_path: Path) -> Traps:
    (tmp_path / "traps").mkdir()
    return Traps(str(tmp_path / "traps"))


@pytest.mark.slow
@pytest.mark.parametrize("where", [("advance",), ("save",), ("advance", "advance", "save")])
def test_killed_workers_cost_no_more_than_a_checkpoint(
    tmp_path: Path, traps: Traps, truth: float, plain: int, where: tuple[str, ...]
) -> None:
    """SIGKILL in a step, in a checkpoint, and three times in one solve: the same answer, little done twice."""
    for method in where:
        traps.set(method, 3, signal.SIGKILL)
    with cluster() as client:
        began = time.monotonic()
        found, done, _ = solve(client, tmp_path / "kept", traps)
        assert time.monotonic() - began < 90
    assert traps.left() == 0
    assert found == pytest.approx(truth, rel=RTOL)
    # a restart of conjugate gradients costs some iterations; beginning anew each time would cost far more
    assert done <= plain + 6 * len(where)


@pytest.mark.slow
def test_a_stopped_worker_is_given_up(tmp_path: Path, traps: Traps, truth: float) -> None:
    traps.set("advance", 4, signal.SIGSTOP)
    with cluster() as client:
        pids = client.run(os.getpid)
        began = time.monotonic()
        found, _, workers = solve(client, tmp_path / "kept", traps, silence=20)
        assert time.monotonic() - began < 90
        assert len(workers) == 1
        os.kill(next(pid for worker, pid in pids.items() if worker not in workers), signal.SIGCONT)
    assert traps.left() == 0
    assert found == pytest.approx(truth, rel=RTOL)


@pytest.mark.slow
def test_a_worker_that_comes_late_is_used_after_a_loss(tmp_path: Path, traps: Traps, truth: float) -> None:
    used: list[int] = []
    with cluster(1) as client:

        def watch(done: int, executor: DaskExecutor) -> None:
            if done == 2:
                client.cluster.scale(3)
                client.wait_for_workers(3, timeout=60)
            if done == 4:
                used.append(len(executor.workers))
                traps.set("advance", 1, signal.SIGKILL)

        found, _, workers = solve(client, tmp_path / "kept", traps, watch)
    assert used == [1]
    assert len(workers) >= 2
    assert traps.left() == 0
    assert found == pytest.approx(truth, rel=RTOL)


RUN = """
import os, signal, sys
import test_diffusion_distributed_faults as t
from clusters import cluster
from pathlib import Path
if __name__ == "__main__":
    def watch(done, executor):
        if done == 6:
            print("at six", flush=True)
            os.killpg(0, signal.SIGKILL)
    folder = Path(sys.argv[1])
    (folder / "traps").mkdir()
    with cluster() as client:
        t.solve(client, folder / "kept", t.Traps(str(folder / "traps")), watch)
"""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(tmp_path: Path, truth: float, plain: int, two_workers: Any) -> None:
    """SIGKILL of driver, scheduler and workers; other workers go on from the last checkpoint."""
    here = Path(__file__).parent
    script = tmp_path / "run.py"
    script.write_text(RUN)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent), str(here.parents[1])])}
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=environment, start_new_session=True, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert "at six" in run.stdout
    assert Checkpoints(tmp_path / "kept", "faults").found()
    found, done, _ = solve(two_workers, tmp_path / "kept", Traps(str(tmp_path / "traps")))
    assert found == pytest.approx(truth, rel=RTOL)
    assert done < plain
