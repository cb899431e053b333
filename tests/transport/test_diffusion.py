"""Tortuosity against exact answers and a direct solve of the equations, and what is said when there is no answer."""

from __future__ import annotations

import doctest
import importlib
import threading
from math import inf, isnan, nan
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import xarray as xr
import zarr
from scipy.ndimage import gaussian_filter, label
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from mgsflow.errors import InputError
from mgsflow.solvers import Step
from mgsflow.transport import Tortuosity, tortuosity_factor


def direct(
    diffusivity: np.ndarray, axis: int = 0, edges: Any = (1, 1, 1), periodic: bool = False
) -> tuple[float, np.ndarray]:
    """Return D_eff over the largest D and the concentration, from scipy's direct solver."""
    d = np.moveaxis(np.asarray(diffusivity, float), axis, 0)
    h = [edges[axis], *(edges[a] for a in range(3) if a != axis)]
    index = np.arange(d.size).reshape(d.shape)
    parts = []
    for a in range(3):
        area = h[(a + 1) % 3] * h[(a + 2) % 3] / h[a]
        n = d.shape[a]
        pairs = [(range(n - 1), range(1, n))]
        if periodic and a and n > 1:
            pairs.append(([n - 1], [0]))  # type: ignore[arg-type]
        for low, high in pairs:
            p, q = np.take(d, low, a), np.take(d, high, a)
            w = np.where((p > 0) & (q > 0), 2 * p * q / np.where(p + q > 0, p + q, 1), 0) * area
            parts.append((np.take(index, low, a)[w > 0], np.take(index, high, a)[w > 0], w[w > 0]))
    i, j, w = (np.concatenate(v) for v in zip(*parts))
    links = sp.coo_matrix((np.r_[w, w], (np.r_[i, j], np.r_[j, i])), shape=(d.size,) * 2).tocsr()
    end = h[1] * h[2] / h[0]
    ground, inlet = np.zeros(d.shape), np.zeros(d.shape)
    inlet[0] = 2 * d[0] * end
    ground[0] = inlet[0]
    ground[-1] += 2 * d[-1] * end
    _, part = connected_components(links)
    part = part.reshape(d.shape)
    kept = np.isin(part, np.intersect1d(part[0][d[0] > 0], part[-1][d[-1] > 0])) & (d > 0)
    c = np.full(d.shape, nan)
    if not kept.any():
        return 0.0, np.moveaxis(c, 0, axis)
    inside = kept.ravel()
    matrix = (sp.diags(np.asarray(links.sum(axis=1)).ravel() + ground.ravel()) - links).tocsr()[inside][:, inside]
    c[kept] = spsolve(matrix.tocsc(), inlet.ravel()[inside])
    flux = (inlet[0] * (1 - c[0]))[kept[0]].sum()
    scale = d.shape[0] * h[0] / (d.shape[1] * d.shape[2] * h[1] * h[2])
    return flux * scale / d.max(), np.moveaxis(c, 0, axis)


def pores(shape: tuple[int, int, int], fraction: float, seed: int, sigma: float = 2.0) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return field < np.quantile(field, fraction)


