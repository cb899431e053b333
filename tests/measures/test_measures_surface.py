"""Surface and interface areas: exact shapes, spheres and tilted planes, published weights, real images."""

from itertools import product

import numpy as np
import pytest
from real_data import DATA

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.measures import Measure, measure
from mgsflow.measures.surface.area import Surface
from mgsflow.measures.surface.contacts import Contacts
from mgsflow.measures.surface.crofton import CLASSES, MEMBERS, line_weights, plane_spacings, plane_weights
from mgsflow.measures.surface.interface import Interface
from mgsflow.measures.triple_phase.edges import Morphology

CUBIC = (1.0, 1.0, 1.0)


def area(image, voxel_size=CUBIC, border="excluded"):
    d = measure(image.astype(np.uint8), [Surface(2, border=border)], voxel_size, ["out", "in"])
    return {str(e): float(d.surface_area.sel(phase="in", estimator=e)) for e in d.estimator.values}


def ball(radius, voxel_size=CUBIC, shift=(0.0, 0.0, 0.0)):
    n = [int(2 * radius / h) + 6 for h in voxel_size]
    g = np.indices(n)
    return sum(((g[i] - n[i] / 2 + shift[i]) * voxel_size[i]) ** 2 for i in range(3)) <= radius**2


def test_weights_are_the_published_ones():
    # Ohser and Mücklich; half the weight of a line, which has two senses
    axes, faces, space = line_weights(CUBIC)[[0, 3, 6]] / 2
    assert axes == pytest.approx(0.04577789120476, rel=1e-10)
    assert faces == pytest.approx(0.03698062787608, rel=1e-10)
    assert space == pytest.approx(0.03519563978232, rel=1e-10)


