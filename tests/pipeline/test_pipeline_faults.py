"""Whole studies on clusters that fail: every array is that of an undisturbed run, at once or after another run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import psutil
import pytest
from stores import differences, write_study

from mgsflow.compute import cluster as cluster_module
from mgsflow.compute import connect
from mgsflow.errors import ComputeError, MgsflowError
from mgsflow.pipeline import run, run_step
from mgsflow.pipeline.solves.diffusion import Diffusion
from mgsflow.store import Study

pytestmark = pytest.mark.slow

#: Every kind of step.
STEPS = """\
    correct: {drift: {smooth: 9}}
    normalise: {reference: c0}
    filter:
    - median: {radius: 1}
    segment: {multi_otsu: true, majority: 1}
    measures: [surface, tpb]
    thickness: {phases: [sulfur], reach: 64}
    particles: {phase: sulfur}
    tortuosity: {phases: [pore], axes: z}
    permeability: {phase: pore, axes: z}
    network: {phase: pore}
    rve: {sizes: [20, 30], solve: tortuosity}
    sensitivity: {phase: pore, solve: tortuosity}
"""


#: Steps whose tasks are on workers.
STRUCK = {
    *("ingest", "filter", "segment", "thickness_2", "tortuosity_0_z", "permeability_0_z", "local_porosity"),
    *("region_basins", "region_seams", "region", "region_sums", "region_throats", "rve_solves"),
    *("sensitivity", "sensitivity_solves", "particle_basins", "particle_seams", "particle", "particle_sums"),
}


@pytest.fixture(scope="module")
def undisturbed(small_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_study(tmp_path_factory.mktemp("undisturbed"), small_scans, STEPS, 64)
    run(path, threads=2)
    return path.with_suffix(".zarr")


@pytest.fixture
def study(small_scans: Path, tmp_path: Path) -> Path:
    return write_study(tmp_path, small_scans, STEPS, 64)


def assert_complete(study: Path, undisturbed: Path) -> None:
    store = study.with_suffix(".zarr")
    assert differences(store, undisturbed) == []
    assert Study.open(store).attributes["status"] == "complete"


@dataclass(frozen=True)
class Trap:
    """A task's function, which does something else, once, where a file of the step's name lies in a folder."""

    function: Callable[[Any], Any]
    action: Callable[[], None]
    file: str
    always: bool = False

    def __call__(self, item: Any) -> Any:
        sprung = os.path.exists(self.file)
        if sprung and not self.always:
            try:
                os.unlink(self.file)
            except FileNotFoundError:  # another worker was first
                sprung = False
        # what was done is stored, but nobody hears of it
        found = self.function(item)
        if sprung:
            self.action()
        return found


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def swell() -> None:
    """Take more memory than any worker of these tests may, page by page."""
    held = []
    for _ in range(200):
        held.append(np.ones(1 << 21))
        time.sleep(0.02)
    time.sleep(10)


@pytest.fixture
def trapped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Return what sets traps in tasks of steps on workers, and makes the progress that tells which step it is."""
    folder, real, now = tmp_path / "traps", run_step.completed, [""]
    folder.mkdir()

    def arm(action: Callable[[], None], *only: str, always: bool = False) -> Any:
        seen: set[str] = set()

        def progress(step: str, scan: str, done: int, total: int) -> None:
            now[0] = step
            if step not in seen and step != "checksum" and done < total and (not only or step in only):
                seen.add(step)
                (folder / step).touch()

        def completed(function: Any, items: Any, client: Any = None, threads: Any = None) -> Any:
            if client is False:  # in this process
                (folder / now[0]).unlink(missing_ok=True)
                seen.discard(now[0])
                return real(function, items, client, threads)
            return real(Trap(function, action, str(folder / now[0]), always), items, client, threads)

        monkeypatch.setattr(run_step, "completed", completed)
        progress.left = lambda: sorted(p.name for p in folder.iterdir())  # type: ignore[attr-defined]
        progress.seen = seen  # type: ignore[attr-defined]
        return progress

    return arm


@contextmanager
def cluster() -> Iterator[Any]:
    with connect(workers=2, memory_limit="2GiB") as client:
        yield client


# ------------------------------------------------------------------------------------------------------------ workers


def test_a_worker_is_killed_in_every_step(study: Path, undisturbed: Path, trapped: Any) -> None:
    progress = trapped(die)
    with cluster() as client:
        before = client.run(os.getpid)
        run(study, client, progress)
        assert set(client.run(os.getpid).values()).isdisjoint(before.values())
    assert progress.left() == []
    assert progress.seen >= STRUCK
    assert_complete(study, undisturbed)


