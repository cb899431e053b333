"""The commands as a user types them: what they print, where results go, and exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from layers import write
from rich.console import Console

import mgsflow
from mgsflow.cli import main
from mgsflow.cli.inspect import parse_options
from mgsflow.errors import InputError
from mgsflow.phantoms import cathode, write_tiff_stack
from mgsflow.store import Study

STUDY = """\
study: test
block: 64
specimens:
  cathode:
    voxel_size: 0.126
    phases: [pore, CBD, sulfur]
    scans:
      - {name: c0, path: scans/cathode_c00, cycle: 0}
    filter:
      - unsharp_mask: {sigma: 1.5, amount: 0.6}
    segment:
      thresholds: [23100, 32500]
"""


@pytest.fixture
def type_in(monkeypatch, capsys):
    """Run a command line, and return exit code, output and errors."""
    monkeypatch.setattr("mgsflow.cli.app.out", Console(highlight=False, width=200))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mgsflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def scans(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "scans"
    write_tiff_stack(cathode((70, 66, 64), seed=3).image, folder / "cathode_c00")
    return folder


@pytest.fixture
def study(tmp_path, scans) -> Path:
    (tmp_path / "scans").symlink_to(scans)
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    return file


def bad(code: int, out: str, err: str) -> str:
    """Check that a command refused its input as it should, and return what it said."""
    assert code == 2, (out, err)
    assert err.startswith("Error: ")
    assert "Traceback" not in out + err
    return err


def test_the_version_and_its_source(type_in):
    code, said, _ = type_in("--version")
    assert code == 0
    assert re.fullmatch(rf"mgsflow {re.escape(mgsflow.__version__)} \(source [0-9a-f]{{12}}\)\n", said)


class TestTheMainPath:
    def test_a_study_from_plan_to_report(self, study, type_in):
        code, out, _ = type_in("plan", study)
        assert code == 0
        assert "ingest" in out
        assert not (study.parent / "study.zarr").exists()  # a plan writes nothing
        code, out, _ = type_in("run", study)
        assert code == 0
        assert "pore" in out
        report = study.parent / "report.html"
        assert "report.html" in out
        assert report.is_file()
        code, out, _ = type_in("status", study)
        assert code == 0
        assert "complete" in out
        code, out, _ = type_in("inspect", study.parent / "study.zarr")
        assert "70 × 66 × 64" in out
        report.unlink()
        code, out, _ = type_in("report", study.parent / "study.zarr")
        assert code == 0
        assert report.is_file()

    @pytest.mark.slow
    def test_the_printed_fractions_are_those_of_the_stored_phases(self, study, type_in):
        _, out, _ = type_in("run", study)
        phase = zarr.open_array(study.parent / "study.zarr", path="cathode/scale0/phase", mode="r")[0]
        share = np.bincount(phase.ravel(), minlength=3) / phase.size
        for fraction in share:
            assert f"{100 * fraction:.1f}" in out
        tree = mgsflow.open(study.parent / "study.zarr")
        np.testing.assert_allclose(tree["cathode/metrics"].ds.sel(cycle=0).volume_fraction, share, rtol=1e-12)

    @pytest.mark.slow  # compiles every kernel there is
    def test_particles_and_transport_are_printed_where_they_were_asked_for(self, study, tmp_path_factory, type_in):
        analysed = write(tmp_path_factory.mktemp("analysed"))
        code, out, _ = type_in("run", analysed)
        assert code == 0
        metrics = mgsflow.open(analysed.parent / "study.zarr")["cathode/metrics"].ds.sel(scan="c0")
        lines = [line.split() for line in out.splitlines()]
        at = out.index("cathode: particles")
        rows = [line.split() for line in out[at:].splitlines() if line.split()[:1] in (["c0"], ["c1"])]
        assert rows[0] == ["c0", "0", "3", "0", f"{float(metrics.equivalent_diameter_d50):.3f}"]
        assert rows[1] == ["c1", "1", "0", "0", "–"]
        assert "cathode: tortuosity factor of pore" in out
        assert ["c0", "0", "1.0000", "∞,", "not", "percolating"] in lines
        assert "nothing conducts" in out
        assert "cathode: permeability, µm²" in out
        assert ["c0", "0", f"{float(metrics.permeability.sel(axis='z')):.4f}", "not", "percolating"] in lines
        _, out, _ = type_in("run", study)
        assert not [w for w in ("particles", "tortuosity", "permeability") if f"cathode: {w}" in out]

    @pytest.mark.slow
    def test_a_second_run_finds_nothing_to_do(self, study, type_in):
        type_in("run", study)
        code, out, _ = type_in("run", study)
        assert code == 0
        assert "nothing was left to do" in out

    @pytest.mark.slow
    def test_a_run_on_worker_processes_gives_the_same_arrays(self, study, type_in, tmp_path_factory):
        type_in("run", study)
        first = zarr.open_group(study.parent / "study.zarr", mode="r")
        other = tmp_path_factory.mktemp("workers")
        (other / "scans").symlink_to(study.parent / "scans")
        (other / "study.yaml").write_text(STUDY)
        command = [sys.executable, "-m", "mgsflow.cli", "run", str(other / "study.yaml"), "--workers", "2"]
        done = subprocess.run([*command, "--memory-limit", "1GiB"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        second = zarr.open_group(other / "study.zarr", mode="r")
        for array in ("image", "filtered", "phase"):
            path = f"cathode/scale0/{array}"
            np.testing.assert_array_equal(first[path][...], second[path][...])

    def test_init_writes_a_study_that_can_be_completed(self, scans, tmp_path, type_in):
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "cathode_c00").symlink_to(scans / "cathode_c00")
        code, out, _ = type_in("init", folder)
        assert code == 0
        assert "study.yaml" in out
        code, _, _ = type_in("plan", folder / "study.yaml")
        assert code == 0
        assert "there already" in bad(*type_in("init", folder))

    def test_inspect_a_scan(self, scans, type_in):
        code, out, _ = type_in("inspect", scans / "cathode_c00")
        assert code == 0
        assert "70 × 66 × 64" in out
        assert "uint16" in out
        assert "0.126" in out

    def test_inspect_a_raw_file_with_options(self, tmp_path, type_in):
        np.arange(60, dtype="<u2").reshape(3, 4, 5).tofile(tmp_path / "a.raw")
        code, out, _ = type_in("inspect", tmp_path / "a.raw", "-O", "shape=3,4,5", "-O", "dtype=uint16")
        assert code == 0
        assert "3 × 4 × 5" in out


class TestTime:
    @pytest.mark.slow
    def test_a_plan_for_workers_tells_it(self, study, type_in):
        code, out, _ = type_in("plan", study, "--workers", 64, "--edge", 2048, "--memory-limit", "4GiB")
        assert code == 0
        assert re.search(r"on 64 workers of 1 thread", out)
        assert re.search(r"about .*(s|min|h), [0-9.]+ core hours; .* read from the store and .* written", out)
        assert not (study.parent / "study.zarr").exists()
        code, limited, _ = type_in("plan", study, "--workers", 64, "--edge", 2048, "--bandwidth", "1MB")
        assert re.search(r"about [0-9.]+ d,", limited)

    @pytest.mark.parametrize("option", [("--workers", 0), ("--bandwidth", "0"), ("--bandwidth", "fast"), ("--edge", 0)])
    def test_what_is_no_number(self, option, study, type_in):
        assert type_in("plan", study, *option)[0] == 2


class TestWhatDoesNotFit:
    def test_plan_says_what_would(self, study, type_in):
        code, out, err = type_in("plan", study, "--workers", 1, "--memory-limit", "200MiB", "--no-time")
        assert code == 2
        assert "core hours" not in out
        assert "ingest" in out
        assert "What fits: workers of" in err

    def test_run_refuses_before_it_starts(self, study, type_in):
        said = bad(*type_in("run", study, "--workers", 1, "--memory-limit", "200MiB"))
        assert "What fits" in said
        done = Study.open(study.parent / "study.zarr")["cathode"].progress("c0")
        assert all(count == 0 for _, count, _ in done)


def _stack(folder: Path, *arrays: np.ndarray, names: list[str] | None = None) -> None:
    folder.mkdir(parents=True)
    for i, array in enumerate(arrays):
        name = names[i] if names else f"s{i:03d}.tif"
        tifffile.imwrite(folder / name, array, photometric="rgb" if array.ndim == 3 else "minisblack")


PLANE = np.zeros((20, 20), np.uint16)


def _nan(folder: Path) -> None:
    spoilt = np.ones((20, 20), np.float32)
    spoilt[3, 4] = np.nan
    _stack(folder, *[np.ones((20, 20), np.float32)] * 3, spoilt)


def _truncated(folder: Path) -> None:
    _stack(folder, *[PLANE] * 4)
    file = folder / "s002.tif"
    file.write_bytes(file.read_bytes()[:300])


def _empty_file(folder: Path) -> None:
    _stack(folder, *[PLANE] * 4)
    (folder / "s001.tif").write_bytes(b"")


BAD_SCANS = {
    "missing folder": (lambda f: None, "scan"),
    "truncated": (_truncated, "s002.tif"),
    "empty file": (_empty_file, "s001.tif"),
    "sizes differ": (lambda f: _stack(f, PLANE, PLANE, np.zeros((20, 21), np.uint16)), "s002.tif"),
    "dtypes differ": (lambda f: _stack(f, PLANE, PLANE.astype(np.uint8)), "uint8"),
    "colour": (lambda f: _stack(f, np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20, 3), np.uint8)), "RGB"),
    "gap": (lambda f: _stack(f, *[PLANE] * 3, names=["s1.tif", "s2.tif", "s4.tif"]), "3"),
    "not a number": (_nan, "s003.tif"),
}


class TestBadInput:
    @pytest.mark.parametrize("name", BAD_SCANS)
    def test_scans(self, name, tmp_path, type_in):
        make, says = BAD_SCANS[name]
        make(tmp_path / "scans" / "cathode_c00")
        (tmp_path / "study.yaml").write_text(STUDY)
        assert says in bad(*type_in("run", tmp_path / "study.yaml"))
        store = tmp_path / "study.zarr"
        if store.exists():  # what only reading tells is found while it runs: the store says so
            assert Study.open(store).attributes["status"] == "incomplete"

    def test_raw_of_the_wrong_size(self, tmp_path, type_in):
        np.zeros(1000, np.uint16).tofile(tmp_path / "a.raw")
        path = "path: a.raw, options: {shape: [10, 10, 11], dtype: uint16}"
        (tmp_path / "study.yaml").write_text(STUDY.replace("path: scans/cathode_c00", path))
        said = bad(*type_in("run", tmp_path / "study.yaml"))
        assert "2200" in said.replace(",", "")
        assert "2000" in said.replace(",", "")

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ("voxel_size: 0.126", "voxel_size: -0.126", "specimens.cathode.voxel_size"),
            ("[23100, 32500]", "[32500, 23100]", "specimens.cathode.segment.thresholds"),
            ("    filter:", "    filtr:", "filter"),
            ("cycle: 0}", "cycle: 0}\n      - {name: c0, path: elsewhere, cycle: 1}", "c0"),
            ("unsharp_mask", "unsharp_maks", "unsharp_mask"),
        ],
    )
    def test_study_files(self, old, new, says, study, type_in):
        study.write_text(STUDY.replace(old, new))
        said = bad(*type_in("run", study))
        assert says in said
        assert "study.yaml" in said
        assert not (study.parent / "study.zarr").exists()

    def test_no_study_file(self, tmp_path, type_in):
        assert "nothing.yaml" in bad(*type_in("run", tmp_path / "nothing.yaml"))

    def test_a_store_of_a_newer_schema_is_left_alone(self, study, type_in):
        zarr.create_group(study.parent / "study.zarr", attributes={"mgsflow": {"schema": 99}})
        before = (study.parent / "study.zarr" / "zarr.json").read_bytes()
        assert "newer" in bad(*type_in("run", study))
        assert (study.parent / "study.zarr" / "zarr.json").read_bytes() == before
        assert "newer" in bad(*type_in("inspect", study.parent / "study.zarr"))

    def test_something_else_at_the_stores_place(self, study, type_in):
        (study.parent / "study.zarr").mkdir()
        (study.parent / "study.zarr" / "thesis.txt").write_text("mine")
        assert "not an mgsflow study" in bad(*type_in("run", study))
        assert (study.parent / "study.zarr" / "thesis.txt").read_text() == "mine"

    def test_a_folder_that_cannot_be_written(self, study, type_in):
        (study.parent / "file").write_text("")
        study.write_text(STUDY.replace("block: 64", "block: 64\nstore: file/study.zarr"))
        assert "cannot be written" in bad(*type_in("run", study))

    def test_scheduler_options_that_exclude_each_other(self, study, type_in):
        said = bad(*type_in("run", study, "--workers", 2, "--scheduler", "tcp://127.0.0.1:1"))
        assert "not several" in said
        assert "--workers" in bad(*type_in("run", study, "--memory-limit", "1GiB"))
        assert "not a size" in bad(*type_in("run", study, "--workers", 1, "--memory-limit", "much"))

    def test_no_study_in_status_and_report(self, tmp_path, type_in):
        for command in ("status", "report"):
            assert "no study at" in bad(*type_in(command, tmp_path / "study.zarr"))

    def test_demo_leaves_a_folder_of_others_alone(self, tmp_path, type_in):
        (tmp_path / "thesis.txt").write_text("mine")
        assert "not empty" in bad(*type_in("demo", tmp_path))
        assert os.listdir(tmp_path) == ["thesis.txt"]


def test_interrupted_by_the_user(study):
    study.write_text(STUDY.replace("block: 64", "block: 8"))
    command = [sys.executable, "-m", "mgsflow.cli", "run", str(study)]
    pipe = subprocess.PIPE
    # a background shell leaves Ctrl-C ignored to what it starts
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    process = subprocess.Popen(command, stderr=pipe, stdout=pipe, text=True, preexec_fn=heed)
    store = study.parent / "study.zarr"
    deadline = time.monotonic() + 60
    while not (store / "cathode" / "blocks" / "done_ingest").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Run the same command again" in said
    assert Study.open(store).attributes["status"] == "incomplete"


def test_options_are_values():
    assert parse_options(["shape=1,2,3", "dtype=>u2", "order=F"]) == {"shape": [1, 2, 3], "dtype": ">u2", "order": "F"}
    with pytest.raises(InputError, match="name=value"):
        parse_options(["shape"])


@pytest.mark.slow
def test_demo(tmp_path, type_in):
    code, _, _ = type_in("demo", tmp_path / "demo", "--size", 96)
    assert code == 0
    assert (tmp_path / "demo" / "report.html").is_file()
    tree = mgsflow.open(tmp_path / "demo" / "study.zarr")
    sulfur = tree["cathode/metrics"].ds.volume_fraction.sel(phase="sulfur")
    assert list(sulfur.cycle.values) == [0, 1, 3, 10]
    assert (np.diff(sulfur) < 0).all()  # it dissolves
    for scan in sulfur.scan.values:
        phase = tree["cathode/scale0"].ds.phase.sel(scan=scan).values
        cycle = int(tree["cathode/metrics"].ds.cycle.sel(scan=scan))
        truth = tifffile.TiffSequence(str(tmp_path / "demo" / "truth" / f"cathode_c{cycle:02d}" / "*.tif")).asarray()
        assert (phase == truth).mean() > 0.95
