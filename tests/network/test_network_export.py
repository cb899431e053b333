"""Networks for other programs: by their readers' rules, and with the same flow."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from networks import balls, noise

from mgsflow.network import pore_network, solve, to_openpnm, write_csv, write_graphml, write_npz


@pytest.fixture(scope="module")
def network():
    return pore_network(noise((30, 26, 24), 0.5, 5), voxel_size=0.4)


def test_tables_follow_openpnm(network):
    tables = to_openpnm(network)
    assert tables["pore.coords"].shape == (network.count, 3)
    assert tables["throat.conns"].shape == (network.throat_count, 2)
    conns = tables["throat.conns"]
    assert conns.dtype.kind == "i"
    assert conns.min() >= 0
    assert conns.max() < network.count
    assert (conns[:, 0] < conns[:, 1]).all()
    for name, column in tables.items():
        assert name.split(".")[0] in ("pore", "throat")
        assert len(column) == (network.count if name.startswith("pore.") else network.throat_count), name
    # metres, x first
    np.testing.assert_allclose(tables["pore.coords"][:, 0], network.pores["centre"][:, 2] * 1e-6)
    assert 0 < tables["pore.coords"].max() < 30 * 0.4e-6
    np.testing.assert_array_equal(tables["pore.xmin"], network.pores["touches_low"][:, 2])
    np.testing.assert_array_equal(tables["pore.zmax"], network.pores["touches_high"][:, 0])


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_size_factors_give_the_same_flow(network, axis):
    tables = to_openpnm(network, boundary=True)
    n = len(tables["pore.coords"])
    assert tables["pore.boundary"].sum() == network.openings["pore"].size
    a, b = tables["throat.conns"].T
    found = solve(network, axis)
    for name, wanted in (("diffusive", found.effective_diffusivity), ("hydraulic", found.permeability * 1e-12)):
        g = tables[f"throat.{name}_size_factors"]
        matrix = np.zeros((n, n))
        for i, j, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
            np.add.at(matrix, (i, j), sign * g)
        fixed = tables[f"pore.{axis}min"] | tables[f"pore.{axis}max"]
        values = tables[f"pore.{axis}min"].astype(float)
        # pores that nothing holds are as good as absent
        potential = values.copy()
        right = -matrix[np.ix_(~fixed, fixed)] @ values[fixed]
        potential[~fixed] = np.linalg.lstsq(matrix[np.ix_(~fixed, ~fixed)] / g.max(), right / g.max(), rcond=None)[0]
        rate = (matrix @ potential)[tables[f"pore.{axis}min"]].sum()
        edges = np.array(network.shape) * network.voxel_size * 1e-6
        along = edges["zyx".index(axis)]
        assert rate * along**2 / edges.prod() == pytest.approx(wanted, rel=1e-6)


def test_csv_is_read_as_openpnm_reads_it(network, tmp_path):
    write_csv(network, tmp_path / "network.csv")
    with (tmp_path / "network.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == max(network.count, network.throat_count)
    coords = np.array([[float(r[f"pore.coords[{i}]"]) for i in range(3)] for r in rows[: network.count]])
    np.testing.assert_array_equal(coords, to_openpnm(network)["pore.coords"])
    assert rows[network.count]["pore.coords[0]"] == ""
    assert rows[0]["pore.all"] == "True"
    # its reader puts all columns together that start with the name of a vector
    names = {name.split("[")[0] for name in rows[0]}
    vectors = {name.split("[")[0] for name in rows[0] if "[" in name}
    assert not [(v, n) for v in vectors for n in names if n != v and n.startswith(v)]


def test_npz_holds_the_tables(network, tmp_path):
    write_npz(network, tmp_path / "network.npz", boundary=True)
    with np.load(tmp_path / "network.npz", allow_pickle=False) as found:
        wanted = to_openpnm(network, boundary=True)
        assert set(found.files) == set(wanted)
        for name, column in wanted.items():
            np.testing.assert_array_equal(found[name], column)


def test_graphml_is_a_graph(network, tmp_path):
    networkx = pytest.importorskip("networkx")
    write_graphml(network, tmp_path / "network.graphml")
    graph = networkx.read_graphml(tmp_path / "network.graphml")
    assert graph.number_of_nodes() == network.count
    assert graph.number_of_edges() == network.throat_count
    degrees = [graph.degree(f"n{i}") for i in network.pores["id"]]
    np.testing.assert_array_equal(degrees, network.pores["coordination"])
    volumes = [graph.nodes[f"n{i}"]["volume"] for i in network.pores["id"]]
    np.testing.assert_array_equal(volumes, network.pores["volume"])
    a, b = network.throats["pore_a"][3], network.throats["pore_b"][3]
    assert graph.edges[f"n{a}", f"n{b}"]["radius"] == network.throats["radius"][3]
    assert graph.nodes["n1"]["touches_low_z"] in (True, False)


def test_no_throats_are_no_throats(tmp_path):
    apart = pore_network(balls(10, 3.5, 2), voxel_size=1)
    write_csv(apart, tmp_path / "apart.csv")
    write_graphml(apart, tmp_path / "apart.graphml")
    nothing = pore_network(np.zeros((4, 4, 4), bool), voxel_size=1)
    write_graphml(nothing, tmp_path / "nothing.graphml")
    assert to_openpnm(nothing)["throat.conns"].shape == (0, 2)
    assert to_openpnm(apart)["throat.conns"].shape == (0, 2)
    networkx = pytest.importorskip("networkx")
    assert networkx.read_graphml(tmp_path / "apart.graphml").number_of_edges() == 0
    assert networkx.read_graphml(tmp_path / "nothing.graphml").number_of_nodes() == 0
