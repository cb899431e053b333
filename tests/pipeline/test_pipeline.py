"""The whole way from files to metrics: the same to the bit for any blocks and workers, and equal to plain numpy."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from scipy import ndimage
from stores import SHAPES, contents, differences, finished, write_study

from mgsflow.compute import Output, Pass
from mgsflow.errors import DoesNotFit, InputError, InputNotFound, StoreError, StudyNotFound
from mgsflow.filters import Gaussian
from mgsflow.memory import parse_bytes
from mgsflow.pipeline import Capacity, capacity, open_scans, plan, run
from mgsflow.pipeline.code import code_version
from mgsflow.pipeline.planning.capacity import check_fits, peak
from mgsflow.pipeline.step import Step
from mgsflow.recipe import load
from mgsflow.segmentation import Threshold
from mgsflow.store import Study
from mgsflow.store.tree import open_study

WHOLE = 256  # one block holds either scan


@pytest.fixture(scope="module")
def whole(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the store of a study done in one block and one thread, made when first asked for."""
    folder = tmp_path_factory.mktemp("whole")

    def store(steps: str, suffix: str = "") -> Path:
        name = steps.replace(" ", "-") + suffix.replace(".", "-")
        path = write_study(folder, scans, steps, WHOLE, suffix, name)
        if not path.with_suffix(".zarr").exists():
            run(path, threads=1)
        return path.with_suffix(".zarr")

    return store


def results_differ(a: Path, b: Path) -> list[str]:
    """Return what differs in volumes, coordinates and metrics; records are a block's own."""
    return differences(a, b, "cathode/scale0") + differences(a, b, "cathode/metrics")


# ------------------------------------------------------------------------------------------------- plain numpy


def stack(folder: Path) -> np.ndarray:
    return np.stack([tifffile.imread(p) for p in sorted(folder.glob("*.tif"))])


def test_phases_fractions_and_profiles_are_those_of_numpy(scans: Path, whole: Any) -> None:
    tree = open_study(whole("plain"))
    volumes, metrics = tree["cathode/scale0"].ds, tree["cathode/metrics"].ds
    for name, cycle in (("c0", 0), ("c1", 1)):
        grey = stack(scans / name)
        labels = np.digitize(grey, [23100, 32500])
        z, y, x = grey.shape
        ours = volumes.sel(cycle=cycle).isel(z=slice(z), y=slice(y), x=slice(x))
        assert np.array_equal(ours.image.values, grey)
        assert np.array_equal(ours.phase.values, labels)
        counts = np.bincount(labels.ravel(), minlength=3)
        measured = metrics.sel(cycle=cycle)
        assert np.array_equal(measured.voxel_count.values, counts)
        assert np.array_equal(measured.volume_fraction.values, counts / grey.size)
        assert measured.volume.values == pytest.approx(counts * 0.126**3, rel=1e-12)
        for axis, n in zip("zyx", grey.shape):
            others = tuple(i for i, a in enumerate("zyx") if a != axis)
            expected = np.array([(labels == p).mean(axis=others) for p in range(3)])
            profile = measured[f"depth_profile_{axis}"].values
            np.testing.assert_allclose(profile[:, :n], expected, rtol=1e-14)
            assert np.isnan(profile[:, n:]).all()  # beyond the shorter scan
            np.testing.assert_allclose(metrics[axis].values, (np.arange(metrics.sizes[axis]) + 0.5) * 0.126, rtol=1e-14)


def test_beyond_a_scan_s_extent_there_is_nothing(whole: Any) -> None:
    image = zarr.open_array(whole("plain"), path="cathode/scale0/image", mode="r")
    assert image.shape == (2, 120, 90, 110)
    assert not image[0, :, :, 100:].any()
    assert not image[1, 96:].any()
    assert not image[1, :, 70:].any()


