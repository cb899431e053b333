"""Representative volumes in a study: what the windows at hand give, for any blocks, and nothing done twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from stores import write_study

import mgsflow
from mgsflow.measures import measure
from mgsflow.phantoms import cathode, write_tiff_stack
from mgsflow.pipeline import Capacity, run
from mgsflow.pipeline.analyses.rve import rve_groups, rve_steps
from mgsflow.pipeline.planning.capacity import check_fits
from mgsflow.pipeline.run_step import execute
from mgsflow.recipe import load
from mgsflow.store import Study
from mgsflow.transport.permeability import permeability
from mgsflow.transport.tortuosity import tortuosity_factor

STEPS = """\
    segment: {thresholds: [23100, 32500]}
    measures: [volume, surface, tpb]
    tortuosity: {phases: [pore, sulfur], axes: [z]}
    permeability: {phase: pore, axes: [x]}
    rve: {sizes: [8, 12, 20], placement: nested, measures: [volume, surface, tpb], solve: [tortuosity, permeability]}
"""


SHAPES = {"c0": (36, 30, 33), "c1": (28, 24, 31)}


def run_specimen(path: Path, **ways: Any) -> tuple[int, Any]:
    """Carry out the steps of the study, and return how many blocks were done and what was found."""
    recipe = load(path)
    specimen = Study.open(path.with_suffix(".zarr"), mode="r+")["cathode"]
    part = recipe.specimens["cathode"]
    done = 0
    for scan in part.scans:
        key = specimen.ledger("segment", scan.name).key
        for step in rve_steps(specimen, part, scan.name, key):
            done += execute(step, threads=2, **ways)
    return done, rve_groups(specimen, part)["rve"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a study that has been carried out, in blocks that fit neither scans nor windows."""
    folder = tmp_path_factory.mktemp("rve")
    for cycle, (name, shape) in enumerate(SHAPES.items()):
        write_tiff_stack(cathode(shape, cycle=cycle, seed=1).image, folder / name)
    path = write_study(folder, folder, STEPS, [20, 64, 23])
    run(path, threads=2)
    return path


@pytest.fixture(scope="module")
def once(study: Path) -> Any:
    """Return what the study found."""
    return run_specimen(study)[1]


def phases_of(path: Path, scan: str) -> np.ndarray:
    whole = mgsflow.open(path.with_suffix(".zarr"))["cathode/scale0"].ds.sel(scan=scan)
    z, y, x = (int(n) for n in whole.extent)
    return np.asarray(whole.phase[:z, :y, :x])


