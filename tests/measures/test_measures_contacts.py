"""Counts of contacts: the same for any blocks, windows from tiles, and a slow count by slices of the whole array."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traced import traced_peak

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.kernel import Reduction
from mgsflow.measures.surface.contacts import ContactCounts, Contacts
from mgsflow.measures.tiles import tile_spans, window_sums

RNG = np.random.default_rng(20210106)
NOISE = RNG.integers(0, 3, (13, 18, 21)).astype(np.uint8)
BLOCKS = [100, 7, (1, 50, 50), (50, 1, 6), (5, 13, 1), 4]


def run(measure, image, block=1 << 20):
    grid = Grid.regular(image.shape, block)
    shape, dtype = measure.record(grid.largest)
    records = np.zeros((*grid.counts, *shape), dtype)
    for b in grid.blocks(measure.halo):
        record = measure(image[b.outer.slices], b)
        assert record.dtype == dtype
        records[b.index][tuple(slice(0, n) for n in record.shape)] = record
    return records, grid


def same(a: ContactCounts, b: ContactCounts) -> bool:
    return (
        a.shape == b.shape
        and np.array_equal(a.voxels, b.voxels)
        and np.array_equal(a.pairs, b.pairs)
        and np.array_equal(a.edges, b.edges)
    )


def slow(image, phases, inactive=None) -> ContactCounts:
    """Count from shifted slices of the whole array, with no cubes."""
    pairs = np.zeros((7, phases, phases), np.int64)
    kinds = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)]
    for d in product((-1, 0, 1), repeat=3):
        if d <= (0, 0, 0):
            continue
        near = image[tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(d, image.shape))]
        far = image[tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(d, image.shape))]
        c = kinds.index(tuple(abs(s) for s in d))
        np.add.at(pairs[c], (near.ravel(), far.ravel()), 1)
    diagonal = np.einsum("cii->ci", pairs).copy()
    pairs = pairs + pairs.transpose(0, 2, 1)
    np.einsum("cii->ci", pairs)[:] = diagonal
    edges = []
    for axis in range(3):
        b = np.moveaxis(image, axis, 0)
        around = np.stack([b[:, :-1, :-1], b[:, 1:, :-1], b[:, :-1, 1:], b[:, 1:, 1:]])
        kinds_there = [(around == p).any(axis=0) for p in range(phases) if p != inactive]
        edges.append(int((np.sum(kinds_there, axis=0) >= 3).sum()))
    return ContactCounts(image.shape, np.bincount(image.ravel(), minlength=phases), pairs, np.array(edges))


@pytest.mark.parametrize("phases", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("inactive", [None, 0])
def test_counts_are_those_of_shifted_slices(phases, inactive):
    image = RNG.integers(0, phases, (9, 10, 11)).astype(np.uint8)
    measure = Contacts(phases, tile=4, inactive=inactive)
    assert isinstance(measure, Reduction)
    assert same(measure.counts(*run(measure, image)), slow(image, phases, inactive))


def grains(phases, shape=(37, 40, 35)):
    """Return cells of some eight voxels, each of a random label."""
    seeds = RNG.uniform(0, 40, (90, 3))
    g = np.stack(np.indices(shape), -1)[..., None, :]
    nearest = ((g - seeds) ** 2).sum(axis=-1).argmin(axis=-1)
    return (nearest * 7 % phases).astype(np.uint8)


# few and many labels in a brick, in its eighths, and labels that are not the first ones
@pytest.mark.parametrize("phases", [2, 5, 12, 40, 64])
@pytest.mark.parametrize(("tile", "block"), [(64, 100), (32, 100), (9, 23)])
def test_counts_of_grains_with_any_number_of_labels(phases, tile, block):
    image = grains(phases)
    for inactive in (None, phases - 1):
        measure = Contacts(phases, tile, inactive)
        assert same(measure.counts(*run(measure, image, block)), slow(image, phases, inactive))


def test_noise_of_many_labels_and_a_uniform_image():
    image = RNG.integers(0, 64, (34, 20, 33)).astype(np.uint8)
    image[:, :, :17] //= 5  # thirteen labels: too many for a brick
    for inactive in (None, 12):
        measure = Contacts(64, inactive=inactive)
        assert same(measure.counts(*run(measure, image)), slow(image, 64, inactive))
    one = np.full((40, 33, 70), 5, np.uint8)
    assert same(Contacts(6).counts(*run(Contacts(6), one, 50)), slow(one, 6))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("phases", [3, 5])
def test_counts_do_not_depend_on_blocks(block, phases):
    measure = Contacts(phases, tile=8)
    assert same(measure.counts(*run(measure, NOISE, block)), slow(NOISE, phases))


@pytest.mark.parametrize("block", [100, (5, 13, 7)])
@pytest.mark.parametrize(
    "window", [Box((0, 0, 0), (8, 8, 8)), Box((4, 8, 12), (13, 16, 21)), Box((12, 16, 20), (13, 18, 21))]
)
def test_a_window_from_tiles_is_the_cropped_image(block, window):
    measure = Contacts(3, tile=4)
    assert same(measure.counts(*run(measure, NOISE, block), window), slow(NOISE[window.slices], 3))


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    block=st.tuples(*[st.integers(1, 11)] * 3),
    tile=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_any_shape_block_and_tile(shape, block, tile, seed):
    image = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)
    measure = Contacts(3, tile=tile)
    assert same(measure.counts(*run(measure, image, block)), slow(image, 3))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, bool])
def test_dtypes_of_labels(dtype):
    image = (NOISE > 0).astype(dtype)
    measure = Contacts(2)
    assert same(measure.counts(*run(measure, image)), slow(image.astype(np.uint8), 2))


def test_strided_and_read_only_input_is_taken_and_left_alone():
    image = np.repeat(NOISE, 2, axis=2)[:, :, ::2]
    image.flags.writeable = False
    measure = Contacts(3)
    assert same(measure.counts(*run(measure, image)), slow(NOISE, 3))


def test_a_missing_halo_is_noticed_by_the_numbers():
    # negative control: blocks that see nothing beyond themselves lose pairs
    grid = Grid.regular(NOISE.shape, 6)
    measure = Contacts(3, tile=6)
    shape, dtype = measure.record(grid.largest)
    records = np.zeros((*grid.counts, *shape), dtype)
    for b in grid.blocks(0):
        r = measure(NOISE[b.outer.slices], b)
        records[b.index][tuple(slice(0, n) for n in r.shape)] = r
    found = measure.counts(records, grid)
    expected = slow(NOISE, 3)
    assert np.array_equal(found.voxels, expected.voxels)
    assert found.pairs.sum() < expected.pairs.sum()


def test_every_pair_and_voxel_is_counted_once():
    counts = Contacts(3).counts(*run(Contacts(3), NOISE))
    upper = np.triu_indices(3)
    assert np.array_equal(counts.pairs[:, upper[0], upper[1]].sum(axis=1), counts.pair_totals())
    assert counts.voxels.sum() == NOISE.size


@pytest.mark.parametrize("bad", [0, 65, 300, 2.0, True])
def test_number_of_phases_is_refused(bad):
    with pytest.raises(InputError, match="phases must be"):
        Contacts(bad)


@pytest.mark.parametrize(
    ("change", "match"),
    [({"tile": 0}, "tile"), ({"tile": 257}, "1 to 256"), ({"inactive": 3}, "inactive"), ({"inactive": -1}, "inactive")],
)
def test_parameters_are_refused(change, match):
    with pytest.raises(InputError, match=match):
        Contacts(3, **change)


def test_labels_that_are_no_phase_are_refused_with_their_place():
    image = np.zeros((4, 5, 6), np.int16)
    image[1, 2, 3] = 7
    with pytest.raises(InputError, match=r"label 7 at voxel \(1, 2, 3\)"):
        run(Contacts(3), image)
    image[1, 2, 3] = -1
    with pytest.raises(InputError, match=r"label -1 at voxel \(1, 2, 3\)"):
        run(Contacts(3), image)
    with pytest.raises(InputError, match="whole numbers"):
        run(Contacts(3), image.astype(float))
    with pytest.raises(InputError, match="expected the voxels of block"):
        Contacts(3)(image[1:], next(Grid.regular(image.shape, 9).blocks(1)))


@pytest.mark.parametrize(
    ("window", "match"),
    [
        (Box((0, 0, 0), (4, 4, 19)), "along x"),
        (Box((0, 3, 0), (4, 8, 8)), "along y"),
        (Box((0, 0, 0), (16, 8, 8)), "hold voxels"),
        (Box((4, 4, 4), (4, 8, 8)), "hold voxels"),
    ],
)
def test_windows_off_the_tiles_are_refused(window, match):
    measure = Contacts(3, tile=4)
    with pytest.raises(InputError, match=match):
        measure.counts(*run(measure, NOISE), window)


def test_tiles_lie_on_one_grid_for_all_blocks():
    assert tile_spans(Box((5, 0, 8), (17, 3, 16)), 8) == (
        [(0, 5, 8), (1, 8, 16), (2, 16, 17)],
        [(0, 0, 3)],
        [(0, 8, 16)],
    )
    records = np.ones((1, 1, 1, 2, 3, 3), np.int32)
    sums = window_sums(records, Grid.regular((13, 18, 21), 100), 8, Box((0, 0, 0), (13, 18, 21)))
    assert sums.tolist() == [4, 2, 2, 1, 4, 2, 2, 1]


@pytest.mark.parametrize("phases", [3, 40])
def test_scratch_covers_what_is_allocated(phases):
    image = RNG.integers(0, phases, (64, 64, 64)).astype(np.int32)
    measure, block = Contacts(phases), Grid.regular(image.shape, 64).block((0, 0, 0))
    measure(image, block)
    record = measure(image, block)
    peak = traced_peak(lambda: measure(image, block))
    assert peak <= measure.scratch(image.shape, image.dtype) + record.nbytes
