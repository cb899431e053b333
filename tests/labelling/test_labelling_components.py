import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from real_data import DATA
from scipy import ndimage
from traced import traced_peak
from volumes import checkerboard, corners, masks, masks_in_blocks, snake, spirals

from mgsflow.blocks import Grid
from mgsflow.compute import MemoryParts, StoredParts, indices
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import ArraySink, ArraySource
from mgsflow.labelling.components.kernel import X_HIGH, X_LOW, Y_HIGH, Y_LOW, Z_HIGH, Z_LOW
from mgsflow.labelling.components.label import (
    fill_holes,
    find_components,
    hysteresis,
    label,
    label_components,
    largest,
    percolating,
    remove_small,
    touching,
)
from mgsflow.labelling.components.out_of_core import HOW, FindComponents, FindPairs, RunLabels, merge_blocks
from mgsflow.labelling.components.runs import Runs, most_components
from mgsflow.labelling.relabel import Relabel, StoredLabels
from mgsflow.labelling.unions import number

CONNECTIVITIES = [6, 18, 26]
BLOCKS = [1, 2, 3, 5, (1, 64, 64), (64, 1, 64), (64, 64, 1), (2, 3, 7), (7, 2, 3)]
hard = st.sampled_from(CONNECTIVITIES)


def by_scipy(mask, connectivity):
    """Return scipy's labels, numbered by their first voxels: scipy's own order differs where an axis is thin."""
    rank = {6: 1, 18: 2, 26: 3}[connectivity]
    found, n = ndimage.label(mask, ndimage.generate_binary_structure(3, rank))
    ids, first = np.unique(found, return_index=True)
    order = np.zeros(n + 1, np.int64)
    inside = ids > 0
    order[ids[inside][np.argsort(first[inside])]] = np.arange(1, n + 1)
    return order[found]


def run_serially(function, grid):
    for index in indices(grid):
        function(index)


def run_shuffled(seed):
    """Return a way to run a pass in any order, and some blocks twice."""

    def run(function, grid):
        order = list(indices(grid))
        np.random.default_rng(seed).shuffle(order)
        for index in [*order, *order[:3]]:
            function(index)

    return run


def run_on_threads(function, grid):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(function, indices(grid)))


def in_blocks(mask, grid, connectivity, each=run_serially, parts=None, keep=None):
    """Return labels and groups by the passes themselves."""
    source, parts = ArraySource(mask), parts if parts is not None else MemoryParts()
    offsets, unions = merge_blocks(source, grid, parts, connectivity, None, each)
    groups = number(parts, grid, offsets, unions, HOW, keep)
    out = np.zeros(mask.shape, groups.dtype)
    each(Relabel(RunLabels(source, connectivity), parts, grid, ArraySink(out), out.dtype).run, grid)
    return out, groups


def same(a, b):
    """Fail unless two results agree to the bit: arrays, dtypes and tables."""
    assert a[0].dtype == b[0].dtype
    assert a[0].tobytes() == b[0].tobytes()
    assert a[1].first.tobytes() == b[1].first.tobytes()
    for one, other in zip(a[1].columns, b[1].columns, strict=True):
        assert one.tobytes() == other.tobytes()


# one block


@given(masks(12), hard)
@settings(max_examples=150)
def test_components_are_those_of_scipy(mask, connectivity):
    np.testing.assert_array_equal(label(mask, connectivity), by_scipy(mask, connectivity))


@given(masks(), hard)
@settings(max_examples=60)
def test_tables_are_those_of_the_labels(mask, connectivity):
    labels, found = label_components(mask, connectivity)
    ids, first, sizes = np.unique(labels[labels > 0], return_index=True, return_counts=True)
    assert found.count == ids.size == labels.max(initial=0)
    np.testing.assert_array_equal(found.sizes, sizes)
    np.testing.assert_array_equal(found.first, np.flatnonzero(labels)[first])
    for k, faces in enumerate(found.faces, start=1):
        for axis in range(3):
            for side, plane in enumerate((0, -1)):
                assert faces[axis, side] == (np.take(labels, plane, axis) == k).any()
    np.testing.assert_array_equal(found.touches_border, found.faces.any(axis=(1, 2)))
    np.testing.assert_array_equal(found.percolating, found.faces[..., 0] & found.faces[..., 1])


