"""Readers against the arrays that other libraries wrote: dispatch, raw, .npy, checksums."""

import hashlib
import os
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_data import DATA

from mgsflow.blocks import Box
from mgsflow.errors import InputError, InputNotFound
from mgsflow.readers import FORMATS, Reader, Share, checksum, fingerprint, joined, open_scan

SHAPE = (7, 11, 13)


def volume(dtype="uint16", shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -(2**31)), min(info.max, 2**32 - 1), shape, endpoint=True).astype(dtype)


@st.composite
def boxes(draw, shape=SHAPE):
    pairs = [sorted((draw(st.integers(0, n)), draw(st.integers(0, n)))) for n in shape]
    return Box(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


def check_read(source, expected, box):
    got = source.read(box)
    assert got.dtype == expected.dtype
    assert got.dtype.isnative
    assert got.flags.c_contiguous
    assert got.flags.writeable
    np.testing.assert_array_equal(got, expected[box.slices])


def write_raw(path, array, order="C", header=b""):
    path.write_bytes(header + array.tobytes(order=order))
    return path


@pytest.fixture(scope="module")
def flat_sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flat")
    found = []
    for i, dtype in enumerate(("uint8", "<u2", ">u2", "<i2", ">f4", "<f8", ">u4")):
        array = volume(dtype)
        native = array.astype(array.dtype.newbyteorder("="))
        for order in "CF":
            raw = write_raw(folder / f"{i}{order}.raw", array, order, b"header")
            options = {"shape": list(SHAPE), "dtype": dtype, "order": order, "offset": 6}
            found.append((open_scan(raw, **options), native))
            npy = folder / f"{i}{order}.npy"
            np.save(npy, np.asarray(array, order=order))
            found.append((open_scan(npy), native))
    return found


@settings(max_examples=25, deadline=None)
@given(box=boxes())
def test_flat_boxes_equal_slices(flat_sources, box):
    for source, array in flat_sources:
        check_read(source, array, box)


def test_flat_sources_are_readers(flat_sources):
    for source, array in flat_sources:
        assert isinstance(source, Reader)
        assert source.shape == SHAPE
        assert source.dtype == array.dtype
        assert source.voxel_size is None
        copy = pickle.loads(pickle.dumps(source))
        assert copy == source
        assert len(pickle.dumps(source)) < 1000
        check_read(copy, array, Box.of(SHAPE))


def test_fortran_wide_enough_to_be_read_in_groups(tmp_path):
    array = volume("uint16", (5, 6, 150))
    source = open_scan(write_raw(tmp_path / "a.raw", array, "F"), shape=array.shape, dtype="uint16", order="F")
    check_read(source, array, Box((1, 2, 3), (5, 5, 149)))


def test_order_matters(tmp_path):
    """Negative control: the wrong order gives another volume."""
    array = volume()
    source = open_scan(write_raw(tmp_path / "a.raw", array), shape=SHAPE, dtype="uint16", order="F")
    assert not np.array_equal(source.read(Box.of(SHAPE)), array)


def test_threads_share_a_source(flat_sources):
    source, array = flat_sources[0]
    cubes = [Box((z, y, 0), (z + 1, y + 3, 13)) for z in range(7) for y in range(8)] * 4
    with ThreadPoolExecutor(8) as pool:
        for box, got in zip(cubes, pool.map(source.read, cubes)):
            np.testing.assert_array_equal(got, array[box.slices])


@pytest.mark.parametrize(("stored", "delivered"), [("int8", "int16"), ("float16", "float32")])
def test_narrow_types_are_widened_exactly(tmp_path, stored, delivered):
    array = volume(stored)
    np.save(tmp_path / "a.npy", array)
    source = open_scan(tmp_path / "a.npy")
    check_read(source, array.astype(delivered), Box((1, 0, 2), (6, 11, 9)))


@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<u8"])
def test_64_bit_integers_that_fit(tmp_path, dtype):
    array = volume("uint32").astype(dtype)
    np.save(tmp_path / "a.npy", array)
    check_read(open_scan(tmp_path / "a.npy"), array.astype("uint32"), Box.of(SHAPE))


@pytest.mark.parametrize("value", [2**32, -1])
def test_64_bit_integers_that_do_not_fit(tmp_path, value):
    array = np.zeros(SHAPE, np.int64)
    array[4, 2, 3] = value
    np.save(tmp_path / "a.npy", array)
    source = open_scan(tmp_path / "a.npy")
    assert source.read(Box((0, 0, 0), (4, 11, 13))).sum() == 0
    with pytest.raises(InputError, match=rf"slice z=4.*{value}.*do not fit uint32"):
        source.read(Box.of(SHAPE))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(tmp_path, value, order):
    array = volume("float32")
    array[4, 2, 3] = value
    np.save(tmp_path / "a.npy", np.asarray(array, order=order))
    source = open_scan(tmp_path / "a.npy")
    check_read(source, array, Box((0, 3, 0), (7, 11, 13)))
    with pytest.raises(InputError, match=r"a\.npy: (slice z=4: .*y=2, x=3|plane x=3: .*y=2, z=4) is not a finite"):
        source.read(Box((1, 1, 1), (7, 11, 13)))


def test_largest_floats_are_finite(tmp_path):
    array = np.full(SHAPE, np.finfo(np.float32).max, np.float32)
    np.save(tmp_path / "a.npy", array)
    check_read(open_scan(tmp_path / "a.npy"), array, Box.of(SHAPE))


@pytest.mark.parametrize("box", [Box((0, 0, 0), (8, 11, 13)), Box((-1, 0, 0), (2, 2, 2)), Box((3, 0, 0), (2, 11, 13))])
def test_box_outside(flat_sources, box):
    with pytest.raises(InputError, match=r"is not inside the volume of shape \(7, 11, 13\)"):
        flat_sources[0][0].read(box)


def sparse(path, size):
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_small_box_of_a_large_file_takes_little_memory(tmp_path, order):
    shape = (2048, 2048, 2048)
    source = open_scan(sparse(tmp_path / "a.raw", 2 * 2048**3), shape=shape, dtype="uint16", order=order)
    box = Box((1000, 1000, 1000), (1064, 1064, 1064))
    tracemalloc.start()
    assert not source.read(box).any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 2 * 64**3 + source.scratch(box.shape) + 2**16
    assert source.scratch(box.shape) < 8 << 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"shape": (7, 11, 12), "dtype": "uint16"},
            r"7 × 11 × 12 × 2 \+ 0 = 1848 bytes, the file has 2002; offset 154",
        ),
        ({"shape": (6, 11, 13), "dtype": "uint16"}, r"shape \(7, 11, 13\) or offset 286 would fit"),
        ({"shape": SHAPE, "dtype": "float32"}, "a type of 2 bytes would fit"),
        ({"shape": (7, 12, 17), "dtype": "uint16"}, "no number of slices"),
        ({"shape": SHAPE}, "needs shape=.* and dtype"),
        ({"dtype": "uint16"}, "needs shape="),
        ({"shape": (7, 11), "dtype": "uint16"}, r"shape must be three integers|three \(z, y, x\)"),
        ({"shape": "big", "dtype": "uint16"}, "three"),
        ({"shape": (0, 11, 13), "dtype": "uint16"}, "no voxels"),
        ({"shape": (-7, -11, 13), "dtype": "uint16"}, "no voxels"),
        ({"shape": (2**20, 2**20, 2**20), "dtype": "uint16"}, "16 TiB"),
        ({"shape": SHAPE, "dtype": "uint17"}, "dtype must be a type such as"),
        ({"shape": SHAPE, "dtype": "complex64"}, "complex"),
        ({"shape": SHAPE, "dtype": "O"}, "Python object"),
        ({"shape": SHAPE, "dtype": "u2,u2"}, "structured"),
        ({"shape": SHAPE, "dtype": "uint16", "order": "x"}, "order must be 'C'"),
        ({"shape": SHAPE, "dtype": "uint16", "offset": -2}, "offset must be"),
        (
            {"shape": SHAPE, "dtype": "uint16", "depth": 3},
            "'depth' is no option of raw files; options are: shape, dtype",
        ),
    ],
)
def test_wrong_raw_options(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        open_scan(write_raw(tmp_path / "a.raw", volume()), **options)


def test_file_that_shrinks_or_vanishes_after_it_was_opened(tmp_path):
    path = write_raw(tmp_path / "a.raw", volume())
    source = open_scan(path, shape=SHAPE, dtype="uint16")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"a\.raw: ends .* bytes early; was it changed"):
        source.read(Box.of(SHAPE))
    path.unlink()
    with pytest.raises(InputNotFound, match=r"a\.raw: no such file"):
        source.read(Box.of(SHAPE))


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_npy_is_never_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.array([[[Bomb()]]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="Python object"):
        open_scan("a.npy")
    assert not Path("unpickled").exists()
    np.load("a.npy", allow_pickle=True)  # negative control: the file does what it threatens
    assert Path("unpickled").exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5), np.uint8), r"shape \(4, 5\); a volume has three axes"),
        (np.zeros((4, 0, 3), np.uint8), "no voxels"),
        (np.zeros((4, 5, 3), complex), "complex"),
        (np.zeros((4, 5, 3), "u1,u2"), "structured"),
    ],
)
def test_npy_that_is_no_volume(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=message):
        open_scan(tmp_path / "a.npy")