MEDIA: dict[str, dict[int, float]] = {
    "one phase": {1: 2.5},
    "three that are alike": {1: 1.0, 2: 1.0, 3: 1.0},
    "four phases": {0: 0.3, 1: 1.0, 2: 1e-4, 3: 7.0},
    "contrast": {0: 1e-6, 1: 1.0, 2: 1e6},
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("sides", ["no-flux", "periodic"])
@pytest.mark.parametrize("medium", MEDIA)
def test_equals_the_direct_solver(medium: str, sides: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(2, 11, 3))
    edges = tuple(rng.uniform(0.2, 2.0, 3)) if seed else (1.0, 1.0, 1.0)
    labels = rng.choice(4, shape, p=[0.15, 0.55, 0.15, 0.15])
    diffusivity = np.zeros(shape)
    for phase, value in MEDIA[medium].items():
        diffusivity[labels == phase] = value
    for axis, name in enumerate("zyx"):
        expected, c = direct(diffusivity, axis, edges, sides == "periodic")
        found = tortuosity_factor(labels, MEDIA[medium], name, edges, 1e-10, sides, field=True, threads=1)
        assert found.effective_diffusivity == pytest.approx(expected, rel=1e-8)
        if expected:
            assert found.status == "converged"
            assert np.array_equal(np.isnan(found.concentration), np.isnan(c))
            assert np.nanmax(np.abs(found.concentration - c)) < 1e-3
            mean = diffusivity.mean() / diffusivity.max()
            assert found.tortuosity_factor == pytest.approx(mean / expected, rel=1e-8)
            kept = diffusivity[~np.isnan(c)]
            share = kept.sum() / labels.size / diffusivity.max()
            assert found.tortuosity_factor_percolating == pytest.approx(share / expected, rel=1e-8)
            assert found.percolating_fraction == kept.size / np.count_nonzero(diffusivity)
            by_voxel = tortuosity_factor(diffusivity, None, name, edges, 1e-10, sides, threads=1)
            assert by_voxel.effective_diffusivity == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("edges", [1.0, (1.0, 1.3, 0.8), (0.9, 0.7, 1.3)])
@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_the_fast_solver_equals_the_direct_one(axis: str, edges: Any) -> None:
    image = pores((19, 22, 17), 0.45, 1)
    h = (edges,) * 3 if isinstance(edges, float) else edges
    expected, c = direct(image, "zyx".index(axis), h)
    assert 0 < expected < 0.4
    for rtol in (1e-3, 1e-10):
        found = tortuosity_factor(image, None, axis, edges, rtol, field=True, threads=1)
        assert "codes" in found.seconds
        assert found.status == "converged"
        assert 0 <= found.effective_diffusivity / expected - 1 + 1e-12 <= rtol
        assert np.array_equal(np.isnan(found.concentration), np.isnan(c))
    assert np.nanmax(np.abs(found.concentration - c)) < 1e-4
    assert found.flux_imbalance < found.flux_spread < 1e-4
    assert found.plane_fluxes == pytest.approx(np.full(len(found.plane_fluxes), expected), rel=1e-4)


def test_plane_fluxes_are_those_of_the_concentration() -> None:
    image = pores((14, 13, 16), 0.5, 3)
    for axis, name in enumerate("zyx"):
        found = tortuosity_factor(image, axis=name, rtol=0.02, field=True)
        c = np.moveaxis(found.concentration.astype(float), axis, 0)
        scale = len(c) / c[0].size
        expected = [2 * np.nansum(1 - c[0]), *np.nansum(c[:-1] - c[1:], axis=(1, 2)), 2 * np.nansum(c[-1])]
        assert found.plane_fluxes == pytest.approx(np.array(expected) * scale, rel=1e-4)
        assert found.flux_imbalance == pytest.approx(
            abs(found.plane_fluxes[0] - found.plane_fluxes[-1]) / found.plane_fluxes.mean(), rel=1e-9
        )


EDGES: list[Any] = [1.0, 0.126, (0.3, 1.0, 2.0)]


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_uniform_blocks_and_channels_are_exact(axis: str, edges: Any) -> None:
    for shape in ((5, 6, 7), (1, 1, 1), (1, 8, 1), (3, 1, 2)):
        found = tortuosity_factor(np.ones(shape, np.uint8), axis=axis, voxel_size=edges, rtol=1e-10)
        assert found.tortuosity_factor == pytest.approx(1, rel=1e-10)
        assert found.percolating_fraction == found.volume_fraction == 1
    channel = np.zeros((8, 9, 10), np.uint8)
    number = "zyx".index(axis)
    np.moveaxis(channel, number, 0)[:, 2:4, 3:6] = 1
    found = tortuosity_factor(channel, axis=axis, voxel_size=edges, rtol=1e-10)
    assert found.tortuosity_factor == pytest.approx(1, rel=1e-10)
    assert found.formation_factor == pytest.approx(1 / found.volume_fraction, rel=1e-10)


@pytest.mark.parametrize("edges", EDGES)
def test_layers_and_columns_are_exact(edges: Any) -> None:
    labels = np.repeat(np.array([1, 2, 3], np.uint8), [3, 4, 2])[:, None, None] * np.ones((1, 4, 5), np.uint8)
    values = {1: 1.0, 2: 1e-6, 3: 1e6}
    series = 1 / (3 / 9 / 1 + 4 / 9 / 1e-6 + 2 / 9 / 1e6) / 1e6
    parallel = (3 / 9 * 1 + 4 / 9 * 1e-6 + 2 / 9 * 1e6) / 1e6
    across = tortuosity_factor(labels, values, "z", edges, 1e-9)
    assert across.effective_diffusivity == pytest.approx(series, rel=1e-9)
    for axis in "yx":
        along = tortuosity_factor(labels, values, axis, edges, 1e-9)
        assert along.effective_diffusivity == pytest.approx(parallel, rel=1e-9)
        assert along.tortuosity_factor == pytest.approx(1, rel=1e-9)
        assert along.reference_diffusivity == 1e6


def test_slanted_strip() -> None:
    strip = np.zeros((20, 21, 21), np.uint8)
    for i in range(20):
        strip[i, i : i + 2, i : i + 2] = 1
    assert tortuosity_factor(strip, rtol=1e-9).tortuosity_factor == pytest.approx(7.516667, rel=1e-6)


def nothing() -> np.ndarray:
    return np.zeros((6, 5, 4), np.uint8)


def dead_end() -> np.ndarray:
    image = nothing()
    image[:5, 2, 2] = 1
    return image


def test_no_path_means_infinite_tortuosity_and_says_so() -> None:
    split = dead_end()
    split[5, 1, 1] = 1
    diagonal = nothing()
    diagonal[:3, 2, 2] = diagonal[3:, 2, 3] = 1  # by an edge only
    for image in (dead_end(), split, diagonal):
        for sides in ("no-flux", "periodic"):
            found = tortuosity_factor(image, sides=sides, field=True)
            assert found.status == "not percolating"
            assert found.tortuosity_factor == inf
            assert found.tortuosity_factor_percolating == inf
            assert found.effective_diffusivity == found.percolating_fraction == 0
            assert found.volume_fraction == np.count_nonzero(image) / image.size
            assert np.isnan(found.concentration).all()
    for image in (nothing(), nothing().astype(float)):
        found = tortuosity_factor(image)
        assert found.status == "nothing conducts"
        assert found.tortuosity_factor == inf
        assert found.effective_diffusivity == 0
    absent = tortuosity_factor(dead_end(), {7: 1.0})
    assert absent.status == "nothing conducts"
    assert tortuosity_factor(dead_end(), {1: 0.0}).status == "nothing conducts"


def test_periodic_sides_join_what_walls_part() -> None:
    image = nothing()
    image[:3, 2, 0] = image[2:, 2, 3] = 1
    assert tortuosity_factor(image).status == "not percolating"
    joined = tortuosity_factor(image, sides="periodic", rtol=1e-9)
    # seven voxels in a line, all of the area of one
    assert joined.effective_diffusivity == pytest.approx(6 / 20 / 7, rel=1e-9)
    assert tortuosity_factor(image, axis="y", sides="periodic").status == "not percolating"


def test_dead_ends_and_islands_count_as_told() -> None:
    image = np.zeros((6, 5, 5), np.uint8)
    image[:, 2, 2] = 1
    image[3, 2, 3:] = 1  # a dead end: it percolates, but carries nothing
    image[0, 0, 0] = 1  # an island
    found = tortuosity_factor(image, rtol=1e-9)
    assert found.effective_diffusivity == pytest.approx(1 / 25, rel=1e-9)
    assert found.volume_fraction == 9 / 150
    assert found.percolating_fraction == 8 / 9
    assert found.tortuosity_factor == pytest.approx(9 / 6, rel=1e-9)
    assert found.tortuosity_factor_percolating == pytest.approx(8 / 6, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_percolating_part_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 40, 3))
    image = rng.random(shape) < 0.38
    for axis, name in enumerate("zyx"):
        parts, _ = label(image)
        ends = np.moveaxis(parts, axis, 0)
        through = np.intersect1d(ends[0], ends[-1])
        kept = np.isin(parts, through[through > 0])
        found = tortuosity_factor(image, axis=name, rtol=0.5, field=True)
        assert np.array_equal(~np.isnan(found.concentration), kept)
        assert found.percolating_fraction == kept.sum() / image.sum()


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int32, np.uint64, np.int64, bool])
def test_labels_of_any_dtype(kind: type) -> None:
    image = pores((12, 11, 9), 0.5, 5)
    expected = tortuosity_factor(image)
    labels = image.astype(kind)
    assert tortuosity_factor(labels).tortuosity_factor == expected.tortuosity_factor
    # labels that the dtype cannot hold are not in the image
    assert tortuosity_factor(labels, {1: 1.0, -1000: 1.0, 2**70: 1.0}).tortuosity_factor == expected.tortuosity_factor
    if kind is np.int8:
        assert tortuosity_factor(-labels, {-1: 3.0}).tortuosity_factor == expected.tortuosity_factor


