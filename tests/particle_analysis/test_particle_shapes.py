"""Sizes and shapes of particles: boxes exactly, ellipsoids against formulas, phantoms against finer ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import ellipeinc, ellipkinc

from mgsflow.blocks import Box
from mgsflow.particle_analysis.from_labels import particles
from mgsflow.particle_analysis.shape import border_weight, central_moments
from mgsflow.phantoms import cathode, random_spheres


def body(semi_axes, turn, voxel_size, rng):
    """Return the voxels of an ellipsoid whose axes are the rows of `turn`, its centre anywhere in a voxel."""
    size = np.array(voxel_size)
    shape = (2 * max(semi_axes) / size + 6).astype(int)
    centre = (shape / 2 + rng.uniform(-0.5, 0.5, 3)) * size
    points = (np.moveaxis(np.indices(shape), 0, -1) + 0.5) * size - centre
    return (((points @ turn.T) / semi_axes) ** 2).sum(axis=-1) <= 1, centre


def turned(rng):
    return np.linalg.qr(rng.normal(size=(3, 3)))[0]


def ellipsoid_area(semi_axes):
    """Return the surface of an ellipsoid by Legendre's formula."""
    a, b, c = sorted(semi_axes, reverse=True)
    if a == c:
        return 4 * np.pi * a * a
    phi = np.arccos(c / a)
    m = (a * a * (b * b - c * c)) / (b * b * (a * a - c * c))
    bent = ellipeinc(phi, m) * np.sin(phi) ** 2 + ellipkinc(phi, m) * np.cos(phi) ** 2
    return 2 * np.pi * (c * c + a * b / np.sin(phi) * bent)


def test_a_box_of_boxes_is_exact():
    size = (0.5, 1.0, 2.0)
    labels = np.zeros((9, 12, 15), np.int64)
    labels[2:6, 3:10, 4:14] = 1 << 40
    table = particles(labels, voxel_size=size, block=4)
    edges = np.array([4 * 0.5, 7 * 1.0, 10 * 2.0])
    assert table["volume"].tolist() == [edges.prod()]
    assert table["surface_area_faces"] == pytest.approx(2 * (2 * 7 + 7 * 20 + 2 * 20), rel=1e-14)
    assert table["centroid"][0] == pytest.approx([4 * 0.5, 6.5, 9 * 2.0], rel=1e-14)
    # the moments of a box, its voxels' own included: λ = w² / 12
    np.testing.assert_allclose(table["semi_axis"][0], np.sort(edges)[::-1] * np.sqrt(5 / 12), rtol=1e-13)
    np.testing.assert_allclose(table["orientation"][0], [0, 0, 1], atol=1e-12)
    assert table["aspect_ratio"][0] == pytest.approx(10, rel=1e-13)
    assert table["elongation"][0] == pytest.approx(7 / 20, rel=1e-13)
    assert table["flatness"][0] == pytest.approx(2 / 7, rel=1e-13)


def test_an_isolated_voxel_has_known_limits():
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1, 1, 1] = 1
    table = particles(labels, voxel_size=2)
    assert table["volume"].tolist() == [8]
    assert table["equivalent_diameter"][0] == pytest.approx(2 * (6 / np.pi) ** (1 / 3), rel=1e-14)
    assert table["surface_area_faces"].tolist() == [24]
    assert table["surface_area"][0] == pytest.approx(12, rel=0.02)
    # half of the surface is seen, and nothing is capped
    assert table["sphericity"][0] == pytest.approx(1.61, abs=0.04)
    assert table["aspect_ratio"].tolist() == [1]
    assert np.isnan(table["orientation"]).all()


@pytest.mark.parametrize(
    ("radius", "most", "each", "axis"),
    [(4, 0.02, 0.035, 0.02), (5, 0.02, 0.02, 0.01), (8, 0.01, 0.01, 0.01), (14, 0.005, 0.005, 0.005)],
)
def test_spheres(radius, most, each, axis):
    rng = np.random.default_rng(radius)
    area, round_, axes, volume = [], [], [], []
    for _ in range(20):
        voxels, centre = body((radius,) * 3, np.eye(3), (1, 1, 1), rng)
        t = particles(voxels, voxel_size=1)
        assert t["voxel_count"][0] == voxels.sum()
        assert np.abs(t["centroid"][0] - centre).max() < 0.1
        area.append(t["surface_area"][0] / (4 * np.pi * radius**2))
        round_.append(t["sphericity"][0])
        axes.append(t["semi_axis"][0].mean() / radius)
        volume.append(t["volume"][0] / (4 / 3 * np.pi * radius**3))
    assert np.mean(area) == pytest.approx(1, abs=most)
    assert np.mean(round_) == pytest.approx(1, abs=most)
    # of one sphere, the area goes with the voxels that its place happens to give it; sphericity does not
    assert np.abs(np.array(round_) - 1).max() < each
    assert np.mean(volume) == pytest.approx(1, abs=0.01)
    # the voxels' own moment makes axes longer by h² / (24 λ): 1.3 % at a radius of 4
    assert np.mean(axes) == pytest.approx(1, abs=axis)