@pytest.mark.parametrize("voxel_size", [CUBIC, (2.0, 1.0, 1.0), (0.3, 0.4, 0.9), (1.0, 1.0, 6.0)])
def test_weights_are_shares_of_the_sphere(voxel_size):
    # a second method: which direction is nearest to random points of the sphere
    rng = np.random.default_rng(3)
    points = rng.normal(size=(200_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for weights, scale in (
        (line_weights(voxel_size), np.array(voxel_size)),
        (plane_weights(voxel_size), 1 / np.array(voxel_size)),
    ):
        lattice = np.array([d for d in product((-1, 0, 1), repeat=3) if d > (0, 0, 0)])
        units = lattice * scale
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        nearest = np.abs(points @ units.T).argmax(axis=1)
        share = np.bincount(nearest, minlength=13) / len(points)
        moved = np.abs(lattice)
        for k, extent in enumerate([(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)]):
            assert share[(moved == extent).all(axis=1)].mean() == pytest.approx(weights[k], abs=0.002)
        assert weights @ MEMBERS == pytest.approx(1.0, abs=1e-12)
    assert len(CLASSES) == 7
    assert plane_spacings(CUBIC)[6] == pytest.approx(3**-0.5)


@pytest.mark.parametrize(("edge", "share"), [(17, 0.896), (50, 0.916)])
def test_cubes(edge, share):
    cube = np.pad(np.ones((edge,) * 3), 1)
    a = area(cube)
    assert a["faces"] == pytest.approx(6 * edge**2, rel=1e-12)
    assert a["crofton13"] == pytest.approx(share * 6 * edge**2, rel=1e-3)
    assert a["crofton3"] == pytest.approx(4 * edge**2, rel=1e-12)


def test_isolated_voxel_has_half_of_its_faces():
    a = area(np.pad(np.ones((1, 1, 1)), 1))
    assert a["faces"] == 6
    assert a["crofton13"] == pytest.approx(3.0, rel=0.02)


def test_faces_of_a_box_with_anisotropic_voxels_are_exact():
    box = np.pad(np.ones((2, 3, 4)), 1)
    assert area(box, (0.5, 1.0, 2.0))["faces"] == pytest.approx(2 * (3 * 8 + 1 * 8 + 1 * 3), rel=1e-12)


@pytest.mark.parametrize(
    ("radius", "share", "within"),
    [(2, 0.946, 0.03), (3, 0.980, 0.02), (5, 0.993, 0.01), (8, 0.997, 0.006), (12, 0.998, 0.005)],
)
def test_spheres(radius, share, within):
    rng = np.random.default_rng(radius)
    found = [area(ball(radius, shift=rng.uniform(-0.5, 0.5, 3))) for _ in range(12)]
    true = 4 * np.pi * radius**2
    assert np.mean([f["crofton13"] for f in found]) / true == pytest.approx(share, abs=within)
    assert np.mean([f["faces"] for f in found]) / true == pytest.approx(1.5, abs=0.03)


@pytest.mark.parametrize("voxel_size", [(2.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.7, 1.3, 1.0)])
def test_sphere_in_anisotropic_voxels(voxel_size):
    radius = 14
    true = 4 * np.pi * radius**2
    a = area(ball(radius, voxel_size, (0.2, -0.3, 0.4)), voxel_size)
    assert a["crofton13"] == pytest.approx(true, rel=0.01)
    assert a["crofton3"] == pytest.approx(true, rel=0.01)
    # negative control: as if the voxels were cubes of the same volume
    cube = np.prod(voxel_size) ** (1 / 3)
    assert area(ball(radius, voxel_size), (cube,) * 3)["crofton13"] != pytest.approx(true, rel=0.01)


def test_tilted_planes_of_any_angle_come_out_within_the_range_that_is_documented():
    # what 13 directions make of a plane, exactly: the share of lines along each that cross it
    lattice = np.array([d for d in product((-1, 0, 1), repeat=3) if d > (0, 0, 0)])
    lengths = np.linalg.norm(lattice, axis=1)
    weights = line_weights(CUBIC)[np.array([0, 3, 6])[np.abs(lattice).sum(axis=1) - 1]]

    def share(normals):
        return 2 * np.abs(normals @ (lattice / lengths[:, None]).T) @ weights

    rng = np.random.default_rng(5)
    every = rng.normal(size=(200_000, 3))
    every = np.vstack([every / np.linalg.norm(every, axis=1, keepdims=True), np.eye(3)])
    shares = share(every)
    assert shares.min() == share(np.eye(3)).min() == pytest.approx(0.9266, abs=1e-4)
    assert shares.max() == pytest.approx(1.0228, abs=2e-4)
    assert shares.mean() == pytest.approx(1.0, abs=2e-4)
    assert shares.std() == pytest.approx(0.0162, abs=2e-4)
    assert np.mean(np.abs(shares - 1) < 0.02) == pytest.approx(0.82, abs=0.01)  # not all: no 2 % at every angle

    # and so do images, of homogeneous fields of parallel planes; their mean over shifts by parts of a period holds the
    # right share of planes wherever the border lies
    n, period, shifts = 41, 9.7, 6
    g = np.stack(np.indices((n,) * 3), -1) - (n - 1) / 2
    ratios = np.zeros(30)
    for i, u in enumerate(every[:30]):
        for k in range(shifts):
            image = np.floor((g @ u) / period + 50 + (k + 0.3) / shifts).astype(int) % 2
            d = measure(image.astype(np.uint8), [Surface(2, border="corrected")], CUBIC, ["a", "b"])
            ratios[i] += float(d.surface_per_total_volume.sel(phase="a", estimator="crofton13")) * period / shifts
    assert np.abs(ratios - shares[:30]).max() < 0.02
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.01)


def test_a_plane_along_an_axis_shows_the_known_bias():
    image = np.zeros((20, 30, 40), np.uint8)
    image[10:] = 1
    d = measure(image, [Surface(2, border="corrected")], CUBIC, ["a", "b"])
    share = d.surface_area.sel(phase="a") * 19 / 20 / (30 * 40)  # pairs across z: 19 of 20 layers
    w = line_weights(CUBIC)
    exact = 2 * (w[0] + 4 * w[3] / 2**0.5 + 4 * w[6] / 3**0.5)
    assert float(share.sel(estimator="crofton13")) == pytest.approx(exact, rel=1e-12)
    assert exact == pytest.approx(0.927, abs=0.001)
    assert float(share.sel(estimator="faces")) == pytest.approx(1.0, rel=1e-12)


def test_borders():
    full = np.ones((4, 5, 6), np.uint8)
    assert area(full)["faces"] == 0
    assert area(full, border="included")["faces"] == 2 * (20 + 24 + 30)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 3, (8, 9, 10)).astype(np.uint8)
    # a padded image, its added layer being a phase of its own, has the border as surface
    padded = measure(np.pad(image, 1, constant_values=3), [Surface(4)], (1, 2, 3), "abcd").isel(phase=slice(3))
    included = measure(image, [Surface(3, border="included")], (1, 2, 3), "abc")
    np.testing.assert_allclose(included.surface_area, padded.surface_area, rtol=1e-12)
    # pairs scaled by those that fit in: a checkerboard has 3 faces a voxel wherever it is cut
    board = (np.indices((5, 6, 7)).sum(axis=0) % 2).astype(np.uint8)
    d = measure(board, [Surface(2, border="corrected")], CUBIC, "ab")
    np.testing.assert_allclose(d.surface_per_total_volume.sel(estimator="faces"), 3.0, rtol=1e-12)


