import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mgsflow.blocks import Grid
from mgsflow.compute import MemoryParts, indices
from mgsflow.labelling.unions import group_tables, id_dtype, number, read_table, select, unite, write_table

PAIRS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=40)


def groups_by_scipy(pairs, n):
    a, b = np.array(pairs, int).reshape(-1, 2).T
    return connected_components(coo_array((np.ones(a.size), (a, b)), shape=(n, n)), directed=False)[1]


@given(PAIRS, st.sampled_from([0, 2**33]))
@settings(max_examples=100)
def test_groups_are_those_of_scipy(pairs, far):
    found = unite([np.array(pairs[::2]).reshape(-1, 2) + far, np.array(pairs[1::2]).reshape(-1, 2) + far])
    ids = np.arange(1, 31)
    leaders = found.leader(ids + far) - far
    group = groups_by_scipy(pairs, 31)[1:]
    smallest = np.array([ids[group == g].min() for g in group])
    np.testing.assert_array_equal(leaders, smallest)


def test_nothing_to_unite():
    found = unite([])
    assert found.members.size == 0
    np.testing.assert_array_equal(found.leader(np.array([0, 5])), [0, 5])


def test_a_long_chain_is_one_group():
    n = 100_000
    chain = np.stack([np.arange(n, 0, -1), np.arange(n + 1, 1, -1)], axis=1)
    assert set(unite([chain]).leaders.tolist()) == {1}


def blocks_of_labels(shape, block, seed, labels=4):
    """Return a grid, parts with tables, and for each block the voxels' labels: any, not only connected ones."""
    grid = Grid.regular(shape, block)
    rng = np.random.default_rng(seed)
    parts, local = MemoryParts(), {}
    for b in grid.blocks():
        voxels = rng.integers(0, labels + 1, b.core.shape)
        present = np.unique(voxels[voxels > 0])
        voxels = np.searchsorted(present, voxels) + 1 if present.size else voxels
        voxels[~np.isin(voxels, np.arange(1, present.size + 1))] = 0
        first = np.array([np.flatnonzero(voxels.ravel() == k)[0] for k in range(1, present.size + 1)], np.int64)
        sizes = np.bincount(voxels.ravel(), minlength=present.size + 1)[1:]
        write_table(parts, b.index, first, sizes, np.left_shift(1, np.arange(present.size)))
        local[b.index] = voxels
    return grid, parts, local


def offsets_for(grid, local, gap):
    offsets = np.zeros(grid.counts, np.int64)
    at = 0
    for index in indices(grid):
        offsets[index] = at
        at += int(local[index].max()) + gap
    return offsets


def whole(grid, local, offsets):
    out = np.zeros(grid.shape, np.int64)
    for b in grid.blocks():
        out[b.core.slices] = np.where(local[b.index] > 0, local[b.index] + offsets[b.index], 0)
    return out


@pytest.mark.parametrize("gap", [0, 3, 2**34])
@pytest.mark.parametrize("seed", range(4))
def test_ids_are_ranks_of_first_voxels_and_tables_add_up(seed, gap):
    grid, parts, local = blocks_of_labels((5, 6, 7), (2, 3, 4), seed)
    offsets = offsets_for(grid, local, gap)
    provisional = whole(grid, local, offsets)
    rng = np.random.default_rng(seed)
    known = np.unique(provisional[provisional > 0])
    unions = unite([rng.choice(known, (seed * 6, 2))])
    groups = number(parts, grid, offsets, unions, ("sum", "any"))

    merged = unions.leader(provisional.ravel())
    ids, first, where, size = np.unique(merged, return_index=True, return_inverse=True, return_counts=True)
    inside = ids > 0
    rank = np.zeros(ids.size, int)
    rank[inside] = np.argsort(np.argsort(first[inside])) + 1
    got = np.zeros(grid.shape, np.int64)
    for b in grid.blocks():
        lut = parts.read(b.index, "lut")
        assert lut[0] == 0
        got[b.core.slices] = lut[local[b.index]]
    np.testing.assert_array_equal(got.ravel(), rank[where])
    np.testing.assert_array_equal(groups.first, np.sort(first[inside]))
    np.testing.assert_array_equal(groups.columns[0], size[inside][np.argsort(first[inside])])
    assert groups.count == inside.sum()
    bits = np.zeros(groups.count + 1, int)
    for b in grid.blocks():
        np.bitwise_or.at(bits, got[b.core.slices], np.where(local[b.index] > 0, 1 << (local[b.index] - 1), 0))
    np.testing.assert_array_equal(groups.columns[1], bits[1:])


