"""Volume fractions against numpy, over any blocks, and the honesty of their error."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from real_data import DATA
from scipy import ndimage, stats

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.measures import DepthProfile, Measure, VolumeFraction, measure, sampling_error

SHAPE = (19, 13, 22)
NAMES = ("pore", "binder", "sulfur")


def cuts(n: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.sets(st.integers(1, n - 1), max_size=4).map(lambda s: tuple(int(d) for d in np.diff([0, *sorted(s), n])))


GRIDS = st.tuples(*(cuts(n) for n in SHAPE)).map(Grid)


def collect(reduction: VolumeFraction | DepthProfile, labels: np.ndarray, grid: Grid) -> np.ndarray:
    shape, dtype = reduction.record(grid.largest)
    records = np.zeros((*grid.counts, *shape), dtype)
    for block in grid.blocks(reduction.halo):
        record = reduction(labels[block.outer.slices], block)
        records[block.index][tuple(slice(n) for n in record.shape)] = record
    return records


@settings(max_examples=40, deadline=None)
@given(grid=GRIDS, tile=st.integers(1, 24), phases=st.sampled_from([3, 12]), seed=st.integers(0, 9))
def test_counts_and_error_are_the_same_over_any_blocks(grid: Grid, tile: int, phases: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, phases, SHAPE, dtype=np.uint8)
    names = tuple(f"phase {i}" for i in range(phases))
    m = VolumeFraction(phases, tile)
    found = m.finalize(collect(m, labels, grid), grid, (0.1, 0.2, 0.3), names)
    counts = np.bincount(labels.ravel(), minlength=phases)
    assert np.array_equal(found.voxel_count, counts)
    assert np.array_equal(found.volume_fraction, counts / labels.size)
    assert abs(float(found.volume_fraction.sum()) - 1) <= np.finfo(float).eps
    assert np.allclose(found.volume, counts * 0.006, rtol=1e-14)
    one = Grid.regular(SHAPE, 99)
    assert found.identical(m.finalize(collect(m, labels, one), one, (0.1, 0.2, 0.3), names))


@settings(max_examples=25, deadline=None)
@given(grid=GRIDS, data=st.data())
def test_windows_of_tiles_equal_the_cropped_image(grid: Grid, data: st.DataObject) -> None:
    labels = np.random.default_rng(1).integers(0, 3, SHAPE, dtype=np.uint8)
    tile, start, stop = 4, [], []
    for n in SHAPE:
        edges = [*range(0, n, tile), n]
        i = data.draw(st.integers(0, len(edges) - 2))
        start.append(edges[i])
        stop.append(edges[data.draw(st.integers(i + 1, len(edges) - 1))])
    window = Box(tuple(start), tuple(stop))  # type: ignore[arg-type]
    m = VolumeFraction(3, tile)
    found = m.finalize(collect(m, labels, grid), grid, (1, 1, 1), NAMES, window)
    crop = labels[window.slices]
    alone = Grid.regular(crop.shape, 99)
    assert found.identical(m.finalize(collect(m, crop, alone), alone, (1, 1, 1), NAMES))
    assert np.array_equal(found.voxel_count, np.bincount(crop.ravel(), minlength=3))


def test_a_window_that_cuts_tiles_is_refused() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    m, grid = VolumeFraction(3, 4), Grid.regular(SHAPE, 8)
    with pytest.raises(InputError, match="borders of tiles"):
        m.finalize(collect(m, labels, grid), grid, (1, 1, 1), NAMES, Box((0, 0, 1), (4, 4, 8)))


def correlated(shape: tuple[int, int, int], sigma: float, level: float, seed: int) -> np.ndarray:
    """Pores of a Gaussian field whose process, not whose sample, has the fraction P(N > level)."""
    margin = int(4 * sigma) + 1
    noise = np.random.default_rng(seed).standard_normal([n + 2 * margin for n in shape])
    kernel = np.zeros(8 * margin + 1)
    kernel[4 * margin] = 1
    spread = np.sum(ndimage.gaussian_filter1d(kernel, sigma) ** 2) ** 1.5  # of the field of unit noise
    field = ndimage.gaussian_filter(noise, sigma)[margin:-margin, margin:-margin, margin:-margin] / spread
    return (field > level).astype(np.uint8)


def errors_of(labels: np.ndarray, tile: int) -> tuple[float, float]:
    found = measure(labels, [VolumeFraction(2, tile)], (1, 1, 1), ("solid", "pore"), block=32)
    return float(found.volume_fraction[1]), float(found.volume_fraction_error[1])


@pytest.mark.parametrize(
    ("shape", "sigma", "level", "tile"),
    [((64, 64, 64), 2.0, 0.3, 8), ((50, 70, 45), 2.0, 1.2, 7), ((64, 64, 64), 1.0, 0.8, 32)],
)
def test_the_true_fraction_is_within_two_errors(
    shape: tuple[int, int, int], sigma: float, level: float, tile: int
) -> None:
    truth = float(stats.norm.sf(level))
    pairs = np.array([errors_of(correlated(shape, sigma, level, seed), tile) for seed in range(40)])
    off = np.abs(pairs[:, 0] - truth)
    assert np.mean(off <= 2 * pairs[:, 1]) >= 0.9
    # and not by claiming too little: at most 60 % above the scatter that is there
    assert np.sqrt(np.mean(pairs[:, 1] ** 2)) < 1.6 * np.sqrt(np.mean(off**2))
    # negative control: were voxels independent draws, the error would be far too small
    naive = np.sqrt(truth * (1 - truth) / prod(shape))
    assert np.mean(off <= 2 * naive) < 0.5


def test_independent_voxels_have_the_binomial_error() -> None:
    labels = (np.random.default_rng(0).random((96, 96, 96)) < 0.3).astype(np.uint8)
    _, error = errors_of(labels, 8)
    binomial = np.sqrt(0.3 * 0.7 / labels.size)
    # the largest of several levels, some of few cells
    assert binomial * 0.9 < error < binomial * 2.2


def test_the_error_is_unknown_for_few_tiles_and_absent_phases() -> None:
    labels = np.random.default_rng(0).integers(0, 2, (40, 40, 40), dtype=np.uint8)
    found = measure(labels, [VolumeFraction(3, 8)], (1, 1, 1), NAMES)
    assert np.isfinite(found.volume_fraction_error[:2]).all()
    assert np.isnan(found.volume_fraction_error[2])
    assert np.isnan(measure(labels, [VolumeFraction(3, 40)], (1, 1, 1), NAMES).volume_fraction_error).all()


def test_sampling_error_of_equal_tiles_is_the_textbook_one() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (2, 2, 2, 1))
    found = sampling_error(counts, np.full((2, 2, 2), 10))
    expected = np.std(counts / 10, ddof=1) / np.sqrt(8) * stats.t.ppf(0.975, 7) / stats.norm.ppf(0.975)
    assert found[0] == pytest.approx(expected, rel=1e-6)


def test_every_variable_says_its_unit_and_name() -> None:
    labels = np.random.default_rng(0).integers(0, 3, SHAPE, dtype=np.uint8)
    found = measure(labels, [VolumeFraction(3), DepthProfile(3)], (1, 1, 1), NAMES, block=8)
    for name, variable in found.data_vars.items():
        assert variable.attrs["units"], name
        assert variable.attrs["long_name"], name
    assert list(found.phase.values) == list(NAMES)


def test_measures_of_stored_arrays_equal_those_in_memory() -> None:
    labels = np.random.default_rng(0).integers(0, 3, SHAPE, dtype=np.uint8)
    stored = zarr.create_array(zarr.storage.MemoryStore(), data=labels, chunks=(8, 8, 8))
    measures: list[Measure] = [VolumeFraction(3, 8), DepthProfile(3)]
    expected = measure(labels, measures, (1, 1, 1), NAMES)
    assert measure(stored, measures, (1, 1, 1), NAMES, (7, 5, 22)).identical(expected)
    assert measure(xr.DataArray(labels, dims=tuple("zyx")), measures, (1, 1, 1), NAMES, 9).identical(expected)
    m, grid = VolumeFraction(3, 8), Grid.regular(SHAPE, 9)
    records = collect(m, labels, grid)
    lazily = zarr.create_array(zarr.storage.MemoryStore(), data=records, chunks=(1, 1, 1, *records.shape[3:]))
    assert m.finalize(lazily, grid, (1, 1, 1), NAMES).identical(m.finalize(records, grid, (1, 1, 1), NAMES))


def test_bad_input() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3, 4, 5] = 3
    assert isinstance(VolumeFraction(3), Measure)
    with pytest.raises(InputError, match=r"label 3.*\(3, 4, 5\)"):
        measure(labels, [VolumeFraction(3)], (1, 1, 1), NAMES, 4)
    good = labels.clip(0, 2)
    with pytest.raises(InputError, match="2 names"):
        measure(good, [VolumeFraction(3)], (1, 1, 1), NAMES[:2])
    with pytest.raises(InputError, match="voxel_size"):
        measure(good, [VolumeFraction(3)], (1, 1, -1), NAMES)
    with pytest.raises(InputError, match="three axes"):
        measure(good[0], [VolumeFraction(3)], (1, 1, 1), NAMES)
    with pytest.raises(InputError, match="at least one"):
        measure(good, [], (1, 1, 1), NAMES)
    with pytest.raises(InputError, match="once"):
        measure(good, [VolumeFraction(3), VolumeFraction(3, 8)], (1, 1, 1), NAMES)
    with pytest.raises(InputError, match="phases must be"):
        VolumeFraction(0)
    with pytest.raises(InputError, match="tile must be"):
        VolumeFraction(3, 0)
    m, grid = VolumeFraction(3), Grid.regular(SHAPE, 8)
    with pytest.raises(InputError, match="do not belong"):
        m.finalize(collect(m, good, grid), Grid.regular(SHAPE, 5), (1, 1, 1), NAMES)


def test_electrode_fractions() -> None:
    path = DATA / "electrode.tiff"
    if not path.exists():
        pytest.skip(f"no electrode.tiff in {DATA}")
    import tifffile

    labels = (tifffile.imread(path) // 85).astype(np.uint8)
    found = measure(labels, [VolumeFraction(3)], (1, 1, 1), ("pore", "active", "binder"), block=(100, 37, 256))
    assert found.volume_fraction.values.round(6).tolist() == [0.449917, 0.400466, 0.149616]
    assert int(found.voxel_count.sum()) == 256**3
    assert (found.volume_fraction_error > 0).all()
