"""Transport in a study: the numbers of the functions at hand, for any blocks, and no solve twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from stores import write_study

import mgsflow
from mgsflow.cli.progress import bars
from mgsflow.errors import DoesNotFit, RecipeError
from mgsflow.pipeline import Capacity, plan, run
from mgsflow.pipeline.solves.fields import _binned, outputs
from mgsflow.pipeline.solves.problem import Solve
from mgsflow.pipeline.solves.transport import Diffusion, Flow, flux_groups
from mgsflow.pipeline.step import Solving
from mgsflow.recipe import load
from mgsflow.store import Study
from mgsflow.transport.permeability import permeability
from mgsflow.transport.streamlines.trace import streamlines
from mgsflow.transport.tortuosity import tortuosity_factor

STEPS = """\
    segment: {thresholds: [23100, 32500]}
    tortuosity: {phases: [pore, CBD], axes: [z, x]}
    permeability: {phase: pore, axes: [y], pressure: [130e3, 100e3], viscosity: 2e-3, streamlines: 20}
"""


@pytest.fixture(scope="module")
def study(small_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that carries the study out with blocks of one shape, once."""
    folder = tmp_path_factory.mktemp("solves")

    def store(block: Any) -> Path:
        path = write_study(folder, small_scans, STEPS, block, name=f"study{block}".replace(" ", ""))
        if not path.with_suffix(".zarr").exists():
            run(path, threads=2)
        return path.with_suffix(".zarr")

    return store


def test_numbers_are_those_of_the_phases_at_hand(study):
    tree = mgsflow.open(study(64))
    metrics = tree["cathode/metrics"].ds
    for scan in ("c0", "c1"):
        whole = tree["cathode/scale0"].ds.sel(scan=scan)
        z, y, x = (int(n) for n in whole.extent)
        phase = np.asarray(whole.phase[:z, :y, :x])
        in_driver = metrics.sel(scan=scan)
        for name, label in (("pore", 0), ("CBD", 1)):
            for axis in "zx":
                found, at = tortuosity_factor(phase, {label: 1.0}, axis, 0.126), in_driver.sel(phase=name, axis=axis)
                assert at.tortuosity_status == found.status
                assert float(at.tortuosity_factor) == pytest.approx(found.tortuosity_factor, rel=1e-6)
                assert float(at.percolating_fraction) == pytest.approx(found.percolating_fraction)
        k = permeability(phase, 0, "y", 0.126)
        at = in_driver.sel(axis="y")
        assert at.permeability_status == k.status
        assert float(at.permeability) == pytest.approx(k.permeability_um2, rel=1e-6)
        # Q = K A Δp / (μ L)
        flow = k.permeability_um2 * 1e-12 * (z * x / y) * 0.126e-6 * 30e3 / 2e-3
        assert float(at.flow_rate) == pytest.approx(flow, rel=1e-6)


def test_what_was_not_asked_for_is_missing(study):
    metrics = mgsflow.open(study(64))["cathode/metrics"].ds
    assert np.isnan(metrics.tortuosity_factor.sel(phase="sulfur")).all()
    assert np.isnan(metrics.tortuosity_factor.sel(axis="y")).all()
    assert (metrics.tortuosity_status.sel(axis="y") == "").all()
    assert np.isnan(metrics.permeability.sel(axis=["z", "x"])).all()
    assert metrics.permeability.attrs["units"] == "µm²"


@pytest.mark.slow
def test_blocks_do_not_matter(study):
    one, other = (mgsflow.open(study(b))["cathode/metrics"].ds for b in (64, [24, 60, 40]))
    for name in ("tortuosity_factor", "permeability", "percolating_fraction", "flow_rate"):
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.slow
def test_nothing_is_solved_twice_and_what_is_new_is(study):
    store = study(64)
    path = store.with_suffix(".yaml")
    assert run(path, threads=2).blocks == 0
    text = path.read_text()
    path.write_text(text.replace("axes: [y]", "axes: [y, z]"))
    try:
        assert run(path, threads=2).blocks == 2  # one a scan
        assert np.isfinite(mgsflow.open(store)["cathode/metrics"].ds.permeability.sel(axis="z")).all()
    finally:
        path.write_text(text)
        run(path, threads=2)


def test_streamlines_are_those_of_the_velocity_at_hand(study):
    store = study(64)
    kept = mgsflow.open(store)["cathode/streamlines"].ds
    assert list(np.unique(kept.line_axis.values)) == ["y"]
    assert kept.sizes["lines"] == 40
    velocity = permeability(_phase(store, "c0"), 0, "y", 0.126, fields=True).velocity
    known = streamlines(velocity, "y", 0.126, 20, "no-slip")
    of_first = kept.line.values < 20
    assert (kept.line_scan[:20] == "c0").all()
    np.testing.assert_allclose(kept.position.values[of_first], known.position, atol=1e-3)
    np.testing.assert_allclose(kept.time.values[of_first], known.time, rtol=1e-3)


FLOW = """\
    segment: {thresholds: [23100, 32500]}
    permeability: {phase: [pore, CBD], axes: [z], streamlines: 5}
"""


