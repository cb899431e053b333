"""Depth profiles against numpy, over any blocks, and the slopes of known gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgsflow.blocks import Grid
from mgsflow.errors import InputError
from mgsflow.measures import DepthProfile, Measure, measure

SHAPE = (17, 12, 21)
NAMES = ("pore", "binder", "sulfur")


def cuts(n: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.sets(st.integers(1, n - 1), max_size=4).map(lambda s: tuple(int(d) for d in np.diff([0, *sorted(s), n])))


def collect(m: DepthProfile, labels: np.ndarray, grid: Grid) -> np.ndarray:
    shape, dtype = m.record(grid.largest)
    records = np.zeros((*grid.counts, *shape), dtype)
    for block in grid.blocks():
        record = m(labels[block.outer.slices], block)
        records[block.index][tuple(slice(n) for n in record.shape)] = record
    return records


@settings(max_examples=40, deadline=None)
@given(grid=st.tuples(*(cuts(n) for n in SHAPE)).map(Grid), phases=st.sampled_from([1, 3, 12]), seed=st.integers(0, 9))
def test_profiles_are_the_same_over_any_blocks(grid: Grid, phases: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, phases, SHAPE, dtype=np.uint8)
    m = DepthProfile(phases)
    names = tuple(f"phase {i}" for i in range(phases))
    found = m.finalize(collect(m, labels, grid), grid, (0.1, 0.2, 0.3), names)
    for axis, others, n in zip("zyx", ((1, 2), (0, 2), (0, 1)), SHAPE):
        expected = np.stack([(labels == p).sum(axis=others) for p in range(phases)]) / (labels.size // n)
        assert np.array_equal(found[f"depth_profile_{axis}"], expected)
        assert np.abs(found[f"depth_profile_{axis}"].sum("phase") - 1).max() <= 2 * np.finfo(float).eps
    one = Grid.regular(SHAPE, 99)
    assert found.identical(m.finalize(collect(m, labels, one), one, (0.1, 0.2, 0.3), names))


def test_coordinates_are_centres_in_micrometres() -> None:
    found = measure(np.zeros((2, 3, 4), np.uint8), [DepthProfile(1)], (0.5, 2.0, 1.0), ("pore",))
    assert found.z.values.tolist() == [0.25, 0.75]
    assert found.y.values.tolist() == [1.0, 3.0, 5.0]
    assert found.x.attrs["units"] == "µm"


def test_gradients_equal_a_fitted_line() -> None:
    rng = np.random.default_rng(0)
    share = np.linspace(0.2, 0.8, 40)[:, None, None]
    labels = (rng.random((40, 30, 25)) < share).astype(np.uint8)
    found = measure(labels, [DepthProfile(2)], (0.126, 0.2, 0.39), ("pore", "binder"), block=16)
    for axis in "zyx":
        line = np.polyfit(found[axis], found[f"depth_profile_{axis}"].sel(phase="binder"), 1)
        assert float(found.depth_gradient.sel(phase="binder", axis=axis)) == pytest.approx(line[0], rel=1e-9)
    assert np.allclose(found.depth_gradient.sum("phase"), 0, atol=1e-14)
    # 0.6 over 39 steps of 0.126 µm, with the noise of 750 voxels a slice
    assert float(found.depth_gradient.sel(phase="binder", axis="z")) == pytest.approx(0.6 / (39 * 0.126), rel=0.05)


def test_an_exact_ramp_and_a_flat_one() -> None:
    labels = np.zeros((8, 8, 1), np.uint8)
    for z in range(8):
        labels[z, :z] = 1
    found = measure(labels, [DepthProfile(2)], (2.0, 1.0, 1.0), ("pore", "binder"), block=3)
    assert float(found.depth_gradient.sel(phase="binder", axis="z")) == 1 / 16
    assert np.isnan(found.depth_gradient.sel(axis="x")).all()
    flat = measure(np.ones((8, 8, 2), np.uint8), [DepthProfile(2)], (1, 1, 1), ("pore", "binder"), block=3)
    assert (flat.depth_gradient == 0).all()


def test_bad_input() -> None:
    assert isinstance(DepthProfile(3), Measure)
    with pytest.raises(InputError, match="phases must be"):
        DepthProfile(257)
    labels = np.full((2, 2, 2), 3, np.uint8)
    with pytest.raises(InputError, match="label 3"):
        measure(labels, [DepthProfile(3)], (1, 1, 1), NAMES)
    with pytest.raises(InputError, match="2 names"):
        measure(labels, [DepthProfile(4)], (1, 1, 1), NAMES[:2])


def test_records_hold_blocks_of_any_size() -> None:
    assert DepthProfile(3).record((256, 128, 64)) == ((3, 3, 256), np.dtype(np.uint32))
    assert DepthProfile(3).record((2048, 2048, 1024))[1] == np.uint64
