"""Two-point correlation, lineal path and chords against shifted slices of the whole array and run lengths by hand."""

from itertools import groupby

import numpy as np
import pytest

from mgsflow.errors import InputError
from mgsflow.measures import Measure, measure
from mgsflow.measures.correlation.functions import Correlation
from mgsflow.measures.surface.area import Surface

CUBIC = (1.0, 1.0, 1.0)
RNG = np.random.default_rng(12)
IMAGE = np.kron(RNG.integers(0, 3, (7, 6, 38)), np.ones((2, 3, 2), int)).astype(np.uint8)
LAGS = 6


@pytest.fixture(scope="module")
def whole():
    return measure(IMAGE, [Correlation(3, LAGS)], CUBIC, "abc")


def test_functions_are_those_of_shifted_slices(whole):
    assert isinstance(Correlation(3), Measure)
    for axis in range(3):
        b = np.moveaxis(IMAGE, axis, 0)
        for r in range(LAGS + 1):
            n = len(b) - r
            for p in range(3):
                pair = (b[:n] == p) & (b[r:] == p)
                path = np.all([b[k : n + k] == p for k in range(r + 1)], axis=0)
                assert whole.two_point.values[axis, p, r] == pytest.approx(pair.mean(), rel=1e-12)
                assert whole.lineal_path.values[axis, p, r] == pytest.approx(path.mean(), rel=1e-12)


def test_chords_are_runs_that_the_border_does_not_cut(whole):
    for axis in range(3):
        lines = np.moveaxis(IMAGE, axis, -1).reshape(-1, IMAGE.shape[axis])
        counts = np.zeros((3, LAGS), int)
        for line in lines:
            runs = [(int(p), len(list(g))) for p, g in groupby(line)]
            for p, k in runs[1:-1]:
                if k <= LAGS:
                    counts[p, k - 1] += 1
        assert np.array_equal(whole.chord_count.isel(axis=axis), counts)


@pytest.mark.parametrize("block", [5, (1, 50, 80), (50, 13, 1), 65])
def test_nothing_depends_on_blocks(whole, block):
    assert measure(IMAGE, [Correlation(3, LAGS)], CUBIC, "abc", block=block).identical(whole)


def test_lags_over_words_and_beyond_the_volume():
    image = RNG.integers(0, 2, (2, 3, 200)).astype(np.uint8)
    d = measure(image, [Correlation(2, 130)], CUBIC, "ab", block=(1, 2, 77))
    for r in (0, 1, 63, 64, 65, 127, 128, 130):
        expected = ((image[..., : 200 - r] == 1) & (image[..., r:] == 1)).mean()
        assert float(d.two_point.sel(axis="x", phase="b", lag=r)) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(d.two_point.sel(axis="z", lag=2)).all()


def test_slope_is_croftons_area_on_three_directions():
    waves = RNG.normal(size=(12, 3)) * 0.4
    field = sum(np.sin(np.tensordot(k, np.indices((60,) * 3), 1)) for k in waves)
    image = (field > 0.5).astype(np.uint8)
    h = (1.0, 1.2, 0.8)
    d = measure(image, [Correlation(2, 2), Surface(2, border="corrected")], h, "ab")
    expected = d.surface_per_total_volume.sel(estimator="crofton3").values
    np.testing.assert_allclose(d.surface_per_total_volume_slope, expected, rtol=0.03)


def test_a_phase_that_fills_the_volume():
    d = measure(np.ones((3, 4, 5), np.uint8), [Correlation(2, 3)], (1, 1, 2), "ab")
    assert (d.two_point.sel(phase="b").values[1:] == 1).all()
    assert not d.two_point.sel(phase="a").values[1:].any()
    assert not d.chord_count.any()
    assert d.lag_length.sel(axis="x").values.tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("lags", [0, 257, 1.5, True])
def test_lags_are_refused(lags):
    with pytest.raises(InputError, match="lags"):
        Correlation(2, lags)
