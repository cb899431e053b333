"""Profiles by layers of tiles: each layer is the slab cut out of the image, to the bit, for any blocks."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import write_study

import mgsflow
from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.measures import (
    MEASURES,
    Correlation,
    Interface,
    LayerProfile,
    Measure,
    Minkowski,
    Surface,
    TripleLine,
    TriplePhase,
    VolumeFraction,
    Windowed,
    make_measures,
    measure,
)
from mgsflow.measures.tiles import layers, sums_of_windows, window_sums
from mgsflow.pipeline import run
from mgsflow.store import Study

IMAGE = np.random.default_rng(3).integers(0, 3, (19, 14, 17)).astype(np.uint8)
VOXEL = (0.5, 1.0, 2.0)
TILE = 6
EXACT = [Surface(3, TILE), Interface(3, TILE), TriplePhase(3, TILE), Minkowski(3, TILE), VolumeFraction(3, TILE)]


@pytest.mark.parametrize("m", [*EXACT, Surface(3, TILE, border="corrected"), Minkowski(3, TILE, border="included")])
@pytest.mark.parametrize("axis", "zyx")
def test_a_layer_is_the_slab_measured_by_itself(m, axis):
    found = measure(IMAGE, [m, LayerProfile(m, axis)], VOXEL, "abc", block=7)
    at, dim = "zyx".index(axis), f"layer6_{axis}"
    edges = [*range(0, IMAGE.shape[at], TILE), IMAGE.shape[at]]
    assert found.sizes[dim] == len(edges) - 1
    for k, (a, b) in enumerate(pairwise(edges)):
        slab = measure(np.take(IMAGE, range(a, b), axis=at), [m], VOXEL, "abc")
        assert float(found[dim][k]) == (a + b) / 2 * VOXEL[at]
        assert len(slab.data_vars)
        for name, values in slab.data_vars.items():
            layer = found[f"{name}_profile_{axis}"].isel({dim: k})
            np.testing.assert_array_equal(layer.values, values.values)
            assert layer.attrs["units"] == values.attrs["units"]
            assert layer.dims == values.dims


@settings(max_examples=8, deadline=None)
@given(block=st.tuples(*[st.integers(1, 20)] * 3), tile=st.integers(1, 12))
def test_profiles_do_not_depend_on_blocks(block, tile):
    m = LayerProfile(Surface(3, tile))
    assert measure(IMAGE, [m], VOXEL, "abc", block).identical(measure(IMAGE, [m], VOXEL, "abc"))


def test_lines_add_up_over_layers():
    # a length of lines has no border: what a layer holds does not depend on where the image is cut
    coarse = np.kron(IMAGE[:5, :4, :4], np.ones((5, 5, 5), np.uint8))
    m = TripleLine(3, 8)
    found = measure(coarse, [m, LayerProfile(m)], (1, 1, 1), "abc", block=9)
    for axis in "zyx":
        assert float(found[f"tpb_length_profile_{axis}"].sum()) == pytest.approx(float(found.tpb_length), rel=1e-12)


def test_a_gradient_of_area_shows():
    # plates that get closer along z: twice the plates, twice the area per volume
    image = np.zeros((64, 32, 32), np.uint8)
    image[:32, ::8] = 1
    image[32:, ::4] = 1
    d = measure(image, [Surface(2)], (1, 1, 1), "ab", profiles="z").surface_per_total_volume_profile_z
    thin, dense = d.sel(phase="b", estimator="faces").values
    assert d.layer32_z.values.tolist() == [16.0, 48.0]
    assert (thin, dense) == (7 / 32, 15 / 32)  # two faces a plate; the first lies at the border
    # negative control: across the plates there is nothing to see
    assert "surface_area_profile_y" not in measure(image, [Surface(2)], (1, 1, 1), "ab", profiles="z")


def test_profiles_by_name_and_by_argument_are_the_same():
    by_name = mgsflow.measure(IMAGE, ["surface", "surface_profile"], voxel_size=VOXEL)
    xr.testing.assert_identical(mgsflow.measure(IMAGE, ["surface"], voxel_size=VOXEL, profiles=True), by_name)
    every = mgsflow.measure(IMAGE, list(MEASURES), voxel_size=VOXEL)
    for name in ("surface_area", "interface_area", "tpb_length", "tpb_edge_density", "mean_curvature_integral"):
        for axis in "zyx":
            assert f"{name}_profile_{axis}" in every
    assert "layer128_z" in every.dims  # tiles of patterns are larger
    plain = mgsflow.measure(IMAGE, voxel_size=VOXEL)
    assert not [v for v in plain if "area_profile" in str(v)]
    assert "volume_fraction_profile_x" in mgsflow.measure(IMAGE, voxel_size=VOXEL, profiles="x")


def test_a_profile_shares_the_pass_of_its_measure():
    surface, profile = make_measures(["surface", "surface_profile"], 3, VOXEL)
    assert isinstance(profile, Measure)
    assert isinstance(surface, Windowed)
    assert profile.source == surface.source
    assert (profile.name, profile.halo) == (surface.name, surface.halo)
    assert profile.record((9, 9, 9)) == surface.record((9, 9, 9))
    assert profile.scratch((9, 9, 9), np.dtype(np.uint8)) == surface.scratch((9, 9, 9), np.dtype(np.uint8))


def test_every_record_is_read_once_for_all_windows():
    m = Surface(3, TILE)
    grid = Grid.regular(IMAGE.shape, 6)
    shape, dtype = m.record(grid.largest)
    records = np.zeros((*grid.counts, *shape), dtype)
    for b in grid.blocks(m.halo):
        records[b.index] = m(IMAGE[b.outer.slices], b) if b.core.shape == grid.largest else records[b.index]

    class Counting:
        shape = records.shape
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            return records[index]

    counting = Counting()
    boxes = layers(IMAGE.shape, TILE, 0)
    sums = sums_of_windows(counting, grid, TILE, boxes)
    assert counting.reads == len(grid)
    for box, of_box in zip(boxes, sums):
        assert np.array_equal(window_sums(records, grid, TILE, box), of_box)


def test_layers_tile_the_scan():
    assert layers((10, 3, 4), 4, 0) == [Box((a, 0, 0), (b, 3, 4)) for a, b in ((0, 4), (4, 8), (8, 10))]
    assert layers((10, 3, 4), 4, 1) == [Box.of((10, 3, 4))]


def test_profiles_of_a_study_are_those_of_its_phase_images(small_scans, tmp_path):
    steps = "    segment: {thresholds: [23100, 32500]}\n    measures: [surface, surface_profile, tpb_profile]\n"
    run(write_study(tmp_path, small_scans, steps, 64), threads=1)
    specimen = Study.open(tmp_path / "study.zarr")["cathode"]
    metrics = xr.open_zarr(tmp_path / "study.zarr", group="cathode/metrics", consolidated=False)
    for scan in ("c0", "c1"):
        region = specimen.volume("phase", scan)
        image = region.read(Box.of(region.shape))
        wanted = measure(
            image, make_measures(["surface_profile", "tpb_profile"], 3, (0.126,) * 3), (0.126,) * 3, specimen.phases
        )
        for name, values in wanted.data_vars.items():
            dim = str(values.dims[-1])
            found = metrics[name].sel(scan=scan).dropna(dim, how="all")  # the longer scan has more layers
            assert np.array_equal(found[dim], values[dim])
            assert np.array_equal(found, values)


def test_refusals():
    with pytest.raises(InputError, match="Correlation has no result for a part"):
        LayerProfile(Correlation(3))
    for bad in ("", "zz", "t", 3):
        with pytest.raises(InputError, match="axes must be"):
            LayerProfile(Surface(3), bad)
    with pytest.raises(InputError, match="axes must be"):
        mgsflow.measure(IMAGE, voxel_size=1, profiles="w")
    m, grid = VolumeFraction(3, TILE), Grid.regular(IMAGE.shape, 99)
    records = m(IMAGE, grid.block((0, 0, 0)))[None, None, None]
    with pytest.raises(InputError, match="axis must be"):
        m.profile(records, grid, VOXEL, "abc", "zy")
    with pytest.raises(InputError, match="2 names"):
        m.profile(records, grid, VOXEL, "ab")
