"""One scan at fault: the others are carried out whole, and it is done when it has been mended."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

import mgsflow
from mgsflow.errors import InputError
from mgsflow.pipeline import run
from mgsflow.store import Study

FIXED = "    segment: {thresholds: [20000, 33000]}\n"
FITTED = "    segment: {multi_otsu: true}\n"


def make(folder: Path, segment: str, more: str = "") -> Path:
    """Two scans of compressed slices, and their study."""
    for seed, name in enumerate("ab"):
        rng = np.random.default_rng(seed)
        (folder / name).mkdir(parents=True)
        for z in range(12):
            plane = rng.choice([15000, 28000, 37000], (32, 32)) + rng.integers(-500, 500, (32, 32))
            tifffile.imwrite(folder / name / f"s{z:02d}.tif", plane.astype(np.uint16), compression="zlib")
    study = folder / "study.yaml"
    study.write_text(
        "study: s\nblock: 32\nspecimens:\n  c:\n    voxel_size: 1\n    phases: [pore, CBD, sulfur]\n    scans:\n"
        f"      - {{name: a, path: a, cycle: 0}}\n      - {{name: b, path: b, cycle: 1}}\n{segment}{more}"
    )
    return study


def spoil(folder: Path) -> bytes:
    """Damage the voxels of a slice, which opening does not notice, and return the file as it was."""
    file = folder / "b" / "s07.tif"
    whole = file.read_bytes()
    with tifffile.TiffFile(file) as tiff:
        at, size = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    file.write_bytes(whole[: at + size // 3] + b"\xff" * 40 + whole[at + size // 3 + 40 :])
    return whole


@pytest.mark.parametrize("segment", [FIXED, FITTED])
def test_the_others_are_complete(segment: str, tmp_path: Path) -> None:
    study = make(tmp_path, segment)
    whole = spoil(tmp_path)
    summary = run(study, threads=2)
    assert list(summary.failed) == ["c/b"]
    assert "s07.tif" in summary.failed["c/b"]
    stored = Study.open(summary.store)
    assert stored.attributes["status"] == "incomplete"
    metrics = mgsflow.open(summary.store)["c/metrics"].ds
    assert list(metrics.scan.values) == ["a"]

    alone = tmp_path / "alone"
    shutil.copytree(tmp_path / "a", alone / "a")
    (alone / "study.yaml").write_text(
        "\n".join(line for line in study.read_text().splitlines() if "name: b" not in line)
    )
    single = run(alone / "study.yaml", threads=1)
    expected = mgsflow.open(single.store)["c"]
    np.testing.assert_array_equal(mgsflow.open(summary.store)["c/scale0"].ds.phase[0], expected["scale0"].ds.phase[0])
    assert metrics.volume_fraction.equals(expected["metrics"].ds.volume_fraction)

    (tmp_path / "b" / "s07.tif").write_bytes(whole)
    mended = run(study, threads=2)
    assert mended.failed == {}
    assert mended.blocks > 0
    assert Study.open(summary.store).attributes["status"] == "complete"
    assert Study.open(summary.store)["c"].attributes["failed"] == {}
    assert list(mgsflow.open(summary.store)["c/metrics"].ds.scan.values) == ["a", "b"]


@pytest.mark.slow
def test_on_workers(tmp_path: Path, one_worker) -> None:
    study = make(tmp_path, FIXED)
    spoil(tmp_path)
    summary = run(study, client=one_worker)
    assert list(summary.failed) == ["c/b"]
    page = mgsflow.write_report(summary.store).read_text()
    assert "Mend what failed, or leave it out" in page
    assert "The last run did not end" not in page
    assert "s07.tif" in page


def test_nothing_goes_on_without_the_reference_or_any_scan(tmp_path: Path) -> None:
    study = make(tmp_path, FIXED, "    normalise: {reference: b}\n")
    spoil(tmp_path)
    with pytest.raises(InputError, match=r"s07\.tif"):
        run(study, threads=1)
    study.write_text("\n".join(line for line in study.read_text().splitlines() if "name: a" not in line))
    with pytest.raises(InputError, match=r"s07\.tif"):
        run(study, threads=1)
