"""Tortuosity of a stored volume, block by block: equal to that in memory, within the memory planned."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pytest
import zarr
from scipy import ndimage

from mgsflow.blocks import Box, Grid
from mgsflow.compute import worker_peaks
from mgsflow.errors import DoesNotFit, InputError
from mgsflow.memory import MIB
from mgsflow.solvers.solution import Step
from mgsflow.transport.diffusion.distributed.plan import plan_blocks
from mgsflow.transport.diffusion.distributed.tortuosity import tortuosity_factor_in_blocks
from mgsflow.transport.diffusion.medium import medium_of
from mgsflow.transport.tortuosity import tortuosity_factor


def _labels(n: int, seed: int = 0, porosity: float = 0.4) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((n, n, n)), 2.0, mode="wrap")
    return (noise < np.quantile(noise, porosity)).astype(np.uint8) * 7


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> zarr.Array[Any]:
    path = tmp_path_factory.mktemp("stored") / "labels.zarr"
    array = zarr.create_array(path, shape=(48, 48, 48), chunks=(16, 16, 16), dtype=np.uint8)
    array[...] = _labels(48)
    return zarr.open_array(path, mode="r")


class Kept:
    """A sink in memory."""

    chunk = (16, 16, 16)

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.array = np.zeros(shape, np.float32)

    def write(self, box: Box, array: np.ndarray) -> None:
        self.array[box.slices] = array


def test_blocks_of_a_store_give_the_result_of_an_array_in_memory(stored: zarr.Array[Any]) -> None:
    seen: list[Step] = []
    out = Kept(stored.shape)  # type: ignore[arg-type]
    given = dict(conductivity={7: 2.0}, axis="y", voxel_size=(0.5, 0.4, 0.5))
    found = tortuosity_factor_in_blocks(
        stored, **given, rtol=1e-5, block=20, threads=2, out=out, progress=seen.append  # type: ignore[arg-type]
    )  # fmt: skip
    known = tortuosity_factor(stored, **given, rtol=1e-7, field=True, threads=1)  # type: ignore[arg-type]
    assert found.status == "converged"
    for name in ("tortuosity_factor", "tortuosity_factor_percolating", "effective_diffusivity", "formation_factor"):
        assert getattr(found, name) == pytest.approx(getattr(known, name), rel=1e-5)
    assert found.volume_fraction == known.volume_fraction
    assert found.percolating_fraction == known.percolating_fraction
    assert found.reference_diffusivity == 2.0
    np.testing.assert_allclose(found.plane_fluxes, known.plane_fluxes, rtol=5e-3)
    np.testing.assert_allclose(out.array, known.concentration, atol=2e-3)
    assert seen[-1].error <= 1e-5
    assert seen[-1].value == pytest.approx(found.effective_diffusivity, rel=1e-4)
    assert set(found.to_dataset().data_vars) == set(tortuosity_factor(stored, threads=1).to_dataset().data_vars)


def test_workers_give_it_too(stored: zarr.Array[Any], two_workers: Any) -> None:
    found = tortuosity_factor_in_blocks(stored, {7: 1.0}, rtol=1e-3, block=24, client=two_workers)
    plain = tortuosity_factor_in_blocks(stored, {7: 1.0}, rtol=1e-3, block=24, threads=1)
    assert found.tortuosity_factor == plain.tortuosity_factor


def test_nothing_to_solve_is_a_status(stored: zarr.Array[Any]) -> None:
    found = tortuosity_factor_in_blocks(stored, {3: 1.0}, block=24)
    assert (found.status, found.tortuosity_factor, found.effective_diffusivity) == ("nothing conducts", inf, 0.0)
    island = np.zeros((8, 8, 8), np.uint8)
    island[2:4, 2:4, 2:4] = 1
    found = tortuosity_factor_in_blocks(island, block=3)
    assert (found.status, found.tortuosity_factor, found.volume_fraction) == ("not percolating", inf, 8 / 512)
    short = tortuosity_factor_in_blocks(stored, {7: 1.0}, rtol=1e-5, block=24, most_iterations=1)
    assert short.status == "not converged"
    assert np.isnan(short.tortuosity_factor)


def test_misuse_is_said(stored: zarr.Array[Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one diffusivity only"):
        tortuosity_factor_in_blocks(stored, {0: 1.0, 7: 2.0})
    with pytest.raises(InputError, match="rtol must be"):
        tortuosity_factor_in_blocks(stored, {7: 1.0}, rtol=1e-9)
    with pytest.raises(InputError, match="axis must be"):
        tortuosity_factor_in_blocks(stored, {7: 1.0}, axis="w")
    with pytest.raises(DoesNotFit, match="smaller blocks"):
        tortuosity_factor_in_blocks(stored, {7: 1.0}, memory=320 * MIB, threads=1)


def test_checkpoints_are_those_of_this_solve_and_go_when_it_has_ended(stored: zarr.Array[Any], tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(step: Step) -> None:
        if step.iteration == 4:
            raise Stop

    given: Any = dict(conductivity={7: 1.0}, rtol=1e-5, block=24, checkpoints=tmp_path / "kept", every=0, threads=1)
    with pytest.raises(Stop):
        tortuosity_factor_in_blocks(stored, **given, progress=stop)
    assert list((tmp_path / "kept").glob("*/manifest.json"))
    with pytest.raises(InputError, match="another solve"):
        tortuosity_factor_in_blocks(stored, **(given | {"axis": "x"}))
    found = tortuosity_factor_in_blocks(stored, **given)
    assert found.status == "converged"
    assert not (tmp_path / "kept").exists()


@pytest.mark.slow
@pytest.mark.parametrize("memory", [None, 460 * MIB])
def test_a_worker_takes_no_more_than_planned(tmp_path: Path, memory: int | None) -> None:
    n, block = 192, 64
    array = zarr.create_array(tmp_path / "labels.zarr", shape=(n, n, n), chunks=(64, 64, 64), dtype=np.uint8)
    array[...] = _labels(n)
    stored = zarr.open_array(tmp_path / "labels.zarr", mode="r")
    grid = Grid.regular((n, n, n), block)
    plan = plan_blocks(medium_of(stored, {7: 1.0}), grid, 2, memory)
    with (
        dask.config.set({"distributed.worker.memory.terminate": False}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        found = tortuosity_factor_in_blocks(stored, {7: 1.0}, block=block, client=client, memory=memory or 1 << 40)
        peaks = worker_peaks(client).values()
    assert found.status == "converged"
    assert max(peaks) <= plan.worker
    assert max(peaks) >= 0.5 * plan.worker  # a plan of anything would be no plan
    if memory is not None:
        assert plan.worker <= memory
