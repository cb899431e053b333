"""Kernels against scipy on whole arrays, and against themselves under every cut."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, median_filter
from traced import traced_peak

from mgsflow.blocks import Grid
from mgsflow.errors import InputError
from mgsflow.filters import FILTERS, Gaussian, Median, NonLocalMeans, Rescale, SliceDrift, UnsharpMask
from mgsflow.filters.separable import STRIP
from mgsflow.kernel import Kernel, chain_halo, run_chain

DTYPES = ("uint8", "uint16", "float32")
#: Types that no scanner writes: each takes seconds to compile for.
RARE = tuple(pytest.param(d, marks=pytest.mark.slow) for d in ("int32", "float64"))
KERNELS = (
    Gaussian(0.7),
    Gaussian((1.3, 0, 0.4), truncate=3),
    UnsharpMask(0.8, 0.6),
    UnsharpMask((0.5, 1, 0), 1.5, threshold=9),
    Median(1),
    Median(2),
    NonLocalMeans(20, search=1, noise=15),
    NonLocalMeans(40),
    Rescale(1.37, -11.2),
    SliceDrift(tuple(1 + 0.01 * z for z in range(32)), anchor=3),
)


def noise(shape, dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(100, 60, shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def by_blocks(chain, array, grid, halo=None):
    out = None
    for block in grid.blocks(chain_halo(chain) if halo is None else halo):
        part = run_chain(chain, array[block.outer.slices], block)
        out = np.empty(array.shape, part.dtype) if out is None else out
        out[block.core.slices] = part
    return out


@pytest.mark.parametrize("dtype", [*DTYPES, *RARE])
@pytest.mark.parametrize("sigma", [1.0, (2.0, 0.0, 0.6)])
def test_gaussian_is_scipys(dtype, sigma):
    array = noise((14, 19, 37), dtype)
    exact = gaussian_filter(array.astype(np.float64), sigma)
    got = Gaussian(sigma)(array)
    assert got.dtype == array.dtype
    if np.dtype(dtype).kind == "f":
        tolerance = 1e-6 if dtype == "float32" else 1e-13
        assert np.abs(got - exact).max() <= tolerance * np.abs(array).max()
    else:
        # float32 sums may fall on the other side of a half
        assert np.abs(got.astype(np.int64) - np.rint(exact).astype(np.int64)).max() <= 1
        assert (got == np.rint(exact)).mean() > 0.99


def test_gaussian_across_strips_and_on_axes_shorter_than_its_radius():
    for shape in ((3, 2 * STRIP + 5, 4), (1, 1, 1), (2, 3, 1)):
        array = noise(shape, "float32")
        np.testing.assert_allclose(Gaussian(2.5)(array), gaussian_filter(array, 2.5), rtol=0, atol=1e-4)


def test_gaussian_rounds_and_keeps_a_constant():
    for dtype in ("uint8", "uint16", "int32"):
        top = np.full((5, 6, 7), np.iinfo(dtype).max, dtype)
        assert (Gaussian(1.3)(top) == top).all()
    assert (Gaussian(0)(noise((4, 5, 6))) == noise((4, 5, 6))).all()


def test_results_beyond_float32_do_not_wrap_round():
    # 2³¹ − 1 is 2³¹ in float32, which would become −2³¹
    top = np.full((3, 3, 3), 2**31 - 1, np.int32)
    assert (NonLocalMeans(10, 1)(top) == 2**31 - 128).all()
    assert (UnsharpMask(1, 0.6)(top) == top).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [0, 20])
def test_unsharp_mask_is_its_equation(dtype, threshold):
    array = noise((12, 17, 33), dtype)
    edge = array - gaussian_filter(array.astype(np.float64), 1.2)
    exact = array + np.where(np.abs(edge) > threshold, 0.7 * edge, 0)
    clear = np.abs(np.abs(edge) - threshold) > 0.05
    got = UnsharpMask(1.2, 0.7, threshold)(array).astype(np.float64)
    if np.dtype(dtype).kind == "f":
        assert np.abs(got - exact)[clear].max() < 1e-3
    else:
        clipped = np.clip(np.rint(exact), 0, np.iinfo(dtype).max)
        assert np.abs(got - clipped)[clear].max() <= 1
        assert (got == 0).any()
        assert (got == np.iinfo(dtype).max).any()


def test_unsharp_mask_of_amount_minus_one_is_the_gaussian():
    array = noise((9, 10, 11))
    difference = UnsharpMask(1, -1)(array).astype(int) - Gaussian(1)(array)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("dtype", [*DTYPES, RARE[0]])
@pytest.mark.parametrize("radius", [1, 2])
def test_median_is_scipys(dtype, radius):
    for shape in ((9, 11, 40), (1, 7, 3), (2, 1, 1)):
        array = noise(shape, dtype)
        expected = median_filter(array, size=2 * radius + 1, mode="reflect")
        np.testing.assert_array_equal(Median(radius)(array), expected)


def test_median_of_27_on_zeros_and_ones_and_across_tiles():
    # a network that is right for every mix of zeros and ones is right for all values
    rng = np.random.default_rng(1)
    array = (rng.random((40, 40, 1100)) < np.linspace(0.2, 0.8, 40)[:, None, None]).astype(np.uint8)
    sums = sum(np.roll(array, shift, (0, 1, 2)).astype(np.uint8) for shift in product((-1, 0, 1), repeat=3))
    inner = (slice(1, -1),) * 3
    np.testing.assert_array_equal(Median(1)(array)[inner], (sums > 13)[inner])


def test_median_of_negative_floats():
    array = -np.abs(noise((6, 7, 8), "float32"))
    array[::2] *= -1
    np.testing.assert_array_equal(Median(2)(array), median_filter(array, size=5, mode="reflect"))


def reference_nlm(array, strength, search, noise_level):
    """The equation, voxel window by voxel window, in float64."""
    reach = search + 1
    f = np.pad(array.astype(np.float64), reach, mode="symmetric")
    n = array.shape

    def moved(offset):
        return f[tuple(slice(reach + o, reach + o + k) for o, k in zip(offset, n))]

    total = np.zeros(n)
    weight = np.zeros(n)
    for offset in product(range(-search, search + 1), repeat=3):
        d2 = np.zeros(n)
        for p in product((-1, 0, 1), repeat=3):
            d2 += (moved(p) - moved(tuple(a + b for a, b in zip(p, offset)))) ** 2 / 27
        t = np.maximum(0, d2 - 2 * noise_level**2) / strength**2
        w = np.where(t < 8, (1 - t / 8) ** 8, 0)
        total += w * moved(offset)
        weight += w
    return total / weight


@pytest.mark.parametrize("dtype", DTYPES)
def test_non_local_means_is_its_equation(dtype):
    array = (noise((11, 19, 23), "float32") / 4 + 60).clip(0, 250).astype(dtype)
    got = NonLocalMeans(15, 2, noise=12)(array)
    exact = reference_nlm(array, 15, 2, 12)
    error = np.abs(got - exact).max()
    assert error < (1e-3 if dtype == "float32" else 0.501)


def test_non_local_means_denoises_better_than_a_gaussian():
    rng = np.random.default_rng(3)
    phases = gaussian_filter(rng.normal(size=(40, 40, 40)), 3)
    true = np.digitize(phases, np.quantile(phases, [0.3, 0.85])) * 8000.0 + 20000
    seen = (true + rng.normal(0, 2000, true.shape)).astype(np.uint16)

    def psnr(image):
        return 10 * np.log10(16000**2 / np.mean((image - true) ** 2))

    best_gaussian = max(psnr(Gaussian(s)(seen)) for s in (0.4, 0.6, 0.8, 1))
    assert psnr(NonLocalMeans(1600, 2, 2000)(seen)) > best_gaussian + 2
    assert best_gaussian > psnr(seen) + 2


def test_rescale_is_its_equation():
    array = noise((5, 6, 7), "int16")
    exact = np.clip(np.rint(array * 1.7 - 30.25), -32768, 32767)
    np.testing.assert_array_equal(Rescale(1.7, -30.25)(array), exact)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_cut_gives_the_same_bits(kernel, data):
    shape = data.draw(st.tuples(*[st.integers(1, 18)] * 3))
    cuts = tuple(tuple(data.draw(partition(n))) for n in shape)
    array = noise(shape, data.draw(st.sampled_from(DTYPES)), seed=data.draw(st.integers(0, 99)))
    np.testing.assert_array_equal(by_blocks([kernel], array, Grid(cuts)), kernel(array))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_cut_of_a_chain_gives_the_same_bits(data):
    chain = data.draw(st.lists(st.sampled_from(KERNELS), min_size=2, max_size=4))
    shape = data.draw(st.tuples(*[st.integers(1, 18)] * 3))
    cuts = tuple(tuple(data.draw(partition(n))) for n in shape)
    array = noise(shape, data.draw(st.sampled_from(DTYPES)))
    whole = array
    for kernel in chain:
        whole = kernel(whole)
    np.testing.assert_array_equal(by_blocks(chain, array, Grid(cuts)), whole)


def partition(n):
    """Strategy of uneven block lengths that add up to n."""
    return st.sets(st.integers(1, max(1, n - 1)), max_size=3).map(
        lambda at: [int(d) for d in np.diff([0, *sorted(a for a in at if a < n), n])]
    )


@pytest.mark.parametrize("kernel", [KERNELS[0], KERNELS[2], *KERNELS[4:8]], ids=repr)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_halo_one_too_small_is_noticed(kernel, axis):
    @dataclass(frozen=True)
    class Short:
        inner: Kernel

        def __getattr__(self, name):
            return getattr(self.inner, name)

        @property
        def halo(self):
            return tuple(h - (i == axis) for i, h in enumerate(self.inner.halo))

        def __call__(self, array, origin=(0, 0, 0)):
            return self.inner(array, origin)

    array = noise((20, 20, 20))
    if isinstance(kernel, NonLocalMeans):
        array = (array // 1000).astype(np.uint16)
        array[8:12, 8:12, 8:12] += 10
    grid = Grid(tuple((10, 10) if i == axis else (20,) for i in range(3)))
    assert (by_blocks([kernel], array, grid) == kernel(array)).all()
    assert (by_blocks([Short(kernel)], array, grid) != kernel(array)).any()


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_scratch_is_kept_and_input_unchanged(kernel):
    array = noise((32, 40, 70))
    before = array.copy()
    array.flags.writeable = False
    kernel(array)
    peak = traced_peak(lambda: kernel(array))
    out = kernel(array)
    assert (array == before).all()
    assert out.flags.owndata
    assert peak - out.nbytes <= kernel.scratch(array.shape, array.dtype)
    assert kernel.scratch(array.shape, array.dtype) < 3.5e6


@pytest.mark.parametrize("kernel", KERNELS[:-1], ids=repr)
def test_odd_layouts_give_the_same_bits(kernel):
    array = noise((9, 10, 11))
    expected = kernel(array)
    padded = noise((12, 13, 14))
    padded[1:10, 2:12, 3:14] = array
    assert (kernel(padded[1:10, 2:12, 3:14]) == expected).all()
    assert (kernel(np.asfortranarray(array)) == expected).all()
    assert (kernel(array.astype(">u2")) == expected).all()
    assert (kernel(array[::-1])[::-1] == kernel(array[::-1].copy())[::-1]).all()
    assert kernel(array[:0]).shape == (0, 10, 11)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_kernels_obey_the_protocol_and_their_repr_tells_them_apart(kernel):
    assert isinstance(kernel, Kernel)
    namespace = {k.__name__: k for k in (*FILTERS.values(), SliceDrift)}
    assert eval(repr(kernel), namespace) == kernel
    assert sum(repr(k) == repr(kernel) for k in KERNELS) == 1


def test_one_parameter_has_one_repr():
    assert repr(Gaussian(2)) == repr(Gaussian(2.0)) == repr(Gaussian(np.float64(2)))
    assert repr(Gaussian([1, 2, 3])) == repr(Gaussian((1.0, 2.0, 3.0)))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Gaussian(-1), "sigma"),
        (lambda: Gaussian((1, 2)), "sigma"),
        (lambda: Gaussian((1, float("nan"), 2)), "sigma along y"),
        (lambda: Gaussian("2"), "sigma"),
        (lambda: Gaussian(True), "sigma"),
        (lambda: Gaussian(1, truncate=0), "truncate"),
        (lambda: UnsharpMask(1, float("inf")), "amount"),
        (lambda: UnsharpMask(1, 1, -2), "threshold"),
        (lambda: Median(3), "radius"),
        (lambda: Median(1.0), "radius"),
        (lambda: NonLocalMeans(0), "strength"),
        (lambda: NonLocalMeans(10, search=6), "search"),
        (lambda: NonLocalMeans(10, noise=-1), "noise"),
        (lambda: Rescale(0), "gain"),
        (lambda: Rescale(1, None), "offset"),
        (lambda: Gaussian(1)(np.zeros((3, 3), np.uint8)), r"\(3, 3\)"),
        (lambda: Median()(np.zeros((3, 3, 3), bool)), "bool"),
        (lambda: Rescale(1)(np.zeros((3, 3, 3), complex)), "complex"),
    ],
)
def test_bad_input_is_named(make, word):
    with pytest.raises(InputError, match=word):
        make()


def test_filters_of_a_study_file():
    assert FILTERS["unsharp_mask"](sigma=2, amount=0.6) == UnsharpMask(2.0, 0.6, 0.0)
    assert set(FILTERS) == {"gaussian", "median", "non_local_means", "rescale", "unsharp_mask"}
