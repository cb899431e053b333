"""HDF5 and zarr volumes against the arrays that h5py and zarr wrote."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from mgsflow.blocks import Box
from mgsflow.errors import InputError, InputNotFound
from mgsflow.readers import Reader, open_scan

SHAPE = (9, 20, 22)


def volume(dtype="uint16"):
    return np.random.default_rng(2).integers(0, 100, SHAPE).astype(dtype)


def write_zarr(path, array, **options):
    made = zarr.create_array(
        path, shape=array.shape, dtype=array.dtype, **{"chunks": (4, 8, 8)[-array.ndim :]} | options
    )
    made[...] = array
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("chunked")
    found = []
    options = [
        ("uint8", {}),
        ("<u2", {"chunks": (4, 8, 8), "compression": "gzip", "shuffle": True}),
        (">i2", {"chunks": (1, 20, 22), "compression": "lzf"}),
        (">f4", {"chunks": (9, 5, 5), "fletcher32": True}),
        ("<i8", {"chunks": (2, 20, 7)}),
        ("float16", {}),
    ]
    delivered = {"<i8": "uint32", "float16": "float32"}
    for i, (dtype, layout) in enumerate(options):
        array = volume(dtype)
        with h5py.File(root / f"{i}.h5", "w") as file:
            file.create_dataset("group/scan", data=array, **layout)
        expected = array.astype(delivered.get(dtype, array.dtype.newbyteorder("=")))
        found.append((open_scan(root / f"{i}.h5"), expected))
    zarrs = [
        ("uint8", {"zarr_format": 2}),
        (">u2", {"zarr_format": 2}),
        ("uint16", {"zarr_format": 3, "shards": (8, 16, 16)}),
        ("float32", {"zarr_format": 3, "compressors": None}),
    ]
    for i, (dtype, layout) in enumerate(zarrs):
        array = volume(dtype)
        write_zarr(root / f"{i}.zarr", array, **layout)
        found.append((open_scan(root / f"{i}.zarr"), array.astype(array.dtype.newbyteorder("="))))
    return found


@st.composite
def boxes(draw):
    pairs = [sorted((draw(st.integers(0, n)), draw(st.integers(0, n)))) for n in SHAPE]
    return Box(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


def check_read(source, expected, box):
    got = source.read(box)
    assert got.dtype == expected.dtype
    assert got.dtype.isnative
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, expected[box.slices])


@settings(max_examples=15, deadline=None)
@given(box=boxes())
def test_boxes_equal_slices(sources, box):
    for source, array in sources:
        check_read(source, array, box)


def test_sources_are_readers(sources):
    for source, array in sources:
        assert isinstance(source, Reader)
        assert source.shape == SHAPE
        assert source.voxel_size is None
        assert source.scratch((9, 9, 9)) > 0
        assert all(path.is_file() for path in source.files)
        check_read(pickle.loads(pickle.dumps(source)), array, Box.of(SHAPE))
        with pytest.raises(InputError, match="is not inside"):
            source.read(Box((0, 0, 0), (10, 20, 22)))


def test_threads_share_a_source(sources):
    cubes = [Box((z, y, 2), (z + 3, y + 5, 20)) for z in range(6) for y in range(15)]
    for source, array in (sources[1], sources[8]):
        with ThreadPoolExecutor(8) as pool:
            for box, got in zip(cubes, pool.map(source.read, cubes)):
                np.testing.assert_array_equal(got, array[box.slices])


def test_hdf5_choice_of_data_set(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["theta"] = np.zeros(5)
        file["mean"] = np.zeros((4, 4))
        file["mask"] = np.zeros((3, *SHAPE), bool)
    with pytest.raises(
        InputError, match=r"no three-dimensional data set; it has: /mask .*bool, /mean \(4, 4\) float64"
    ):
        open_scan(path)
    with h5py.File(path, "a") as file:
        file["entry/data"] = volume()
    check_read(open_scan(path), volume(), Box.of(SHAPE))
    with h5py.File(path, "a") as file:
        file["entry/dark"] = volume() + 1
        file["five"] = volume()[None, None]
    with pytest.raises(
        InputError, match=r"has 2 .*name one by dataset=: /entry/dark \(9, 20, 22\) uint16, /entry/data"
    ):
        open_scan(path)
    check_read(open_scan(path, dataset="/entry/dark"), volume() + 1, Box.of(SHAPE))
    check_read(open_scan(path, dataset="five"), volume(), Box((1, 2, 3), (5, 6, 7)))
    with pytest.raises(InputError, match="no data set 'nothing'; it has: /entry/dark"):
        open_scan(path, dataset="nothing")
    with pytest.raises(InputError, match="'entry' is a group"):
        open_scan(path, dataset="entry")
    with pytest.raises(InputError, match=r"/mean: has shape \(4, 4\); a volume has three axes"):
        open_scan(path, dataset="mean")
    with pytest.raises(InputError, match="a volume has three axes"):
        open_scan(path, dataset="mask")


@pytest.mark.parametrize(
    ("value", "expected"),
    [([0.5, 0.2, 0.1], (0.5, 0.2, 0.1)), ([0.5, 0.2], None), ([0, 1, 1], None), ([np.nan, 1, 1], None), ("x", None)],
)
def test_hdf5_voxel_size(tmp_path, value, expected):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan"] = volume()
        file["scan"].attrs["element_size_um"] = value
    assert open_scan(tmp_path / "a.h5").voxel_size == expected


def test_hdf5_virtual_data_set_names_a_missing_source(tmp_path):
    layout = h5py.VirtualLayout(SHAPE, "uint16")
    for k, name in enumerate(("low.h5", "high.h5")):
        part = slice(0, 5) if k == 0 else slice(5, 9)
        with h5py.File(tmp_path / name, "w") as file:
            file["part"] = volume()[part]
        layout[part] = h5py.VirtualSource(name, "part", shape=volume()[part].shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("scan", layout)
    source = open_scan(tmp_path / "a.h5")
    check_read(source, volume(), Box.of(SHAPE))
    assert {p.name for p in source.files} == {"a.h5", "low.h5", "high.h5"}
    (tmp_path / "high.h5").unlink()
    with pytest.raises(InputNotFound, match=r"high\.h5: no such file"):
        open_scan(tmp_path / "a.h5")


def test_damaged_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(InputError, match=r"a\.h5: is not an HDF5 file"):
        open_scan(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("scan", data=volume(), chunks=(3, 20, 22), compression="gzip")
        at = file["scan"].id.get_chunk_info(1).byte_offset
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"a\.h5: cannot be opened as HDF5 .*truncated"):
        open_scan(path)
    path.write_bytes(whole[:at] + b"\xff" * 60 + whole[at + 60 :])
    source = open_scan(path)
    check_read(source, volume(), Box((0, 0, 0), (3, 20, 22)))
    with pytest.raises(InputError, match="a part of slices 3 to 5 is damaged"):
        source.read(Box.of(SHAPE))


def test_hdf5_bombs(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("scan", (4096, 4096, 4096), "uint16", chunks=(64, 64, 64), compression="gzip")
    with pytest.raises(InputError, match="never written"):
        open_scan(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["scan"][0, 0, 0] = 1
    with pytest.raises(InputError, match="over 2000 times less"):
        open_scan(tmp_path / "a.h5")


def test_values_that_are_not_finite(tmp_path):
    array = volume("float64")
    array[5, 6, 7] = np.inf
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan"] = array
    write_zarr(tmp_path / "a.zarr", array)
    for name in ("a.h5", "a.zarr"):
        with pytest.raises(InputError, match=r"slice z=5: value inf at y=6, x=7 is not a finite"):
            open_scan(tmp_path / name).read(Box((2, 2, 2), (9, 20, 22)))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path, version):
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    write_zarr(path / "0", volume()[None], chunks=(1, 4, 8, 8), zarr_format=2 if version == "0.4" else 3)
    write_zarr(path / "1", volume()[None, ::2], chunks=(1, 4, 8, 8), zarr_format=2 if version == "0.4" else 3)
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": n, "type": "space", "unit": u} for n, u in zip("zyx", ("micrometer", "nanometer", "millimeter"))
    ]
    levels = [
        {"path": p, "coordinateTransformations": [{"type": "scale", "scale": [1, 0.5 * k, 250, 0.001]}]}
        for p, k in (("0", 1), ("1", 2))
    ]
    images = [{"version": version, "axes": axes, "datasets": levels, "name": "x"}]
    group.attrs.update({"multiscales": images} if version == "0.4" else {"ome": {"multiscales": images}})
    source = open_scan(path)
    assert source.voxel_size == pytest.approx((0.5, 0.25, 1.0))
    check_read(source, volume(), Box((1, 2, 3), (9, 20, 20)))
    check_read(open_scan(path, array="1"), volume()[::2], Box.of((5, 20, 22)))


def test_zarr_groups(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.create_group(path)
    with pytest.raises(InputError, match="has 0 arrays of three axes"):
        open_scan(path)
    write_zarr(path / "flat", volume()[0])
    zarr.create_group(path / "sub")
    write_zarr(path / "sub" / "scan", volume())
    check_read(open_scan(path), volume(), Box.of(SHAPE))
    write_zarr(path / "other", volume() + 1)
    with pytest.raises(InputError, match=r"has 2 .*name one by array=: .*other \(9, 20, 22\) uint16"):
        open_scan(path)
    check_read(open_scan(path, array="other"), volume() + 1, Box.of(SHAPE))
    with pytest.raises(InputError, match="no array 'none'"):
        open_scan(path, array="none")
    with pytest.raises(InputError, match="a volume has three axes"):
        open_scan(path, array="flat")
    with pytest.raises(InputError, match="no meaning"):
        open_scan(path / "other", array="x")


def test_damaged_zarr(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", volume())
    source = open_scan(path)
    next(p for p in sorted(path.rglob("*")) if p.is_file() and p.name == "0" and "c" in p.parts).write_bytes(b"broken")
    with pytest.raises(InputError, match="a part of slices 0 to 3 is damaged"):
        source.read(Box.of(SHAPE))
    (path / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="not a zarr array or group, or is damaged"):
        open_scan(path)


def test_zarr_codec_that_unpickles(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", volume("uint8"), zarr_format=2)
    text = (path / ".zarray").read_text().replace('"filters": null', '"filters": [{"id": "pickle", "protocol": 5}]')
    assert "pickle" in text
    (path / ".zarray").write_text(text)
    with pytest.raises(InputError, match=r"unpickles|damaged"):
        open_scan(path)
