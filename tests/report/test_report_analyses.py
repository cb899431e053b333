"""Particles and transport in the report: numbers of the metrics, statuses in words, and nothing where nothing is."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from io import BytesIO
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers import BALLS, SHAPE, grey, write
from matplotlib.figure import Figure
from PIL import Image
from test_report import report

from mgsflow.pipeline import run
from mgsflow.recipe import load
from mgsflow.report.figures.drawing import Drawing
from mgsflow.report.figures.palette import DARK, LIGHT, PARTICLES, particle_colour
from mgsflow.report.figures.particles import particle_drawings
from mgsflow.report.figures.pictures import particle_indices, particle_picture
from mgsflow.report.figures.slices import particle_planes
from mgsflow.report.figures.transport import transport_drawings
from mgsflow.report.numbers import aligned, scaled
from mgsflow.report.sections.analyses import analysis_sentences
from mgsflow.report.sections.methods import methods
from mgsflow.report.sections.other_measures import further_tables
from mgsflow.report.sections.particles import particle_rows, particle_table
from mgsflow.report.sections.status import status
from mgsflow.report.sections.transport import (
    permeabilities,
    permeability_table,
    tortuosities,
    tortuosity_tables,
)
from mgsflow.report.state import Progress, SpecimenState, analyses, read_state, step_name
from mgsflow.report.tables import Table
from mgsflow.store import Study


def opened(store: Path) -> SpecimenState:
    return read_state(Study.open(store)).specimens[0]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(write(tmp_path_factory.mktemp("analyses")), threads=1).store


@pytest.fixture(scope="module")
def state(store: Path) -> SpecimenState:
    return opened(store)


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drawing, "png", lambda *a, **k: b"\x89PNG")
    monkeypatch.setattr(Drawing, "svg", lambda *a, **k: b"<svg/>")
    monkeypatch.setattr("mgsflow.report.scene.renderings.WIDTH", 16)
    monkeypatch.setattr("mgsflow.report.scene.renderings._LEAST", 16)


def column(table: Table, head: str, group: str = "") -> list[str]:
    """The cells under a heading, in a group if there are several of its name."""
    over = [""] * table.text + [g for g, span in table.groups for _ in range(span)]
    (i,) = [i for i, h in enumerate(table.columns) if h == head and (not group or over[i] == group)]
    return [row[i] for row in table.rows]


def changed(state: SpecimenState, **values: object) -> SpecimenState:
    """The state with numbers of pore along z in c0 replaced."""
    assert state.metrics is not None
    metrics = state.metrics.copy(deep=True)
    for name, value in values.items():
        old = metrics[name]
        where = {"scan": 0, "axis": 0} | ({"phase": 0} if "phase" in old.dims else {})
        data = old.values.astype(object) if isinstance(value, str) else old.values.copy()
        data[tuple(where.get(str(d), slice(None)) for d in old.dims)] = value
        metrics[name] = (old.dims, data, old.attrs)
    return replace(state, metrics=metrics)


class TestParticles:
    def test_rows_are_the_numbers_of_the_metrics(self, state: SpecimenState) -> None:
        full, empty = particle_rows(state)
        assert state.metrics is not None
        one = state.metrics.sel(scan="c0")
        voxels = sorted(int((sum((a - c) ** 2 for a, c in zip(np.indices(SHAPE), m)) < r * r).sum()) for m, r in BALLS)
        diameters = [(6 * n * 0.5**3 / np.pi) ** (1 / 3) for n in voxels]
        assert (full.count, full.spanning, full.counted) == (3, 0, 3)
        assert [full.d10, full.d50, full.d90] == pytest.approx(diameters)
        assert full.mean == pytest.approx(np.mean(diameters)) == float(one.equivalent_diameter_mean)
        assert full.std == pytest.approx(np.std(diameters))
        assert full.sphericity == float(one.sphericity_mean)
        assert full.volume_per_area == float(one.volume_per_area_mean)
        assert (empty.count, empty.spanning) == (0, 0)
        assert empty.d50 is empty.mean is empty.std is empty.sphericity is None

    def test_table(self, state: SpecimenState) -> None:
        table = particle_table(state)
        assert table is not None
        full, _ = particle_rows(state)
        assert column(table, "Number") == ["3", "no particles"]
        for head, value in (("D10", full.d10), ("D50", full.d50), ("D90", full.d90), ("Sphericity", full.sphericity)):
            cell, none = column(table, head)
            assert float(cell) == pytest.approx(value, rel=5e-3)
            assert none == "–"
        mean, std = column(table, "Mean ± std")[0].split(" ± ")
        assert float(mean) == pytest.approx(full.mean, rel=1e-3)
        assert float(std) == pytest.approx(full.std, rel=1e-2)
        for said in ("Particles of sulfur", "0.25 voxels", "at least 10 voxels", "left out", "by number"):
            assert said in table.caption
        assert "In distributions" not in table.columns
        assert sum(span for _, span in table.groups) == len(table.columns) - table.text

    def test_particles_that_are_left_out_are_counted(self, state: SpecimenState) -> None:
        assert state.metrics is not None
        fewer = state.metrics.assign(equivalent_diameter_count=("scan", [2, 0]))
        table = particle_table(replace(state, metrics=fewer))
        assert table is not None
        assert column(table, "In distributions") == ["2", "0"]

    def test_drawn_shares_are_those_of_the_metrics(self, state: SpecimenState) -> None:
        drawings = particle_drawings(state)
        assert [d.name.removeprefix("cathode_") for d in drawings] == [
            "equivalent_diameter",
            "volume_per_area",
            "sphericity",
        ]
        assert all([n for n, _ in d.key] == ["c0"] for d in drawings)  # c1 has none
        figure = Figure()
        drawings[0].draw(figure, LIGHT)
        (steps,) = figure.axes[0].patches
        values, edges, _ = steps.get_data()  # type: ignore[attr-defined]
        assert state.metrics is not None
        np.testing.assert_allclose(values, 100 * state.metrics["equivalent_diameter_share"].sel(scan="c0"))
        np.testing.assert_allclose(edges[:-1], state.metrics["equivalent_diameter_lower"])
        assert edges[-1] == pytest.approx(2 * BALLS[1][1] * 0.5, rel=0.1)

    def test_slice_is_that_of_the_ids(self, state: SpecimenState) -> None:
        (plane,) = particle_planes(state, state.scans[0])
        ids = state.specimen.volume("particle", "c0")
        assert plane.axis == "z"
        wanted = grey(True)[SHAPE[0] // 2] >= 40000
        assert 0 < wanted.mean() < 0.2
        np.testing.assert_array_equal(plane.pixels > 0, wanted)
        assert plane.size == pytest.approx((10.0, 14.0))
        assert ids.shape == SHAPE
        image = np.asarray(Image.open(BytesIO(particle_picture(plane))).convert("RGBA"))
        np.testing.assert_array_equal(image[..., 3] > 0, wanted)

    @given(st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=40))
    def test_colour_is_the_id_s_own(self, ids: list[int]) -> None:
        found = particle_indices(np.array([[0, *ids]], np.uint32))[0]
        assert found[0] == PARTICLES
        assert (found[1:] < PARTICLES).all()
        assert found[1:].tolist() == [int(particle_indices(np.array([[i]], np.uint32))[0, 0]) for i in ids]

    def test_colours_differ(self) -> None:
        assert len({particle_colour(i) for i in range(PARTICLES)}) == PARTICLES
        near = particle_indices(np.arange(1, 1001, dtype=np.uint32)[None])[0]
        assert (np.diff(near.astype(int)) != 0).all()
        assert np.unique(near).size > 0.9 * PARTICLES


class TestTransport:
    def test_tortuosities_are_known_ones(self, state: SpecimenState) -> None:
        pore, cbd, sulfur = tortuosity_tables(state)
        # a layer along the flow is a straight channel, and one across it is none
        assert [float(c) for c in column(pore, "z", "Tortuosity factor τ")] == pytest.approx([1, 1], abs=2e-3)
        assert column(pore, "y", "Tortuosity factor τ") == ["∞, not percolating"] * 2
        assert column(pore, "z", "Percolating, %") == ["100.00"] * 2
        assert column(pore, "y", "Percolating, %") == ["0.00"] * 2
        assert [float(c) for c in column(pore, "z", "Effective diffusivity")] == pytest.approx([0.5, 0.5], abs=1e-3)
        assert "τ of the percolating part" not in dict(pore.groups)
        assert column(sulfur, "z", "Tortuosity factor τ") == ["∞, not percolating", "nothing conducts"]
        assert not re.search(r"\d", "".join(column(sulfur, "y", "Tortuosity factor τ")))
        rows = {(r.scan, r.phase, r.axis): r for r in tortuosities(state)}
        assert state.metrics is not None
        at = state.metrics.sel(scan="c0", phase="CBD", axis="z")
        one = rows["c0", "CBD", "z"]
        assert one.factor == float(at.tortuosity_factor) > 1
        assert one.diffusivity == float(at.effective_diffusivity)
        assert one.percolating == float(at.percolating_fraction)
        assert f"at most {100 * max(r.error or 0 for r in rows.values() if r.phase == 'CBD'):.2g} %" in cbd.caption
        assert float(column(cbd, "z", "Tortuosity factor τ")[0]) == pytest.approx(one.factor, abs=5e-4)

    def test_both_factors_where_a_part_does_not_percolate(self, state: SpecimenState) -> None:
        table = tortuosity_tables(changed(state, tortuosity_factor_percolating=0.98))[0]
        assert column(table, "z", "τ of the percolating part")[0] == "0.9800"
        assert column(table, "y", "τ of the percolating part") == ["∞, not percolating"] * 2

    @pytest.mark.parametrize("status", ["not converged", "broke down"])
    @pytest.mark.parametrize("number", [nan, 7.77])
    def test_a_solve_that_failed_has_no_number(self, state: SpecimenState, status: str, number: float) -> None:
        names = ("tortuosity_factor", "tortuosity_factor_percolating", "effective_diffusivity", "permeability")
        spoilt = changed(
            state, **dict.fromkeys(names, number), tortuosity_status=status, permeability_status=status, flow_rate=7.77
        )
        pore = tortuosity_tables(spoilt)[0]
        flow = permeability_table(spoilt)
        assert flow is not None
        assert column(pore, "z", "Tortuosity factor τ")[0] == status
        assert column(pore, "z", "Effective diffusivity")[0] == "–"
        assert column(flow, "µm²")[0] == status
        assert column(flow, "darcy")[0] == "–"
        assert "7.77" not in str(pore) + str(flow)
        drawn = [r.factor for r in tortuosities(spoilt) if (r.scan, r.phase, r.axis) == ("c0", "pore", "z")]
        assert drawn == [None]

    @pytest.mark.parametrize("number", [nan, inf])
    def test_a_number_that_is_none_is_not_made_up(self, state: SpecimenState, number: float) -> None:
        pore = tortuosity_tables(changed(state, tortuosity_factor=number))[0]
        assert column(pore, "z", "Tortuosity factor τ")[0] == "converged"
        assert tortuosities(changed(state, tortuosity_factor=number))[0].factor is None

    def test_permeability_is_that_of_a_slit(self, state: SpecimenState) -> None:
        table = permeability_table(state)
        assert table is not None
        assert [row[3] for row in table.rows] == ["z", "y"] * 2
        k, across = column(table, "µm²")[:2]
        # a duct of 10 × 28 voxels of half a µm, walls all around; half of the section is solid
        b, a = 5.0, 14.0
        exact = 0.5 * b**2 / 12 * (1 - 0.63 * b / a)
        assert float(k) == pytest.approx(exact, rel=0.03)
        assert across == "not percolating"
        assert float(column(table, "darcy")[0]) == pytest.approx(float(k) / 0.98692, rel=1e-3)
        row = permeabilities(state)[0]
        assert state.metrics is not None
        at = state.metrics.sel(scan="c0", axis="z")
        for name, value in (
            ("permeability", row.permeability),
            ("flow_rate", row.flow_rate),
            ("mean_velocity", row.velocity),
            ("reynolds_number", row.reynolds),
            ("narrow_share", row.narrow),
            ("percolating_porosity", row.porosity),
        ):
            assert value == float(at[name])
        (rate,) = [h for h in table.columns if h.startswith("Rate")]
        assert rate == "Rate, 10⁻¹² m³/s"
        assert float(column(table, rate)[0]) == pytest.approx(1e12 * (row.flow_rate or 0), rel=1e-3)

    def test_inertia_is_marked(self, state: SpecimenState) -> None:
        for value, cell in ((0.09, "0.09"), (0.11, "0.11 ●")):
            table = permeability_table(changed(state, reynolds_number=value))
            assert table is not None
            assert column(table, "Reynolds")[0] == cell
        slow = replace(state, metrics=state.metrics.assign(reynolds_number=0.09 + 0 * state.metrics.reynolds_number))  # type: ignore[union-attr]
        assert "inertia" not in (permeability_table(slow) or table).caption
        assert "inertia" in table.caption

    def test_drawn_lines_are_the_metrics(self, state: SpecimenState) -> None:
        tau, k = transport_drawings(state)
        assert tau.key[0][0] == "z"
        figure = Figure()
        tau.draw(figure, LIGHT)
        assert len(figure.axes) == 2  # sulfur has no number
        assert [t.get_text() for t in figure.axes[0].texts] == ["∞", "∞"]
        figure = Figure()
        k.draw(figure, DARK)
        points = [line.get_ydata() for line in figure.axes[0].lines if line.get_marker() == "o"]
        np.testing.assert_allclose(points[0], [r.permeability for r in permeabilities(state) if r.axis == "z"])

    def test_no_figure_of_a_single_cycle(self, state: SpecimenState) -> None:
        assert transport_drawings(replace(state, scans=state.scans[:1])) == []


class TestThePage:
    @pytest.mark.slow
    def test_sections_with_their_numbers(self, store: Path, state: SpecimenState, tmp_path: Path) -> None:
        page = report(store, tmp_path / "r.html", figures=tmp_path / "f")
        assert "Incomplete" not in page.text
        assert all(t in page.text for t in ("Slices", "Grey values", "Volume fractions", "Particles", "Transport"))
        assert "Other measurements" not in page.text
        for table in (particle_table(state), *tortuosity_tables(state), permeability_table(state)):
            assert table is not None
            for row in table.rows:
                assert all(cell in page.text for cell in row)
        for said in ("no particles", "∞, not percolating", "nothing conducts", "steepest ascent", "half a voxel"):
            assert said in page.text
        assert len(page.all("div", "slice particle")) == 2
        names = {p.name for p in (tmp_path / "f").iterdir()}
        assert {"cathode_particles.csv", "cathode_tortuosity_pore.csv", "cathode_permeability.csv"} <= names
        assert {"cathode_c0_particles.png", "cathode_sphericity.png", "cathode_permeability_cycle.png"} <= names
        with (tmp_path / "f" / "cathode_permeability.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [r["status"] for r in rows] == ["converged", "not percolating"] * 2
        assert float(rows[0]["K (µm²)"]) == permeabilities(state)[0].permeability
        assert rows[1]["K (µm²)"] == ""

    def test_nothing_is_left_for_further_measures(self, state: SpecimenState) -> None:
        tables, left = further_tables(state)
        assert left == []
        assert tables == []
        assert state.metrics is not None
        other = state.metrics.assign(tortuous_thing=("scan", [1.0, 2.0]))  # not ours: shown
        assert [t.name for t in further_tables(replace(state, metrics=other))[0]] == ["cathode_tortuous_thing"]

    @pytest.mark.usefixtures("sketched")
    def test_no_sections_where_nothing_was_asked(self, tmp_path: Path) -> None:
        plain = run(write(tmp_path, ""), threads=1).store
        page = report(plain, tmp_path / "r.html")
        for said in ("Particles", "Transport", "particle", "tortuosity", "permeability of"):
            assert f"{said} " not in page.text
        state = opened(plain)
        assert particle_rows(state) == []
        assert particle_table(state) is permeability_table(state) is None
        assert tortuosity_tables(state) == particle_drawings(state) == transport_drawings(state) == []
        assert "Incomplete" not in page.text

    @pytest.mark.slow
    @pytest.mark.usefixtures("sketched")
    @pytest.mark.parametrize("step", ["tortuosity_0_y", "particle"])
    def test_stopped_in_the_middle(self, tmp_path: Path, step: str) -> None:
        def stop(at: str, label: str, done: int, total: int) -> None:
            if (at, label) == (step, "cathode/c1") and done:
                raise RuntimeError("stopped")

        path = write(tmp_path)
        with pytest.raises(RuntimeError, match="stopped"):
            run(path, progress=stop, threads=1)
        page = report(load(path).store, tmp_path / "r.html", figures=tmp_path / "f")
        assert "Incomplete." in page.text
        assert "coarse level" not in page.text
        assert "cathode, c0 and c1: no measurements yet" in page.text
        assert "No particles are measured yet." in page.text
        assert "No tortuosity or permeability yet." in page.text
        assert "Particles are not finished: " in page.text

    @pytest.mark.slow
    @pytest.mark.usefixtures("sketched")
    def test_numbers_of_an_earlier_run_are_said_to_be(self, tmp_path: Path) -> None:
        store = run(write(tmp_path, "    particles: {phase: sulfur}\n"), threads=1).store
        path = write(tmp_path, "    particles: {phase: sulfur, persistence: 2}\n")

        def stop(at: str, label: str, done: int, total: int) -> None:
            if at == "particle_merge":
                raise RuntimeError("stopped")

        with pytest.raises(RuntimeError, match="stopped"):
            run(path, progress=stop, threads=1)
        page = report(store, tmp_path / "r.html")
        assert "the numbers of particles and transport are those of an earlier run, or missing." in page.text
        assert [w for w in status(read_state(Study.open(store))).warnings if "earlier run" in w]


def test_names_of_steps() -> None:
    phases = ("pore", "CBD", "sulfur")
    assert step_name("tortuosity_0_z", phases) == "diffusion through pore along z"
    assert step_name("permeability_0-2_x", phases) == "flow through pore and sulfur along x"
    assert step_name("tortuosity_7_z", phases) == "diffusion through phase 7 along z"
    assert step_name("phase_2") == "coarse level (phase 2)"
    assert step_name("particle_table") == "table of the particles"
    assert step_name("something_new") == "something new"
    assert str(Progress("permeability_1_y", 0, 1, phases)) == "flow through CBD along y: 0 of 1 blocks"
    assert str(Progress("particle", 0, 0)) == "writing of the particles: not begun"


def test_steps_that_are_asked_for_are_those_that_ran(state: SpecimenState) -> None:
    begun = [p.step for p in state.scans[0].progress]
    assert set(analyses(state.recipe)) <= set(begun)
    assert {"ingest", "segment"} | set(analyses(state.recipe)) == set(begun)
    assert analyses({}) == []


def test_methods_say_what_was_asked_alone(store: Path) -> None:
    text = " ".join(methods(read_state(Study.open(store))))
    for said in (
        "Particles of sulfur were separated by a watershed",
        "less than 0.25 voxels narrower",
        "fewer than 10 voxels were left out",
        "τ = ε D₀ / D_eff of pore, CBD and sulfur (each by itself) along z and y",
        "no flux through the sides",
        "relative error of D_eff of 0.1 %",
        "K = μ U L / Δp of pore along z and y",
        "no slip at the sides",
        "at 130 kPa before and 100 kPa behind",
        "viscosity of 0.001 Pa s",
    ):
        assert said in text
    assert analysis_sentences({}) == []
    assert len(analysis_sentences({"permeability": None, "particles": None})) == 0
    relative = {"phase": "a", "persistence": 0.1, "relative": True, "min_voxels": 1, "border": "weight"}
    (said,) = analysis_sentences({"particles": relative})
    assert "10 % of the smaller one's radius" in said
    assert "Miles and Lantuéjoul" in said
    assert "fewer than 1 voxel " in said


def test_numbers_with_a_power() -> None:
    assert scaled([3.305e-9, 2.126e-9]) == (["3.305", "2.126"], "10⁻⁹ ")
    assert scaled([24e-12, None, nan]) == (["24.00", "–", "–"], "10⁻¹² ")
    assert scaled([1.47, 0.95]) == (aligned([1.47, 0.95]), "")
    assert scaled([]) == ([], "")
    assert scaled([0.0]) == (["0"], "")
