"""Studies in the report: their numbers, what came to none, and text that is text."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from test_report import Page

from mgsflow.report.export import export
from mgsflow.report.figures.drawing import Drawing
from mgsflow.report.figures.palette import LIGHT
from mgsflow.report.page import render
from mgsflow.report.sections.certificates import certificates
from mgsflow.report.sections.comparison import comparison_part
from mgsflow.report.sections.composition import axes_table, composition_table, uncertainty_table
from mgsflow.report.sections.electrochemistry import electrochemistry_parts
from mgsflow.report.sections.flux import flux_part
from mgsflow.report.sections.methods import methods
from mgsflow.report.sections.network import network_of, network_part
from mgsflow.report.sections.part import Part
from mgsflow.report.sections.representative import representative_part
from mgsflow.report.sections.sensitivity import sensitivity_part
from mgsflow.report.sections.status import status
from mgsflow.report.sections.streamlines import streamline_part
from mgsflow.report.state import Progress, ScanState, SpecimenState, StudyState
from mgsflow.report.tables import Table
from mgsflow.store import Scan, Study
from mgsflow.transport.streamlines.result import concatenate_streamlines
from mgsflow.transport.streamlines.trace import streamlines

EVIL = "<script>alert(1)</script>"
PHASES = ("pore", "CBD", EVIL)
SCANS = ("c0", "c3")
SHAPE = (12, 10, 8)
RECIPE: dict[str, Any] = {
    "scans": [{"name": n} for n in SCANS],
    "phases": list(PHASES),
    "segment": {"thresholds": [23100, 32500]},
    "measures": ["volume"],
    "thickness": {"phases": ["pore"], "reach": 48},
    "network": {"phase": "pore", "persistence": 0.4, "relative": False, "min_voxels": 11, "cube": 4},
    "rve": {
        **{"sizes": [4, 6, 8], "placement": "random", "windows": 7, "measures": ["volume", "tpb"]},
        **{"solve": ["tortuosity"], "tolerance": 0.07, "confidence": 0.9, "seed": 13},
    },
    "sensitivity": {"phase": "pore", "values": [22500, 23100, 23700], "measures": ["volume"], "solve": ["tortuosity"]},
}
SIZES = {"size": [4, 6, 8], "volume": ("size", [8.0, 27.0, 64.0])}


def along(data: dict[str, Any], **coords: Any) -> xr.Dataset:
    named = {"scan": np.array(SCANS, object), "phase": np.array(PHASES, object), "axis": np.array(list("zyx"), object)}
    used = {d for dims, *_ in data.values() for d in ([dims] if isinstance(dims, str) else dims)}
    return xr.Dataset(data, coords={k: v for k, v in named.items() if k in used} | coords)


def rve() -> xr.Dataset:
    rng = np.random.default_rng(0)
    windows = 0.3 + 0.02 * rng.standard_normal((2, 3, 5, 3))
    tau = 4 + rng.random((2, 3, 5, 3, 3))
    tau[0, 0, 2] = np.nan
    state = np.where(np.isfinite(tau), "converged", "not percolating").astype(object)
    data: dict[str, Any] = {
        "volume_share": (("scan", "size"), np.array([[0.07, 0.22, 0.53]] * 2)),
        "volume_fraction": (("scan", "size", "window", "phase"), windows, {"units": "1"}),
        "tortuosity_factor": (("scan", "size", "window", "phase", "axis"), tau, {"units": "1"}),
        "tortuosity_status": (("scan", "size", "window", "phase", "axis"), state),
    }
    for name in ("volume_fraction", "tortuosity_factor"):
        dims, values, attrs = data[name]
        rest = tuple(d for d in dims if d not in ("window", "size"))
        by = tuple(d for d in dims if d != "window")
        mean = np.nanmean(values, axis=2)
        data |= {
            f"{name}_whole": (rest, mean[:, -1], attrs),
            f"{name}_mean": (by, mean, attrs),
            f"{name}_spread": (by, np.nanstd(values, axis=2), attrs),
            f"{name}_reach": (by, 0.123 * np.ones(mean.shape), attrs),
            f"{name}_representative_size": (rest, np.full(mean[:, -1].shape, np.nan), {"units": "voxel"}),
        }
    data["volume_fraction_representative_size"][1][0, 0] = 6
    found = along(data, **SIZES)
    return found.assign_attrs(tolerance=0.07, confidence=0.9)


def sensitivity() -> xr.Dataset:
    values = np.array([22500.0, 23100, 23700])
    share = np.stack([np.linspace(0.2 + 0.01 * i, 0.3, 3) for i in range(2)])[..., None] * np.array([1, 2, 0.1])
    tau = np.full((2, 3, 3, 3), np.nan)
    tau[:, 1:, 0, :] = 5.5
    ended = np.where(np.isfinite(tau), "converged", "").astype(object)
    ended[:, 0, 0, :] = "not percolating"
    return along(
        {
            "threshold_in_use": ("scan", np.array([23100.0, 23100])),
            "threshold_uncertainty": ("scan", np.array([240.0, 260])),
            "volume_fraction": (("scan", "threshold", "phase"), share, {"units": "1"}),
            "volume_fraction_uncertainty": (("scan", "phase"), np.full((2, 3), 0.0123), {"units": "1"}),
            "tortuosity_factor": (("scan", "threshold", "phase", "axis"), tau, {"units": "1"}),
            "tortuosity_status": (("scan", "threshold", "phase", "axis"), ended),
        },
        threshold=values,
    )


def network() -> tuple[xr.Dataset, xr.Dataset]:
    pores = {"id": [1, 2, 3, 7, 9], "scan": ["c0", "c0", "c0", "c3", "c3"], "coordination": [1, 2, 1, 1, 1]}
    places = np.array([[1, 1, 1], [5, 4, 3], [9, 8, 6], [2, 2, 2], [8, 7, 5]]) * 0.5
    throats = {"scan": ["c0", "c0", "c3"], "pore_a": [1, 2, 7], "pore_b": [2, 3, 9]}
    first = xr.Dataset(
        {n: ("pore", np.array(v, object if n == "scan" else int)) for n, v in pores.items()}
        | {"centre": (("pore", "axis"), places), "inscribed_radius": ("pore", np.linspace(0.3, 0.7, 5))}
    )
    second = xr.Dataset(
        {n: ("throat", np.array(v, object if n == "scan" else int)) for n, v in throats.items()}
        | {"radius": ("throat", np.array([0.1, 0.2, 0.3]))}
    )
    return first, second


def flux() -> xr.Dataset:
    values = np.random.default_rng(2).random((2, 1, 1, 10, 8)).astype(np.float32)
    values[1] = np.nan
    return xr.Dataset(
        {"flux_along_z": (("scan", "phase", "axis", "y", "x"), values)},
        coords={"scan": np.array(SCANS, object), "phase": np.array(["pore"], object), "axis": np.array(["x"], object)},
    )


def lines() -> xr.Dataset:
    faces = [np.zeros(tuple(n + (i == e) for i, n in enumerate(SHAPE))) for e in range(3)]
    faces[0][:] = 2.0
    return concatenate_streamlines({(s, "z"): streamlines(faces, "z", 0.5, lines=5) for s in SCANS})


def comparison() -> xr.Dataset:
    return along(
        {
            "mean_radius": (("scan",), np.array([2.0, 3.0]), {"units": "µm", "long_name": "mean radius"}),
            "mean_radius_ratio": (("scan",), np.array([1.0, 1.5])),
            "mean_radius_differs": (("scan",), np.array([np.nan, 1.0])),
            "mean_radius_pearson": ((), -0.987),
            "mean_radius_spearman": ((), -1.0),
            "mean_radius_pairs": ((), 4),
            "volume_fraction": (("scan", "phase"), np.array([[0.3, 0.6, 0.1]] * 2), {"units": "1"}),
            "volume_fraction_ratio": (("scan", "phase"), np.ones((2, 3))),
            "volume_fraction_differs": (("scan", "phase"), np.zeros((2, 3))),
        }
    ).assign_attrs(reference="c0")


def cells() -> dict[str, xr.Dataset]:
    number = np.arange(1, 6)
    names = np.array([EVIL], object)
    given = 700.0 / number[None]
    base = {"cell": names, "cycle": number}
    cycles = xr.Dataset(
        {
            "discharge_capacity": (("cell", "cycle"), given, {"units": "mAh"}),
            "charge_capacity": (("cell", "cycle"), 0.9 * given, {"units": "mAh"}),
            "coulombic_efficiency": (("cell", "cycle"), np.full((1, 5), 0.9)),
            "capacity_retention": (("cell", "cycle"), given / 700),
            "cycle_status": (("cell", "cycle"), np.array([["complete"] * 4 + ["cut off"]], object)),
            "mass": ("cell", [np.nan]),
        },
        coords=base,
    )
    share = np.linspace(0, 1, 11)
    curve = given[:, :, None, None] * share * np.ones((1, 5, 2, 1))
    halves = {"half": np.array(["discharge", "charge"], object)}
    curves = xr.Dataset(
        {
            "capacity": (("cell", "cycle", "half", "point"), curve, {"units": "mAh"}),
            "voltage": (("cell", "cycle", "half", "point"), 2 - share * np.ones(curve.shape)),
        },
        coords=base | halves,
    )
    t = np.linspace(0, 2 * np.pi, 50)
    peaks = np.array([[[[2.05, np.nan], [1.01, np.nan]]]])
    sweeps = xr.Dataset(
        {
            "voltage": (("cell", "cycle", "point"), (1.5 + np.cos(t))[None, None]),
            "current": (("cell", "cycle", "point"), np.sin(t)[None, None]),
            "peak_voltage": (("cell", "cycle", "sweep", "peak"), peaks),
            "peak_current": (("cell", "cycle", "sweep", "peak"), 0.06 * np.sign(peaks - 1.5)),
            "scan_rate": ("cell", [0.03]),
        },
        coords={"cell": names, "cycle": [1], "sweep": np.array(["oxidation", "reduction"], object)},
    )
    return {"cycles": cycles, "curves": curves, "voltammetry": sweeps}


def metrics() -> xr.Dataset:
    status_of = np.array([["converged", "not percolating", ""]] * 2, object)
    return along(
        {
            "volume_fraction": (("scan", "phase"), np.array([[0.31, 0.55, 0.14], [0.3, 0.66, 0.04]]), {"units": "1"}),
            "volume_fraction_error": (("scan", "phase"), np.full((2, 3), 0.011)),
            "volume_fraction_uncertainty": (("scan", "phase"), np.full((2, 3), 0.0234)),
            "surface_per_phase_volume": (
                ("scan", "phase", "estimator"), np.arange(12.0).reshape(2, 3, 2) + 1.5, {"units": "µm⁻¹"},
            ),
            "permeability": (("scan", "axis"), np.array([[0.98, 0.0, np.nan], [0.25, 0.0, np.nan]]), {"units": "µm²"}),
            "permeability_status": (("scan", "axis"), status_of),
            "permeability_error": (("scan", "axis"), np.full((2, 3), 4e-4)),
            "network_permeability": (("scan", "axis"), np.array([[0.8, np.nan, 0.7]] * 2), {"units": "µm²"}),
            "network_status": (("scan", "axis"), np.array([["converged", "not percolating", "converged"]] * 2, object)),
            "pore_count": ("scan", np.array([3, 2]), {"units": "1"}),
            "mean_coordination": ("scan", np.array([1.333, 1.0]), {"units": "1"}),
        },
        estimator=np.array(["crofton13", "faces"], object),
        cycle=("scan", [0, 3]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    study = Study.create(tmp_path_factory.mktemp("studies") / "s.zarr", f"studies {EVIL}")
    made = study.add_specimen("cathode", (0.5, 0.5, 0.5), PHASES, 16)
    for name, cycle in zip(SCANS, (0, 3)):
        made.add_scan(Scan(name, cycle, "pristine" if cycle == 0 else "charged", SHAPE))
    return study, made


@pytest.fixture(scope="module")
def state(specimen: Any) -> SpecimenState:
    _, made = specimen
    scans = tuple(ScanState(s, (Progress("ingest", 0, 1),), True, True, "", None) for s in made.scans)
    pores, throats = network()
    studies = {
        **{"rve": rve(), "sensitivity": sensitivity(), "pores": pores, "throats": throats, "flux": flux()},
        **{"streamlines": lines(), "comparison": comparison()},
    }
    return SpecimenState(made, scans, RECIPE, metrics(), studies)


@pytest.fixture
def whole(specimen: Any, state: SpecimenState) -> StudyState:
    return StudyState(specimen[0], {"runs": [{"recipe": {}}], "status": "complete"}, (state,), cells())


def cell(table: Table, column: str, *row: str) -> str:
    at = table.columns.index(column)
    (found,) = [r for r in table.rows if r[: len(row)] == row]
    return found[at]


def changed(state: SpecimenState, **given: Any) -> SpecimenState:
    fields = {k: getattr(state, k) for k in ("specimen", "scans", "recipe", "metrics", "studies")}
    return SpecimenState(**(fields | given))


def drawn(part: Part | None) -> Iterator[str]:
    """Draw every figure of a part, and give their names."""
    assert part is not None
    for drawing in part.drawings:
        assert drawing.alt
        figure = Figure(drawing.size)
        drawing.draw(figure, LIGHT)
        assert figure.axes
        yield drawing.name


def test_representative_sizes_are_those_of_the_study(state: SpecimenState) -> None:
    part = representative_part(state)
    assert part is not None
    (table,) = part.tables
    assert cell(table, "c0", "volume fraction", "pore") == "6 (27.0 µm³)"
    assert cell(table, "c3", "volume fraction", "pore") == "none; 12.3 %"
    assert "within 7 %" in table.caption
    assert "90 % confidence" in table.caption
    assert part.notes == ("c0: 9 solves of the tortuosity: not percolating; left out.",)
    assert list(drawn(part)) == [
        "cathode_rve_volume_fraction",
        *(f"cathode_rve_tortuosity_factor_{i}" for i in (1, 2, 3)),
    ]
    nested = rve().isel(window=[0]).assign_attrs(tolerance=0.05, confidence="none: one window a size")
    said = representative_part(changed(state, studies={"rve": nested}))
    assert said is not None
    assert "no confidence can be stated" in said.tables[0].caption


def test_lines_are_the_means_of_the_windows(state: SpecimenState) -> None:
    part = representative_part(state)
    assert part is not None
    figure = Figure()
    part.drawings[0].draw(figure, LIGHT)
    lines = [m.get_ydata() for m in figure.axes[0].lines if m.get_linestyle() == "-" and m.get_marker() == "o"]
    expected = 100 * rve()["volume_fraction"].mean("window").sel(phase="pore").values
    for line, scan in zip(lines, expected):
        np.testing.assert_allclose(line, scan, rtol=1e-12)


def test_thresholds_that_give_no_number_are_said(state: SpecimenState) -> None:
    part = sensitivity_part(state)
    assert part is not None
    (table,) = part.tables
    assert cell(table, "c0", "volume fraction", "pore") == "20.00 → 30.00 (± 1.2)"
    assert cell(table, "c0", "tortuosity factor τ", "pore, x") == "5.500 → 5.500"
    assert "c0: 23,100 ± 240" in table.caption
    assert part.notes[0] == "c0, tortuosity at 22,500: not percolating."
    assert len(list(drawn(part))) == 2


def test_thresholds_may_differ_from_scan_to_scan(state: SpecimenState) -> None:
    data = sensitivity().drop_vars("threshold")
    data = data.assign_coords(threshold_value=(("scan", "threshold"), np.array([[1.0, 2, 3], [5, 6, 7]])))
    part = sensitivity_part(changed(state, studies={"sensitivity": data}))
    assert part is not None
    assert part.notes[0].startswith("c0, tortuosity at 1:")
    assert part.notes[1].startswith("c3, tortuosity at 5:")
    assert len(list(drawn(part))) == 2


def test_network_joins_the_pores_of_each_scan(state: SpecimenState) -> None:
    first, last = (network_of(state, s) for s in state.scans)
    assert first is not None
    assert last is not None
    assert first.ends.tolist() == [[0, 1], [1, 2]]
    assert last.ends.tolist() == [[0, 1]]  # ids 7 and 9
    part = network_part(state)
    assert part is not None
    assert len(list(drawn(part))) == 3
    counts, through = part.tables
    assert cell(counts, "Pores", "c0") == "3"
    assert through.rows[0][3:6] == ("0.7000", "not percolating", "0.8000")
    assert [r.scan for r in part.renderings] == ["c0", "c3"]
    picture = part.renderings[0].draw()
    assert picture[..., 3].any()
    few = changed(state, studies={"pores": network()[0].isel(pore=slice(0, 3)), "throats": network()[1]})
    missing = network_part(few)
    assert missing is not None
    assert missing.notes == ("c3: no pore network yet.",)


def test_flux_maps_are_of_the_scans_that_conduct(state: SpecimenState) -> None:
    part = flux_part(state)
    assert part is not None
    (name,) = drawn(part)
    assert name == "cathode_flux_pore_x"
    figure = Figure()
    part.drawings[0].draw(figure, LIGHT)
    images = [a.images[0] for a in figure.axes if a.images]
    np.testing.assert_array_equal(images[0].get_array(), flux()["flux_along_z"].values[0, 0, 0])
    assert [a.get_title(loc="left") for a in figure.axes if a.images] == ["c0"]
    assert images[0].get_extent() == [0, 4.0, 5.0, 0]


def test_streamlines_are_drawn_for_each_scan(state: SpecimenState) -> None:
    part = streamline_part(state)
    assert part is not None
    assert [(r.scan, r.said) for r in part.renderings] == [(s, "along z") for s in SCANS]
    picture = part.renderings[1].draw()
    assert picture[..., 3].any()
    assert streamline_part(changed(state, studies={})) is None


def test_comparison_marks_what_differs(state: SpecimenState) -> None:
    part = comparison_part(state)
    assert part is not None
    table, correlations = part.tables
    assert cell(table, "c3", "mean radius") == "3.000 (×1.5) ●"
    assert cell(table, "c0", "mean radius") == "2.000"
    assert cell(table, "c3", "volume fraction", "CBD") == "0.6000 (×1) ○"
    assert correlations.rows == (("mean radius", "–", "−0.987", "−1.000", "4", "–"),)


def test_electrochemistry_has_its_numbers(whole: StudyState) -> None:
    cycling, voltammetry = electrochemistry_parts(whole)
    (table,) = cycling.tables
    assert [r[1] for r in table.rows] == ["1", "3", "5"]  # the first, that of a scan, the last
    assert cell(table, "Discharge, mAh", EVIL, "3") == "233.3"
    assert cell(table, "Status", EVIL, "5") == "cut off"
    assert len(table.raw) == 5
    assert len(list(drawn(cycling))) == 3
    (peaks,) = voltammetry.tables
    assert [(r[2], r[3]) for r in peaks.rows] == [("oxidation", "2.050"), ("reduction", "1.010")]
    assert len(list(drawn(voltammetry))) == 1
    images = xr.Dataset(
        {"area_fraction": (("image", "phase"), np.array([[0.26, 0.74]])), "file": ("image", np.array(["a"], object))},
        coords={"image": np.array(["sem"], object), "phase": np.array(["pore", "solid"], object)},
    )
    part = electrochemistry_parts(StudyState(whole.study, {}, (), {"images": images}))[0]
    assert part.tables[0].rows == (("sem", "26.00", "74.00"),)


def test_tables_as_in_print(state: SpecimenState) -> None:
    table = composition_table(state)
    assert table is not None
    assert table.rows[1] == (
        "c3",
        "3",
        "charged",
        "30.00 ± 1.10",
        "66.00 ± 1.10",
        "4.00 ± 1.10",
        "7.50",
        "9.50",
        "11.50",
    )
    axes = axes_table(state)
    assert axes is not None
    assert axes.columns[3:] == ("Y", "Z")
    assert axes.rows[0][3:] == ("not percolating", "0.9800")
    bars = uncertainty_table(state)
    assert bars is not None
    assert bars.rows[0][3] == "31.00 ± 2.34"


def test_certificates_count_what_converged(whole: StudyState) -> None:
    said = certificates(whole)
    assert "cathode, flow: 2 of 4 solves converged, estimated error of K at most 0.04 %; 2 not percolating." in said
    assert "cathode, c0 y and c3 y: nothing percolates, which is a result." in said
    assert any("tortuosity of windows: 261 of 270" in line for line in said)
    assert any("tortuosity of thresholds: 12 of 18" in line for line in said)


def test_methods_name_every_parameter_of_the_studies(whole: StudyState) -> None:
    text = " ".join(methods(whole))
    for said in ("up to 48 voxels", "less than 0.4 voxels", "fewer than 11 voxels", "cubes of 4 voxels"):
        assert said in text
    for said in ("4, 6 and 8 voxels", "at most 7 windows", "seed 13", "within 7 %", "confidence of 90 %"):
        assert said in text
    assert "22,500, 23,100 and 23,700" in text
    assert "volume fractions and tortuosity factors" in text


def test_failed_scan_has_its_place(state: SpecimenState, whole: StudyState) -> None:
    state.specimen.note(failed={"c3": f"slice 7 is cut off {EVIL}", "gone": "no more in the study"})
    try:
        found = status(whole)
        assert found.level == "incomplete"
        assert [m for m in found.missing if "c3 was left out" in m and "slice 7 is cut off" in m]
        assert not any("gone" in m for m in found.missing)
    finally:
        state.specimen.note(failed={})


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drawing, "png", lambda *a, **k: b"\x89PNG")
    monkeypatch.setattr(Drawing, "svg", lambda *a, **k: b"<svg/>")
    monkeypatch.setattr("mgsflow.report.scene.renderings.WIDTH", 16)
    monkeypatch.setattr("mgsflow.report.scene.renderings._LEAST", 16)


def test_page_and_files(whole: StudyState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    (tmp_path / "r.html").write_text(render(whole), encoding="utf-8")
    page = Page(tmp_path / "r.html")
    assert not page.broken
    assert not page.all("script")
    assert page.text.count(EVIL) >= 4
    for title in ("Flux", "Streamlines", "Pore network", "Representative volume", "Comparison of states", "Cycling"):
        assert title in page.text
    assert all(a.get("alt") for a in page.all("img"))
    assert len(page.all("figure", "view")) == 4  # networks and streamlines of two scans
    assert any((a.get("src") or "").startswith("data:image/webp") for a in page.all("img"))
    written = {p.name for p in export(whole, tmp_path / "figures")}
    assert {"cathode_rve.csv", "cathode_c0_network_3d.png", "cathode_comparison.csv"} <= written
    assert {"electrochemistry_cycles.csv", "electrochemistry_capacity.svg", "cathode_flux_pore_x.png"} <= written
    assert not [n for n in written if "<" in n or "/" in n]
    with (tmp_path / "figures" / "electrochemistry_cycles.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 5


@pytest.mark.parametrize("make", [representative_part, sensitivity_part, network_part])
def test_what_is_asked_for_and_not_there_yet_is_said(
    state: SpecimenState, make: Callable[[SpecimenState], Part | None]
) -> None:
    bare = changed(state, studies={}, metrics=None)
    part = make(bare)
    assert part is not None
    assert part.notes == ("Not finished.",)
    assert make(changed(bare, recipe={"segment": {"thresholds": [1]}})) is None
