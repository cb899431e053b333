from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from volumes import cuts

from mgsflow.blocks import Grid
from mgsflow.compute import MemoryParts, indices
from mgsflow.labelling.shells import offsets_of, seams, shell_bytes, write_shell


@st.composite
def grids(draw, most=6):
    return Grid(tuple(draw(cuts(draw(st.integers(1, most)))) for _ in range(3)))


def pairs_seen(grid, corners=True):
    """Return how often each pair of voxels is seen across all seams, by their C index in the volume."""
    whole = np.arange(1, np.prod(grid.shape) + 1, dtype=np.int32).reshape(grid.shape)
    parts = MemoryParts()
    for block in grid.blocks():
        write_shell(parts, grid, block.index, "voxel", whole[block.core.slices])
    seen = Counter()
    for index in indices(grid):
        for seam in seams(parts, grid, index, ["voxel"], corners=corners):
            lower, upper = seam.lower["voxel"], seam.upper["voxel"]
            assert upper.shape == (lower.shape[0] + 2, lower.shape[1] + 2)
            for i, j in np.ndindex(lower.shape):
                for di, dj in product(range(3), repeat=2):
                    if upper[i + di, j + dj]:
                        seen[frozenset((int(lower[i, j]), int(upper[i + di, j + dj])))] += 1
    return seen


def pairs_across(grid, faces_only=False):
    """Return all pairs of neighbouring voxels that lie in two blocks, by brute force."""
    block = np.zeros(grid.shape, int)
    for i, b in enumerate(grid.blocks()):
        block[b.core.slices] = i
    number = np.arange(1, block.size + 1).reshape(block.shape)
    found = set()
    for step in product((-1, 0, 1), repeat=3):
        if step == (0, 0, 0) or (faces_only and np.abs(step).sum() > 1):
            continue
        for place in np.ndindex(block.shape):
            other = tuple(np.add(place, step))
            if all(0 <= p < n for p, n in zip(other, block.shape)) and block[place] != block[other]:
                found.add(frozenset((int(number[place]), int(number[other]))))
    return found


@given(grids())
@settings(max_examples=60)
def test_every_pair_of_neighbours_in_two_blocks_is_seen_once(grid):
    seen = pairs_seen(grid)
    assert set(seen) == pairs_across(grid)
    assert set(seen.values()) <= {1}


@given(grids())
@settings(max_examples=20)
def test_without_corners_the_neighbours_across_faces_are_seen(grid):
    face_pairs = pairs_across(grid, faces_only=True)
    seen = pairs_seen(grid, corners=False)
    assert face_pairs <= set(seen) <= pairs_across(grid)
    assert set(seen.values()) <= {1}


def test_a_shell_without_margins_misses_contacts_at_corners():
    """The check above must see what is missing: at a corner where eight blocks meet, twelve pairs touch diagonally."""
    grid = Grid.regular((2, 2, 2), 1)
    assert len(pairs_across(grid)) == 28
    assert set(pairs_seen(grid, corners=False)) != pairs_across(grid)


def test_labels_of_blocks_become_provisional_ids_and_zero_stays():
    grid = Grid(((2, 1), (3,), (1, 1)))
    labels = {i: np.full([c[k] for c, k in zip(grid.cuts, i)], n, np.int32) for n, i in enumerate(indices(grid))}
    offsets = np.array([[[10, 2**40]], [[20, 2**33]]])
    parts = MemoryParts()
    for index, array in labels.items():
        write_shell(parts, grid, index, "label", array)
        write_shell(parts, grid, index, "value", array)
    found = list(seams(parts, grid, (0, 0, 0), ["label", "value"], {"label": offsets}))
    assert [s.axis for s in found] == [0, 2]
    below, beside = found
    assert not below.lower["label"].any()
    np.testing.assert_array_equal(below.upper["label"][1:-1, 1:-1], 20 + 2)
    np.testing.assert_array_equal(below.upper["label"][1:-1, -1], 2**33 + 3)
    np.testing.assert_array_equal(beside.upper["label"][1:-1, 1:-1], 2**40 + 1)
    assert not beside.upper["label"][[0, -1]].any()
    assert below.upper["value"].dtype == np.int32
    np.testing.assert_array_equal(below.upper["value"][1:-1, -1], 3)


def test_offsets_count_the_labels_of_the_blocks_before():
    counts = np.array([[[3, 0]], [[2**33, 5]]])
    np.testing.assert_array_equal(offsets_of(counts), [[[0, 3]], [[3, 3 + 2**33]]])


def test_one_block_has_no_seams_and_leaves_nothing():
    grid = Grid.regular((3, 4, 5), 5)
    parts = MemoryParts()
    write_shell(parts, grid, (0, 0, 0), "a", np.ones((3, 4, 5)))
    assert not parts.arrays
    assert not list(seams(parts, grid, (0, 0, 0), ["a"]))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_a_shell_is_no_larger_than_planned(dtype):
    grid = Grid.regular((12, 9, 15), (4, 3, 5))
    parts = MemoryParts()
    write_shell(parts, grid, (1, 1, 1), "a", np.ones((4, 3, 5), dtype))
    assert sum(a.nbytes for a in parts.arrays.values()) <= shell_bytes(grid, np.dtype(dtype).itemsize)
