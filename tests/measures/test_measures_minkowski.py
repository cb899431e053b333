"""Patterns, Euler numbers, curvature and marching-cubes areas against skimage, exact shapes and other blocks."""

import numpy as np
import pytest
from real_data import DATA
from skimage.measure import euler_number, marching_cubes, mesh_surface_area

from mgsflow.blocks import Box, Grid
from mgsflow.measures import Measure, measure
from mgsflow.measures.surface.contacts import Contacts
from mgsflow.measures.surface.minkowski import Minkowski, euler_tables, section_tables
from mgsflow.measures.surface.patterns import CORNERS, Patterns

CUBIC = (1.0, 1.0, 1.0)
NOISE = np.random.default_rng(8).integers(0, 3, (11, 12, 13)).astype(np.uint8)


def shape(image, voxel_size=CUBIC, border="excluded"):
    d = measure(image.astype(np.uint8), [Minkowski(2, border=border)], voxel_size, ["out", "in"])
    return d.sel(phase="in")


def run(m, image, block):
    grid = Grid.regular(image.shape, block)
    size, dtype = m.record(grid.largest)
    records = np.zeros((*grid.counts, *size), dtype)
    for b in grid.blocks(m.halo):
        r = m(image[b.outer.slices], b)
        records[b.index][tuple(slice(0, n) for n in r.shape)] = r
    return records, grid


def distance(n, centre=None):
    g = np.indices((n,) * 3)
    centre = ((n - 1) / 2,) * 3 if centre is None else centre
    return np.sqrt(sum((g[i] - centre[i]) ** 2 for i in range(3)))


def torus(n=31, big=9.0, small=3.5):
    z, y, x = np.indices((n,) * 3) - (n - 1) / 2
    return (np.hypot(y, x) - big) ** 2 + z**2 <= small**2


SHAPES = {
    "ball": (distance(21) <= 8, 1),
    "torus": (torus(), 0),
    "two balls": ((distance(30, (8, 8, 8)) <= 5) | (distance(30, (20, 20, 20)) <= 6), 2),
    "hollow ball": ((distance(25) <= 10) & (distance(25) > 5), 2),
    "voxel": (np.pad(np.ones((1, 1, 1), bool), 2), 1),
    "nothing": (np.zeros((4, 4, 4), bool), 0),
}


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("border", ["excluded", "included"])
def test_euler_numbers_of_shapes(name, border):
    image, expected = SHAPES[name]
    assert shape(image, border=border).euler_number.values.tolist() == [expected, expected]


@pytest.mark.parametrize("block", [100, 5, (1, 20, 20), (20, 3, 1)])
def test_euler_number_of_noise_equals_skimage(block):
    d = measure(NOISE, [Minkowski(3, tile=4, border="included")], CUBIC, "abc", block=block)
    for k in range(3):
        padded = np.pad(k == NOISE, 1)
        expected = [euler_number(padded, connectivity=1), euler_number(padded, connectivity=3)]
        assert d.euler_number.isel(phase=k).values.tolist() == expected


def test_phase_and_background_are_dual():
    # with the border left out, a 6-connected phase and its 26-connected complement have one surface between them
    d = measure((NOISE > 0).astype(np.uint8), [Minkowski(2)], CUBIC, "ab").euler_number
    assert float(d.sel(phase="a", connectivity=6)) == float(d.sel(phase="b", connectivity=26))
    assert float(d.sel(phase="a", connectivity=6)) != float(d.sel(phase="a", connectivity=26))


@pytest.mark.parametrize("border", ["excluded", "included"])
@pytest.mark.parametrize("voxel_size", [CUBIC, (2.0, 1.0, 0.5)])
def test_marching_cubes_area_equals_skimage(border, voxel_size):
    image = (NOISE == 1).astype(np.uint8)
    whole = np.pad(image, 1 if border == "included" else 0).astype(np.float32)
    vertices, faces, *_ = marching_cubes(whole, 0.5, spacing=voxel_size)
    found = float(shape(image, voxel_size, border).marching_cubes_area)
    assert found == pytest.approx(mesh_surface_area(vertices, faces), rel=1e-5)


