"""The order of axes: by names in the files of independent writers, and as a user gives it."""

import h5py
import numpy as np
import pytest
import xarray
import zarr

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.readers import Reader, open_scan
from mgsflow.readers.orientation import order_of_names

VOLUME = np.arange(5 * 6 * 7, dtype="uint16").reshape(5, 6, 7)  # z, y, x; no two voxels alike
SIZES = {"z": 0.5, "y": 0.6, "x": 0.7}


def stored(order):
    return np.ascontiguousarray(VOLUME.transpose(["zyx".index(a) for a in order]))


def check(reader, size=None):
    assert isinstance(reader, Reader)
    assert reader.shape == VOLUME.shape
    for block in Grid.regular(VOLUME.shape, (2, 4, 3)).blocks():
        values = reader.read(block.core)
        assert values.flags.c_contiguous
        np.testing.assert_array_equal(values, VOLUME[block.core.slices])
    assert reader.voxel_size == size


@pytest.mark.parametrize("order", ["zyx", "xyz", "yxz", "zxy"])
def test_axes_of_nexus_data(tmp_path, order):
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        group = file.create_group("entry/final")
        group.attrs["NX_class"], group.attrs["signal"] = "NXdata", "data"
        group.attrs["axes"] = [f"voxel_{a}" for a in order]
        group["data"] = stored(order)
        group["data"].attrs["element_size_um"] = [SIZES[a] for a in order]
    check(open_scan(tmp_path / "a.nxs"), (0.5, 0.6, 0.7))


def test_axes_of_a_linked_data_set(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["raw"] = stored("xyz")
    with h5py.File(tmp_path / "master.nxs", "w") as file:
        group = file.create_group("entry/recon")
        group.attrs["signal"], group.attrs["axes"] = "data", ["x", "y", "z"]
        group["data"] = h5py.ExternalLink("data.h5", "/raw")
    check(open_scan(tmp_path / "master.nxs"))
    check(open_scan(tmp_path / "master.nxs", dataset="entry/recon/data"))


def test_dimension_labels_and_old_nexus(tmp_path):
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["data"] = stored("yxz")
        for dimension, axis in zip(file["data"].dims, "yxz"):
            dimension.label = axis
    check(open_scan(tmp_path / "labels.h5"))
    with h5py.File(tmp_path / "old.nxs", "w") as file:
        file["entry/data"] = stored("xyz")
        file["entry/data"].attrs["axes"] = "x:y:z"
    check(open_scan(tmp_path / "old.nxs"))


@pytest.mark.parametrize("version", [2, 3])
def test_dimensions_of_xarray(tmp_path, version):
    data = xarray.Dataset({"image": (("x", "z", "y"), stored("xzy"))})
    data.to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=False)
    check(open_scan(tmp_path / "a.zarr"))
    check(open_scan(tmp_path / "a.zarr", array="image"))


@pytest.mark.parametrize("order", ["zyx", "xyz", "zxy"])
def test_axes_given_by_the_user(tmp_path, order):
    np.save(tmp_path / "a.npy", stored(order))
    check(open_scan(tmp_path / "a.npy", axes=order.upper()))


def test_what_the_user_gives_counts_before_what_the_file_states(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = stored("xyz")
        file["data"].attrs["axes"] = ["z", "y", "x"]  # wrong
    check(open_scan(tmp_path / "a.h5", axes="xyz"))


@pytest.mark.parametrize(
    ("flip", "steps"),
    [("z", (-1, 1, 1)), (["z", "x"], (-1, 1, -1)), ("yx", (1, -1, -1))],
)
def test_flipped(tmp_path, flip, steps):
    np.save(tmp_path / "a.npy", stored("xyz")[tuple(slice(None, None, steps["zyx".index(a)]) for a in "xyz")])
    check(open_scan(tmp_path / "a.npy", axes="xyz", flip=flip))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": "xy"}, "axes must be z, y and x in the order of storage"),
        ({"axes": "xxz"}, "axes must be"),
        ({"axes": 3}, "axes must be"),
        ({"flip": "t"}, "flip must name axes"),
        ({"flip": "zz"}, "flip must name axes"),
        ({"flip": ""}, "flip must name axes"),
    ],
)
def test_wrong_orientations(tmp_path, options, message):
    np.save(tmp_path / "a.npy", VOLUME)
    with pytest.raises(InputError, match=message):
        open_scan(tmp_path / "a.npy", **options)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("voxel_x", "voxel_y", "voxel_z"), "xyz"),
        (("Z", "Y", "X"), "zyx"),
        (("slice", "row", "col"), "zyx"),
        (("dim_0", "dim_1", "dim_2"), None),
        (("", "", ""), None),
    ],
)
def test_order_of_names(names, expected):
    assert order_of_names(names, "a") == expected


