"""Formats of the field, written by other libraries: voxels, order of axes, size, and what is damaged."""

import gzip
import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from real_data import DATA

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError, InputNotFound
from mgsflow.readers import Reader, open_scan

SHAPE = (5, 6, 7)
SIZES = (0.5, 0.6, 0.7)  # z, y, x in µm
DTYPES = ("uint8", "int16", "uint16", "float32")


def volume(dtype="uint16"):
    return np.arange(5 * 6 * 7).reshape(SHAPE).astype(dtype)  # no two voxels alike


def check(reader, expected, size=SIZES):
    assert isinstance(reader, Reader)
    assert reader.shape == expected.shape
    assert reader.dtype == expected.dtype
    for copy in (reader, pickle.loads(pickle.dumps(reader))):
        for block in Grid.regular(expected.shape, (2, 4, 3)).blocks():
            np.testing.assert_array_equal(copy.read(block.core), expected[block.core.slices])
    assert reader.voxel_size == (size and pytest.approx(size))
    assert reader.scratch((2, 4, 3)) > 0


def write_itk(path, array, compressed=False):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([s / 1000 for s in SIZES[::-1]])
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nii", "a.nii.gz"])
def test_written_by_itk(tmp_path, name, dtype):
    check(open_scan(write_itk(tmp_path / name, volume(dtype))), volume(dtype))


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_compressed_by_itk(tmp_path, name):
    source = open_scan(write_itk(tmp_path / name, volume(), compressed=True))
    check(source, volume())
    assert "every block decodes all before it" in " ".join(source.warnings)


def test_metaimage_tells_its_unit_or_takes_mm(tmp_path):
    path = write_itk(tmp_path / "a.mha", volume())
    assert "taken in mm" in open_scan(path).warnings[0]
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing", b"DistanceUnits = um\nElementSpacing"))
    assert open_scan(path).voxel_size == pytest.approx([s / 1000 for s in SIZES])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("unit", ["um", None])
