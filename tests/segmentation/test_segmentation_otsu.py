"""Multi-Otsu against brute force in exact arithmetic and scikit-image."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_multiotsu, threshold_otsu

from mgsflow.errors import InputError
from mgsflow.segmentation import GreyHistogram, multi_otsu, otsu_thresholds


def criterion(counts: np.ndarray, cuts: tuple[int, ...]) -> Fraction:
    """Σ S²/W of the classes: what the variance between classes differs from by a constant."""
    total = Fraction(0)
    for a, b in zip((0, *cuts), (*cuts, len(counts))):
        w = int(counts[a:b].sum())
        if w:
            total += Fraction(int(counts[a:b] @ np.arange(a, b)) ** 2, w)
    return total


@settings(max_examples=150, deadline=None)
@given(
    counts=st.lists(st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 10**9)), min_size=2, max_size=14),
    classes=st.integers(2, 5),
)
def test_no_cuts_are_better(counts: list[int], classes: int) -> None:
    histogram = np.array(counts)
    assume(np.count_nonzero(histogram) >= classes)
    found = multi_otsu(histogram, classes)
    assert all(a < b for a, b in pairwise(found))
    labels = np.digitize(np.flatnonzero(histogram), found)
    assert len(set(labels)) == classes
    best = max(criterion(histogram, c) for c in combinations(range(1, histogram.size), classes - 1))
    mean = Fraction(int(histogram @ np.arange(histogram.size)), int(histogram.sum()))
    between = best - mean**2 * int(histogram.sum())
    assert best - criterion(histogram, found) <= between * Fraction(1, 10**13)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_equals_scikit_image_in_256_bins(classes: int) -> None:
    rng = np.random.default_rng(4)
    grey = rng.normal(rng.choice([60, 120, 150, 210], 200_000), 14).clip(0, 255).astype(np.uint8)
    counts = np.bincount(grey, minlength=256)
    theirs = threshold_multiotsu(grey, classes)
    assert all(counts[t] and counts[t + 1] for t in theirs), (
        "no empty bins beside the cuts: the optimum is one bin wide"
    )
    # they return the last bin of the lower class
    assert multi_otsu(counts, classes) == tuple(int(t) + 1 for t in theirs)


def test_two_classes_are_as_good_as_scikit_image_at_full_depth() -> None:
    rng = np.random.default_rng(5)
    grey = rng.normal(rng.choice([21000, 30000], 400_000), 2500).clip(0, 65535).astype(np.uint16)
    counts = np.bincount(grey, minlength=65536)
    (mine,) = multi_otsu(counts, 2)
    theirs = int(threshold_otsu(grey)) + 1
    # their sums are rounded to float32, enough to move the cut by a bin: exact arithmetic is the judge
    assert abs(mine - theirs) <= 2
    assert criterion(counts, (mine,)) >= criterion(counts, (theirs,))


def test_full_depth_cuts_are_locally_optimal_in_exact_arithmetic() -> None:
    rng = np.random.default_rng(6)
    grey = rng.normal(rng.choice([15000, 23000, 30000, 38000, 50000], 300_000), 2000).clip(0, 65535).astype(np.uint16)
    counts = np.bincount(grey, minlength=65536)
    found = multi_otsu(counts, 6)
    value = criterion(counts, found)
    for k in range(5):
        for step in (-200, -20, -1, 1, 20, 200):
            moved = list(found)
            moved[k] += step
            assert criterion(counts, tuple(moved)) <= value * (1 + Fraction(1, 10**14))


def test_a_cut_among_empty_bins_lies_in_the_middle() -> None:
    counts = np.zeros(100, np.int64)
    counts[[10, 40, 41, 90]] = 50
    assert multi_otsu(counts, 3) == (25, 66)


def test_of_equal_cuts_the_lowest_is_taken() -> None:
    assert multi_otsu([1, 1, 1], 2) == (1,)


def test_as_many_values_as_classes() -> None:
    assert multi_otsu([0, 5, 7, 0, 1], 3) == (2, 3)


def test_thresholds_are_grey_values() -> None:
    counts = np.array([5, 0, 0, 0, 5])
    assert otsu_thresholds(GreyHistogram(counts, -32768.0, 1.0), 2) == (-32766.0,)
    assert otsu_thresholds(GreyHistogram(counts, 1.0, 0.5, discrete=False), 2) == (2.0,)


def test_very_many_voxels_lose_no_digits() -> None:
    counts = np.array([3, 1, 4, 1, 5, 9, 2, 6]) * 10**14
    assert multi_otsu(counts, 3) == multi_otsu(counts // 10**14, 3)
    with pytest.raises(InputError, match="too many"):
        multi_otsu(counts * 1000, 3)


@pytest.mark.parametrize(
    ("counts", "classes", "words"),
    [
        ([0, 3, 0, 2], 3, "2 distinct grey values"),
        ([], 2, "0 distinct grey values"),
        ([1, 2, 3], 1, "classes must be"),
        ([1.0, 2.0], 2, "integers"),
        ([1, -2], 2, "integers"),
    ],
)
def test_bad_input(counts: list, classes: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        multi_otsu(counts or np.array([], int), classes)