def test_regular_volumes_have_the_components_that_one_can_count():
    shape = (5, 7, 9)
    for winding in (snake(shape), spirals(shape)[:1]):
        assert find_components(winding, 6).count == 1
    assert find_components(spirals(shape), 6).count == 3
    board = checkerboard(shape)
    assert find_components(board, 6).count == board.sum()
    assert find_components(board, 18).count == 1
    touching_at_corners = corners((4, 4, 4))
    assert find_components(touching_at_corners, 18).count == touching_at_corners.sum()
    assert find_components(touching_at_corners, 26).count == 1


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_no_more_components_than_planned(connectivity):
    for shape in [(1, 1, 1), (3, 4, 5), (1, 7, 6), (5, 1, 5), (4, 4, 1)]:
        step = {6: checkerboard(shape), 18: corners(shape), 26: corners(shape)}[connectivity]
        if connectivity == 26:
            step[1::2] = False
            step[:, 1::2] = False
        assert find_components(step, connectivity).count <= most_components(shape, connectivity)


def test_wide_rows_and_narrow_ones_agree():
    rng = np.random.default_rng(0)
    mask = rng.random((2, 2, 70_000)) < 0.5
    np.testing.assert_array_equal(label(mask, block=70_000), by_scipy(mask, 6))
    assert Runs.of(mask, 6).edges.dtype == np.int32
    assert Runs.of(mask[..., :100], 6).edges.dtype == np.uint16


# many blocks


@given(masks_in_blocks(8), hard, st.integers(0, 100))
@settings(max_examples=120)
def test_blocks_and_order_change_nothing(case, connectivity, seed):
    mask, grid = case
    whole = in_blocks(mask, Grid.regular(mask.shape, mask.shape), connectivity)
    same(in_blocks(mask, grid, connectivity, run_shuffled(seed)), whole)
    np.testing.assert_array_equal(whole[0], by_scipy(mask, connectivity))


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
@pytest.mark.parametrize("make", [snake, spirals, checkerboard, corners])
def test_what_winds_through_all_blocks_is_one(make, connectivity):
    for mask in (make((7, 6, 9)), ~make((7, 6, 9))):
        whole = in_blocks(mask, Grid.regular(mask.shape, mask.shape), connectivity)
        for block in BLOCKS:
            grid = Grid.regular(mask.shape, [min(b, n) for b, n in zip(np.broadcast_to(block, 3).tolist(), mask.shape)])
            same(in_blocks(mask, grid, connectivity), whole)


def test_blocks_change_nothing_on_a_porous_medium():
    rng = np.random.default_rng(1)
    field = ndimage.gaussian_filter(rng.normal(size=(40, 44, 37)), 1.5)
    mask = field > np.quantile(field, 0.6)
    for connectivity in CONNECTIVITIES:
        whole = in_blocks(mask, Grid.regular(mask.shape, mask.shape), connectivity)
        np.testing.assert_array_equal(whole[0], by_scipy(mask, connectivity))
        for block in [7, 13, (1, 44, 37), (40, 2, 37), (40, 44, 1), 39]:
            same(in_blocks(mask, Grid.regular(mask.shape, block), connectivity, run_on_threads), whole)


def filtered_by_block(mask, grid, connectivity, least):
    """Leave out what is small in its block: what a filter does that does not wait for the merge."""
    out = np.zeros_like(mask)
    for b in grid.blocks():
        out[b.core.slices] = remove_small(mask[b.core.slices], least, connectivity)
    return in_blocks(out, grid, connectivity)


