"""The majority filter against scipy's generic filter, over any blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from traced import traced_peak

from mgsflow.blocks import Grid
from mgsflow.errors import InputError
from mgsflow.kernel import Kernel, run_chain
from mgsflow.segmentation import Majority


def oracle(labels: np.ndarray, r: int) -> np.ndarray:
    def mode(values: np.ndarray) -> float:
        own = int(values[values.size // 2])
        inside = values[values >= 0].astype(int)
        counts = np.bincount(inside, minlength=256)
        return own if counts[own] == counts.max() else int(counts.argmax())

    size = 2 * r + 1
    return ndimage.generic_filter(labels.astype(np.float64), mode, size=size, mode="constant", cval=-1).astype(np.uint8)


def smooth_labels(shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 0.7)
    return np.digitize(field, np.quantile(field, np.arange(1, count) / count)).astype(np.uint8)


@pytest.mark.parametrize(("count", "r"), [(2, 1), (3, 1), (3, 2), (8, 1), (9, 1), (20, 2)])
def test_equals_a_mode_filter(count: int, r: int) -> None:
    labels = smooth_labels((7, 9, 10), count, count + r)
    assert np.array_equal(Majority(r)(labels), oracle(labels, r))


def test_labels_need_not_follow_one_another() -> None:
    labels = np.array([0, 85, 255], np.uint8)[smooth_labels((6, 7, 8), 3, 1)]
    assert np.array_equal(Majority()(labels), oracle(labels, 1))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 1), (2, 1, 7), (3, 2, 2)])
@pytest.mark.parametrize("count", [3, 12])
def test_volumes_smaller_than_the_box(shape: tuple[int, int, int], count: int) -> None:
    labels = np.random.default_rng(2).integers(0, count, shape, dtype=np.uint8)
    assert np.array_equal(Majority(3)(labels), oracle(labels, 3))


def test_ties_keep_the_own_label_else_take_the_smallest() -> None:
    # the middle's box holds 1, 2, 3 once each; the first voxel's holds 1 and 2
    assert Majority()(np.array([[[1, 2, 3]]], np.uint8)).tolist() == [[[1, 2, 3]]]
    # 5 is alone among two of 4 and two of 7
    row = np.array([[[7, 7, 5, 4, 4]]], np.uint8)
    assert Majority(2)(row)[0, 0, 2] == 4


def test_specks_go_and_slabs_stay() -> None:
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[6:] = 2
    flat = labels.copy()
    labels[3, 3, 3] = 1
    labels[9, 9, 9] = 0
    assert np.array_equal(Majority()(labels), flat)


def test_iterations_are_repeated_passes_and_leave_the_input() -> None:
    labels = smooth_labels((8, 9, 10), 3, 3)
    kept = labels.copy()
    once = Majority()(labels)
    twice = Majority()(once)
    assert np.array_equal(Majority(iterations=2)(labels), twice)
    assert np.array_equal(Majority(iterations=3)(labels), Majority()(twice))
    assert not np.array_equal(once, twice)
    assert np.array_equal(labels, kept)


@settings(max_examples=25, deadline=None)
@given(
    block=st.tuples(*[st.integers(1, 11)] * 3),
    kernel=st.sampled_from([Majority(1), Majority(2), Majority(1, 2)]),
    count=st.sampled_from([2, 3, 12]),
    seed=st.integers(0, 9),
)
def test_same_over_any_blocks(block: tuple[int, int, int], kernel: Majority, count: int, seed: int) -> None:
    labels = smooth_labels((9, 10, 11), count, seed)
    whole = kernel(labels)
    for b in Grid.regular(labels.shape, block).blocks(kernel.halo):
        assert np.array_equal(run_chain((kernel,), labels[b.outer.slices], b), whole[b.core.slices])


def test_a_halo_too_small_shows() -> None:
    labels = smooth_labels((9, 10, 11), 3, 0)
    whole = Majority(2)(labels)
    blocks = Grid.regular(labels.shape, 4).blocks(halo=1)
    same = [np.array_equal(Majority(2)(labels[b.outer.slices])[b.trim], whole[b.core.slices]) for b in blocks]
    assert not all(same)


@pytest.mark.parametrize("kernel", [Majority(), Majority(3), Majority(1, 2)])
@pytest.mark.parametrize("count", [8, 30])
def test_scratch_is_an_upper_bound(kernel: Majority, count: int) -> None:
    labels = smooth_labels((40, 64, 64), count, 0)[:, 1:, 1:]
    kernel(labels)
    peak = traced_peak(lambda: kernel(labels))
    assert peak - labels.size <= kernel.scratch(labels.shape, labels.dtype)


def test_bad_parameters() -> None:
    assert isinstance(Majority(), Kernel)
    with pytest.raises(InputError, match="radius"):
        Majority(0)
    with pytest.raises(InputError, match="radius must be a whole number"):
        Majority(1.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="iterations"):
        Majority(1, 0)
    with pytest.raises(InputError, match="uint8"):
        Majority()(np.zeros((1, 1, 1), np.uint16))
