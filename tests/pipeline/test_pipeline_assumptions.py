"""What a study is wrong about is told: cylinders in a constant, voxels that are no cubes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mgsflow.errors import InputError
from mgsflow.labelling.arrays import ArraySource
from mgsflow.pipeline import run
from mgsflow.pipeline.assumptions import field_of_view

SIZE = 96


def cylinder(axis: int, outside: int = 0, radius: float = SIZE / 2 - 1) -> np.ndarray:
    grey = np.random.default_rng(0).integers(1, 255, (SIZE,) * 3, dtype=np.uint8)
    at = np.arange(SIZE) - (SIZE - 1) / 2
    plane = at[:, None] ** 2 + at**2 > radius**2
    grey[np.broadcast_to(np.expand_dims(plane, axis), grey.shape)] = outside
    return grey


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_cylinder_is_told(axis: int) -> None:
    text = field_of_view(ArraySource(cylinder(axis, 7)))
    assert text is not None
    assert f"all corners along {'zyx'[axis]} are 7" in text


@pytest.mark.parametrize(
    "grey",
    [
        np.zeros((SIZE,) * 3, np.uint8),
        np.random.default_rng(1).integers(0, 255, (SIZE,) * 3, dtype=np.uint8),
        np.pad(np.random.default_rng(1).integers(1, 255, (SIZE - 20,) * 3, dtype=np.uint8), 10),
        cylinder(0)[:, :40, :40],
    ],
    ids=["constant", "noise", "margin", "small"],
)
def test_other_scans_are_not(grey: np.ndarray) -> None:
    assert field_of_view(ArraySource(grey)) is None


def study(folder: Path, more: str = "", voxel: str = "0.5") -> Path:
    np.save(folder / "a.npy", cylinder(0))
    (folder / "study.yaml").write_text(
        f"study: t\nblock: 64\nspecimens:\n  s:\n    voxel_size: {voxel}\n    phases: [pore, solid]\n"
        f"    scans: [{{name: a, path: a.npy, cycle: 0}}]\n    segment: {{thresholds: [100]}}\n{more}"
    )
    return folder / "study.yaml"


def test_the_warning_comes_with_the_results(tmp_path: Path) -> None:
    summary = run(study(tmp_path), threads=1)
    assert any("outside the circle of a reconstruction" in text for text in summary.warnings)


def test_networks_of_flat_voxels_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="voxels that are cubes"):
        run(study(tmp_path, "    network: {phase: pore}\n", "[1.0, 0.5, 0.5]"), threads=1)
    assert not (tmp_path / "study.zarr").exists()


def test_particles_of_flat_voxels_are_warned_of(tmp_path: Path) -> None:
    summary = run(study(tmp_path, "    particles: {phase: solid}\n", "[1.0, 0.5, 0.5]"), threads=1)
    assert any("no cubes" in text for text in summary.warnings)