def test_interfaces_add_up_to_surfaces_and_are_symmetric():
    image = np.random.default_rng(1).integers(0, 4, (9, 10, 11)).astype(np.uint8)
    d = measure(image, [Surface(4), Interface(4)], (1.0, 1.5, 0.7), "abcd")
    np.testing.assert_allclose(d.interface_area.sum("neighbour"), d.surface_area, rtol=1e-12)
    assert np.array_equal(d.interface_area, d.interface_area.values.transpose(0, 2, 1))
    assert not d.interface_area.values[:, range(4), range(4)].any()
    np.testing.assert_allclose(d.interface_per_total_volume * image.size * 1.05, d.interface_area, rtol=1e-12)


def test_faces_between_two_phases_by_hand():
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 1] = 1
    image[0, 0, 2] = 2
    faces = measure(image, [Interface(3)], (1.0, 1.0, 5.0), "abc").interface_area.sel(estimator="faces")
    assert float(faces.sel(phase="a", neighbour="b")) == 7
    assert float(faces.sel(phase="b", neighbour="c")) == 1
    assert float(faces.sel(phase="c", neighbour="a")) == 10


def test_empty_phases_one_voxel_and_a_phase_everywhere():
    d = measure(np.full((1, 1, 1), 1, np.uint8), [Morphology(3)], (2.0, 2.0, 2.0), "abc")
    assert not d.surface_area.any()
    assert np.isnan(d.surface_per_phase_volume.sel(phase=["a", "c"])).all()
    assert not d.surface_per_phase_volume.sel(phase="b").any()
    assert float(d.tpb_edge_length) == 0
    one = measure(np.full((1, 1, 1), 1, np.uint8), [Surface(2, border="included")], (2.0, 2.0, 2.0), "ab")
    assert float(one.surface_area.sel(phase="b", estimator="faces")) == 24
    flat = np.random.default_rng(2).integers(0, 2, (1, 9, 9)).astype(np.uint8)
    # no pair along z: nothing is scaled up from nothing
    assert np.isfinite(measure(flat, [Surface(2, border="corrected")], CUBIC, "ab").surface_area).all()


def test_windows_equal_cropped_images_bit_for_bit_and_one_pass_serves_all():
    image = np.random.default_rng(4).integers(0, 3, (20, 17, 25)).astype(np.uint8)
    m = Morphology(3, tile=8)
    assert isinstance(m, Measure)
    assert m.source == Contacts(3, 8)
    assert hash(m.source) == hash(Surface(3, tile=8, border="included").source)
    window = Box((8, 0, 8), (20, 16, 24))
    crop = measure(image[window.slices], [m], (1, 1, 2), "abc")
    for block in (100, 7, (1, 30, 30)):
        grid = Grid.regular(image.shape, block)
        shape, dtype = m.record(grid.largest)
        records = np.zeros((*grid.counts, *shape), dtype)
        for b in grid.blocks(m.halo):
            r = m(image[b.outer.slices], b)
            records[b.index][tuple(slice(0, n) for n in r.shape)] = r
        assert m.finalize(records, grid, (1, 1, 2), "abc", window).identical(crop)


def test_bad_names_sizes_and_borders_are_refused():
    image = np.zeros((3, 3, 3), np.uint8)
    with pytest.raises(InputError, match="border must be"):
        Surface(2, border="open")
    with pytest.raises(InputError, match="2 phases, but 1 names"):
        measure(image, [Surface(2)], CUBIC, ["a"])
    with pytest.raises(InputError, match="must differ"):
        measure(image, [Surface(2)], CUBIC, ["a", "a"])
    for bad in ((1, 1), (1, 1, 0), (1, 1, np.nan), (-1, 1, 1)):
        with pytest.raises(InputError, match="voxel_size"):
            area(image, bad)


def test_electrode_areas():
    path = DATA / "electrode.tiff"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    import tifffile

    image = np.searchsorted([0, 85, 170], tifffile.imread(path)).astype(np.uint8)
    d = measure(image, [Morphology(3)], CUBIC, ["pore", "active", "binder"], block=100)
    density = d.surface_per_total_volume.sel(estimator="faces").values
    assert density.round(6).tolist() == [0.306837, 0.146105, 0.342226]
    fractions = np.bincount(image.ravel()) / image.size
    assert fractions.round(6).tolist() == [0.449917, 0.400466, 0.149616]
    np.testing.assert_allclose(d.surface_per_phase_volume.sel(estimator="faces"), density / fractions, rtol=1e-12)


def test_berea_volume_and_area():
    path = DATA / "berea_pore.raw"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    image = (np.fromfile(path, np.uint8).reshape(110, 110, 110) == 0).astype(np.uint8)
    m = Contacts(2)
    grid = Grid.regular(image.shape, 200)
    records = m(image, grid.block((0, 0, 0)))[None, None, None]
    assert m.counts(records, grid).voxels.tolist() == [110**3 - 236_764, 236_764]
    # another program's area, by three directions and with the border as surface
    assert area(image, border="included")["crofton3"] == pytest.approx(40_608, abs=0.5)