@pytest.mark.parametrize("how", ["restarted", "killed"])
def test_all_workers_go_at_once(how: str, study: Path, undisturbed: Path) -> None:
    gone: list[str] = []

    def progress(step: str, scan: str, done: int, total: int) -> None:
        if step in ("ingest", "segment", "particle_basins") and done == 1 and step not in gone:
            gone.append(step)
            if how == "killed":
                for pid in client.run(os.getpid).values():
                    os.kill(pid, signal.SIGKILL)
            else:  # by somebody else

                def restart() -> None:
                    with distributed.Client(client.scheduler.address, set_as_default=False) as other:
                        other.restart(timeout=60)

                thread = threading.Thread(target=restart)
                thread.start()
                thread.join()

    with cluster() as client:
        run(study, client, progress)
    assert gone == ["ingest", "segment", "particle_basins"]
    assert_complete(study, undisturbed)


def test_no_worker_is_left(study: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cluster_module._LOST, "distributed.scheduler.no-workers-timeout", "2 s")

    def progress(step: str, scan: str, done: int, total: int) -> None:
        if step == "segment" and done == 1:
            client.cluster.scale(0)

    with cluster() as client, pytest.raises(ComputeError, match=r"no worker is left.*finished blocks are kept"):
        run(study, client, progress)
    run(study, threads=2)
    assert_complete(study, undisturbed)


def test_a_worker_over_its_memory(study: Path, undisturbed: Path, trapped: Any) -> None:
    progress = trapped(swell, "segment", always=True)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        connect(workers=2, memory_limit="800MiB") as client,
        pytest.raises(ComputeError, match=r"workers died again and again.*--memory-limit"),
    ):
        run(study, client, progress)
    assert Study.open(study.with_suffix(".zarr")).attributes["status"] == "incomplete"
    for file in (study.parent / "traps").iterdir():
        file.unlink()
    run(study, threads=2)
    assert_complete(study, undisturbed)


def test_a_worker_over_its_memory_once(study: Path, undisturbed: Path, trapped: Any) -> None:
    progress = trapped(swell, "segment")
    with connect(workers=2, memory_limit="800MiB") as client:
        run(study, client, progress)
    assert progress.seen == {"segment"}
    assert progress.left() == []
    assert_complete(study, undisturbed)


# --------------------------------------------------------------------------------------------------------- scheduler


