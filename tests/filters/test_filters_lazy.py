"""The functions for notebooks: same values, same container, still lazy."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from mgsflow.errors import InputError
from mgsflow.filters import Gaussian, Median, NonLocalMeans, SliceDrift, UnsharpMask, lazy

CALLS = {
    "gaussian": (lambda i: lazy.gaussian(i, sigma=(1, 0.5, 2)), Gaussian((1, 0.5, 2))),
    "median": (lambda i: lazy.median(i, radius=1), Median(1)),
    "non_local_means": (lambda i: lazy.non_local_means(i, 9000, search=1), NonLocalMeans(9000, 1)),
    "unsharp_mask": (lambda i: lazy.unsharp_mask(i, sigma=1, amount=0.6), UnsharpMask(1, 0.6)),
}
CHUNKS = [
    ((20,), (22,), (24,)),
    ((9, 11), (5, 8, 9), (10, 14)),
    ((1, 2, 13, 1, 3), (1,) * 22, (23, 1)),
]


def volume(shape=(20, 22, 24)):
    return np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("chunks", CHUNKS)
def test_dask_arrays_of_any_chunks_give_the_same_bits(name, chunks):
    call, kernel = CALLS[name]
    array = volume()
    expected = kernel(array)
    assert (call(array) == expected).all()
    lazily = call(da.from_array(array, chunks=chunks))
    assert isinstance(lazily, da.Array)
    assert lazily.dtype == expected.dtype
    assert lazily.shape == expected.shape
    assert (lazily.compute(scheduler="threads", num_workers=2) == expected).all()


def test_a_chain_with_an_origin_gives_the_same_bits():
    array = volume()
    chain = [SliceDrift(tuple(np.linspace(0.8, 1.2, 20))), Median(1), UnsharpMask(1, 1)]
    expected = chain[2](chain[1](chain[0](array)))
    lazily = lazy.apply(da.from_array(array, chunks=(7, 9, 24)), chain)
    assert (lazily.compute(scheduler="sync") == expected).all()
    assert (lazy.apply(array, chain) == expected).all()
    assert (lazy.apply(array, []) == array).all()


def test_an_axis_shorter_than_the_halo():
    array = volume((3, 22, 24))
    lazily = lazy.gaussian(da.from_array(array, chunks=(1, 11, 12)), sigma=2)
    assert (lazily.compute(scheduler="sync") == Gaussian(2)(array)).all()


def test_nothing_is_computed_before_it_is_asked_for():
    def refuse(block):
        raise AssertionError("computed")

    source = da.from_array(volume(), chunks=8).map_blocks(refuse, dtype=np.uint16, meta=np.empty((0, 0, 0), np.uint16))
    result = lazy.median(source)
    with pytest.raises(AssertionError, match="computed"):
        result.compute(scheduler="sync")


@pytest.mark.parametrize("backed_by_dask", [False, True])
def test_scans_of_a_dataarray_keep_their_coordinates(backed_by_dask):
    array = volume((2, 10, 12, 14))
    image = xr.DataArray(
        array,
        dims=("scan", "z", "y", "x"),
        coords={"scan": ["a", "b"], "cycle": ("scan", [0, 3]), "z": np.arange(10) * 0.126},
        attrs={"units": "grey"},
        name="image",
    )
    if backed_by_dask:
        image = image.chunk(scan=1, z=4, y=7)
    result = lazy.unsharp_mask(image, sigma=1, amount=0.6)
    assert isinstance(result.data, da.Array) == backed_by_dask
    for k in range(2):
        assert (result.sel(scan="ab"[k]).to_numpy() == UnsharpMask(1, 0.6)(array[k])).all()
    assert result.attrs == image.attrs
    assert result.name == "image"
    xr.testing.assert_identical(result.coords.to_dataset(), image.coords.to_dataset())
    assert (image.to_numpy() == array).all()


def test_borders_mirror_as_on_the_whole_array():
    # a wrong `boundary` shows at the borders: compare with another program there
    array = volume().astype(np.float32)
    got = lazy.gaussian(da.from_array(array, chunks=(10, 11, 12)), sigma=1.5).compute(scheduler="sync")
    expected = gaussian_filter(array, 1.5, mode="reflect")
    np.testing.assert_allclose(got, expected, rtol=2e-6)
    wrong = gaussian_filter(array, 1.5, mode="nearest")
    assert np.abs(got - wrong)[0].max() > 100


def test_bad_images_are_named():
    with pytest.raises(InputError, match="z, y and x"):
        lazy.median(xr.DataArray(volume(), dims=("x", "y", "z")))
    with pytest.raises(InputError, match="list"):
        lazy.median([[[1]]])
    with pytest.raises(InputError, match="shape"):
        lazy.median(np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match="bool"):
        lazy.median(da.zeros((4, 4, 4), dtype=bool))
    unknown = da.from_array(volume(), chunks=5)[da.from_array(np.ones(20, bool), chunks=5)]
    with pytest.raises(InputError, match="compute_chunk_sizes"):
        lazy.median(unknown)


def test_empty_images_stay_empty():
    assert lazy.median(np.zeros((0, 4, 4), np.uint8)).shape == (0, 4, 4)
    assert lazy.median(da.zeros((0, 4, 4), dtype=np.uint8)).compute(scheduler="sync").shape == (0, 4, 4)
