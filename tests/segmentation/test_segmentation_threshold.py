"""Thresholds against numpy.digitize, over any blocks and dtypes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_data import DATA

from mgsflow.blocks import Grid
from mgsflow.errors import InputError
from mgsflow.kernel import Kernel, run_chain
from mgsflow.segmentation import Majority, Threshold


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "float32", "float64"])
@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(
        st.one_of(st.integers(-40000, 70000), st.floats(-300, 300), st.sampled_from([0.1, 255, 255.5, 65535, -32768])),
        min_size=1,
        max_size=5,
        unique=True,
    ),
    seed=st.integers(0, 9),
)
def test_equals_digitize(dtype: str, values: list[float], seed: int) -> None:
    values = sorted(values)
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        image = rng.normal(0, 200, (3, 4, 17)).astype(dtype)
    else:
        info = np.iinfo(dtype)
        image = rng.integers(info.min, info.max, (3, 4, 17), dtype=dtype, endpoint=True)
    # voxels on the thresholds, and next to them
    near = [f(v) for v in values for f in (np.floor, np.ceil, float)]
    if np.dtype(dtype).kind != "f":
        near = [v for v in near if info.min <= v <= info.max]
    image.ravel()[: len(near)] = np.array(near).astype(dtype)
    expected = np.digitize(image.astype(np.float64), values)
    found = Threshold(tuple(values))(image)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_a_voxel_on_a_threshold_is_of_the_upper_phase() -> None:
    image = np.array([[[23099, 23100, 32499, 32500]]], np.uint16)
    assert Threshold((23100, 32500))(image).tolist() == [[[0, 1, 1, 2]]]


@settings(max_examples=20, deadline=None)
@given(block=st.tuples(*[st.integers(1, 9)] * 3), seed=st.integers(0, 9))
def test_same_over_any_blocks_in_a_chain(block: tuple[int, int, int], seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 65536, (7, 8, 9), dtype=np.uint16)
    chain = (Threshold((20000, 40000)), Majority(1))
    whole = Majority(1)(Threshold((20000, 40000))(image))
    for b in Grid.regular(image.shape, block).blocks(halo=1):
        assert np.array_equal(run_chain(chain, image[b.outer.slices], b), whole[b.core.slices])


def test_strides_and_byte_order_do_not_matter() -> None:
    image = np.random.default_rng(0).integers(0, 65536, (5, 6, 7), dtype=np.uint16)
    threshold = Threshold((30000,))
    expected = threshold(image)
    assert np.array_equal(threshold(image.astype(">u2")), expected)
    assert np.array_equal(threshold(image.T), expected.T)


def test_nan_is_refused_with_its_voxel_of_the_scan() -> None:
    image = np.zeros((2, 3, 4), np.float32)
    image[1, 2, 0] = np.nan
    with pytest.raises(InputError, match=r"NaN.*\(11, 22, 30\)"):
        Threshold((0.5,))(image, (10, 20, 30))


@pytest.mark.parametrize(
    ("values", "words"),
    [((), "1 to 255"), ((2, 1), "each greater"), ((1, 1), "each greater"), ((np.nan,), "finite"), (("a",), "numbers")],
)
def test_bad_thresholds(values: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Threshold(values)


def test_other_images_are_refused() -> None:
    for dtype in ("bool", "complex64", "float16"):
        with pytest.raises(InputError, match="convert the image"):
            Threshold((1,))(np.zeros((1, 1, 1), dtype))


def test_is_a_kernel_whose_repr_holds_its_thresholds() -> None:
    assert isinstance(Threshold((1,)), Kernel)
    assert repr(Threshold([1, 2])) == "Threshold(values=(1.0, 2.0))"  # type: ignore[arg-type]


def test_electrode_fractions() -> None:
    path = DATA / "electrode.tiff"
    if not path.exists():
        pytest.skip(f"no electrode.tiff in {DATA}")
    import tifffile

    labels = Threshold((43, 128))(tifffile.imread(path))
    fractions = np.bincount(labels.ravel(), minlength=3) / labels.size
    # grey values 0, 85, 170 are pore, active material, binder
    assert fractions.round(6).tolist() == [0.449917, 0.400466, 0.149616]