@pytest.mark.slow
@pytest.mark.slow
def test_flow_that_fits_on_no_worker_is_solved_by_all_of_them(small_scans, tmp_path, two_workers, monkeypatch):
    single = write_study(tmp_path, small_scans, FLOW, 64, name="single")
    run(single, threads=2)
    monkeypatch.setattr(Flow, "memory", lambda self, shape: 2**50)
    shared = write_study(tmp_path, small_scans, FLOW, 64, name="shared")
    seen = Seen()
    run(shared, two_workers, seen)
    one, other = (mgsflow.open(p.with_suffix(".zarr"))["cathode"] for p in (single, shared))
    k, alike = (s["metrics"].ds.permeability.sel(axis="z") for s in (one, other))
    assert np.isfinite(k).all()
    np.testing.assert_allclose(alike, k, rtol=1e-4)
    assert seen.errors[-1] <= 1e-3
    assert "streamlines" in one.children
    assert "streamlines" not in other.children  # nobody held the velocity
    assert not list(tmp_path.glob(".*.checkpoints"))


def test_a_plan_has_every_solve_and_its_memory(study):
    recipe = load(study(64).with_suffix(".yaml"))
    lines = {(line.step, line.scan): line for line in plan(recipe, Capacity(1, 1, 4 * 2**30)).lines}
    shape = lines["tortuosity_0_z", "cathode/c0"].shape
    assert lines["tortuosity_1_x", "cathode/c1"].blocks == 1
    assert lines["permeability_0_y", "cathode/c0"].peak > 100 * np.prod(shape)
    problems = plan(recipe, Capacity(1, 1, 300 * 2**20)).problems
    assert any("permeability_0_y" in p for p in problems)


FIELDS = """\
    segment: {thresholds: [23100, 32500]}
    tortuosity: {phases: [pore], axes: [z, x], fields: [concentration, flux]}
"""


