"""A run that is stopped anywhere continues and ends with the same bytes; what changed, and only that, is redone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import differences, files, finished, notes, write_study

from mgsflow.errors import StoreError
from mgsflow.pipeline import run
from mgsflow.store import Study

#: Runs a study and appends "time step scan finished total" for every block to a file.
_RUN = """
import os, sys, time
from mgsflow.pipeline import run
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def tell(*a):
    os.write(log, (f"{time.monotonic()} " + " ".join(map(str, a)) + "\\n").encode())
print("ready", flush=True)
sys.stdin.readline()
run(sys.argv[1], progress=tell, threads=int(sys.argv[3]))
"""


def start(path: Path, log: Path, threads: int = 2) -> subprocess.Popen[bytes]:
    """Start a run in a process of its own, and return when it has everything loaded."""
    child = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(path), str(log), str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"ready\n"
    child.stdin.write(b"\n")
    child.stdin.flush()
    return child


def end(child: subprocess.Popen[bytes]) -> int:
    """Wait for a process, close its pipes, and return its exit code."""
    child.communicate(timeout=120)
    return child.returncode


@pytest.fixture(scope="module")
def undisturbed(small_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A finished store, and its number of blocks."""
    path = write_study(tmp_path_factory.mktemp("undisturbed"), small_scans, "otsu", 32)
    blocks = run(path, threads=2).blocks
    return path.with_suffix(".zarr"), blocks


def assert_same_store(store: Path, reference: Path) -> None:
    assert differences(store, reference) == []
    ours, theirs = files(store), files(reference)
    assert ours.keys() == theirs.keys()
    assert [k for k in ours if ours[k] != theirs[k]] == []
    assert notes(store) == notes(reference)


# ---------------------------------------------------------------------------------------------------------- killed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments(seed: int, small_scans: Path, tmp_path: Path, undisturbed: tuple[Path, int]) -> None:
    reference, total = undisturbed
    path, log = write_study(tmp_path, small_scans, "otsu", 32), tmp_path / "log"
    store, chance = path.with_suffix(".zarr"), random.Random(seed)
    before, kills = 0, 0
    for moment in sorted(chance.uniform(0.02, 0.9) for _ in range(2 if seed == 0 else 5)):
        # wait for a share of all blocks, so that a slow machine is killed in the same places, and some milliseconds
        log.write_bytes(b"")
        child = start(path, log)
        wanted, deadline = int(moment * total), time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            if log.read_bytes().count(b"\n") >= wanted - before:
                break
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.2))
        child.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        if end(child) != -signal.SIGKILL:
            break
        kills += 1
        now = finished(store)
        # lost are the blocks of the last half second, and those whose turn it was
        done = [line.split() for line in log.read_text().splitlines() if " checksum " not in line]
        counted = [float(t) for t, _, _, count, _ in done if int(count) > 0]
        late = sum(t > killed - 1.0 for t in counted)
        assert before <= now
        assert len(counted) - late <= now
        before = now
    assert kills >= 1
    status = Study.open(store).attributes["status"]
    assert status == "incomplete"
    summary = run(path, threads=2)
    assert summary.blocks == total - before  # nothing that was finished is redone
    assert_same_store(store, reference)
    assert Study.open(store).attributes["status"] == "complete"
    assert not list(store.rglob("*.partial"))
    assert run(path, threads=2).blocks == 0
    assert_same_store(store, reference)


