"""Permeability against a direct solve of a saddle-point matrix that is put together here, face by face."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from mgsflow.transport import permeability as module
from mgsflow.transport.permeability import permeability

SIDES = ("no-slip", "symmetric", "periodic")


def percolating(pores: np.ndarray, sides: str) -> np.ndarray:
    """Voxels joined to both ends, by a graph of all pairs of neighbours."""
    number = np.arange(pores.size).reshape(pores.shape)
    pairs = []
    for e in range(3):
        a, b = number, np.roll(number, -1, e)
        if e == 0 or sides != "periodic":
            cut = [slice(None)] * 3
            cut[e] = slice(0, -1)
            a, b = a[tuple(cut)], b[tuple(cut)]
        both = pores.ravel()[a.ravel()] & pores.ravel()[b.ravel()]
        pairs.append(np.stack([a.ravel()[both], b.ravel()[both]]))
    i, j = np.concatenate(pairs, axis=1)
    part = connected_components(coo_matrix((np.ones(i.size), (i, j)), shape=(pores.size,) * 2))[1].reshape(pores.shape)
    ends = set(part[0][pores[0]]) & set(part[-1][pores[-1]])
    return pores & np.isin(part, list(ends))


def direct(pores: np.ndarray, h: tuple[float, float, float], sides: str) -> float:
    """K along axis 0 of pores that percolate, from the quadratic form of the viscous dissipation."""
    n = pores.shape

    def is_open(v: tuple[int, ...]) -> bool:
        """Whether there is fluid at a voxel, which may lie outside."""
        w = list(v)
        w[0] = min(max(w[0], 0), n[0] - 1)  # the flow goes on beyond the ends
        for e in (1, 2):
            if not 0 <= w[e] < n[e]:
                if sides == "no-slip":
                    return False
                w[e] = w[e] % n[e] if sides == "periodic" else min(max(w[e], 0), n[e] - 1)
        return bool(pores[tuple(w)])

    def place(d: int, v: tuple[int, ...]) -> tuple[int, ...]:
        w = list(v)
        if sides == "periodic":
            for e in (1, 2):
                w[e] %= n[e]
        return (d, *w)

    def flows(d: int, v: tuple[int, ...]) -> bool:
        """Whether the face before voxel v carries flow."""
        before = tuple(v[e] - (e == d) for e in range(3))
        if d and sides == "symmetric" and not 0 < v[d] < n[d]:
            return False
        if d and not 0 <= v[0] < n[0]:
            return False
        return is_open(v) and is_open(before)

    faces = {}
    for d in range(3):
        for v in product(*(range(n[e] + (e == d and (d == 0 or sides != "periodic"))) for e in range(3))):
            if flows(d, v):
                faces[(d, *v)] = len(faces)
    cells = {v: q for q, v in enumerate(zip(*np.nonzero(pores)))}
    a: dict[tuple[int, int], float] = {}

    def add(i: int, j: int, value: float) -> None:
        a[i, j] = a.get((i, j), 0.0) + value

    for (d, *v), i in faces.items():
        for e in range(3):
            # share of a control volume that the neighbours along e lie in
            share = 0.5 if d == 0 and v[0] in (0, n[0]) and e else 1.0
            w = share / h[e] ** 2
            for s in (-1, 1):
                u = tuple(v[q] + s * (q == e) for q in range(3))
                if e == 0 and not 0 <= u[0] < n[0] + (d == 0):
                    continue  # beyond the ends: the same velocity
                if e and e != d and sides == "symmetric" and not 0 <= u[e] < n[e]:
                    continue  # its mirror image
                if flows(d, u):
                    j = faces[place(d, u)]
                    add(i, i, w)
                    add(i, j, -w)
                else:
                    before = tuple(u[q] - (q == d) for q in range(3))
                    wall = e != d and not is_open(u) and not is_open(before)
                    add(i, i, 2 * w if wall else w)
    offset = len(faces)
    f = np.zeros(offset + len(cells))
    for (d, *v), i in faces.items():
        before = tuple(v[q] - (q == d) for q in range(3))
        for u, sign in ((tuple(v), 1.0), (before, -1.0)):
            at = tuple(u[q] % n[q] if q and sides == "periodic" else u[q] for q in range(3))
            if at in cells:
                add(i, offset + cells[at], sign / h[d])
                add(offset + cells[at], i, sign / h[d])
        if d == 0 and v[0] == 0:
            f[i] = 1.0 / h[0]
    i, j = zip(*a)
    x = spsolve(coo_matrix((list(a.values()), (i, j)), shape=(f.size, f.size)).tocsc(), f)
    inflow = sum(x[q] for (d, z, *_), q in faces.items() if d == 0 and z == 0)
    return inflow / (n[1] * n[2]) * n[0] * h[0]


def random_pores(seed: int, shape: tuple[int, int, int], porosity: float = 0.6, blur: float = 0.6) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), blur)
    return field < np.quantile(field, porosity)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_it_is_the_solution_of_the_assembled_matrix(sides, axis):
    order = {"z": (0, 1, 2), "y": (1, 0, 2), "x": (2, 0, 1)}[axis]
    for seed, shape, edges in ((0, (10, 10, 10), (1.0, 1.0, 1.0)), (1, (7, 10, 9), (0.5, 1.0, 0.8))):
        pores = random_pores(seed, shape)
        inside = percolating(pores.transpose(order), sides)
        want = direct(inside, tuple(edges[d] for d in order), sides)
        found = permeability(pores, axis=axis, voxel_size=edges, sides=sides, rtol=1e-6)
        assert found.status == "converged"
        assert found.percolating_porosity == inside.mean()
        assert found.permeability_um2 == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("shape", [(1, 6, 5), (5, 1, 6), (6, 5, 1), (2, 2, 3), (3, 1, 1)])
def test_images_one_voxel_thick(shape, sides):
    pores = random_pores(3, shape, 0.7)
    pores[:, 0, 0] = True
    inside = percolating(pores, sides)
    if sides != "no-slip" and inside.all():
        pytest.skip("no walls")
    found = permeability(pores, sides=sides, rtol=1e-6)
    assert found.permeability_um2 == pytest.approx(direct(inside, (1.0, 1.0, 1.0), sides), rel=1e-6)


def test_a_staircase_of_pores_one_voxel_wide():
    stairs = np.zeros((6, 8, 3), bool)
    for z in range(6):
        stairs[z, z : z + 2, 1] = True
    found = permeability(stairs, rtol=1e-6)
    assert found.permeability_um2 == pytest.approx(direct(stairs, (1.0, 1.0, 1.0), "no-slip"), rel=1e-6)


def test_another_matrix_is_noticed():
    pores = random_pores(0, (8, 8, 8))
    found = permeability(pores, rtol=1e-6).permeability_um2
    for other in ("symmetric", "periodic"):
        wrong = direct(percolating(pores, other), (1.0, 1.0, 1.0), other)
        assert abs(found / wrong - 1) > 1e-3


def test_minres_takes_over_where_positivity_is_lost(monkeypatch):
    pores = random_pores(5, (10, 10, 10))
    want = direct(percolating(pores, "no-slip"), (1.0, 1.0, 1.0), "no-slip")
    plain = permeability(pores, rtol=1e-6)
    assert plain.method == "Bramble-Pasciak CG"
    original = module.bramble_pasciak
    states = []

    def too_small(system, rtol, **settings):
        states.append(original(system, rtol, gamma=0.4, **settings))
        return states[-1]

    monkeypatch.setattr(module, "bramble_pasciak", too_small)
    found = permeability(pores, rtol=1e-6, fields=True)
    assert states[0].status == "lost positivity"
    assert found.method == "MINRES"
    assert found.status == "converged"
    assert found.permeability_um2 == pytest.approx(want, rel=1e-6)
    np.testing.assert_allclose(
        found.velocity, permeability(pores, rtol=1e-6, fields=True).velocity, atol=2e-3 * found.velocity.max()
    )
