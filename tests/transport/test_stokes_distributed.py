"""Stokes flow in slabs: to the bit the same for any cuts, and equal to the flow of an array in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import distributed as dd
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from mgsflow.blocks import Box
from mgsflow.compute import worker_peaks
from mgsflow.compute.supersteps.checkpoint import Checkpoints
from mgsflow.compute.supersteps.dask_executor import DaskExecutor
from mgsflow.compute.supersteps.executor import Executor, SerialExecutor, ThreadExecutor
from mgsflow.compute.supersteps.subdomain import FaceNeighbours
from mgsflow.errors import DoesNotFit, InputError
from mgsflow.memory import MIB
from mgsflow.solvers.solution import Step
from mgsflow.transport.permeability import permeability, permeability_bytes
from mgsflow.transport.stokes.distributed.duct import Duct
from mgsflow.transport.stokes.distributed.fields import FlowSinks
from mgsflow.transport.stokes.distributed.permeability import permeability_in_blocks
from mgsflow.transport.stokes.distributed.plan import plan_slabs
from mgsflow.transport.stokes.distributed.slab import Slab, cut_slabs, even_slabs
from mgsflow.transport.stokes.distributed.solve import SlabSolution, solve_in_slabs
from mgsflow.transport.stokes.pore_volume import flow_order
from mgsflow.transport.stokes.problem import pore_source

SIDES = ("no-slip", "symmetric", "periodic")


def blobs(shape: tuple[int, int, int], porosity: float, blur: float, seed: int) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape).astype(np.float32), blur, mode="wrap")
    return field < np.quantile(field, porosity)


def duct_of(
    pores: Any, thickness: tuple[int, ...], axis: str = "z", sides: str = "no-slip", edges: Any = (1.0,) * 3, r: int = 0
) -> Duct:
    order = flow_order(axis)
    return Duct(pore_source(pores, 1), order, tuple(edges[d] for d in order), sides, r, thickness)  # type: ignore[arg-type]


def solve(duct: Duct, rtol: float = 1e-4, executor: Executor | None = None, **given: Any) -> SlabSolution:
    executor = SerialExecutor(FaceNeighbours((len(duct.thickness), 1, 1))) if executor is None else executor
    return solve_in_slabs(executor, duct, rtol, **given)


class Kept:
    """A sink in memory."""

    chunk = (4, 8, 8)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.array = np.zeros(shape, np.float32)

    def write(self, box: Box, array: np.ndarray) -> None:
        self.array[box.slices] = array


def sinks(shape: tuple[int, int, int]) -> FlowSinks:
    return FlowSinks(Kept(shape), (Kept(shape), Kept(shape), Kept(shape)))


def known(pores: np.ndarray, axis: str = "z", rtol: float = 1e-4, **given: Any) -> Any:
    return permeability(pores, axis=axis, rtol=rtol, threads=1, **given)


# ---------------------------------------------------------------- cuts


def test_slabs_tile_the_planes() -> None:
    for length in (*range(1, 60), 301):
        for planes in (1, 4, 7, 16):
            cut = even_slabs(length, planes)
            assert sum(cut) == length
            slabs = cut_slabs(cut, (1, 1, 1))
            assert slabs[0].first
            assert slabs[-1].last
            at = [(s.offset + s.start, s.offset + s.end) for s in slabs]
            assert [a for a, _ in at[1:]] == [b for _, b in at[:-1]]
            assert (at[0][0], at[-1][1]) == (1, length + 2)
            assert slabs[-1].offset + slabs[-1].planes == length + 3


@pytest.mark.parametrize(
    ("sides", "edges"), [("no-slip", (1.0, 1.0, 1.0)), ("symmetric", (0.5, 1.2, 0.6)), ("periodic", (1.0, 1.0, 1.0))]
)
def test_any_cuts_give_the_flow_in_one_piece(sides: str, edges: tuple[float, float, float]) -> None:
    pores = blobs((26, 11, 14), 0.55, 1.5, 3)
    whole = solve(duct_of(pores, (26,), sides=sides, edges=edges))
    for cut in ((8, 18), (8, 8, 10)):
        found = solve(duct_of(pores, cut, sides=sides, edges=edges))
        assert found.state is not None
        assert whole.state is not None
        assert found.state.energy == whole.state.energy
        assert found.state.history == whole.state.history
        np.testing.assert_array_equal(found.state.plane_flow, whole.state.plane_flow)
        assert (found.pores, found.percolating, found.covered) == (whole.pores, whole.percolating, whole.covered)
    plain = known(pores, sides=sides, voxel_size=edges)
    assert whole.state.iterations == plain.iterations
    scale = edges[0] ** 2 * 26 / (11 * 14)
    assert whole.state.energy * scale == pytest.approx(plain.permeability_um2, rel=1e-6)
    assert 1 - whole.covered / whole.percolating == pytest.approx(plain.narrow_share)


@given(
    data=st.data(),
    length=st.integers(8, 48),
    seed=st.integers(0, 1000),
    sides=st.sampled_from(SIDES),
    axis=st.sampled_from("zyx"),
    r=st.integers(0, 3),
)
@settings(max_examples=12)
def test_random_cuts_of_random_pores(data: Any, length: int, seed: int, sides: str, axis: str, r: int) -> None:
    shape = [9, 8, 10]
    shape["zyx".index(axis)] = length
    pores = blobs((shape[0], shape[1], shape[2]), 0.6, 1.2, seed)
    total = length + 2 * r
    cut: list[int] = []
    while total - sum(cut) >= 16 and (not cut or data.draw(st.booleans())):
        cut.append(4 * data.draw(st.integers(2, (total - sum(cut) - 8) // 4)))
    cut.append(total - sum(cut))
    found = permeability_in_blocks(pores, axis=axis, sides=sides, reservoirs=r, rtol=1e-5, block=cut, threads=1)
    plain = known(pores, axis, 1e-5, sides=sides, reservoirs=r)
    assert found.status == plain.status
    assert abs(found.iterations - plain.iterations) <= 1
    # one iteration more takes off up to what rtol allows
    rel = 1e-6 if found.iterations == plain.iterations else 1e-5
    assert found.permeability_um2 == pytest.approx(plain.permeability_um2, rel=rel)
    assert (found.porosity, found.percolating_porosity) == (plain.porosity, plain.percolating_porosity)
    assert found.narrow_share == pytest.approx(plain.narrow_share)


def test_27_slabs_take_the_iterations_of_one() -> None:
    pores = blobs((27 * 8, 9, 10), 0.8, 1.5, 1)
    found = [solve(duct_of(pores, cut), 1e-3) for cut in ((216,), (8,) * 27, tuple(even_slabs(216, 30)))]
    states = [f.state for f in found]
    assert states[0] is not None
    assert len({s.energy for s in states if s is not None}) == 1
    assert len({s.iterations for s in states if s is not None}) == 1
    assert states[0].iterations == known(pores, rtol=1e-3).iterations


def test_planes_of_neighbours_that_are_missing_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    pores = blobs((26, 11, 14), 0.55, 1.5, 3)
    right = solve(duct_of(pores, (8, 8, 10)))
    put = Slab.put

    def forget(self: Slab, faces: Any, field: np.ndarray) -> None:
        if field.dtype == np.uint8:
            put(self, faces, field)

    monkeypatch.setattr(Slab, "put", forget)
    wrong = solve(duct_of(pores, (8, 8, 10)), max_iterations=30)
    assert right.state is not None
    assert wrong.state is not None
    assert wrong.state.status != "converged" or abs(wrong.state.energy / right.state.energy - 1) > 1e-3


# ---------------------------------------------------------------- executors, stores, fields


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> zarr.Array[Any]:
    path = tmp_path_factory.mktemp("stored") / "labels.zarr"
    array = zarr.create_array(path, shape=(34, 18, 20), chunks=(8, 8, 8), dtype=np.uint8)
    array[...] = blobs((34, 18, 20), 0.6, 1.5, 2) * np.uint8(7)
    return zarr.open_array(path, mode="r")


def test_fields_and_numbers_of_a_store_are_those_of_an_array(stored: zarr.Array[Any]) -> None:
    given: Any = dict(pore=7, voxel_size=(0.5, 0.4, 0.6), rtol=1e-5)
    for axis in "zyx":
        out, seen = sinks(stored.shape), []  # type: ignore[var-annotated, arg-type]
        found = permeability_in_blocks(stored, axis=axis, **given, block=8, threads=2, out=out, progress=seen.append)
        plain = permeability(stored, axis=axis, **given, fields=True, threads=1)
        for name in ("axis", "sides", "status", "voxel_size", "shape", "porosity", "percolating_porosity"):
            assert getattr(found, name) == getattr(plain, name)
        for name in ("permeability_um2", "permeability_by_flux_um2", "narrow_share"):
            assert getattr(found, name) == pytest.approx(getattr(plain, name), rel=1e-5)
        assert seen[-1].value == pytest.approx(found.permeability_um2)
        assert seen[-1].error == found.error_estimate
        assert plain.velocity is not None
        assert out.velocity is not None
        largest = np.abs(plain.velocity).max()
        for sink, velocity in zip(out.velocity, plain.velocity):
            np.testing.assert_allclose(sink.array, velocity, atol=1e-3 * largest)  # type: ignore[attr-defined]
        np.testing.assert_allclose(out.pressure.array, plain.pressure, atol=1e-3)  # type: ignore[union-attr]


@pytest.mark.slow
def test_threads_scratch_and_workers_give_the_same_to_the_bit(stored: zarr.Array[Any], two_workers: Any) -> None:
    duct = Duct(pore_source(stored, 7), (0, 1, 2), (1.0, 1.0, 1.0), "no-slip", 0, (8, 12, 14))
    neighbours = FaceNeighbours((3, 1, 1))
    plain = solve(duct, executor=SerialExecutor(neighbours))
    cells = 22 * 20
    with DaskExecutor(two_workers, neighbours) as workers:
        for executor in (
            ThreadExecutor(neighbours, 2),
            SerialExecutor(neighbours, budget=24 * cells * 100),
            workers,
        ):
            found = solve(duct, executor=executor)
            assert found.state is not None
            assert plain.state is not None
            assert found.state.energy == plain.state.energy
            assert found.state.iterations == plain.state.iterations
            if isinstance(executor, SerialExecutor):
                counts = executor.counts()[0]
                assert counts.read > 0
                assert counts.peak <= 24 * cells * 100
    found = permeability_in_blocks(stored, 7, rtol=1e-4, block=8, client=two_workers)
    assert found.permeability_um2 == pytest.approx(known(np.asarray(stored[...]) == 7).permeability_um2, rel=1e-6)


def test_workers_write_fields_whatever_chunks_they_share(
    stored: zarr.Array[Any], two_workers: Any, tmp_path: Path
) -> None:
    from mgsflow.labelling.arrays import ArraySink

    arrays = [
        zarr.create_array(tmp_path / f"{i}.zarr", shape=stored.shape, chunks=(5, 8, 8), dtype=np.float32)
        for i in range(4)
    ]
    out = FlowSinks(ArraySink(arrays[0]), tuple(ArraySink(a) for a in arrays[1:]))  # type: ignore[arg-type]
    permeability_in_blocks(stored, 7, block=(8, 12, 14), client=two_workers, out=out)
    here = sinks(stored.shape)  # type: ignore[arg-type]
    permeability_in_blocks(stored, 7, block=34, threads=1, out=here)
    for array, sink in zip(arrays, here.sinks):
        np.testing.assert_array_equal(array[...], sink.array)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- statuses


def test_nothing_to_solve_is_a_status() -> None:
    solid = np.zeros((20, 6, 6), np.uint8)
    assert permeability_in_blocks(solid, block=8).status == "no pores"
    cut = np.ones((20, 6, 6), np.uint8)
    cut[5] = 0
    found = permeability_in_blocks(cut, block=8)
    assert (found.status, found.permeability_um2) == ("not percolating", 0.0)
    cut[5, 2, 3] = 1
    assert permeability_in_blocks(cut, block=8).status == "converged"
    assert permeability_in_blocks(np.ones((20, 6, 6), np.uint8), sides="periodic", block=8).status == "no walls"
    # a path that goes up, down and up again through all slabs
    maze = np.zeros((32, 5, 5), np.uint8)
    maze[:26, 0, 0] = maze[25, :3, 0] = maze[6:26, 2, 0] = maze[6, 2, :3] = maze[6:, 2, 2] = 1
    maze[:18, 4, 4] = 1  # a dead end
    found, plain = permeability_in_blocks(maze, block=8, rtol=1e-5), known(maze, rtol=1e-5)
    assert found.permeability_um2 == pytest.approx(plain.permeability_um2, rel=1e-6)
    assert found.percolating_porosity == plain.percolating_porosity < found.porosity
    assert found.permeability_um2 > 0


def test_iterations_that_do_not_suffice_are_no_answer() -> None:
    found = permeability_in_blocks(blobs((24, 10, 10), 0.6, 1.5, 0), rtol=1e-5, block=8, most_iterations=1)
    assert found.status == "not converged"
    assert np.isnan(found.permeability_um2)


def test_a_cycle_scaled_too_small_is_scaled_up() -> None:
    pores = blobs((24, 10, 10), 0.6, 1.5, 0)
    found = solve(duct_of(pores, (8, 16)), gamma=0.4)
    right = solve(duct_of(pores, (8, 16)))
    assert found.state is not None
    assert right.state is not None
    assert found.state.status == "converged"
    assert found.state.energy == pytest.approx(right.state.energy, rel=1e-4)
    lost = solve(duct_of(pores, (8, 16)), gamma=0.01)
    assert lost.state is not None
    assert lost.state.status == "lost positivity"


def test_misuse_is_said() -> None:
    pores = np.ones((22, 6, 6), np.uint8)
    with pytest.raises(InputError, match="multiple of 4"):
        permeability_in_blocks(pores, block=(10, 12))
    with pytest.raises(InputError, match="8 planes or more"):
        permeability_in_blocks(pores, block=(4, 18))
    with pytest.raises(InputError, match="are not the 22 along"):
        permeability_in_blocks(pores, block=(8, 8))
    with pytest.raises(InputError, match="axis must be"):
        permeability_in_blocks(pores, axis="w")
    with pytest.raises(DoesNotFit, match="thinner slabs"):
        permeability_in_blocks(np.ones((64, 200, 200), np.uint8), block=32, memory=320 * MIB, threads=1)


def test_one_function_takes_slabs_where_memory_is_short(
    stored: zarr.Array[Any], two_workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = permeability(stored, 7, fields=True, threads=1, memory=permeability_bytes(stored.shape, fields=True))
    assert "slabs" not in plain.method
    image = np.asarray(stored[...])
    # a volume that takes more than a process of its own is large: let this one seem so
    monkeypatch.setattr("mgsflow.transport.permeability.permeability_bytes", lambda *given: 1 << 40)
    found = permeability(image, 7, fields=True, threads=1)
    assert "slabs" in found.method
    assert found.permeability_um2 == pytest.approx(plain.permeability_um2, rel=1e-6)
    assert found.velocity is not None
    np.testing.assert_allclose(found.velocity, plain.velocity, atol=1e-5 * np.abs(found.velocity).max())
    np.testing.assert_allclose(found.pressure, plain.pressure, atol=1e-5)
    with pytest.raises(InputError, match="leave it out"):
        permeability(image, 7, resolution_check=True)
    with pytest.raises(InputError, match="cannot reach an array in memory"):
        permeability_in_blocks(image, 7, client=two_workers)
    with pytest.raises(DoesNotFit, match="start it on a machine with more"):
        permeability_in_blocks(np.ones((64, 200, 200), np.uint8), memory=64 * MIB)


# ---------------------------------------------------------------- faults


def test_a_solve_that_was_stopped_goes_on(stored: zarr.Array[Any], tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(step: Step) -> None:
        if step.iteration == 6:
            raise Stop

    given: Any = dict(pore=7, rtol=1e-6, block=8, checkpoints=tmp_path / "kept", every=0, threads=1)
    with pytest.raises(Stop):
        permeability_in_blocks(stored, **given, progress=stop)
    assert list((tmp_path / "kept").glob("*/manifest.json"))
    with pytest.raises(InputError, match="another solve"):
        permeability_in_blocks(stored, **(given | {"axis": "x"}))
    seen: list[Step] = []
    found = permeability_in_blocks(stored, **given, progress=seen.append)
    plain = permeability_in_blocks(stored, pore=7, rtol=1e-6, block=8, threads=1)
    assert seen[0].iteration == 5
    assert seen[0].error < 1e-3
    assert found.permeability_um2 == pytest.approx(plain.permeability_um2, rel=2e-6)
    assert found.history[:4] == plain.history[:4]
    assert not (tmp_path / "kept").exists()


RUN = """
import os, signal, sys
import zarr
from mgsflow.transport.stokes.distributed.permeability import permeability_in_blocks
def watch(step):
    if step.iteration == 6:
        print("at six", flush=True)
        os.killpg(0, signal.SIGKILL)