#: Runs a study again and again, each time in a process that ends, without any clean-up, in its n-th write to the store:
#: between the folder and the file, or after half of the file (-n).
_CRASH = """
import os, sys
import zarr.storage._local as local
import mgsflow.pipeline as pipeline
import mgsflow.pipeline.run
plain = local._atomic_write
for path, n in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    child = os.fork()
    if child == 0:
        left = [abs(n)]
        from contextlib import contextmanager
        @contextmanager
        def write(file, mode, exclusive=False):
            left[0] -= 1
            if left[0] == 0:
                if n < 0:
                    file.with_suffix(".0123.partial").write_bytes(b"half")
                os._exit(9)
            with plain(file, mode, exclusive) as f:
                yield f
        local._atomic_write = write
        try:
            pipeline.run(path, threads=1)
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(1)
        os._exit(0)
    print(n, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def crash(*runs: tuple[Path, int]) -> list[str]:
    """Return what became of one run after another, each ended in its n-th write."""
    arguments = [str(part) for run in runs for part in run]
    done = subprocess.run([sys.executable, "-c", _CRASH, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans of eight blocks and less, done undisturbed."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    for name, shape in (("c0", (40, 36, 44)), ("c1", (40, 30, 50))):
        np.save(folder / f"{name}.npy", rng.choice([15000, 28000, 37000], shape).astype(np.uint16))
    path = write_study(folder, folder, "    segment: {multi_otsu: true, majority: 1}\n", 32, ".npy")
    run(path, threads=1)
    return path


@pytest.mark.slow
def test_stopped_in_any_write_of_the_first_run(tiny: Path, tmp_path: Path) -> None:
    # the store grows by a few files with each attempt
    path = tmp_path / "study.yaml"
    path.write_text(tiny.read_text())
    chance = random.Random(5)
    writes = [1, -1, 2, -2, 3, 5, -8] + [chance.randrange(2, 90) * chance.choice((1, -1)) for _ in range(5)]
    said = crash(*((path, n) for n in writes))
    assert said == [f"{n} 9" for n in writes]  # each was cut off where it should
    run(path, threads=1)
    assert_same_store(path.with_suffix(".zarr"), tiny.with_suffix(".zarr"))


@pytest.mark.slow
def test_stopped_in_writes_all_over_a_run(tiny: Path, tmp_path: Path) -> None:
    # a prime apart, so that no kind of file is passed over as it would be if it were every so many
    runs = []
    for i, n in enumerate(range(3, 800, 29)):
        (tmp_path / str(n)).mkdir()
        path = tmp_path / str(n) / "study.yaml"
        path.write_text(tiny.read_text())
        runs += [(path, -n if i % 2 else n), (path, 10**9)]
    said = crash(*runs)
    assert [line for line in said if not line.endswith((" 9", " 0"))] == []
    assert sum(line.endswith(" 9") for line in said) >= 15
    assert said[-2].endswith(" 0")  # a run has fewer writes than these
    for path, _ in runs[::2]:
        assert_same_store(path.with_suffix(".zarr"), tiny.with_suffix(".zarr"))


def test_an_error_in_mid_run_keeps_what_is_finished(
    small_scans: Path, tmp_path: Path, undisturbed: tuple[Path, int]
) -> None:
    reference, total = undisturbed
    path = write_study(tmp_path, small_scans, "otsu", 32)

    class Stop(BaseException):
        pass

    def stop(step: str, scan: str, count: int, of: int) -> None:
        if (step, count) == ("filter", 8):
            raise Stop

    with pytest.raises(Stop):
        run(path, threads=2, progress=stop)
    before = finished(path.with_suffix(".zarr"))
    attrs = Study.open(path.with_suffix(".zarr")).attributes
    assert attrs["status"] == "incomplete"
    assert attrs["runs"][-1]["error"].startswith("Stop")
    assert run(path, threads=2).blocks == total - before
    assert_same_store(path.with_suffix(".zarr"), reference)


# --------------------------------------------------------------------------------------------------------- changed


class Steps:
    """Counts the blocks of each step and scan that a run does."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    def __call__(self, step: str, scan: str, count: int, total: int) -> None:
        if step != "checksum":
            key = f"{step} {scan.rpartition('/')[2]}"
            self.done.setdefault(key, -1)
            self.done[key] += 1

    @property
    def steps(self) -> set[str]:
        return {k for k, v in self.done.items() if v}


def redone(path: Path, **options: Any) -> set[str]:
    """Run, and return the steps and scans of which anything was done."""
    steps = Steps()
    run(path, threads=2, progress=steps, **options)
    return steps.steps


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


BOTH = ("c0", "c1")


def of(*steps: str) -> set[str]:
    return {f"{s} {n}" for s in steps for n in BOTH}


def fresh(path: Path, folder: Path) -> Path:
    """Return the store of the same study done from nothing."""
    folder.mkdir()
    copy = folder / "study.yaml"
    copy.write_text(path.read_text())
    run(copy, threads=2)
    return copy.with_suffix(".zarr")


def results_differ(a: Path, b: Path) -> list[str]:
    return differences(a, b, "cathode/scale0") + differences(a, b, "cathode/metrics")


