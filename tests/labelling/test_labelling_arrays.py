import pickle

import numpy as np
import pytest
import xarray as xr
import zarr
from traced import traced_peak

from mgsflow.blocks import Box
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import (
    ArraySink,
    ArraySource,
    PhaseMask,
    check_mask,
    grid_of,
    in_memory,
    like,
    sink_of,
    source_of,
)

PHASES = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6) % 4
BOX = Box((1, 0, 2), (3, 5, 6))


@pytest.fixture
def stored(tmp_path):
    return zarr.create_array(tmp_path / "a.zarr", data=PHASES, chunks=(2, 2, 2))


def arrays(stored):
    plain = xr.DataArray(PHASES, dims=("z", "y", "x"))
    return {
        "ndarray": PHASES,
        "zarr": stored,
        "DataArray": plain,
        "dask in a DataArray": plain.chunk({"z": 3}),
        "dask": plain.chunk({"y": 2}).data,
    }


@pytest.mark.parametrize("kind", ["ndarray", "zarr", "DataArray", "dask in a DataArray", "dask"])
def test_every_kind_of_array_is_read_by_boxes(stored, kind):
    source = source_of(arrays(stored)[kind])
    assert (source.shape, source.dtype) == (PHASES.shape, np.uint8)
    found = source.read(BOX)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, PHASES[BOX.slices])


def test_a_phase_is_where_its_values_are():
    np.testing.assert_array_equal(PhaseMask(ArraySource(PHASES)).read(BOX), PHASES[BOX.slices] > 0)
    np.testing.assert_array_equal(PhaseMask(ArraySource(PHASES), (1, 3)).read(BOX), PHASES[BOX.slices] % 2 == 1)
    assert not PhaseMask(ArraySource(PHASES), (9,)).read(BOX).any()
    inside = PHASES > 1
    assert np.shares_memory(PhaseMask(ArraySource(inside)).read(BOX), inside)


def test_a_source_of_a_stored_array_is_small_and_works_elsewhere(stored):
    message = pickle.dumps(PhaseMask(ArraySource(stored), (2,)))
    assert len(message) < 3000
    np.testing.assert_array_equal(pickle.loads(message).read(BOX), PHASES[BOX.slices] == 2)


def test_reading_needs_no_more_than_it_says(tmp_path):
    values = np.random.default_rng(0).integers(0, 9, (128, 128, 128), np.uint16)
    array = zarr.create_array(tmp_path / "b.zarr", data=values, chunks=(32, 32, 32), shards=(128, 128, 128))
    source = PhaseMask(ArraySource(array), (1, 2))
    box = Box.of((128, 128, 128))
    source.read(box)
    assert traced_peak(lambda: source.read(box)) <= box.size + source.scratch(box.shape)


def test_blocks_share_no_file_of_the_result(tmp_path):
    sharded = zarr.create_array(
        tmp_path / "c.zarr", shape=(50, 60, 70), dtype=np.uint32, chunks=(4, 5, 7), shards=(8, 10, 14)
    )
    assert grid_of(sharded.shape, 20, sharded).cuts == ((24, 24, 2), (20, 20, 20), (28, 28, 14))
    chunked = zarr.create_array(tmp_path / "d.zarr", shape=(50, 60, 70), dtype=np.uint32, chunks=(4, 60, 7))
    assert grid_of(chunked.shape, (1, 2, 3), chunked).largest == (4, 60, 7)
    assert grid_of((50, 60, 70), 256).largest == (50, 60, 70)
    with pytest.raises(InputError, match="at least one voxel"):
        grid_of((5, 5, 5), 0)


def test_what_is_in_memory_is_known(stored):
    held = zarr.create_array(zarr.storage.MemoryStore(), data=PHASES, chunks=(2, 2, 2))
    assert in_memory(PHASES)
    assert in_memory(held)
    assert in_memory(stored, None, PHASES)
    assert in_memory(xr.DataArray(PHASES, dims=("z", "y", "x")))
    assert not in_memory(stored, None)


def test_a_sink_takes_blocks_and_refuses_what_it_cannot_hold(stored):
    out = np.zeros((4, 5, 6), np.uint32)
    sink = sink_of(out, (4, 5, 6), np.dtype(np.uint32))
    sink.write(BOX, np.full(BOX.shape, 7, np.uint32))
    assert (out[BOX.slices] == 7).all()
    assert out.sum() == 7 * BOX.size
    assert sink_of(stored, (4, 5, 6), np.dtype(np.uint8)).chunk == (2, 2, 2)
    for bad, message in (
        (np.zeros((4, 5, 7), np.uint32), "shape"),
        (np.zeros((4, 5, 6), np.int32), "int32"),
        ([], "zarr array"),
    ):
        with pytest.raises(InputError, match=message):
            sink_of(bad, (4, 5, 6), np.dtype(np.uint32))
    assert ArraySink(out).dtype == np.uint32


def test_a_result_is_like_its_input():
    coords = {"z": [0.5, 1.5, 2.5, 3.5], "cycle": 3}
    image = xr.DataArray(PHASES, dims=("z", "y", "x"), coords=coords, name="phase")
    found = like(image, PHASES + 1)
    assert (found.name, like(image, PHASES, "label").name) == ("phase", "label")
    xr.testing.assert_equal(found, image + 1)
    assert like(PHASES, PHASES) is PHASES


def test_greys_are_no_mask():
    with pytest.raises(InputError, match="booleans or integers"):
        check_mask(PHASES.astype(np.float32))
    with pytest.raises(InputError, match="grey image"):
        check_mask(PHASES.astype(complex), "grey image")
