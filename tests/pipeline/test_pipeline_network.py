"""Pore networks in a study: those of the function at hand, for any blocks, on threads and on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from networks import noise, same
from stores import write_study
from traced import traced_peak

import mgsflow
from mgsflow.blocks import Grid
from mgsflow.compute import MemoryParts, indices
from mgsflow.errors import InputError, RecipeError
from mgsflow.labelling.arrays import ArraySink, ArraySource, PhaseMask
from mgsflow.labelling.distance.certified import DistanceSource
from mgsflow.labelling.relabel import Relabel
from mgsflow.network import ThroatSums, local_porosity, pore_network, solve
from mgsflow.particle_analysis.sums import ParticleSums
from mgsflow.particle_analysis.watershed.basins import BasinLabels, FindBasins
from mgsflow.particle_analysis.watershed.separate import merge_blocks
from mgsflow.pipeline import run
from mgsflow.pipeline.analyses.network import MakeNetwork, network_groups, network_metrics, network_steps, read_network
from mgsflow.pipeline.run_step import execute
from mgsflow.recipe import Recipe, load
from mgsflow.store import Specimen, Study

STEPS = """\
    filter: [gaussian: {sigma: 0.6}]
    segment: {thresholds: [23100, 32500]}
    measures: [volume]
    network: {phase: pore, persistence: 0.4, cube: 12}
