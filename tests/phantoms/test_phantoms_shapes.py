"""Test geometries against the volumes that geometry gives for them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.phantoms import Phantom, cylinders, duct, gaussian_pores, random_spheres, slabs, spheres


def labels(phantom: Phantom) -> np.ndarray:
    return phantom.truth.read(Box.of(phantom.shape))


SHAPES = {
    "spheres": lambda: spheres((37, 30, 41), [(5, 6, 7), (20, 20, 20.5), (40, 10, 3)], [6, 9.5, 8]),
    "packing": lambda: random_spheres((37, 30, 41), 0.08, (5, 9), seed=1),
    "overlap": lambda: random_spheres((37, 30, 41), 0.4, (5, 9), overlap=True, seed=1),
    "duct": lambda: duct((37, 30, 41), (8, 12), axis="y"),
    "slabs": lambda: slabs((37, 30, 41), [4.2, 9, 3, 30], [0, 2, 1, 0], axis="x"),
    "cylinders": lambda: cylinders((37, 30, 41), 10.4, 3.3, axis="x"),
    "gaussian": lambda: gaussian_pores((37, 30, 41), 0.4, 4.0, seed=1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_blocks_give_the_whole(name):
    phantom = SHAPES[name]()
    for source in (phantom.truth, phantom.image):
        full = source.read(Box.of(source.shape))
        assert full.dtype == source.dtype
        for b in Grid.regular(source.shape, (9, 30, 17)).blocks():
            assert np.array_equal(source.read(b.core), full[b.core.slices])


@pytest.mark.parametrize("radius", [6.3, 15.0])
def test_sphere_volume(radius):
    phantom = spheres(40, [(20.2, 19.7, 20.1)], radius)
    assert labels(phantom).sum() == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.6 / radius**1.5)


def test_two_spheres_that_overlap_have_the_volume_of_their_union():
    r, d = 14.0, 16.0
    lens = np.pi * (4 * r + d) * (2 * r - d) ** 2 / 12
    phantom = spheres((60, 40, 40), [(20, 20, 20), (20 + d, 20, 20)], r)
    assert labels(phantom).sum() == pytest.approx(2 * 4 / 3 * np.pi * r**3 - lens, rel=0.01)
    assert labels(phantom).sum() < 0.95 * 2 * 4 / 3 * np.pi * r**3  # negative control


def test_spheres_against_brute_force_on_uneven_voxels():
    rng = np.random.default_rng(0)
    centres, radii, v = rng.uniform(-3, 23, (12, 3)), rng.uniform(1, 5, 12), (0.5, 1.0, 0.8)
    phantom = spheres((40, 20, 25), centres, radii, inside="pore", voxel_size=v)
    points = (np.moveaxis(np.indices(phantom.shape), 0, -1) + 0.5) * v
    inside = np.zeros(phantom.shape, bool)
    for c, r in zip(centres, radii):
        inside |= ((points - c) ** 2).sum(-1) < r * r
    assert np.array_equal(labels(phantom) == 0, inside)
    listed = phantom.particles()
    assert len(listed) == np.all((centres >= 0) & (centres < np.array(phantom.shape) * v), axis=1).sum()


@pytest.mark.parametrize(("fraction", "overlap"), [(0.05, False), (0.1, False), (0.1, True), (0.45, True)])
def test_random_spheres_have_their_fraction_and_are_listed(fraction, overlap):
    phantom = random_spheres(120, fraction, (6, 14), overlap=overlap, seed=2)
    truth = labels(phantom)
    assert truth.mean() == pytest.approx(fraction, abs=0.004)
    # the spheres listed in a volume around, drawn by the other class, fill the same voxels in the middle
    listed = phantom.particles()
    again = labels(spheres(120, listed["centre"], listed["radius"]))
    core = (slice(12, -12),) * 3
    assert (again[core] != truth[core]).mean() < 1e-4
    tree = cKDTree(listed["centre"])
    pairs = tree.query_pairs(20.0, output_type="ndarray")
    gap = np.linalg.norm(np.subtract(*(listed["centre"][pairs[:, k]] for k in (0, 1))), axis=1)
    touching = gap < listed["radius"][pairs].sum(axis=1) - 1e-9
    assert touching.any() == overlap


def test_duct_has_exactly_its_voxels():
    truth = labels(duct((12, 20, 30), (6, 8), axis="x"))
    assert (truth == 0).sum() == 6 * 8 * 30
    assert (truth[3:9, 6:14] == 0).all()
    assert (labels(duct((10, 10, 7), 4, axis="x", voxel_size=(1, 0.5, 2))) == 0).sum() == 4 * 8 * 7


def test_slabs_have_exactly_their_thickness():
    truth = labels(slabs((5, 4, 20), [2, 3.5, 100], [1, 0, 2], axis="x", voxel_size=0.5))
    assert truth[0, 0].tolist() == [1] * 4 + [0] * 7 + [2] * 9
    assert (truth == truth[:1, :1]).all()


def test_cylinders_have_their_fraction_and_period():
    pitch, radius = 20.0, 7.0
    truth = labels(cylinders((3, 100, 80), pitch, radius))
    assert truth.mean() == pytest.approx(np.pi * radius**2 / pitch**2, rel=0.02)
    assert np.array_equal(truth[:, :-20], truth[:, 20:])
    assert np.array_equal(truth[:, :, :-20], truth[:, :, 20:])
    assert np.array_equal(truth[0], truth[2])
    assert truth[0, 10, 10] == 1
    assert truth[0, 0, 0] == 0


@pytest.mark.parametrize("porosity", [0.1, 0.35, 0.7])
def test_gaussian_pores_have_their_porosity_and_surface(porosity):
    """Surface of a cut Gaussian field of correlation exp(-r²/l²): (2/π) (√2/l) exp(-t²/2) a volume (Rice)."""
    from statistics import NormalDist

    length = 9.0
    truth = labels(gaussian_pores(110, porosity, length, seed=1))
    assert (truth == 0).mean() == pytest.approx(porosity, abs=0.005)
    faces = sum(np.count_nonzero(np.diff(truth, axis=a)) for a in range(3)) / truth.size
    t = NormalDist().inv_cdf(porosity)
    expected = 2 / np.pi * np.sqrt(2) / length * np.exp(-t * t / 2)
    assert faces / 1.5 == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: spheres(9, [(1, 2)], 1), "centres"),
        (lambda: spheres(9, [(1, 2, np.nan)], 1), "centres"),
        (lambda: spheres(9, [(1, 2, 3)], [1, 2]), "radii"),
        (lambda: spheres(9, [(1, 2, 3)], 0), "radii"),
        (lambda: spheres(9, [(1, 2, 3)], 1, inside="sulfur"), "inside"),
        (lambda: random_spheres(9, 0.3, 4), "fraction"),
        (lambda: random_spheres(9, 0.3, (4, 2), overlap=True), "diameters"),
        (lambda: random_spheres(9, 0.3, (1, 2, 3), overlap=True), "diameters"),
        (lambda: duct(9, 3, axis="w"), "axis"),
        (lambda: duct(9, (3, -1)), "width"),
        (lambda: duct(9, (3, 1, 2)), "width"),
        (lambda: slabs(9, []), "thicknesses"),
        (lambda: slabs(9, [1, 2], [0]), "labels"),
        (lambda: slabs(9, [1, 2], phase_names=["pore"]), "phase_names"),
        (lambda: cylinders(9, 3, 2), "radius"),
        (lambda: gaussian_pores(9, 1.2, 3), "porosity"),
        (lambda: gaussian_pores(9, 0.5, 0.3), "correlation_length"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()
