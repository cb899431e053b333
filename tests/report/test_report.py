"""The page: what it says of finished, unfinished and odd studies, and that it needs nothing but itself."""

from __future__ import annotations

import csv
import re
import shutil
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from stores import SHAPES, STEPS, write_study

from mgsflow.errors import InputError, StudyNotFound
from mgsflow.pipeline import run
from mgsflow.recipe import load
from mgsflow.report import fraction_table, write_report
from mgsflow.report.figures.drawing import Drawing
from mgsflow.store import Scan, Study
from mgsflow.store.tree import open_study

#: As "fixed", with fewer measures.
FEW = STEPS["fixed"] + "    measures: [volume, profile]\n"
VOID = {"meta", "link", "img", "source", "br"}


class Page(HTMLParser):
    """A parsed page: its elements, text, and tags that do not match."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.broken: list[str] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        self.broken += self._open
        self.text = " ".join("".join(self.parts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.broken.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["style"], ["script"]):
            self.parts.append(data + " ")

    def all(self, tag: str, css: str = "") -> list[dict[str, str | None]]:
        return [a for t, a in self.elements if t == tag and css in (a.get("class") or "")]


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are not drawn, where a test looks at other things."""
    monkeypatch.setattr(Drawing, "png", lambda *a, **k: b"\x89PNG")
    monkeypatch.setattr(Drawing, "svg", lambda *a, **k: b"<svg/>")
    monkeypatch.setattr("mgsflow.report.scene.renderings.WIDTH", 16)
    monkeypatch.setattr("mgsflow.report.scene.renderings._LEAST", 16)


def report(store: Path, out: Path, **options: Any) -> Page:
    page = Page(write_report(store, out, **options))
    assert not page.broken
    assert all(a.get("alt") for a in page.all("img"))
    return page


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory, scans: Path) -> Path:
    """A finished study with fixed thresholds."""
    return run(write_study(tmp_path_factory.mktemp("fixed"), scans, "fixed")).store


