"""TIFF volumes against the arrays that tifffile wrote, and every way in which they can be damaged."""

import pickle
import re
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from real_data import DATA

from mgsflow.blocks import Box
from mgsflow.errors import InputError, InputNotFound
from mgsflow.readers import Reader, open_scan
from mgsflow.readers.numbering import natural_key, ordered_slices
from mgsflow.readers.tiff.source import TiffSource

SHAPE = (5, 40, 50)


def volume(dtype="uint16", shape=SHAPE):
    smooth = np.add.outer(np.arange(shape[0]) * 7, np.add.outer(np.arange(shape[1]), np.arange(shape[2])))
    noise = np.random.default_rng(1).integers(0, 8, shape)
    return (smooth + noise).astype(dtype)


def write_stack(folder, array, name="im{:03d}.tif", start=1, **options):
    folder.mkdir(exist_ok=True)
    for z, plane in enumerate(array):
        tifffile.imwrite(folder / name.format(z + start), plane, metadata=None, **options)
    return folder


VARIANTS = {
    "plain": {},
    "strips": {"rowsperstrip": 3},
    "tiles": {"tile": (16, 32)},
    "deflate": {"compression": "zlib"},
    "deflate strips": {"compression": "zlib", "rowsperstrip": 7},
    "deflate predictor": {"compression": "zlib", "predictor": True, "rowsperstrip": 7},
    "lzw tiles": {"compression": "lzw", "predictor": True, "tile": (16, 16)},
    "zstd": {"compression": "zstd", "rowsperstrip": 9},
    "packbits": {"compression": "packbits"},
    "lzma": {"compression": "lzma"},
    "big-endian": {"byteorder": ">"},
    "big-endian deflate predictor": {"byteorder": ">", "compression": "zlib", "predictor": True},
    "bigtiff": {"bigtiff": True},
    "bigtiff big-endian tiles": {"bigtiff": True, "byteorder": ">", "tile": (16, 16)},
}
DTYPES = ("uint8", "int16", "uint16", "uint32", "float32", "float64")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Every variant, as a stack and as pages, in types that go round."""
    root = tmp_path_factory.mktemp("tiff")
    found = {}
    for i, (name, options) in enumerate(VARIANTS.items()):
        array = volume(DTYPES[i % len(DTYPES)])
        found[name, "stack"] = open_scan(write_stack(root / f"{i}", array, **options)), array
        path = root / f"pages{i}.tif"
        with tifffile.TiffWriter(path, **{k: options[k] for k in ("bigtiff", "byteorder") if k in options}) as writer:
            for plane in array:
                writer.write(
                    plane, metadata=None, **{k: v for k, v in options.items() if k not in ("bigtiff", "byteorder")}
                )
        found[name, "pages"] = open_scan(path), array
        shaped = root / f"shaped{i}.tif"
        tifffile.imwrite(shaped, array, **options)
        found[name, "shaped"] = open_scan(shaped), array
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


@settings(max_examples=12, deadline=None)
@given(box=boxes())
def test_boxes_equal_slices(sources, box):
    for source, array in sources.values():
        check_read(source, array, box)


def test_sources_are_readers(sources):
    for (name, kind), (source, array) in sources.items():
        assert isinstance(source, Reader)
        assert source.shape == SHAPE
        assert source.dtype == array.dtype
        assert source.voxel_size is None
        assert len(source.files) == (5 if kind == "stack" else 1)
        assert all(path.is_file() for path in source.files)
        tiled = "tiles" in name
        assert source.grain[0] == 1
        assert source.grain[2] == (VARIANTS[name]["tile"][1] if tiled else 50)
        copy = pickle.loads(pickle.dumps(source))
        assert copy.files == source.files
        check_read(copy, array, Box((1, 2, 3), (4, 30, 40)))


def test_threads_share_a_source(sources):
    for key in (("lzw tiles", "stack"), ("deflate strips", "pages")):
        source, array = sources[key]
        cubes = [Box((z, y, 5), (z + 1, y + 10, 45)) for z in range(5) for y in range(0, 30, 10)] * 4
        with ThreadPoolExecutor(8) as pool:
            for box, got in zip(cubes, pool.map(source.read, cubes)):
                np.testing.assert_array_equal(got, array[box.slices])


def test_natural_order_and_foreign_files(tmp_path):
    array = volume(shape=(12, 4, 6))
    folder = write_stack(tmp_path / "s", array, name="im{}.tif")
    (folder / "im3.tif").rename(folder / "im3.tiff")
    (folder / "im12.tif").rename(folder / "im12.TIF")
    for name in ("Thumbs.db", ".hidden.tif", "notes.txt", "preview.png", "._im1.tif"):
        (folder / name).write_text("x")
    (folder / "more.tif").mkdir()
    (folder / "more.tif").rename(folder / "more")
    source = open_scan(folder)
    check_read(source, array, Box.of(array.shape))
    assert [p.name for p in source.files][:4] == ["im1.tif", "im2.tif", "im3.tiff", "im4.tif"]
    check_read(open_scan(str(folder / "im?.tif*")), array[:9], Box.of((9, 4, 6)))
    check_read(open_scan(folder / "im1[0-2].[tT]*"), array[9:], Box.of((3, 4, 6)))


def test_a_name_that_looks_like_a_glob(tmp_path):
    array = volume(shape=(3, 4, 6))
    check_read(open_scan(write_stack(tmp_path / "scan [1]", array)), array, Box.of(array.shape))


def test_imagej_hyperstack(tmp_path):
    array = volume(shape=(6, 20, 30))
    path = tmp_path / "a.tif"
    meta = {"axes": "ZYX", "spacing": 500.0, "unit": "nm"}
    tifffile.imwrite(path, array, imagej=True, resolution=(1 / 250, 1 / 400), metadata=meta)
    source = open_scan(path)
    assert source.voxel_size == pytest.approx((0.5, 0.4, 0.25))
    assert (source.offset >= 0).all()
    check_read(source, array, Box((1, 3, 4), (5, 20, 30)))


def test_imagej_file_with_one_directory_for_all_slices(tmp_path):
    """What ImageJ does beyond 4 GiB: cut the chain after the first directory."""
    array = volume(shape=(6, 20, 30))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, imagej=True, metadata={"axes": "ZYX"})
    data = bytearray(path.read_bytes())
    order = {b"II": "<", b"MM": ">"}[bytes(data[:2])]
    (first,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, first)
    with tifffile.TiffFile(path) as tif:
        start = tif.pages[0].dataoffsets[0]
    struct.pack_into(order + "I", data, first + 2 + 12 * entries, 0)
    data = data[: start + array.nbytes]
    path.write_bytes(data)
    check_read(open_scan(path), array, Box((1, 3, 4), (6, 20, 30)))
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match="truncated"):
        open_scan(path)


def test_imagej_slices_carry_the_voxel_size(tmp_path):
    array = volume(shape=(3, 20, 30))
    for z, plane in enumerate(array):
        meta = {"spacing": 0.39, "unit": "um"}
        tifffile.imwrite(tmp_path / f"s_{z}.tif", plane, imagej=True, resolution=(1 / 0.39, 1 / 0.39), metadata=meta)
    assert open_scan(tmp_path).voxel_size == pytest.approx((0.39, 0.39, 0.39))


@pytest.mark.parametrize(
    ("resolution", "unit", "meta", "expected"),
    [
        ((1e4, 5e3), "CENTIMETER", {"spacing": 1e-4}, (1.0, 2.0, 1.0)),
        ((25400, 25400), "INCH", {"spacing": 1 / 12700}, (2.0, 1.0, 1.0)),
        ((72, 72), "INCH", {"spacing": 1.0}, None),
        ((96 / 2.54, 96 / 2.54), "CENTIMETER", {"spacing": 1.0}, None),
        ((1, 1), "NONE", {"spacing": 2.0, "unit": "um"}, (2.0, 1.0, 1.0)),
        ((1, 1), "NONE", {"spacing": 2.0, "unit": "pixel"}, None),
        ((1, 1), "NONE", {"unit": "um"}, None),
        ((1e4, 1e4), "CENTIMETER", {}, None),
        ((1, 1), "NONE", {"spacing": 1e-3, "unit": "mm"}, (1.0, 1000.0, 1000.0)),
        ((1, 1), "NONE", {"spacing": 2.0, "unit": "\\u00B5m"}, (2.0, 1.0, 1.0)),
    ],
)
def test_voxel_size_of_imagej_files(tmp_path, resolution, unit, meta, expected):
    options = {"resolution": resolution, "resolutionunit": unit}
    tifffile.imwrite(tmp_path / "a.tif", volume(), imagej=True, metadata={"axes": "ZYX", **meta}, **options)
    assert open_scan(tmp_path / "a.tif").voxel_size == (expected and pytest.approx(expected))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_tiff(tmp_path, compression):
    array = volume()
    sizes = {"PhysicalSizeX": 126, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.2, "PhysicalSizeZ": 0.5}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, array, compression=compression, metadata={"axes": "ZYX", **sizes})
    source = open_scan(path)
    assert source.voxel_size == pytest.approx((0.5, 0.2, 0.126))
    check_read(source, array, Box((1, 3, 4), (5, 20, 30)))


def test_ome_tiff_of_several_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((2, 3, 8, 9), np.uint8), metadata={"axes": "CZYX"})
    with pytest.raises(InputError, match=r"has axes C=2, Z=3.*export one channel"):
        open_scan(tmp_path / "a.ome.tif")
    tifffile.imwrite(tmp_path / "b.ome.tif", volume(shape=(3, 8, 9)), metadata={"axes": "CYX"})
    with pytest.raises(InputError, match="C=3"):
        open_scan(tmp_path / "b.ome.tif")


def test_ome_tiff_over_several_files(tmp_path):
    """Slices in two files, and what happens when the second is missing (a library fills it with zeros)."""
    array = volume(shape=(4, 16, 16))
    names = ("a.ome.tif", "b.ome.tif")
    data = "".join(
        f'<TiffData IFD="{z % 2}" FirstZ="{z}" PlaneCount="1"><UUID FileName="{names[z // 2]}">urn:uuid:{z // 2}</UUID>'
        "</TiffData>"
        for z in range(4)
    )
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{}">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="16" SizeY="16" SizeZ="4"'
        f' SizeC="1" SizeT="1" PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeZ="2">{data}</Pixels></Image></OME>'
    )
    for k, name in enumerate(names):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            for i in range(2):
                text = xml.replace("{}", str(k)) if i == 0 else None
                writer.write(array[2 * k + i], description=text, metadata=None, rowsperstrip=5, compression="zlib")
    source = open_scan(tmp_path / "a.ome.tif")
    check_read(source, array, Box.of(array.shape))
    assert [p.name for p in source.files] == list(names)
    assert source.voxel_size == (2.0, 1.0, 1.0)
    (tmp_path / names[1]).unlink()
    with pytest.raises(InputError, match=r"slice 2 of 4 .*another file|truncated"):
        open_scan(tmp_path / "a.ome.tif")


def test_twelve_bits(tmp_path):
    array = volume(shape=(3, 8, 10)) % 4096
    for z, plane in enumerate(array):
        tifffile.imwrite(tmp_path / f"{z}.tif", plane, bitspersample=12, metadata=None)
    check_read(open_scan(tmp_path), array, Box((0, 2, 3), (3, 7, 9)))


def test_slices_of_either_byte_order(tmp_path):
    array = volume(shape=(4, 20, 30))
    for z, plane in enumerate(array):
        tifffile.imwrite(tmp_path / f"{z}.tif", plane, byteorder="<>"[z % 2], metadata=None)
    source = open_scan(tmp_path)
    check_read(source, array, Box((0, 2, 3), (4, 17, 30)))


def test_values_that_are_not_finite(tmp_path):
    array = volume("float32")
    array[3, 20, 6] = np.nan
    source = open_scan(write_stack(tmp_path / "s", array, compression="zlib"))
    with pytest.raises(InputError, match=r"im004\.tif: slice z=3: value nan at y=20, x=6 is not a finite"):
        source.read(Box((1, 5, 5), (5, 30, 30)))
    check_read(source, array, Box((0, 0, 0), (3, 40, 50)))


def test_memory_of_a_small_box(tmp_path):
    """Uncompressed: rows of the box. Tiled and compressed: a tile at a time."""
    array = np.zeros((4, 2048, 2048), np.uint16)
    for name, options in (("flat", {}), ("tiled", {"compression": "zlib", "tile": (128, 128)})):
        source = open_scan(write_stack(tmp_path / name, array, **options))
        box = Box((0, 1000, 1000), (4, 1064, 1064))
        source.read(box)
        tracemalloc.start()
        source.read(box)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 4 * 64 * 64 * 2 + source.scratch(box.shape) + 2**16
        assert source.scratch(box.shape) < array[0].nbytes / 2


def test_only_covering_tiles_are_read(tmp_path):
    """A damaged tile elsewhere does no harm; in the box it is named."""
    folder = write_stack(tmp_path / "s", volume(shape=(2, 64, 64)), compression="zlib", tile=(16, 16))
    with tifffile.TiffFile(folder / "im002.tif") as tif:
        at, count = tif.pages[0].dataoffsets[5], tif.pages[0].databytecounts[5]
    data = bytearray((folder / "im002.tif").read_bytes())
    data[at : at + count] = b"\xff" * count
    (folder / "im002.tif").write_bytes(data)
    source = open_scan(folder)
    check_read(source, volume(shape=(2, 64, 64)), Box((0, 32, 0), (2, 64, 64)))
    with pytest.raises(InputError, match=r"im002\.tif: slice z=1: tile 5 is damaged"):
        source.read(Box.of((2, 64, 64)))


def test_folders_without_slices(tmp_path):
    with pytest.raises(InputNotFound, match="no such file or folder"):
        open_scan(tmp_path / "none")
    with pytest.raises(InputError, match="the folder is empty"):
        open_scan(tmp_path)
    with pytest.raises(InputNotFound, match="matches no file"):
        open_scan(tmp_path / "*.tif")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"no TIFF slices .*1 other files such as a\.txt"):
        open_scan(tmp_path)
    (tmp_path / "a1.png").write_text("x")
    with pytest.raises(InputError, match=r"1 images such as a1\.png but no TIFF; convert"):
        open_scan(tmp_path)
    with pytest.raises(InputError, match=r"a1\.png: is not a TIFF file"):
        open_scan(tmp_path / "a?.png")


def test_single_slices_are_no_volume(tmp_path):
    write_stack(tmp_path, volume(shape=(1, 8, 9)))
    for path in (tmp_path, tmp_path / "im001.tif", tmp_path / "im*.tif"):
        with pytest.raises(InputError, match=r"a single image of 8 × 9, not a volume; name the folder"):
            open_scan(path)


def test_pages_among_slices(tmp_path):
    folder = write_stack(tmp_path / "s", volume())
    tifffile.imwrite(folder / "im003.tif", volume(), metadata=None)
    with pytest.raises(InputError, match=r"im003\.tif: has 5 pages, but is one of 5 files"):
        open_scan(folder)


def test_folder_of_one_volume(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", volume())
    check_read(open_scan(tmp_path), volume(), Box.of(SHAPE))


def test_slices_that_differ(tmp_path):
    folder = write_stack(tmp_path / "s", volume())
    tifffile.imwrite(folder / "im003.tif", volume()[0, :39], metadata=None)
    with pytest.raises(InputError, match=r"differ in size: im001\.tif is 40 × 50 uint16, im003\.tif is 39 × 50 uint16"):
        open_scan(folder)
    tifffile.imwrite(folder / "im003.tif", volume("uint8")[0], metadata=None)
    with pytest.raises(InputError, match=r"differ in type: im001\.tif is 40 × 50 uint16, im003\.tif is 40 × 50 uint8"):
        open_scan(folder)


def test_pages_that_differ(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for z, plane in enumerate(volume()):
            writer.write(plane[: 40 - (z == 3)], metadata=None)
    with pytest.raises(InputError, match=r"a\.tif \(slice 0\) is 40 × 50 uint16, slice 3 is 39 × 50 uint16"):
        open_scan(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 4}, {"tile": (16, 16)}])
def test_truncated_slices_are_found_at_opening(tmp_path, options):
    folder = write_stack(tmp_path / "s", volume(), **options)
    path = folder / "im004.tif"
    whole = path.read_bytes()
    for keep in (len(whole) - 1, len(whole) // 2, 300, 100, 20, 6):
        path.write_bytes(whole[:keep])
        with pytest.raises(InputError, match=r"im004\.tif: .*(truncated|damaged|not a TIFF)"):
            open_scan(folder)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"im004\.tif: is empty \(0 bytes\)"):
        open_scan(folder)
    path.write_bytes(b"not a TIFF file")
    with pytest.raises(InputError, match=r"im004\.tif: is not a TIFF file"):
        open_scan(folder)


@pytest.mark.parametrize("kind", ["pages", "shaped", "imagej", "ome", "compressed", "compressed shaped"])
def test_truncated_pages_are_found_at_opening(tmp_path, kind):
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    options = {"imagej": True} if kind == "imagej" else {"metadata": None} if kind in ("pages", "compressed") else {}
    if "compressed" in kind:
        options["compression"] = "zlib"
    tifffile.imwrite(path, volume(), **options)
    assert open_scan(path).shape == SHAPE
    whole, refused = path.read_bytes(), 0
    for keep in np.linspace(20, len(whole) - 1, 25).astype(int):
        path.write_bytes(whole[:keep])
        try:
            source = open_scan(path)
        except InputError as error:
            refused += 1
            assert re.search(r"truncated|damaged|cut off", str(error))  # noqa: PT017
        else:  # what is missing is a tag at the end that is not needed
            assert len(whole) - keep < 300
            check_read(source, volume(), Box.of(SHAPE))
    assert refused >= 23


def test_circular_directories(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, volume(), metadata=None, byteorder="<")
    data = bytearray(path.read_bytes())
    at = struct.unpack_from("<I", data, 4)[0]
    first = at
    while nxt := struct.unpack_from("<I", data, at + 2 + 12 * struct.unpack_from("<H", data, at)[0])[0]:
        at = nxt
    struct.pack_into("<I", data, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], first)
    path.write_bytes(data)
    with pytest.raises(InputError, match="chain of directories returns"):
        open_scan(path)


@pytest.mark.parametrize(
    ("plane", "options", "message"),
    [
        (np.zeros((8, 9, 3), np.uint8), {"photometric": "rgb"}, "3 samples a pixel"),
        (np.zeros((2, 8, 9), np.uint8), {"planarconfig": "separate", "photometric": "minisblack"}, "2 samples a pixel"),
        (np.zeros((8, 9), np.uint8), {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}, "palette"),
        (np.zeros((8, 9), np.complex64), {}, "complex"),
        (np.zeros((16, 16), np.uint8), {"compression": "jpeg"}, "compression JPEG is not read"),
    ],
)
def test_images_that_are_not_grey_values(tmp_path, plane, options, message):
    for name in ("1.tif", "2.tif"):
        tifffile.imwrite(tmp_path / name, plane, metadata=None, **options)
    with pytest.raises(InputError, match=rf"1\.tif: .*{message}"):
        open_scan(tmp_path)


def test_gaps_in_the_numbering(tmp_path):
    folder = write_stack(tmp_path / "s", volume(shape=(9, 4, 5)), start=8)
    (folder / "im010.tif").unlink()
    (folder / "im013.tif").unlink()
    with pytest.raises(InputError, match=r"numbered 8 to 16 but 2 of them are missing: 10, 13"):
        open_scan(folder)
    source = open_scan(folder, check_numbering=False)
    assert source.shape == (7, 4, 5)
    tifffile.imwrite(folder / "overview.tif", volume()[0])
    with pytest.raises(InputError, match=r"im008\.tif and .*overview\.tif are not named alike"):
        open_scan(folder)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b10", "b9", "b8"], ["b8", "b9", "b10"]),
        (["s020", "s000", "s010"], ["s000", "s010", "s020"]),
        (["z_0.390_02", "z_0.390_01"], ["z_0.390_01", "z_0.390_02"]),
        (["i1_120501", "i2_120517", "i3_120530"], ["i1_120501", "i2_120517", "i3_120530"]),
        (["a1_3", "a1_4", "a2_5"], ["a1_3", "a1_4", "a2_5"]),
        (["Im1", "im2"], ["Im1", "im2"]),
        (["x"], ["x"]),
    ],
)
def test_order_of_names(names, expected):
    assert [n[:-4] for n in ordered_slices([n + ".tif" for n in names], "here")] == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a1", "a2", "a4", "a6"], "numbered 1 to 6 but 2 of them are missing: 3, 5"),
        (["i1_120501", "i2_120517", "i4_120530"], "1 to 4 but 1 of them is missing: 3"),
        (["a0", "a20", "a21"], r"missing: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 9 more"),
        (["a1", "a01"], "a01.tif and a1.tif have the same slice number"),
        (["a1_1", "a1_2", "a2_1", "a2_2"], r"a1_1.tif and a2_1.tif have the same slice number 1; are there two scans"),
        (["a1", "b2"], "not named alike"),
    ],
)
def test_names_that_do_not_make_a_stack(names, message):
    with pytest.raises(InputError, match=message):
        ordered_slices([n + ".tif" for n in names], "here")


@given(st.lists(st.integers(0, 10**6), min_size=2, unique=True))
def test_natural_order_is_numeric_order(numbers):
    names = [f"s{n}" for n in numbers]
    assert sorted(names, key=natural_key) == [f"s{n}" for n in sorted(numbers)]


def test_decompression_bomb(tmp_path):
    """A header that claims 32 GiB over one small strip."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 8, 8), np.uint16), metadata=None, compression="zlib", byteorder="<")
    data = bytearray(path.read_bytes())
    at = struct.unpack_from("<I", data, 4)[0]
    while at:
        entries = struct.unpack_from("<H", data, at)[0]
        for entry in range(at + 2, at + 2 + 12 * entries, 12):
            if struct.unpack_from("<H", data, entry)[0] in (256, 257, 278):
                struct.pack_into("<HII", data, entry + 2, 4, 1, 92681)
        at = struct.unpack_from("<I", data, at + 2 + 12 * entries)[0]
    path.write_bytes(data)
    with pytest.raises(InputError, match="over 2000 times less"):
        open_scan(path)


