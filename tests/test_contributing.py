"""The worked examples of CONTRIBUTING.md, as they stand there."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from layers import write
from scipy import ndimage

import mgsflow
from mgsflow.blocks import Box
from mgsflow.errors import InputError
from mgsflow.filters import FILTERS
from mgsflow.measures import MEASURES
from mgsflow.pipeline import run
from mgsflow.readers import open_scan, reader
from mgsflow.report.sections import order

Example = Callable[[str], ModuleType]

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"


def example(name: str) -> str:
    blocks = re.findall(r"```python\n# (\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (code for found, code in blocks if found == name)
    assert code.count("\n") <= 40
    return str(code)


@pytest.fixture
def run_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import an example as a module of its own, as a contributor's would be."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def run(name: str) -> ModuleType:
        (folder / f"contributing_{name}.py").write_text(example(name), encoding="utf-8")
        monkeypatch.delitem(sys.modules, f"contributing_{name}", raising=False)
        return importlib.import_module(f"contributing_{name}")

    return run


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the registries as they were."""
    monkeypatch.setattr(reader, "FORMATS", reader.FORMATS)
    for registry in (FILTERS, MEASURES):
        for name, value in registry.items():
            monkeypatch.setitem(registry, name, value)
        monkeypatch.delitem(registry, "minimum", raising=False)
        monkeypatch.delitem(registry, "collector", raising=False)
    monkeypatch.setattr(order, "ANALYSES", list(order.ANALYSES))


def test_reader(run_example: Example, tmp_path: Path) -> None:
    run_example("reader")
    voxels = np.random.default_rng(0).integers(0, 9, (4, 5, 6), dtype=np.uint8)
    (tmp_path / "a.box").write_bytes(np.array(voxels.shape, "<i4").tobytes() + voxels.tobytes())
    scan = open_scan(tmp_path / "a.box")
    assert scan.shape == (4, 5, 6)
    np.testing.assert_array_equal(scan.read(Box((1, 0, 2), (4, 5, 6))), voxels[1:, :, 2:])
    (tmp_path / "b.box").write_bytes((tmp_path / "a.box").read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated"):
        open_scan(tmp_path / "b.box")


def test_filter(run_example: Example, tmp_path: Path) -> None:
    run_example("filter")
    try:
        run(write(tmp_path, "    filter: [minimum: {radius: 2}]\n"), threads=1)
    finally:
        FILTERS.pop("minimum")
    found = mgsflow.open(tmp_path / "study.zarr")["cathode/scale0"].ds.filtered.sel(scan="c0")
    expected = ndimage.minimum_filter(np.load(tmp_path / "c0.npy"), 5, mode="reflect")
    np.testing.assert_array_equal(found, expected)


def test_measure(run_example: Example, tmp_path: Path) -> None:
    run_example("measure")
    study = write(tmp_path, "")
    study.write_text(study.read_text().replace("measures: [volume]", "measures: [volume, collector]"))
    try:
        run(study, threads=1)
    finally:
        MEASURES.pop("collector")
    stored = mgsflow.open(tmp_path / "study.zarr")["cathode"]
    plane = np.digitize(np.load(tmp_path / "c0.npy")[0], [20000, 40000])
    expected = np.bincount(plane.ravel(), minlength=3) / plane.size
    np.testing.assert_allclose(stored["metrics"].ds.collector.sel(scan="c0"), expected)


def test_solver(run_example: Example) -> None:
    names = run_example("solver")
    assert names.solution.iterations <= names.n


def test_section(run_example: Example, tmp_path: Path) -> None:
    run_example("section")
    run(write(tmp_path, ""), threads=1)
    page = mgsflow.write_report(tmp_path / "study.zarr", figures=tmp_path / "figures").read_text(encoding="utf-8")
    assert "Solids of the cathode: all phases but pore." in page
    solid = (np.load(tmp_path / "c0.npy") >= 20000).mean()
    assert f"{100 * solid:.2f}" in page
