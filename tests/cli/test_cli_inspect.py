"""What a command line tells of scans before a run, and of files against the study."""

from __future__ import annotations

import sys

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from rich.console import Console

from mgsflow.cli import main
from mgsflow.readers import FORMATS


@pytest.fixture
def type_in(monkeypatch, capsys):
    """Run a command line, and return exit code, output and errors, with single spaces."""
    monkeypatch.setattr("mgsflow.cli.app.out", Console(highlight=False, width=300))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mgsflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), " ".join(captured.out.split()), " ".join(captured.err.split())

    return run


def test_axes_and_what_was_never_written(tmp_path, type_in):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("d", (6, 5, 4), "uint8", chunks=(1, 5, 4))
        data[:4] = 1
        data.attrs["axes"] = ["x", "y", "z"]
    code, out, _ = type_in("inspect", tmp_path / "a.h5", "-O", "missing=fill", "-O", "flip=z")
    assert code == 0
    assert "4 × 5 × 6" in out
    assert "stored as x, y, z, the slowest first; read as z, y, x; reversed along z" in out
    assert "2 of 6 chunks were never written; read as 0" in out


@pytest.mark.parametrize("at", [(50, 100, 100), (50, 0, 199)])
def test_nan_in_the_middle_and_in_corners(at, tmp_path, type_in):
    volume = np.ones((100, 200, 200), np.float32)
    volume[at] = np.nan
    np.save(tmp_path / "a.npy", volume)
    code, out, _ = type_in("inspect", tmp_path / "a.npy")
    assert code == 0
    assert "NaN or infinite values, which a run refuses" in out


def test_formats(type_in):
    code, out, _ = type_in("inspect", "--formats")
    assert code == 0
    assert all(kind.name in out and kind.states in out for kind in FORMATS)
    assert type_in("inspect")[0] == 2


def test_a_voxel_size_other_than_the_files(tmp_path, type_in):
    for name, edge in (("a", 0.5), ("b", 1.0)):
        meta = {"axes": "ZYX", "spacing": edge, "unit": "um"}
        image = np.full((8, 8, 8), 100, np.uint8)
        tifffile.imwrite(tmp_path / f"{name}.tif", image, imagej=True, resolution=(1 / edge,) * 2, metadata=meta)
    path = tmp_path / "study.yaml"
    study = "study: t\nspecimens:\n  s:\n    voxel_size: 5\n    scans:\n      - {name: a, path: a.tif, cycle: 0}\n"
    path.write_text(study)
    warning = "s, a: its files state voxels of 0.5 × 0.5 × 0.5 µm (z, y, x), the study 5 × 5 × 5 µm; the study's hold"
    for command in ("plan", "run"):
        code, out, _ = type_in(command, path)
        assert code == 0
        assert warning in out
    assert "its files state voxels of 0.5 × 0.5 × 0.5 µm" in (tmp_path / "report.html").read_text()
    path.write_text(study + "      - {name: b, path: b.tif, cycle: 1}\n")
    code, _, err = type_in("plan", path)
    assert code == 2
    assert "a 0.5 × 0.5 × 0.5, b 1 × 1 × 1 µm: put the scans in two specimens, or add `trust: study`" in err
    path.write_text(path.read_text().replace("voxel_size: 5", "voxel_size: 5\n    trust: study"))
    assert type_in("plan", path)[0] == 0


def test_other_options_of_one_file_are_another_volume(tmp_path, type_in):
    volume = np.full((8, 8, 8), 200, np.uint8)
    volume[:2] = 1
    np.save(tmp_path / "a.npy", volume)
    path = tmp_path / "study.yaml"
    text = "study: t\nspecimens:\n  s:\n    voxel_size: 1\n    scans:\n      - {name: a, path: a.npy, cycle: 0"
    for options, expected in (("}", volume), (", options: {flip: z}}", volume[::-1])):
        path.write_text(f"{text}{options}\n")
        assert type_in("run", path)[0] == 0
        image = zarr.open_array(tmp_path / "study.zarr", path="s/scale0/image", mode="r")[0]
        np.testing.assert_array_equal(image, expected)
