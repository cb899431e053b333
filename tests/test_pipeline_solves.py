"""Transport in a study: the numbers of the functions at hand, for any blocks, and no solve twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import write_study

import mgsflow
from mgsflow.pipeline import Capacity, plan, run
from mgsflow.recipe import load
from mgsflow.transport.permeability import permeability
from mgsflow.transport.tortuosity import tortuosity_factor

STEPS = """\
    segment: {thresholds: [23100, 32500]}
    tortuosity: {phases: [pore, CBD], axes: [z, x]}
    permeability: {phase: pore, axes: [y], pressure: [130e3, 100e3], viscosity: 2e-3}
"""


@pytest.fixture(scope="module")
def study(small_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that carries the study out with blocks of one shape, once."""
    folder = tmp_path_factory.mktemp("solves")

    def store(block: Any) -> Path:
        path = write_study(folder, small_scans, STEPS, block, name=f"study{block}".replace(" ", ""))
        if not path.with_suffix(".zarr").exists():
            run(path, threads=2)
        return path.with_suffix(".zarr")

    return store


def test_numbers_are_those_of_the_phases_at_hand(study):
    tree = mgsflow.open(study(64))
    metrics = tree["cathode/metrics"].ds
    for scan in ("c0", "c1"):
        whole = tree["cathode/scale0"].ds.sel(scan=scan)
        z, y, x = (int(n) for n in whole.extent)
        phase = np.asarray(whole.phase[:z, :y, :x])
        here = metrics.sel(scan=scan)
        for name, label in (("pore", 0), ("CBD", 1)):
            for axis in "zx":
                found, at = tortuosity_factor(phase, {label: 1.0}, axis, 0.126), here.sel(phase=name, axis=axis)
                assert at.tortuosity_status == found.status
                assert float(at.tortuosity_factor) == pytest.approx(found.tortuosity_factor, rel=1e-6)
                assert float(at.percolating_fraction) == pytest.approx(found.percolating_fraction)
        k = permeability(phase, 0, "y", 0.126)
        at = here.sel(axis="y")
        assert at.permeability_status == k.status
        assert float(at.permeability) == pytest.approx(k.permeability_um2, rel=1e-6)
        # Q = K A Δp / (μ L)
        flow = k.permeability_um2 * 1e-12 * (z * x / y) * 0.126e-6 * 30e3 / 2e-3
        assert float(at.flow_rate) == pytest.approx(flow, rel=1e-6)


def test_what_was_not_asked_for_is_missing(study):
    metrics = mgsflow.open(study(64))["cathode/metrics"].ds
    assert np.isnan(metrics.tortuosity_factor.sel(phase="sulfur")).all()
    assert np.isnan(metrics.tortuosity_factor.sel(axis="y")).all()
    assert (metrics.tortuosity_status.sel(axis="y") == "").all()
    assert np.isnan(metrics.permeability.sel(axis=["z", "x"])).all()
    assert metrics.permeability.attrs["units"] == "µm²"


def test_blocks_do_not_matter(study):
    one, other = (mgsflow.open(study(b))["cathode/metrics"].ds for b in (64, [24, 60, 40]))
    for name in ("tortuosity_factor", "permeability", "percolating_fraction", "flow_rate"):
        np.testing.assert_array_equal(one[name], other[name])


def test_nothing_is_solved_twice_and_what_is_new_is(study):
    store = study(64)
    path = store.with_suffix(".yaml")
    assert run(path, threads=2).blocks == 0
    text = path.read_text()
    path.write_text(text.replace("axes: [y]", "axes: [y, z]"))
    try:
        assert run(path, threads=2).blocks == 2  # one a scan
        assert np.isfinite(mgsflow.open(store)["cathode/metrics"].ds.permeability.sel(axis="z")).all()
    finally:
        path.write_text(text)
        run(path, threads=2)


def test_a_plan_has_every_solve_and_its_memory(study):
    recipe = load(study(64).with_suffix(".yaml"))
    lines = {(line.step, line.scan): line for line in plan(recipe, Capacity(1, 1, 4 * 2**30)).lines}
    shape = lines["tortuosity_0_z", "cathode/c0"].shape
    assert lines["tortuosity_1_x", "cathode/c1"].blocks == 1
    assert lines["permeability_0_y", "cathode/c0"].peak > 100 * np.prod(shape)
    problems = plan(recipe, Capacity(1, 1, 300 * 2**20)).problems
    assert any("permeability_0_y" in p for p in problems)