def test_containers_give_the_same(tmp_path: Any) -> None:
    labels = pores((21, 12, 9), 0.5, 6).astype(np.uint16) * 3
    expected = tortuosity_factor(labels, {3: 1.0}, "x")
    stored = zarr.create_array(tmp_path / "a.zarr", shape=labels.shape, chunks=(4, 5, 6), dtype=labels.dtype)
    stored[...] = labels
    named = xr.DataArray(labels, dims=("z", "y", "x"))
    for image in (stored, named, np.asfortranarray(labels), labels[::-1][::-1]):
        found = tortuosity_factor(image, {3: 1.0}, "x")
        assert found.tortuosity_factor == expected.tortuosity_factor
        assert np.array_equal(found.plane_fluxes, expected.plane_fluxes)


def test_reading_in_slabs_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = pores((21, 12, 9), 0.5, 6).astype(np.int32)
    two_phases = {0: 0.1, 1: 1.0}
    expected = [tortuosity_factor(labels), tortuosity_factor(labels, two_phases)]
    monkeypatch.setattr("mgsflow.transport.diffusion.medium._SLAB", 300)
    assert tortuosity_factor(labels).tortuosity_factor == expected[0].tortuosity_factor
    assert tortuosity_factor(labels, two_phases).tortuosity_factor == expected[1].tortuosity_factor
    assert tortuosity_factor(labels.astype(np.float32)).tortuosity_factor == expected[0].tortuosity_factor


