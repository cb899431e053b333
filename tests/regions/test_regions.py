"""Shapes of a region against numpy on the whole array; what is found of a cylinder against what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion

from mgsflow.blocks import Block, Box, Grid
from mgsflow.errors import InputError
from mgsflow.readers import open_scan
from mgsflow.regions import (
    Cropped,
    Cylinder,
    Filled,
    LabelOutside,
    Mask,
    OnlyInside,
    find_cylinder,
    find_cylinder_axis,
    inscribed_box,
)
from mgsflow.segmentation import Extremes, Histogram

SHAPE = (20, 26, 33)


class Array:
    """An array as a source."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def scratch(self, shape: tuple[int, ...]) -> int:
        return 0

    def read(self, box: Box) -> np.ndarray:
        return np.ascontiguousarray(self.values[box.slices])


def circle(shape: tuple[int, int, int], centre: tuple[float, float], radius: float, axis: int) -> np.ndarray:
    grids = np.indices(shape)
    u, v = (g for i, g in enumerate(grids) if i != axis)
    return (u - centre[0]) ** 2 + (v - centre[1]) ** 2 <= radius**2


def boxes() -> st.SearchStrategy[Box]:
    def spans(n: int) -> st.SearchStrategy[tuple[int, int]]:
        return st.tuples(st.integers(0, n - 1), st.integers(1, n)).map(lambda p: (p[0], min(n, p[0] + p[1])))

    return st.tuples(*map(spans, SHAPE)).map(lambda s: Box(tuple(a for a, _ in s), tuple(b for _, b in s)))


@settings(max_examples=40, deadline=None)
@given(boxes(), st.sampled_from("zyx"), st.floats(0.5, 20), st.floats(-3, 30), st.floats(-3, 30))
def test_a_cylinder_is_where_the_whole_array_says(box: Box, axis: str, radius: float, u: float, v: float) -> None:
    whole = circle(SHAPE, (u, v), radius, "zyx".index(axis))
    np.testing.assert_array_equal(Cylinder((u, v), radius, axis).inside(box), whole[box.slices])


@settings(max_examples=30, deadline=None)
@given(boxes(), st.tuples(*[st.integers(0, 3)] * 3), st.sampled_from([0.0, 7.0, np.nan]))
def test_a_mask_is_eroded_as_on_the_whole_array(box: Box, reach: tuple[int, int, int], outside: float) -> None:
    values = np.random.default_rng(1).choice([0.0, 7.0, np.nan, 3.0], SHAPE, p=[0.03, 0.03, 0.03, 0.91])
    whole = ~np.isnan(values) if np.isnan(outside) else values != outside
    structure = np.ones([2 * r + 1 for r in reach], bool)
    expected = binary_erosion(whole, structure, border_value=1) if any(reach) else whole
    found = Mask(Array(values), outside).shrunk(reach).inside(box)
    np.testing.assert_array_equal(found, expected[box.slices])


def test_a_shrunk_cylinder_has_nothing_outside_in_reach() -> None:
    cylinder, reach = Cylinder((12.5, 16.0), 11.0), (2, 1, 2)
    whole = cylinder.inside(Box.of(SHAPE))
    eroded = binary_erosion(whole, np.ones([2 * r + 1 for r in reach], bool), border_value=1)
    inner = cylinder.shrunk(reach).inside(Box.of(SHAPE))
    assert (inner <= eroded).all()
    assert inner.sum() > 0.8 * eroded.sum()


def test_a_cylinder_that_the_filters_use_up_is_refused() -> None:
    with pytest.raises(InputError, match="nothing left within the reach of the filters"):
        Cylinder((5.0, 5.0), 3.0).shrunk((0, 3, 3))