@pytest.mark.slow
def test_a_changed_parameter_redoes_what_depends_on_it(small_scans: Path, tmp_path: Path) -> None:
    steps = "    filter: [unsharp_mask: {sigma: 1, amount: 0.5}]\n    segment: {multi_otsu: true, majority: 1}\n"
    path = write_study(tmp_path, small_scans, steps, 64)
    store = path.with_suffix(".zarr")
    assert redone(path) == of("ingest", "filter", "segment")
    assert redone(path) == set()
    edit(path, "study: small", "study: another title\nnotes: and notes")
    assert redone(path) == set()
    edit(path, "majority: 1", "majority: 2")
    assert redone(path) == of("segment")
    edit(path, "amount: 0.5", "amount: 0.6")
    assert redone(path) == of("filter", "segment")
    assert results_differ(store, fresh(path, tmp_path / "fresh")) == []


def test_changed_thresholds_do_not_ingest_again(small_scans: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, small_scans, "plain", 64)
    assert redone(path) == of("ingest", "segment")
    edit(path, "[23100, 32500]", "[23000, 32500]")
    assert redone(path) == of("segment")
    assert results_differ(path.with_suffix(".zarr"), fresh(path, tmp_path / "fresh")) == []


@pytest.mark.slow
def test_a_changed_file_redoes_its_scan(small_scans: Path, tmp_path: Path) -> None:
    shutil.copytree(small_scans, tmp_path / "scans")
    path = write_study(tmp_path, tmp_path / "scans", "plain", 64)
    run(path, threads=2)
    slices = sorted((tmp_path / "scans" / "c1").iterdir())
    # touched, but the same: no block is redone
    os.utime(slices[3], ns=(1, 1))
    assert redone(path) == set()
    data = bytearray(slices[3].read_bytes())
    data[-2001] ^= 0xFF  # a voxel, not the header
    slices[3].write_bytes(bytes(data))
    assert redone(path) == {"ingest c1", "segment c1"}
    assert results_differ(path.with_suffix(".zarr"), fresh(path, tmp_path / "fresh")) == []


@pytest.mark.slow
def test_a_scan_of_another_shape_is_another_scan(small_scans: Path, tmp_path: Path) -> None:
    shutil.copytree(small_scans, tmp_path / "scans")
    path = write_study(tmp_path, tmp_path / "scans", "plain", 64)
    run(path, threads=2)
    for file in sorted((tmp_path / "scans" / "c0").iterdir())[50:]:
        file.unlink()
    assert redone(path) == {"ingest c0", "segment c0"}
    assert results_differ(path.with_suffix(".zarr"), fresh(path, tmp_path / "fresh")) == []


@pytest.mark.slow
def test_a_scan_that_is_added_does_not_touch_the_others(small_scans: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, small_scans, "plain", 64)
    both = path.read_text()
    lines = both.splitlines(keepends=True)
    (large,) = (line for line in lines if "name: c0" in line)
    path.write_text("".join(line for line in lines if line != large))
    assert redone(path) == {"ingest c1", "segment c1"}
    # a larger one, after it
    at = next(i for i, line in enumerate(lines) if "name: c1" in line)
    lines.remove(large)
    lines.insert(at, large)
    path.write_text("".join(lines))
    assert redone(path) == {"ingest c0", "segment c0"}
    assert results_differ(path.with_suffix(".zarr"), fresh(path, tmp_path / "fresh")) == []


@pytest.mark.slow
def test_frozen_thresholds_stay_until_they_are_to_be_fitted_anew(small_scans: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, small_scans, "otsu alone", 64)
    text = path.read_text()
    path.write_text("".join(line for line in text.splitlines(keepends=True) if "name: c1" not in line))
    run(path, threads=2)
    frozen = Study.open(path.with_suffix(".zarr"))["cathode"].attributes["thresholds"]["values"]
    path.write_text(text)
    assert redone(path) == {"ingest c1", "segment c1"}
    assert Study.open(path.with_suffix(".zarr"))["cathode"].attributes["thresholds"]["values"] == frozen
    assert redone(path, refit=True) == of("segment")
    assert Study.open(path.with_suffix(".zarr"))["cathode"].attributes["thresholds"]["values"] != frozen
    assert results_differ(path.with_suffix(".zarr"), fresh(path, tmp_path / "fresh")) == []


