"""What numbers owe to a threshold: exact slopes, widths of known valleys, and error bars that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from traced import traced_peak

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.filters import FILTERS
from mgsflow.labelling.arrays import ArraySource
from mgsflow.measures import make_measures, measure
from mgsflow.phantoms import cathode, separator
from mgsflow.segmentation import GreyHistogram, Majority, Threshold
from mgsflow.studies import sensitivity
from mgsflow.studies.sensitivity import Variants, error_at, slope_at
from mgsflow.studies.threshold_uncertainty import (
    BORROWED,
    FOUND,
    NO_VALLEY,
    threshold_uncertainties,
    threshold_uncertainty,
)
from mgsflow.studies.thresholding import CountThresholds, Labelling, Thresholded, whole_reduction


def peaks(centres: list[float], sigma: float, shares: list[float], voxels: int = 10**7) -> GreyHistogram:
    grey = np.arange(65536)
    density = sum(s * stats.norm.pdf(grey, c, sigma) for c, s in zip(centres, shares))
    return GreyHistogram(np.random.default_rng(0).poisson(voxels * density), 0.0, 1.0)


def test_the_valley_between_two_gaussian_peaks_is_that_of_theory():
    sigma, apart = 1500.0, 10000.0
    found = threshold_uncertainty(peaks([20000, 30000], sigma, [0.5, 0.5]), [25300.0], 0)
    assert found.status == FOUND
    assert found.low == pytest.approx(20000, abs=150)
    assert found.high == pytest.approx(30000, abs=150)
    assert found.valley == pytest.approx(25000, abs=30)
    # w = 2σ²/d, of a parabola that is fitted over ± d/8: log cosh is a little flatter there
    assert found.width == pytest.approx(1.5 * 2 * sigma**2 / apart, rel=0.1)
    assert found.standard == pytest.approx(np.hypot(found.width, 300), rel=0.02)
    # the threshold of least error lies off the valley's middle by σ²/d ln(p/q), here within its uncertainty
    uneven = threshold_uncertainty(peaks([20000, 30000], sigma, [0.8, 0.2]), [25000.0], 0)
    least = 25000 + sigma**2 / apart * np.log(4)
    assert abs(least - uneven.valley) < uneven.width


def test_a_flat_valley_is_as_wide_as_the_way_between_its_peaks():
    found = threshold_uncertainty(peaks([20000, 40000], 400, [0.5, 0.5]), [30000.0], 0)
    assert found.width == pytest.approx(20000 / np.sqrt(12), rel=0.02)


def test_where_there_is_one_peak_there_is_no_valley():
    one = peaks([20000], 1500, [1.0])
    found = threshold_uncertainty(one, [30000.0], 0)
    assert found.status == NO_VALLEY
    assert np.isnan(found.standard)
    both = peaks([20000, 30000], 1500, [0.6, 0.4])
    values, statuses = threshold_uncertainties(both, [25000.0, 40000.0])
    assert statuses == (FOUND, BORROWED)
    assert values[0] == values[1]
    assert threshold_uncertainties(one, [30000.0])[1] == (NO_VALLEY,)


def test_how_many_voxels_there_are_hardly_matters():
    few, many = (
        threshold_uncertainty(peaks([20000, 30000], 1500, [0.6, 0.4], n), [25000.0], 0) for n in (10**5, 10**8)
    )
    assert few.width == pytest.approx(many.width, rel=0.3)
    assert abs(few.valley - many.valley) < 0.3 * many.width


def test_slopes_of_a_straight_line_are_exact_and_gaps_are_left_out():
    t = np.array([10.0, 20, 30, 40, 60])
    values = np.stack([2 * t + 1, 5 - t, np.full(5, 3.0)], axis=1)
    np.testing.assert_allclose(slope_at(t, values, 2, 100), [2, -1, 0], atol=1e-12)
    values[4, 0] = np.nan
    values[:, 1] = np.nan
    np.testing.assert_allclose(slope_at(t, values, 2, 100), [2, np.nan, 0], atol=1e-12)
    slope = slope_at(t, values, 2, 10)
    np.testing.assert_allclose(error_at(t, values, 2, slope, 10), [20, np.nan, 0], atol=1e-12)
    # a number that is none within reach leaves the error without bound
    assert error_at(t, values, 2, slope, 40)[0] == np.inf
    # far from straight: half the range, not the slope, which is 0
    bent = ((t - 30) ** 2)[:, None]
    assert error_at(t, bent, 2, slope_at(t, bent, 2, 10), 10)[0] == pytest.approx(100)
    # not known how far: only what does not move at all is certain
    still = error_at(t, np.stack([t, np.ones(5)], axis=1), 2, np.zeros(2), np.nan)
    np.testing.assert_array_equal(still, [np.nan, 0])


def test_variants_hold_the_threshold_in_use_and_move_the_others():
    made = Variants.of((100, 200), 0, (80, 90), (10, 30), majority=1)
    assert made.values == (80, 90, 100)
    assert [v.thresholds for v in made.all if v.majority] == [(80, 200), (90, 200), (100, 200), (100, 170), (100, 230)]
    assert made.all[-1] == Labelling((100, 200))
    assert made.touched(made.at(1, 170)) == {1, 2}
    assert made.touched(made.at(0, 80)) == {0, 1, 2}
    assert Variants.of((100, 200), 0, (), (10, 30)).values == (90, 95, 100, 105, 110)
    # uncertainties wider than the gap do not make a threshold pass its neighbour
    assert Variants.of((100, 200), 1, (), (10, 300)).values[0] == 110
    with pytest.raises(InputError, match="between"):
        Variants.of((100, 200), 0, (200,), (10, 30))


def small_scan(make: object = cathode, cycle: int = 1, edge: int = 48) -> tuple[np.ndarray, np.ndarray, object]:
    phantom = make((edge,) * 3, cycle=cycle, seed=1)  # type: ignore[operator]
    box = Box.of(phantom.shape)
    grey = phantom.image.read(box)
    for kernel in (FILTERS["gaussian"](sigma=0.6), FILTERS["unsharp_mask"](sigma=1.5, amount=0.6)):
        grey = kernel(grey)
    return grey, phantom.truth.read(box), phantom


def test_each_threshold_is_as_if_segmented_anew_for_any_blocks():
    grey, _, phantom = small_scan(edge=32)
    names, asked = list(phantom.phase_names), ("volume", "surface", "tpb")
    values = (22000, 22800)
    found = sensitivity(grey, phantom.thresholds, "pore", values, 0.126, names, 1, asked, block=32)
    other = sensitivity(grey, phantom.thresholds, "pore", values, 0.126, names, 1, asked, block=(11, 32, 17))
    for i, t in enumerate((22000, 22800, 23100)):
        phases = Majority(1)(Threshold((t, phantom.thresholds[1]))(grey))
        direct = measure(phases, asked, 0.126, phases=names)
        for name in ("voxel_count", "surface_area", "tpb_length", "tpb_edge_density"):
            np.testing.assert_array_equal(found[name][i], direct[name])
        assert found.identical(other)
        read = Thresholded(ArraySource(grey), Labelling((t, phantom.thresholds[1]), 1))
        box = Box((3, 5, 0), (32, 20, 31))
        np.testing.assert_array_equal(read.read(box), phases[box.slices])


@pytest.mark.parametrize(("make", "cycle"), [(cathode, 0), (cathode, 3), (separator, 1)])
def test_error_bars_hold_the_true_phases(make, cycle):
    grey, truth, phantom = small_scan(make, cycle, 64)
    found = sensitivity(grey, phantom.thresholds, 0, (), 1.0, majority=1, measures=("volume", "surface"), block=32)
    at = found.isel(threshold=2)
    true = np.bincount(truth.ravel(), minlength=3) / truth.size
    bar = found.volume_fraction_uncertainty.values
    assert (np.abs(at.volume_fraction - true) <= bar).all()
    assert (bar < 0.06).all()
    # a negative control: the slope's own error, without the width of the valley, holds not all of them
    assert (np.abs(at.volume_fraction - true) > 0.1 * bar).any()
    # the surface owes more to the filter than to the threshold: twice the error holds it
    area = measure(truth, ("surface",), 1.0).surface_area
    off = np.abs(at.surface_area - area).sel(estimator="crofton13")
    assert (off <= 2 * found.surface_area_uncertainty.sel(estimator="crofton13")).all()


@pytest.mark.slow
@pytest.mark.parametrize(("make", "cycle"), [*((cathode, c) for c in (0, 1, 3, 10)), (separator, 0), (separator, 1)])
def test_error_bars_hold_in_every_state(make, cycle):
    grey, truth, phantom = small_scan(make, cycle, 128)
    found = sensitivity(grey, phantom.thresholds, 0, (), 1.0, majority=1, block=64)
    true, at = measure(truth, ("volume", "surface", "tpb"), 1.0), found.isel(threshold=2)
    for name, most in (("volume_fraction", 1), ("surface_area", 2), ("tpb_length", 2)):
        off, bar = np.abs(at[name] - true[name]), found[f"{name}_uncertainty"]
        if "estimator" in off.dims:
            off, bar = off.sel(estimator="crofton13"), bar.sel(estimator="crofton13")
        assert (off <= most * bar).all(), name


def test_memory_of_counting_is_bound_by_what_is_said():
    grey, _, phantom = small_scan(edge=64)
    measures = make_measures(("volume", "surface", "tpb", "curvature"), 3, (1, 1, 1))

    class Copied(ArraySource):
        """Voxels that are read are new, as from a store."""

        def read(self, box: Box) -> np.ndarray:
            return np.array(super().read(box))

    class Nothing:
        def write(self, index: tuple[int, int, int], name: str, array: np.ndarray) -> None:
            pass

    variants = Variants.of(phantom.thresholds, 0, (22000,), (500, 500), 1).all
    reductions = tuple(dict.fromkeys(whole_reduction(m) for m in measures))
    work = CountThresholds(Copied(grey), Grid.regular(grey.shape, 64), variants, reductions, Nothing())
    peak = traced_peak(lambda: work.run((0, 0, 0)), times=2)
    assert 0.1 * work.memory() < peak <= work.memory()
    read = Thresholded(Copied(grey), variants[0])
    peak = traced_peak(lambda: read.read(Box.of(grey.shape)), times=2)
    assert peak <= read.scratch(grey.shape) + grey.size