def test_nrrd(tmp_path, dtype, encoding, unit):
    nrrd = pytest.importorskip("nrrd")
    header = {"encoding": encoding, "space dimension": 3, "space directions": np.diag(SIZES[::-1])}
    if unit:
        header["space units"] = [unit] * 3
    for name in ("a.nrrd", "b.nhdr"):
        nrrd.write(str(tmp_path / name), volume(dtype), header, index_order="C")
        source = open_scan(tmp_path / name)
        check(source, volume(dtype), SIZES if unit else None)
        assert ("without a unit" in " ".join(source.warnings)) is (unit is None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
@pytest.mark.parametrize("unit", ["micron", "unknown"])
def test_nifti(tmp_path, dtype, kind, unit):
    nibabel = pytest.importorskip("nibabel")
    image = getattr(nibabel, kind)(volume(dtype).T, np.diag([*SIZES[::-1], 1]))
    image.header.set_xyzt_units(unit)
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(image, tmp_path / name)
        check(open_scan(tmp_path / name), volume(dtype), SIZES if unit == "micron" else None)


@pytest.mark.parametrize("dtype", ["int8", *DTYPES[1:], "float16"])
@pytest.mark.parametrize("mapped", [(1, 2, 3), (3, 2, 1), (2, 1, 3)])
def test_mrc(tmp_path, dtype, mapped):
    mrcfile = pytest.importorskip("mrcfile")
    order = "".join("xyz"[a - 1] for a in mapped[::-1])  # slowest first
    stored = np.ascontiguousarray(volume(dtype).transpose(["zyx".index(a) for a in order]))
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(stored)
        file.header.mapc, file.header.mapr, file.header.maps = mapped
        cells = dict(zip("zyx", SHAPE))
        file.header.mx, file.header.my, file.header.mz = (cells[a] for a in "xyz")
        lengths = {a: n * s * 1e4 for a, n, s in zip("zyx", SHAPE, SIZES)}
        file.header.cella.x, file.header.cella.y, file.header.cella.z = (lengths[a] for a in "xyz")
        file.set_extended_header(np.zeros(3, dtype="V80"))
    delivered = {"int8": "int16", "float16": "float32"}.get(dtype, dtype)
    check(open_scan(tmp_path / "a.mrc"), volume(dtype).astype(delivered))
    (tmp_path / "a.mrc").rename(tmp_path / "a.rec")
    assert open_scan(tmp_path / "a.rec").shape == SHAPE


@pytest.mark.parametrize("dtype", DTYPES)
def test_volume_graphics(tmp_path, dtype):
    volume(dtype).tofile(tmp_path / "scan.vol")
    array = volume(dtype)
    kind = {"u": "unsigned integer", "i": "signed integer", "f": "float"}[array.dtype.kind]
    (tmp_path / "scan.vgi").write_text(
        f"{{volume1}}\n[representation]\nsize = 7 6 5\ndatatype = {kind}\nbitsperelement = {8 * array.itemsize}\n"
        f"[file1]\nSkipHeader = 0\nFileFormat = raw\nSize = 7 6 5\nName = scan.vol\nDatatype = {kind}\n"
        f"BitsPerElement = {8 * array.itemsize}\n{{volumeprimitive12}}\n[geometry]\nresolution = 0.0007 0.0006 0.0005\n"
        "unit = mm\n"
    )
    check(open_scan(tmp_path / "scan.vgi"), array)
    (tmp_path / "scan.vol").unlink()
    with pytest.raises(InputNotFound, match=r"scan\.vol: no such file"):
        open_scan(tmp_path / "scan.vgi")


def write_amira(path, data, field="byte", codec="", endian="-LITTLE-ENDIAN", unit='    Units { Coordinates "um" }\n'):
    box = " ".join(f"0 {(n - 1) * s:.8g}" for n, s in zip(SHAPE[::-1], SIZES[::-1]))
    path.write_bytes(
        (
            f"# AmiraMesh BINARY{endian} 2.1\n\n\ndefine Lattice 7 6 5\n\nParameters {{\n{unit}    BoundingBox {box},\n"
            f'    CoordType "uniform"\n}}\n\nLattice {{ {field} Data }} @1{codec}\n\n# Data section follows\n@1\n'
        ).encode()
        + data
        + b"\n"
    )
    return path


@pytest.mark.parametrize(
    ("field", "stored", "endian"),
    [("byte", "u1", ""), ("ushort", "<u2", "-LITTLE-ENDIAN"), ("short", ">i2", ""), ("float", "<f4", "-LITTLE-ENDIAN")],
)
def test_amira(tmp_path, field, stored, endian):
    array = volume(stored)
    native = array.astype(array.dtype.newbyteorder("="))
    check(open_scan(write_amira(tmp_path / "a.am", array.tobytes(), field, "", endian)), native)
    source = open_scan(write_amira(tmp_path / "b.am", array.tobytes(), field, "", endian, ""))
    check(source, native, None)
    assert "without a unit" in source.warnings[0]


def runs(data, seed):
    """Encode bytes in run lengths, in runs of random kinds and lengths."""
    rng, found, i = np.random.default_rng(seed), b"", 0
    while i < len(data):
        same = 1
        while i + same < len(data) and data[i + same] == data[i] and same < 127:
            same += 1
        if rng.random() < 0.5:
            n = int(rng.integers(1, same + 1))
            found += bytes([n, data[i]])
        else:
            n = min(int(rng.integers(1, 128)), len(data) - i)
            found += bytes([128 + n]) + data[i : i + n]
        i += n
    return found


@pytest.mark.parametrize("seed", range(20))
def test_amira_run_lengths(tmp_path, seed):
    labels = np.repeat(np.random.default_rng(seed).integers(0, 4, 42), 5).astype("uint8").reshape(SHAPE)
    data = runs(labels.tobytes(), seed)
    path = write_amira(tmp_path / "a.am", data, codec=f"(HxByteRLE,{len(data)})")
    check(open_scan(path), labels)
    path.write_bytes(path.read_bytes()[: -len(data) // 2])
    with pytest.raises(InputError, match="truncated"):
        open_scan(path)
    path = write_amira(tmp_path / "a.am", data[:-2], codec=f"(HxByteRLE,{len(data) - 2})")
    with pytest.raises(InputError, match="run lengths are damaged"):
        open_scan(path)


def test_real_amira_files():
    if not (DATA / "amira").is_dir():
        pytest.skip("no reference data")
    source = open_scan(DATA / "amira" / "sfftk_test_data.am")
    assert source.shape == (200, 971, 862)
    counts = np.zeros(256, int)
    for z in range(0, 200, 50):
        block = source.read(Box((z, 0, 0), (z + 50, 971, 862)))
        counts += np.bincount(block.ravel(), minlength=256)
    assert {int(i): int(counts[i]) for i in counts.nonzero()[0]} == {
        0: 159477470, 1: 2, 2: 6343197, 3: 28302, 5: 1551429
    }  # fmt: skip
    scalar = open_scan(DATA / "amira" / "testscalar.am")
    assert scalar.shape == (8, 6, 4)
    raw = np.frombuffer((DATA / "amira" / "testscalar.am").read_bytes()[-8 * 6 * 4 * 4 - 1 : -1], "<f4")
    np.testing.assert_array_equal(scalar.read(Box.of((8, 6, 4))).ravel(), raw)
    with pytest.raises(InputError, match=r"has fields Data \(float\[3\]\)"):
        open_scan(DATA / "amira" / "testvector3c.am")


def examples(folder: Path) -> dict[str, Path]:
    return {
        "mha": write_itk(folder / "a.mha", volume()),
        "packed": write_itk(folder / "p.mha", volume(), compressed=True),
        "nii": write_itk(folder / "a.nii", volume()),
        "nii.gz": write_itk(folder / "a.nii.gz", volume()),
        "nrrd": write_itk(folder / "a.nrrd", volume()),
        "mrc": write_itk(folder / "a.mrc", volume()),
        "am": write_amira(folder / "a.am", volume("uint8").tobytes()),
    }


@pytest.mark.parametrize("name", ["mha", "packed", "nii", "nii.gz", "nrrd", "mrc", "am"])
def test_truncated_and_damaged(tmp_path, name):
    path = examples(tmp_path)[name]
    good = path.read_bytes()
    for cut in (1, 10, len(good) // 4, len(good) // 2, len(good) - 30):
        path.write_bytes(good[:cut])
        with pytest.raises(InputError) as error:
            open_scan(path).read(Box.of(SHAPE))
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(good)
        for at in rng.integers(0, min(len(good), 400), 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            source = open_scan(path)
            if np.prod(source.shape) < 1e6:
                source.read(Box.of(source.shape))
        except (InputError, InputNotFound):
            pass


def test_a_box_of_a_stream_takes_little_memory(tmp_path):
    header = struct.pack("<i", 348) + bytes(36) + struct.pack("<8h", 3, 256, 256, 200, 1, 1, 1, 1) + bytes(14)
    header += struct.pack("<hhh", 2, 8, 0) + struct.pack("<8f", 1, 1, 1, 1, 0, 0, 0, 0) + struct.pack("<f", 352)
    header += bytes(344 - len(header)) + b"n+1\0" + bytes(4)
    array = np.random.default_rng(0).integers(0, 9, (200, 256, 256), dtype="uint8")
    with gzip.open(tmp_path / "a.nii.gz", "wb") as file:
        file.write(header + array.tobytes())
    source = open_scan(tmp_path / "a.nii.gz")
    box = Box((150, 10, 10), (160, 50, 50))
    source.read(box)
    tracemalloc.start()
    got = source.read(box)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(got, array[box.slices])
    assert peak < got.nbytes + source.scratch(box.shape) < array.nbytes