def test_dropped_groups_leave_no_gap():
    grid, parts, local = blocks_of_labels((4, 4, 4), 2, 1)
    offsets = offsets_for(grid, local, 0)
    unions = unite([np.array([[1, 5], [5, 9]])])
    every = number(parts, grid, offsets, unions, ("sum", "any"))
    few = number(parts, grid, offsets, unions, ("sum", "any"), keep=lambda t: t[1] >= 3, lut="few")
    wanted = every.columns[0] >= 3
    assert 0 < few.count < every.count
    np.testing.assert_array_equal(few.first, every.first[wanted])
    renumbered = np.concatenate([[0], np.where(wanted, np.cumsum(wanted), 0)])
    chosen = select(parts, grid, offsets, unions, ("sum", "any"), lambda t: t[1] >= 3, lut="chosen")
    assert chosen == few.count
    select(parts, grid, offsets, unions, ("sum", "any"), lambda t: t[1] >= 3, inside=False, lut="others")
    for index in indices(grid):
        np.testing.assert_array_equal(parts.read(index, "few"), renumbered[parts.read(index, "lut")])
        np.testing.assert_array_equal(parts.read(index, "chosen"), parts.read(index, "few") > 0)
        np.testing.assert_array_equal(parts.read(index, "others"), parts.read(index, "few") == 0)


def test_more_than_32_bits_of_ids():
    grid, parts, local = blocks_of_labels((4, 4, 4), 2, 1)
    offsets = offsets_for(grid, local, 0)
    here = number(parts, grid, offsets, unite([]), ("sum", "any"))
    plain = {i: parts.read(i, "lut").astype(np.uint64) for i in indices(grid)}
    far = number(parts, grid, offsets, unite([]), ("sum", "any"), after=2**32 - 4)
    assert here.dtype == np.uint32
    assert far.dtype == np.uint64
    for i, before in plain.items():
        lut = parts.read(i, "lut").astype(np.uint64)
        np.testing.assert_array_equal(lut, np.where(before > 0, before + np.uint64(2**32 - 4), before))
    assert max(int(parts.read(i, "lut").max()) for i in indices(grid)) > 2**32
    assert id_dtype(2**32 - 1) == np.uint32
    assert id_dtype(2**32) == np.uint64


def test_first_voxels_are_counted_in_the_whole_volume():
    grid = Grid(((2, 3), (4, 1), (3, 5)))
    parts = MemoryParts()
    number_of = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    for b in grid.blocks():
        write_table(parts, b.index, np.arange(b.core.size, dtype=np.int32))
        np.testing.assert_array_equal(read_table(parts, grid, b.index)[0], number_of[b.core.slices].ravel())


def test_columns_add_up_in_every_way():
    grid = Grid.regular((1, 1, 3), 1)
    parts = MemoryParts()
    for i, v in enumerate([5, -7, 4]):
        write_table(parts, (0, 0, i), np.zeros(1, np.int32), *(np.array([v]) for _ in range(4)))
    offsets = np.array([[[0, 1, 2]]])
    unions = unite([np.array([[1, 2], [2, 3]])])
    leaders, table = group_tables(parts, grid, offsets, unions, ("sum", "min", "max", "any"))
    np.testing.assert_array_equal(leaders, [1])
    np.testing.assert_array_equal(table[:, 0], [0, 2, -7, 5, 5 | -7 | 4])


def test_a_table_without_labels():
    grid = Grid.regular((2, 2, 2), 1)
    parts = MemoryParts()
    for index in indices(grid):
        write_table(parts, index, np.zeros(0, np.int32), np.zeros(0, np.int64))
    groups = number(parts, grid, np.zeros(grid.counts, np.int64), unite([]), ("sum",))
    assert groups.count == 0
    assert groups.dtype == np.uint32
    np.testing.assert_array_equal(parts.read((1, 1, 1), "lut"), [0])
