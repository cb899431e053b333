"""Voxels outside the volume: where they are a slab, measures are those of the cropped image, to the last digit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from mgsflow.blocks import Grid
from mgsflow.errors import InputError
from mgsflow.measures import make_measures
from mgsflow.measures.surface.area import Surface
from mgsflow.measures.surface.interface import Interface
from mgsflow.measures.volume.fractions import VolumeFraction
from mgsflow.measures.volume.profile import DepthProfile

VOXEL = (0.5, 0.6, 0.7)


def finalized(measure, labels: np.ndarray, names: list[str], block: int = 11) -> xr.Dataset:
    grid = Grid.regular(labels.shape, block)
    source = getattr(measure, "source", measure)
    shape, dtype = source.record(grid.largest)
    records = np.zeros((*grid.counts, *shape), dtype)
    for b in grid.blocks(source.halo):
        one = source(labels[b.outer.slices], b)
        records[b.index][tuple(slice(n) for n in one.shape)] = one
    return measure.finalize(records, grid, VOXEL, names)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """Blobs of three phases; what is beyond y = 24 and before z = 8 is outside, label 3."""
    from scipy.ndimage import gaussian_filter

    blobs = gaussian_filter(np.random.default_rng(0).normal(size=(32, 40, 24)), 1.5)
    found = np.digitize(blobs, np.quantile(blobs, [0.3, 0.7])).astype(np.uint8)
    found[:, 24:] = found[:8] = 3
    return found


@pytest.mark.parametrize(
    ("make", "parameters"),
    [(VolumeFraction, {"tile": 8})]
    + [(m, {"border": b}) for m in (Surface, Interface) for b in ("excluded", "corrected")],
)
def test_a_slab_outside_is_as_if_it_were_not_there(labels: np.ndarray, make, parameters) -> None:
    names = ["a", "b", "c"]
    found = finalized(make(4, outside=3, **parameters), labels, [*names, "outside"])
    found = found.sel({d: names for d in ("phase", "neighbour") if d in found.dims})
    expected = finalized(make(3, **parameters), np.ascontiguousarray(labels[8:, :24]), names)
    for name in expected.data_vars:
        assert np.isfinite(expected[name]).all()
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-13, err_msg=str(name))


def test_the_surface_of_the_border_counts_the_border_of_the_region(labels: np.ndarray) -> None:
    found = finalized(Surface(4, outside=3, border="included"), labels, ["a", "b", "c", "outside"])
    expected = finalized(Surface(3, border="included"), np.ascontiguousarray(labels[8:, :24]), ["a", "b", "c"])
    np.testing.assert_allclose(found.surface_area[:, :3], expected.surface_area, rtol=1e-13)


def test_a_profile_is_of_what_each_slice_has_inside(labels: np.ndarray) -> None:
    found = finalized(DepthProfile(4, outside=3), labels, ["a", "b", "c", "outside"])
    expected = finalized(DepthProfile(3), np.ascontiguousarray(labels[8:, :24]), ["a", "b", "c"])
    assert np.isnan(found.depth_profile_z[:, :8]).all()
    np.testing.assert_array_equal(found.depth_profile_z[:3, 8:], expected.depth_profile_z)
    np.testing.assert_array_equal(found.depth_profile_x[:3], expected.depth_profile_x)
    np.testing.assert_allclose(found.depth_gradient[:3], expected.depth_gradient, rtol=1e-10, atol=1e-15)


def test_nothing_inside_has_no_fraction() -> None:
    labels = np.full((9, 9, 9), 2, np.uint8)
    found = finalized(VolumeFraction(3, outside=2), labels, ["a", "b", "outside"])
    assert found.voxel_count.values.tolist() == [0, 0, 0]
    assert np.isnan(found.volume_fraction).all()


def test_what_has_no_meaning_with_an_outside_is_refused() -> None:
    with pytest.raises(InputError, match="curvature is not measured within a region"):
        make_measures(["curvature"], 3, VOXEL, outside=True)
    with pytest.raises(InputError, match="outside must be a label from 0 to 2"):
        VolumeFraction(3, outside=3)
