"""TIFF of several files of pages, of one bit, with zero as white, and with units of their own for each axis."""

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from mgsflow.blocks import Box
from mgsflow.errors import InputError
from mgsflow.readers import open_scan

SHAPE = (11, 8, 9)
VOLUME = np.arange(11 * 8 * 9, dtype="uint16").reshape(SHAPE)


def check(source, expected):
    assert source.dtype == expected.dtype
    for box in (Box.of(expected.shape), Box((3, 1, 2), (5, 7, 8))):
        np.testing.assert_array_equal(source.read(box), expected[box.slices])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_files_of_many_pages_are_one_volume(tmp_path, options):
    for i in range(3):
        meta = {"axes": "ZYX" if i < 2 else "YX"}
        tifffile.imwrite(tmp_path / f"part_{i}.tif", VOLUME[5 * i : 5 * i + 5].squeeze(), metadata=meta, **options)
    source = open_scan(tmp_path)
    check(source, VOLUME)
    assert "3 TIFF files of many pages" in source.warnings[0]
    assert [p.name for p in source.files] == ["part_0.tif", "part_1.tif", "part_2.tif"]
    tifffile.imwrite(tmp_path / "part_1.tif", VOLUME[5:10, :7])
    with pytest.raises(InputError, match=r"differ in size: part_0\.tif has \(8, 9\), part_1\.tif has \(7, 9\)"):
        open_scan(tmp_path)


@pytest.mark.parametrize("width", [9, 16])
def test_one_bit(tmp_path, width):
    array = np.random.default_rng(1).random((5, 7, width)) > 0.5
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    check(open_scan(tmp_path / "a.tif"), array.astype(np.uint8))


def test_zero_is_white(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, photometric="miniswhite")
    source = open_scan(tmp_path / "a.tif")
    check(source, tifffile.imread(tmp_path / "a.tif"))
    assert "0 is white" in source.warnings[0]


@pytest.mark.parametrize(
    ("units", "spacing", "expected"),
    [
        ({"zunit": "nm"}, 500.0, (0.5, 0.25, 0.5)),
        ({"zunit": "pixel"}, 1.0, None),
        ({"yunit": "mm"}, 0.5, (0.5, 250.0, 0.5)),
    ],
)
def test_units_of_each_axis_in_imagej(tmp_path, units, spacing, expected):
    meta = {"axes": "ZYX", "spacing": spacing, "unit": "um", **units}
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, imagej=True, resolution=(2, 4), metadata=meta)
    assert open_scan(tmp_path / "a.tif").voxel_size == (expected and pytest.approx(expected))


def test_booleans_are_zero_and_one_in_every_format(tmp_path):
    mask = np.random.default_rng(0).random(SHAPE) > 0.5
    np.save(tmp_path / "a.npy", mask)
    (mask.astype(np.uint8) * 255).tofile(tmp_path / "a.raw")  # any byte may be true
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["mask"] = mask
    zarr.create_array(tmp_path / "a.zarr", data=mask, chunks=(4, 5, 6))
    for name, options in (("npy", {}), ("h5", {}), ("zarr", {}), ("raw", {"shape": SHAPE, "dtype": "bool"})):
        check(open_scan(tmp_path / f"a.{name}", **options), mask.astype(np.uint8))
