"""The batch script on a SLURM of one node: finishes a study; what its time limit stops, another submission ends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import differences, finished, write_study

from mgsflow.pipeline import run
from mgsflow.store import Study

HERE = Path(__file__).parents[1]
DEPLOY = HERE.parent / "deploy"
DONE = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(shutil.which(c, path=f"{os.environ['PATH']}:/usr/sbin") is None for c in ("slurmctld", "slurmd", "munged")),
        reason="no SLURM here: apt-get install slurm-wlm munge",
    ),
    pytest.mark.skipif(not DEPLOY.is_dir(), reason="deploy/ is not beside the tests"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("slurm")
    script = str(HERE / "slurm_node.sh")
    started = subprocess.run(["bash", script, "start", str(folder)], capture_output=True, text=True, timeout=100)
    if started.returncode:
        pytest.skip(f"SLURM does not start here: {started.stderr[-2000:]}")
    try:
        yield {
            **os.environ,
            "SLURM_CONF": started.stdout.strip().splitlines()[-1],
            "MGSFLOW_DEPLOY": str(DEPLOY),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
    finally:
        subprocess.run(["bash", script, "stop", str(folder)], check=False)


@pytest.fixture(scope="module")
def undisturbed(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_study(tmp_path_factory.mktemp("slurm_reference"), scans, "fixed", 16)
    run(path, threads=2)
    return path.with_suffix(".zarr")


def submit(slurm: dict[str, str], study: Path, *options: str) -> str:
    script = DEPLOY / "slurm" / "mgsflow.sbatch"
    command = ["sbatch", "--parsable", "--ntasks=3", "--mem-per-cpu=1500M", *options, str(script), str(study)]
    made = subprocess.run(command, env=slurm, cwd=study.parent, capture_output=True, text=True, check=True)
    return made.stdout.strip()


def ended(slurm: dict[str, str], job: str, within: float) -> str:
    """Wait for a job, and return how it ended."""
    deadline = time.monotonic() + within
    state = ""
    while time.monotonic() < deadline:
        shown = subprocess.run(["scontrol", "show", "job", job], env=slurm, capture_output=True, text=True, check=True)
        found = re.search(r"JobState=(\w+)", shown.stdout)
        state = found[1] if found else ""
        if state in DONE:
            return state
        time.sleep(0.5)
    subprocess.run(["scancel", job], env=slurm, check=False)
    pytest.fail(f"job {job} is {state} after {within} s")


def test_a_job_finishes_a_study(slurm: dict[str, str], small_scans: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path, small_scans, "fixed", 32)
    job = submit(slurm, study, "--time=10")
    state, log = ended(slurm, job, 300), (tmp_path / f"mgsflow-{job}.log").read_text()
    assert state == "COMPLETED", log
    assert "Report:" in log
    reference = write_study(tmp_path / "reference", small_scans, "fixed", 32)
    run(reference, threads=2)
    assert differences(study.with_suffix(".zarr"), reference.with_suffix(".zarr")) == []
    # addresses and certificates are gone with the job
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_job_whose_time_is_up_is_submitted_again(
    slurm: dict[str, str], scans: Path, undisturbed: Path, tmp_path: Path
) -> None:
    study = write_study(tmp_path, scans, "fixed", 16)
    store = study.with_suffix(".zarr")
    job = submit(slurm, study, "--time=10")
    deadline = time.monotonic() + 200
    while not finished(store) and time.monotonic() < deadline:
        time.sleep(0.05)
    # what SLURM sends when the time is nearly up, at a moment that does not depend on the machine
    subprocess.run(["scancel", "--batch", "--signal=USR1", job], env=slurm, check=True)
    state, log = ended(slurm, job, 200), (tmp_path / f"mgsflow-{job}.log").read_text()
    assert state != "COMPLETED", log
    assert "Run the same command again" in log
    before = finished(store)
    assert Study.open(store).attributes["status"] == "incomplete"
    assert 0 < before < finished(undisturbed), log
    job = submit(slurm, study, "--time=10")
    assert ended(slurm, job, 300) == "COMPLETED", (tmp_path / f"mgsflow-{job}.log").read_text()
    assert differences(store, undisturbed) == []


def test_a_missing_study_ends_the_job_with_the_reason(slurm: dict[str, str], tmp_path: Path) -> None:
    job = submit(slurm, tmp_path / "nothing.yaml", "--time=5")
    assert ended(slurm, job, 120) == "FAILED"
    assert "nothing.yaml" in (tmp_path / f"mgsflow-{job}.log").read_text()


def test_workers_from_a_login_node(slurm: dict[str, str], small_scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue")
    study = write_study(tmp_path / "study", small_scans, "fixed", 32)
    command = [sys.executable, str(DEPLOY / "slurm/jobqueue.py"), str(study), "--workers", "2"]
    command += ["--memory-limit", "1200MiB", "--time", "00:10:00", "--scratch", str(tmp_path)]
    done = subprocess.run(command, env=slurm, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    reference = write_study(tmp_path / "reference", small_scans, "fixed", 32)
    run(reference, threads=2)
    assert differences(study.with_suffix(".zarr"), reference.with_suffix(".zarr")) == []
    assert [p.name for p in study.parent.iterdir() if p.name.startswith(".")] == []
