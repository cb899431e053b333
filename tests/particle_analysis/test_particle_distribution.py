"""Distributions over particles: by hand, against NumPy's weighted quantiles, and without bias at the border."""

from __future__ import annotations

import numpy as np
import pytest

from mgsflow.errors import InputError
from mgsflow.particle_analysis.distribution import QUANTITIES, distribution, distributions
from mgsflow.particle_analysis.from_labels import particles


def rods(lengths, shape=(40, 9, 44)):
    """Label rods along x of given lengths, clear of one another and of the border."""
    labels = np.zeros(shape, np.uint16)
    for i, n in enumerate(lengths):
        labels[2 * i + 1, 4, 2 : 2 + n] = i + 1
    return labels


LENGTHS = [10, 12, 12, 20, 40, 3, 9]
TABLE = particles(rods(LENGTHS), voxel_size=(1, 1, 2))


def test_rods_by_number_and_by_volume():
    d = distribution(TABLE, "volume", bins=[0, 30, 50, 80])
    assert (d.count, d.too_small, d.at_border) == (5, 2, 0)
    assert d.mean == pytest.approx(np.mean([20, 24, 24, 40, 80]))
    assert d.std == pytest.approx(np.std([20, 24, 24, 40, 80]))
    assert (d.d10, d.d50, d.d90) == (20, 24, 80)
    assert d.share.tolist() == [0.6, 0.2, 0.2]
    assert d.outside == 0
    v = distribution(TABLE, "volume", by="volume", bins=[0, 30, 50])
    sizes = np.array([20, 24, 24, 40, 80])
    assert v.mean == pytest.approx((sizes**2).sum() / sizes.sum())
    assert (v.d10, v.d50, v.d90) == (20, 40, 80)
    assert v.share == pytest.approx([68 / 188, 40 / 188])
    assert v.outside == pytest.approx(80 / 188)
    small = distribution(TABLE, "volume", min_voxels=0)
    assert (small.count, small.too_small, small.d10) == (7, 0, 6)


def test_quantiles_are_numpys():
    rng = np.random.default_rng(3)
    table = particles(rng.integers(0, 400, (20, 21, 22)), voxel_size=0.3)
    for by in ("number", "volume"):
        d = distribution(table, "surface_area", by=by)
        use = table["voxel_count"] >= 10
        weights = table["voxel_count"][use] if by == "volume" else None
        wanted = np.quantile(table["surface_area"][use], [0.1, 0.5, 0.9], weights=weights, method="inverted_cdf")
        assert [d.d10, d.d50, d.d90] == wanted.tolist()
        mean = np.average(table["surface_area"][use], weights=weights)
        assert d.mean == pytest.approx(mean, rel=1e-12)
        assert d.std == pytest.approx(np.average((table["surface_area"][use] - mean) ** 2, weights=weights) ** 0.5)
        assert d.share.sum() == pytest.approx(1)


def test_border_particles_are_kept_dropped_or_weighed():
    labels = rods([10, 20])
    labels[10, 4, :15] = 3
    table = particles(labels, voxel_size=1)
    kept, dropped, weighed = (distribution(table, "voxel_count", border=b) for b in ("keep", "drop", "weight"))
    assert (kept.count, kept.at_border, kept.mean) == (3, 0, 15)
    assert (dropped.count, dropped.at_border, dropped.mean) == (2, 1, 15)
    weights = np.array([1 / (44 - 11), 1 / (44 - 21)])
    assert weighed.mean == pytest.approx(np.average([10, 20], weights=weights), rel=1e-12)


def test_weights_take_the_bias_of_windows_away():
    rng = np.random.default_rng(8)
    found: dict[str, list[float]] = {b: [0.0, 0.0] for b in ("keep", "drop", "weight")}
    for window in range(210):
        if window % 70 == 0:  # as many small cubes as large ones, one a cell, anywhere in it
            labels = np.zeros((180,) * 3, np.uint16)
            large = rng.permutation(np.arange(729) % 2)
            for i, corner in enumerate(np.stack(np.unravel_index(np.arange(729), (9, 9, 9)), axis=1) * 20):
                n = 15 if large[i] else 4
                start = corner + rng.integers(0, 20 - n, 3)
                labels[tuple(slice(a, a + n) for a in start)] = i + 1
        at = tuple(slice(a, a + 48) for a in rng.integers(0, 180 - 48, 3))
        table = particles(labels[at], voxel_size=1, threads=1)
        for border, counts in found.items():
            use = np.ones(len(table)) if border == "keep" else 1.0 * ~table["touches_border"]
            weight = use * (table["border_weight"] if border == "weight" else 1)
            big = np.ptp([table["box_start"], table["box_stop"]], axis=0).max(axis=1) > 4
            counts[0] += (weight * big).sum()
            counts[1] += weight.sum()
    share = {k: a / n for k, (a, n) in found.items()}
    assert share["weight"] == pytest.approx(0.5, abs=0.04)
    # negative controls: cut ones are counted too often, and leaving them out favours small ones
    assert share["keep"] > 0.56
    assert share["drop"] < 0.44


def test_no_particles_give_no_numbers():
    empty = particles(np.zeros((4, 4, 4), np.uint8), voxel_size=1)
    d = distribution(empty)
    assert d.count == 0
    assert np.isnan([d.mean, d.std, d.d10, d.d50, d.d90]).all()
    assert np.isnan(d.share).all()
    all_cut = distribution(particles(np.ones((4, 4, 4), np.uint8), voxel_size=1), border="weight")
    assert (all_cut.count, all_cut.at_border) == (0, 1)
    assert np.isnan(all_cut.mean)


def test_scans_share_bins_and_have_units():
    other = particles(rods([40, 41, 42, 43, 5]), voxel_size=(1, 1, 2))
    d = distributions({"c0": TABLE, "c3": other}, bins={"sphericity": [0, 0.5, 1, 2]})
    assert d.sizes == {"scan": 2, "equivalent_diameter_bin": 20, "volume_per_area_bin": 20, "sphericity_bin": 3}
    assert list(d.scan.values) == ["c0", "c3"]
    assert d.equivalent_diameter_count.values.tolist() == [5, 4]
    assert d.equivalent_diameter_too_small.values.tolist() == [2, 1]
    assert float(d.equivalent_diameter_upper[-1]) == other["equivalent_diameter"].max()
    np.testing.assert_allclose(d.equivalent_diameter_share.sum("equivalent_diameter_bin"), 1)
    assert all({"units", "long_name"} <= set(v.attrs) for v in d.data_vars.values())
    assert d.volume_per_area_d50.attrs["units"] == "µm"
    one = distribution(other, "sphericity", bins=[0, 0.5, 1, 2]).to_dataset()
    assert np.array_equal(one.sphericity_share, d.sphericity_share.sel(scan="c3"))
    assert set(QUANTITIES) == {"equivalent_diameter", "volume_per_area", "sphericity"}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"quantity": "size"}, "no column"),
        ({"quantity": "centroid"}, "one number"),
        ({"quantity": "touches_border"}, "one number"),
        ({"by": "mass"}, "number, volume"),
        ({"border": "cut"}, "keep, drop, weight"),
        ({"bins": 0}, "at least one"),
        ({"bins": [1, 1]}, "ascend"),
    ],
)
def test_bad_choices_are_refused(change, match):
    with pytest.raises(InputError, match=match):
        distribution(TABLE, **change)
    if "bins" not in change and "quantity" not in change:
        with pytest.raises(InputError, match=match):
            distributions({"a": TABLE}, **change)


def test_no_tables_are_refused():
    with pytest.raises(InputError, match="no tables"):
        distributions({})
