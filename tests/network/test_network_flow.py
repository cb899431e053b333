"""Networks solved: ducts and balls against theory and solves on voxels, hand-made networks, and every other end."""

from __future__ import annotations

from math import inf, isnan, pi, sqrt

import numpy as np
import pytest
from networks import balls, noise

from mgsflow.errors import InputError
from mgsflow.network import PoreNetwork, pore_network, solve
from mgsflow.network.conductance import diffusive, form_factor, hydraulic
from mgsflow.transport.permeability import permeability
from mgsflow.transport.tortuosity import tortuosity_factor

SQUARE = 0.035144  # flow through a square duct: Q = 0.035144 w⁴ Δp / (μ L)


def ducts(cells: tuple[int, int, int], width: int) -> np.ndarray:
    """Return square ducts along all axes through the middle of one cell."""
    z, y, x = np.meshgrid(
        *(np.abs(np.arange(n) - (n - 1) / 2 + 0.01) < width / 2 for n in cells), indexing="ij", sparse=True
    )
    return (z & y) | (z & x) | (y & x)


@pytest.mark.parametrize("width", [8, 9])
def test_a_lattice_of_slender_ducts_is_that_of_theory(width):
    # long along x: theory leaves out that ducts are wider where they cross
    z, y, _ = cells = (24, 28, 400)
    network = pore_network(np.concatenate([ducts(cells, width)] * 2, axis=2), voxel_size=0.5, persistence=1)
    assert network.count == 2
    found = solve(network, "x")
    assert found.status == "converged"
    assert found.effective_diffusivity == pytest.approx(width**2 / (z * y), rel=0.05)
    assert found.tortuosity_factor == pytest.approx(network.porosity * z * y / width**2, rel=0.05)
    assert found.permeability == pytest.approx(SQUARE * width**4 / (z * y) * 0.5**2, rel=0.05)
    assert found.flux_imbalance < 1e-12
    # negative control: cones, which ducts are not
    assert solve(network, "x", "cones").effective_diffusivity > 1.15 * width**2 / (z * y)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mask", "close", "close_flow"),
    [(ducts((40, 40, 40), 8), 0.05, 0.05), (balls(20, 11.0, 2), 0.03, 0.08)],
    ids=["ducts", "balls"],
)
def test_ducts_and_balls_let_through_what_their_voxels_do(mask, close, close_flow):
    found = solve(pore_network(mask, voxel_size=1, persistence=1), "y")
    diffusion = tortuosity_factor(mask.astype(np.uint8), {1: 1.0}, "y", 1.0, threads=1)
    assert found.effective_diffusivity == pytest.approx(diffusion.effective_diffusivity, rel=close)
    flow = permeability(mask.astype(np.uint8), (1,), "y", 1.0, threads=1)
    assert found.permeability == pytest.approx(flow.permeability_um2, rel=close_flow)


def test_voxels_lie_between_ducts_and_cones():
    mask = noise((32, 32, 32), 0.4, 4, sigma=2.5)
    network = pore_network(mask, voxel_size=1)
    narrow, wide = solve(network, "z", "ducts"), solve(network, "z", "cones")
    diffusion = tortuosity_factor(mask.astype(np.uint8), {1: 1.0}, "z", 1.0, threads=1)
    assert wide.tortuosity_factor < diffusion.tortuosity_factor < narrow.tortuosity_factor
    flow = permeability(mask.astype(np.uint8), (1,), "z", 1.0, threads=1)
    assert narrow.permeability < flow.permeability_um2 < wide.permeability


def test_form_factors_are_exact_for_known_sections():
    # radius is three times the mean distance to the wall: of a slit, 3/4 of its width
    sections = {
        "circle": (1.0, pi, pi / 8, 1e-12),
        "square": (1.0, 4.0, SQUARE * 16, 1e-3),
        "triangle": (1.0, 3 * sqrt(3), 0.6 * sqrt(3) / 36 * 27, 1e-12),
        "slit": (0.75, 100.0, 100 / 12, 0.02),
    }
    for name, (radius, area, wanted, close) in sections.items():
        form, k = form_factor(np.array([radius]), np.array([area]))
        assert float(k[0] * form[0] * area**2) == pytest.approx(wanted, rel=close), name


def chain(radii: list[float], links: list[tuple[int, int]], ends: list[tuple[int, int]]) -> PoreNetwork:
    """Return pores of given radii, joined by throats of radius 1 and area 3, centres 10 apart, openings likewise."""
    n, t, o = len(radii), len(links), len(ends)
    width = {"radius": 1.0, "hydraulic_radius": 1.0, "cross_section": 3.0}
    pores = {
        "id": np.arange(1, n + 1),
        "inscribed_radius": np.array(radii),
        "voxel_count": np.full(n, 10),
        "coordination": np.full(n, 2),
    }
    throats = {name: np.full(t, value) for name, value in width.items()}
    throats |= {"pore_a": np.array([a for a, _ in links], int), "pore_b": np.array([b for _, b in links], int)}
    throats |= {"length_a": np.full(t, 5.0), "length_b": np.full(t, 5.0)}
    openings = {name: np.full(o, value) for name, value in width.items()}
    openings |= {"pore": np.array([p for p, _ in ends], int), "face": np.array([f for _, f in ends], int)}
    openings["length"] = np.full(o, 5.0)
    return PoreNetwork((20, 10, 10), 1.0, pores, throats, openings, 0.1)


