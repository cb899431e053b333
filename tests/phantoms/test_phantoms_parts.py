"""Hashes, random fields and the grey model against published numbers, brute force and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import ndimage

from mgsflow.blocks import Box
from mgsflow.errors import InputError
from mgsflow.phantoms import GreyModel, slabs
from mgsflow.phantoms.fields import LENGTH_PER_SPACING, add_field
from mgsflow.phantoms.hashing import GOLDEN, mix, normal4, normal8, point_hash, row_hash, stream_key, unit
from mgsflow.phantoms.sampling import Lattice, tiles

MASK = (1 << 64) - 1


def python_mix(h: int) -> int:
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & MASK
    return h ^ (h >> 31)


def python_hash(key: int, z: int, y: int, x: int) -> int:
    h = key
    for v in (z, y, x):
        h = python_mix((h + v * 0x9E3779B97F4A7C15) & MASK)
    return h


def python_normal8(h: int) -> float:
    lanes = [(v >> s) & 0xFFFF for v in (h, python_mix((h + 0x9E3779B97F4A7C15) & MASK)) for s in (0, 16, 32, 48)]
    return (sum(lanes) - 8 * 65535 / 2) / np.sqrt(8 * (2**32 - 1) / 12)


@njit
def draws(key: int, z: int, y: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hashes of points and what they stand for; compiled, because Python's integers are signed."""
    h = np.empty(len(x), np.uint64)
    u, a, b = np.empty(len(x)), np.empty(len(x), np.float32), np.empty(len(x), np.float32)
    row = row_hash(key, z, y)
    for i in range(len(x)):
        h[i] = point_hash(row, x[i])
        u[i], a[i], b[i] = unit(h[i]), normal4(h[i]), normal8(h[i])
    return h, u, a, b


def field(lattice: Lattice, spacing: float, seed: int = 0) -> np.ndarray:
    out = np.zeros(lattice.count, np.float32)
    add_field(out, lattice, stream_key(seed, "test"), (spacing,) * 3, 1.0)
    return out


def test_mixer_is_splitmix64():
    """First output of splitmix64 seeded with 0, as its authors publish it."""
    assert int(mix(GOLDEN)) == 0xE220A8397B1DCDAF


def test_hash_of_a_point_against_python_integers():
    key = stream_key(7, "a")
    for z, y, x in [(0, 0, 0), (1, 2, 3), (-5, 2**33, -(2**40)), (4095, 17, -1)]:
        assert int(draws(key, z, y, np.array([x]))[0][0]) == python_hash(int(key), z, y, x)


def test_hashes_are_uniform_and_normal():
    _, u, *normals = draws(stream_key(1, "b"), 3, 4, np.arange(20_000))
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi-squared of 19 degrees: 1 in 1000
    for n in normals:
        assert abs(n.mean()) < 0.03
        assert n.std() == pytest.approx(1, abs=0.02)
        assert abs(np.corrcoef(n[1:], n[:-1])[0, 1]) < 0.03


def test_streams_differ():
    assert len({int(stream_key(s, n)) for s in (-1, 0, 1, 2**80) for n in ("a", "b")}) == 8


def test_field_is_the_sum_over_its_nodes():
    """Brute force: all 64 nodes around a voxel, splines from scipy, hashes from Python integers."""
    from scipy.interpolate import BSpline

    spline = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
    key, h = int(stream_key(0, "test")), 3.7
    values = field(Lattice((-4, 10, 500), (3, 3, 3)), h)
    for z, y, x in [(0, 0, 0), (2, 1, 0), (1, 2, 2)]:
        u = [(a + i + 0.5) / h for a, i in zip((-4, 10, 500), (z, y, x))]
        nodes = [np.arange(np.floor(c) - 1, np.floor(c) + 3) for c in u]
        w = [np.nan_to_num(spline(c - n)) for c, n in zip(u, nodes)]
        w = [v / np.linalg.norm(v) for v in w]
        total = sum(
            w[0][i] * w[1][j] * w[2][k] * python_normal8(python_hash(key, int(a), int(b), int(c)))
            for i, a in enumerate(nodes[0])
            for j, b in enumerate(nodes[1])
            for k, c in enumerate(nodes[2])
        )
        assert values[z, y, x] == pytest.approx(total, abs=2e-6)


