"""Local thickness against all balls one by one, against openings, and over any blocks."""

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

from mgsflow.blocks import Grid
from mgsflow.compute import MemoryParts
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import ArraySink, ArraySource, PhaseMask
from mgsflow.labelling.distance.certified import BeyondReach, DistanceSource
from mgsflow.labelling.distance.kernel import squared_distance
from mgsflow.measures.thickness.distribution import ThicknessDistribution
from mgsflow.measures.thickness.kernel import containment
from mgsflow.measures.thickness.local_thickness import ThicknessBlocks, local_thickness, thickness_distribution

EDGES = [None, (0.3, 0.1, 0.2), (1.0, 1.0, 2.0), (0.126, 0.1, 0.126)]


def all_balls(squares: np.ndarray, edges: tuple[float, ...] | None = None) -> np.ndarray:
    """Squared radius of the largest ball over each voxel, by painting all of them."""
    ez, ey, ex = edges or (1, 1, 1)
    out = np.zeros_like(squares)
    for c in np.argwhere(squares > 0):
        r = squares[tuple(c)]
        reach = [int(np.sqrt(r) / e) + 1 for e in (ez, ey, ex)]
        box = tuple(slice(max(0, i - n), i + n + 1) for i, n in zip(c, reach))
        z, y, x = (np.arange(n)[s] - i for n, s, i in zip(squares.shape, box, c))
        inside = ((ex * x) ** 2 + ((ey * y) ** 2)[:, None]) + ((ez * z) ** 2)[:, None, None] < r
        np.maximum(out[box], np.where(inside, r, 0), out=out[box])
    return out


def blobs(shape: tuple[int, ...], sigma: float, seed: int, share: float = 0.5) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return field < np.quantile(field, share)


