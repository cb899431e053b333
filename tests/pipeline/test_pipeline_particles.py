"""Particles in a study: those of the functions at hand, for any blocks, and after any stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import differences, write_study

import mgsflow
from mgsflow.particle_analysis.from_labels import particles
from mgsflow.particle_analysis.watershed.separate import separate
from mgsflow.pipeline import Capacity, plan, run
from mgsflow.recipe import load

STEPS = """\
    filter: [gaussian: {sigma: 0.6}]
    segment: {thresholds: [23100, 32500]}
    measures: [volume]
    particles: {phase: sulfur, persistence: 0.5, min_voxels: 10}
"""
RESULTS = ("cathode/scale0", "cathode/metrics", "cathode/particles")


@pytest.fixture(scope="module")
def study(small_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that carries the study out with blocks of one shape, once."""
    folder = tmp_path_factory.mktemp("particles")

    def store(block: Any) -> Path:
        path = write_study(folder, small_scans, STEPS, block, name=f"study{block}".replace(" ", ""))
        if not path.with_suffix(".zarr").exists():
            run(path, threads=2)
        return path.with_suffix(".zarr")

    return store


def results_differ(a: Path, b: Path) -> list[str]:
    return [d for group in RESULTS for d in differences(a, b, group)]


def test_ids_and_table_are_those_of_the_phase_at_hand(study):
    tree = mgsflow.open(study(256))
    rows = tree["cathode/particles"].ds
    for scan in ("c0", "c1"):
        whole = tree["cathode/scale0"].ds.sel(scan=scan)
        z, y, x = (int(n) for n in whole.extent)
        inside = (slice(z), slice(y), slice(x))
        labels, found = separate(np.asarray(whole.phase[inside]) == 2, 0.5, min_voxels=10)
        np.testing.assert_array_equal(whole.particle[inside], labels)
        assert found.count > 20
        table = particles(labels, np.asarray(whole.filtered[inside]), 0.126)
        ours = rows.sel(particle=rows.scan == scan)
        np.testing.assert_array_equal(ours.id, table.ids)
        for name in ("volume", "surface_area", "sphericity", "centroid", "grey_mean", "spans", "semi_axis"):
            np.testing.assert_array_equal(ours[name], table[name], err_msg=name)
        np.testing.assert_allclose(ours.inscribed_radius, found.depth * 0.126)
        assert int(tree["cathode/metrics"].ds.particle_count.sel(scan=scan)) == found.count


@pytest.mark.slow
@pytest.mark.parametrize("block", [[40, 60, 40]], ids=str)
def test_blocks_do_not_matter(study, block):
    # arrays of a scale are the same, whatever the shards
    assert results_differ(study(256), study(block)) == []


class StopError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 6])
def test_a_run_that_is_stopped_ends_with_the_same(study, small_scans, tmp_path, after):
    path = write_study(tmp_path, small_scans, STEPS, 48)
    count = 0

    def stop(step: str, label: str, done: int, total: int) -> None:
        nonlocal count
        count += step.startswith("particle") and done == total
        if count == after:
            raise StopError

    with pytest.raises(StopError):
        run(path, threads=2, progress=stop)
    run(path, threads=2)
    assert results_differ(study(256), path.with_suffix(".zarr")) == []


@pytest.mark.slow
def test_nothing_is_done_twice_and_nothing_is_left_behind(study):
    store = study([40, 60, 40])
    assert run(store.with_suffix(".yaml"), threads=2).blocks == 0
    assert not [p for p in (store / "cathode/scratch").rglob("*") if p.is_dir() and p.name not in "01"]


@pytest.mark.slow
def test_another_persistence_gives_other_particles(small_scans, tmp_path):
    path = write_study(tmp_path, small_scans, STEPS, 48)
    run(path, threads=2)
    before = mgsflow.open(path.with_suffix(".zarr"))["cathode/metrics"].ds.particle_count.values
    path.write_text(path.read_text().replace("persistence: 0.5", "persistence: 0"))
    run(path, threads=2)
    after = mgsflow.open(path.with_suffix(".zarr"))["cathode/metrics"].ds.particle_count.values
    assert (after > before).all()
    ids = mgsflow.open(path.with_suffix(".zarr"))["cathode/scale0"].ds.particle.max(("z", "y", "x")).values
    np.testing.assert_array_equal(ids, after)


@pytest.mark.slow
def test_a_phase_that_is_not_there_has_an_empty_table(small_scans, tmp_path):
    path = write_study(tmp_path, small_scans, STEPS.replace("32500]", "65535]"), 256)
    run(path, threads=2)
    tree = mgsflow.open(path.with_suffix(".zarr"))
    assert tree["cathode/particles"].ds.sizes["particle"] == 0
    assert (tree["cathode/metrics"].ds.particle_count == 0).all()


def test_a_plan_has_its_steps_and_its_disk(study):
    lines = [line for line in plan(load(study(256).with_suffix(".yaml")), Capacity(1, 1, 4 * 2**30)).lines]
    ours = {line.step: line for line in lines if line.step.startswith("particle") and line.scan == "cathode/c0"}
    assert list(ours) == [
        "particle_basins", "particle_offsets", "particle_seams", "particle_merge", "particle", "particle_sums",
        "particle_table",
    ]  # fmt: skip
    voxels = np.prod(ours["particle"].shape)
    assert ours["particle"].disk == 4 * voxels
    assert ours["particle_basins"].disk > 0
