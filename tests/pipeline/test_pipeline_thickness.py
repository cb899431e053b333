"""Local thickness in a study: that of the phase at hand, for any blocks."""

from __future__ import annotations

import numpy as np
import pytest
from stores import write_study

import mgsflow
from mgsflow.errors import MgsflowError
from mgsflow.measures import thickness_distribution
from mgsflow.pipeline import run

STEPS = """\
    segment: {thresholds: [23100, 32500]}
    measures: []
    thickness: {phases: [pore, sulfur], reach: 40}
"""


@pytest.mark.parametrize("block", [pytest.param(256, marks=pytest.mark.slow), [24, 60, 40]], ids=str)
def test_numbers_are_those_of_the_phase_at_hand(small_scans, tmp_path, block):
    path = write_study(tmp_path, small_scans, STEPS, block)
    run(path, threads=2)
    tree = mgsflow.open(path.with_suffix(".zarr"))
    for scan in ("c0", "c1"):
        whole = tree["cathode/scale0"].ds.sel(scan=scan)
        z, y, x = (int(n) for n in whole.extent)
        phase = np.asarray(whole.phase[:z, :y, :x])
        in_driver = tree["cathode/metrics"].ds.sel(scan=scan)
        for label, name in ((0, "pore"), (2, "sulfur")):
            found = thickness_distribution(phase == label, 0.126)
            assert float(in_driver.thickness_mean.sel(phase=name)) == pytest.approx(found.mean, rel=1e-12)
            assert float(in_driver.thickness_d90.sel(phase=name)) == found.quantile(0.9)
            assert float(in_driver.thickness_max.sel(phase=name)) == found.largest
        assert np.isnan(in_driver.thickness_mean.sel(phase="CBD"))
    assert run(path, threads=2).blocks == 0


def test_balls_beyond_the_reach_are_an_error_and_no_number(small_scans, tmp_path):
    path = write_study(tmp_path, small_scans, STEPS.replace("reach: 40", "reach: 1"), 32)
    with pytest.raises(MgsflowError, match="reach farther"):
        run(path, threads=2)