def test_a_thousand_slices_are_few_bytes(tmp_path):
    source = open_scan(write_stack(tmp_path / "s", np.zeros((1000, 4, 4), np.uint8), name="slice_{:04d}.tif"))
    assert len(pickle.dumps(source)) < 60_000


@pytest.mark.skipif(not (DATA / "cell_ct").exists(), reason="no test data")
def test_real_stack():
    source = open_scan(DATA / "cell_ct")
    assert isinstance(source, TiffSource)
    assert source.shape == (100, 728, 728)
    assert source.dtype == np.uint8
    assert source.voxel_size is None
    box = Box((37, 200, 300), (43, 456, 556))
    whole = np.stack([tifffile.imread(p) for p in source.files[37:43]])
    np.testing.assert_array_equal(source.read(box), whole[:, 200:456, 300:556])
    assert [p.name for p in source.files[:2]] == ["im001.tif", "im002.tif"]


@pytest.mark.skipif(not (DATA / "electrode.tiff").exists(), reason="no test data")
def test_real_pages():
    source = open_scan(DATA / "electrode.tiff")
    assert source.shape == (256, 256, 256)
    counts = sum(
        np.bincount(source.read(Box((z, 0, 0), (z + 64, 256, 256))).ravel(), minlength=256) for z in range(0, 256, 64)
    )
    assert [round(counts[v] / 256**3, 6) for v in (0, 85, 170)] == [0.449917, 0.400466, 0.149616]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_are_refused_or_harmless(tmp_path, seed, caplog):
    """Any bytes changed anywhere give one of our errors, or an array."""
    rng = np.random.default_rng(seed)
    options = [{"compression": "zlib", "rowsperstrip": 7, "metadata": None}, {"imagej": True}, {}, {"tile": (16, 16)}][
        seed
    ]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, volume(), **options)
    whole = path.read_bytes()
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, min(len(data), 600), 3):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            source = open_scan(path)
            source.read(Box((0, 0, 0), tuple(min(n, 64) for n in source.shape)))
        except (InputError, InputNotFound):
            refused += 1
    assert refused > 0
