"""Electrode tortuosity against the impedance of the same network at low frequency, and exact channels."""

from __future__ import annotations

from math import inf, isnan

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter, label
from scipy.sparse.linalg import spsolve

from mgsflow.errors import InputError
from mgsflow.transport import electrode_tortuosity_factor, tortuosity_factor


def impedance(image: np.ndarray, frequency: float) -> complex:
    """Return the impedance between the first face and a capacitance on every face to the solid, by a direct solve."""
    inside = image == 1
    index = np.full(image.shape, -1)
    index[inside] = np.arange(inside.sum())
    rows, cols, admittance = [], [], np.zeros(inside.sum(), complex)
    for axis in range(3):
        low, high = (np.take(index, k, axis) for k in (range(image.shape[axis] - 1), range(1, image.shape[axis])))
        both = (low >= 0) & (high >= 0)
        rows.append(low[both])
        cols.append(high[both])
        for one, other in ((low, high), (high, low)):
            np.add.at(admittance, one[(one >= 0) & (other < 0)], 1j * frequency)
    i, j = np.concatenate(rows), np.concatenate(cols)
    links = sp.coo_matrix((np.ones(2 * i.size), (np.r_[i, j], np.r_[j, i])), shape=(inside.sum(),) * 2).tocsr()
    inlet = np.zeros(inside.sum())
    inlet[index[0][inside[0]]] = 2
    matrix = sp.diags(np.asarray(links.sum(axis=1)).ravel() + inlet + admittance) - links
    potential = spsolve(matrix.tocsc(), inlet.astype(complex))
    return 1 / complex((inlet * (1 - potential)).sum())


def ladder(cells: int, resistance: float, capacitance: float, frequency: float) -> complex:
    z = complex(1e50)
    for _ in range(cells):
        z = resistance + 1 / (1j * frequency * capacitance + 1 / z)
    return z


def pores(fraction: float, seed: int) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal((18, 16, 14)), 1.5)
    image = (field < np.quantile(field, fraction)).astype(np.uint8)
    parts, _ = label(image)
    image[~np.isin(parts, np.unique(parts[0][image[0] == 1]))] = 0
    return image


DEAD_END = np.zeros((100, 100, 1), np.uint8)
DEAD_END[:75, 45:55] = 1
THROUGH = np.zeros((100, 100, 1), np.uint8)
THROUGH[:, 45:55] = 1


