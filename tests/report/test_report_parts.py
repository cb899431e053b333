"""The report's parts: slices against the stored voxels, pictures, tables, and how numbers are written."""

from __future__ import annotations

from io import BytesIO
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from stores import SHAPES, STEPS, write_study

from mgsflow.pipeline import run
from mgsflow.report.figures import slices
from mgsflow.report.figures.histograms import curves, histograms, window
from mgsflow.report.figures.palette import DARK, LIGHT, phase_colour, scan_colour
from mgsflow.report.figures.pictures import budget, data_uri, grey_picture, phase_picture
from mgsflow.report.figures.slices import Plane, grey_planes, phase_planes, scale_bar
from mgsflow.report.numbers import aligned, duration, fixed, listing, plain, plus_minus, significant
from mgsflow.report.state import SpecimenState, read_state
from mgsflow.report.tables import Difference, differences, reference_scan
from mgsflow.segmentation import GreyHistogram
from mgsflow.store import Study

FEW = STEPS["fixed"] + "    measures: [volume, profile]\n"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, scans: Path) -> SpecimenState:
    store = run(write_study(tmp_path_factory.mktemp("parts"), scans, FEW)).store
    return read_state(Study.open(store)).specimens[0]


def volume(state: SpecimenState, array: str, scan: str, level: int = 0) -> np.ndarray:
    """The scan's voxels by way of zarr alone."""
    found = zarr.open_group(state.specimen.store, mode="r")[f"cathode/scale{level}/{array}"]
    z, y, x = (-(-n >> level) for n in SHAPES[scan])
    return np.asarray(found[list(SHAPES).index(scan), :z, :y, :x])