stored = zarr.open_array(sys.argv[1], mode="r")
permeability_in_blocks(stored, pore=7, rtol=1e-6, block=8, checkpoints=sys.argv[2], every=0, threads=2, progress=watch)
"""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(stored: zarr.Array[Any], tmp_path: Path, two_workers: Any) -> None:
    """SIGKILL of the whole process; workers of a cluster go on from its last checkpoint."""
    kept = tmp_path / "kept"
    run = subprocess.run(
        [sys.executable, "-c", RUN, str(stored.store.root), str(kept)],  # type: ignore[attr-defined]
        start_new_session=True, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert "at six" in run.stdout
    assert list(kept.glob("*/manifest.json"))
    seen: list[Step] = []
    given: Any = dict(pore=7, rtol=1e-6, block=8, every=0)
    found = permeability_in_blocks(stored, **given, checkpoints=kept, client=two_workers, progress=seen.append)
    plain = permeability_in_blocks(stored, **given, threads=1)
    assert seen[0].error < 1e-3  # it did not begin anew
    assert found.status == plain.status == "converged"
    assert found.permeability_um2 == pytest.approx(plain.permeability_um2, rel=2e-6)
    assert not kept.exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_worker_does_not_change_the_answer(stored: zarr.Array[Any], tmp_path: Path, fault: int) -> None:
    duct = Duct(pore_source(stored, 7), (0, 1, 2), (1.0, 1.0, 1.0), "no-slip", 0, (8, 12, 14))
    right = solve(duct, 1e-6)
    with (
        dask.config.set({"distributed.scheduler.no-workers-timeout": 60}),
        dd.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0", silence_logs=60
        ) as cluster,
        dd.Client(cluster, set_as_default=False) as client,
        DaskExecutor(client, FaceNeighbours((3, 1, 1)), silence=20, settle=2) as executor,
    ):
        struck: list[int] = []

        def strike(step: Step) -> None:
            if step.iteration == 3 and not struck:
                struck.append(next(iter(client.run(os.getpid).values())))
                os.kill(struck[0], fault)

        found = solve(duct, 1e-6, executor, checkpoints=Checkpoints(tmp_path, "key", every=0), callback=strike)
        if fault == signal.SIGSTOP:
            os.kill(struck[0], signal.SIGKILL)
    assert struck
    assert found.state is not None
    assert right.state is not None
    assert found.state.status == "converged"
    assert found.state.energy == pytest.approx(right.state.energy, rel=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [None, 480 * MIB])
def test_a_worker_takes_no_more_than_planned(tmp_path: Path, memory: int | None) -> None:
    n = 160
    array = zarr.create_array(tmp_path / "labels.zarr", shape=(n, n, n), chunks=(32, 32, 32), dtype=np.uint8)
    array[...] = blobs((n, n, n), 0.8, 3.0, 0)
    stored = zarr.open_array(tmp_path / "labels.zarr", mode="r")
    thickness = tuple(even_slabs(n, 16))
    duct = Duct(pore_source(stored, 1), (0, 1, 2), (1.0, 1.0, 1.0), "no-slip", 0, thickness)
    plan = plan_slabs(duct, 2, memory)
    with (
        dask.config.set({"distributed.worker.memory.terminate": False}),
        dd.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        dd.Client(cluster, set_as_default=False) as client,
    ):
        found = permeability_in_blocks(stored, block=thickness, client=client, memory=memory or 1 << 40)
        peaks = worker_peaks(client).values()
    assert found.status == "converged"
    assert max(peaks) <= plan.worker
    assert max(peaks) >= 0.5 * plan.worker  # a plan of anything would be no plan
    if memory is not None:
        assert plan.worker <= memory