def test_threads_change_no_bit() -> None:
    image = pores((40, 250, 130), 0.4, 7)
    found = [tortuosity_factor(image, axis="x", threads=n) for n in (1, 2, 3)]
    for other in found[1:]:
        assert other.tortuosity_factor == found[0].tortuosity_factor
        assert np.array_equal(other.plane_fluxes, found[0].plane_fluxes)


def test_works_in_several_threads_at_once() -> None:
    image = pores((30, 120, 120), 0.4, 8)
    expected = tortuosity_factor(image).tortuosity_factor
    found: list[float] = []
    threads = [
        threading.Thread(target=lambda: found.append(tortuosity_factor(image, threads=2).tortuosity_factor))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3


def test_swapping_ends_and_axes_changes_nothing() -> None:
    image = pores((18, 21, 23), 0.45, 9)
    d = tortuosity_factor(image, rtol=1e-9).effective_diffusivity
    assert tortuosity_factor(image[::-1], rtol=1e-9).effective_diffusivity == pytest.approx(d, rel=1e-8)
    assert tortuosity_factor(image.transpose(1, 0, 2), axis="y", rtol=1e-9).effective_diffusivity == pytest.approx(
        d, rel=1e-8
    )
    assert tortuosity_factor(image.transpose(2, 1, 0), axis="x", rtol=1e-9).effective_diffusivity == pytest.approx(
        d, rel=1e-8
    )
    # negative control: the image is not the same along another axis
    assert abs(tortuosity_factor(image, axis="y", rtol=1e-9).effective_diffusivity / d - 1) > 0.01


def test_a_solve_that_does_not_converge_gives_no_number() -> None:
    image = pores((30, 30, 30), 0.3, 0)
    for values in (None, {0: 1e-3, 1: 1.0}):
        found = tortuosity_factor(image, values, rtol=1e-9, most_iterations=1)
        assert found.status == "not converged"
        assert not found.converged
        assert isnan(found.tortuosity_factor)
        assert isnan(found.effective_diffusivity)
        assert found.error_estimate > 1e-9
        assert len(found.history) == 2


def test_progress_sees_the_error_fall_and_can_cancel() -> None:
    image = pores((30, 30, 30), 0.35, 2)
    for values in (None, {0: 1e-3, 1: 1.0}):
        seen: list[Step] = []
        found = tortuosity_factor(image, values, rtol=1e-7, progress=seen.append)
        assert seen[-1].error <= 1e-7 < seen[0].error
        assert seen[-1].value == pytest.approx(found.effective_diffusivity, rel=1e-6)
        assert tuple(seen) == found.history

        def cancel(step: Step) -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError):
            tortuosity_factor(image, values, progress=cancel)


