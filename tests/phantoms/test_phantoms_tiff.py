"""TIFF stacks of phantoms, read back with tifffile."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from mgsflow.blocks import Box
from mgsflow.errors import InputError
from mgsflow.phantoms import cathode, write_tiff_stack


def test_stack_holds_the_image_and_its_voxel_size(tmp_path):
    phantom = cathode((70, 33, 41), 1, voxel_size=(0.2, 0.126, 0.126))
    seen = []
    files = write_tiff_stack(phantom.image, tmp_path / "a" / "b", progress=lambda done, of: seen.append((done, of)))
    assert [f.name for f in files[:2]] == ["slice_0000.tif", "slice_0001.tif"]
    assert seen == [(64, 70), (70, 70)]
    full = phantom.image.read(Box.of(phantom.shape))
    assert np.array_equal(tifffile.imread(files), full)
    with tifffile.TiffFile(files[5]) as tiff:
        page = tiff.pages[0]
        assert page.dtype == np.uint16
        top, bottom = page.tags["XResolution"].value
        assert bottom / top == pytest.approx(0.126, rel=1e-5)
        assert tiff.imagej_metadata["spacing"] == pytest.approx(0.2)
        assert tiff.imagej_metadata["unit"] in ("um", "µm", "\\u00B5m", "micron")


def test_truth_is_written_the_same_way_and_again(tmp_path):
    phantom = cathode((9, 16, 16))
    for _ in range(2):
        files = write_tiff_stack(phantom.truth, tmp_path, name="t{:d}.tiff")
    assert np.array_equal(tifffile.imread(files), phantom.truth.read(Box.of(phantom.shape)))


def test_source_without_voxel_size_gets_no_resolution(tmp_path):
    class Plain:
        shape, dtype = (2, 4, 4), np.dtype(np.float32)

        def read(self, box):
            return np.zeros(box.shape, self.dtype)

    files = write_tiff_stack(Plain(), tmp_path)
    with tifffile.TiffFile(files[0]) as tiff:
        assert "spacing" not in (tiff.imagej_metadata or {})


def test_folder_with_other_slices_is_refused(tmp_path):
    write_tiff_stack(cathode((6, 8, 8)).truth, tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(InputError, match="slice_0004"):
        write_tiff_stack(cathode((4, 8, 8)).truth, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["slice.tif", "{:d}/{:d}.tif", "{x}.tif", "a/{:d}.tif", "{:q}.tif"])
def test_bad_names_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="name must"):
        write_tiff_stack(cathode((4, 8, 8)).truth, tmp_path / "new", name=name)
    assert not (tmp_path / "new").exists()


def test_bad_types_and_places_are_refused(tmp_path):
    class Wide:
        shape, dtype = (2, 4, 4), np.dtype(np.int64)

    with pytest.raises(InputError, match="int64"):
        write_tiff_stack(Wide(), tmp_path / "new")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        write_tiff_stack(cathode((4, 8, 8)).truth, tmp_path / "file")