@pytest.mark.parametrize("outside", [0, np.nan, -1000])
@pytest.mark.parametrize("axis", range(3))
def test_the_cylinder_of_a_reconstruction_is_found(axis: int, outside: float) -> None:
    shape = tuple(np.insert([70, 80], axis, 40))
    inside = circle(shape, (35.0, 38.5), 34.0, axis)
    values = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    values[~inside] = outside
    values[tuple(n // 2 for n in shape)] = outside  # a voxel within of that value is no outside
    source = Array(values)
    found = find_cylinder_axis(source)
    assert found is not None
    assert found[0] == "zyx"[axis]
    cylinder = find_cylinder(source)
    assert cylinder.centre == (35.0, 38.5)
    assert 31.5 <= cylinder.radius <= 33.5
    assert (cylinder.inside(Box.of(shape)) <= inside).all()


def test_what_is_no_cylinder_is_not_taken_for_one() -> None:
    values = np.random.default_rng(0).uniform(1, 2, (40, 60, 60))
    assert find_cylinder_axis(Array(values)) is None
    with pytest.raises(InputError, match="no cylinder was found"):
        find_cylinder(Array(values))


@pytest.mark.parametrize("axis", "zyx")
def test_the_inscribed_box_lies_within_and_no_larger_one_does(axis: str) -> None:
    cylinder = Cylinder((30.2, 33.7), 22.3, axis)
    shape = (60, 66, 70)
    whole = cylinder.inside(Box.of(shape))
    box = inscribed_box(cylinder, shape)
    assert whole[box.slices].all()
    assert not whole[box.grow(1, within=Box.of(shape)).slices].all()
    assert box.shape["zyx".index(axis)] == shape["zyx".index(axis)]


class TestCounting:
    """Sums over a region's voxels, in any blocks."""

    @pytest.mark.parametrize("block", [7, (20, 5, 33), 64])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_a_histogram_is_that_of_the_voxels_inside(self, block: int, dtype: type) -> None:
        values = np.random.default_rng(2).integers(0, 200, SHAPE).astype(dtype)
        cylinder = Cylinder((12.0, 16.0), 6.0)
        ranged = {} if np.dtype(dtype).kind == "u" else {"low": 0.0, "high": 200.0, "bins": 200}
        kernel = OnlyInside(Histogram(np.dtype(dtype).name, **ranged), cylinder)
        grid = Grid.regular(SHAPE, block)
        records = np.stack([kernel(values[b.outer.slices], b) for b in grid.blocks()])
        found = kernel.gather(records)
        inside = values[cylinder.inside(Box.of(SHAPE))]
        assert found.total == inside.size
        np.testing.assert_array_equal(found.counts[:200], np.bincount(inside.astype(int), minlength=200)[:200])

    def test_a_block_outside_changes_no_range(self) -> None:
        values = np.full(SHAPE, 5.0, np.float32)
        values[:, 13, 16:20] = [1, 2, 3, 4]
        kernel = OnlyInside(Extremes(), Cylinder((13.0, 18.0), 3.0))
        records = [kernel(values[b.outer.slices], b) for b in Grid.regular(SHAPE, 6).blocks()]
        assert Extremes().gather(np.stack(records)) == (1.0, 5.0)

    @settings(max_examples=20, deadline=None)
    @given(boxes())
    def test_labels_outside_depend_on_the_place_alone(self, box: Box) -> None:
        labels = np.random.default_rng(3).integers(0, 4, SHAPE).astype(np.uint8)
        region = Cylinder((12.0, 16.0), 9.0, "z")
        kernel = LabelOutside(4, region, (2,))
        expected = np.where(region.inside(Box.of(SHAPE)) & (labels != 2), labels, 4)
        np.testing.assert_array_equal(kernel(labels[box.slices], box.start), expected[box.slices])


class TestReaders:
    """A box of a scan, and a scan whose outside is not finite."""

    @pytest.fixture
    def scan(self, tmp_path: Path) -> Path:
        values = np.random.default_rng(4).uniform(1, 2, SHAPE).astype(np.float32)
        values[:, :3] = np.nan
        np.save(tmp_path / "scan.npy", values)
        return tmp_path / "scan.npy"

    def test_a_box_is_the_slice_of_the_whole(self, scan: Path) -> None:
        whole = np.load(scan)
        box = Box((2, 5, 1), (17, 20, 30))
        cropped = Cropped(open_scan(scan), box)
        assert cropped.shape == (15, 15, 29)
        part = Box((1, 2, 3), (10, 15, 20))
        np.testing.assert_array_equal(cropped.read(part), whole[box.slices][part.slices])
        with pytest.raises(InputError, match="not within the scan"):
            Cropped(open_scan(scan), Box((0, 0, 0), (21, 5, 5)))

    def test_values_that_are_not_finite_are_filled_outside_and_refused_inside(self, scan: Path) -> None:
        reader = open_scan(scan)
        filled = Filled(reader, Mask(Array(np.load(scan)), np.nan)).read(Box.of(SHAPE))
        np.testing.assert_array_equal(filled, np.nan_to_num(np.load(scan), nan=0.0))
        with pytest.raises(InputError, match=r"z=0, inside the region: value nan at y=0, x=11"):
            Filled(reader, Cylinder((13.0, 16.0), 14.2)).read(Box.of(SHAPE))
        with pytest.raises(InputError, match="not a finite number"):
            reader.read(Box.of(SHAPE))


def test_a_region_shrinks_blocks_of_any_cut(tmp_path: Path) -> None:
    """What a block says of a voxel is what any other block says: the place alone decides."""
    region = Mask(Array(np.random.default_rng(5).integers(0, 9, SHAPE)), 0.0, (1, 1, 1))
    whole = region.inside(Box.of(SHAPE))
    for block in Grid.regular(SHAPE, (6, 9, 11)).blocks():
        assert isinstance(block, Block)
        np.testing.assert_array_equal(region.inside(block.core), whole[block.core.slices])