@pytest.mark.parametrize(("image", "published"), [(DEAD_END, 0.594), (THROUGH, 0.986)])
def test_taufactors_cases(image: np.ndarray, published: float) -> None:
    found = electrode_tortuosity_factor(image, rtol=1e-8)
    # published to three digits, at a frequency that is not quite low and a loose tolerance (later 0.593 and 0.987)
    assert found.tortuosity_factor_ladder == pytest.approx(published, abs=2e-3)
    # what that definition gives when the network is solved directly
    fraction, faces = image.mean(), np.abs(np.diff(np.pad(image, 1, "edge").astype(int), axis=1)).sum()
    area = (faces + np.abs(np.diff(image.astype(int), axis=0)).sum()) / image[0].size
    frequency = fraction / (area / 100) / 100**2 / 4
    exact = impedance(image, frequency).real * image[0].size
    ideal = ladder(100, 1 / fraction, area / 100, frequency).real
    assert found.tortuosity_factor_ladder == pytest.approx(exact / ideal, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_resistance_is_the_impedances_at_low_frequency(seed: int) -> None:
    image = pores(0.5, seed)
    found = electrode_tortuosity_factor(image, rtol=1e-9)
    low = impedance(image, 1e-5).real * image[0].size / len(image)
    assert found.resistance == pytest.approx(low, rel=1e-4)
    assert found.tortuosity_factor == pytest.approx(3 * image.mean() * low, rel=1e-4)
    coarse = electrode_tortuosity_factor(image, rtol=1e-2)
    assert abs(coarse.resistance / found.resistance - 1) <= coarse.error_estimate <= 1e-2
    # the negative control: current that flows through instead sees another resistance
    assert abs(tortuosity_factor(image).tortuosity_factor / found.tortuosity_factor - 1) > 0.02


@pytest.mark.parametrize("axis", ["z", "y", "x"])
@pytest.mark.parametrize("edges", [1.0, (0.5, 1.0, 2.0)])
def test_straight_pores_that_react_evenly_have_one(axis: str, edges: float | tuple[float, float, float]) -> None:
    number = "zyx".index(axis)
    image = np.zeros((40, 40, 40), np.uint8)
    np.moveaxis(image, number, 0)[:, 10:12, 20:23] = 1
    even = electrode_tortuosity_factor(image, reactive=None, axis=axis, voxel_size=edges, rtol=1e-9)
    # the scheme's own error: 1 / (2 n²)
    assert even.tortuosity_factor == pytest.approx(1 + 1 / (2 * 40**2), rel=1e-7)
    assert even.reactive_area == pytest.approx(image.mean())
    h = np.broadcast_to(edges, 3)
    a, b = (h[i] for i in range(3) if i != number)
    surface = electrode_tortuosity_factor(image, axis=axis, voxel_size=edges, rtol=1e-9)
    assert surface.reactive_area == pytest.approx((2 * 2 * a + 2 * 3 * b) / (40 * 40 * a * b))
    assert surface.tortuosity_factor == pytest.approx(1, abs=5e-3)


def test_the_size_of_voxels_and_mirrors_change_nothing() -> None:
    image = pores(0.5, 4)
    one = electrode_tortuosity_factor(image, rtol=1e-8)
    small = electrode_tortuosity_factor(image[:, ::-1], voxel_size=0.1, rtol=1e-8)
    assert small.tortuosity_factor == pytest.approx(one.tortuosity_factor, rel=1e-7)
    assert small.reactive_area == pytest.approx(10 * one.reactive_area)
    turned = electrode_tortuosity_factor(image.transpose(1, 2, 0), axis="x", rtol=1e-8)
    assert turned.tortuosity_factor == pytest.approx(one.tortuosity_factor, rel=1e-7)


def test_periodic_sides() -> None:
    image = pores(0.55, 5)
    tiled = np.tile(image, (1, 3, 3))
    one = electrode_tortuosity_factor(image, sides="periodic", rtol=1e-8)
    nine = electrode_tortuosity_factor(tiled, sides="periodic", rtol=1e-8)
    assert nine.resistance == pytest.approx(one.resistance, rel=1e-6)
    assert electrode_tortuosity_factor(image, rtol=1e-8).resistance != pytest.approx(one.resistance, rel=1e-3)


def test_what_there_is_no_number_for() -> None:
    empty = np.zeros((5, 4, 3), np.uint8)
    assert electrode_tortuosity_factor(empty).status == "nothing conducts"
    far = empty.copy()
    far[1:, 2, 1] = 1
    found = electrode_tortuosity_factor(far)
    assert found.status == "not reached from the inlet"
    assert found.tortuosity_factor == inf
    full = electrode_tortuosity_factor(np.ones((5, 4, 3), np.uint8))
    assert full.status == "nothing reacts"
    assert isnan(full.tortuosity_factor)
    short = electrode_tortuosity_factor(pores(0.5, 6), rtol=1e-9, most_iterations=1)
    assert short.status == "not converged"
    assert isnan(short.resistance)
    half = empty.copy()
    half[:, 1, 1] = half[3:, 3, 2] = 1
    found = electrode_tortuosity_factor(half)
    assert found.reached_fraction == 5 / 7
    data = found.to_dataset()
    assert float(data.electrode_tortuosity_factor) == found.tortuosity_factor
    assert str(data.electrode_tortuosity_status.values) == "converged"


def test_bad_input() -> None:
    image = np.ones((3, 3, 3), np.uint8)
    with pytest.raises(InputError, match="labels"):
        electrode_tortuosity_factor(image.astype(float))
    with pytest.raises(InputError, match="cannot conduct"):
        electrode_tortuosity_factor(image, 1, 1)
    with pytest.raises(InputError, match="axis"):
        electrode_tortuosity_factor(image, axis="t")
    with pytest.raises(InputError, match="sides"):
        electrode_tortuosity_factor(image, sides="open")
    with pytest.raises(InputError, match="rtol"):
        electrode_tortuosity_factor(image, rtol=2)