@pytest.mark.parametrize("ratio", [(1, 1, 1.6), (1, 1.5, 2), (1, 1, 3)])
@pytest.mark.parametrize("voxel_size", [(1, 1, 1), (1.4, 1.0, 0.8)])
def test_ellipsoids(ratio, voxel_size):
    rng = np.random.default_rng(7)
    area, round_, axes = [], [], []
    semi = 6.5 * np.array(ratio[::-1])
    for _ in range(6):
        turn = turned(rng)
        t = particles(body(semi, turn, voxel_size, rng)[0], voxel_size=voxel_size)
        true = ellipsoid_area(semi)
        volume = 4 / 3 * np.pi * semi.prod()
        area.append(t["surface_area"][0] / true)
        round_.append(t["sphericity"][0] / (np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / true))
        axes.append(t["semi_axis"][0] / semi)
        assert abs(t["orientation"][0] @ turn[0]) > 0.9995
        assert np.abs(t["orientation"][0] @ t["orientation"][0] - 1) < 1e-12
    np.testing.assert_allclose(area, 1, atol=0.02)
    np.testing.assert_allclose(round_, 1, atol=0.02)
    each = np.mean(axes, axis=0)
    if ratio[0] == ratio[1]:  # which of two equal axes comes out shorter is chance
        each[1:] = each[1:].mean()
    np.testing.assert_allclose(each, 1, atol=0.01)


def test_ellipsoids_area_is_that_of_a_spheroid():
    # the oracle itself, against the closed form of a prolate spheroid
    a, c = 1.0, 3.0
    e = np.sqrt(1 - a * a / c / c)
    closed = 2 * np.pi * a * a * (1 + c / (a * e) * np.arcsin(e))
    assert ellipsoid_area((a, a, c)) == pytest.approx(closed, rel=1e-12)


def test_large_moments_take_the_path_of_python_integers():
    # the same body far larger: scaling indices by s scales covariances by s² where the sums are exact
    n = np.array([3_000_000_000, 1000], np.int64)
    box = np.array([[5000, 6000, 7000]] * 2)
    start = np.array([[10, 20, 30]] * 2)
    first = n[:, None] * (start + box // 2)
    second = [[int(k) * (int(p) * int(q) + (9 if p == q else 0)) for p, q in pairs] for k, pairs in
              ((int(n[i]), [(a[0], a[0]), (a[1], a[1]), (a[2], a[2]), (a[0], a[1]), (a[0], a[2]), (a[1], a[2])])
               for i, a in enumerate(start + box // 2))]  # fmt: skip
    high = np.array([[v >> 31 for v in row] for row in second])
    low = np.array([[v & (2**31 - 1) for v in row] for row in second])
    mean, covariance = central_moments(n, first, high, low, start, start + box)
    assert mean.tolist() == (start + box // 2).tolist()
    assert covariance.tolist() == [(9 * np.eye(3)).tolist()] * 2


@pytest.mark.parametrize("length", [2, 3, 9])
def test_border_weights_make_up_for_particles_that_are_cut_exactly(length):
    # all places of a particle that show some of it: those clear of the border, times their weight, are one a voxel
    shape = (length, 30, 40)
    for width in range(1, length - 1):
        starts = np.arange(1 - width, length)
        boxes = np.stack([np.maximum(starts, 0), np.full(starts.size, 5), np.full(starts.size, 5)], axis=1)
        ends = np.stack([np.minimum(starts + width, length), *[np.full(starts.size, 9)] * 2], axis=1)
        weights = border_weight(boxes, ends, shape)
        assert weights.sum() == pytest.approx(length * (30 / 25) * (40 / 35), rel=1e-12)
        assert (weights == 0).sum() == starts.size - (length - width - 1)


@pytest.mark.parametrize("diameters", [(3, 8), (8, 16)])
def test_phantom_spheres(diameters):
    phantom = random_spheres((110,) * 3, 0.1, [0.3 * d for d in diameters], seed=2, voxel_size=0.3)
    labels, _ = ndimage.label(phantom.truth.read(Box.of(phantom.shape)))
    table = particles(labels, voxel_size=phantom.voxel_size)
    true = phantom.particles()
    ratio, voxels = matched(table, labels, true["centre"] / phantom.voxel_size, 2 * true["radius"])
    assert (voxels > 10).sum() > 100
    assert np.mean(ratio[voxels > 10]) == pytest.approx(1, abs=0.005)
    # at 10 voxels a diameter of 2.7 is given to some 5 % by chance alone
    assert np.mean(np.abs(ratio[voxels > 10] - 1) < 0.05) > 0.95
    assert np.abs(ratio[voxels > 100] - 1).max() < 0.05


def test_phantom_sulfur_is_that_of_a_finer_scan():
    # the list of a cathode's particles leaves out their roughness; nine times finer volumes hold it
    coarse, fine = (cathode((n, n, n), cycle=0, seed=3, voxel_size=h) for n, h in ((64, 0.126), (192, 0.042)))
    labels = [ndimage.label(p.truth.read(Box.of(p.shape)) == 2)[0] for p in (coarse, fine)]
    ours, theirs = (particles(a, voxel_size=p.voxel_size) for a, p in zip(labels, (coarse, fine)))
    ratio, voxels = matched(ours, labels[0], theirs["centroid"] / 0.126, theirs["equivalent_diameter"])
    assert (voxels > 10).sum() > 60
    assert np.mean(np.abs(ratio[voxels > 10] - 1) < 0.05) > 0.95
    assert np.median(ratio[voxels > 10]) == pytest.approx(1, abs=0.01)


def matched(table, labels, centres, diameters):
    """Return measured over true diameter, and voxels, of inner particles that hold one true centre."""
    at = tuple(np.clip(centres.astype(int), 0, np.array(labels.shape) - 1).T)
    ids = labels[at]
    held, counts = np.unique(ids[ids > 0], return_counts=True)
    alone = np.isin(ids, held[counts == 1])
    row = np.searchsorted(table.ids, ids[alone].astype(np.uint64))
    inner = ~table["touches_border"][row]
    row = row[inner]
    return table["equivalent_diameter"][row] / diameters[alone][inner], table["voxel_count"][row]