def test_dataset() -> None:
    image = pores((10, 12, 14), 0.5, 1)
    found = tortuosity_factor(image, axis="y", voxel_size=0.126, field=True)
    data = found.to_dataset()
    assert float(data.tortuosity_factor) == found.tortuosity_factor
    assert float(data.tortuosity_error) == found.error_estimate
    assert str(data.tortuosity_status.values) == "converged"
    assert str(data.axis.values) == "y"
    assert data.plane_flux.dims == ("y_face",)
    assert float(data.y_face[-1]) == pytest.approx(12 * 0.126)
    assert data.concentration.shape == image.shape
    assert all("long_name" in v.attrs for v in data.data_vars.values())
    assert "concentration" not in tortuosity_factor(image).to_dataset()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"axis": "w"}, "axis must be"),
        ({"axis": 3}, "axis must be"),
        ({"axis": None}, "axis must be"),
        ({"voxel_size": 0}, "voxel"),
        ({"voxel_size": (1, 2)}, "voxel"),
        ({"rtol": 0}, "rtol"),
        ({"rtol": "fine"}, "rtol"),
        ({"sides": "wet"}, "sides must be"),
        ({"threads": 0}, "threads"),
        ({"most_iterations": -1}, "most_iterations"),
        ({"conductivity": {}}, "conductivity must say"),
        ({"conductivity": [1]}, "conductivity must say"),
        ({"conductivity": {"pore": 1}}, "whole numbers"),
        ({"conductivity": {1: -1}}, "at least 0"),
        ({"conductivity": {1: nan}}, "finite"),
        ({"conductivity": {1: "good"}}, "must be a number"),
        ({"phase": np.ones((3, 3))}, "three axes"),
        ({"phase": np.ones((0, 3, 3))}, "no voxels"),
        ({"phase": np.ones((3, 3, 3), complex)}, "whole numbers"),
        ({"phase": np.full((3, 3, 3), nan)}, "voxel \\(0, 0, 0\\)"),
        ({"phase": np.full((3, 3, 3), -1.0)}, "at least 0"),
        ({"phase": np.ones((3, 3, 3)), "conductivity": {1: 1.0}}, "leave out conductivity"),
        ({"phase": xr.DataArray(np.ones((3, 3, 3), int), dims=("a", "b", "c"))}, "dimensions"),
        ({"phase": "image.tif"}, "phase image must be"),
    ],
)
def test_bad_input(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        tortuosity_factor(**({"phase": np.ones((3, 3, 3), np.uint8)} | arguments))


def test_result_is_frozen_and_says_what_it_is() -> None:
    found = tortuosity_factor(np.ones((2, 2, 2), bool), rtol=1e-6)
    assert isinstance(found, Tortuosity)
    with pytest.raises(AttributeError):
        found.status = "fine"  # type: ignore[misc]
    assert "history" not in repr(found)
    assert repr(found).startswith("Tortuosity(axis='z', status='converged', tortuosity_factor=")


@pytest.mark.parametrize("module", ["mgsflow.transport.tortuosity", "mgsflow.transport.electrode"])
def test_the_examples_of_the_docstrings(module: str) -> None:
    failures, examples = doctest.testmod(importlib.import_module(module))
    assert examples
    assert not failures
