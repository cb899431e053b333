"""Studies within a region: a box is the cropped scan to the bit; a cylinder is what numpy finds within the circle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu
from stores import contents, same

import mgsflow
from mgsflow.errors import MgsflowError
from mgsflow.pipeline import run
from mgsflow.pipeline.planning.capacity import capacity
from mgsflow.pipeline.planning.plan import plan
from mgsflow.recipe import load
from mgsflow.transport.tortuosity import tortuosity_factor

SHAPE = (40, 64, 68)
CENTRE, RADIUS = (31.5, 33.5), 30.0


def circle(shape: tuple[int, int, int] = SHAPE, radius: float = RADIUS) -> np.ndarray:
    _, y, x = np.indices(shape)
    return (y - CENTRE[0]) ** 2 + (x - CENTRE[1]) ** 2 <= radius**2


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    """Blobs of two phases with noise, everywhere."""
    rng = np.random.default_rng(1)
    blobs = gaussian_filter(rng.normal(size=SHAPE), 2)
    return np.clip(np.where(blobs < 0, 60, 160) + rng.normal(0, 12, SHAPE), 1, 250).astype(np.uint8)


@pytest.fixture(scope="module")
def scans(grey: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The blobs in a circle of 0 and of NaN, whole, and cut to a box."""
    folder = tmp_path_factory.mktemp("scans")
    inside = circle(radius=RADIUS + 1.6)
    np.save(folder / "zero.npy", np.where(inside, grey, 0).astype(np.uint8))
    np.save(folder / "nan.npy", np.where(inside, grey, np.nan).astype(np.float32))
    np.save(folder / "whole.npy", grey)
    np.save(folder / "cropped.npy", grey[4:36, 10:50, 7:60])
    np.save(folder / "mask.npy", circle())
    return folder