@pytest.mark.slow
def test_newer_code_redoes_all(small_scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_study(tmp_path, small_scans, "plain", 64)
    run(path, threads=2)
    monkeypatch.setattr("mgsflow.pipeline.step.code_version", lambda objects: "newer")
    assert redone(path) == of("ingest", "segment")
    assert redone(path) == set()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["", pytest.param(".npy", marks=pytest.mark.slow)])
def test_there_and_back_between_ways_to_segment(suffix: str, small_scans: Path, tmp_path: Path) -> None:
    # fixed thresholds write `filtered` in the step that segments, fitted ones in a step before it: neither may take
    # the other's for its own
    steps = "    filter: [gaussian: {{sigma: {}}}]\n    segment: {{{}}}\n"
    cut = "thresholds: [0.2525, 0.3959]" if suffix else "thresholds: [23100, 32500]"
    path = tmp_path / "study.yaml"
    for sigma, way in ((0.6, "multi_otsu: true"), (1.2, cut), (0.6, "multi_otsu: true")):
        write_study(tmp_path, small_scans, steps.format(sigma, way), 64, suffix)
        run(path, threads=2)
    assert results_differ(path.with_suffix(".zarr"), fresh(path, tmp_path / "fresh")) == []


@pytest.mark.slow
def test_records_of_a_scan_that_was_left_out_for_a_while(small_scans: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, small_scans, "plain", 64)
    both = path.read_text()
    run(path, threads=2)
    alone = "".join(line for line in both.splitlines(keepends=True) if "name: c1" not in line)
    path.write_text(alone.replace("[pore, CBD, sulfur]", "[pore, solid]").replace("[23100, 32500]", "[23100]"))
    run(path, threads=2)
    path.write_text(both)
    run(path, threads=2)
    assert results_differ(path.with_suffix(".zarr"), fresh(path, tmp_path / "fresh")) == []


# ------------------------------------------------------------------------------------- two at once, and a full disk


def test_a_second_run_on_a_store_is_refused(small_scans: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, small_scans, "otsu", 32)
    child = start(path, tmp_path / "log")
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "log").read_bytes() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(StoreError, match=f"another run .process {child.pid}. is at work"):
            run(path)
    finally:
        child.kill()
        end(child)
    run(path, threads=2)  # a lock does not outlive its process


def _small_disk(tmp_path: Path, size: str) -> Path:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True)
    if made.returncode:
        pytest.skip(f"no small file system here: {made.stderr.decode().strip()}")
    return disk


@pytest.mark.parametrize("size", ["1m", *(pytest.param(s, marks=pytest.mark.slow) for s in ("16k", "2m"))])
def test_a_full_disk(size: str, small_scans: Path, tmp_path: Path, undisturbed: tuple[Path, int]) -> None:
    disk = _small_disk(tmp_path, size)
    try:
        path = write_study(tmp_path, small_scans, "otsu", 32)
        edit(path, "store: study.zarr", "store: disk/study.zarr")
        with pytest.raises(StoreError, match="space"):
            run(path, threads=2)
        store = disk / "study.zarr"
        if (store / "zarr.json").exists():
            assert Study.open(store).attributes.get("status", "incomplete") == "incomplete"
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        run(path, threads=2)
        assert_same_store(store, undisturbed[0])
        assert Study.open(store).attributes["status"] == "complete"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_full_for_a_worker_process(small_scans: Path, tmp_path: Path, two_workers: Any) -> None:
    disk = _small_disk(tmp_path, "1m")
    try:
        path = write_study(tmp_path, small_scans, "otsu", 64)
        edit(path, "store: study.zarr", "store: disk/study.zarr")
        with pytest.raises(StoreError, match="space"):
            run(path, client=two_workers)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_read_only(small_scans: Path, tmp_path: Path) -> None:
    disk = _small_disk(tmp_path, "50m")
    try:
        path = write_study(tmp_path, small_scans, "plain", 64)
        edit(path, "store: study.zarr", "store: disk/study.zarr")
        run(path, threads=2)
        before = files(disk / "study.zarr")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        edit(path, "[23100, 32500]", "[23000, 32500]")
        with pytest.raises(StoreError, match="cannot be written"):
            run(path, threads=2)
        assert files(disk / "study.zarr") == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)
