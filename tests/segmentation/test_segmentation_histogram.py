"""Histograms against numpy on the whole array, over any blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgsflow.blocks import Block, Box, Grid
from mgsflow.errors import InputError
from mgsflow.kernel import Reduction
from mgsflow.segmentation import GreyHistogram, Histogram

SHAPE = (9, 11, 13)
CUTS = st.tuples(*(st.lists(st.integers(1, n), min_size=1, max_size=4).map(tuple) for n in SHAPE)).map(
    lambda cuts: Grid(tuple(_fit(c, n) for c, n in zip(cuts, SHAPE)))
)


def _fit(cuts: tuple[int, ...], n: int) -> tuple[int, ...]:
    """Cut or extend a list of lengths to sum n."""
    out: list[int] = []
    for c in (*cuts, n):
        rest = n - sum(out)
        if rest:
            out.append(min(c, rest))
    return tuple(out)


def gather(reduction: Histogram, image: np.ndarray, grid: Grid) -> GreyHistogram:
    shape, dtype = reduction.record(grid.largest)
    records = np.zeros((*grid.counts, *shape), dtype)
    for block in grid.blocks():
        records[block.index] = reduction(image[block.outer.slices], block)
    return reduction.gather(records)


@settings(max_examples=30, deadline=None)
@given(grid=CUTS, dtype=st.sampled_from(["uint8", "uint16", "int16"]), seed=st.integers(0, 99))
def test_integers_are_counted_exactly_over_any_blocks(grid: Grid, dtype: str, seed: int) -> None:
    info = np.iinfo(dtype)
    image = np.random.default_rng(seed).integers(info.min, info.max, SHAPE, dtype=dtype, endpoint=True)
    image[0, 0, :2] = info.min, info.max
    found = gather(Histogram(dtype), image, grid)
    expected = np.bincount(image.ravel().astype(np.int64) - info.min, minlength=info.max - info.min + 1)
    assert np.array_equal(found.counts, expected)
    assert found.total == image.size
    assert found.low == info.min
    assert found.centres[-1] == info.max


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_a_range_is_cut_as_numpy_does_and_counts_what_is_outside(dtype: str) -> None:
    image = (np.random.default_rng(0).normal(0, 1000, SHAPE)).astype(dtype)
    image[0, 0, :2] = -500, 750  # both ends of the range are inside
    found = gather(Histogram(dtype, -500, 750, 100), image, Grid.regular(SHAPE, 4))
    expected, edges = np.histogram(np.clip(image, -500, 750), 100, (-500, 750))
    assert np.array_equal(found.counts, expected)
    assert (found.below, found.above) == (int((image < -500).sum()), int((image > 750).sum()))
    assert np.allclose(found.edges, edges)
    assert found.total == image.size


def test_infinite_values_are_outside_the_range() -> None:
    image = np.full((1, 1, 3), 0.5, np.float32)
    image[0, 0, :2] = -np.inf, np.inf
    found = gather(Histogram("float32", 0, 1, 4), image, Grid.regular((1, 1, 3), 3))
    assert found.counts.tolist() == [1, 0, 1, 1]
    assert (found.below, found.above) == (1, 1)


def test_nan_is_refused_with_its_voxel() -> None:
    image = np.zeros((4, 5, 6), np.float32)
    image[3, 2, 5] = np.nan
    block = Grid.regular((4, 5, 6), (2, 5, 6)).block((1, 0, 0))
    with pytest.raises(InputError, match=r"NaN.*\(3, 2, 5\)"):
        Histogram("float32", 0, 1, 4)(image[block.outer.slices], block)


def test_byte_order_and_strides_do_not_matter() -> None:
    image = np.random.default_rng(1).integers(0, 65536, (6, 7, 9), dtype=np.uint16)
    box = Box.of((6, 7, 9))
    block = Block((0, 0, 0), box, box)
    expected = Histogram()(image, block)
    assert np.array_equal(Histogram()(image.astype(">u2"), block), expected)
    assert np.array_equal(Histogram()(np.pad(image, 2)[2:-2, 2:-2, 2:-2], block), expected)
    assert not np.array_equal(Histogram()(image ^ 1, block), expected)


def test_records_widen_with_the_block_and_match_the_protocol() -> None:
    assert isinstance(Histogram(), Reduction)
    assert Histogram().record((256, 256, 256)) == ((65536,), np.dtype(np.uint32))
    assert Histogram("uint8").record((2048, 2048, 1024)) == ((256,), np.dtype(np.uint64))
    assert Histogram("float32", 0, 1, 10).record((1, 1, 1))[0] == (12,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("float32",), "low and high"),
        (("uint32", 5, 5), "low must be less"),
        (("float64", 0, np.inf), "finite"),
        (("uint8", 0, 1), "not needed"),
        (("complex64",), "dtype must be one of"),
        (("float32", 0, 1, 0), "bins"),
    ],
)
def test_bad_parameters(arguments: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Histogram(*arguments)


def test_another_dtype_is_refused() -> None:
    box = Box.of((1, 1, 1))
    with pytest.raises(InputError, match="set up for uint16, but the image is uint8"):
        Histogram()(np.zeros((1, 1, 1), np.uint8), Block((0, 0, 0), box, box))


def test_statistics_equal_numpys_on_the_voxels() -> None:
    image = np.random.default_rng(2).normal(900, 150, 20_000).clip(0, 65535).astype(np.uint16)
    h = GreyHistogram(np.bincount(image, minlength=65536), 0.0, 1.0)
    q = [0, 0.1, 25, 50, 99.9, 100]
    assert np.array_equal(h.percentile(q), np.percentile(image, q, method="inverted_cdf"))
    assert h.mean == pytest.approx(image.mean(), rel=1e-14)
    assert h.variance == pytest.approx(image.astype(float).var(), rel=1e-12)
    assert h.std == pytest.approx(image.astype(float).std(), rel=1e-12)


def test_percentiles_of_a_range_are_within_a_bin() -> None:
    values = np.random.default_rng(3).random(50_000)
    h = GreyHistogram(np.histogram(values, 200, (0, 1))[0], 0.0, 1 / 200, discrete=False)
    q = np.linspace(0, 100, 11)
    assert np.abs(h.percentile(q) - np.percentile(values, q)).max() < 1 / 200
    assert h.mean == pytest.approx(values.mean(), abs=1 / 400)


def test_histograms_add_up_only_on_equal_bins() -> None:
    a = GreyHistogram(np.array([1, 2]), 0.0, 1.0, below=1)
    b = GreyHistogram(np.array([3, 0]), 0.0, 1.0, above=2)
    both = a + b
    assert both.counts.tolist() == [4, 2]
    assert (both.below, both.above) == (1, 2)
    with pytest.raises(InputError, match="different bins"):
        a + GreyHistogram(np.array([3, 0]), 1.0, 1.0)


def test_bad_histograms() -> None:
    with pytest.raises(InputError, match="integers >= 0"):
        GreyHistogram(np.array([1.5]), 0.0, 1.0)
    with pytest.raises(InputError, match="integers >= 0"):
        GreyHistogram(np.array([-1]), 0.0, 1.0)
    with pytest.raises(InputError, match="width > 0"):
        GreyHistogram(np.array([1]), 0.0, 0.0)
    with pytest.raises(InputError, match="no voxels"):
        GreyHistogram(np.array([0]), 0.0, 1.0).percentile(50)
    with pytest.raises(InputError, match="between 0 and 100"):
        GreyHistogram(np.array([1]), 0.0, 1.0).percentile(101)