"""


def carried_out(path: Path, client: Any = None) -> tuple[Specimen, Recipe]:
    """Carry out a study, and return where its networks are."""
    recipe = load(path)
    run(recipe, client, threads=2)
    return Study.open(recipe.store, mode="r+")["cathode"], recipe


@pytest.fixture(scope="module")
def whole(small_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Specimen, Recipe]:
    """The study in one block a scan."""
    return carried_out(write_study(tmp_path_factory.mktemp("network"), small_scans, STEPS, 256))


def test_networks_are_those_of_the_phase_at_hand(whole):
    specimen, recipe = whole
    metrics = network_metrics(specimen, recipe.specimens["cathode"])
    groups = network_groups(specimen, recipe.specimens["cathode"])
    assert set(groups) == {"pores", "throats", "local_porosity"}
    for scan in specimen.scans:
        inside = tuple(slice(n) for n in scan.shape)
        phase = xr.open_zarr(specimen.store, group="cathode/scale0", consolidated=False).phase
        open_ = np.asarray(phase.sel(scan=scan.name)[inside]) == 0
        network = pore_network(open_, voxel_size=0.126, persistence=0.4)
        assert network.count > 20
        same(network, read_network(specimen, scan.name))
        row = metrics.sel(scan=scan.name)
        assert int(row.pore_count) == network.count
        assert float(row.mean_coordination) == network.mean_coordination
        assert float(row.mean_throat_radius) == network.throats["radius"].mean()
        for axis in "zyx":
            found = solve(network, axis)
            assert str(row.network_status.sel(axis=axis).values) == found.status
            assert float(row.network_tortuosity_factor.sel(axis=axis)) == found.tortuosity_factor
            assert float(row.network_permeability.sel(axis=axis)) == found.permeability
            cones = solve(network, axis, "cones")
            assert float(row.network_permeability_cones.sel(axis=axis)) == cones.permeability
        pores, throats = (groups[g].isel({d: groups[g].scan == scan.name}) for g, d in TABLES)
        np.testing.assert_array_equal(pores.id, network.pores["id"])
        np.testing.assert_array_equal(pores.centre, network.pores["centre"])
        assert set(pores.state.values) == {scan.state}
        np.testing.assert_array_equal(throats.pore_b, network.throats["pore_b"])
        found_map = local_porosity(open_, voxel_size=0.126, edge=12)
        ours = groups["local_porosity"].local_porosity.sel(scan=scan.name).values
        n = found_map.shape
        np.testing.assert_array_equal(ours[: n[0], : n[1], : n[2]], found_map)
        assert np.isfinite(ours).sum() == found_map.size
    assert metrics.pore_count.attrs["units"] == "1"


TABLES = (("pores", "pore"), ("throats", "throat"))


def test_nothing_is_done_twice_and_nothing_is_left_behind(whole):
    specimen, recipe = whole
    for scan in specimen.scans:
        key = specimen.ledger("segment", scan.name).key or ""
        assert [execute(s) for s in network_steps(specimen, recipe.specimens["cathode"], scan.name, key)] == [0]
    assert not list((Path(specimen.store) / "cathode/scratch").glob("region*"))


def test_a_study_holds_them(whole):
    specimen, recipe = whole
    tree = mgsflow.open(specimen.store)
    for name, data in network_groups(specimen, recipe.specimens["cathode"]).items():
        stored = tree[f"cathode/{name}"].to_dataset().load()
        added = {"cycle", "state"} - set(data.coords)  # of the scans, beside what the network has
        xr.testing.assert_equal(stored.drop_vars(added), data.load())
    metrics = tree["cathode/metrics"].ds
    np.testing.assert_array_equal(
        metrics.network_permeability.sel(scan="c1"),
        [solve(read_network(specimen, "c1"), axis).permeability for axis in "zyx"],
    )
    assert list(metrics.pore_count.sel(scan=["c0", "c1"]).cycle.values) == [0, 1]


@pytest.mark.slow
def test_a_phase_that_is_not_there_has_no_network_and_says_so(small_scans, tmp_path):
    steps = STEPS.replace("[23100, 32500]", "[0, 32500]").replace("gaussian: {sigma: 0.6}", "gaussian: {sigma: 0.5}")
    specimen, recipe = carried_out(write_study(tmp_path, small_scans, steps, 256))
    metrics = network_metrics(specimen, recipe.specimens["cathode"])
    assert (metrics.pore_count == 0).all()
    assert (metrics.network_status == "nothing conducts").all()
    assert np.isinf(metrics.network_tortuosity_factor).all()
    assert np.isnan(metrics.mean_throat_radius).all()
    groups = network_groups(specimen, recipe.specimens["cathode"])
    assert (groups["pores"].sizes["pore"], groups["throats"].sizes["throat"]) == (0, 0)
    assert float(groups["local_porosity"].local_porosity.max()) == 0


def test_voxels_that_are_not_cubes_are_refused(small_scans, tmp_path):
    path = write_study(tmp_path, small_scans, STEPS, 256)
    path.write_text(path.read_text().replace("voxel_size: 0.126", "voxel_size: [0.2, 0.126, 0.126]"))
    with pytest.raises(InputError, match="cubes"):
        carried_out(path)


def test_the_memory_of_many_pores_is_what_is_said():
    mask = noise((44, 44, 44), 0.7, 0, sigma=0.7)
    grid, parts, kept = Grid.regular(mask.shape, 24), MemoryParts(), MemoryParts()
    distance = DistanceSource(PhaseMask(ArraySource(mask)))
    ids = np.zeros(mask.shape, np.uint32)

    def each(function: Any, blocks: Grid) -> None:
        for index in indices(blocks):
            function(index)

    each(FindBasins(distance, grid, parts).run, grid)
    _, found = merge_blocks(grid, parts, 0, False, 0, each)
    parts.write((0, 0, 0), "depth", found.depth)
    each(Relabel(BasinLabels(grid, parts), parts, grid, ArraySink(ids), ids.dtype).run, grid)
    sums, throats = ParticleSums(ArraySource(ids), grid, parts), ThroatSums(ArraySource(ids), distance, grid, parts)
    each(sums.run, grid)
    each(throats.run, grid)
    work = MakeNetwork(sums, throats, parts, kept, 0, (0.1, 0.1, 0.1), 10)
    work.run((0, 0, 0))
    assert found.count > 400
    tables = work.memory() - (16 << 20)  # without what is set aside for everything else
    assert traced_peak(lambda: work.run((0, 0, 0)), times=2) < tables


def test_a_share_of_a_radius_is_one(small_scans, tmp_path):
    steps = STEPS.replace("persistence: 0.4", "persistence: 3, relative: true")
    with pytest.raises(RecipeError, match=r"network.*persistence.*share of a radius"):
        load(write_study(tmp_path, small_scans, steps, 256))


@pytest.mark.slow
def test_blocks_do_not_matter(whole, small_scans, tmp_path):
    specimen, recipe = carried_out(write_study(tmp_path, small_scans, STEPS, [40, 60, 40]))
    compare(whole, specimen, recipe)


@pytest.mark.slow
def test_a_cluster_gives_the_same(whole, small_scans, tmp_path, two_workers):
    specimen, recipe = carried_out(write_study(tmp_path, small_scans, STEPS, 48), two_workers)
    compare(whole, specimen, recipe)


def compare(whole: tuple[Specimen, Recipe], specimen: Specimen, recipe: Recipe) -> None:
    for scan in specimen.scans:
        same(read_network(whole[0], scan.name), read_network(specimen, scan.name))
    for one, two in (
        (network_metrics(*_of(whole)), network_metrics(*_of((specimen, recipe)))),
        (network_groups(*_of(whole))["local_porosity"], network_groups(*_of((specimen, recipe)))["local_porosity"]),
    ):
        xr.testing.assert_identical(one.load(), two.load())


def _of(study: tuple[Specimen, Recipe]) -> tuple[Specimen, Any]:
    return study[0], study[1].specimens["cathode"]
