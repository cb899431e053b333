"""Landmarks on histograms whose peaks and straight lines are known."""

from __future__ import annotations

import numpy as np
import pytest

from mgsflow.errors import InputError
from mgsflow.segmentation import GreyHistogram, Landmarks, find_landmarks, fit_rescale, valley

AIR, REFERENCE = 20412.3, 41250.7


def scan(
    shares: dict[float, float], noise: float, gain: float = 1.0, offset: float = 0.0, voxels: int = 1_000_000, seed=0
) -> GreyHistogram:
    """Histogram of a scan with these fractions of grey values, in 16 bits."""
    rng = np.random.default_rng(seed)
    grey = rng.choice(list(shares), voxels, p=list(shares.values())) + rng.normal(0, noise, voxels)
    image = np.rint(gain * grey + offset).clip(0, 65535).astype(np.uint16)
    return GreyHistogram(np.bincount(image, minlength=65536), 0.0, 1.0)


@pytest.mark.parametrize("noise", [400.0, 1500.0, 2500.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_peaks_are_found_far_below_their_width(noise: float, seed: int) -> None:
    found = find_landmarks(scan({AIR: 0.4, REFERENCE: 0.6}, noise, seed=seed))
    # the mean of 400,000 voxels is known to noise / 630; the mode of the top is somewhat less certain
    assert found.air == pytest.approx(AIR, abs=noise / 60)
    assert found.reference == pytest.approx(REFERENCE, abs=noise / 60)


def test_sub_bin_accuracy_in_8_bits() -> None:
    grey = np.arange(256)
    counts = sum(1e6 * np.exp(-0.5 * ((grey - c) / 6) ** 2) for c in (60.37, 171.81))
    found = find_landmarks(GreyHistogram(np.rint(counts).astype(int), 0.0, 1.0))
    assert found.air == pytest.approx(60.37, abs=0.02)
    assert found.reference == pytest.approx(171.81, abs=0.02)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (0.8, 3000.0), (1.25, -9000.0)])
def test_a_scan_is_put_back_though_its_fractions_change(gain: float, offset: float) -> None:
    middle = 30000.0
    pristine = find_landmarks(scan({AIR: 0.35, middle: 0.1, REFERENCE: 0.55}, 1500))
    # cycled: a quarter of the reference's share has gone to the phase between, on another grey scale
    cycled = scan({AIR: 0.45, middle: 0.15, REFERENCE: 0.40}, 1500, gain, offset, seed=1)
    g, o = fit_rescale(cycled, pristine)
    for grey in (AIR, middle, REFERENCE):
        assert g * (gain * grey + offset) + o == pytest.approx(grey, abs=60)
    # negative control: matched quantiles would erase the change
    median = float(cycled.percentile(50))
    assert abs(g * median + o - float(scan({AIR: 0.35, middle: 0.1, REFERENCE: 0.55}, 1500).percentile(50))) > 500


def test_padding_and_saturation_are_no_peaks() -> None:
    h = scan({AIR: 0.5, REFERENCE: 0.5}, 1500)
    counts = h.counts.copy()
    counts[0] += 3_000_000
    counts[-1] += 500_000
    found, plain = find_landmarks(GreyHistogram(counts, 0.0, 1.0)), find_landmarks(h)
    assert (found.air, found.reference) == (plain.air, plain.reference)


def test_ranges_choose_among_three_peaks() -> None:
    h = scan({18000.0: 0.3, 30000.0: 0.35, 42000.0: 0.35}, 1200)
    with pytest.raises(InputError, match=r"not clear.*grey ranges"):
        find_landmarks(h)
    both = find_landmarks(h, (15000, 22000), (38000, 50000))
    assert (both.air, both.reference) == (pytest.approx(18000, abs=30), pytest.approx(42000, abs=30))
    lower = find_landmarks(h, (15000, 22000), (25000, 35000))
    assert lower.reference == pytest.approx(30000, abs=30)
    only = find_landmarks(h, reference=(25000, 35000))
    assert (only.air, only.reference) == (both.air, lower.reference)


def test_what_is_not_there_is_said() -> None:
    h = scan({18000.0: 0.3, 30000.0: 0.35, 42000.0: 0.35}, 1200)
    with pytest.raises(InputError, match=r"no peak for air between grey values 1000 and 9000.*peaks at"):
        find_landmarks(h, (1000, 9000), (38000, 50000))
    with pytest.raises(InputError, match="more than one peak for reference"):
        find_landmarks(h, (15000, 22000), (25000, 50000))
    with pytest.raises(InputError, match="one peak, at 2"):
        find_landmarks(scan({20000.0: 1.0}, 1000))
    with pytest.raises(InputError, match="no voxels"):
        find_landmarks(GreyHistogram(np.zeros(256, int), 0.0, 1.0))


def test_noise_of_few_voxels_makes_no_peaks() -> None:
    found = find_landmarks(scan({AIR: 0.5, REFERENCE: 0.5}, 1500, voxels=5000))
    assert found.air == pytest.approx(AIR, abs=300)
    assert found.reference == pytest.approx(REFERENCE, abs=300)


def test_landmarks_must_rise() -> None:
    with pytest.raises(InputError, match="air < reference"):
        Landmarks(5.0, 5.0)


def test_valley_between_equal_gaussians_is_halfway() -> None:
    h = scan({20000.0: 0.5, 30000.0: 0.5}, 2200, voxels=4_000_000)
    assert valley(h, (20000, 30000)) == pytest.approx(25000, abs=250)


def test_valley_of_empty_bins_is_their_middle() -> None:
    counts = np.zeros(1000, int)
    counts[100:200] = 50
    counts[400:500] = 50
    # 299.5 is the middle of bins 200 … 399, of which smoothing reaches as far into from both sides
    assert valley(GreyHistogram(counts, 0.0, 1.0), (150, 450)) == pytest.approx(299.5)


def test_no_valley_where_the_histogram_only_falls() -> None:
    h = scan({20000.0: 1.0}, 2000)
    with pytest.raises(InputError, match="no valley"):
        valley(h, (21000, 24000))
    with pytest.raises(InputError, match="no valley"):
        valley(h, (24000, 21000))
