"""Exact distances against scipy and brute force, for any blocks, reaches and ways."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from traced import traced_peak

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import ArraySink, ArraySource, PhaseMask
from mgsflow.labelling.distance import kernel as distance_kernel
from mgsflow.labelling.distance.certified import BeyondReach, DistanceSource
from mgsflow.labelling.distance.envelope import NEAR
from mgsflow.labelling.distance.kernel import FAR, squared_distance
from mgsflow.labelling.distance.pencils import Pencils, by_pencils
from mgsflow.labelling.distance.transform import DistanceBlocks, distance

SIZES = [(1.0, 1.0, 1.0), (0.126, 0.126, 0.126), (0.3, 0.1, 0.2), (7.0, 0.1, 1 / 3), (2.0, 1.0, 1.0)]


def oracle(mask: np.ndarray) -> np.ndarray:
    """Squared distances by scipy, whose own of a volume without background mean nothing."""
    if mask.all():
        return np.full(mask.shape, FAR)
    return np.rint(ndimage.distance_transform_edt(mask) ** 2).astype(np.int32)


def brute(mask: np.ndarray, edges: tuple[float, ...]) -> np.ndarray:
    background = np.argwhere(~mask)
    out = np.full(mask.shape, np.inf)
    for v in np.ndindex(mask.shape):
        z, y, x = np.abs(background - np.array(v)).T
        if len(background):
            out[v] = (((edges[2] * x) ** 2 + (edges[1] * y) ** 2) + (edges[0] * z) ** 2).min()
    return out


def blobs(shape: tuple[int, ...], sigma: float, seed: int, share: float = 0.4) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return field < np.quantile(field, share)


def volume(shape: tuple[int, ...], kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "full":
        return np.ones(shape, bool)
    if kind == "empty":
        return np.zeros(shape, bool)
    if kind == "blobs":
        return blobs(shape, 2.0, seed, 0.6)
    if kind == "void":
        mask = np.ones(shape, bool)
        mask.flat[rng.integers(mask.size)] = False
        return mask
    if kind == "hollow":
        mask = np.zeros(shape, bool)
        mask[1:-1, 1:-1, 1:-1] = True
        return mask
    return rng.random(shape) < rng.choice([0.5, 0.9, 0.99])


shapes = st.tuples(*[st.integers(1, 24)] * 3)
kinds = st.sampled_from(["full", "empty", "blobs", "void", "hollow", "noise"])
blocks = st.tuples(*[st.integers(1, 30)] * 3)
seeds = st.integers(0, 99)


# ------------------------------------------------------------------------------------------------------- in memory


@settings(max_examples=60)
@given(shapes, kinds, seeds)
def test_equals_scipy(shape: tuple[int, int, int], kind: str, seed: int) -> None:
    mask = volume(shape, kind, seed)
    kept = mask.copy()
    found = squared_distance(mask)
    assert found.dtype == np.int32
    assert np.array_equal(found, oracle(mask))
    assert np.array_equal(mask, kept)


@pytest.mark.parametrize("shape", [(3, 5, 300), (2, 260, 4), (280, 3, 3), (1, 1, 400), (70, 80, 90)])
@pytest.mark.parametrize("kind", ["void", "blobs", "noise"])
def test_lines_longer_than_the_search(shape: tuple[int, int, int], kind: str) -> None:
    assert max(shape) > NEAR
    mask = volume(shape, kind, 1)
    assert np.array_equal(squared_distance(mask), oracle(mask))


@pytest.mark.parametrize("far", [NEAR - 1, NEAR, NEAR + 1, NEAR + 2, 2 * NEAR])
def test_where_search_and_envelope_meet(far: int) -> None:
    # distances of just the length where one way takes over from the other, with rows of unlike distances between
    for axis in range(3):
        shape = [5, 5, 5]
        shape[axis] = far + 2
        mask = np.ones(shape, bool)
        mask[(0, 0, 0)] = False
        end = [2, 2, 2]
        end[axis] = far + 1
        mask[tuple(end)] = False
        assert np.array_equal(squared_distance(mask), oracle(mask))


@settings(max_examples=40)
@given(st.tuples(*[st.integers(1, 11)] * 3), kinds, seeds, st.sampled_from(SIZES))
def test_anisotropic_voxels_by_brute_force(
    shape: tuple[int, int, int], kind: str, seed: int, edges: tuple[float, float, float]
) -> None:
    mask = volume(shape, kind, seed)
    assert np.array_equal(squared_distance(mask, edges=edges), brute(mask, edges))


@pytest.mark.parametrize("edges", SIZES)
@pytest.mark.parametrize("shape", [(1, 3, 200), (150, 2, 3), (2, 130, 2)])
def test_long_lines_of_anisotropic_voxels(shape: tuple[int, int, int], edges: tuple[float, float, float]) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        mask = rng.random(shape) < 0.99
        assert np.array_equal(squared_distance(mask, edges=edges), brute(mask, edges))


def test_integers_count_as_booleans() -> None:
    mask = volume((9, 10, 11), "blobs", 0)
    for dtype in (np.uint8, np.int16, np.uint32, np.int64):
        assert np.array_equal(squared_distance(mask.astype(dtype) * 100), oracle(mask))
    assert np.array_equal(squared_distance(np.asfortranarray(mask)), oracle(mask))


@settings(max_examples=40)
@given(shapes, kinds, seeds, st.data())
def test_a_core_is_a_part_of_the_whole(shape: tuple[int, int, int], kind: str, seed: int, data: Any) -> None:
    mask = volume(shape, kind, seed)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape))
    core = Box(start, stop)  # type: ignore[arg-type]
    assert np.array_equal(squared_distance(mask, core), oracle(mask)[core.slices])


# ------------------------------------------------------------------------------------------------------- by blocks


@settings(max_examples=60)
@given(shapes, kinds, seeds, blocks, st.integers(1, 9), st.sampled_from([1, 4, 60]), st.booleans())
def test_same_for_any_blocks(
    shape: tuple[int, int, int],
    kind: str,
    seed: int,
    block: tuple[int, int, int],
    halo: int,
    reach: int,
    signed: bool,
) -> None:
    mask = volume(shape, kind, seed)
    side = "signed" if signed else "inside"
    found = distance(mask, squared=True, side=side, block=block, halo=halo, reach=reach, threads=1)
    assert np.array_equal(found, oracle(mask) - signed * oracle(~mask))
    assert found.dtype == np.int32


@settings(max_examples=25)
@given(shapes, kinds, seeds, blocks, st.integers(1, 9), st.sampled_from([1, 4, 60]), st.sampled_from(SIZES[2:]))
def test_same_for_any_blocks_of_anisotropic_voxels(
    shape: tuple[int, int, int],
    kind: str,
    seed: int,
    block: tuple[int, int, int],
    halo: int,
    reach: int,
    edges: tuple[float, float, float],
) -> None:
    mask = volume(shape, kind, seed)
    whole = squared_distance(mask, edges=edges)
    found = distance(mask, edges, squared=True, block=block, halo=halo, reach=reach, threads=1)
    assert found.dtype == np.float64
    assert np.array_equal(found, whole)
    roots = distance(mask, edges, block=block, halo=halo, reach=reach, threads=1)
    assert np.array_equal(roots, np.sqrt(whole).astype(np.float32))
    if not mask.all():
        assert np.allclose(whole, ndimage.distance_transform_edt(mask, sampling=edges) ** 2, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    "cuts", [((7, 11, 13), (1,) * 29, (30,)), ((31,), (13, 16), (2, 3, 5, 7, 13)), ((1,) * 31, (29,), (30,))]
)
def test_uneven_blocks_and_slabs(cuts: tuple) -> None:
    grid = Grid(cuts)
    mask = blobs(grid.shape, 3.0, 1)
    source = DistanceSource(PhaseMask(ArraySource(mask)), halo=2)
    out = np.full(mask.shape, -1, np.int32)
    work = DistanceBlocks(source, None, ArraySink(out), grid, squared=True)
    for block in reversed(list(grid.blocks())):
        assert work.run(block.index) == block.index
    assert np.array_equal(out, oracle(mask))


def test_a_halo_without_certificate_shows() -> None:
    mask = blobs((40, 40, 40), 5.0, 0)
    whole = oracle(mask)
    same = [
        np.array_equal(squared_distance(mask[b.outer.slices])[b.trim], whole[b.core.slices])
        for b in Grid.regular(mask.shape, 20).blocks(halo=3)
    ]
    assert not all(same)


def test_the_certificate_is_no_larger_than_it_must_be() -> None:
    # a plane of background at 3 voxels from a block: the values at that face are 3, and 2 more voxels say so
    mask = np.ones((20, 8, 8), bool)
    mask[12] = False
    core = Box((0, 0, 0), (10, 8, 8))
    found = squared_distance(mask, core)
    low, high = distance_kernel.reach(found)
    assert (low, high) == ([11, 11, 11], [2, 11, 11])
    assert distance_kernel.reach(np.full((2, 3, 4), 0, np.int32)) == ([0, 0, 0], [0, 0, 0])


def test_reading_farther_than_allowed_is_refused() -> None:
    mask = volume((40, 40, 40), "hollow", 0)
    source = DistanceSource(ArraySource(mask), halo=2, reach=5)
    with pytest.raises(BeyondReach, match="over 5 voxels away from the block at"):
        source.read(Box((15, 15, 15), (25, 25, 25)))
    near = Box((1, 1, 1), (6, 40, 40))
    assert np.array_equal(source.read(near), oracle(mask)[near.slices])


@pytest.mark.parametrize("edges", [None, (0.3, 0.1, 0.2)])
@pytest.mark.parametrize("outside", [False, True])
def test_pencils_with_scratch_volumes(tmp_path: Path, edges: Any, outside: bool) -> None:
    mask = volume((70, 9, 130), "void" if not outside else "blobs", 3)

    def each(function: Any, grid: Grid) -> None:
        for block in reversed(list(grid.blocks())):
            function(block.index)

    with by_pencils(ArraySource(mask), edges, outside, tmp_path, each) as source:
        assert list(tmp_path.iterdir())
        found = source.read(Box.of(mask.shape))
    assert not list(tmp_path.iterdir())
    assert np.array_equal(found, squared_distance(~mask if outside else mask, edges=edges))


# ----------------------------------------------------------------------------------------------------- as it is called


def test_units_sides_and_containers(tmp_path: Path) -> None:
    mask = blobs((20, 21, 22), 2.0, 5)
    inside, outside = np.sqrt(oracle(mask)), np.sqrt(oracle(~mask))
    found = distance(mask, 0.126)
    assert found.dtype == np.float32
    assert np.array_equal(found, (inside * 0.126).astype(np.float32))
    assert np.array_equal(distance(mask, side="outside"), outside.astype(np.float32))
    signed = distance(mask, (0.5, 0.5, 0.5), side="signed")
    assert np.array_equal(signed > 0, mask)
    assert np.array_equal(signed, (0.5 * (inside - outside)).astype(np.float32))
    assert np.array_equal(distance(mask, 0.5, squared=True), 0.25 * oracle(mask))
    stored = zarr.create_array(tmp_path / "a.zarr", data=mask.astype(np.uint8) * 3, chunks=(8, 8, 8))
    out = zarr.create_array(tmp_path / "d.zarr", shape=mask.shape, dtype="int32", chunks=(4, 8, 8), shards=(8, 8, 16))
    assert distance(stored, squared=True, out=out, block=5, halo=1, reach=2) is out
    assert np.array_equal(out[...], oracle(mask))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "d.zarr"]
    data = xr.DataArray(mask, dims=("z", "y", "x"), coords={"z": np.arange(20) * 0.5})
    named = distance(data, 0.126)
    assert isinstance(named, xr.DataArray)
    assert named.z.equals(data.z)
    assert np.array_equal(named, found)


def test_nothing_to_be_distant_from() -> None:
    full, empty = np.ones((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
    assert np.isposinf(distance(full)).all()
    assert np.isposinf(distance(full, 0.5, squared=True)).all()
    assert np.isposinf(distance(full, (1, 2, 3), squared=True)).all()
    assert (distance(full, squared=True) == FAR).all()
    assert (distance(empty) == 0).all()
    assert np.isposinf(distance(empty, side="outside")).all()
    assert np.isneginf(distance(empty, side="signed")).all()
    assert (distance(empty, squared=True, side="signed") == -FAR).all()


def test_bad_input() -> None:
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(InputError, match="voxel_size must be"):
        distance(mask, (1.0, 1.0))
    with pytest.raises(InputError, match="voxel_size must be"):
        distance(mask, -1.0)
    with pytest.raises(InputError, match="differ by more than 100 times"):
        distance(mask, (1.0, 1.0, 0.001))
    with pytest.raises(InputError, match="side must be one of"):
        distance(mask, side="both")
    with pytest.raises(InputError, match="reach must be"):
        distance(mask, reach=0)
    with pytest.raises(InputError, match="booleans or integers"):
        distance(mask.astype(float))
    with pytest.raises(InputError, match="out has shape"):
        distance(mask, out=np.zeros((2, 2, 2), np.float32))
    with pytest.raises(InputError, match="does not hold"):
        distance(mask, out=np.zeros((3, 3, 3), np.int16), squared=True)
    with pytest.raises(InputError, match="at most 16384"):
        squared_distance(np.ones((1, 1, 20000), bool))


@pytest.mark.slow
def test_on_a_cluster(tmp_path: Path, two_workers: Any) -> None:
    mask = blobs((40, 50, 60), 4.0, 2)
    mask[:, :, 30:] = True
    stored = zarr.create_array(tmp_path / "a.zarr", data=mask, chunks=(16, 16, 16))
    for reach in (60, 3):  # by blocks, and by pencils
        out = zarr.create_array(tmp_path / f"{reach}.zarr", shape=mask.shape, dtype="int32", chunks=(16, 16, 16))
        distance(stored, squared=True, out=out, block=16, halo=2, reach=reach, client=two_workers)
        assert np.array_equal(out[...], oracle(mask))


def test_work_is_cheap_to_send(tmp_path: Path) -> None:
    stored = zarr.create_array(tmp_path / "a.zarr", data=np.zeros((64, 64, 64), bool), chunks=(16, 16, 16))
    source = DistanceSource(PhaseMask(ArraySource(stored)))
    work = DistanceBlocks(source, None, ArraySink(stored), Grid.regular(stored.shape, 16))
    assert len(pickle.dumps(work)) < 5000


# ------------------------------------------------------------------------------------------------------------ memory


@pytest.mark.parametrize(
    ("kind", "edges", "signed", "squared"),
    [
        ("blobs", None, False, True),
        ("blobs", None, True, True),
        ("blobs", None, True, False),
        ("blobs", (0.3, 0.1, 0.2), True, True),
        ("void", None, False, False),
        ("void", (0.3, 0.1, 0.2), False, True),
    ],
)
def test_blocks_keep_to_their_memory(tmp_path: Path, kind: str, edges: Any, signed: bool, squared: bool) -> None:
    mask = volume((90, 80, 72), kind, 4)
    stored = zarr.create_array(tmp_path / "a.zarr", data=mask, chunks=(16, 16, 16))
    grid = Grid.regular(mask.shape, (45, 40, 36))
    inside = DistanceSource(PhaseMask(ArraySource(stored)), edges, halo=8, reach=60)
    outside = DistanceSource(PhaseMask(ArraySource(stored)), edges, 8, 60, True) if signed else None
    work = DistanceBlocks(inside, outside, ArraySink(np.empty(0)), grid, squared=squared)
    out = zarr.create_array(
        tmp_path / "d.zarr", shape=mask.shape, dtype=work.dtype, chunks=(15, 20, 12), shards=(45, 40, 36)
    )
    work = DistanceBlocks(inside, outside, ArraySink(out), grid, squared=squared)
    for index in ((0, 0, 0), (1, 1, 1)):
        try:
            peak = traced_peak(lambda: work.run(index), times=1)  # noqa: B023
        except BeyondReach:
            assert kind == "void"
            continue
        assert peak <= work.memory()


@pytest.mark.parametrize("edges", [None, (0.3, 0.1, 0.2)])
def test_pencils_keep_to_their_memory(tmp_path: Path, edges: Any) -> None:
    mask = blobs((130, 70, 140), 3.0, 1)
    dtype = np.int32 if edges is None else np.float64
    source: Any = ArraySource(zarr.create_array(tmp_path / "a.zarr", data=mask, chunks=(64, 64, 64)))
    for axis in (2, 1, 0):
        shards = [192 if i == axis else 64 for i in range(3)]
        out = zarr.create_array(
            tmp_path / f"{axis}.zarr", shape=mask.shape, dtype=dtype, chunks=(64, 64, 64), shards=tuple(shards)
        )
        work = Pencils(source, ArraySink(out), axis, edges)
        for block in work.grid.blocks():
            assert traced_peak(lambda: work.run(block.index), times=1) <= work.memory()  # noqa: B023
        source = ArraySource(out)
    assert np.array_equal(out[...], squared_distance(mask, edges=edges))