def test_windows_are_those_of_the_cropped_phases(study, once):
    path, found = study, once
    names = ["pore", "CBD", "sulfur"]
    for scan in ("c0", "c1"):
        phases, in_driver = phases_of(path, scan), found.sel(scan=scan)
        for i, size in enumerate((8, 12, 20)):
            start = [(n - size) // 2 for n in phases.shape]
            assert in_driver.origin[i, 0].values.tolist() == start
            crop = phases[tuple(slice(a, a + size) for a in start)]
            direct = measure(crop, ("volume", "surface", "tpb"), 0.126, phases=names)
            for name in ("volume_fraction", "surface_per_total_volume", "tpb_edge_density", "tpb_density"):
                np.testing.assert_array_equal(in_driver[name][i, 0].values, direct[name].values)
            for label, name in ((0, "pore"), (2, "sulfur")):
                one = tortuosity_factor(crop, {label: 1.0}, "z", 0.126)
                at = in_driver.isel(size=i, window=0).sel(phase=name, axis="z")
                assert at.tortuosity_status == one.status
                if one.status == "converged":
                    assert float(at.tortuosity_factor) == pytest.approx(one.tortuosity_factor, rel=1e-6)
                else:  # a status, not a number
                    assert np.isnan(at.tortuosity_factor)
                    assert np.isnan(at.effective_diffusivity)
            flow, at = permeability(crop, 0, "x", 0.126), in_driver.isel(size=i, window=0).sel(axis="x")
            assert at.permeability_status == flow.status
            if flow.status == "converged":
                assert float(at.permeability) == pytest.approx(flow.permeability_um2, rel=1e-6)
        assert float(in_driver.volume_share[2]) == pytest.approx(20**3 / phases.size)
    assert found.volume.values.tolist() == pytest.approx([s**3 * 0.126**3 for s in (8, 12, 20)])
    assert (found.tortuosity_status.sel(phase="sulfur", axis="z") == "not percolating").any()


def test_the_whole_is_that_of_metrics(study, once):
    found = once
    metrics = mgsflow.open(study.with_suffix(".zarr"))["cathode/metrics"].ds
    for name in ("volume_fraction", "surface_per_total_volume"):
        np.testing.assert_array_equal(found[f"{name}_whole"], metrics[name])
        assert found[name].attrs["units"] == metrics[name].attrs["units"]
    np.testing.assert_array_equal(
        found.tortuosity_factor_whole.sel(phase="pore", axis="z"),
        metrics.tortuosity_factor.sel(phase="pore", axis="z"),
    )


def test_several_windows_of_a_size_and_none_where_it_does_not_fit(study):
    text = study.read_text()
    # a measure that the study does not take of its phases: the whole scan is counted too
    tiled = text.replace("nested, measures: [volume,", "nested, measures: [curvature, volume,")
    tiled = tiled.replace("placement: nested", "placement: tiled, windows: 3").replace("[8, 12, 20]", "[8, 26]")
    study.write_text(tiled.replace(", solve: [tortuosity, permeability]", ""))
    try:
        _, found = run_specimen(study)
    finally:
        study.write_text(text)
    # one cube of 26 fits in (36, 30, 33), and none in (28, 24, 31)
    assert found.windows.values.tolist() == [[3, 1], [3, 0]]
    for scan in ("c0", "c1"):
        phases, in_driver = phases_of(study, scan), found.sel(scan=scan)
        for i, size in enumerate((8, 26)):
            for w in range(int(in_driver.windows[i])):
                crop = phases[tuple(slice(a, a + size) for a in in_driver.origin[i, w].values)]
                direct = measure(crop, ("volume", "tpb"), 0.126, phases=["pore", "CBD", "sulfur"])
                for name in ("volume_fraction", "tpb_density"):
                    np.testing.assert_array_equal(in_driver[name][i, w].values, direct[name].values)
            assert np.isnan(in_driver.volume_fraction[i, int(in_driver.windows[i]) :]).all()
            assert (in_driver.origin[i, int(in_driver.windows[i]) :] == -1).all()
        whole = measure(phases, ("tpb", "curvature"), 0.126, phases=["pore", "CBD", "sulfur"])
        np.testing.assert_array_equal(in_driver.tpb_density_whole, whole.tpb_density)
        volume = phases.size * (0.126 * 0.126 * 0.126)
        np.testing.assert_array_equal(in_driver.euler_number_per_total_volume_whole, whole.euler_number / volume)
    assert np.isnan(found.volume_fraction_mean.sel(scan="c1", size=26)).all()


@pytest.mark.slow
def test_nothing_is_done_twice_and_what_is_new_is(study):
    path = study
    run_specimen(path)
    assert run_specimen(path)[0] == 0
    text = path.read_text()
    parts = zarr.open_group(path.with_suffix(".zarr"), path="cathode/parts/rve/0", mode="r")
    before = {n: (a.store_path.path, _mtime(path, a)) for n, a in parts.arrays() if "@" in n}
    path.write_text(text.replace("[8, 12, 20]", "[8, 12, 16, 20]"))

    def stop(step: str, label: str, done: int, total: int) -> None:
        if step == "rve_solves" and done > 1:
            raise InterruptedError

    try:
        with pytest.raises(InterruptedError):
            run_specimen(path, progress=stop)
        done, found = run_specimen(path)
        assert 0 < done < 2 * (3 * 4 + 4 + 2)  # solves, windows and blocks of two scans
        assert (found.tortuosity_status.sel(size=16, phase="pore", axis="z") != "").all()
        after = {n: (a.store_path.path, _mtime(path, a)) for n, a in parts.arrays() if "@" in n}
        assert set(after) > set(before)
        assert before.items() <= after.items()  # solves that were there stay as they were
    finally:
        path.write_text(text)


def _mtime(path: Path, array: Any) -> int:
    return (path.with_suffix(".zarr") / array.path / "zarr.json").stat().st_mtime_ns


def test_steps_say_what_memory_they_need(study):
    path = study
    recipe = load(path).specimens["cathode"]
    specimen = Study.open(path.with_suffix(".zarr"), mode="r+")["cathode"]
    steps = {s.name: s for s in rve_steps(specimen, recipe, "c0", "")}
    assert list(steps) == ["rve_pieces", "rve_windows", "rve_solves"]
    assert len(steps["rve_solves"].work.grid) == 3 * 3
    assert steps["rve_solves"].work.memory() > 70 * 20**3
    for step in steps.values():
        assert check_fits(step, Capacity(1, 1, 2**30)) > step.work.memory()