def test_filter_then_cut_is_that_of_scipy(small_scans: Path, tmp_path: Path) -> None:
    steps = "    filter: [median: {radius: 1}]\n    segment: {thresholds: [23100, 32500]}\n"
    path = write_study(tmp_path, small_scans, steps, 64)
    run(path, threads=2)
    found = contents(path.with_suffix(".zarr"), "cathode/scale0")
    for i, name in enumerate(SHAPES):
        smooth = ndimage.median_filter(stack(small_scans / name), 3, mode="reflect")
        z, y, x = smooth.shape
        assert np.array_equal(found["cathode/scale0/filtered"][i, :z, :y, :x], smooth)
        assert np.array_equal(found["cathode/scale0/phase"][i, :z, :y, :x], np.digitize(smooth, [23100, 32500]))


def test_thresholds_of_otsu_are_one_pair_for_both_scans_and_the_best_of_the_pooled_histogram(
    scans: Path, whole: Any
) -> None:
    store = whole("otsu alone")
    thresholds = Study.open(store)["cathode"].attributes["thresholds"]
    low, high = thresholds["values"]
    pooled = np.concatenate([stack(scans / n).ravel() for n in SHAPES])
    found = contents(store, "cathode/scale0")
    for i, (z, y, x) in enumerate(SHAPES.values()):
        image = found["cathode/scale0/image"][i, :z, :y, :x]
        assert np.array_equal(found["cathode/scale0/phase"][i, :z, :y, :x], np.digitize(image, [low, high]))

    def between(a: float, b: float) -> float:
        classes = np.digitize(pooled, [a, b])
        counts = np.bincount(classes, minlength=3)
        means = np.bincount(classes, weights=pooled, minlength=3) / np.maximum(counts, 1)
        return float((counts * (means - pooled.mean()) ** 2).sum())

    best = between(low, high)
    for step in (1, 40, 400):  # the criterion falls to every side
        for a, b in ((step, 0), (-step, 0), (0, step), (0, -step), (step, -step)):
            assert between(low + a, high + b) <= best * (1 + 1e-12)


# --------------------------------------------------------------------------------------------------- same result


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("steps", "suffix", "block", "threads", "shuffle"),
    [
        slow("otsu", "", 64, 2, 7),
        ("otsu", "", "[100, 37, 256]", 1, None),
        slow("fixed", "", "[100, 37, 256]", 2, 3),
        slow("otsu", ".npy", "[100, 37, 256]", 1, None),
        slow("otsu", "", 64, 1, None),
        slow("otsu", "", "[100, 37, 256]", 2, None),
        slow("otsu", "", WHOLE, 2, None),
        slow("otsu", "", 32, 2, 1),
        slow("otsu", ".npy", 64, 2, 11),
        slow("fixed", "", 64, 2, 5),
        slow("fixed float", ".npy", "[100, 37, 256]", 2, 2),
        slow("filter alone", ".npy", 64, 2, None),
    ],
)
def test_any_blocks_threads_and_order_give_the_same(
    steps: str, suffix: str, block: Any, threads: int, shuffle: int | None, scans: Path, whole: Any, tmp_path: Path
) -> None:
    reference = whole(steps, suffix)
    path = write_study(tmp_path, scans, steps, block, suffix)
    run(path, threads=threads, shuffle=shuffle)
    assert results_differ(reference, path.with_suffix(".zarr")) == []