@pytest.fixture(scope="module")
def page(fixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report(fixed, tmp_path_factory.mktemp("page") / "r.html")


def test_complete_study_says_so_first(page: Page) -> None:
    assert "Complete: every step of every scan is finished." in page.text
    assert page.text.index("Complete:") < page.text.index("Scans of the study")
    assert "Not finished" not in page.text


def test_every_fraction_is_that_of_the_stored_voxels(fixed: Path, page: Page) -> None:
    phase = zarr.open_group(str(fixed), mode="r")["cathode/scale0/phase"]
    rows = fraction_table(fixed)
    assert [(r.specimen, r.scan, r.cycle, r.state) for r in rows] == [
        ("cathode", "c0", 0, "pristine"),
        ("cathode", "c1", 1, "charged"),
    ]
    fractions = []
    for i, (row, shape) in enumerate(zip(rows, SHAPES.values())):
        z, y, x = shape
        counts = np.bincount(np.asarray(phase[i, :z, :y, :x]).ravel(), minlength=3)
        fractions.append(counts / counts.sum())
        np.testing.assert_allclose(row.fractions, fractions[i], rtol=1e-12)
        for value in fractions[i]:
            assert f"{100 * value:.2f}" in page.text
        assert all(cell in page.text for cell in row.cells)
    for change in 100 * (fractions[1] - fractions[0]):
        assert f"{change:+.2f}".replace("-", "\N{MINUS SIGN}") in page.text
    assert f"{100 * fractions[0][0] + 0.37:.2f} ±" not in page.text  # such numbers are not found by chance


def test_other_numbers_are_there(fixed: Path, page: Page) -> None:
    metrics = open_study(fixed)["cathode/metrics"].ds
    for value in (1000 * metrics["depth_gradient"].values).ravel():  # percentage points per 10 µm
        assert f"{value:+.2f}".replace("-", "\N{MINUS SIGN}").replace("+0.00", "0.00") in page.text
    for value in metrics["surface_per_phase_volume"].values.ravel():
        assert any(f"{value:.{d}f}" in page.text for d in (2, 3, 4))
    for name, shape in SHAPES.items():
        assert name in page.text
        assert " × ".join(map(str, shape)) in page.text
        assert " × ".join(f"{0.126 * n:.4g}" for n in shape) in page.text
    inputs = Study.open(fixed)["cathode"].attributes["inputs"]
    assert all(one["sha256"] in page.text and str(one["files"]) in page.text for one in inputs.values())


def test_methods_name_every_parameter(fixed: Path, page: Page) -> None:
    fits = Study.open(fixed)["cathode"].attributes["fits"]
    for said in ("σ = 9 slices", "those of scan c0", "median (radius = 1)", "sigma = 1.5, amount = 0.5, threshold = 0"):
        assert said in page.text
    assert "23,100 and 32,500" in page.text
    assert "majority filter of radius 1 voxel" in page.text
    assert f"gain {fits['c1']['gain']:.4f}" in page.text


def test_it_needs_no_network(page: Page) -> None:
    assert not re.search(r"https?:|@import|url\(|<script|<iframe", page.source, re.IGNORECASE)
    for tag, attrs in page.elements:
        for name in ("src", "srcset", "href"):
            link = attrs.get(name) or "#"
            assert link.startswith(("data:", "#")), (tag, link[:60])
    assert any((a.get("srcset") or "").startswith("data:image/png") for a in page.all("source"))


def test_scale_bars_are_to_scale(page: Page) -> None:
    bars, widths = page.all("span", "bar"), []
    for shape in SHAPES.values():
        _, y, x = (0.126 * n for n in shape)
        widths += [x, x, x, x, y, y]  # grey and phases of the planes on z, y and x
    assert len(bars) == len(widths)
    for bar, width in zip(bars, widths):
        length = float(bar["data-um"] or 0)
        share = float(re.fullmatch(r"width:([\d.]+)%", bar["style"] or "").group(1))  # type: ignore[union-attr]
        assert share / 100 * width == pytest.approx(length, rel=1e-4)
        assert 0.1 * width < length <= 0.3 * width


@pytest.mark.slow
def test_same_store_gives_same_file_also_in_threads(fixed: Path, page: Page, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.html" for i in range(2)]
    threads = [threading.Thread(target=write_report, args=(fixed, p)) for p in paths]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {p.read_text(encoding="utf-8") for p in paths} == {page.source}


@pytest.mark.slow
def test_figures_and_tables_are_exported(fixed: Path, tmp_path: Path) -> None:
    report(fixed, tmp_path / "r.html", figures=tmp_path / "figures")
    names = {p.name for p in (tmp_path / "figures").iterdir()}
    wanted = {"c0_slices", "c1_slices", "histogram_linear", "histogram_log", "fractions_stacked", "profile_z"}
    assert {f"cathode_{w}.png" for w in wanted} <= names
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in (tmp_path / "figures").glob("*.png"))
    with (tmp_path / "figures" / "cathode_fractions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    metrics = open_study(fixed)["cathode/metrics"].ds
    for row in rows:
        one = metrics.sel(scan=row["Scan"])
        assert float(row["CBD"]) == float(one["volume_fraction"].sel(phase="CBD"))
        assert float(row["CBD error"]) == float(one["volume_fraction_error"].sel(phase="CBD"))
    assert {"scans.csv", "cathode_gradients.csv", "cathode_differences.csv"} <= names


@pytest.mark.usefixtures("sketched")
def test_default_place_is_beside_the_store(fixed: Path, tmp_path: Path) -> None:
    shutil.copytree(fixed, tmp_path / "other.zarr")
    assert write_report(fixed) == fixed.parent / "report.html"
    assert write_report(tmp_path / "other.zarr") == tmp_path / "other-report.html"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("sketched")
def test_reading_changes_nothing(fixed: Path, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in fixed.rglob("*")}
    write_report(fixed, tmp_path / "r.html")
    assert {p: p.stat().st_mtime_ns for p in fixed.rglob("*")} == before


@pytest.mark.slow
def test_markup_in_names_is_text(tmp_path: Path, scans: Path) -> None:
    path = write_study(tmp_path, scans, "plain")
    evil = '<script>alert(1)</script><img src=x onerror="alert(2)">'
    text = path.read_text(encoding="utf-8")
    text = text.replace("study: small", f"study: {evil!r}\nnotes: {evil!r}".replace("\"'", "\"'"))
    text = text.replace("[pore, CBD, sulfur]", "['<b>pore</b>', '$x_{1$ 孔', 'a & b']").replace("charged", "'\"><i>'")
    path.write_text(text, encoding="utf-8")
    page = report(run(path).store, tmp_path / "r.html", figures=tmp_path / "f")
    assert page.text.count(evil) >= 3  # title, heading, notes
    assert not page.all("script")
    assert "b" not in {t for t, a in page.elements if t == "b" and a}
    assert not [a for _, a in page.elements if any(k.startswith("on") for k in a)]
    for name in ("<b>pore</b>", "$x_{1$ 孔", "a & b", '"><i>'):
        assert name in page.text
    assert len(page.all("i")) == len(page.all("li")) - page.text.count("To be read")  # only those of the keys


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
def test_stopped_run_says_what_is_missing(tmp_path: Path, scans: Path) -> None:
    def stop(step: str, label: str, done: int, total: int) -> None:
        if (step, label) == ("segment", "cathode/c1") and done == 1:
            raise RuntimeError("the <power> failed")

    path = write_study(tmp_path, scans, FEW)
    with pytest.raises(RuntimeError):
        run(path, progress=stop, threads=1)
    store = load(path).store
    page = report(store, tmp_path / "r.html", figures=tmp_path / "f")
    assert "Incomplete." in page.text
    assert "The last run was stopped: RuntimeError: the <power> failed" in page.text
    assert re.search(r"cathode, c1: segmentation: \d+ of 8 blocks\.", page.text)
    assert "cathode, c0: segmentation" not in page.text
    assert "hatched among phases" in page.text
    assert len(page.all("div", "partial")) > 0
    assert "Of c1 only the finished blocks are counted" in page.text
    assert "cathode, c0 and c1: no measurements yet" in page.text
    assert all(f is None for row in fraction_table(store) for f in row.fractions)
    run(path)
    assert "Complete: every step" in report(store, tmp_path / "r.html").text


def test_stores_before_the_first_run(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s.zarr", "empty one")
    page = report(tmp_path / "s.zarr", tmp_path / "r.html")
    assert "The study has never been run." in page.text
    assert "There is no specimen" in page.text
    assert fraction_table(tmp_path / "s.zarr") == []
    specimen = study.add_specimen("cathode", (0.1, 0.1, 0.1), ("pore", "solid"), 32)
    assert "cathode has no scan yet" in report(tmp_path / "s.zarr", tmp_path / "r.html").text
    specimen.add_scan(Scan("c0", 0, "pristine", (20, 20, 20)))
    page = report(tmp_path / "s.zarr", tmp_path / "r.html")
    assert "No voxels of this scan are in the store yet." in page.text
    assert "No histogram yet" in page.text


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
def test_scan_that_was_added_later(tmp_path: Path, scans: Path) -> None:
    path = write_study(tmp_path, scans, "otsu alone")
    text = path.read_text(encoding="utf-8")
    only = "\n".join(line for line in text.splitlines() if "name: c1" not in line)
    path.write_text(only, encoding="utf-8")
    store = run(path).store
    assert "Complete: every" in report(store, tmp_path / "r.html").text
    Study.open(store, mode="r+")["cathode"].add_scan(Scan("c9", 9, "charged", (50, 60, 70)))
    page = report(store, tmp_path / "r.html")
    assert "cathode, c9: not in the study file of the last run" in page.text
    assert [r.fractions[0] is None for r in fraction_table(store)] == [False, True]
    path.write_text(text, encoding="utf-8")
    run(path)
    page = report(store, tmp_path / "r.html")
    assert "thresholds were fitted before c1 was added" in page.text
    assert "warning" in page.text


@pytest.mark.slow
def test_grey_images_only(tmp_path: Path, scans: Path) -> None:
    store = run(write_study(tmp_path, scans, "filter alone")).store
    page = report(store, tmp_path / "r.html", figures=tmp_path / "f")
    assert "asks for grey images only" in page.text
    assert len(page.all("div", "slice grey")) == 6
    assert not page.all("div", "slice phase")
    assert "Histograms of the filtered images of 2 scans" in page.text
    assert "Volume fractions of" not in page.text


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
def test_float_images_have_histograms(tmp_path: Path, scans: Path) -> None:
    store = run(write_study(tmp_path, scans, "fixed float", suffix=".npy")).store
    page = report(store, tmp_path / "r.html")
    assert "Histograms of the filtered images of 2 scans" in page.text
    assert "0.2525 and 0.3959" in page.text


@pytest.mark.usefixtures("sketched")
def test_spoiled_metrics_are_as_good_as_none(fixed: Path, tmp_path: Path) -> None:
    store = tmp_path / "study.zarr"
    shutil.copytree(fixed, store)
    shutil.rmtree(store / "cathode" / "metrics" / "scan")
    page = report(store, tmp_path / "r.html")
    assert "cathode, c0 and c1: no measurements yet" in page.text
    assert "No volume fractions yet." in page.text


@pytest.mark.slow  # the run; the report takes a third of it
def test_fifty_scans(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["study: many", "block: 32", "specimens:", "  cathode:", "    phases: [pore, solid]", "    voxel_size: 0.5"]
    lines += ["    segment: {thresholds: [30000]}", "    measures: [volume, profile]", "    scans:"]
    for i in range(50):
        np.save(tmp_path / f"s{i}.npy", rng.integers(0, 60000, (24, 24 + i % 3, 24), dtype=np.uint16))
        lines.append(f"    - {{name: scan{i}, path: s{i}.npy, cycle: {i}}}")
    (tmp_path / "study.yaml").write_text("\n".join(lines), encoding="utf-8")
    store = run(tmp_path / "study.yaml").store
    page = report(store, tmp_path / "r.html")
    assert len(page.all("figure", "scan")) == 50
    assert len(page.all("div", "slice")) == 300
    assert all(f"scan{i} " in page.text for i in range(50))
    assert all(a.get("loading") == "lazy" for a in page.all("img") if "cathode scan" in (a["alt"] or ""))
    assert len(page.source) < 12 * 2**20


@pytest.mark.usefixtures("sketched")
def test_bad_places(fixed: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyNotFound, match="no study at"):
        write_report(tmp_path / "nothing.zarr")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(fixed, tmp_path / "file" / "r.html")
    with pytest.raises(InputError, match="figures cannot be written"):
        write_report(fixed, tmp_path / "r.html", figures=tmp_path / "file")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(fixed, tmp_path)
