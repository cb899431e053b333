"""Pores and throats: lattices whose network is known, whole-array counts, other blocks, and PoreSpy's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import balls, noise, same
from real_data import DATA
from scipy import ndimage
from traced import traced_peak

from mgsflow.blocks import Box, Grid
from mgsflow.compute import MemoryParts, StoredParts, indices
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import ArraySource, PhaseMask
from mgsflow.labelling.distance.certified import DistanceSource
from mgsflow.network import Throats, ThroatSums, local_porosity, pore_network
from mgsflow.network.conductance import form_factor
from mgsflow.network.throat_kernel import FACES


def meetings(labels: np.ndarray, d2: np.ndarray, block: int) -> Throats:
    grid, parts = Grid.regular(labels.shape, block), MemoryParts()
    sums = ThroatSums(ArraySource(labels.astype(np.uint32)), ArraySource(d2.astype(np.int32)), grid, parts)
    for index in indices(grid):
        sums.run(index)
    return Throats.total(piece for index in indices(grid) for piece in sums.read(index))


def test_a_lattice_of_overlapping_balls_is_exact():
    count, edge, radius, size = 3, 17, 10.2, 0.25
    network = pore_network(balls(edge, radius, count), voxel_size=size)
    assert network.count == count**3
    assert network.throat_count == 3 * count**2 * (count - 1)
    assert network.mean_coordination == 2 * 3 * count**2 * (count - 1) / count**3
    inner = network.pores["coordination"].max()
    assert (inner, network.pores["coordination"].min()) == (6, 3)
    cells = (np.indices((count,) * 3).reshape(3, -1).T + 0.5) * edge * size
    np.testing.assert_allclose(network.pores["centre"], cells, atol=0.51 * size)
    np.testing.assert_allclose(network.pores["inscribed_radius"], radius * size, atol=0.6 * size)
    # two balls meet in a circle: that of the last plane of voxels, half a voxel before
    circle = np.sqrt(radius**2 - (edge / 2 - 0.5) ** 2) * size
    np.testing.assert_allclose(network.throats["radius"], circle, atol=0.4 * size)
    np.testing.assert_allclose(network.throats["hydraulic_radius"], circle, rtol=0.08)
    np.testing.assert_allclose(network.throats["cross_section"], np.pi * circle**2, rtol=0.04)
    np.testing.assert_allclose(network.throats["length"], edge * size, rtol=0.02)
    assert network.openings["pore"].size == 6 * count**2
    assert network.pores["touches_low"].sum() == network.pores["touches_high"].sum() == 3 * count**2
    assert network.pores["voxel_count"].sum() / (edge * count) ** 3 == network.porosity


def test_balls_apart_have_no_throats_and_specks_are_left_out():
    mask = balls(12, 4.5, 2)
    mask[0, 0, :3] = mask[23, 23, 23] = True
    network = pore_network(mask, voxel_size=1)
    assert (network.count, network.throat_count, network.specks) == (8, 0, 2)
    assert network.openings["pore"].size == 0
    assert network.porosity == mask.mean()
    every = pore_network(mask, voxel_size=1, min_voxels=0)
    assert (every.count, every.specks) == (10, 0)
    np.testing.assert_array_equal(every.pores["touches_low"].sum(axis=0), [1, 1, 1])


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(3, 17), st.floats(0.2, 0.8))
def test_throats_are_those_of_the_whole_array(seed, block, share):
    generator = np.random.default_rng(seed)
    shape = tuple(generator.integers(1, 18, 3))
    coarse = generator.integers(0, 5, shape)
    labels = np.where(generator.random(shape) < share, coarse, 0)
    d2 = generator.integers(1, 100, shape)
    found = meetings(labels, d2, block)
    wanted: dict[tuple[int, int], list[float]] = {}
    padded = np.pad(labels, 1)
    for axis in range(3):
        outer = [slice(1, -1)] * 3
        for low in range(shape[axis] + 1):
            outer[axis] = low
            a = padded[tuple(outer)].copy()
            outer[axis] = low + 1
            b = padded[tuple(outer)].copy()
            squares = [np.take(d2, min(max(k, 0), shape[axis] - 1), axis) for k in (low - 1, low)]
            squared, mean = np.minimum(*squares), np.sqrt(squares).mean(axis=0)
            if low == 0:
                a[b > 0] = FACES + 2 * axis
            if low == shape[axis]:
                b[a > 0] = FACES + 2 * axis + 1
            for where in np.argwhere((a != b) & (a > 0) & (b > 0)):
                one, two = int(a[tuple(where)]), int(b[tuple(where)])
                row = wanted.setdefault((min(one, two), max(one, two)), [0.0] * 11)
                row[axis] += 1
                row[3 + axis] += 1 if one < two else -1
                place = [*where]
                place.insert(axis, low)
                for k in range(3):
                    row[6 + k] += place[k] + (0 if k == axis else 0.5)
                row[9] += float(mean[tuple(where)])
                row[10] = max(row[10], float(squared[tuple(where)]))
    pairs = sorted(wanted)
    np.testing.assert_array_equal(found.pairs, np.array(pairs).reshape(-1, 2))
    if not pairs:
        return
    rows = np.array([wanted[p] for p in pairs])
    faces = rows[:, :3].sum(axis=1)
    np.testing.assert_array_equal(found.faces, rows[:, :3])
    np.testing.assert_array_equal(found.crossing, rows[:, 3:6])
    np.testing.assert_allclose(found.position, rows[:, 6:9] / faces[:, None], rtol=1e-12)
    np.testing.assert_allclose(found.mean_distance, rows[:, 9] / faces, rtol=1e-3)
    np.testing.assert_allclose(found.largest_distance, np.sqrt(rows[:, 10]), rtol=1e-12)


@settings(max_examples=6)
@given(st.integers(0, 10_000), st.tuples(*[st.integers(4, 26)] * 3), st.sampled_from([0.0, 0.5, 1.0]))
def test_blocks_and_threads_do_not_matter(seed, block, persistence):
    mask = noise((26, 22, 24), 0.5, seed)
    whole = pore_network(mask, voxel_size=0.2, persistence=persistence, threads=1)
    assert whole.throat_count > 0
    same(whole, pore_network(mask, voxel_size=0.2, persistence=persistence, block=block, threads=2))


def test_many_throats_take_many_pieces(monkeypatch):
    generator = np.random.default_rng(0)
    labels = generator.integers(1, 2000, (16, 20, 12))
    d2 = generator.integers(1, 50, labels.shape)
    whole = meetings(labels, d2, 20)
    monkeypatch.setattr("mgsflow.network.throats._SLOTS", 4)
    pieces = meetings(labels, d2, 20)
    np.testing.assert_array_equal(whole.pairs, pieces.pairs)
    np.testing.assert_array_equal(whole.sums, pieces.sums)


@pytest.mark.parametrize(("radius", "close"), [(2.0, 0.04), (3.0, 0.03), (6.0, 0.02)])
def test_tubes_in_any_direction_have_their_cross_section_and_flow(radius, close):
    generator = np.random.default_rng(1)
    edge = int(4 * radius) + 10
    areas, faces, flows = [], [], []
    for _ in range(30):
        along = generator.standard_normal(3)
        along /= np.linalg.norm(along)
        place = np.indices((edge,) * 3) - (edge / 2 + generator.random(3) - 0.5)[:, None, None, None]
        far = np.tensordot(along, place, 1)
        inside = (place**2).sum(axis=0) - far**2 < radius**2
        d2 = np.rint(ndimage.distance_transform_edt(inside) ** 2)
        found = meetings(np.where(inside, 1 + (far > 0), 0), d2, edge)
        cut = found.select(found.pairs[:, 1] == 2)
        areas.append(cut.cross_section[0])
        faces.append(cut.faces.sum())
        form, k = form_factor(3 * (cut.mean_distance - 0.5), cut.cross_section)
        flows.append(float(k[0] * form[0] * areas[-1] ** 2))
    assert np.mean(areas) == pytest.approx(np.pi * radius**2, rel=close)
    assert np.mean(flows) == pytest.approx(np.pi * radius**4 / 8, rel=0.08)
    # negative control: voxel faces are too many
    assert np.mean(faces) > 1.15 * np.pi * radius**2


def test_ids_are_written_and_a_phase_is_chosen(tmp_path):
    phases = np.where(balls(12, 6.5, 2), 3, 1).astype(np.uint8)
    stored = zarr.create_array(tmp_path / "phase", data=phases, chunks=(12, 12, 12))
    out = zarr.create_array(tmp_path / "ids", shape=phases.shape, dtype=np.uint32, chunks=(12, 12, 12))
    network = pore_network(stored, 3, 0.5, out=out, block=12)
    same(network, pore_network(phases == 3, voxel_size=0.5))
    np.testing.assert_array_equal(np.bincount(out[...].ravel())[1:], network.pores["voxel_count"])
    assert pore_network(phases, 2, 0.5).count == 0
    dataset = network.to_dataset()
    assert dataset.sizes == {"pore": 8, "axis": 3, "throat": 12, "opening": 24}
    assert dataset.throat_radius.attrs["units"] == "µm"


def test_memory_is_what_is_said(tmp_path):
    shape = (80, 80, 80)  # megabytes, beside which the objects of zarr and of other threads are little
    mask = noise(shape, 0.5, 1)
    labels = ArraySource(np.random.default_rng(0).integers(1, 400, shape).astype(np.uint32) * mask)
    zarr.create_group(tmp_path / "parts")
    parts = StoredParts(str(tmp_path / "parts"), "")
    work = ThroatSums(labels, DistanceSource(PhaseMask(ArraySource(mask))), Grid.regular(shape, 64), parts)
    work.run((0, 0, 0))
    peak = traced_peak(lambda: work.run((0, 0, 0)), times=3)
    assert peak < work.memory() < 3 * peak


def test_local_porosity_is_that_of_each_cube():
    mask = noise((20, 24, 13), 0.3, 2)
    found = local_porosity(mask, voxel_size=(0.5, 0.4, 0.3), edge=8, block=7)
    assert found.shape == (3, 3, 2)
    for index in np.ndindex(found.shape):
        cube = tuple(slice(8 * i, 8 * i + 8) for i in index)
        assert float(found[index]) == pytest.approx(mask[cube].mean(), abs=1e-12)
    np.testing.assert_allclose(found.cube_y, [0, 3.2, 6.4])


def test_what_cannot_be_used_is_refused():
    mask = balls(8, 4.5, 2)
    with pytest.raises(InputError, match="voxel_size is missing"):
        pore_network(mask)
    with pytest.raises(InputError, match="cubes"):
        pore_network(mask, voxel_size=(0.2, 0.1, 0.1))
    with pytest.raises(InputError, match="label"):
        pore_network(mask, 1.5, 1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="persistence"):
        pore_network(mask, None, 1.0, persistence=-1)
    ids = ArraySource(mask.astype(np.uint32))
    with pytest.raises(InputError, match="one shape"):
        ThroatSums(ids, ArraySource(np.ones((2, 2, 2), np.int32)), Grid.regular(mask.shape, 8), MemoryParts())
    with pytest.raises(InputError, match="fewer than"):
        meetings(np.full((2, 2, 2), FACES), np.ones((2, 2, 2)), 2)
    assert Box.of(mask.shape).size == mask.size


@pytest.mark.slow
def test_a_real_electrode_has_the_pores_that_porespy_finds():
    tifffile = pytest.importorskip("tifffile")
    folder = DATA
    if not (folder / "electrode.tiff").is_file():
        pytest.skip("electrode.tiff is not at hand")
    phases = tifffile.imread(folder / "electrode.tiff")
    # porespy 3.2.0: snow_partitioning, regions_to_network of the pores (label 0), all parameters as they come
    pores, throats = 3856, 13789
    network = pore_network(phases, 0, 1.0)
    assert network.count == pytest.approx(pores, rel=0.15)
    assert network.mean_coordination == pytest.approx(2 * throats / pores, rel=0.15)
    # negative control: it is not so for any persistence
    assert pore_network(phases, 0, 1.0, persistence=1).count < 0.5 * pores
