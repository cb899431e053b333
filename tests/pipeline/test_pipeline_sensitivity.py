"""Sensitivity to thresholds in a study: what segmenting anew would give, for any blocks, and error bars that hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import write_study

import mgsflow
from mgsflow.blocks import Box
from mgsflow.errors import RecipeError
from mgsflow.measures import measure
from mgsflow.phantoms import cathode, write_tiff_stack
from mgsflow.pipeline import run
from mgsflow.pipeline.analyses.sensitivity import sensitivity_groups, sensitivity_steps, uncertainties
from mgsflow.pipeline.run_step import execute
from mgsflow.recipe import load
from mgsflow.segmentation import Histogram, Majority, Threshold
from mgsflow.store import Study
from mgsflow.transport.tortuosity import tortuosity_factor

FIXED = (23100.0, 32500.0)
SWEEP = "phase: pore, values: {from: 21900, to: 23100, step: 600}, solve: tortuosity"
STEPS = f"""\
    filter: [gaussian: {{sigma: 0.6}}, unsharp_mask: {{sigma: 1.5, amount: 0.6}}]
    segment: {{thresholds: [23100, 32500], majority: 1}}
    tortuosity: {{phases: [pore, sulfur], axes: [z]}}
    sensitivity: {{{SWEEP}}}
"""


SHAPES = {"c0": (44, 40, 42), "c1": (32, 30, 34)}


def run_specimen(path: Path, **ways: Any) -> tuple[int, Any, Any]:
    """Carry out the steps of the study, and return how many blocks were done and what was found."""
    recipe = load(path)
    specimen = Study.open(path.with_suffix(".zarr"), mode="r+")["cathode"]
    part = recipe.specimens["cathode"]
    done = 0
    for scan in part.scans:
        key = specimen.ledger("segment", scan.name).key
        for step in sensitivity_steps(specimen, part, scan.name, key, "filtered", FIXED, Histogram("uint16")):
            done += execute(step, threads=2, **ways)
    groups = sensitivity_groups(specimen, part)
    return done, groups["sensitivity"], uncertainties(specimen, part, groups)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a study that has been carried out, in blocks that fit neither scans nor windows."""
    folder = tmp_path_factory.mktemp("sensitivity")
    for cycle, (name, shape) in enumerate(SHAPES.items()):
        write_tiff_stack(cathode(shape, cycle=cycle, seed=1).image, folder / name)
    path = write_study(folder, folder, STEPS, [24, 64, 64])
    run(path, threads=2)
    return path


@pytest.fixture(scope="module")
def once(study: Path) -> Any:
    """Return what the study found."""
    return run_specimen(study)[1:]


def array_of(path: Path, scan: str, name: str) -> np.ndarray:
    whole = mgsflow.open(path.with_suffix(".zarr"))["cathode/scale0"].ds.sel(scan=scan)
    z, y, x = (int(n) for n in whole.extent)
    return np.asarray(whole[name][:z, :y, :x])


def test_each_threshold_is_as_if_segmented_anew(study, once):
    path, (found, _) = study, once
    assert found.threshold.values.tolist() == [21900, 22500, 23100]
    assert found.threshold_in_use.values.tolist() == [23100, 23100]
    grey = array_of(path, "c0", "filtered")
    in_driver = found.sel(scan="c0")
    for i, value in enumerate((21900, 22500, 23100)):
        phases = Majority(1)(Threshold((value, 32500.0))(grey))
        direct = measure(phases, ("volume", "surface", "tpb"), 0.126, phases=["pore", "CBD", "sulfur"])
        for name in ("volume_fraction", "surface_area", "surface_per_phase_volume", "tpb_length"):
            np.testing.assert_array_equal(in_driver[name][i], direct[name].values)
        one = tortuosity_factor(phases, {0: 1.0}, "z", 0.126)
        at = in_driver.isel(threshold=i).sel(phase="pore", axis="z")
        assert at.tortuosity_status == one.status
        assert float(at.tortuosity_factor) == pytest.approx(one.tortuosity_factor, rel=1e-6)
    # the one in use is the study's own
    metrics = mgsflow.open(path.with_suffix(".zarr"))["cathode/metrics"].ds
    np.testing.assert_array_equal(found.volume_fraction.sel(threshold=23100), metrics.volume_fraction)


def test_what_does_not_percolate_has_a_status_and_the_study_goes_on(once):
    found, bars = once
    sulfur = found.sel(phase="sulfur", axis="z")
    assert (sulfur.tortuosity_status == "not percolating").any()
    assert np.isnan(sulfur.tortuosity_factor.where(sulfur.tortuosity_status == "not percolating")).all()
    assert np.isfinite(found.tortuosity_factor.sel(phase="pore", axis="z")).all()
    assert not np.isfinite(bars.tortuosity_factor_uncertainty.sel(phase="sulfur", axis="z")).any()


def test_error_bars_hold_the_true_fractions(once):
    found, bars = once
    for cycle, (scan, shape) in enumerate(SHAPES.items()):
        truth = cathode(shape, cycle=cycle, seed=1).truth.read(Box.of(shape))
        true = np.bincount(truth.ravel(), minlength=3) / truth.size
        at = found.sel(scan=scan, threshold=23100)
        off = np.abs(at.volume_fraction.values - true)
        bar = bars.volume_fraction_uncertainty.sel(scan=scan).values
        assert (off <= bar).all(), (off, bar)
        assert (bar[0] < 0.05).all()  # and they say something
        # a negative control: a tenth of them would not
        assert (off > 0.1 * bar).any()


def test_nothing_is_done_twice_and_what_is_new_is(study, once):
    path = study
    assert run_specimen(path)[0] == 0
    text = path.read_text()
    path.write_text(text.replace("step: 600", "step: 400"))
    try:
        done, found, _ = run_specimen(path)
        assert done > 0
        assert found.threshold.values.tolist() == [21900, 22300, 22700, 23100]
    finally:
        path.write_text(text)


def test_thresholds_by_default_go_out_to_the_uncertainty(study):
    path = study
    text = path.read_text()
    path.write_text(text.replace(SWEEP, "phase: CBD"))
    try:
        _, found, _ = run_specimen(path)
    finally:
        path.write_text(text)
    for scan in ("c0", "c1"):
        in_driver = found.sel(scan=scan)
        u = float(in_driver.threshold_uncertainty)
        np.testing.assert_allclose(in_driver.threshold_value.values, 32500 + u * np.array([-1, -0.5, 0, 0.5, 1]))
    assert "tortuosity_factor" not in found


def test_a_threshold_beyond_its_neighbours_is_refused(study):
    path = study
    text = path.read_text()
    path.write_text(text.replace("to: 23100, step: 600", "to: 33900, step: 6000"))
    try:
        with pytest.raises(RecipeError, match=r"sensitivity\.values\[2\]: must lie below 32500.* got 33900"):
            run_specimen(path)
    finally:
        path.write_text(text)