@pytest.mark.parametrize(
    ("workers", "steps", "suffix"),
    [slow(1, "otsu", ""), (2, "otsu", ""), slow(1, "otsu", ".npy"), slow(2, "otsu", ".npy")],
)
def test_worker_processes_give_the_same(
    workers: int, steps: str, suffix: str, scans: Path, whole: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    client = request.getfixturevalue("one_worker" if workers == 1 else "two_workers")
    path = write_study(tmp_path, scans, steps, 64, suffix)
    summary = run(path, client=client, shuffle=workers)
    assert len(summary.peaks) == workers
    assert results_differ(whole(steps, suffix), path.with_suffix(".zarr")) == []


@pytest.mark.slow
def test_another_filter_gives_another_result(scans: Path, whole: Any, tmp_path: Path) -> None:
    # the comparison above is able to fail
    steps = "    filter: [median: {radius: 1}]\n    segment: {multi_otsu: true, majority: 1}\n"
    path = write_study(tmp_path, scans, steps, 64)
    run(path, threads=2)
    assert set(results_differ(whole("otsu"), path.with_suffix(".zarr"))) >= {
        "cathode/scale0/filtered",
        "cathode/scale0/phase",
        "cathode/metrics/volume_fraction",
    }


def test_what_the_drift_leaves_as_it_is_can_be_chosen(scans: Path, tmp_path: Path) -> None:
    stores = []
    for anchor in (0, 15000):
        steps = f"    correct: {{drift: {{smooth: 9, anchor: {anchor}}}}}\n"
        path = write_study(tmp_path / str(anchor), scans, steps, WHOLE)
        run(path, threads=1)
        stores.append(path.with_suffix(".zarr"))
    assert "cathode/scale0/filtered" in differences(*stores)


def test_the_brightness_of_slices_is_evened(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    grey = rng.normal(20000, 500, (80, 40, 50))
    gains = 1 + 0.1 * np.sin(np.arange(80) / 2)
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in SHAPES:
        np.save(folder / f"{name}.npy", (grey * gains[:, None, None]).round().astype(np.uint16))
        gains = gains[::-1]
    path = write_study(tmp_path, folder, "    correct: {drift: {smooth: false}}\n", 32, ".npy")
    run(path, threads=2)
    filtered = contents(path.with_suffix(".zarr"))["cathode/scale0/filtered"]
    means = filtered.mean(axis=(2, 3))
    assert means.max() / means.min() < 1.0005
    assert np.abs(np.asarray([np.load(folder / "c0.npy").mean(axis=(1, 2)).std()])) > 1000  # there was a drift


def test_a_scan_is_put_on_the_grey_scale_of_the_reference(scans: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    grey = stack(scans / "c0")
    np.save(folder / "c0.npy", grey)
    np.save(folder / "c1.npy", (grey * 0.8 + 3000).round().astype(np.uint16))
    path = write_study(tmp_path, folder, "    normalise: {reference: c0}\n", 64, ".npy")
    run(path, threads=2)
    found = contents(path.with_suffix(".zarr"))["cathode/scale0/filtered"].astype(int)
    assert np.array_equal(found[0], grey)
    assert np.abs(found[1] - grey).mean() < 150  # of 18,000 between the landmarks


# ------------------------------------------------------------------------------------------- plan, capacity, code


def test_a_plan_tells_the_blocks_of_the_run_and_writes_nothing(small_scans: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, small_scans, "otsu", 64)
    planned = plan(load(path), Capacity(1, 2, 2**33))
    assert planned.problems == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["study.yaml"]
    summary = run(path, threads=2)
    assert planned.blocks == summary.blocks == finished(path.with_suffix(".zarr"))
    assert planned.disk > sum(f.stat().st_size for f in path.with_suffix(".zarr").rglob("c/**/*") if f.is_file()) / 2


def test_a_plan_that_does_not_fit_says_what_would(tmp_path: Path) -> None:
    for name in SHAPES:  # a sparse file: a plan reads no voxel
        np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", np.uint16, (400, 400, 400)).flush()
    path = write_study(tmp_path, tmp_path, "otsu", WHOLE, ".npy")
    room = Capacity(1, 1, 224 * 2**20, base=100 * 2**20)
    problems = plan(load(path), room).problems
    assert any(p.startswith("step filter of cathode/c0 needs") for p in problems)
    # the memory that it names is enough, and a tenth less is not
    sizes = [p.partition("workers of ")[2].partition(" (--memory-limit)")[0] for p in problems]
    most = max(parse_bytes(s) for s in sizes)
    assert plan(load(path), replace(room, memory=most)).problems == ()
    assert plan(load(path), replace(room, memory=int(0.8 * most))).problems
    # and so is the block
    edge = min(int(p.partition("`block: ")[2].partition("`")[0]) for p in problems)
    smaller = write_study(tmp_path, tmp_path, "otsu", edge, ".npy", name="smaller")
    assert plan(load(smaller), room).problems == ()


def _step(specimen: Any, threads: int = 1) -> Step:
    region = specimen.volume("image", "a", np.uint16)
    out = specimen.volume("phase", "a", np.uint8)
    work = Pass(region, specimen.grid("a"), (Gaussian(1.0), Threshold((5.0,))), (Output(2, out),))
    return Step("segment", specimen, "a", work, "inputs")


@pytest.fixture
def specimen(tmp_path: Path) -> Any:
    from mgsflow.store import Scan

    made = Study.create(tmp_path / "s.zarr").add_specimen("x", (1, 1, 1), ("p", "q"), 64)
    made.add_scan(Scan("a", 0, "pristine", (130, 64, 100)))
    return made


def test_peak_is_base_and_a_block_for_each_thread_that_has_one(specimen: Any) -> None:
    step = _step(specimen)
    one = step.work.memory()
    peaks = [peak(step.work, Capacity(1, n, 2**40, base=1000)) for n in (1, 4, 6, 99)]
    spare = peaks[0] / (1000 + one)  # a share on top, the same for all
    assert 1 <= spare < 1.25
    assert peaks[1] == pytest.approx(spare * (1000 + 4 * one), rel=1e-4)
    assert peaks[2] == peaks[3] == pytest.approx(spare * (1000 + 6 * one), rel=1e-4)  # 3 × 1 × 2 blocks
    assert one >= 2 * (66 * 64 * 66) * 2  # at the very least the block with its halo, twice
    enough = int(peaks[0] / 0.8) + 2
    assert check_fits(step, Capacity(1, 1, enough, base=1000)) == peaks[0]
    with pytest.raises(DoesNotFit, match="step segment of x/a needs "):
        check_fits(step, Capacity(1, 1, peaks[0], base=1000))


def test_capacity_of_threads_and_of_a_cluster(two_workers: Any) -> None:
    in_driver = capacity(None, 3)
    assert (in_driver.workers, in_driver.threads) == (1, 3)
    assert in_driver.memory > 2**28
    there = capacity(two_workers)
    assert (there.workers, there.threads) == (2, 1)


def test_the_key_of_a_step_knows_inputs_parameters_and_code(specimen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step = _step(specimen)
    assert step.key == _step(specimen).key
    keys = {step.key, replace(step, inputs="other").key}
    work = step.work
    keys.add(replace(step, work=replace(work, chain=(Gaussian(1.1), Threshold((5.0,))))).key)
    keys.add(replace(step, work=replace(work, chain=(Gaussian(1.0), Threshold((5.5,))))).key)
    monkeypatch.setattr("mgsflow.pipeline.step.code_version", lambda objects: "newer")
    keys.add(step.key)
    assert len(keys) == 5


def test_code_version_is_of_the_code_and_not_of_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mgsflow.pipeline.code as code

    def digest(text: str) -> str:
        file = tmp_path / "part.py"
        file.write_text(text)
        monkeypatch.setattr(code.importlib.util, "find_spec", lambda name: type("S", (), {"origin": str(file)}))
        return code._parsed.__wrapped__("mgsflow.part")[0]

    plain = digest("def f(a):\n    return a + 1\n")
    assert digest("# a comment\ndef f(a):\n\n    return (a\n            + 1)\n") == plain
    assert digest("def f(a):\n    return a + 2\n") != plain
    documented = digest('"""Module."""\ndef f(a):\n    """Add one."""\n    return a + 1\n')
    assert digest('"""Another."""\ndef f(a):\n    """Add 1."""\n    return a + 1\n') == documented
    assert digest('"""Another."""\ndef f(a):\n    """Add 1."""\n    return a - 1\n') != documented


def test_code_version_follows_imports() -> None:
    from mgsflow.pipeline.code import _parsed

    version = code_version([Gaussian(1.0)])
    assert version == code_version([Gaussian(2.0)])
    assert version != code_version([Threshold((1.0,))])
    assert "mgsflow.filters.separable" in _parsed(Gaussian.__module__)[1]


# -------------------------------------------------------------------------------------------------------- refusals


def test_what_cannot_be_read_is_told_before_anything_is_written(scans: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, tmp_path, "plain", 64)
    with pytest.raises(InputNotFound, match=r"study.yaml: specimens.cathode.scans\[0\] \(c0\)"):
        run(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["study.yaml"]


def test_scans_of_one_specimen_must_agree(scans: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "c0.npy", np.zeros((5, 6, 7), np.uint16))
    np.save(tmp_path / "c1.npy", np.zeros((5, 6, 7), np.float32))
    path = write_study(tmp_path, tmp_path, "plain", 64, ".npy")
    with pytest.raises(InputError, match="share a dtype, got c0 uint16, c1 float32"):
        open_scans(load(path))
    text = write_study(tmp_path, scans, "plain", 64).read_text().replace("    voxel_size: 0.126\n", "")
    path.write_text(text)
    assert open_scans(load(path))["cathode"].voxel_size == pytest.approx((0.126,) * 3)
    np.save(tmp_path / "c1.npy", np.zeros((5, 6, 7), np.uint16))
    path.write_text(text.replace(str(scans / "c0"), "c0.npy").replace(str(scans / "c1"), "c1.npy"))
    with pytest.raises(InputError, match="voxel_size: not in the files of c0, c1"):
        open_scans(load(path))


def test_a_file_or_another_store_in_place_of_the_store_is_left_alone(scans: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, scans, "plain", 64)
    store = path.with_suffix(".zarr")
    store.write_text("mine")
    with pytest.raises(StoreError, match="exists and is not an mgsflow study"):
        run(path)
    assert store.read_text() == "mine"
    store.unlink()
    zarr.create_group(store).create_array("x", shape=(3,), dtype="i4")
    with pytest.raises(StoreError, match="not an mgsflow study"):
        run(path)
    assert zarr.open_group(store, mode="r")["x"].shape == (3,)


def test_a_folder_that_cannot_be_written(scans: Path, tmp_path: Path) -> None:
    # a file in place of the folder: permissions do not bind a test that runs as root
    (tmp_path / "disk").write_text("")
    path = write_study(tmp_path, scans, "plain", 64)
    path.write_text(path.read_text().replace("store: study.zarr", "store: disk/study.zarr"))
    with pytest.raises(StoreError, match="cannot be written"):
        run(path)


def test_only_the_tree_of_a_study_opens(tmp_path: Path) -> None:
    with pytest.raises(StudyNotFound, match="no study at"):
        open_study(tmp_path / "none.zarr")


def test_a_run_is_recorded(small_scans: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, small_scans, "plain", 64)
    lines: list[tuple[Any, ...]] = []
    summary = run(path, threads=2, progress=lambda *a: lines.append(a))
    attrs = Study.open(path.with_suffix(".zarr")).attributes
    assert attrs["status"] == "complete"
    (entry,) = attrs["runs"]
    assert entry["blocks"] == summary.blocks
    assert entry["recipe"]["specimens"]["cathode"]["segment"]["thresholds"] == [23100, 32500]
    assert entry["versions"]["zarr"] == zarr.__version__
    assert entry["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert entry["measured_peak"] > 2**26
    for step in ("ingest", "segment"):
        for name in SHAPES:
            mine = [a for a in lines if a[0] == step and a[1] == f"cathode/{name}"]
            total = mine[0][3]
            assert [a[2] for a in mine] == list(range(total + 1))


def test_the_dataset_of_metrics_is_one_for_all_scans(whole: Any) -> None:
    metrics = open_study(whole("otsu"))["cathode/metrics"].to_dataset().load()
    assert metrics.volume_fraction.dims == ("scan", "phase")
    total = metrics.volume_fraction.sum("phase")
    xr.testing.assert_allclose(total, xr.ones_like(total))
    assert metrics.volume_fraction.attrs["units"] == "1"
    assert list(metrics.sel(cycle=1, state="charged").phase.values) == ["pore", "CBD", "sulfur"]