@contextmanager
def processes(folder: Path) -> Iterator[tuple[Path, list[subprocess.Popen[bytes]]]]:
    """Run a scheduler and two workers as commands; yield the scheduler's file and the processes."""
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    command = [sys.executable, "-m", "dask"]
    kept = ["--scheduler-file", str(file), "--no-dashboard"]
    worker = ["worker", *kept, "--nthreads", "1", "--memory-limit", "2GiB", "--death-timeout", "20"]
    found = []
    try:
        for arguments in (["scheduler", *kept, "--port", "0", "--host", "127.0.0.1"], worker, worker):
            with (folder / "cluster.log").open("ab") as log:
                found.append(subprocess.Popen([*command, *arguments], cwd=folder, stdout=log, stderr=log))
            while not file.exists():
                time.sleep(0.05)
        yield file, found
    finally:
        for process in found:
            process.terminate()
        for process in found:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def command(study: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start `mgsflow run`."""
    # a background shell leaves Ctrl-C ignored to what it starts
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "mgsflow.cli", "run", str(study), *options],
        preexec_fn=heed,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=study.parent,
    )


def wait_for(process: subprocess.Popen[str], line: str) -> str:
    """Return what a process says up to a line that holds some words."""
    said = ""
    assert process.stdout is not None
    for text in process.stdout:
        said += text
        if line in text:
            return said
    pytest.fail(f"{line!r} was never said:\n{said}")


def ended(process: subprocess.Popen[str], within: float) -> tuple[str, float]:
    """Return what a process still says, and the seconds it takes to end."""
    start = time.monotonic()
    try:
        rest, _ = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"still there after {within} s: {process.communicate()[0]}")
    return rest, time.monotonic() - start


def test_the_scheduler_is_killed(study: Path, undisturbed: Path, tmp_path: Path) -> None:
    with processes(tmp_path) as (file, (scheduler, *_)):
        client = command(study, "--scheduler-file", str(file))
        wait_for(client, "segment: ")
        scheduler.kill()
        said, took = ended(client, 90)
    print(f"ended {took:.1f} s after its scheduler")
    assert client.returncode == 3, said
    assert re.search(r"Error: .*scheduler", said)
    assert "Traceback" not in said
    assert Study.open(study.with_suffix(".zarr")).attributes["status"] == "incomplete"
    with processes(tmp_path) as (file, _):
        client = command(study, "--scheduler-file", str(file))
        said, _ = ended(client, 240)
        assert client.returncode == 0, said
    assert_complete(study, undisturbed)


# --------------------------------------------------------------------------------------------------------- interrupts


@pytest.mark.parametrize(
    ("number", "where", "lines"),
    [
        (signal.SIGINT, ("--workers", "2"), ("checksum: ", "region_basins: ")),
        (signal.SIGTERM, ("--workers", "2"), ("filter: ", "tortuosity_0_z: ")),
        (signal.SIGTERM, (), ("checksum: ", "region_basins: ")),
        (signal.SIGINT, (), ("filter: ", "tortuosity_0_z: ")),
    ],
)
def test_stopped_by_hand(
    number: signal.Signals, where: tuple[str, ...], lines: tuple[str, ...], study: Path, undisturbed: Path
) -> None:
    for line in lines:
        process = command(study, *where)
        wait_for(process, line)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        said, took = ended(process, 60)
        print(f"{line} {number.name} {where}: stopped in {took:.1f} s")
        assert process.returncode == 130, said
        assert "Run the same command again to go on" in said
        assert "Traceback" not in said
        assert took < 20
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []
    process = command(study, *where)
    said, _ = ended(process, 240)
    assert process.returncode == 0, said
    assert_complete(study, undisturbed)


# -------------------------------------------------------------------------------------------------- other processors


def test_a_processor_of_another_kind(small_scans: Path, tmp_path: Path) -> None:
    """Nodes of a cluster differ: sums eight or sixteen wide must give the same, in our kernels and in numpy's."""
    from llvmlite.binding import get_host_cpu_features
    from numpy._core._multiarray_umath import __cpu_dispatch__

    if not get_host_cpu_features().get("avx512f"):
        pytest.skip("needs a processor with AVX-512, to be used as one without")
    steps = STEPS.replace("    segment:", "    - non_local_means: {strength: 2000}\n    segment:")
    steps = steps.replace(
        "phases: [pore], axes: z}", "phases: [pore, CBD], axes: [z, x], fields: [concentration, flux]}"
    )
    steps = steps.replace("phase: pore, axes: z}", "phase: pore, axes: [z, x], streamlines: 20}")
    wide, narrow = (write_study(tmp_path / name, small_scans, steps, 48) for name in ("wide", "narrow"))
    run(wide, threads=2)
    process = command(
        narrow,
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES="",
        NUMBA_CACHE_DIR=str(tmp_path),
        OPENBLAS_CORETYPE="Haswell",
        NPY_DISABLE_CPU_FEATURES=" ".join(f for f in __cpu_dispatch__ if "AVX512" in f or f == "X86_V4"),
    )
    said, _ = ended(process, 600)
    assert process.returncode == 0, said
    assert differences(wide.with_suffix(".zarr"), narrow.with_suffix(".zarr")) == []


# ------------------------------------------------------------------------------------------------------------ scratch


def test_scratch_is_full(study: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A solve by all workers whose arrays go to a disk without room: one error, and nothing of it in the store."""
    from mgsflow.compute.supersteps import scratch_file
    from mgsflow.transport.diffusion.distributed import plan as distributed_plan

    full = tmp_path / "full"
    full.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(full)], capture_output=True)
    if made.returncode:
        pytest.skip(f"no small file system here: {made.stderr.decode().strip()}")
    try:
        monkeypatch.setattr(Diffusion, "memory", lambda self, shape: 2**50)  # too large for a worker
        plain = distributed_plan.plan_blocks

        def on_disk(medium: Any, grid: Any, workers: int, memory: Any = None, *rest: Any) -> Any:
            found = plain(medium, grid, workers, memory or 2**40, *rest)
            return replace(found, budget=1 << 20, scratch=1 << 20)

        monkeypatch.setattr(distributed_plan, "plan_blocks", on_disk)
        with dask.config.set({"temporary-directory": str(full)}), connect(workers=2, memory_limit="2GiB") as client:
            client.run(setattr, scratch_file.tempfile, "tempdir", str(full))
            with pytest.raises(MgsflowError, match=r"full|space"):
                run(study, client)
        assert Study.open(study.with_suffix(".zarr")).attributes["status"] == "incomplete"
        monkeypatch.undo()
    finally:
        subprocess.run(["umount", "-l", str(full)], check=True)
    run(study, threads=2)
    assert_complete(study, undisturbed)
