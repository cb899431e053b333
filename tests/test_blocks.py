"""Block arithmetic against counting voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgsflow.blocks import Block, Box, Grid, triple
from mgsflow.errors import InputError

lengths = st.tuples(*[st.integers(1, 13)] * 3)
halos = st.tuples(*[st.integers(0, 5)] * 3)
cuts = st.tuples(*[st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)] * 3)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    start = draw(st.tuples(*[st.integers(-4, 8)] * 3))
    return Box(start, tuple(a + draw(st.integers(0, 7)) for a in start))  # type: ignore[arg-type]


def voxels(box: Box) -> set[tuple[int, ...]]:
    return {tuple(np.add(box.start, i)) for i in np.ndindex(box.shape)}


@given(cuts, halos)
def test_cores_tile_the_volume_once_and_halos_stop_at_its_borders(cuts: tuple, halo: tuple) -> None:
    grid = Grid(cuts)
    owners = np.zeros(grid.shape, int)
    where = np.arange(owners.size).reshape(grid.shape)
    blocks = list(grid.blocks(halo))
    assert len(blocks) == len(grid)
    assert [b.index for b in blocks] == sorted(b.index for b in blocks)
    for block in blocks:
        assert block == grid.block(block.index, halo)
        owners[block.core.slices] += 1
        for axis in range(3):
            first, last = block.core.start[axis] - halo[axis], block.core.stop[axis] + halo[axis]
            assert block.outer.start[axis] == max(0, first)
            assert block.outer.stop[axis] == min(grid.shape[axis], last)
        assert np.array_equal(where[block.outer.slices][block.trim], where[block.core.slices])
    assert (owners == 1).all()


@given(lengths, lengths)
def test_regular_grids_are_dask_s(shape: tuple, block: tuple) -> None:
    from dask.array.core import normalize_chunks

    grid = Grid.regular(shape, block)
    assert grid.cuts == normalize_chunks(block, shape)
    assert grid.shape == shape
    assert grid.largest == tuple(map(min, shape, block))
    assert grid.counts == tuple(-(-n // b) for n, b in zip(shape, block))


@given(boxes(), boxes())
def test_intersection_holds_the_voxels_of_both(a: Box, b: Box) -> None:
    assert voxels(a.intersect(b)) == voxels(a) & voxels(b)
    assert a.intersect(b).size == len(voxels(a) & voxels(b))
    if voxels(b):
        assert a.contains(b) == (voxels(b) <= voxels(a))


@given(boxes(), st.tuples(*[st.integers(-9, 9)] * 3), boxes())
def test_moved_boxes(box: Box, by: tuple, other: Box) -> None:
    assert voxels(box.shift(by)) == {tuple(np.add(v, by)) for v in voxels(box)}
    assert box.shift(by).shift([-d for d in by]) == box
    assert box.relative_to(other).shift(other.start) == box
    assert box.relative_to(box).start == (0, 0, 0)


@given(boxes(), halos)
def test_grown_boxes_hold_what_is_near(box: Box, halo: tuple) -> None:
    within = Box((-2, -1, 0), (9, 8, 7))
    box = box.intersect(within)
    if not box.size:
        return
    near = {v for v in voxels(within) if all(a - h <= c < b + h for c, a, b, h in zip(v, box.start, box.stop, halo))}
    assert voxels(box.grow(halo, within)) == near


def test_one_number_is_for_all_axes() -> None:
    assert triple(3) == (3, 3, 3)
    assert triple([1, 2, 3]) == (1, 2, 3)
    assert triple(np.array([1, 2, 3]).tolist()) == (1, 2, 3)
    assert Box.of((2, 3, 4)).size == 24
    assert Box((0, 0, 0), (3, -1, 2)).size == 0


def test_blocks_are_values() -> None:
    a = Block((0, 0, 0), Box.of((1, 1, 1)), Box.of((2, 1, 1)))
    assert a == Block((0, 0, 0), Box.of((1, 1, 1)), Box.of((2, 1, 1)))
    assert len({a, a}) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: triple([1, 2]), "three"),
        (lambda: Grid(((1,), (2, 0), (3,))), "along y must be positive"),
        (lambda: Grid(((1,), (2,), ())), "along x must be positive"),
        (lambda: Grid.regular((4, 0, 4), 2), "at least one voxel along y, got 0 and 2"),
        (lambda: Grid.regular((4, 4, 4), (2, 2, -1)), "along x, got 4 and -1"),
        (lambda: Grid.regular((4, 4, 4), 2).block((0, 2, 0)), r"no block \(0, 2, 0\) in a grid of \(2, 2, 2\)"),
        (lambda: Grid.regular((4, 4, 4), 2).block((0, -1, 0)), "no block"),
    ],
)
def test_refusals(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