def test_resistances_in_series_and_in_parallel():
    # two ways from face to face, of which one is a detour; the last two pores lie apart, and one is a dead end
    links = [(1, 2), (1, 3), (3, 4), (2, 4), (2, 5), (6, 7)]
    network = chain([1.0] * 7, links, [(1, 0), (4, 1), (5, 2), (6, 0)])
    found = solve(network, "z")
    half = 5 / 3
    resistance = 2 * half + 1 / (1 / (4 * half) + 1 / (4 * half))
    assert found.effective_diffusivity == pytest.approx(20 / 100 / resistance, rel=1e-12)
    assert found.tortuosity_factor == pytest.approx(0.1 / found.effective_diffusivity)
    assert found.percolating_pores == 5
    np.testing.assert_array_equal(np.isnan(found.potential), [False] * 5 + [True] * 2)
    assert found.potential[4] == pytest.approx(found.potential[1])
    assert found.potential[1] == pytest.approx(found.potential[2]) == pytest.approx(0.5)


def test_a_taper_has_the_resistance_of_a_cone():
    network = chain([2.0], [], [(1, 0), (1, 1)])
    taper, steps = sqrt(3.0), 200_000
    wide = 1 + (np.arange(steps) + 0.5) / steps  # from throat to pore
    length = taper / steps
    diffusion = (length / (3 * wide**2)).sum() + (5 - taper) / 3
    assert 1 / diffusive(network).openings[0] == pytest.approx(diffusion, rel=1e-9)
    # a circle is the largest section of that radius
    mobility = 0.5 * min(1 / 12, 1 / (4 * pi)) * 9
    flow = (length / (mobility * wide**4)).sum() + (5 - taper) / mobility
    assert 1 / hydraulic(network).openings[0] == pytest.approx(flow, rel=1e-9)
    whole = (5 / steps / (3 * wide**2)).sum()
    assert 1 / diffusive(network, "cones").openings[0] == pytest.approx(whole, rel=1e-9)


def by_numpy(network: PoreNetwork, face: int) -> float:
    """Return what diffuses from a face to the opposite one, of the equations of all pores between, factorised."""
    throats, openings = diffusive(network).throats, diffusive(network).openings
    matrix = np.zeros((network.count,) * 2)
    for name, other in (("pore_a", "pore_b"), ("pore_b", "pore_a")):
        here, there = network.rows(network.throats[name]), network.rows(network.throats[other])
        np.add.at(matrix, (here, here), throats)
        np.add.at(matrix, (here, there), -throats)
    pores, faces = network.rows(network.openings["pore"]), network.openings["face"]
    ends = (faces == face) | (faces == face + 1)
    np.add.at(matrix, (pores[ends], pores[ends]), openings[ends])
    right = np.bincount(pores, openings * (faces == face), network.count)
    potential = np.linalg.pinv(matrix, hermitian=True) @ right
    return float((openings * (1 - potential[pores]))[faces == face].sum())


def test_conjugate_gradients_and_factors_agree(monkeypatch):
    network = pore_network(noise((36, 36, 36), 0.5, 3), voxel_size=1, persistence=0)
    gradients = solve(network, "x")
    assert gradients.percolating_pores > 100
    assert gradients.effective_diffusivity == pytest.approx(by_numpy(network, 4) / 36, rel=1e-10)
    assert gradients.flux_imbalance < 1e-9
    monkeypatch.setattr("mgsflow.network.flow._MAX_ITERATIONS", 2)
    short = solve(network, "x")
    assert short.status == "not converged"
    assert isnan(short.tortuosity_factor)
    assert isnan(short.permeability)


def test_what_has_no_number_says_why():
    network = chain([1.0] * 3, [(1, 2)], [(1, 0), (2, 0), (3, 1)])
    found = solve(network, "z")
    assert (found.status, found.tortuosity_factor, found.permeability) == ("not percolating", inf, 0)
    assert solve(network, "y").status == "not percolating"
    nothing = solve(pore_network(np.zeros((6, 6, 6), bool), voxel_size=1), "z")
    assert (nothing.status, nothing.tortuosity_factor, nothing.permeability) == ("nothing conducts", inf, 0)
    everything = solve(pore_network(np.ones((6, 6, 6), bool), voxel_size=1), "z")
    assert everything.status == "no solid"
    assert isnan(everything.tortuosity_factor)
    with pytest.raises(InputError, match="axis"):
        solve(network, "r")
    with pytest.raises(InputError, match="conduits"):
        solve(network, "z", "pipes")
    dataset = found.to_dataset()
    assert str(dataset.network_status.values) == "not percolating"
    assert dataset.network_permeability.attrs["units"] == "µm²"
