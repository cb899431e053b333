import multiprocessing as mp
import pickle

import numpy as np
import pytest
import zarr

from mgsflow.compute import MemoryParts, StoredParts


@pytest.fixture(params=["memory", "store"])
def parts(request, tmp_path):
    if request.param == "memory":
        return MemoryParts()
    zarr.open_group(tmp_path / "a.zarr", mode="w").create_group("parts")
    return StoredParts(str(tmp_path / "a.zarr"), "parts")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(7, dtype=np.int64),
        np.zeros(0, np.uint32),
        np.zeros((0, 3), np.int32),
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.array([2**64 - 1], np.uint64),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_what_is_written_is_read(parts, array):
    parts.write((1, 0, 12), "table", array)
    found = parts.read((1, 0, 12), "table")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_a_later_write_replaces_even_a_longer_array(parts):
    parts.write((0, 0, 0), "a", np.arange(9))
    parts.write((0, 0, 0), "a", np.arange(3))
    np.testing.assert_array_equal(parts.read((0, 0, 0), "a"), [0, 1, 2])


def test_blocks_and_names_do_not_mix(parts):
    for i, (index, name) in enumerate([((0, 1, 11), "a"), ((0, 11, 1), "a"), ((0, 1, 11), "b"), ((1, 1, 11), "a")]):
        parts.write(index, name, np.full(2, i))
    assert [int(parts.read(*k)[0]) for k in [((0, 1, 11), "a"), ((0, 11, 1), "a"), ((0, 1, 11), "b")]] == [0, 1, 2]


def test_what_was_never_written_is_an_error(parts):
    with pytest.raises(KeyError):
        parts.read((0, 0, 0), "a")


def test_what_is_stored_does_not_follow_the_array(parts):
    array = np.arange(3)
    parts.write((0, 0, 0), "a", array)
    array[:] = 9
    np.testing.assert_array_equal(parts.read((0, 0, 0), "a"), [0, 1, 2])


def _write(pickled: bytes) -> None:
    pickle.loads(pickled).write((2, 2, 2), "b", np.arange(5))


def test_another_process_writes_to_the_same_store(tmp_path):
    zarr.open_group(tmp_path / "a.zarr", mode="w").create_group("parts")
    parts = StoredParts(str(tmp_path / "a.zarr"), "parts")
    parts.write((0, 0, 0), "a", np.arange(2))
    process = mp.get_context("spawn").Process(target=_write, args=(pickle.dumps(parts),))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    np.testing.assert_array_equal(parts.read((2, 2, 2), "b"), np.arange(5))
