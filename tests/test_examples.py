"""The examples run as they stand, on phantoms that are small enough."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import mgsflow
from mgsflow.blocks import Box
from mgsflow.measures import MEASURES
from mgsflow.phantoms import cathode, write_tiff_stack
from mgsflow.recipe import load

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def coverage():
    """The measure of the example, which leaves the registry again."""
    before = dict(MEASURES)
    yield runpy.run_path(str(EXAMPLES / "new_measure.py"))["Coverage"]
    MEASURES.clear()
    MEASURES.update(before)


def test_new_measure_counts_the_first_plane(coverage):
    labels = np.random.default_rng(0).integers(0, 3, (20, 33, 17), dtype=np.uint8)
    found = mgsflow.measure(labels, [coverage(3)], 1.0, block=16)
    np.testing.assert_allclose(found.coverage, np.bincount(labels[0].ravel(), minlength=3) / labels[0].size)


def test_new_measure_in_a_study(coverage, tmp_path):
    phantom = cathode((48, 48, 48), cycle=0)
    write_tiff_stack(phantom.image, tmp_path / "scan", voxel_size=phantom.voxel_size)
    (tmp_path / "study.yaml").write_text(
        "study: s\nblock: 32\nspecimens:\n  c:\n    phases: [pore, CBD, sulfur]\n"
        "    scans: [{name: a, path: scan, cycle: 0}]\n    segment: {thresholds: [23100, 32500]}\n"
        "    measures: [coverage]\n"
    )
    summary = mgsflow.run(tmp_path / "study.yaml", threads=2)
    stored = mgsflow.open(summary.store)["c"]
    first = np.digitize(phantom.image.read(Box((0, 0, 0), (1, 48, 48))), [23100, 32500])
    expected = np.bincount(first.ravel(), minlength=3) / first.size
    np.testing.assert_allclose(stored["metrics"].ds.coverage[0], expected, atol=2e-3)


@pytest.mark.parametrize("study", sorted(EXAMPLES.glob("*/study.yaml")), ids=lambda p: p.parent.name)
def test_study_files_are_sound(study):
    recipe = load(study)
    assert all(specimen.segment is not None for specimen in recipe.specimens.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mgs_cathode", "mgs_separator"])
def test_analysis_from_scans_to_tables(name, tmp_path):
    shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns("scans", "*.zarr", "*.html"))
    study = tmp_path / name / "study.yaml"
    plain = yaml.safe_load(study.read_text())
    plain["block"] = 64
    for specimen in plain["specimens"].values():
        if "rve" in specimen:
            specimen["rve"]["sizes"] = [32, 48, 64]
    study.write_text(yaml.safe_dump(plain))
    done = subprocess.run(
        [sys.executable, "analyse.py", "--phantoms", "80"], cwd=study.parent, capture_output=True, text=True,
        env=os.environ | {"COLUMNS": "200"}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "volume fraction" in done.stdout
    stores = list(study.parent.glob("*.zarr"))
    assert len(stores) == 1
    tree: xr.DataTree = mgsflow.open(stores[0])
    for specimen in plain["specimens"]:
        metrics = tree[specimen]["metrics"].ds
        assert set(metrics.scan.values) == {s["name"] for s in plain["specimens"][specimen]["scans"]}
        np.testing.assert_allclose(metrics.volume_fraction.sum("phase"), 1)
    assert list(study.parent.glob("*.html"))
