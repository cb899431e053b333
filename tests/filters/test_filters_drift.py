"""Slice means and their correction, against NumPy on the whole array."""

from __future__ import annotations

import numpy as np
import pytest

from mgsflow.blocks import Block, Box, Grid
from mgsflow.errors import InputError
from mgsflow.filters import SliceDrift, SliceMean, fit_drift, slice_totals
from mgsflow.kernel import Reduction, run_chain

SHAPE = (30, 24, 26)


def flickering(seed=0):
    rng = np.random.default_rng(seed)
    trend = 20000 + 40 * np.arange(SHAPE[0])
    flicker = 1 + 0.05 * rng.normal(size=SHAPE[0])
    clean = trend[:, None, None] + rng.normal(0, 300, SHAPE)
    return np.rint(clean * flicker[:, None, None]).astype(np.uint16), flicker


def totals(array, cut, mean=None):
    mean = SliceMean() if mean is None else mean
    grid = Grid.regular(array.shape, cut)
    shape, dtype = mean.record(grid.largest)
    records = []
    for block in grid.blocks(mean.halo):
        record = np.full(shape, -7, dtype)  # rows beyond the block are not read
        found = mean(array[block.outer.slices], block)
        record[: len(found)] = found
        records.append((block, record))
    return slice_totals(records, array.shape[0])


@pytest.mark.parametrize("dtype", ["uint16", "uint8", "int16", "uint32"])
def test_sums_are_exact_for_any_blocks(dtype):
    info = np.iinfo(dtype)
    array = np.random.default_rng(1).integers(info.min, info.max, SHAPE, dtype=dtype, endpoint=True)
    exact = array.astype(object).sum((1, 2))
    for cut in (64, 7, (1, 24, 5)):
        sums, counts = totals(array, cut)
        assert (sums == exact).all()
        assert (counts == 24 * 26).all()


def test_float_sums_are_whole_steps_for_any_blocks():
    array = np.random.default_rng(2).normal(1, 1, SHAPE).astype(np.float32)
    first = totals(array, 64, SliceMean(1e-6))
    second = totals(array, (7, 5, 11), SliceMean(1e-6))
    assert (first[0] == second[0]).all()
    np.testing.assert_allclose(first[0] / first[1] * 1e-6, array.mean((1, 2), np.float64), atol=1e-6)
    assert isinstance(SliceMean(), Reduction)


def test_flicker_goes_and_the_trend_stays():
    array, flicker = flickering()
    drift = fit_drift(*totals(array, 9), smooth=None)
    constant = drift(array).mean((1, 2))
    np.testing.assert_allclose(constant, array.mean(), rtol=1e-4)
    smooth = fit_drift(*totals(array, 9), smooth=6)
    means = smooth(array).mean((1, 2))
    before = array.mean((1, 2))
    assert np.abs(np.diff(means, 2)).max() < 0.1 * np.abs(np.diff(before, 2)).max()
    assert np.corrcoef(np.array(smooth.gain), 1 / flicker)[0, 1] > 0.95
    assert means[-5:].mean() - means[:5].mean() > 500


def test_a_known_gain_about_an_anchor_is_found():
    levels = np.full(12, 500.0)
    levels[4] = 100 + 400 / 1.25
    drift = fit_drift(levels * 10, np.full(12, 10), smooth=None, anchor=100)
    assert drift.gain[4] / drift.gain[5] == pytest.approx(1.25, rel=1e-12)
    array = np.full((12, 2, 2), 100, np.uint16)
    assert (drift(array) == 100).all()


def test_origin_decides_which_gains_apply():
    array, _ = flickering()
    drift = SliceDrift(tuple(np.linspace(0.9, 1.1, SHAPE[0])))
    whole = np.rint(array * np.array(drift.gain)[:, None, None])
    assert (drift(array) == whole).all()
    block = Block((1, 0, 0), Box((7, 0, 0), (19, 24, 26)), Box((7, 0, 0), (19, 24, 26)))
    assert (run_chain([drift], array[7:19], block) == whole[7:19]).all()
    assert (drift(array[7:19]) != whole[7:19]).any()  # without its origin it is wrong


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: SliceDrift(()), "gain"),
        (lambda: SliceDrift((1, 0)), "slice 1"),
        (lambda: SliceDrift((1, 1))(np.zeros((3, 2, 2), np.uint8)), "slices 0 to 2"),
        (lambda: SliceDrift((1, 1))(np.zeros((1, 2, 2), np.uint8), (2, 0, 0)), "slices 2 to 2"),
        (lambda: SliceMean(0), "step"),
        (lambda: totals(np.zeros((3, 3, 3), np.float32), 3), "step"),
        (lambda: totals(np.full((3, 3, 3), np.nan, np.float32), 3, SliceMean(1)), "NaN"),
        (lambda: fit_drift([1, 2], [1, 0]), "slice 1 has no voxels"),
        (lambda: fit_drift([1, 2, 3], [1, 2]), "shapes"),
        (lambda: fit_drift([10, 2], [1, 1], anchor=5), "slice 1"),
        (lambda: fit_drift([10, 2], [1, 1], smooth=0), "smooth"),
    ],
)
def test_bad_input_is_named(make, word):
    with pytest.raises(InputError, match=word):
        make()
