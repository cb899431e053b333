"""Studies and scans in object storage: the same arrays as on disk, through failures, and clear errors."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from s3 import KEY, SECRET, Proxy, environment, make_bucket, server
from stores import contents, remote_contents, same, write_study

from mgsflow.blocks import Box
from mgsflow.errors import InputError, InputNotFound, RecipeError, StoreError, StudyNotFound
from mgsflow.pipeline import run
from mgsflow.readers import checksum, fingerprint, open_scan
from mgsflow.readers.remote import RemotePath
from mgsflow.recipe import Recipe, load, parse
from mgsflow.store import RemoteStore, Scan, Study, remote_url
from mgsflow.store import lock as locks
from mgsflow.store.lock import locked

SHAPE = (20, 24, 28)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server() as found:
        make_bucket(found, "lab")
        yield found


@pytest.fixture
def s3(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment that leads to the server."""
    for name, value in environment(address).items():
        monkeypatch.setenv(name, value)
    _forget()
    return address


@pytest.fixture
def proxy(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The same through a proxy that can fail."""
    found = Proxy(s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", found.address)
    _forget()
    yield found
    found.close()
    _forget()


def _forget() -> None:
    from mgsflow.compute import parts
    from mgsflow.store import region, remote

    # a connection belongs to the environment in which it was made
    for cache in (remote._backend, region._opened, parts._folder):
        cache.cache_clear()


def put(url: str, content: bytes) -> None:
    folder, _, name = url.rpartition("/")
    RemoteStore(folder).save(name, content)


# ------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize("place", ["s3://lab/a/b.zarr", Path("s3://lab/a/b.zarr"), "s3://lab/a/b.zarr/"])
def test_an_address_is_known_as_text_and_as_a_path(place: Any) -> None:
    assert remote_url(place) == "s3://lab/a/b.zarr"


def test_a_path_is_no_address() -> None:
    assert remote_url("/data/s3/x.zarr") is None
    assert remote_url(Path("study.zarr")) is None


@pytest.mark.parametrize("url", ["s3://KEY:SECRET@lab/x", "s3://LAB/x", "s3:///x", "s3://lab/../other/x"])
def test_what_is_no_address_is_refused_without_repeating_credentials(url: str) -> None:
    with pytest.raises(InputError) as refused:
        remote_url(url)
    assert "SECRET" not in str(refused.value)


def test_a_store_travels_by_its_address_alone(s3: str) -> None:
    store = RemoteStore("s3://lab/x.zarr")
    parcel = pickle.dumps(store)
    assert KEY.encode() not in parcel
    assert SECRET.encode() not in parcel
    assert pickle.loads(parcel) == store
    assert hash(pickle.loads(parcel)) == hash(store)
    assert store != store.with_read_only(True)


# ---------------------------------------------------------------------------------------------------------- stores


def small_study(url: str) -> Study:
    study = Study.create(url, "remote")
    specimen = study.add_specimen("cathode", (0.1, 0.1, 0.1), ["pore", "solid"], block=16)
    specimen.add_scan(Scan("c0", 0, "pristine", SHAPE))
    return study


def test_blocks_are_written_listed_and_read_again(s3: str) -> None:
    url = "s3://lab/blocks/study.zarr"
    specimen = small_study(url)["cathode"]
    volume = np.random.default_rng(1).integers(0, 60000, SHAPE, np.uint16)
    region = pickle.loads(pickle.dumps(specimen.volume("image", "c0", np.uint16)))
    for index in np.ndindex(specimen.grid("c0").counts):
        box = specimen.grid("c0").block(index).core
        region.write(box, volume[box.slices])
    np.testing.assert_array_equal(region.read(Box((3, 0, 5), (19, 24, 17))), volume[3:19, :, 5:17])
    again = Study.open(url)
    assert again.path == url
    assert again.specimens == ("cathode",)
    np.testing.assert_array_equal(again["cathode"].volume("image", "c0").read(Box.of(SHAPE)), volume)
    with pytest.raises(StoreError, match="holds something else"):
        Study.create(url)


def test_a_ledger_is_resumed(s3: str) -> None:
    url = "s3://lab/ledger/study.zarr"
    ledger = small_study(url)["cathode"].ledger("step", "c0")
    todo = ledger.begin("key", ["image"])
    for index in todo[:3]:
        ledger.finish(index)
    ledger.flush()
    again = Study.open(url, mode="r+")["cathode"].ledger("step", "c0")
    assert again.pending("key") == todo[3:]
    assert len(again.pending("other")) == len(todo)


def test_parts_and_removal(s3: str) -> None:
    specimen = small_study("s3://lab/parts/study.zarr")["cathode"]
    parts = specimen.parts("here")
    parts.write((0, 1, 2), "table", np.arange(5))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(parts)).read((0, 1, 2), "table"), np.arange(5))
    specimen.drop("cathode/parts/here")
    assert not RemoteStore("s3://lab/parts/study.zarr").keys("cathode/parts/here")


def test_a_scan_of_another_shape_loses_its_voxels(s3: str) -> None:
    url = "s3://lab/reshaped/study.zarr"
    specimen = small_study(url)["cathode"]
    region = specimen.volume("image", "c0", np.uint16)
    region.write(Box((0, 0, 0), (16, 16, 16)), np.ones((16, 16, 16), np.uint16))
    assert RemoteStore(url).keys("cathode/scale0/image/c")
    specimen.add_scan(Scan("c0", 0, "pristine", (20, 24, 20)))
    assert not RemoteStore(url).keys("cathode/scale0/image/c")


# ------------------------------------------------------------------------------------------------------- one run


def test_one_run_at_a_time(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Path("s3://lab/locked/study.zarr")
    with locked(store), pytest.raises(StoreError, match="another run"), locked(store):
        pass
    assert RemoteStore("s3://lab/locked").names() == []
    with locked(store):
        pass


def _within(seconds: float, check: Any) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check()
        time.sleep(0.02)


@pytest.mark.parametrize("left", [{"renewed": 0.0}, {"renewed": 4e9, "process": 2**22 + 1}])
def test_a_lock_that_was_left_behind_counts_no_more(left: dict[str, Any], s3: str) -> None:
    import platform

    held = {"token": "x", "host": platform.node(), "process": 1, "began": 0.0} | left
    put("s3://lab/left/.study.zarr.lock", json.dumps(held).encode())
    with locked(Path("s3://lab/left/study.zarr")) as check:
        check()


def test_who_lost_the_lock_stops(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RENEWED", 0.05)
    with locked(Path("s3://lab/lost/study.zarr")) as check:
        put("s3://lab/lost/.study.zarr.lock", b'{"token": "of another"}')
        with pytest.raises(StoreError, match="another run has taken"):
            _within(20, check)
    assert RemoteStore("s3://lab/lost").names() == [".study.zarr.lock"]  # it is the other's


# ----------------------------------------------------------------------------------------------------------- scans


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 60000, (6, 40, 50), np.uint16)


def _upload(folder: Path, url: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            put(f"{url}/{file.relative_to(folder).as_posix()}", file.read_bytes())


def _write(kind: str, folder: Path, volume: np.ndarray) -> tuple[str, dict[str, Any]]:
    if kind == "slices":
        for z, plane in enumerate(volume):
            tifffile.imwrite(folder / f"s{z:03d}.tif", plane, compression="zlib" if z == 3 else None)
        return "", {}
    if kind == "pattern":
        _write("slices", folder, volume)
        (folder / "notes.txt").write_text("mine")
        return "s*.tif", {}
    if kind == "ome":
        tifffile.imwrite(folder / "a.ome.tif", volume, metadata={"axes": "ZYX"}, compression="zlib")
        return "a.ome.tif", {}
    if kind == "hdf5":
        with h5py.File(folder / "a.h5", "w") as file:
            file.create_dataset("volume", data=volume, chunks=(2, 16, 16), compression="gzip")
        return "a.h5", {}
    if kind == "npy":
        np.save(folder / "a.npy", volume)
        return "a.npy", {}
    if kind == "raw":
        volume.tofile(folder / "a.raw")
        return "a.raw", {"shape": list(volume.shape), "dtype": "uint16"}
    zarr.create_array(folder / "a.zarr", data=volume, chunks=(4, 16, 16))
    return "a.zarr", {}


@pytest.mark.parametrize("kind", ["slices", "pattern", "ome", "hdf5", "npy", "raw", "zarr"])
def test_a_scan_reads_as_from_disk(kind: str, s3: str, volume: np.ndarray, tmp_path: Path) -> None:
    name, options = _write(kind, tmp_path, volume)
    _upload(tmp_path, f"s3://lab/scans/{kind}")
    there = open_scan(f"s3://lab/scans/{kind}/{name}".rstrip("/"), **options)
    here = open_scan(tmp_path / name, **options)
    assert (there.shape, there.dtype, there.voxel_size) == (here.shape, here.dtype, here.voxel_size)
    there = pickle.loads(pickle.dumps(there))
    for box in (Box.of(volume.shape), Box((1, 3, 7), (5, 33, 20))):
        np.testing.assert_array_equal(there.read(box), volume[box.slices])
    assert checksum(there.files) == checksum(here.files)


def test_a_changed_object_has_another_fingerprint(s3: str) -> None:
    file = RemotePath("s3:/lab/changed/a.raw")
    put(str(file), b"abcd")
    first = fingerprint([file])
    assert fingerprint([file]) == first
    put(str(file), b"abce")  # of the same length
    assert fingerprint([file]) != first


def test_an_object_as_a_file(s3: str) -> None:
    content = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
    put("s3://lab/file/a.bin", content)
    with RemotePath("s3:/lab/file/a.bin").open("rb") as file:
        for start, count in ((0, 4), (4, 4), (70_000, 100_000), (299_990, 100), (300_000, 5), (10, 70_000)):
            file.seek(start)
            assert file.read(count) == content[start : start + count]
    with pytest.raises(InputError, match="only read"):
        RemotePath("s3:/lab/file/a.bin").open("wb")


def test_a_scan_that_is_not_there(s3: str) -> None:
    with pytest.raises(InputNotFound, match=r"s3://lab/nowhere\.tif"):
        open_scan("s3://lab/nowhere.tif")


# ---------------------------------------------------------------------------------------------------------- errors


def test_no_such_bucket(s3: str) -> None:
    for attempt in (Study.open, Study.create):
        with pytest.raises(StoreError, match="no bucket 'nolab'") as refused:
            attempt("s3://nolab/study.zarr")
        assert not isinstance(refused.value, StudyNotFound)
    with pytest.raises(StoreError, match="no bucket 'nolab'"):
        open_scan("s3://nolab/scan.tif")


def test_no_study_in_a_bucket(s3: str) -> None:
    with pytest.raises(StudyNotFound, match="no study at s3://lab/none"):
        Study.open("s3://lab/none.zarr")


def _enforce(address: str, after: str) -> None:
    """Let the server check credentials after so many requests."""
    request = urllib.request.Request(f"{address}/moto-api/reset-auth", after.encode(), {"Content-Type": "text/plain"})
    urllib.request.urlopen(request).read()


def test_wrong_credentials(s3: str) -> None:
    small_study("s3://lab/guarded/study.zarr")
    _enforce(s3, "0")
    try:
        for attempt in (
            lambda: Study.open("s3://lab/guarded/study.zarr"),
            lambda: Study.create("s3://lab/guarded/other.zarr"),
            lambda: open_scan("s3://lab/guarded/scan.tif"),
        ):
            with pytest.raises(StoreError, match=r"refuses access.*AWS_ACCESS_KEY_ID") as refused:
                attempt()
            said = repr(refused.value) + repr(refused.value.__cause__)
            assert KEY not in said
            assert SECRET not in said
    finally:
        _enforce(s3, "inf")


def test_a_server_that_is_not_there(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mgsflow.store import remote

    monkeypatch.setattr(remote, "PATIENCE", 0.5)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    _forget()
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9 does not answer"):
        Study.open("s3://lab/x.zarr")
    _forget()


# ----------------------------------------------------------------------------------------------------- whole runs


def _elsewhere(path: Path, url: str) -> Recipe:
    recipe = load(path)
    moved = recipe.model_copy(update={"store": Path(url)})
    moved._path = recipe.path
    return moved


def assert_same(url: str, store: Path) -> None:
    there, here = remote_contents(url), contents(store)
    assert there.keys() == here.keys()
    assert [k for k in here if not same(there[k], here[k])] == []


@pytest.fixture(scope="module")
def on_disk(small_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_study(tmp_path_factory.mktemp("disk"), small_scans, "plain", 48)
    run(path, threads=2)
    return path


def _disturb(proxy: Proxy, how: str) -> None:
    if how == "one in twenty fails":
        proxy.every = 20
        return
    for after, change in ((2.0, proxy.away.set), (12.0, proxy.away.clear)):
        threading.Timer(after, change).start()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["", "one in twenty fails", "away for 10 s"])
def test_a_run_gives_the_same_arrays(how: str, proxy: Proxy, on_disk: Path) -> None:
    url = f"s3://lab/runs/{how.replace(' ', '_') or 'plain'}/study.zarr"
    if how:
        _disturb(proxy, how)
    first = run(_elsewhere(on_disk, url), threads=2)
    assert bool(how) == (proxy.failed > 0)
    assert first.blocks > 0
    assert_same(url, on_disk.with_suffix(".zarr"))
    if not how:
        assert run(_elsewhere(on_disk, url), threads=2).blocks == 0
        place = RemoteStore("s3://lab/runs/plain")
        for key in place.keys(""):
            content = place.load(key)
            assert content is not None
            assert KEY.encode() not in content, key
            assert SECRET.encode() not in content, key


@pytest.mark.slow
def test_a_stopped_run_is_resumed(s3: str, on_disk: Path) -> None:
    url, count = "s3://lab/runs/stopped/study.zarr", 0

    def stop(step: str, scan: str, done: int, total: int) -> None:
        nonlocal count
        count += done > 0
        if step == "segment" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(_elsewhere(on_disk, url), threads=1, progress=stop)
    whole = run(_elsewhere(on_disk, "s3://lab/runs/whole/study.zarr"), threads=2).blocks
    left = run(_elsewhere(on_disk, url), threads=2).blocks
    assert 0 < left < whole
    assert_same(url, on_disk.with_suffix(".zarr"))


@pytest.mark.slow
def test_worker_processes_read_and_write_there(s3: str, on_disk: Path) -> None:
    import distributed

    url = "s3://lab/runs/workers/study.zarr"
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        run(_elsewhere(on_disk, url), client)
        assert SECRET not in str(client.scheduler_info(n_workers=-1))
    assert_same(url, on_disk.with_suffix(".zarr"))


# ----------------------------------------------------------------------------------------------------- study files


def test_addresses_in_a_study_file(tmp_path: Path) -> None:
    text = write_study(tmp_path, tmp_path).read_text()
    text = text.replace("store: study.zarr", "store: s3://lab/a/study.zarr")
    text = text.replace(f"path: {tmp_path}/c0", "path: s3://lab/scans/c0")
    recipe = parse(text, tmp_path / "study.yaml")
    assert remote_url(recipe.store) == "s3://lab/a/study.zarr"
    scans = recipe.specimens["cathode"].scans
    assert [str(s.path) for s in scans] == ["s3://lab/scans/c0", str(tmp_path / "c1")]
    plain = recipe.to_dict()
    assert plain["store"] == "s3://lab/a/study.zarr"
    assert [s["path"] for s in plain["specimens"]["cathode"]["scans"]] == ["s3://lab/scans/c0", "c1"]


@pytest.mark.parametrize("store", ["s3://KEY:SECRET@lab/x", "s3://lab/../x"])
def test_an_address_that_is_none_is_told_with_its_line(store: str, tmp_path: Path) -> None:
    text = write_study(tmp_path, tmp_path).read_text().replace("store: study.zarr", f"store: {store}")
    with pytest.raises(RecipeError, match=r"study\.yaml:2: store: .*s3://") as refused:
        parse(text, tmp_path / "study.yaml")
    assert "SECRET" not in str(refused.value)


@pytest.mark.slow
def test_commands_on_a_store_and_scans_in_a_bucket(s3: str, small_scans: Path, tmp_path: Path) -> None:
    steps = "    segment: {thresholds: [23100, 32500]}\n    particles: {phase: sulfur}\n    network: {phase: pore}\n"
    here = write_study(tmp_path / "here", small_scans, steps, 48)
    run(here, threads=2)
    _upload(small_scans / "c0", "s3://lab/commands/c0")
    there = write_study(tmp_path / "there", small_scans, steps, 48)
    text = there.read_text().replace("store: study.zarr", "store: s3://lab/commands/study.zarr")
    there.write_text(text.replace(f"path: {small_scans}/c0", "path: s3://lab/commands/c0"))
    url = "s3://lab/commands/study.zarr"
    for command in (["plan", there], ["run", there], ["status", url], ["report", url], ["inspect", url]):
        done = subprocess.run(
            [sys.executable, "-m", "mgsflow.cli", *map(str, command)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert SECRET not in said
        assert KEY not in said
    assert_same(url, here.with_suffix(".zarr"))
    assert RemoteStore(url).keys("cathode/scratch") == ["cathode/scratch/zarr.json"]  # as on disk
    assert (tmp_path / "there" / "report.html").is_file()
    assert SECRET not in (tmp_path / "there" / "report.html").read_text()


# ------------------------------------------------------------------------------------------------------ without obstore


@pytest.fixture
def by_fsspec(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("s3fs", reason="needs s3fs")
    for name in ("obstore", "obstore.store"):
        monkeypatch.setitem(sys.modules, name, None)
    _forget()
    yield
    _forget()


def test_s3fs_where_that_is_all_there_is(by_fsspec: None, tmp_path: Path) -> None:
    url = "s3://lab/fsspec/study.zarr"
    specimen = small_study(url)["cathode"]
    volume = np.random.default_rng(1).integers(0, 60000, SHAPE, np.uint16)
    region = specimen.volume("image", "c0", np.uint16)
    for index in np.ndindex(specimen.grid("c0").counts):
        box = specimen.grid("c0").block(index).core
        region.write(box, volume[box.slices])
    np.testing.assert_array_equal(Study.open(url)["cathode"].volume("image", "c0").read(Box.of(SHAPE)), volume)
    with locked(Path(url)), pytest.raises(StoreError, match="another run"), locked(Path(url)):
        pass
    put("s3://lab/fsspec/a.raw", volume.tobytes())
    there = open_scan("s3://lab/fsspec/a.raw", shape=list(SHAPE), dtype="uint16")
    np.testing.assert_array_equal(there.read(Box.of(SHAPE)), volume)
    assert fingerprint(there.files) == fingerprint(there.files)
    with pytest.raises(StoreError, match="no bucket 'nolab'"):
        Study.create("s3://nolab/study.zarr")
    with pytest.raises(StudyNotFound):
        Study.open("s3://lab/none.zarr")


def test_s3fs_and_wrong_credentials(by_fsspec: None, s3: str) -> None:
    _enforce(s3, "0")
    try:
        with pytest.raises(StoreError, match=r"refuses access.*AWS_ACCESS_KEY_ID"):
            Study.open("s3://lab/guarded/study.zarr")
    finally:
        _enforce(s3, "inf")


def test_neither_package_is_there(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("obstore", "obstore.store", "s3fs"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _forget()
    with pytest.raises(StoreError, match=r"pip install 'mgsflow\[s3\]'"):
        Study.open("s3://lab/x.zarr")
    _forget()
