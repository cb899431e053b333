"""The store of a study: what is written is read, of any scans, by any program, and after any crash."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from toys import Steps

from mgsflow.blocks import Box, Grid
from mgsflow.errors import DamagedData, InputError, StoreError, StudyNotFound
from mgsflow.store import Scan, Specimen, Study, ledger
from mgsflow.store.ome import write_ome
from mgsflow.store.pyramid import Halved, levels_of
from mgsflow.store.schema import SCHEMA, check_name, chunk_of, note
from mgsflow.store.tree import open_group, open_study

PRISTINE = Scan("c0", 0, "pristine", (40, 36, 44))
CHARGED = Scan("c1", 1, "charged", (30, 50, 20))
DISCHARGED = Scan("c1d", 1, "discharged", (33, 20, 21))
LARGE = Scan("c3", 3, "charged", (70, 36, 90))
VOXEL = (0.3, 0.2, 0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.zarr"


@pytest.fixture
def specimen(path: Path) -> Specimen:
    made = Study.create(path, "test").add_specimen("cathode", VOXEL, ("pore", "CBD"), (32, 24, 16))
    for scan in (PRISTINE, CHARGED):
        made.add_scan(scan)
    return made


def noise(scan: Scan, dtype: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng(len(scan.name) + scan.cycle).integers(1, 200, scan.shape).astype(dtype)


def fill(specimen: Specimen, scan: Scan, array: str = "image", dtype: Any = np.uint16) -> np.ndarray:
    voxels = noise(scan, dtype)
    region = specimen.volume(array, scan.name, dtype)
    for block in specimen.grid(scan.name).blocks():
        region.write(block.core, voxels[block.core.slices])
    return voxels


# --------------------------------------------------------------------------------------------------------- volumes


def test_what_is_written_is_read_with_any_box(specimen: Specimen) -> None:
    voxels = {scan: fill(specimen, scan) for scan in (PRISTINE, CHARGED)}
    rng = np.random.default_rng(0)
    for scan, expected in voxels.items():
        region = specimen.volume("image", scan.name)
        assert (region.shape, region.dtype) == (scan.shape, np.uint16)
        for _ in range(20):
            a, b = np.sort(rng.integers(0, np.add(scan.shape, 1), (2, 3)), axis=0)
            box = Box(tuple(map(int, a)), tuple(map(int, b)))  # type: ignore[arg-type]
            assert np.array_equal(region.read(box), expected[box.slices])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
def test_every_type_of_voxel(dtype: str, specimen: Specimen) -> None:
    voxels = fill(specimen, CHARGED, "filtered", dtype)
    found = specimen.volume("filtered", "c1").read(Box.of(CHARGED.shape))
    assert found.dtype == dtype
    assert np.array_equal(found, voxels)


def test_a_repeated_write_leaves_the_same_file(specimen: Specimen, path: Path) -> None:
    fill(specimen, PRISTINE)
    before = {p: p.read_bytes() for p in path.rglob("c/*") if p.is_file()}
    fill(specimen, PRISTINE)
    assert before == {p: p.read_bytes() for p in path.rglob("c/*") if p.is_file()}


def test_one_file_a_block_and_none_outside_the_extent(specimen: Specimen, path: Path) -> None:
    fill(specimen, PRISTINE)
    fill(specimen, CHARGED)
    for i, scan in enumerate((PRISTINE, CHARGED)):
        folder = path / "cathode" / "scale0" / "image" / "c" / str(i)
        found = {tuple(map(int, p.relative_to(folder).parts)) for p in folder.rglob("*") if p.is_file()}
        assert found == {b.index for b in Grid.regular(scan.shape, (32, 24, 16)).blocks()}
    whole = zarr.open_array(path, path="cathode/scale0/image", mode="r")
    assert whole.shape == (2, 40, 50, 44)  # the largest along each axis
    assert whole.shards == (1, 32, 24, 16)
    assert not whole[1, 30:].any()


def test_boxes_and_arrays_that_do_not_fit(specimen: Specimen) -> None:
    region = specimen.volume("image", "c1", np.uint16)
    with pytest.raises(InputError, match="not within the scan's extent"):
        region.read(Box.of((31, 50, 20)))
    with pytest.raises(InputError, match="not within"):
        region.read(Box((-1, 0, 0), (3, 3, 3)))
    with pytest.raises(InputError, match="got int32 voxels of shape"):
        region.write(Box.of((2, 2, 2)), np.zeros((2, 2, 2), np.int32))
    with pytest.raises(InputError, match=r"\(2, 2, 3\) for a box of uint16 \(2, 2, 2\)"):
        region.write(Box.of((2, 2, 2)), np.zeros((2, 2, 3), np.uint16))
    with pytest.raises(StoreError, match="no 'phase' in cathode/scale0 yet"):
        specimen.volume("phase", "c1")
    with pytest.raises(StoreError, match="holds uint16 and scan c1 would give float32"):
        specimen.volume("image", "c1", np.float32)
    with pytest.raises(StudyNotFound, match="no scan 'c9' in specimen cathode; there are: c0, c1"):
        specimen.volume("image", "c9", np.uint16)


@given(st.tuples(*[st.integers(1, 600)] * 3))
def test_chunks_divide_shards(block: tuple[int, int, int]) -> None:
    chunk = chunk_of(block)
    for n, c in zip(block, chunk):
        assert n % c == 0
        for other in range(1, n + 1):  # none is nearer to 64, as a ratio
            if n % other == 0:
                assert max(c / 64, 64 / c) <= max(other / 64, 64 / other) * (1 + 1e-12)
    assert chunk_of((256, 256, 128)) == (64, 64, 64)
    assert chunk_of((37, 96, 100)) == (37, 48, 50)


# ----------------------------------------------------------------------------------------------- scans that are added


def test_a_larger_scan_that_is_added_leaves_the_others_as_they_are(specimen: Specimen, path: Path) -> None:
    voxels = {scan: fill(specimen, scan) for scan in (PRISTINE, CHARGED)}
    log = specimen.ledger("ingest", "c0")
    log.begin("key")
    for index in np.ndindex(specimen.grid("c0").counts):
        log.finish(index)
    log.flush()
    records = specimen.records("steps_image", Steps(), "c1")
    records.write((0, 1, 0), np.array([1, 2, 3]))
    stored = {p: p.read_bytes() for p in (path / "cathode/scale0/image/c").rglob("*") if p.is_file()}

    assert specimen.add_scan(LARGE) == 2
    voxels[LARGE] = fill(specimen, LARGE)
    for scan, expected in voxels.items():
        assert np.array_equal(specimen.volume("image", scan.name).read(Box.of(scan.shape)), expected)
    assert all(p.read_bytes() == data for p, data in stored.items())  # nothing is written again
    assert specimen.ledger("ingest", "c0").pending("key") == []
    assert len(specimen.ledger("ingest", "c1").pending("key")) == len(specimen.grid("c1"))
    assert specimen.records("steps_image", Steps(), "c1")[0, 1, 0].tolist() == [1, 2, 3]
    dataset = xr.open_zarr(path, group="cathode/scale0", consolidated=False)
    assert dataset.sizes == {"scan": 3, "z": 70, "y": 50, "x": 90, "axis": 3}
    assert dataset.extent.values.tolist() == [[40, 36, 44], [30, 50, 20], [70, 36, 90]]
    assert dataset.scan.values.tolist() == ["c0", "c1", "c3"]
    assert dataset.cycle.values.tolist() == [0, 1, 3]
    assert dataset.state.values.tolist() == ["pristine", "charged", "charged"]
    for axis, n, size in zip("zyx", (70, 50, 90), VOXEL):
        np.testing.assert_allclose(dataset[axis].values, (np.arange(n) + 0.5) * size, rtol=1e-14)
        assert dataset[axis].attrs["units"] == "µm"


def test_adding_again_changes_nothing_and_another_shape_forgets(specimen: Specimen, path: Path) -> None:
    fill(specimen, PRISTINE)
    kept = fill(specimen, CHARGED)
    for scan in ("c0", "c1"):
        log = specimen.ledger("ingest", scan)
        log.begin("key")
        log.finish((0, 0, 0))
        log.flush()
    assert specimen.add_scan(PRISTINE) == 0
    assert specimen.ledger("ingest", "c0").count == 1
    # another cycle: the voxels stay
    specimen.add_scan(Scan("c0", 5, "aged", PRISTINE.shape))
    assert specimen.ledger("ingest", "c0").key == "key"
    assert specimen.volume("image", "c0").read(Box.of((3, 3, 3))).all()
    assert open_study(path)["cathode/scale0"].ds.cycle.values.tolist() == [5, 1]
    # another shape: another tomogram
    specimen.add_scan(Scan("c0", 0, "pristine", (45, 36, 44)))
    log = specimen.ledger("ingest", "c0")
    assert (log.key, log.count) == (None, 0)
    with pytest.raises(DamagedData, match=r"scan 0, block \(.*\): its file is missing"):
        specimen.volume("image", "c0").read(Box.of((45, 36, 44)))
    assert specimen.ledger("ingest", "c1").key == "key"
    assert np.array_equal(specimen.volume("image", "c1").read(Box.of(CHARGED.shape)), kept)
    # smaller than all there was
    specimen.add_scan(Scan("c0", 0, "pristine", (5, 6, 7)))
    specimen.add_scan(Scan("c1", 0, "pristine", (5, 6, 8)))
    assert zarr.open_array(path, path="cathode/scale0/image", mode="r").shape == (2, 5, 6, 8)
    for scan, shape in (("c0", (5, 6, 7)), ("c1", (5, 6, 8))):
        with pytest.raises(DamagedData):
            specimen.volume("image", scan).read(Box.of(shape))


def test_reopened(specimen: Specimen, path: Path) -> None:
    voxels = fill(specimen, PRISTINE)
    study = Study.open(path)
    assert (study.title, study.specimens) == ("test", ("cathode",))
    again = study["cathode"]
    assert again.scans == (PRISTINE, CHARGED)
    assert again.voxel_size == VOXEL
    assert again.phases == ("pore", "CBD")
    assert again.block == (32, 24, 16)
    assert np.array_equal(again.volume("image", "c0").read(Box.of(PRISTINE.shape)), voxels)
    assert Study.open(path, "r+").add_specimen("cathode", VOXEL, ("pore", "CBD"), (32, 24, 16)).scans == again.scans
    with pytest.raises(StudyNotFound, match="no specimen 'anode' in "):
        study["anode"]


def test_what_a_run_holds_is_read_once_and_what_it_notes_is_seen(specimen: Specimen, path: Path) -> None:
    other = Study.open(path, mode="r+")[specimen.name]
    with specimen.held():
        other.note(theirs=1)
        assert "theirs" not in specimen.attributes
        specimen.attributes["scans"].clear()
        assert specimen.scans == other.scans != ()
        specimen.note(ours=2)
        assert (specimen.attributes["ours"], specimen.attributes["theirs"]) == (2, 1)
        specimen.add_scan(Scan("late", 7, "charged", (5, 6, 7)))
        assert specimen.scans[-1].name == "late"
    other.note(theirs=3)
    assert specimen.attributes["theirs"] == 3
    assert other.scans == specimen.scans


def test_specimens_stay_in_the_order_in_which_they_came(path: Path) -> None:
    study = Study.create(path)
    for name in ("zinc", "anode", "Mg"):
        study.add_specimen(name, (1, 1, 1))
    assert Study.open(path).specimens == ("zinc", "anode", "Mg")


def test_another_voxel_size_or_block_is_refused(specimen: Specimen, path: Path) -> None:
    study = Study.open(path, "r+")
    with pytest.raises(InputError, match=r"made with voxel size \[0.3, 0.2, 0.1\], not \[0.3, 0.2, 0.2\]"):
        study.add_specimen("cathode", (0.3, 0.2, 0.2), (), (32, 24, 16))
    with pytest.raises(InputError, match=r"made with block \[32, 24, 16\], not \[64, 64, 64\]"):
        study.add_specimen("cathode", VOXEL, (), 64)
    for size in ((1, 1), (1, 0, 1), (1, -1, 1), (1, 1, float("nan")), (1, 1, float("inf"))):
        with pytest.raises(InputError, match="voxel size must be three positive lengths"):
            study.add_specimen("other", size)
    with pytest.raises(InputError, match="empty"):
        specimen.add_scan(Scan("flat", 0, "pristine", (3, 0, 3)))


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "a b", "Ü", "-x", "end.", "blocks", "metrics", "a\n"])
def test_names_that_are_no_folders_are_refused(name: str, path: Path) -> None:
    with pytest.raises(InputError, match="specimen name"):
        Study.create(path).add_specimen(name, (1, 1, 1))
    with pytest.raises(InputError, match="scan name"):
        check_name("scan", name)


@pytest.mark.parametrize("name", ["a", "c0", "0.5C", "cycle_10-b", "X"])
def test_names_that_are_allowed(name: str) -> None:
    assert check_name("scan", name) == name


# ------------------------------------------------------------------------------- crashes, and other stores


def test_a_crash_between_the_list_of_scans_and_the_arrays_is_mended(specimen: Specimen, path: Path) -> None:
    voxels = fill(specimen, PRISTINE)
    specimen.ledger("ingest", "c0").begin("key")
    specimen.records("steps_image", Steps(), "c0")
    # the list is written, and then the power fails
    rows = [*specimen.attributes["scans"], {"name": "c3", "cycle": 3, "state": "charged", "shape": [70, 36, 90]}]
    specimen.note(scans=rows)
    assert zarr.open_array(path, path="cathode/scale0/image", mode="r").shape == (2, 40, 50, 44)
    again = Study.open(path, "r+")["cathode"]
    assert zarr.open_array(path, path="cathode/scale0/image", mode="r").shape == (3, 70, 50, 90)
    dataset = xr.open_zarr(path, group="cathode/scale0", consolidated=False)
    assert dataset.scan.values.tolist() == ["c0", "c1", "c3"]
    assert dataset.sizes["x"] == dataset.x.size == 90
    records = xr.open_zarr(path, group="cathode/blocks", consolidated=False)
    assert records.steps_image.shape == (3, 3, 3, 6, 3)
    assert records.done_ingest.shape == (3, 3, 3, 6)
    assert np.array_equal(again.volume("image", "c0").read(Box.of(PRISTINE.shape)), voxels)
    fill(again, LARGE)


def test_a_crash_before_the_coordinates_are_there_is_mended(specimen: Specimen, path: Path) -> None:
    shutil.rmtree(path / "cathode" / "scale0" / "x")
    shutil.rmtree(path / "cathode" / "scale0" / "cycle" / "c")
    Study.open(path, "r+")
    dataset = xr.open_zarr(path, group="cathode/scale0", consolidated=False)
    assert dataset.x.size == 44
    assert dataset.cycle.values.tolist() == [0, 1]


def test_a_specimen_that_was_not_finished_is_none(path: Path) -> None:
    study = Study.create(path)
    study.root.require_group("half").require_group("scale0")
    assert Study.open(path).specimens == ()
    assert Study.open(path, "r+").add_specimen("half", (1, 1, 1)).scans == ()


def test_a_store_of_a_newer_version(path: Path) -> None:
    note(Study.create(path).root, {"schema": SCHEMA + 1})
    before = (path / "zarr.json").read_bytes()
    for mode in ("r", "r+"):
        with pytest.raises(StoreError, match=rf"newer mgsflow \(schema {SCHEMA + 1}, this version knows {SCHEMA}\)"):
            Study.open(path, mode)
    assert (path / "zarr.json").read_bytes() == before


def test_what_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(StudyNotFound, match="no study at"):
        Study.open(tmp_path)
    zarr.create_group(tmp_path / "group")
    with pytest.raises(StoreError, match="not an mgsflow study"):
        Study.open(tmp_path / "group")
    zarr.create_array(tmp_path / "array", shape=(3,), dtype="i4")
    with pytest.raises(StoreError, match="array"):
        Study.open(tmp_path / "array")
    broken = tmp_path / "broken"
    broken.mkdir()
    for text in ("", "{", "[]", "{}", '{"zarr_format": 3}', "\x00\x01"):
        (broken / "zarr.json").write_text(text)
        with pytest.raises(StoreError, match="broken"):
            Study.open(broken)
    (tmp_path / "file").write_text("x")
    for name in ("group", "file"):
        with pytest.raises(StoreError, match="is not an mgsflow study"):
            Study.create(tmp_path / name)
    with pytest.raises(StoreError, match="cannot make a store"):
        Study.create(tmp_path / "file" / "study.zarr")


# ---------------------------------------------------------------------------------------------------------- ledger


@pytest.fixture
def slow_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "FLUSH_EVERY", 1e9)


def every(specimen: Specimen, scan: str = "c0") -> list[tuple[int, ...]]:
    return [b.index for b in specimen.grid(scan).blocks()]


@pytest.mark.usefixtures("slow_flush")
def test_a_block_is_finished_once_it_is_flushed_and_not_before(specimen: Specimen) -> None:
    log = specimen.ledger("ingest", "c0")
    assert (log.key, log.count) == (None, 0)
    assert log.begin("key") == every(specimen)
    log.finish((1, 1, 2))
    assert log.count == 1
    # a crash here costs the block again
    assert specimen.ledger("ingest", "c0").pending("key") == every(specimen)
    log.flush()
    rest = [i for i in every(specimen) if i != (1, 1, 2)]
    again = specimen.ledger("ingest", "c0")
    assert again.pending("key") == again.begin("key") == rest
    assert specimen.ledger("ingest", "c1").pending("key") == every(specimen, "c1")  # of another scan nothing
    assert specimen.ledger("filter", "c0").pending("key") == every(specimen)  # nor of another step
    assert specimen.progress("c0") == [("ingest", 1, len(every(specimen)))]


def test_pending_blocks_are_those_without_a_flag_in_c_order(specimen: Specimen) -> None:
    log = specimen.ledger("ingest", "c1")
    blocks = log.begin("key")
    finished = [blocks[i] for i in (0, 3, len(blocks) - 1)]
    for index in finished[::-1]:
        log.finish(index)
    left = [i for i in every(specimen, "c1") if i not in finished]
    assert log.pending("key") == left == sorted(left)
    # as plain numbers, which a task carries
    assert all(type(n) is int for i in log.pending("key") for n in i)


@pytest.mark.usefixtures("slow_flush")
def test_another_key_begins_anew(specimen: Specimen) -> None:
    log = specimen.ledger("ingest", "c0")
    log.begin("old")
    log.finish((0, 0, 0))
    log.flush()
    other = specimen.ledger("ingest", "c0")
    assert other.pending("new") == every(specimen)
    assert specimen.ledger("ingest", "c0").count == 1  # to ask changes nothing
    assert other.begin("new") == every(specimen)
    other.finish((0, 1, 0))
    other.flush()
    # and there is no way back to what the old blocks were
    assert len(specimen.ledger("ingest", "c0").pending("old")) == len(every(specimen))
    assert specimen.ledger("ingest", "c0").pending("new") == [i for i in every(specimen) if i != (0, 1, 0)]


def test_a_crash_while_a_key_changes_never_calls_old_blocks_new(
    specimen: Specimen, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = specimen.ledger("ingest", "c0")
    log.begin("old")
    for index in every(specimen):
        log.finish(index)
    log.flush()

    class PowerCut(BaseException):
        pass

    def cut(*args: Any, **kwargs: Any) -> None:
        raise PowerCut

    for place in ("note", "Ledger.flush"):
        with monkeypatch.context() as patch:
            patch.setattr(f"mgsflow.store.ledger.{place}", cut)
            with pytest.raises(PowerCut):
                specimen.ledger("ingest", "c0").begin("new")
        assert specimen.ledger("ingest", "c0").pending("new") == every(specimen)


def test_finished_blocks_are_flushed_now_and_then(specimen: Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "FLUSH_EVERY", 0.05)
    log = specimen.ledger("ingest", "c0")
    log.begin("key")
    log.finish((0, 0, 0))
    time.sleep(0.06)
    log.finish((0, 0, 1))
    assert specimen.ledger("ingest", "c0").count == 2


def test_steps_of_several_ledgers_at_once_keep_their_keys(specimen: Specimen) -> None:
    logs = {(step, scan): specimen.ledger(step, scan) for step in ("ingest", "filter") for scan in ("c0", "c1")}
    for (step, scan), log in logs.items():
        log.begin(f"{step} {scan}")
    for (step, scan), log in logs.items():
        assert log.key == specimen.ledger(step, scan).key == f"{step} {scan}"


# --------------------------------------------------------------------------------------------------------- records


def test_records_of_a_scan(specimen: Specimen) -> None:
    records = specimen.records("steps_image", Steps(), "c1")
    counts = specimen.grid("c1").counts
    assert records.shape == (*counts, 3)
    for n, index in enumerate(np.ndindex(counts)):
        records.write(index, np.array([n, 2 * n, -n]))
    n = np.arange(np.prod(counts)).reshape(counts)
    assert np.array_equal(records[...], np.stack([n, 2 * n, -n], axis=-1))
    assert records[0, 2, 1].tolist() == [5, 10, -5]
    with pytest.raises(DamagedData, match="steps_image, scan 0, block"):  # never written: not zeros
        specimen.records("steps_image", Steps(), "c0")[...]


# --------------------------------------------------------------------------------------------------------- pyramid


class Whole:
    """A volume in memory, as the finer level."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self, box: Box) -> np.ndarray:
        return self.array[box.slices]

    def scratch(self, shape: Any) -> int:
        return 0