def test_a_filter_by_block_is_found_out():
    mask = spirals((5, 12, 13))
    one = Grid.regular(mask.shape, mask.shape)
    whole = in_blocks(mask, one, 6, keep=lambda t: t[1] >= 10)
    assert whole[1].count == 3
    same(filtered_by_block(mask, one, 6, 10), whole)
    for block in [3, (1, 12, 5), (5, 2, 13)]:
        grid = Grid.regular(mask.shape, block)
        same(in_blocks(mask, grid, 6, keep=lambda t: t[1] >= 10), whole)
        with pytest.raises(AssertionError):
            same(filtered_by_block(mask, grid, 6, 10), whole)


def test_diagonal_contacts_at_a_corner_of_eight_blocks():
    grid = Grid.regular((4, 4, 4), 2)
    for a in np.ndindex(2, 2, 2):
        mask = np.zeros((4, 4, 4), bool)
        b = tuple(1 - k for k in a)
        mask[tuple(k + 1 for k in a)] = mask[tuple(k + 1 for k in b)] = True
        assert [in_blocks(mask, grid, c)[1].count for c in CONNECTIVITIES] == [2, 2, 1]
    for axis in range(3):
        mask = np.zeros((4, 4, 4), bool)
        np.moveaxis(mask, axis, 0)[1, 1, 2] = np.moveaxis(mask, axis, 0)[1, 2, 1] = True
        assert [in_blocks(mask, grid, c)[1].count for c in CONNECTIVITIES] == [2, 1, 1]


def test_parts_in_a_store_and_labels_that_were_stored(tmp_path):
    rng = np.random.default_rng(2)
    mask = rng.random((11, 12, 13)) < 0.35
    grid = Grid.regular(mask.shape, (5, 6, 4))
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    root.create_group("parts")
    parts = StoredParts(str(tmp_path / "a.zarr"), "parts")
    whole = in_blocks(mask, Grid.regular(mask.shape, mask.shape), 18)
    found = in_blocks(mask, grid, 18, run_on_threads, parts)
    same(found, whole)
    local = np.zeros(mask.shape, np.int32)
    for b in grid.blocks():
        local[b.core.slices] = by_scipy(mask[b.core.slices], 18)
    again = np.zeros_like(found[0])
    labels = StoredLabels(ArraySource(local))
    run_serially(Relabel(labels, parts, grid, ArraySink(again), again.dtype).run, grid)
    np.testing.assert_array_equal(again, found[0])


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_memory_is_no_more_than_planned(connectivity):
    rng = np.random.default_rng(3)
    shape = (96, 96, 96)
    worst = checkerboard(shape) if connectivity == 6 else rng.random(shape) < 0.2
    for mask in (worst, rng.random(shape) < 0.5):
        grid = Grid.regular(shape, 48)
        parts = MemoryParts()
        source = zarr.create_array({}, data=mask, chunks=(24, 24, 24), shards=(48, 48, 48))
        find = FindComponents(ArraySource(source), grid, parts, connectivity)
        run_serially(find.run, grid)
        offsets, unions = merge_blocks(ArraySource(source), grid, parts, connectivity, None, run_serially)
        groups = number(parts, grid, offsets, unions, HOW)
        pairs = FindPairs(grid, parts, connectivity)
        out = zarr.create_array({}, shape=shape, chunks=(24, 24, 24), shards=(48, 48, 48), dtype=groups.dtype)
        labels = RunLabels(ArraySource(source), connectivity)
        relabel = Relabel(labels, parts, grid, ArraySink(out), groups.dtype)
        for work in (find, pairs, relabel):
            work.run((1, 0, 0))
            assert traced_peak(lambda work=work: work.run((0, 1, 0)), 2) <= work.memory() + 100_000
        assert find.memory() < 32 * 48**3


# what is chosen by components