@pytest.mark.parametrize("names", [("angle", "y", "x"), ("x", "x", "z"), ("z", "", "")])
def test_names_that_leave_the_order_open(tmp_path, names):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("e")
        group.attrs["signal"], group.attrs["axes"] = "d", list(names)
        group["d"] = VOLUME
    with pytest.raises(InputError, match=r"a\.h5: its axes are named .*give their order by axes="):
        open_scan(tmp_path / "a.h5")
    check(open_scan(tmp_path / "a.h5", axes="zyx"))


def test_two_orders_in_one_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d"] = VOLUME
        file["d"].attrs["axes"] = ["z", "y", "x"]
        file.attrs["signal"], file.attrs["axes"] = "d", ["x", "y", "z"]
    with pytest.raises(InputError, match="states its axes twice, as z, y, x and x, y, z"):
        open_scan(tmp_path / "a.h5")


def test_matlab_must_be_told(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["V"] = stored("zxy")  # V(y, x, z) in MATLAB
        file["V"].attrs["MATLAB_class"] = np.bytes_("uint16")
    with pytest.raises(InputError, match=r"MATLAB's 2nd index.*give their order by axes="):
        open_scan(tmp_path / "a.mat")
    check(open_scan(tmp_path / "a.mat", axes="zxy"))


@pytest.mark.parametrize("version", ["0.5", "0.6"])
@pytest.mark.parametrize("order", ["zyx", "xyz"])
def test_axes_of_ome_zarr(tmp_path, version, order):
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path)
    zarr.create_array(path / "0", data=stored(order)[None], chunks=(1, 3, 3, 3))
    axes = [{"name": "c", "type": "channel"}] + [{"name": a, "type": "space", "unit": "micrometer"} for a in order]
    scale = {"type": "scale", "scale": [1.0, *(SIZES[a] for a in order)]}
    image = {"datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
    if version == "0.5":
        image["axes"] = axes
    else:
        image["coordinateSystems"] = [{"name": "other", "axes": axes[::-1]}, {"name": "physical", "axes": axes}]
        scale |= {"input": "0", "output": "physical"}
    group.attrs["ome"] = {"version": version, "multiscales": [image]}
    check(open_scan(path), (0.5, 0.6, 0.7))
    check(open_scan(path, array="0"), (0.5, 0.6, 0.7))


def test_ome_zarr_that_is_rotated(tmp_path):
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path)
    zarr.create_array(path / "0", data=VOLUME, chunks=(3, 3, 3))
    turned = {"type": "rotation", "rotation": np.eye(3).tolist()}
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [turned]}]}
    group.attrs["ome"] = {"version": "0.6", "multiscales": [image]}
    with pytest.raises(InputError, match="placed by a transform of type 'rotation'"):
        open_scan(path)


def test_memory_and_grain_of_turned_axes(tmp_path):
    np.save(tmp_path / "a.npy", stored("xyz"))
    reader = open_scan(tmp_path / "a.npy", axes="xyz")
    assert reader.grain == (5, 1, 1)
    assert reader.scratch((5, 6, 7)) >= 5 * 6 * 7 * 2
    with pytest.raises(InputError, match="not inside"):
        reader.read(Box((0, 0, 0), (6, 6, 7)))
