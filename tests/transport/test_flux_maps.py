"""Flux densities and their maps, box by box; and one function for memory, blocks and clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from scipy import ndimage

from mgsflow.blocks import Box
from mgsflow.errors import DoesNotFit, InputError
from mgsflow.memory import MIB
from mgsflow.transport.diffusion.flux_maps import FluxMaps, flux_density, flux_sums, write_fields
from mgsflow.transport.diffusion.profile import field_profile
from mgsflow.transport.tortuosity import tortuosity_factor

SHAPE = (34, 30, 38)


class Kept:
    """A sink in memory that knows what no box may share."""

    chunk = (16, 16, 16)

    def __init__(self) -> None:
        self.array = np.full(SHAPE, np.nan, np.float32)

    def write(self, box: Box, array: np.ndarray) -> None:
        assert all(a % c == 0 for a, c in zip(box.start, self.chunk))
        self.array[box.slices] = array


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal(SHAPE), 1.5)
    return (noise < np.quantile(noise, 0.45)).astype(np.uint8)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_boxes_give_the_flux_of_the_whole(labels: np.ndarray, axis: int) -> None:
    found = tortuosity_factor(labels, axis="zyx"[axis], field=True, threads=1)
    c = found.concentration
    assert c is not None
    whole, *_ = field_profile(c, None, axis)
    np.testing.assert_allclose(flux_density(c, axis, SHAPE[axis], None, None), whole, atol=1e-5)
    out, flux_out = Kept(), Kept()
    maps = write_fields(c, axis, out, flux_out)
    np.testing.assert_array_equal(out.array, c)
    np.testing.assert_allclose(flux_out.array, whole, atol=1e-5)
    for along in range(3):
        np.testing.assert_allclose(maps[along], whole.mean(axis=along), atol=1e-5)
    # the mean flux density is the effective diffusivity
    assert np.mean(maps[0], dtype=np.float64) == pytest.approx(found.effective_diffusivity, rel=1e-2)


def test_a_box_without_its_neighbours_is_wrong(labels: np.ndarray) -> None:
    """What lies beside a box counts: a negative control."""
    c = tortuosity_factor(labels, field=True, threads=1).concentration
    assert c is not None
    whole = flux_density(c, 0, SHAPE[0], None, None)
    lower = flux_density(c[:16], 0, SHAPE[0], None, c[16])
    np.testing.assert_array_equal(lower, whole[:16])
    blind = flux_density(c[:16], 0, SHAPE[0], None, np.full_like(c[16], np.nan))
    assert not np.allclose(blind, whole[:16], atol=1e-3)


def test_maps_without_fields(labels: np.ndarray) -> None:
    kept = tortuosity_factor(labels, axis="y", field=True, threads=1)
    plain = tortuosity_factor(labels, axis="y", maps=True, threads=1)
    assert plain.concentration is None
    for along in "zyx":
        np.testing.assert_allclose(plain.flux_map(along), kept.flux_map(along), atol=1e-5)
    several = tortuosity_factor(labels, {1: 1.0, 0: 0.1}, "y", maps=True, threads=1)
    assert several.flux_map("y").mean() == pytest.approx(several.effective_diffusivity, rel=1e-2)
    nothing = tortuosity_factor(np.zeros(SHAPE, np.uint8), maps=True, threads=1)
    assert (nothing.flux_map("x") == 0).all()
    with pytest.raises(InputError, match="maps=True"):
        tortuosity_factor(labels, threads=1).flux_map("x")


def test_sums_of_boxes_are_those_of_the_whole() -> None:
    values = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    maps = FluxMaps(SHAPE)
    for z in (0, 20):
        box = Box((z, 0, 0), (min(z + 20, SHAPE[0]), *SHAPE[1:]))
        maps.add(box, flux_sums(values[box.slices]))
    for along, found in enumerate(maps.means()):
        np.testing.assert_allclose(found, values.mean(axis=along), atol=1e-6)


@pytest.mark.slow
def test_what_does_not_fit_in_memory_is_solved_in_blocks(labels: np.ndarray, monkeypatch: Any) -> None:
    whole = tortuosity_factor(labels, rtol=1e-4, maps=True, threads=2)
    monkeypatch.setattr("mgsflow.transport.tortuosity.packed_bytes", lambda *numbers: 2**50)
    out, flux_out = Kept(), Kept()
    given: Any = {"rtol": 1e-4, "memory": 1024 * MIB, "threads": 2}
    found = tortuosity_factor(labels, **given, maps=True, out=out, flux_out=flux_out)
    assert "joining blocks" in found.seconds
    assert "joining blocks" not in whole.seconds
    assert found.effective_diffusivity == pytest.approx(whole.effective_diffusivity, rel=2e-4)
    assert found.percolating_fraction == whole.percolating_fraction
    np.testing.assert_allclose(flux_out.array, flux_density(out.array, 0, SHAPE[0], None, None), atol=1e-4)
    for along in range(3):
        np.testing.assert_allclose(found.flux_map("zyx"[along]), flux_out.array.mean(axis=along), atol=1e-5)
    with pytest.raises(DoesNotFit, match="smaller blocks"):
        tortuosity_factor(labels, **given | {"memory": 100 * MIB})
    with pytest.raises(InputError, match="returns no field"):
        tortuosity_factor(labels, **given, field=True)


def test_one_function_on_a_cluster(labels: np.ndarray, tmp_path: Any, two_workers: Any) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, chunks=(16, 16, 16), dtype=np.uint8)
    array[...] = labels
    stored = zarr.open_array(tmp_path / "a.zarr", mode="r")
    found = tortuosity_factor(stored, axis="x", client=two_workers, maps=True)
    known = tortuosity_factor(labels, axis="x", maps=True, threads=1)
    assert found.tortuosity_factor == pytest.approx(known.tortuosity_factor, rel=1e-3)
    for along in "zyx":
        np.testing.assert_allclose(found.flux_map(along), known.flux_map(along), atol=0.02)
    with pytest.raises(InputError, match="no-flux sides only"):
        tortuosity_factor(stored, client=two_workers, sides="periodic")