def test_damaged_npy(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, volume())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(
        InputError, match=r"truncated: shape \(7, 11, 13\) of uint16 needs 2130 bytes, the file has 2129"
    ):
        open_scan(path)
    for damaged in (whole[:20], b"no magic at all", whole[:10] + b"x" * 118):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"not a \.npy file, or its header is damaged"):
            open_scan(path)


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.h5", "a.raw"])
def test_missing_and_empty_files(tmp_path, name):
    options = {"shape": SHAPE, "dtype": "uint8"} if name == "a.raw" else {}
    with pytest.raises(InputNotFound, match=f"{name}: no such file or folder"):
        open_scan(tmp_path / name, **options)
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=rf"{name}: is empty \(0 bytes\)"):
        open_scan(tmp_path / name, **options)


def test_unknown_formats(tmp_path):
    (tmp_path / "a.vtk").write_text("x")
    with pytest.raises(InputError, match=r"not known\. Formats are: zarr .*tiff .*hdf5 .*npy .*raw") as error:
        open_scan(tmp_path / "a.vtk")
    assert all(f.name in str(error.value) for f in FORMATS)
    with pytest.raises(InputError, match="no format 'vtk'; formats are zarr, tiff"):
        open_scan(tmp_path / "a.vtk", format="vtk")
    with pytest.raises(InputError, match="path of a scan is empty"):
        open_scan("")
    np.save(tmp_path / "a.npy", volume())
    with pytest.raises(InputError, match="options are: axes, flip"):
        open_scan(tmp_path / "a.npy", shape=SHAPE)