@pytest.mark.slow
@given(masks_in_blocks(6), hard)
@settings(max_examples=40)
def test_choices_are_those_made_on_whole_labels(case, connectivity):
    mask, grid = case
    block = tuple(c[0] for c in grid.cuts)
    labels = by_scipy(mask, connectivity)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    for axis, name in enumerate("zyx"):
        both = np.intersect1d(np.take(labels, 0, axis), np.take(labels, -1, axis))
        wanted = np.isin(labels, both[both > 0])
        for by in (axis, name):
            np.testing.assert_array_equal(percolating(mask, by, connectivity, block=block), wanted)
        np.testing.assert_array_equal(percolating(mask, axis, connectivity), wanted)
    np.testing.assert_array_equal(remove_small(mask, 5, connectivity, None, block, 1), sizes[labels] >= 5)
    np.testing.assert_array_equal(
        largest(mask, connectivity, None, block, 1), (labels == np.argmax(sizes)) & mask if mask.any() else mask
    )
    corner = np.intersect1d(np.intersect1d(labels[0], labels[:, -1]), labels[:, :, 0])
    np.testing.assert_array_equal(
        touching(mask, [(0, 0), (1, 1), (2, 0)], connectivity, None, block, 1), np.isin(labels, corner[corner > 0])
    )


@given(masks_in_blocks(), st.sampled_from([6, 26]))
@settings(max_examples=60)
def test_holes_are_those_of_scipy(case, connectivity):
    mask, grid = case
    wanted = ndimage.binary_fill_holes(mask, ndimage.generate_binary_structure(3, {6: 3, 26: 1}[connectivity]))
    np.testing.assert_array_equal(fill_holes(mask, connectivity, block=tuple(c[0] for c in grid.cuts)), wanted)


@given(masks(8), st.integers(0, 1000), hard, st.sampled_from([2, 3, 8]))
@settings(max_examples=60)
def test_hysteresis_is_reconstruction(low, seed, connectivity, block):
    high = np.random.default_rng(seed).random(low.shape) < 0.1
    rank = {6: 1, 18: 2, 26: 3}[connectivity]
    wanted = ndimage.binary_propagation(low & high, ndimage.generate_binary_structure(3, rank), mask=low)
    np.testing.assert_array_equal(hysteresis(low, high, connectivity, block=block), wanted)


def test_specks_are_left_out_of_labels_and_ids_have_no_gaps():
    rng = np.random.default_rng(4)
    mask = rng.random((14, 15, 16)) < 0.25
    labels, found = label_components(mask, min_voxels=4, block=5)
    np.testing.assert_array_equal(labels, label(remove_small(mask, 4)))
    assert found.count == labels.max() > 3
    assert found.sizes.min() >= 4
    np.testing.assert_array_equal(find_components(mask, min_voxels=4, block=6).sizes, found.sizes)


# arrays at hand


def test_an_empty_mask_has_no_components():
    for shape in [(1, 1, 1), (4, 5, 6)]:
        empty = np.zeros(shape, bool)
        labels, found = label_components(empty, block=2)
        assert labels.dtype == np.uint32
        assert not labels.any()
        assert (found.count, found.faces.shape) == (0, (0, 3, 2))
        for choose in (largest, fill_holes, lambda m: percolating(m, 0), lambda m: remove_small(m, 3)):
            assert not choose(empty).any()


def test_a_full_mask_is_one_component_that_percolates():
    found = find_components(np.ones((3, 4, 5), bool), block=2)
    assert (found.count, found.sizes.tolist(), found.first.tolist()) == (1, [60], [0])
    assert found.percolating.all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint32, np.int64])
