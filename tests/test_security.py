"""What a file, a store or a folder from a stranger cannot do, and what a run does not show to others."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import psutil
import pytest
import tifffile
import zarr
from stores import write_study

import mgsflow
from mgsflow.blocks import Box
from mgsflow.compute import connect
from mgsflow.errors import ComputeError, InputError
from mgsflow.pipeline import run
from mgsflow.readers import open_scan
from mgsflow.report import write_report
from mgsflow.store import Study

SOURCE = Path(mgsflow.__file__).parent
SHAPE = (4, 64, 64)


# ------------------------------------------------------------------------------------------------------ code in data


def test_nothing_that_is_read_is_run() -> None:
    """Faces between the workers of one run are pickled, with the cluster's own protocol; nothing that is read is."""
    risky = re.compile(
        r"pickle\.load|cloudpickle|\beval\(|\bexec\(|allow_pickle=True|yaml\.(unsafe_)?load\(|os\.system|shell=True"
    )
    found = {
        (str(path.relative_to(SOURCE)), match[0])
        for path in SOURCE.rglob("*.py")
        for match in risky.finditer(path.read_text())
    }
    assert found == {
        ("compute/supersteps/block_server.py", "pickle.load"),
        ("transport/diffusion/distributed/stored_cycle.py", "pickle.load"),
    }


class Evil:
    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.mkdir, ("run",)


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_array_of_objects_is_refused(version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, chunks=SHAPE, dtype="uint16", zarr_format=version)
    array[:] = 1
    name = ".zarray" if version == 2 else "zarr.json"
    described = json.loads((tmp_path / "a.zarr" / name).read_text())
    codec = {"id": "pickle", "protocol": 5} if version == 2 else {"name": "numcodecs.pickle", "configuration": {}}
    described["filters" if version == 2 else "codecs"] = [codec]
    (tmp_path / "a.zarr" / name).write_text(json.dumps(described))
    with pytest.raises(InputError):
        open_scan(tmp_path / "a.zarr").read(Box.of(SHAPE))
    assert not Path("run").exists()


# ------------------------------------------------------------------------------------------------ decompression bombs

BOMB = 1 << 29


def tiff_bomb(path: Path) -> Path:
    """Write an image whose only strip holds half a GiB more than it says."""
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib")
    strip = zlib.compress(bytes(BOMB), 1)
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        counts, offsets = tags["StripByteCounts"], tags["StripOffsets"]
        content = bytearray(path.read_bytes())
        for tag, value in ((counts, len(strip)), (offsets, len(content))):
            size = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
            content[tag.valueoffset : tag.valueoffset + size] = value.to_bytes(size, "little")
    path.write_bytes(bytes(content) + strip)
    return path


def hdf5_bomb(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_dataset("scan", SHAPE, "uint8", chunks=SHAPE, compression="gzip")
        data.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(BOMB), 1))
    return path


def zarr_bomb(path: Path) -> Path:
    zarr.create_array(path, data=np.ones(SHAPE, np.uint8), chunks=SHAPE, compressors=zarr.codecs.ZstdCodec())
    (chunk,) = (p for p in (path / "c").rglob("*") if p.is_file())
    chunk.write_bytes(imagecodecs.zstd_encode(bytes(BOMB)))
    return path


def gzip_bomb(path: Path) -> Path:
    zarr.create_array(path, data=np.ones(SHAPE, np.uint8), chunks=SHAPE, compressors=zarr.codecs.GzipCodec())
    (chunk,) = (p for p in (path / "c").rglob("*") if p.is_file())
    chunk.write_bytes(gzip.compress(bytes(BOMB), 1))
    return path


READ = """
import resource, sys
from mgsflow.blocks import Box
from mgsflow.errors import MgsflowError
from mgsflow.memory import peak_rss
from mgsflow.readers import open_scan
before = peak_rss()
try:
    scan = open_scan(sys.argv[1])
    scan.read(Box.of(scan.shape))
    print("read")
except MgsflowError as error:
    print("refused", error)
print((peak_rss() - before) >> 20)
"""