@pytest.mark.parametrize("radius", [3, 5, 8, 12])
def test_mean_curvature_of_balls(radius):
    rng = np.random.default_rng(radius)
    n = 2 * radius + 6
    found = [
        float(shape(distance(n, n / 2 + rng.uniform(-0.5, 0.5, 3)) <= radius).mean_curvature_integral) for _ in range(8)
    ]
    assert np.mean(found) == pytest.approx(4 * np.pi * radius, rel=0.02)


@pytest.mark.parametrize("voxel_size", [(2.0, 1.0, 1.0), (1.0, 1.3, 0.7)])
def test_mean_curvature_in_anisotropic_voxels(voxel_size):
    radius = 15.0
    g = np.indices((50, 50, 50))
    ball = sum(((g[i] - 24.6) * voxel_size[i]) ** 2 for i in range(3)) <= radius**2
    assert float(shape(ball, voxel_size).mean_curvature_integral) == pytest.approx(4 * np.pi * radius, rel=0.02)
    assert float(shape(~ball, voxel_size).mean_curvature_integral) == pytest.approx(-4 * np.pi * radius, rel=0.02)


def test_patterns_are_those_of_shifted_slices():
    counts = Patterns(3, tile=4).counts(*run(Patterns(3, tile=4), NOISE, 5))
    for k in range(3):
        b = (k == NOISE).astype(np.uint8)
        code = sum(
            b[z : b.shape[0] - 1 + z, y : b.shape[1] - 1 + y, x : b.shape[2] - 1 + x].astype(int) << bit
            for bit, (z, y, x) in enumerate(CORNERS)
        )
        assert np.array_equal(counts.whole[k], np.bincount(code.ravel(), minlength=256))
    assert counts.whole.sum(axis=1).tolist() == [counts.cubes] * 3


def test_volume_and_area_from_patterns_are_those_of_contacts():
    # a value of the pattern for voxels, and one for pairs along z: both paths count the same things
    counts = Patterns(3).counts(*run(Patterns(3), NOISE, 6))
    other = Contacts(3).counts(*run(Contacts(3), NOISE, 6))
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    eighths = bits.sum(axis=1)
    assert np.array_equal(counts.padded(eighths), 8 * other.voxels)
    across = sum(bits[:, a] ^ bits[:, b] for a, b in ((0, 2), (1, 3), (4, 6), (5, 7)))
    assert np.array_equal(counts.padded(across), 4 * other.transitions("included")[0])


@pytest.mark.parametrize("border", ["excluded", "included", "corrected"])
@pytest.mark.parametrize("block", [100, 5, (1, 20, 20), (20, 3, 1)])
def test_windows_equal_cropped_images_for_any_blocks(border, block):
    m = Minkowski(3, tile=4, border=border)
    assert isinstance(m, Measure)
    assert m.source == Patterns(3, 4)
    for window in (Box((0, 0, 0), NOISE.shape), Box((4, 0, 8), (11, 8, 13)), Box((8, 4, 4), (11, 8, 8))):
        found = m.finalize(*run(m, NOISE, block), CUBIC, "abc", window)
        assert found.identical(measure(NOISE[window.slices], [m], CUBIC, "abc"))


def test_tables():
    assert euler_tables()[:, [0, 255]].tolist() == [[0, 0], [0, 0]]
    assert section_tables()[:, 0].tolist() == [0] * 7
    assert section_tables()[:, 255].tolist() == [0] * 7
    assert euler_tables()[:, 1].tolist() == [1, 1]


def test_one_voxel_and_empty_phases():
    d = measure(np.zeros((1, 1, 1), np.uint8), [Minkowski(2, border="included")], CUBIC, "ab")
    assert d.euler_number.sel(phase="a").values.tolist() == [1, 1]
    assert d.euler_number.sel(phase="b").values.tolist() == [0, 0]
    for border in ("excluded", "corrected"):
        assert not measure(np.zeros((1, 3, 3), np.uint8), [Minkowski(2, border=border)], CUBIC, "ab").euler_number.any()


def test_berea_euler_number():
    path = DATA / "berea_pore.raw"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    image = np.fromfile(path, np.uint8).reshape(110, 110, 110) == 0
    assert shape(image, border="included").euler_number.values.tolist() == [0, 0]