def eights(array: np.ndarray) -> np.ndarray:
    """Return the eight voxels under each coarse one, along the last axis; odd last planes repeated."""
    array = np.pad(array, [(0, n % 2) for n in array.shape], mode="edge")
    z, y, x = (n // 2 for n in array.shape)
    return array.reshape(z, 2, y, 2, x, 2).transpose(0, 2, 4, 1, 3, 5).reshape(z, y, x, 8)


SHAPES = [(8, 6, 4), (7, 6, 5), (1, 1, 1), (9, 1, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "uint32"])
def test_grey_values_are_halved_by_their_mean(shape: tuple[int, int, int], dtype: str) -> None:
    rng = np.random.default_rng(0)
    top = {"uint16": 2**16, "int16": 2**15, "uint32": 2**32, "float32": 1}[dtype]
    array = (rng.random(shape) * top - (top / 2 if dtype == "int16" else 0)).astype(dtype)
    out = Halved(Whole(array), labels=False).read(Box.of(tuple(-(-n // 2) for n in shape)))  # type: ignore[arg-type]
    assert out.dtype == dtype
    mean = eights(array).astype(np.float64).mean(axis=-1)
    if dtype == "float32":
        np.testing.assert_allclose(out, mean, rtol=2e-7)
    else:
        assert np.array_equal(out, np.floor(mean + 0.5).astype(dtype))


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_are_halved_by_their_majority(shape: tuple[int, int, int]) -> None:
    array = np.random.default_rng(1).integers(0, 4, shape, dtype=np.uint8)
    out = Halved(Whole(array), labels=True).read(Box.of(tuple(-(-n // 2) for n in shape)))  # type: ignore[arg-type]
    counts = np.stack([(eights(array) == label).sum(axis=-1) for label in range(4)], axis=-1)
    assert np.array_equal(out, counts.argmax(axis=-1))  # the first, and so the smallest, of several


def test_a_halved_volume_is_the_same_box_by_box() -> None:
    array = np.random.default_rng(2).integers(0, 999, (13, 10, 7), dtype=np.uint16)
    halved = Halved(Whole(array), labels=False)
    whole = halved.read(Box.of(halved.shape))
    for block in Grid.regular(halved.shape, (3, 2, 4)).blocks():
        assert np.array_equal(halved.read(block.core), whole[block.core.slices])


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((256, 1, 1), 1), ((257, 1, 1), 2), ((1024, 1024, 1024), 3), ((1025, 2, 2), 4), ((1, 1, 1), 1)],
)
def test_a_pyramid_ends_when_it_fits_on_a_screen(shape: tuple[int, int, int], levels: int) -> None:
    assert levels_of(shape) == levels


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one thin scan with a pyramid, made by the pipeline."""
    from mgsflow.pipeline import run

    folder = tmp_path_factory.mktemp("pyramid")
    rng = np.random.default_rng(5)
    for name, shape in (("c0", (5, 300, 261)), ("c1", (6, 40, 50))):
        np.save(folder / f"{name}.npy", rng.integers(15000, 40000, shape).astype(np.uint16))
    (folder / "study.yaml").write_text(
        "study: thin\nblock: [8, 128, 100]\nspecimens:\n  sheet:\n    phases: [a, b]\n    voxel_size: [0.5, 0.2, 0.1]\n"
        "    scans: [{name: c0, path: c0.npy, cycle: 0}, {name: c1, path: c1.npy, cycle: 1}]\n"
        "    segment: {thresholds: [30000]}\n"
    )
    run(folder / "study.yaml", threads=2)
    return folder / "study.zarr"


def test_the_pyramid_of_a_run(pyramid: Path) -> None:
    fine = {k: zarr.open_array(pyramid, path=f"sheet/scale0/{k}", mode="r") for k in ("image", "phase")}
    coarse = {k: zarr.open_array(pyramid, path=f"sheet/scale1/{k}", mode="r") for k in ("image", "phase")}
    assert coarse["image"].shape == (2, 3, 150, 131)
    for i, (z, y, x) in enumerate(((5, 300, 261), (6, 40, 50))):
        image = eights(np.asarray(fine["image"][i, :z, :y, :x])).mean(axis=-1)
        phase = eights(np.asarray(fine["phase"][i, :z, :y, :x])).sum(axis=-1) > 4
        own = tuple(slice(0, -(-n // 2)) for n in (z, y, x))
        assert np.array_equal(coarse["image"][(i, *own)], np.floor(image + 0.5).astype(np.uint16))
        assert np.array_equal(coarse["phase"][(i, *own)], phase)
    assert not coarse["image"][1, :, 20:].any()
    dataset = open_study(pyramid)["sheet/scale1"].ds
    np.testing.assert_allclose(dataset.x.values, (np.arange(131) + 0.5) * 0.2, rtol=1e-14)
    assert dataset.extent.values.tolist() == [[3, 150, 131], [3, 20, 25]]
    assert "scale2" not in open_study(pyramid)["sheet"].children


# ------------------------------------------------------------------------------------------------------- OME, xarray


def test_ome_metadata_is_valid_and_in_micrometres(pyramid: Path) -> None:
    from ome_zarr_models.v05.image import Image

    image = Image.from_zarr(zarr.open_group(pyramid, path="sheet", mode="r"))
    multiscales = {m.name: m for m in image.ome_attributes.multiscales}
    assert set(multiscales) == {"image", "phase"}
    for name, multiscale in multiscales.items():
        assert [a.name for a in multiscale.axes] == ["scan", "z", "y", "x"]
        assert [a.unit for a in multiscale.axes[1:]] == ["micrometer"] * 3
        assert [d.path for d in multiscale.datasets] == [f"scale0/{name}", f"scale1/{name}"]
        for level, dataset in enumerate(multiscale.datasets):
            scale, shift = (t for t in dataset.coordinateTransformations)
            coordinates = open_study(pyramid)[f"sheet/scale{level}"].ds
            for i, axis in enumerate("zyx", start=1):
                # the coordinates that viewers work out are those of the dataset
                own = shift.translation[i] + scale.scale[i] * np.arange(coordinates.sizes[axis])
                np.testing.assert_allclose(own, coordinates[axis].values, rtol=1e-12)


def test_ome_metadata_that_is_spoilt_is_told(pyramid: Path, tmp_path: Path) -> None:
    # the validator above is able to fail
    from ome_zarr_models.v05.image import Image

    copy = shutil.copytree(pyramid, tmp_path / "copy.zarr")
    meta = json.loads((copy / "sheet" / "zarr.json").read_text())
    meta["attributes"]["ome"]["multiscales"][0]["axes"].pop(0)
    (copy / "sheet" / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError):
        Image.from_zarr(zarr.open_group(copy, path="sheet", mode="r"))


def test_no_ome_metadata_without_an_image(specimen: Specimen) -> None:
    write_ome(specimen)
    assert "ome" not in dict(specimen.group.attrs)


def test_any_xarray_opens_a_study(pyramid: Path) -> None:
    tree = xr.open_datatree(pyramid, engine="zarr", consolidated=False)
    assert tree["sheet/scale0/image"].dims == ("scan", "z", "y", "x")
    assert tree["sheet/metrics/volume_fraction"].dims == ("scan", "phase")
    tree.close()


def test_a_tree_has_nodes_for_levels_and_metrics_in_whole_shards(pyramid: Path) -> None:
    tree = open_study(pyramid)
    assert tree.attrs["title"] == "thin"
    assert set(tree["sheet"].children) == {"scale0", "scale1", "metrics", "comparison"}
    assert tree["sheet"].attrs["voxel_size"] == [0.5, 0.2, 0.1]
    image = tree["sheet/scale0"].ds.image
    assert image.chunks == ((1, 1), (6,), (128, 128, 44), (100, 100, 61))
    assert xr.testing.assert_identical(open_group(pyramid, "sheet/scale0"), tree["sheet/scale0"].to_dataset()) is None
    with pytest.raises(InputError, match="no group 'sheet/scale7'"):
        open_group(pyramid, "sheet/scale7")
    with pytest.raises(InputError, match="is an array, not a group"):
        open_group(pyramid, "sheet/scale0/image")


@pytest.fixture
def four(path: Path) -> xr.Dataset:
    made = Study.create(path).add_specimen("cathode", (1, 1, 1), ("a", "b"), 32)
    for scan in (PRISTINE, CHARGED, DISCHARGED, LARGE):
        made.add_scan(scan)
        fill(made, scan)
    return open_study(path)["cathode/scale0"].to_dataset()


def names(dataset: Any) -> Any:
    return dataset.scan.values.tolist()


def test_scans_are_selected_by_cycle_and_state(four: xr.Dataset) -> None:
    assert names(four.sel(cycle=0)) == "c0"
    assert four.sel(cycle=0).image.dims == ("z", "y", "x")
    assert names(four.sel(cycle=1)) == ["c1", "c1d"]
    assert names(four.sel(state="charged")) == ["c1", "c3"]
    assert names(four.sel(cycle=1, state="discharged")) == "c1d"
    assert names(four.sel(cycle=[3])) == ["c3"]
    assert names(four.sel(cycle=[3, 0])) == ["c0", "c3"]
    assert names(four.sel(cycle=[0, 1], state=["charged", "pristine"])) == ["c0", "c1"]
    assert names(four.sel(cycle=np.int64(3))) == names(four.sel(cycle=3)) == "c3"
    assert names(four.sel(scan="c1d")) == "c1d"
    assert names(four.image.sel(cycle=1)) == ["c1", "c1d"]
    assert np.array_equal(four.image.sel(cycle=3)[:, :36].values, noise(LARGE))


def test_a_selection_can_be_selected_from(four: xr.Dataset) -> None:
    charged = four.sel(state="charged")
    assert names(charged.sel(cycle=3)) == "c3"
    some = four.isel(scan=[3, 1, 0])
    assert names(some.sel(cycle=1)) == "c1"
    assert names(some.sel(state="charged")) == ["c3", "c1"]
    assert names(four.isel(scan=slice(1, None)).sel(state="charged", cycle=1)) == "c1"
    one = four.isel(scan=2)
    assert (int(one.cycle), str(one.state.values)) == (1, "discharged")
    assert four.isel(z=3).sel(cycle=3).image.dims == ("y", "x")
    assert four.mean("z").sel(cycle=0).image.shape == (50, 90)


def test_what_is_not_there_is_told_with_what_is(four: xr.Dataset) -> None:
    with pytest.raises(KeyError, match=r"no scan with cycle=7; cycle/state of the scans: 0/pristine, 1/charged"):
        four.sel(cycle=7)
    with pytest.raises(KeyError, match="no scan with cycle=0, state='charged'"):
        four.sel(cycle=0, state="charged")
    with pytest.raises(KeyError, match="a range of scans is not defined"):
        four.sel(cycle=slice(0, 2))


def test_a_scan_is_not_taken_for_another_whose_number_is_written_alike(four: xr.Dataset) -> None:
    assert names(four.sel(cycle=1.0)) == ["c1", "c1d"]
    with pytest.raises(KeyError):
        four.sel(cycle=0.5)