def test_all_but_zero_is_inside(dtype):
    mask = np.random.default_rng(5).random((6, 7, 8)) < 0.4
    values = np.where(mask, 3, 0).astype(dtype)
    np.testing.assert_array_equal(label(values, block=3), by_scipy(mask, 6))
    turned = np.asfortranarray(values)[::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(label(turned, block=3), by_scipy(mask[::-1].transpose(2, 1, 0), 6))


def test_zarr_to_zarr_and_a_mask_that_stays_as_it_was(tmp_path):
    mask = np.random.default_rng(6).random((20, 17, 23)) < 0.4
    source = zarr.create_array(tmp_path / "mask.zarr", data=mask, chunks=(8, 8, 8))
    out = zarr.create_array(
        tmp_path / "labels.zarr", shape=mask.shape, dtype=np.uint64, chunks=(4, 4, 4), shards=(8, 8, 8)
    )
    returned, found = label_components(source, 26, out=out, block=5, threads=2)
    assert returned is out
    np.testing.assert_array_equal(out[...], by_scipy(mask, 26))
    assert found.count == out[...].max()
    np.testing.assert_array_equal(source[...], mask)


def test_slabs_of_an_array_in_memory_are_filled_in_place_on_threads():
    mask = np.random.default_rng(9).random((160, 170, 180)) < 0.33
    wanted = by_scipy(mask, 6)
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(label(mask, threads=threads), wanted)
    out = np.full(mask.shape[::-1], 7, np.uint64).transpose()  # not contiguous
    assert label(mask, out=out, threads=2) is out
    np.testing.assert_array_equal(out, wanted)


def test_planes_that_would_fill_the_memory_go_beside_the_result(tmp_path, monkeypatch):
    mask = np.random.default_rng(11).random((9, 10, 11)) < 0.4
    source = zarr.create_array(tmp_path / "mask.zarr", data=mask, chunks=(4, 4, 4))
    out = zarr.create_array(tmp_path / "labels.zarr", shape=mask.shape, dtype=np.uint32, chunks=(5, 5, 5))
    monkeypatch.setattr("mgsflow.labelling.components.merged._HELD", 0)
    _, found = label_components(source, 26, out=out, block=5, threads=2)
    np.testing.assert_array_equal(out[...], by_scipy(mask, 26))
    assert found.sizes.sum() == mask.sum()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.zarr", "mask.zarr"]


def test_arrays_in_memory_stay_in_this_process(two_workers):
    mask = np.random.default_rng(10).random((9, 8, 7)) < 0.4
    with two_workers.as_current():
        found = label(mask, block=4)
        np.testing.assert_array_equal(label(mask, block=4, client=two_workers), found)
    np.testing.assert_array_equal(found, by_scipy(mask, 6))


def test_a_cluster_wants_a_result_in_a_folder(two_workers, tmp_path):
    source = zarr.create_array(tmp_path / "mask.zarr", data=np.ones((4, 4, 4), bool), chunks=(2, 2, 2))
    out = zarr.create_array(zarr.storage.MemoryStore(), shape=(4, 4, 4), dtype=np.uint32, chunks=(2, 2, 2))
    label(source, out=out, block=2, client=two_workers)  # on threads here
    assert out[...].all()
    with pytest.raises(InputError, match="uint32"):
        label(source, out=zarr.create_array(tmp_path / "o.zarr", shape=(4, 4, 4), dtype=np.uint8, chunks=(2, 2, 2)))


@pytest.mark.slow
def test_the_electrode():
    folder = DATA
    if not (folder / "electrode.tiff").is_file():
        pytest.skip("electrode.tiff is not at hand")
    import tifffile

    phases = tifffile.imread(folder / "electrode.tiff")
    for value in np.unique(phases):
        mask = phases == value
        for connectivity in (6, 26):
            wanted = by_scipy(mask, connectivity)
            for block in [(1000, 1000, 1000), (31, 47, 53), (4, 1000, 1000), (1000, 1000, 29)]:
                grid = Grid.regular(mask.shape, [min(b, n) for b, n in zip(block, mask.shape)])
                np.testing.assert_array_equal(in_blocks(mask, grid, connectivity, run_on_threads)[0], wanted)


def test_a_dataarray_comes_back_as_one(tmp_path):
    mask = np.random.default_rng(7).random((9, 8, 7)) < 0.4
    coords = {"z": np.arange(9) * 0.5, "y": np.arange(8), "x": np.arange(7), "scan": "c0"}
    plain = xr.DataArray(mask, dims=("z", "y", "x"), coords=coords, name="pore", attrs={"phase": "pore"})
    plain.drop_vars("scan").to_dataset().to_zarr(tmp_path / "d.zarr", consolidated=False)
    lazy = xr.open_zarr(tmp_path / "d.zarr", consolidated=False, chunks=None)["pore"]
    dask = plain.chunk({"z": 4, "y": 3, "x": 7})
    wanted = by_scipy(mask, 6)
    for array in (plain, lazy, dask):
        found = label(array, block=4, threads=2)
        assert isinstance(found, xr.DataArray)
        np.testing.assert_array_equal(found.values, wanted)
        np.testing.assert_array_equal(found["z"], coords["z"])
        assert found.name == "label"
        kept = percolating(array, "z")
        assert (kept.dtype, kept.name) == (bool, "pore")
    np.testing.assert_array_equal(label(dask.data, block=4), wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask": np.zeros((4, 4), bool)}, "three axes"),
        ({"mask": np.zeros((4, 0, 4), bool)}, "no voxels"),
        ({"mask": np.zeros((4, 4, 4))}, "booleans or integers"),
        ({"mask": [[[True]]]}, "NumPy array"),
        ({"mask": xr.DataArray(np.zeros((2, 2, 2), bool), dims=("a", "y", "x"))}, "must be z, y and x"),
        ({"connectivity": 8}, "6 .*18.*26"),
        ({"connectivity": True}, "6 .*18.*26"),
        ({"out": np.zeros((4, 4, 5), np.uint32)}, "shape"),
        ({"out": np.zeros((4, 4, 4), np.uint16)}, "uint32"),
        ({"out": [1]}, "NumPy or a zarr array"),
        ({"block": 0}, "at least one"),
        ({"block": (1, 2)}, "three"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(arguments, message):
    given = {"mask": np.ones((4, 4, 4), bool)} | arguments
    with pytest.raises(InputError, match=message):
        label(**given)


def test_wrong_axes_faces_and_sizes_are_refused():
    mask = np.ones((2, 2, 2), bool)
    for axis in (3, "w", True, None):
        with pytest.raises(InputError, match="axis"):
            percolating(mask, axis)
    with pytest.raises(InputError, match="face"):
        touching(mask, [(0, 2)])
    with pytest.raises(InputError, match="min_voxels"):
        remove_small(mask, 2.5)
    with pytest.raises(InputError, match="one shape"):
        hysteresis(mask, np.ones((2, 2, 3), bool))


def test_works_are_cheap_to_send(tmp_path):
    mask = zarr.create_array(tmp_path / "mask.zarr", shape=(64, 64, 64), dtype=bool, chunks=(32, 32, 32))
    zarr.open_group(tmp_path / "p.zarr", mode="w")
    parts = StoredParts(str(tmp_path / "p.zarr"), "")
    grid = Grid.regular((64, 64, 64), 32)
    for work in (
        FindComponents(ArraySource(mask), grid, parts),
        FindPairs(grid, parts),
        Relabel(RunLabels(ArraySource(mask)), parts, grid, ArraySink(mask), np.dtype(np.uint32)),
    ):
        assert len(pickle.dumps(work.run)) < 4000


def test_faces_are_bits_in_the_order_of_the_axes():
    assert [Z_LOW, Z_HIGH, Y_LOW, Y_HIGH, X_LOW, X_HIGH] == [1, 2, 4, 8, 16, 32]


def test_two_workers_give_the_same_bytes(two_workers, tmp_path):
    rng = np.random.default_rng(8)
    mask = rng.random((24, 25, 26)) < 0.33
    source = zarr.create_array(tmp_path / "mask.zarr", data=mask, chunks=(8, 8, 8))
    outs = [
        zarr.create_array(tmp_path / f"{n}.zarr", shape=mask.shape, dtype=np.uint32, chunks=(12, 12, 12)) for n in "ab"
    ]
    _, one = label_components(source, 26, out=outs[0], block=12, client=two_workers)
    _, other = label_components(source, 26, out=outs[1], block=64, threads=1)
    assert outs[0][...].tobytes() == outs[1][...].tobytes()
    np.testing.assert_array_equal(outs[0][...], by_scipy(mask, 26))
    for name in ("sizes", "first", "faces"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    kept = zarr.create_array(tmp_path / "p.zarr", shape=mask.shape, dtype=bool, chunks=(12, 12, 12))
    percolating(source, "z", 26, out=kept, block=12, client=two_workers)
    np.testing.assert_array_equal(kept[...], percolating(mask, "z", 26))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr", "mask.zarr", "p.zarr"]
