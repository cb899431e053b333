"""`measure` on whatever holds a phase image: the same numbers, by name or by object, for any blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import mgsflow
from mgsflow.blocks import Block, Triple
from mgsflow.errors import InputError
from mgsflow.measures import DEFAULT, MEASURES, VolumeFraction, block_records, make_measures

PHASE = np.random.default_rng(5).integers(0, 3, (20, 17, 23), dtype=np.uint8)


def test_everything_by_name_on_any_container(tmp_path):
    names = list(MEASURES)
    wanted = mgsflow.measure(PHASE, names, voxel_size=0.5)
    stored = zarr.create_array(tmp_path / "a.zarr", shape=PHASE.shape, dtype="uint8", chunks=(8, 8, 8))
    stored[...] = PHASE
    labelled = xr.DataArray(PHASE, dims=("z", "y", "x")).chunk(7)
    for container in (stored, labelled):
        xr.testing.assert_identical(mgsflow.measure(container, names, voxel_size=(0.5, 0.5, 0.5), block=9), wanted)


def test_the_default_is_what_a_fast_pass_gives():
    found = mgsflow.measure(PHASE, voxel_size=1)
    np.testing.assert_array_equal(found.volume_fraction, np.bincount(PHASE.ravel()) / PHASE.size)
    assert list(found.phase.values) == ["phase 0", "phase 1", "phase 2"]
    faces = sum((np.diff(PHASE == 1, axis=a) != 0).sum() for a in range(3))
    assert float(found.surface_area.sel(estimator="faces", phase="phase 1")) == faces
    assert set(DEFAULT) <= set(MEASURES)


@dataclass(frozen=True)
class Brightest:
    """A measure of a user's own: the highest label of each block."""

    name: str = "brightest"
    halo: Triple = (0, 0, 0)

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        return (1,), np.dtype(np.int64)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        return 0

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        return np.array([array[block.trim].max()], np.int64)

    def finalize(self, records, grid, voxel_size, phases):
        top = max(int(record[0]) for _, record in block_records(records, grid))
        return xr.Dataset({"top": ((), top, {"units": "1", "long_name": "highest label"})})


def test_a_measure_of_ones_own():
    assert int(mgsflow.measure(PHASE, [Brightest(), "volume"], voxel_size=1, block=8).top) == PHASE.max()


def test_refusals():
    with pytest.raises(InputError, match="voxel_size is missing"):
        mgsflow.measure(PHASE)
    with pytest.raises(InputError, match="no measure 'surfaces'"):
        mgsflow.measure(PHASE, ["surfaces"], voxel_size=1)
    with pytest.raises(InputError, match="list"):
        mgsflow.measure(PHASE, "surface", voxel_size=1)
    with pytest.raises(InputError, match="again"):
        mgsflow.measure(PHASE, ["volume", VolumeFraction(3)], voxel_size=1)
    with pytest.raises(InputError):
        make_measures(["surface"], 300, (1, 1, 1))
