"""The table of particles: exact counts against slices of the whole array and regionprops, the same for any blocks."""

from __future__ import annotations

from itertools import product
from time import thread_time

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops
from traced import traced_peak

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import MemoryParts, StoredParts
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import ArraySource
from mgsflow.measures.surface.area import area_factors
from mgsflow.particle_analysis.from_labels import particles
from mgsflow.particle_analysis.kernel import number_plane
from mgsflow.particle_analysis.merge import merge
from mgsflow.particle_analysis.parts import Columns, Part
from mgsflow.particle_analysis.sums import ParticleSums, block_parts
from mgsflow.particle_analysis.table import CONTACTS, VARIABLES, ParticleTable, make_table

RNG = np.random.default_rng(20210106)
HUGE = np.array([0, 3, 1 << 33, (1 << 40) + 7, (1 << 64) - 1, 12, 1 << 63], np.uint64)
"""Ids beyond 2^32, up to the last of 64 bits."""


def blobs(shape: Triple, cells: int, seed: int, gaps: float = 0.3) -> np.ndarray:
    """Label Voronoi cells of random points, some of them background: compact regions that touch in all ways."""
    rng = np.random.default_rng(seed)
    points = rng.random((cells, 3)) * shape
    voxels = np.indices(shape).reshape(3, -1).T + 0.5
    nearest = ((voxels[:, None] - points) ** 2).sum(axis=2).argmin(axis=1).reshape(shape)
    names = np.arange(1, cells + 1) * (rng.random(cells) > gaps)
    return names[nearest].astype(np.uint32)


NOISE = RNG.integers(0, 5, (11, 13, 17)).astype(np.uint16)
CELLS = blobs((17, 19, 23), 30, 3)
GREY = RNG.integers(0, 1 << 16, CELLS.shape).astype(np.uint16)
BLOCKS = [100, 7, (1, 50, 50), (50, 1, 6), (5, 13, 1), (3, 50, 50), 4]
SIZE = (0.5, 0.4, 0.7)


def same(a: ParticleTable, b: ParticleTable) -> bool:
    """Tell whether two tables are equal to the bit, dtypes included."""
    if a.columns.keys() != b.columns.keys() or a.shape != b.shape or a.ids.tobytes() != b.ids.tobytes():
        return False
    pairs = [(a.columns[k], b.columns[k]) for k in a.columns] + [(a.contacts[k], b.contacts[k]) for k in CONTACTS]
    return all(p.dtype == q.dtype and p.tobytes() == q.tobytes() for p, q in pairs)