def middles(array: np.ndarray) -> list[np.ndarray]:
    z, y, x = (n // 2 for n in array.shape)
    return [array[z], array[:, y], array[:, :, x]]


def test_planes_are_those_of_the_middle(state: SpecimenState) -> None:
    for scan in state.scans:
        shape = SHAPES[scan.scan.name]
        for planes, array in ((grey_planes(state, scan), "filtered"), (phase_planes(state, scan), "phase")):
            for plane, wanted, n in zip(planes, middles(volume(state, array, scan.scan.name)), shape):
                np.testing.assert_array_equal(plane.pixels, wanted)
                assert plane.size == pytest.approx([0.126 * k for k in wanted.shape])
                assert plane.position == pytest.approx(0.126 * (n // 2 + 0.5))
                assert plane.missing is None


def test_picture_of_phases_holds_every_label(state: SpecimenState) -> None:
    plane = phase_planes(state, state.scans[0])[0]
    image = np.asarray(Image.open(BytesIO(phase_picture(plane, 3))).convert("RGB"))
    colours = np.array([[int(phase_colour(i)[k : k + 2], 16) for k in (1, 3, 5)] for i in range(3)])
    np.testing.assert_array_equal(image, colours[plane.pixels])


def test_coarse_level_is_read_where_the_finest_is_too_large(
    state: SpecimenState, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "LONGEST", 64)
    # no coarse level: thinned out
    plane = phase_planes(state, state.scans[0])[1]
    np.testing.assert_array_equal(plane.pixels, middles(volume(state, "phase", "c0"))[1][::2, ::2])
    assert plane.reduction == 2
    assert plane.size == pytest.approx([0.252 * n for n in plane.pixels.shape])
    assert grey_planes(state, state.scans[0])[0].array == "image"
    # with one
    monkeypatch.setattr("mgsflow.store.pyramid.SMALLEST", 64)
    store = run(write_study(tmp_path, scans, FEW)).store
    coarse = read_state(Study.open(store)).specimens[0]
    for planes, array in (
        (grey_planes(coarse, coarse.scans[0]), "image"),
        (phase_planes(coarse, coarse.scans[0]), "phase"),
    ):
        z, y, x = (n // 2 // 2 for n in SHAPES["c0"])
        wanted = volume(coarse, array, "c0", level=1)
        for plane, pixels in zip(planes, (wanted[z], wanted[:, y], wanted[:, :, x])):
            np.testing.assert_array_equal(plane.pixels, pixels)
            assert plane.reduction == 2
            assert plane.array == array


def test_unfinished_blocks_are_marked(tmp_path: Path, scans: Path) -> None:
    def stop(step: str, label: str, done: int, total: int) -> None:
        if (step, label) == ("segment", "cathode/c0") and done == 20:
            raise RuntimeError

    path = write_study(tmp_path, scans, "plain", block=32)
    with pytest.raises(RuntimeError):
        run(path, progress=stop, threads=1)
    state = read_state(Study.open(tmp_path / "study.zarr")).specimens[0]
    plane = phase_planes(state, state.scans[0])[1]
    flags = zarr.open_group(state.specimen.store, mode="r")["cathode/blocks/done_segment"]
    done = np.asarray(flags[0])[:, SHAPES["c0"][1] // 2 // 32]
    wanted = ~np.kron(done, np.ones((32, 32))).astype(bool)[: SHAPES["c0"][0], : SHAPES["c0"][2]]
    assert plane.missing is not None
    np.testing.assert_array_equal(plane.missing, wanted)
    assert 0 < wanted.mean() < 1
    image = np.asarray(Image.open(BytesIO(phase_picture(plane, 3))).convert("RGBA"))
    np.testing.assert_array_equal(image[..., 3] == 0, wanted)


@given(st.floats(1e-3, 1e6))
def test_scale_bar_is_round_and_fits(width: float) -> None:
    bar = scale_bar(width)
    digits = f"{bar.length:.6e}"
    assert digits[0] in "125"
    assert float(digits[1:8]) == 0
    assert 0.3 * width / 2.5 * (1 - 1e-9) < bar.length <= 0.3 * width * (1 + 1e-9)
    assert bar.share * width == pytest.approx(bar.length)
    value, unit = bar.label.split()
    assert float(value) * {"nm": 1e-3, "µm": 1, "mm": 1e3}[unit] == pytest.approx(bar.length)


@pytest.mark.parametrize("most", [budget(1), budget(300)])
def test_pictures_keep_their_size(most: int) -> None:
    rng = np.random.default_rng(1)
    grey = Plane("image", "z", 0.0, 1, (10.0, 10.0), rng.integers(0, 65536, (900, 1000), dtype=np.uint16))
    labels = Plane("phase", "z", 0.0, 1, (10.0, 10.0), rng.integers(0, 3, (900, 1000), dtype=np.uint8))
    for content in (grey_picture(grey, (0.0, 65535.0), most), phase_picture(labels, 3, most)):
        assert len(content) <= most <= 150 * 1024
        width, height = Image.open(BytesIO(content)).size
        assert width / height == pytest.approx(1000 / 900, rel=0.05)
        assert data_uri(content).startswith("data:image/")


def test_shrunk_labels_are_the_most_frequent() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 20:] = 2
    labels[5, 5] = 1  # a speck that no pixel is mostly of
    shrunk = phase_picture(Plane("phase", "z", 0.0, 1, (1.0, 1.0), labels), 3, most=1)
    image = np.asarray(Image.open(BytesIO(shrunk)))
    assert set(np.unique(image)) == {0, 2}
    assert (image == 2).mean() == pytest.approx(44 / 64, abs=0.5 / image.shape[1] + 1e-9)


def test_curves_hold_all_voxels(state: SpecimenState) -> None:
    array, found = histograms(state)
    assert array == "filtered"
    for name, histogram in found.items():
        counts = np.bincount(volume(state, "filtered", name).ravel(), minlength=65536)
        np.testing.assert_array_equal(histogram.counts, counts)
    grey, shares = curves(found)
    assert grey.size <= 221
    voxels = volume(state, "filtered", "c1").ravel().astype(float)
    width = grey[1] - grey[0]
    edges = np.append(grey - width / 2, grey[-1] + width / 2)
    np.testing.assert_allclose(shares["c1"], np.histogram(voxels, edges)[0] / voxels.size, atol=1e-12)
    assert shares["c1"].sum() == pytest.approx(1, abs=1e-3)
    low, high = window(found) or (0, 0)
    assert ((voxels >= low) & (voxels <= high)).mean() > 0.99


def test_curves_of_one_grey_value() -> None:
    found = {"a": GreyHistogram(np.array([0, 7, 0]), 0.0, 1.0)}
    grey, shares = curves(found)
    assert shares["a"].sum() == pytest.approx(1)
    assert 1.0 in grey
    assert window(found) == (1.0, 2.0)


def test_differences(state: SpecimenState) -> None:
    reference = reference_scan(state)
    assert reference is not None
    assert reference.scan.name == "c0"
    metrics = state.metrics
    assert metrics is not None
    c0, c1 = metrics.sel(scan="c0"), metrics.sel(scan="c1")
    for one, phase in zip(differences(state)["c1"], state.specimen.phases):
        change = float((c1["volume_fraction"] - c0["volume_fraction"]).sel(phase=phase))
        error = float(np.sqrt(c1["volume_fraction_error"] ** 2 + c0["volume_fraction_error"] ** 2).sel(phase=phase))
        assert one.change == pytest.approx(change)
        assert one.error == pytest.approx(error)
        assert one.seen == (abs(change) > 2 * error)
    assert Difference(0.03, 0.01).cell == "+3.00 ± 1.00 ●"
    assert Difference(-0.01, 0.01).cell == "−1.00 ± 1.00 ○"
    assert Difference(-0.01, None).cell == "−1.00"
    assert Difference(None, None).cell == "–"


def test_numbers() -> None:
    assert fixed(-0.001, 2) == "0.00"
    assert fixed(-1.5, 1) == "−1.5"
    assert fixed(nan, 2) == fixed(inf, 2) == fixed(None, 2) == "–"
    assert plus_minus(0.31, 0.0045) == "31.00 ± 0.45"
    assert plus_minus(0.31, nan) == "31.00"
    assert significant(0.0012347) == "0.001235"
    assert significant(-123456.0) == "−123,456"
    assert plain(23100.0) == "23,100"
    assert plain(0.126) == "0.126"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(["a"]) == "a"
    assert aligned([0.9693, 0.007537, None]) == ["0.96930", "0.00754", "–"]
    assert aligned([13724.0, 2568.4]) == ["13,724", "2568"]
    assert aligned([0.0, nan]) == ["0", "–"]
    assert duration("2026-01-01T00:00:00+00:00", "2026-01-01T01:02:03+00:00") == "1 h 02 min"
    assert duration(None, None) == "–"


def test_colours_stay_apart() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    assert len({phase_colour(i) for i in range(255)}) > 250
    # the first three differ in lightness alone, and none is lost on either paper
    assert contrast(phase_colour(0), phase_colour(1)) > 1.5
    assert contrast(phase_colour(1), phase_colour(2)) > 1.3
    for colour in [*(phase_colour(i) for i in range(8)), *(scan_colour(i, 5) for i in range(5))]:
        assert contrast(colour, LIGHT.paper) > 1.9
        assert contrast(colour, DARK.paper) > 2
    for theme in (LIGHT, DARK):
        assert contrast(theme.ink, theme.paper) > 7
        assert contrast(theme.quiet, theme.paper) > 4.5