def test_field_is_unit_gaussian_with_the_stated_correlation():
    h = 3.3
    values = field(Lattice((0, 0, 0), (96, 96, 96)), h)
    assert abs(values.mean()) < 0.03
    assert values.std() == pytest.approx(1, abs=0.02)
    assert (values > 1).mean() == pytest.approx(0.1587, abs=0.006)
    length = h * LENGTH_PER_SPACING
    for lag in (2, 4, 6):
        expected = np.exp(-((lag / length) ** 2))
        for axis in range(3):
            a, b = np.take(values, range(96 - lag), axis), np.take(values, range(lag, 96), axis)
            assert np.mean(a * b) == pytest.approx(expected, abs=0.05)


def test_field_on_a_sparse_lattice_is_the_field():
    full = field(Lattice((2, 3, 4), (41, 41, 41)), 5.2)
    sparse = field(Lattice((2, 3, 4), (14, 14, 14), 3), 5.2)
    assert np.array_equal(sparse, full[::3, ::3, ::3])


def test_tiles_and_lattices():
    box = Box((-3, 5, 7), (80, 300, 8))
    seen = np.zeros(box.shape, int)
    for tile in tiles(box):
        seen[tile.relative_to(box).slices] += 1
    assert (seen == 1).all()
    for shape in [(1, 1, 1), (5, 200, 97), (1024, 400, 60)]:
        lattice = Lattice.sparse(shape)
        assert Box.of(shape).contains(lattice.box)
        assert max(lattice.count) <= 96


def test_image_against_scipy_on_the_whole_array():
    grey = GreyModel((10_000, 30_000, 50_000), psf=0.8, fringe=0.3, fringe_width=2.1, grain=0, noise=0)
    phantom = slabs((44, 20, 20), [13, 3.6, 8, 100], [0, 1, 2, 0], grey=grey)
    labels = phantom.truth.read(Box.of(phantom.shape))
    mean = np.array(grey.levels, float)[labels]
    sharp = ndimage.gaussian_filter(mean, 0.8, radius=3, mode="nearest")
    wide = ndimage.gaussian_filter(mean, 2.1, radius=7, mode="nearest")
    expected = 1.3 * sharp - 0.3 * wide
    assert np.abs(phantom.image.read(Box.of(phantom.shape)) - expected).max() <= 0.6
    assert np.abs(phantom.image.read(Box.of(phantom.shape)) - mean).max() > 3000  # negative control


def test_flat_phase_keeps_its_grey_value_and_gets_the_stated_noise():
    grey = GreyModel((30_000,), psf=0.7, fringe=0.2, fringe_width=2, grain=2000, noise=800)
    image = slabs((40, 60, 60), [100], grey=grey).image.read(Box.of((40, 60, 60))).astype(float)
    taps = np.zeros((21, 21, 21))
    taps[10, 10, 10] = 1
    kernel = 1.2 * ndimage.gaussian_filter(taps, 0.7, radius=3) - 0.2 * ndimage.gaussian_filter(taps, 2, radius=6)
    assert image.mean() == pytest.approx(30_000, abs=20)
    assert image.std() == pytest.approx(np.sqrt(2000**2 * (kernel**2).sum() + 800**2), rel=0.03)


def test_no_blur_no_noise_gives_the_levels():
    grey = GreyModel((1, 65535), psf=0, fringe=0, fringe_width=0, grain=0, noise=0)
    phantom = slabs((6, 5, 4), [2, 4], grey=grey)
    assert grey.halo == 0
    expected = np.array([1, 65535])[phantom.truth.read(Box.of((6, 5, 4)))]
    assert np.array_equal(phantom.image.read(Box.of((6, 5, 4))), expected)


def test_grey_values_stop_at_16_bit():
    grey = GreyModel((0, 65535), fringe=1.0, grain=0, noise=3000)
    image = slabs((20, 20, 20), [10, 10], grey=grey).image.read(Box.of((20, 20, 20)))
    assert image[:6].max() < 20_000
    assert image[14:].min() > 45_000


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"levels": ()}, "levels"),
        ({"levels": (0, 70_000)}, "levels"),
        ({"levels": (1,), "psf": -0.1}, "psf"),
        ({"levels": (1,), "fringe_width": 9}, "fringe_width"),
        ({"levels": (1,), "fringe": float("nan")}, "fringe"),
        ({"levels": (1,), "noise": -1}, "noise"),
        ({"levels": (1,), "grain": float("nan")}, "grain"),
    ],
)
def test_bad_grey_models_are_named(fields, words):
    with pytest.raises(InputError, match=words):
        GreyModel(**fields)


def test_levels_must_match_the_phases():
    with pytest.raises(InputError, match="one grey value for each"):
        slabs(8, [4, 4], grey=GreyModel((1, 2, 3)))