@pytest.mark.parametrize(
    ("make", "name"),
    [(tiff_bomb, "a.tif"), (hdf5_bomb, "a.h5"), (zarr_bomb, "a.zarr"), (gzip_bomb, "a.zarr")],
)
def test_a_chunk_larger_than_it_says(make, name: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = make(tmp_path / name)
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *said, took = done.stdout.strip().splitlines()
    assert said[-1].startswith("refused"), said
    assert int(took) < 200


# --------------------------------------------------------------------------------------------------- files and reports


@pytest.fixture(scope="module")
def finished(small_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_study(tmp_path_factory.mktemp("finished"), small_scans, "plain", 64)
    run(path, threads=2)
    return path.with_suffix(".zarr")


@pytest.mark.slow
def test_no_link_leads_out_of_the_folder(finished: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    write_report(finished, first / "report.html", figures=first / "figures")
    mine = tmp_path / "mine"
    mine.write_text("precious")
    trap = tmp_path / "trap"
    for file in first.rglob("*"):
        if file.is_file():
            place = trap / file.relative_to(first)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(mine)
            (place.parent / f".{place.name}.partial").symlink_to(mine)
    write_report(finished, trap / "report.html", figures=trap / "figures")
    assert mine.read_text() == "precious"
    assert not any(p.is_symlink() for p in trap.rglob("*"))
    assert {p.relative_to(trap) for p in trap.rglob("*")} == {p.relative_to(first) for p in first.rglob("*")}


@pytest.mark.parametrize("name", ["../../c0", "a/b", "..", ".hidden/x", "a\\b", "nul\0l"])
def test_names_are_no_paths(name: str, small_scans: Path, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study.zarr")
    with pytest.raises(InputError):
        study.add_specimen(name, (1, 1, 1), ["a"])
    assert [p.name for p in tmp_path.iterdir()] == ["study.zarr"]


def test_a_report_runs_nothing(finished: Path, tmp_path: Path) -> None:
    evil = "</title><script>alert(1)</script><img src=x onerror=alert(2)>"
    copy = tmp_path / "study.zarr"
    subprocess.run(["cp", "-r", str(finished), str(copy)], check=True)

    def poison(value):  # type: ignore[no-untyped-def]
        if isinstance(value, dict):
            return {k: poison(v) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(v) for v in value]
        return value + evil if isinstance(value, str) else value

    group = zarr.open_group(copy, mode="r+")
    attributes = dict(group.attrs)
    attributes["mgsflow"] = poison(attributes["mgsflow"]) | {"schema": attributes["mgsflow"]["schema"]}
    group.attrs.update(attributes)
    own = dict(group["cathode"].attrs)
    for key in ("phases",):
        own["mgsflow"][key] = poison(own["mgsflow"][key])
    own["mgsflow"]["failed"] = {"c0": evil}
    for scan in own["mgsflow"]["scans"]:
        scan["state"] = evil
    group["cathode"].attrs.update(own)
    page = write_report(copy, tmp_path / "report.html").read_text()
    assert "alert(1)" in page  # it is shown
    assert "<script>alert" not in page
    assert "<img src=x" not in page


# ---------------------------------------------------------------------------------------------------------- the network


def test_a_local_cluster_listens_to_this_machine_alone() -> None:
    def listening() -> set[tuple[int, str, int]]:
        ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
        found = [(p.pid, c) for p in ours for c in p.net_connections("inet")]
        return {(pid, c.laddr.ip, c.laddr.port) for pid, c in found if c.status == psutil.CONN_LISTEN}

    others = listening()  # clusters and servers of other tests in this process
    with connect(workers=1, memory_limit="1GiB"):
        heard = {ip for _, ip, _ in listening() - others}
    assert heard
    assert heard <= {"127.0.0.1", "::1"}


@pytest.mark.slow
def test_only_who_has_the_certificate_reaches_the_scheduler(tmp_path: Path, small_scans: Path) -> None:
    deploy = SOURCE.parent / "deploy"
    if not deploy.is_dir():
        pytest.skip("deploy/ is not beside the package")
    from s3 import free_port

    port, study = free_port(), write_study(tmp_path, small_scans, "plain", 64)
    tls = f'. "{deploy}/tls.sh" "{tmp_path}/tls" && exec '
    python = f'"{sys.executable}" -m '
    listen = f"dask scheduler --protocol tls --host 127.0.0.1 --port {port} --no-dashboard"
    work = f"dask worker tls://127.0.0.1:{port} --protocol tls --no-dashboard --nthreads 1"
    command = f"mgsflow.cli run {study} --scheduler tls://127.0.0.1:{port}"
    started = [subprocess.Popen(["bash", "-c", tls + python + c], cwd=tmp_path) for c in (listen, work)]
    try:
        for scheme in ("tls", "tcp"):
            with (
                pytest.raises(ComputeError, match="no dask scheduler answers"),
                connect(f"{scheme}://127.0.0.1:{port}"),
            ):
                pass
        done = subprocess.run(
            ["bash", "-c", tls + python + command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)