def volume(shape: tuple[int, ...], kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "blobs":
        return blobs(shape, 1.5, seed)
    if kind == "hollow":
        mask = np.zeros(shape, bool)
        mask[1:-1, 1:-1, 1:-1] = True
        return mask
    mask = np.ones(shape, bool) if kind == "void" else rng.random(shape) < 0.9
    mask.flat[rng.integers(mask.size)] = False
    return mask


def painted(mask: np.ndarray, block: Any, edges: Any = None, **how: Any) -> tuple[np.ndarray, np.ndarray]:
    """Local thickness in voxels and its sizes by blocks of given halo and reach."""
    grid = block if isinstance(block, Grid) else Grid.regular(mask.shape, block)
    out, parts = np.full(mask.shape, -1, np.float32), MemoryParts()
    squares = ArraySource(squared_distance(mask, edges=edges))
    work = ThicknessBlocks(squares, grid, ArraySink(out), parts, edges, **how)
    for b in reversed(list(grid.blocks())):
        assert work.run(b.index) == b.index
    found = [parts.read(b.index, "thickness") for b in grid.blocks()]
    return out, found


shapes = st.tuples(*[st.integers(1, 13)] * 3)
kinds = st.sampled_from(["blobs", "void", "hollow", "noise"])
seeds = st.integers(0, 99)


# --------------------------------------------------------------------------------------------------- what it is


@settings(max_examples=40)
@given(shapes, kinds, seeds, st.sampled_from(EDGES))
def test_equals_all_balls(shape: tuple[int, int, int], kind: str, seed: int, edges: Any) -> None:
    mask = volume(shape, kind, seed)
    squares = squared_distance(mask, edges=edges)
    expected = all_balls(squares, edges)
    out, (found,) = painted(mask, shape, edges)
    assert np.array_equal(out, (2 * np.sqrt(expected)).astype(np.float32))
    values, counts = np.unique(expected[expected > 0], return_counts=True)
    assert np.array_equal(found, [values, counts])


@pytest.mark.parametrize("edges", [None, (1.0, 1.0, 2.0), (1.0, 1.25, 1.0)])
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_equals_all_balls_where_they_are_large(edges: Any, share: float) -> None:
    mask = blobs((24, 25, 26), 6.0, 3, share)
    squares = squared_distance(mask, edges=edges)
    assert squares.max() > 70  # caps are painted, not only whole balls
    out, _ = painted(mask, mask.shape, edges)
    assert np.array_equal(out, (2 * np.sqrt(all_balls(squares, edges))).astype(np.float32))


@pytest.mark.parametrize("shape", [(3, 4, 300), (2, 260, 2)])
def test_balls_beyond_the_table_of_containment(shape: tuple[int, int, int]) -> None:
    mask = volume(shape, "void", 1)
    squares = squared_distance(mask)
    assert squares.max() > 1 << 14
    out, _ = painted(mask, shape)
    assert np.array_equal(out, (2 * np.sqrt(all_balls(squares))).astype(np.float32))


def test_equals_openings_by_balls() -> None:
    morphology = pytest.importorskip("skimage.morphology")
    mask = blobs((9, 10, 11), 2.0, 1, 0.6)
    radii = np.rint((local_thickness(mask).astype(float) / 2) ** 2).astype(int)
    assert radii.max() > 9
    # what balls of r or more cover is the union of all openings by balls of r or more
    covered = np.zeros(mask.shape, bool)
    core = (slice(4, -4),) * 3
    wide = np.pad(mask, 4, constant_values=True)  # nothing outside cuts a ball
    for r in range(radii.max(), 0, -1):
        n = int(np.sqrt(r - 1))
        z, y, x = np.ogrid[-n : n + 1, -n : n + 1, -n : n + 1]
        ball = z * z + y * y + x * x < r
        centres = morphology.erosion(wide, ball)[core]
        covered |= morphology.dilation(np.pad(centres, 4), ball)[core]
        assert np.array_equal(covered, radii >= r)


def test_known_shapes() -> None:
    slit = np.zeros((9, 9, 20), bool)
    slit[:, :, 4:10] = True  # even: as wide as it is
    slit[:, :, 12:17] = True  # odd: one more
    found = local_thickness(slit, 0.5)
    assert set(np.unique(found[:, :, 4:10])) == {3.0}
    assert set(np.unique(found[:, :, 12:17])) == {3.0}
    assert (found[~slit] == 0).all()
    z, y, x = np.indices((41, 41, 41)) - 20
    ball = z * z + y * y + x * x < 15 * 15
    found = local_thickness(ball)
    # the largest ball is the ball itself, and covers all of it
    assert np.unique(found[ball]).tolist() == [30.0]
    tube = np.broadcast_to((y * y + x * x < 8 * 8)[0], (12, 41, 41))
    assert np.unique(local_thickness(tube)[tube]).tolist() == [16.0]


def test_never_less_than_twice_the_distance() -> None:
    mask = blobs((40, 41, 42), 3.0, 2)
    squares = squared_distance(mask)
    found = local_thickness(mask, block=17).astype(np.float64)
    assert (found >= 2 * np.sqrt(squares) * (1 - 1e-6)).all()
    assert found.max() == np.float32(2 * np.sqrt(squares.max()))
    assert np.array_equal(found > 0, mask)


def test_containment_by_brute_force() -> None:
    table = containment(40)
    span = np.arange(-7, 8)
    z, y, x = np.meshgrid(span, span, span, indexing="ij")
    for k, d in ((1, (0, 0, 1)), (2, (0, 1, 1)), (3, (1, 1, 1))):
        from_there = (z - d[0]) ** 2 + (y - d[1]) ** 2 + (x - d[2]) ** 2
        for r in range(1, 40):
            assert table[k, r] == from_there[z * z + y * y + x * x < r].max() + 1


# ----------------------------------------------------------------------------------------------------- by blocks


@settings(max_examples=50)
@given(
    shapes,
    kinds,
    seeds,
    st.tuples(*[st.integers(1, 15)] * 3),
    st.sampled_from(EDGES),
    st.integers(0, 4),
    st.sampled_from([None, 1, 3]),
)
def test_same_for_any_blocks(
    shape: tuple[int, int, int], kind: str, seed: int, block: Any, edges: Any, halo: int, slab: int | None
) -> None:
    mask = volume(shape, kind, seed)
    whole, (sizes,) = painted(mask, shape, edges)
    out, found = painted(mask, block, edges, halo=halo, slab=slab)
    assert np.array_equal(out, whole)
    total = ThicknessDistribution.of(found, (1.0, 1.0, 1.0), 0.5)
    assert np.array_equal(total.diameter, np.sqrt(sizes[0]))
    assert np.array_equal(total.voxels, sizes[1])


@pytest.mark.parametrize("cuts", [((7, 11, 13), (1,) * 29, (30,)), ((31,), (13, 16), (2, 3, 5, 7, 13))])
@pytest.mark.parametrize("edges", [None, (1.0, 1.0, 2.0)])
def test_uneven_blocks_and_slabs(cuts: Any, edges: Any) -> None:
    grid = Grid(cuts)
    mask = blobs(grid.shape, 3.0, 1)
    assert np.array_equal(painted(mask, grid, edges, halo=2)[0], painted(mask, mask.shape, edges)[0])


def test_a_halo_without_certificate_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = blobs((40, 40, 40), 4.0, 0)
    whole, _ = painted(mask, mask.shape)
    assert np.array_equal(painted(mask, 10, halo=3)[0], whole)
    monkeypatch.setattr(ThicknessBlocks, "_wanted", lambda self, core, outer, most: outer)
    assert not np.array_equal(painted(mask, 10, halo=3)[0], whole)


def test_balls_from_beyond_what_is_allowed_are_refused() -> None:
    mask = volume((40, 40, 40), "hollow", 0)
    with pytest.raises(BeyondReach, match="from over 5 voxels away"):
        painted(mask, 10, halo=2, reach=5)


def test_wide_volumes_fall_back_on_stored_distances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = volume((24, 17, 40), "void", 5)
    whole = local_thickness(mask)
    monkeypatch.setattr("mgsflow.measures.thickness.local_thickness.REACH", 4)
    assert np.array_equal(local_thickness(mask, block=16), whole)
    stored = zarr.create_array(tmp_path / "a.zarr", data=mask, chunks=(16, 16, 16))
    out = zarr.create_array(tmp_path / "t.zarr", shape=mask.shape, dtype="float32", chunks=(16, 16, 16))
    assert local_thickness(stored, out=out, block=16) is out
    assert np.array_equal(out[...], whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "t.zarr"]


# -------------------------------------------------------------------------------------------------- as it is called


def test_distribution_and_units() -> None:
    mask = blobs((30, 31, 32), 2.5, 4)
    size = 0.126
    found = local_thickness(mask, size, block=16)
    total = thickness_distribution(mask, size, block=13)
    values = found[mask].astype(np.float64)
    assert total.count == mask.sum()
    assert np.allclose(total.diameter, np.unique(values), rtol=1e-6)
    assert np.array_equal(total.voxels, np.unique(values, return_counts=True)[1])
    assert total.mean == pytest.approx(values.mean(), rel=1e-6)
    assert total.std == pytest.approx(values.std(), rel=1e-6)
    assert total.largest == pytest.approx(values.max(), rel=1e-6)
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        expected = np.quantile(values, share, method="inverted_cdf")
        assert total.quantile(share) == pytest.approx(expected, rel=1e-6)
    assert total.opened[0] == 1
    k = total.opened.size // 2
    assert total.opened[k] == pytest.approx((values >= values[0] * 0 + total.diameter[k] * (1 - 1e-6)).mean())
    assert total.histogram([0, 0.5, 1, 9]).sum() == pytest.approx(1)
    data = total.to_dataset()
    assert data.thickness_volume.sum() == pytest.approx(mask.sum() * size**3)
    assert data.thickness_d50 == total.quantile(0.5)
    assert all("units" in v.attrs and "long_name" in v.attrs for v in data.variables.values())
    with pytest.raises(InputError, match="share must be"):
        total.quantile(1.5)


def test_map_and_distribution_together(tmp_path: Path) -> None:
    mask = blobs((20, 21, 22), 2.0, 5)
    out = np.empty(mask.shape, np.float32)
    total = thickness_distribution(mask, (0.2, 0.1, 0.1), out=out)
    assert np.array_equal(out, local_thickness(mask, (0.2, 0.1, 0.1)))
    assert np.array_equal(np.unique(out[mask]), np.unique(total.diameter.astype(np.float32)))
    data = xr.DataArray(mask, dims=("z", "y", "x"), coords={"z": np.arange(20) * 0.5})
    named = local_thickness(data, (0.2, 0.1, 0.1))
    assert isinstance(named, xr.DataArray)
    assert np.array_equal(named, out)


def test_no_phase_and_no_background() -> None:
    full, empty = np.ones((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
    assert np.isposinf(local_thickness(full, block=3)).all()
    assert (local_thickness(empty) == 0).all()
    total = thickness_distribution(full, block=3)
    assert (total.count, total.mean, total.quantile(0.5)) == (120, np.inf, np.inf)
    assert np.isnan(total.std)
    total = thickness_distribution(empty)
    assert total.count == 0
    assert np.isnan([total.mean, total.std, total.largest, total.quantile(0.5)]).all()
    assert np.isnan(total.histogram([0, 1])).all()
    assert np.isnan(total.to_dataset().thickness_d10)


def test_on_a_cluster(tmp_path: Path, two_workers: Any) -> None:
    mask = blobs((40, 33, 47), 3.0, 2)
    stored = zarr.create_array(tmp_path / "a.zarr", data=mask, chunks=(16, 16, 16))
    out = zarr.create_array(tmp_path / "t.zarr", shape=mask.shape, dtype="float32", chunks=(16, 16, 16))
    total = thickness_distribution(stored, 0.5, out=out, block=16, client=two_workers)
    assert np.array_equal(out[...], local_thickness(mask, 0.5))
    assert np.array_equal(total.voxels, thickness_distribution(mask, 0.5).voxels)


# ------------------------------------------------------------------------------------------------------------ memory


@pytest.mark.parametrize(
    ("edges", "slab", "kind"), [(None, None, "blobs"), ((1.0, 1.0, 2.0), None, "blobs"), (None, 16, "void")]
)
def test_blocks_keep_to_their_memory(tmp_path: Path, edges: Any, slab: int | None, kind: str) -> None:
    mask = volume((80, 42, 24), kind, 4) if kind == "void" else blobs((80, 42, 24), 3.0, 4)
    grid = Grid.regular(mask.shape, (40, 21, 12))
    stored = zarr.create_array(tmp_path / "a.zarr", data=mask, chunks=(16, 16, 16))
    squares: Any = DistanceSource(PhaseMask(ArraySource(stored)), edges, reach=30)
    if slab:
        squares = ArraySource(squared_distance(mask))
    out = zarr.create_array(
        tmp_path / "t.zarr", shape=mask.shape, dtype="float32", chunks=(20, 7, 12), shards=(40, 21, 12)
    )
    work = ThicknessBlocks(
        squares, grid, ArraySink(out), MemoryParts(), edges, halo=8, reach=None if slab else 20, slab=slab
    )
    work.run((0, 0, 1))
    for index in ((0, 0, 0), (1, 1, 1)):
        assert traced_peak(lambda: work.run(index), times=1) <= work.memory()  # noqa: B023
    assert len(pickle.dumps(ThicknessBlocks(DistanceSource(ArraySource(stored)), grid, ArraySink(out)))) < 5000