@pytest.fixture(scope="module")
def fields(small_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study with fields, carried out in memory."""
    path = write_study(tmp_path_factory.mktemp("fields"), small_scans, FIELDS, 64)
    run(path, threads=2)
    return path


def _recipe_and_specimen(path: Path) -> tuple[Any, Any]:
    recipe = load(path)
    return recipe.specimens["cathode"], Study.open(recipe.store)["cathode"]


def _phase(store: Path, scan: str) -> np.ndarray:
    whole = mgsflow.open(store)["cathode/scale0"].ds.sel(scan=scan)
    z, y, x = (int(n) for n in whole.extent)
    return np.asarray(whole.phase[:z, :y, :x])


def test_fields_and_maps_are_those_of_the_phases_at_hand(fields: Path) -> None:
    store = fields.with_suffix(".zarr")
    recipe, specimen = _recipe_and_specimen(fields)
    (maps,) = flux_groups(specimen, recipe).values()
    arrays = mgsflow.open(store)["cathode/scale0"].ds
    for scan in ("c0", "c1"):
        phase = _phase(store, scan)
        inside = {n: slice(0, k) for n, k in zip("zyx", phase.shape)}
        for axis in "zx":
            known = tortuosity_factor(phase, {0: 1.0}, axis, 0.126, field=True)
            kept = arrays[f"concentration_pore_{axis}"].sel(scan=scan).isel(**inside)
            np.testing.assert_allclose(kept, known.concentration, atol=1e-6)
            density = arrays[f"flux_pore_{axis}"].sel(scan=scan).isel(**inside)
            np.testing.assert_allclose(density, known.flux_density, atol=1e-4)
            for along in "zyx":
                seen = maps[f"flux_along_{along}"].sel(scan=scan, phase="pore", axis=axis)
                rows, columns = known.flux_map(along).shape
                np.testing.assert_allclose(seen[:rows, :columns], known.flux_map(along), rtol=1e-3, atol=1e-4)
                assert np.isnan(seen[rows:]).all()
    assert arrays.flux_pore_z.attrs["units"] == "1"


def test_maps_are_means_of_pixels() -> None:
    values = np.arange(7 * 5, dtype=np.float32).reshape(7, 5)
    small = _binned(values, (3, 2))
    assert small.shape == (3, 3)
    assert small[0, 0] == values[:3, :2].mean()
    assert small[2, 2] == values[6, 4]
    assert small[1, 2] == values[3:6, 4].mean()


class Seen:
    """A progress that shows errors."""

    def __init__(self, stop: int | None = None) -> None:
        self.errors: list[float] = []
        self.stop = stop

    def __call__(self, step: str, label: str, done: int, total: int) -> None:
        if isinstance(step, Solving):
            self.errors.append(step.error)
            if len(self.errors) == self.stop:
                raise KeyboardInterrupt


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no worker have room for a whole solve: the images of tests are small."""
    monkeypatch.setattr(Diffusion, "memory", lambda self, shape: 2**50)


@pytest.mark.slow
@pytest.mark.slow
def test_what_fits_on_no_worker_is_solved_by_all_of_them(fields, small_scans, tmp_path, two_workers, crowded):
    path = write_study(tmp_path, small_scans, FIELDS, 64)
    seen = Seen()
    summary = run(path, two_workers, seen)
    assert summary.blocks > 0
    one, other = (mgsflow.open(p.with_suffix(".zarr"))["cathode"] for p in (fields, path))
    for name in ("tortuosity_factor", "effective_diffusivity"):
        np.testing.assert_allclose(other["metrics"].ds[name], one["metrics"].ds[name], rtol=1e-3)
    np.testing.assert_array_equal(other["metrics"].ds.percolating_fraction, one["metrics"].ds.percolating_fraction)
    assert (other["metrics"].ds.tortuosity_status.sel(phase="pore", axis=["z", "x"]) == "converged").all()
    for name in ("concentration_pore_z", "concentration_pore_x"):
        np.testing.assert_allclose(other["scale0"].ds[name], one["scale0"].ds[name], atol=0.02)
    maps = [next(iter(flux_groups(*reversed(_recipe_and_specimen(p))).values())) for p in (fields, path)]
    for name in maps[0].data_vars:
        np.testing.assert_allclose(maps[1][name], maps[0][name], atol=0.02)
    assert seen.errors
    assert seen.errors[-1] <= 1e-3
    assert not list(tmp_path.glob(".*.checkpoints"))
    assert run(path, two_workers).blocks == 0


@pytest.mark.slow
def test_a_solve_that_was_interrupted_goes_on(small_scans, tmp_path, crowded, monkeypatch):
    monkeypatch.setattr("mgsflow.pipeline.solves.problem.CHECKPOINT_INTERVAL", 0.0)
    text = FIELDS.replace("axes: [z, x], fields: [concentration, flux]", "axes: [z], rtol: 1e-6")
    path = write_study(tmp_path, small_scans, text, 64)
    with pytest.raises(KeyboardInterrupt):
        run(path, threads=2, progress=Seen(stop=4))
    assert list(tmp_path.glob(".*.checkpoints/cathode/c0/tortuosity_0_z/*/*/manifest.json"))
    again = Seen()
    run(path, threads=2, progress=again)
    phase = _phase(path.with_suffix(".zarr"), "c0")
    known = tortuosity_factor(phase, {0: 1.0}, "z", 0.126, rtol=1e-8).tortuosity_factor
    in_driver = mgsflow.open(path.with_suffix(".zarr"))["cathode/metrics"].ds.sel(scan="c0", phase="pore", axis="z")
    assert float(in_driver.tortuosity_factor) == pytest.approx(known, rel=2e-6)
    assert float(in_driver.tortuosity_iterations) > 3
    assert not list(tmp_path.glob(".*.checkpoints"))


def test_a_plan_of_shared_solves(fields: Path, crowded: None) -> None:
    @dataclass(frozen=True)
    class Large:
        shape = (1200, 1100, 1000)
        dtype = np.dtype(np.uint8)

        def scratch(self, shape: Any) -> int:
            return 10**6

        def read(self, box: Any) -> Any:
            raise AssertionError("a plan reads nothing")

    room = Capacity(2, 1, 2**30)
    problem = Diffusion(0, "z", (0.126,) * 3, 1e-3, "no-flux")
    _, specimen = _recipe_and_specimen(fields)
    left = outputs(specimen, "c0", "tortuosity_0_z", [], "pore_z")
    work = Solve(Large(), problem, left)
    needed = work.share(room)
    assert needed.together
    assert room.base < needed.peak <= room.usable
    assert needed.scratch > 8 * np.prod(Large.shape)
    assert replace(work, problem=replace(problem, sides="periodic")).share(room) is None
    with pytest.raises(DoesNotFit, match="smaller blocks"):
        work.share(Capacity(2, 1, 330 * 2**20))
    lines = {line.step: line for line in plan(load(fields), Capacity(2, 1, 2**30)).lines}
    line = lines["tortuosity_0_z"]
    assert line.peak <= 0.9 * 2**30
    assert line.disk >= 8 * np.prod(line.shape)
    tight = plan(load(fields), Capacity(2, 1, 300 * 2**20))
    assert any("tortuosity_0_z" in p for p in tight.problems)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_shows_how_the_error_falls(terminal: bool) -> None:
    text = StringIO()
    with bars(Console(file=text, force_terminal=terminal, width=200)) as report:
        report("tortuosity_0_z", "cathode/c0", 0, 1)
        report(Solving("tortuosity_0_z", 3, 2e-3, 1e-3), "cathode/c0", 0, 1)
        assert terminal or "1 of 1" not in text.getvalue()
        report("tortuosity_0_z", "cathode/c0", 1, 1)
    assert "iteration 3: error 2.0e-03, 1e-03 wanted" in text.getvalue()
    assert Solving("tortuosity_0_z", 3, 2e-3, 1e-3) == "tortuosity_0_z"


def test_a_field_that_is_none_is_said(fields: Path, tmp_path: Path) -> None:
    text = fields.read_text().replace("fields: [concentration, flux]", "fields: [speed]")
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="must be concentration or flux, got 'speed'"):
        load(path)
    assert load(fields).specimens["cathode"].tortuosity.fields == ("concentration", "flux")