def test_format_by_name(tmp_path):
    array = volume()
    source = open_scan(write_raw(tmp_path / "scan", array), format="raw", shape=SHAPE, dtype="uint16")
    check_read(source, array, Box.of(SHAPE))


def test_shares_of_files_join_to_the_checksum(tmp_path):
    for n in range(70):
        (tmp_path / f"s{n}.bin").write_bytes(bytes([n]) * n)
    files = sorted(tmp_path.iterdir())
    shares = Share.all_of("c0", files)
    assert len(shares) == 3
    assert joined(d for share in shares for d in share.hashed()[1]) == checksum(files)


def test_checksum_follows_content_in_natural_order(tmp_path):
    a, b = tmp_path / "s2.bin", tmp_path / "s10.bin"
    a.write_bytes(b"abc" * 700_000)
    b.write_bytes(b"defg")
    framed = b"".join(
        len(data).to_bytes(8, "little") + hashlib.sha256(data).digest() for data in (a.read_bytes(), b.read_bytes())
    )
    assert checksum([b, a]) == checksum([a, b]) == hashlib.sha256(framed).hexdigest()
    before = checksum([a, b])
    b.rename(tmp_path / "s11.bin")
    assert checksum([a, tmp_path / "s11.bin"]) == before
    a.write_bytes(b"abc" * 700_000 + b"d")
    (tmp_path / "s11.bin").write_bytes(b"efg")
    assert checksum([a, tmp_path / "s11.bin"]) != before
    with pytest.raises(InputNotFound, match=r"s10\.bin"):
        checksum([a, b])


def test_fingerprint_tells_a_change(tmp_path):
    a = tmp_path / "a"
    a.write_bytes(b"1234")
    os.utime(a, ns=(10, 10))
    first = fingerprint([a])
    assert fingerprint([a]) == first
    os.utime(a, ns=(10, 11))
    assert fingerprint([a]) != first
    a.write_bytes(b"12345")
    os.utime(a, ns=(10, 10))
    assert fingerprint([a]) != first
    with pytest.raises(InputNotFound):
        fingerprint([tmp_path / "b"])


@pytest.mark.skipif(not (DATA / "berea_pore.raw").exists(), reason="no test data")
def test_real_raw_files():
    berea = open_scan(DATA / "berea_pore.raw", shape=(110, 110, 110), dtype="uint8")
    pores = sum(int((berea.read(Box((z, 0, 0), (z + 11, 110, 110))) == 0).sum()) for z in range(0, 110, 11))
    assert pores == 236_764
    assert round(pores / 110**3, 6) == 0.177884
    tube = open_scan(DATA / "ptube_54_54_50_vs_2e-05.raw", shape=(50, 54, 54), dtype="uint8")
    pore = tube.read(Box.of(tube.shape)) == 0
    # x fastest: every z slice is the same disc, so that each pore column runs through
    assert 0 < pore.sum() < pore.size
    assert (pore == pore[25]).all(axis=(1, 2)).sum() >= 40
    with pytest.raises(InputError, match=r"shape \(50, 54, 54\)"):
        open_scan(DATA / "ptube_54_54_50_vs_2e-05.raw", shape=(54, 54, 54), dtype="uint8")