def study(folder: Path, scan: Path, region: str, asked: str = "", block: int = 24, name: str = "study") -> Path:
    text = f"""\
study: region
store: {name}.zarr
block: {block}
specimens:
  s:
    voxel_size: 0.5
    phases: [pore, solid]
    {region}
    scans: [{{name: a, path: {scan}, cycle: 0}}]
{asked or "    segment: {thresholds: [100]}"}
"""
    (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


def metrics(path: Path) -> xr.Dataset:
    return mgsflow.open(path.with_suffix(".zarr"))["s/metrics"].ds.load().isel(scan=0)


FILTERED = """\
    filter: [median: {radius: 1}]
    segment: {multi_otsu: true, majority: 1}
    measures: [volume, profile, surface, interface, tpb, curvature]
    particles: {phase: pore}
    tortuosity: {phases: [pore], axes: [z, x]}
"""


def test_a_box_is_the_cropped_scan_to_the_bit(scans: Path, tmp_path: Path) -> None:
    boxed = study(tmp_path, scans / "whole.npy", "region: {box: {z: [4, 36], y: [10, 50], x: [7, 60]}}", FILTERED)
    cropped = study(tmp_path, scans / "cropped.npy", "", FILTERED, name="cropped")
    for path in (boxed, cropped):
        run(path, threads=1)
    ours, theirs = (contents(p.with_suffix(".zarr")) for p in (boxed, cropped))
    assert ours.keys() == theirs.keys()
    assert [k for k in theirs if not same(ours[k], theirs[k])] == []


def test_the_inscribed_box_allows_every_analysis(scans: Path, tmp_path: Path) -> None:
    path = study(tmp_path, scans / "nan.npy", "region: {cylinder: auto, box: inscribed}", FILTERED)
    run(path, threads=2)
    found = metrics(path)
    assert found.tortuosity_status.sel(phase="pore", axis="x") == "converged"
    assert found.particle_count > 0


class TestCylinder:
    """Numbers of a cylinder against numpy on the voxels within it."""

    REGION = f"region: {{cylinder: {{centre: [{CENTRE[0]}, {CENTRE[1]}], radius: {RADIUS}}}}}"
    ASKED = "    segment: {multi_otsu: true}\n    tortuosity: {phases: [pore], axes: [z, y], rtol: 1e-5}\n"

    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        path = study(tmp_path_factory.mktemp("cylinder"), scans / "zero.npy", cls.REGION, cls.ASKED)
        run(path, threads=2)
        return path

    @pytest.fixture
    def inside(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels with 2 outside, and what is inside."""
        threshold = threshold_otsu(grey[circle()])
        return np.where(circle(), grey > threshold, 2).astype(np.uint8), circle()

    def test_the_threshold_is_fitted_within(self, path: Path, grey: np.ndarray) -> None:
        (found,) = mgsflow.store.Study.open(path.with_suffix(".zarr"))["s"].attributes["thresholds"]["values"]
        within = grey[circle()]
        # classes split at the same voxels: a threshold may lie anywhere between two grey values
        assert ((within >= found) == (within > threshold_otsu(within))).all()

    def test_phases_fractions_and_profiles(self, path: Path, inside: tuple[np.ndarray, np.ndarray]) -> None:
        labels, within = inside
        store = mgsflow.open(path.with_suffix(".zarr"))
        np.testing.assert_array_equal(store["s/scale0"].phase.isel(scan=0).values, labels)
        found = metrics(path)
        assert found.phase.values.tolist() == ["pore", "solid"]
        counts = np.array([(labels == p).sum() for p in (0, 1)])
        np.testing.assert_array_equal(found.voxel_count, counts)
        np.testing.assert_array_equal(found.volume_fraction, counts / within.sum())
        for axis, across in (("z", (1, 2)), ("y", (0, 2)), ("x", (0, 1))):
            slices = within.sum(axis=across)
            with np.errstate(invalid="ignore"):
                share = np.stack([(labels == p).sum(axis=across) / slices for p in (0, 1)])
            np.testing.assert_array_equal(found[f"depth_profile_{axis}"], share)

    def test_no_surface_with_the_outside(self, path: Path, inside: tuple[np.ndarray, np.ndarray]) -> None:
        labels, within = inside
        faces = 0
        for axis in range(3):
            a, b = (np.moveaxis(labels, axis, 0)[s] for s in (slice(None, -1), slice(1, None)))
            faces += int(((a != b) & (a < 2) & (b < 2)).sum())
        area = faces * 0.25
        found = metrics(path).sel(estimator="faces")
        np.testing.assert_allclose(found.surface_area, [area, area], rtol=1e-12)
        np.testing.assert_allclose(found.interface_area.sel(phase="pore", neighbour="solid"), area, rtol=1e-12)
        np.testing.assert_allclose(found.surface_per_total_volume, area / (within.sum() * 0.125), rtol=1e-12)

    def test_transport_is_per_area_inside(self, path: Path, inside: tuple[np.ndarray, np.ndarray]) -> None:
        labels, within = inside
        alone = tortuosity_factor(labels, {0: 1.0}, "z", 0.5, rtol=1e-5)
        area = within[0].mean()
        found = metrics(path).sel(phase="pore")
        diffusivity = float(found.effective_diffusivity.sel(axis="z"))
        assert diffusivity == pytest.approx(alone.effective_diffusivity / area, rel=1e-12)
        factor = float(found.tortuosity_factor.sel(axis="z"))
        assert factor == pytest.approx(float(found.volume_fraction) / diffusivity, rel=1e-12)
        assert found.tortuosity_status.sel(axis="y") == "region changes along the axis"
        for name in ("tortuosity_factor", "effective_diffusivity", "formation_factor", "percolating_fraction"):
            assert np.isnan(found[name].sel(axis="y"))

    @pytest.mark.parametrize(
        ("scan", "region", "block"),
        [("zero.npy", REGION, 64), ("nan.npy", REGION, 17), ("whole.npy", "region: {mask: MASK}", 32)],
    )
    def test_scans_that_agree_inside_agree(
        self, scan: str, region: str, block: int, path: Path, scans: Path, tmp_path: Path
    ) -> None:
        region = region.replace("MASK", str(scans / "mask.npy"))
        asked = "    segment: {thresholds: [109.5]}\n"
        expected = study(tmp_path, scans / "zero.npy", self.REGION, asked, name="expected")
        other = study(tmp_path, scans / scan, region, asked, block, "other")
        for one in (expected, other):
            run(one, threads=1)
        xr.testing.assert_equal(metrics(other).drop_vars("scan"), metrics(expected).drop_vars("scan"))

    def test_filters_carry_nothing_in(self, grey: np.ndarray, scans: Path, tmp_path: Path) -> None:
        """Whatever lies outside, the voxels that count are the same."""
        asked = "    filter: [gaussian: {sigma: 1}]\n    segment: {thresholds: [109.5], majority: 1}\n"
        stores = []
        for name in ("zero", "whole"):
            path = study(tmp_path, scans / f"{name}.npy", self.REGION, asked, name=name)
            run(path, threads=1)
            stores.append(mgsflow.open(path.with_suffix(".zarr"))["s/scale0"].phase.isel(scan=0).values)
        np.testing.assert_array_equal(*stores)
        assert 0.5 < (stores[0] < 2).sum() / circle().sum() < 0.9


def test_phases_that_do_not_count(grey: np.ndarray, scans: Path, tmp_path: Path) -> None:
    asked = "    segment: {thresholds: [50, 100]}\n"
    path = study(tmp_path, scans / "whole.npy", "region: {exclude: dark}", asked)
    path.write_text(path.read_text().replace("phases: [pore, solid]", "phases: [dark, pore, solid]"))
    run(path, threads=1)
    found = metrics(path)
    counted = grey >= 50
    assert float(found.volume_fraction.sel(phase="dark")) == 0
    assert float(found.volume_fraction.sel(phase="pore")) == (counted & (grey < 100)).sum() / counted.sum()


def test_another_region_fits_another_threshold(scans: Path, tmp_path: Path) -> None:
    path = study(tmp_path, scans / "zero.npy", "region: {box: {z: [0, 30]}}", "    segment: {multi_otsu: true}\n")
    run(path, threads=1)
    first = metrics(path).volume_fraction
    path.write_text(path.read_text().replace("region: {box: {z: [0, 30]}}", TestCylinder.REGION))
    run(path, threads=1)
    assert abs(float((metrics(path).volume_fraction - first).sel(phase="pore"))) > 0.01


def test_a_plan_tells_the_region_and_what_has_no_number(scans: Path, tmp_path: Path) -> None:
    asked = "    segment: {thresholds: [100]}\n    tortuosity: {phases: [pore], axes: [z, y]}\n"
    found = plan(load(study(tmp_path, scans / "nan.npy", "region: {cylinder: auto}", asked)), capacity(None, 1))
    assert found.regions == ("s/a: the cylinder along z of radius 30 voxels around y = 31.5, x = 33.5",)
    assert any("no tortuosity along y within a cylinder along z" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("region", "asked", "message"),
    [
        ("{cylinder: auto}", "particles: {phase: pore}", "particles: is not measured within a cylinder or mask"),
        ("{cylinder: auto}", "measures: [volume, curvature]", "curvature is not measured within a region"),
        ("{cylinder: auto}", "measures: [surface]", "must have `volume`"),
        ("{cylinder: auto}", "correct: {drift: true}", "drift: is not made within a cylinder"),
        ("{cylinder: auto, outside: 0}", "", "has cylinder and outside: give one of them"),
        ("{box: inscribed}", "", "inscribed needs the cylinder"),
        ("{box: {q: [1, 2]}}", "", "no axis 'q'"),
        ("{box: {z: [9, 2]}}", "", "first voxel and one past the last"),
        ("{}", "", "is empty"),
        ("{exclude: salt}", "", "no phase is named"),
        ("{exclude: [pore, solid]}", "", "leaves no phase that counts"),
        ("{box: {z: [0, 400]}}", "", "not within the scan"),
        ("{cylinder: {centre: [900, 3], radius: 4}}", "", "outside the 64 voxels of the scan"),
        ("{mask: cropped.npy}", "", "they must be equal"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    region: str, asked: str, message: str, scans: Path, tmp_path: Path
) -> None:
    region = region.replace("cropped.npy", str(scans / "cropped.npy"))
    path = study(
        tmp_path, scans / "zero.npy", f"region: {region}", f"    segment: {{thresholds: [100]}}\n    {asked}\n"
    )
    with pytest.raises(MgsflowError, match=message):
        run(path, threads=1)
    assert not path.with_suffix(".zarr").exists()


def test_a_cylinder_that_is_not_there(scans: Path, tmp_path: Path) -> None:
    path = study(tmp_path, scans / "whole.npy", "region: {cylinder: auto}")
    with pytest.raises(MgsflowError, match=r"study.yaml: specimens.s.scans\[0\] \(a\): no cylinder was found"):
        run(path, threads=1)
