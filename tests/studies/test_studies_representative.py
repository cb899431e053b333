"""What is representative: against the definition by hand, by simulation, and with windows that know nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mgsflow.studies import rve
from mgsflow.studies.representative import spread_of


def test_one_window_a_size_must_keep_the_tolerance_from_there_on():
    values = np.array([0.31, 0.35, 0.305, 0.302])[:, None]
    sizes, there = (10, 20, 30, 40), (1, 1, 1, 1)
    found = spread_of(values, np.array(0.30), sizes, there, 0.05, None)
    assert found.representative == 30  # 10 keeps it, but 20 does not
    assert np.isnan(found.spread).all()
    np.testing.assert_allclose(found.deviation, [0.01 / 0.3, 0.05 / 0.3, 0.005 / 0.3, 0.002 / 0.3])
    assert np.isnan(spread_of(values, np.array(0.30), sizes, there, 0.001, None).representative)
    # a size that does not fit the scan says nothing
    values[3] = np.nan
    assert spread_of(values, np.array(0.30), sizes, (1, 1, 1, 0), 0.05, None).representative == 30


def test_several_windows_give_the_interval_of_another():
    draw = np.random.default_rng(1)
    values = draw.normal(0.3, 0.004, (3, 12))
    found = spread_of(values, np.array(0.3), (10, 20, 30), (12,) * 3, 0.05, 0.95)
    m, s = values.mean(axis=1), values.std(axis=1, ddof=1)
    np.testing.assert_allclose(found.mean, m)
    np.testing.assert_allclose(found.spread, s)
    # scipy's own interval of one more draw
    low, high = stats.t.interval(0.95, 11, loc=m, scale=s * np.sqrt(1 + 1 / 12))
    np.testing.assert_allclose(found.reach, (np.abs(m - 0.3) + (high - low) / 2) / 0.3)


@pytest.mark.parametrize("confidence", [0.68, 0.95])
def test_another_window_lies_within_reach_as_often_as_is_said(confidence):
    draw = np.random.default_rng(2)
    n, trials = 6, 4000
    values = draw.normal(1.0, 0.1, (1, n, trials))
    found = spread_of(values, np.ones(trials), (10,), (n,), 0.05, confidence)
    other = draw.normal(1.0, 0.1, trials)
    share = np.mean(np.abs(other - found.mean[0]) <= found.reach[0] - np.abs(found.deviation[0]))
    assert share == pytest.approx(confidence, abs=0.02)
    # a negative control: twice the standard deviation alone is too little
    assert np.mean(np.abs(other - found.mean[0]) <= 2 * found.spread[0]) < 0.93


def test_a_property_that_windows_lack_is_not_represented():
    values = np.full((2, 8), 4.0)
    values[1, 3] = np.nan  # one in eight does not percolate
    found = spread_of(values, np.array(4.0), (10, 20), (8, 8), 0.05, 0.95)
    assert found.count.tolist() == [8, 7]
    assert np.isnan(found.representative)
    assert spread_of(values, np.array(4.0), (10, 20), (8, 8), 0.05, 0.8).representative == 10
    assert np.isnan(spread_of(values, np.array(np.nan), (10, 20), (8, 8), 0.05, 0.8).representative)


def test_spread_of_independent_voxels_falls_as_theory_says():
    share, edge = 0.3, 0.1
    image = (np.random.default_rng(3).random((60, 60, 60)) < share).astype(np.uint8)
    found = rve(image, [5, 10, 20], "tiled", 27, edge, measures=("volume",), tolerance=0.1)
    # binomial: s² = ε (1 − ε) / V
    expected = np.sqrt(share * (1 - share) / found["size"].values ** 3)
    np.testing.assert_allclose(found.volume_fraction_spread.sel(phase="phase 1"), expected, rtol=0.35)
    # 2.06 sqrt(0.7 / (0.3 V)) < 0.1 from 10 voxels on
    assert float(found.volume_fraction_representative_size.sel(phase="phase 1")) == 10
    # z² (1 − ε) / (r² ε) voxels, whatever sizes it is told from
    stricter = rve(image, [5, 8, 12], "random", 200, edge, measures=("volume",), tolerance=0.02)
    predicted = float(stricter.volume_fraction_predicted_size.sel(phase="phase 1"))
    assert predicted == pytest.approx((1.96**2 * (1 - share) / (0.02**2 * share)) ** (1 / 3), rel=0.1)
    assert np.isnan(stricter.volume_fraction_representative_size.sel(phase="phase 1"))
    assert found.volume_fraction_representative_size.attrs["units"] == "voxel"
    assert found.attrs["confidence"] == 0.95


def test_windows_that_do_not_percolate_show_as_such():
    image = np.zeros((24, 24, 24), np.uint8)
    image[:, 4:9, 4:9] = 1  # a straight channel off the centre
    image[12, 4:9, 4:9] = 0  # cut
    image[:, 16:20, 16:20] = 1  # and another that is whole
    found = rve(image, [12], "tiled", 8, 1.0, measures=("volume",), tortuosity=[1], axes="z")
    status = found.tortuosity_status[0, :8].sel(phase="phase 1", axis="z")
    origin = found.origin[0]
    for w in range(8):
        start = origin[w].values
        crop = image[tuple(slice(a, a + 12) for a in start)]
        through = (crop == 1).all(axis=0).any()
        assert (status[w] == "converged") == through
        assert np.isfinite(found.tortuosity_factor[0, w].sel(phase="phase 1", axis="z")) == through
    here = found.isel(size=0).sel(phase="phase 1", axis="z")
    # the mean is over those that percolate, straight channels, to what the solver is asked for
    assert float(here.tortuosity_factor_mean) == pytest.approx(1.0, rel=1e-3)
    assert int(here.tortuosity_factor_count) == int((status == "converged").sum()) < 8
    assert np.isnan(here.tortuosity_factor_representative_size)