def slow_pairs(labels: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Count unlike neighbours by class of direction from shifted slices of the whole array."""
    kinds = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)]
    found: dict[tuple[int, int], np.ndarray] = {}
    for d in product((-1, 0, 1), repeat=3):
        if d <= (0, 0, 0):
            continue
        near = labels[tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(d, labels.shape))]
        far = labels[tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(d, labels.shape))]
        for a, b in zip(near[near != far].tolist(), far[near != far].tolist()):
            at = found.setdefault((min(a, b), max(a, b)), np.zeros(7, np.int64))
            at[kinds.index(tuple(abs(s) for s in d))] += 1
    return found


@pytest.mark.parametrize("labels", [NOISE, CELLS], ids=["noise", "cells"])
def test_volumes_boxes_and_moments_are_those_of_regionprops(labels):
    image = RNG.integers(0, 1 << 16, labels.shape).astype(np.uint16)
    table = particles(labels, image, voxel_size=1)
    found = regionprops(labels.astype(np.int64), image)
    assert table.ids.tolist() == [r.label for r in found]
    assert table["voxel_count"].tolist() == [r.area for r in found]
    assert np.hstack([table["box_start"], table["box_stop"]]).tolist() == [list(r.bbox) for r in found]
    np.testing.assert_allclose(table["centroid"] - 0.5, [r.centroid for r in found], rtol=1e-13)
    np.testing.assert_allclose(table["grey_mean"], [r.intensity_mean for r in found], rtol=1e-13)
    assert table["grey_low"].tolist() == [r.intensity_min for r in found]
    assert table["grey_high"].tolist() == [r.intensity_max for r in found]
    # scikit-image takes voxels as points, and gives tr(C) - λ for the eigenvalues λ of the covariance C
    points = table["semi_axis"] ** 2 / 5 - 1 / 12
    inertia = np.sort(points.sum(axis=1, keepdims=True) - points, axis=1)[:, ::-1]
    np.testing.assert_allclose(inertia, [r.inertia_tensor_eigvals for r in found], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("labels", [NOISE, CELLS], ids=["noise", "cells"])
@pytest.mark.parametrize("voxel_size", [(1, 1, 1), SIZE])
def test_surfaces_and_contacts_are_those_of_shifted_slices(labels, voxel_size):
    table = particles(labels, voxel_size=voxel_size, block=6)
    factors = area_factors(voxel_size)
    unlike = dict.fromkeys(table.ids.tolist(), 0)
    shared, neighbours, touching = (dict.fromkeys(unlike, 0) for _ in range(3))
    contacts = []
    for (a, b), counts in sorted(slow_pairs(labels).items()):
        for i, j in ((a, b), (b, a)):
            if i:
                unlike[i] = unlike[i] + counts
            if i and j:
                shared[i] += float(factors[0] @ counts)
                neighbours[i] += bool(counts[:3].any())
                touching[i] += 1
        if a:
            contacts.append((a, b, counts))
    areas = np.array([factors @ unlike[i] for i in table.ids.tolist()])
    np.testing.assert_allclose(table["surface_area"], areas[:, 0], rtol=1e-12)
    np.testing.assert_allclose(table["surface_area_faces"], areas[:, 2], rtol=1e-12)
    np.testing.assert_allclose(table["contact_area"], list(shared.values()), rtol=1e-12, atol=1e-12)
    assert table["contact_number"].tolist() == list(neighbours.values())
    assert table["touching_number"].tolist() == list(touching.values())
    assert list(zip(table.contacts["particle_a"], table.contacts["particle_b"])) == [c[:2] for c in contacts]
    assert table.contacts["faces"].tolist() == [c[2][:3].tolist() for c in contacts]
    np.testing.assert_allclose(table.contacts["area"], [factors[0] @ c[2] for c in contacts], rtol=1e-12)


def test_the_cut_is_what_a_frame_of_background_adds():
    table, framed = particles(CELLS, voxel_size=SIZE), particles(np.pad(CELLS, 1), voxel_size=SIZE)
    np.testing.assert_allclose(table["surface_area"] + table["cut_area"], framed["surface_area"], rtol=1e-12)
    np.testing.assert_allclose(table["sphericity"], framed["sphericity"], rtol=1e-12)
    assert not framed["cut_area"].any()
    inner = ~table["touches_border"]
    assert 0 < inner.sum() < len(table)
    assert not table["cut_area"][inner].any()
    assert (table["cut_area"][~inner] > 0).all()
    assert not framed["touches_border"].any()


def test_which_faces_a_particle_touches():
    labels = np.zeros((4, 5, 6), np.int64)
    labels[1, 2, :] = 7
    labels[0, 0, 0] = 9
    labels[3, 2, 2] = 4
    table = particles(labels, voxel_size=1)
    assert table.ids.tolist() == [4, 7, 9]
    assert table["touches_low"].tolist() == [[False] * 3, [False, False, True], [True] * 3]
    assert table["touches_high"].tolist() == [[True, False, False], [False, False, True], [False] * 3]
    assert table["spans"].tolist() == [[False] * 3, [False, False, True], [False] * 3]


def test_one_body_that_percolates_is_one_particle_and_says_so():
    labels = np.zeros((9, 10, 11), np.uint8)
    labels[4] = labels[:, 5] = labels[:, :, 5] = 200
    table = particles(labels, voxel_size=1, block=3)
    assert table.ids.tolist() == [200]
    assert table["spans"].all()
    assert table["border_weight"].tolist() == [0]


@pytest.mark.parametrize("block", BLOCKS)
def test_tables_do_not_depend_on_blocks(block):
    distance = RNG.random(CELLS.shape)
    for labels in (CELLS, HUGE[CELLS % 7]):
        wanted = particles(labels, GREY, SIZE, distance, block=100)
        assert same(particles(labels, GREY, SIZE, distance, block=block, threads=2), wanted)
    grey = (GREY.astype(np.float64) - 3e4) * 1e-3
    assert same(particles(CELLS, grey, 1, block=block), particles(CELLS, grey, 1))


@settings(max_examples=60)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    cuts=st.tuples(*[st.lists(st.integers(1, 5), min_size=9, max_size=9)] * 3),
    kind=st.sampled_from(["noise", "two", "cells", "checkerboard", "full", "empty", "diagonal"]),
    room=st.sampled_from([1, 20, 1 << 14]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_any_volume_any_uneven_blocks_in_any_order(shape, cuts, kind, room, seed, data):
    rng = np.random.default_rng(seed)
    labels = {
        "noise": lambda: HUGE[rng.integers(0, 7, shape)],
        "two": lambda: rng.integers(0, 2, shape),
        "cells": lambda: blobs(shape, 6, seed),
        "checkerboard": lambda: np.indices(shape).sum(axis=0) % 2 + 1,
        "full": lambda: np.full(shape, 1 << 35),
        "empty": lambda: np.zeros(shape, np.uint8),
        "diagonal": lambda: np.where(np.ptp(np.indices(shape), axis=0) == 0, 5, 0),
    }[kind]()
    image = rng.integers(-9, 9, shape)
    lengths = []
    for n, cut in zip(shape, cuts):
        ends = np.unique(np.minimum(np.cumsum(cut), n))
        lengths.append(tuple(np.diff([0, *ends.tolist()]).tolist()))
    grid = Grid(tuple(lengths))
    assert grid.shape == shape
    work = ParticleSums(ArraySource(labels), grid, MemoryParts(), ArraySource(image), room=room)
    blocks = data.draw(st.permutations([b.index for b in grid.blocks()]))
    for index in blocks:
        assert work.run(index) == index
    total = merge((p for index in reversed(blocks) for p in work.read(index)), work.columns)
    found = make_table(total, work.columns, shape, SIZE)
    assert same(found, particles(labels, image, SIZE, block=shape))
    names, counts = np.unique(labels[labels != 0], return_counts=True)
    assert np.array_equal(found.ids, names.astype(np.uint64))
    assert np.array_equal(found["voxel_count"], counts)


def test_averages_of_blocks_fail():
    # negative control: what each block makes of its part does not add up to the particle
    wanted = particles(CELLS, GREY, 1)
    grid = Grid.regular(CELLS.shape, 8)
    means: dict[int, list[float]] = {}
    areas = dict.fromkeys(wanted.ids.tolist(), 0.0)
    for b in grid.blocks():
        part = particles(CELLS[b.core.slices], GREY[b.core.slices], 1)
        for name, mean, area in zip(part.ids.tolist(), part["grey_mean"], part["surface_area"]):
            means.setdefault(name, []).append(mean)
            areas[name] += area
    averaged = np.array([np.mean(means[i]) for i in wanted.ids.tolist()])
    assert not np.allclose(averaged, wanted["grey_mean"], rtol=1e-6)
    # blocks that see nothing beyond themselves lose surface
    assert (np.array(list(areas.values())) <= wanted["surface_area"] + 1e-9).all()
    assert sum(areas.values()) < 0.95 * wanted["surface_area"].sum()


def test_blocks_of_many_particles_leave_many_parts():
    labels = np.arange(1, 1 + 20 * 21 * 22).reshape(20, 21, 22).astype(np.uint64) << np.uint64(30)
    core = Box.of(labels.shape)
    parts = list(block_parts(labels, core, labels.shape, room=100))
    assert len(parts) > 20
    total = merge(parts, Columns())
    assert same(make_table(total, Columns(), labels.shape, (1, 1, 1)), particles(labels, voxel_size=1))
    assert np.array_equal(total.ids, labels.ravel())
    for part in parts:
        again, more = Part.unpack(part.pack(True))
        assert more
        assert all(np.array_equal(getattr(again, k), getattr(part, k)) for k in Part.__dataclass_fields__)


@pytest.mark.parametrize("step", [1 << 20, 1 << 32, 1 << 46])
def test_ids_in_any_steps_are_numbered_as_fast(step):
    def seconds(ids):
        n = ids.size
        state = np.zeros(2 * n, np.uint64), np.zeros(2 * n, np.int32), np.zeros(n + 1, np.uint64)
        plane = np.zeros(ids.shape, np.int32), np.zeros((*ids.shape, 2), np.int32), np.zeros(len(ids), np.int64)
        start = thread_time()
        assert number_plane(ids, *state, 0, *plane) == n
        assert np.array_equal(plane[0].ravel(), np.arange(1, n + 1))
        return thread_time() - start

    ids = np.arange(1, 1 + (1 << 16), dtype=np.uint64).reshape(256, 256)
    seconds(ids)
    # had they all one place in the table, it would be thousands of times
    assert seconds(ids * np.uint64(step)) < 30 * seconds(ids) + 0.01


def test_an_empty_image_gives_an_empty_table_with_all_columns(tmp_path):
    labels = np.zeros((5, 6, 7), np.uint8)
    table = particles(labels, labels, 1, labels, block=3)
    full = particles(labels + 1, labels, 1, labels, block=3)
    assert len(table) == 0
    assert set(table.columns) == set(VARIABLES) == set(full.columns)
    assert {k: v.dtype for k, v in table.columns.items()} == {k: v.dtype for k, v in full.columns.items()}
    d = table.to_dataset()
    assert d.sizes == {"particle": 0, "axis": 3, "principal": 3}
    assert table.contacts_dataset().sizes == {"contact": 0, "axis": 3}
    table.to_csv(tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_text().count("\n") == 1


def test_datasets_have_units_and_names_and_csv_has_the_numbers(tmp_path):
    table = particles(CELLS, GREY, SIZE)
    d = table.to_dataset()
    assert all({"units", "long_name"} <= set(v.attrs) for v in d.data_vars.values())
    assert d.volume.attrs["units"] == "µm³"
    assert np.array_equal(d.particle, table.ids)
    assert d.centroid.sel(particle=int(table.ids[2]), axis="y") == table["centroid"][2, 1]
    c = table.contacts_dataset()
    assert c.area.dims == ("contact",)
    assert c.faces.dims == ("contact", "axis")
    table.to_csv(tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()
    head, first = lines[0].split(","), lines[1].split(",")
    assert len(lines) == 1 + len(table)
    assert float(first[head.index("volume [µm³]")]) == table["volume"][0]
    assert float(first[head.index("centroid_x [µm]")]) == table["centroid"][0, 2]
    assert first[head.index("spans_z")] in "01"


def test_float_images_are_summed_exactly_in_any_order():
    labels = np.ones((6, 7, 8), np.uint8)
    labels[3:] = 2
    rng = np.random.default_rng(1)
    # 60 orders of magnitude, signs, zeros, subnormal numbers: a running sum would lose most of it
    image = (rng.normal(size=labels.shape) * 10.0 ** rng.integers(-38, 22, labels.shape)).astype(np.float32)
    image[0, 0] = [0.0, -0.0, 1e-45, -3e-42, 1e22, -1e22, 1.0, 2.0**-40]
    table = particles(labels, image, 1, block=3)
    from fractions import Fraction

    for k, i in enumerate((1, 2)):
        values = image[labels == i]
        exact = sum(Fraction(float(v)) for v in values) / values.size
        assert table["grey_mean"][k] == float(exact)
        assert table["grey_low"][k] == values.min()
        assert table["grey_high"][k] == values.max()
    assert same(table, particles(labels, image.astype(np.float64), 1))


def test_second_moments_beyond_64_bits_are_exact():
    # a body of 2^40 voxels far from the origin, as if 4096 blocks had each seen a cube of it
    n, edge, origin = 16, 640, 40000
    columns = Columns()
    none = Part.empty(columns)
    parts = []
    at = columns.added
    one, two = sum(range(edge)), sum(i * i for i in range(edge))
    for index in product(range(n), repeat=3):
        o = [origin + edge * i for i in index]
        s1 = [one + edge * v for v in o]
        s2 = [two + 2 * v * one + v * v * edge for v in o]
        added = np.zeros((1, none.added.shape[1]), np.int64)
        added[0, at["voxels"]] = edge**3
        added[0, at["first"]] = [s * edge**2 for s in s1]
        second = [s * edge**2 for s in s2] + [s1[i] * s1[j] * edge for i, j in ((0, 1), (0, 2), (1, 2))]
        added[0, at["second_high"]] = [v >> 31 for v in second]
        added[0, at["second_low"]] = [v & (2**31 - 1) for v in second]
        topped = np.zeros((1, 12), np.int64)
        topped[0, :3] = [-v for v in o]
        topped[0, 3:6] = [v + edge - 1 for v in o]
        parts.append(Part(np.array([1 << 50], np.uint64), added, topped, none.pairs, none.contacts))
    table = make_table(merge(parts, columns), columns, (60000,) * 3, (1, 1, 1))
    width = n * edge
    assert table["voxel_count"].tolist() == [width**3]
    assert table["centroid"].tolist() == [[origin + width / 2] * 3]
    # a cube: λ = w² / 12 exactly, the voxels' own extent included
    np.testing.assert_allclose(table["semi_axis"], width * np.sqrt(5 / 12), rtol=1e-14)


def test_blocks_may_lie_anywhere_in_a_volume_of_65536():
    labels = np.pad(CELLS, 1)
    core = Box((60000, 61000, 62000), tuple(int(a + n) for a, n in zip((60000, 61000, 62000), labels.shape)))
    big = (65536, 65536, 65536)
    framed = np.pad(labels, ((0, 1), (0, 1), (0, 1)))
    total = merge(block_parts(framed, core, big), Columns())
    table, near = make_table(total, Columns(), big, SIZE), particles(CELLS, voxel_size=SIZE)
    for name in ("voxel_count", "surface_area_faces", "semi_axis"):
        assert np.array_equal(table[name], particles(labels, voxel_size=SIZE)[name])
    np.testing.assert_allclose(table["centroid"] - (np.array(core.start) + 1) * SIZE, near["centroid"], rtol=1e-9)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_dtypes_of_labels_and_images(kind):
    wanted = particles(CELLS, GREY // 600, 1)
    assert same(particles(CELLS.astype(kind), (GREY // 600).astype(kind), 1), wanted)


def test_bool_labels_and_strided_input():
    table = particles(CELLS > 0, CELLS > 9, 1)
    assert table.ids.tolist() == [1]
    assert table["grey_mean"] == pytest.approx((CELLS > 9).sum() / (CELLS > 0).sum(), rel=1e-14)
    wide = np.repeat(CELLS, 2, axis=2)[:, :, ::2]
    wide.flags.writeable = False
    assert same(particles(wide, np.asfortranarray(GREY), SIZE), particles(CELLS, GREY, SIZE))


def test_zarr_dask_and_dataarrays_give_the_same(tmp_path, two_workers):
    wanted = particles(CELLS, GREY, SIZE)
    stored = []
    for name, array in (("l", CELLS), ("g", GREY)):
        stored.append(
            zarr.create_array(str(tmp_path / f"{name}.zarr"), shape=array.shape, dtype=array.dtype, chunks=(8, 8, 8))
        )
        stored[-1][...] = array
    assert same(particles(*stored, SIZE, block=8), wanted)
    assert same(particles(*stored, SIZE, block=8, client=two_workers, scratch=tmp_path), wanted)
    lazy = [xr.DataArray(a, dims=("z", "y", "x")).chunk(9) for a in (CELLS, GREY)]
    assert same(particles(*lazy, SIZE, block=7), wanted)
    # what lies in this process stays here
    assert same(particles(CELLS, GREY, SIZE, block=7, client=two_workers), wanted)


def test_parts_may_be_stored_and_blocks_run_twice(tmp_path):
    zarr.create_group(tmp_path / "s")
    grid = Grid.regular(CELLS.shape, 9)
    work = ParticleSums(ArraySource(CELLS), grid, StoredParts(str(tmp_path / "s"), ""), room=40)
    indices = [b.index for b in grid.blocks()]
    for index in [*indices, *indices[::3]]:
        work.run(index)
    total = merge((p for i in indices for p in work.read(i)), work.columns)
    assert same(make_table(total, work.columns, grid.shape, SIZE), particles(CELLS, voxel_size=SIZE))


def test_distances_are_squares_of_voxels_or_lengths():
    from scipy.ndimage import distance_transform_edt

    lengths = distance_transform_edt(CELLS > 0)
    squares = np.rint(lengths**2).astype(np.int32)
    largest = [lengths[i == CELLS].max() for i in np.unique(CELLS[CELLS > 0])]
    np.testing.assert_allclose(particles(CELLS, voxel_size=0.2, distance=squares)["inscribed_radius"],
                               0.2 * np.array(largest), rtol=1e-14)  # fmt: skip
    np.testing.assert_array_equal(particles(CELLS, voxel_size=SIZE, distance=lengths)["inscribed_radius"], largest)
    with pytest.raises(InputError, match="cubic"):
        particles(CELLS, voxel_size=SIZE, distance=squares)
    with pytest.raises(InputError, match="0 or more"):
        particles(CELLS, voxel_size=SIZE, distance=lengths * np.nan)


def test_rows_can_be_left_out():
    table = particles(CELLS, voxel_size=1)
    dropped = particles(CELLS, voxel_size=1, border="drop", min_voxels=20)
    keep = ~table["touches_border"] & (table["voxel_count"] >= 20)
    assert 0 < keep.sum() < len(table)
    assert same(dropped, table.select(keep))
    assert set(dropped.contacts["particle_a"]) | set(dropped.contacts["particle_b"]) <= set(dropped.ids)
    with pytest.raises(InputError, match="booleans"):
        table.select(np.array([True]))
    with pytest.raises(InputError, match="no column"):
        table["area"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"voxel_size": None}, "voxel_size is missing"),
        ({"voxel_size": (1, 1, 0)}, "three positive"),
        ({"border": "weight"}, "keep or drop"),
        ({"min_voxels": -1}, "min_voxels"),
        ({"image": GREY[1:]}, "shape"),
        ({"image": np.full(CELLS.shape, np.nan)}, r"nan at voxel \(\d+, \d+, \d+\)"),
        ({"image": np.full(CELLS.shape, 1 << 40)}, "beyond 2"),
        ({"image": GREY + 1j}, "real numbers"),
        ({"labels": CELLS * 1.0}, "booleans or integers"),
        ({"labels": CELLS[0]}, "three axes"),
    ],
)
def test_bad_input_is_refused(change, match):
    with pytest.raises(InputError, match=match):
        particles(**{"labels": CELLS, "voxel_size": 1} | change)


def test_negative_labels_are_refused_with_their_place():
    labels = CELLS.astype(np.int64)
    labels[9, 10, 11] = -4
    with pytest.raises(InputError, match=r"label -4 at voxel \(9, 10, 11\)"):
        particles(labels, voxel_size=1, block=6)


@pytest.mark.parametrize("labels", ["cells", "noise"])
@pytest.mark.parametrize("image", [None, np.uint16, np.float32])
def test_memory_covers_what_is_allocated(labels, image):
    shape = (20, 48, 48)
    array = {
        "cells": blobs(shape, 20, 1),
        "noise": np.arange(1, 1 + 20 * 48 * 48).reshape(shape),
    }[labels]
    grey = None if image is None else ArraySource(RNG.random(shape).astype(image))

    class Sink:
        def write(self, index, name, array):
            pass

    work = ParticleSums(Reader(array), Grid.regular(shape, 64), Sink(), grey)
    work.run((0, 0, 0))
    assert traced_peak(lambda: work.run((0, 0, 0)), 2) <= work.memory()


class Reader(ArraySource):
    """A source whose boxes are copies, as those of a file are."""

    def read(self, box):
        return self.array[box.slices].copy()
