"""Sizes in words and numbers, and the planned peak against what real workers hold."""

from __future__ import annotations

import resource
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from stores import STEPS

from mgsflow.blocks import Box
from mgsflow.errors import InputError
from mgsflow.memory import (
    MIB,
    available,
    cores,
    decode_bytes,
    format_bytes,
    parse_bytes,
    peak_rss,
    write_bytes,
)
from mgsflow.pipeline import capacity, plan, run
from mgsflow.recipe import load
from mgsflow.store import Scan, Study


@pytest.mark.parametrize(
    "text", ["512MiB", "4 GB", "1.5GiB", "2kB", "3 tib", "17", "17B", "0.5 MB", ".5MiB", "512mib", " 8 GiB "]
)
def test_sizes_are_dask_s(text: str) -> None:
    from dask.utils import parse_bytes as reference

    assert parse_bytes(text) == reference(text.strip())


@pytest.mark.parametrize("text", ["", "MiB", "many", "1,5GiB", "-3GiB", "3 GiBs", "1e9x", "3 G B", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a size in bytes: write 512MiB"):
        parse_bytes(text)


@given(st.integers(0, 2**49))
def test_said_and_read_again(count: int) -> None:
    assert parse_bytes(count) == count
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=6e-3)


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (1024, "1 KiB"), (1.5 * 2**30, "1.5 GiB"), (2**20 * 512, "512 MiB"), (2**41, "2 TiB")],
)
def test_said_in_three_digits(count: float, said: str) -> None:
    assert format_bytes(count) == said


def test_this_process() -> None:
    assert cores() == len(psutil.Process().cpu_affinity())
    assert 0 < available() <= psutil.virtual_memory().total
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak_rss() == pytest.approx(measured, rel=0.05)
    grown = np.ones(peak_rss() + 64 * MIB, np.uint8)
    assert peak_rss() > measured + 32 * MIB
    del grown


@pytest.mark.parametrize("block", [(128, 128, 128), (96, 64, 160), (192, 192, 192)])
def test_reading_and_writing_hold_no_more_than_they_say(block: tuple[int, int, int], tmp_path: Path) -> None:
    specimen = Study.create(tmp_path / "s.zarr").add_specimen("x", (1, 1, 1), ("a", "b"), block)
    shape = tuple(2 * n - 5 for n in block)
    specimen.add_scan(Scan("a", 0, "pristine", shape))  # type: ignore[arg-type]
    region = specimen.volume("image", "a", np.uint16)
    noise = np.random.default_rng(0).integers(0, 2**16, block, dtype=np.uint16)
    core = Box.of(block)
    for other in specimen.grid("a").blocks():  # what is not written cannot be read; and warm: modules, buffers
        region.write(other.core, noise[other.core.relative_to(Box(other.core.start, region.shape)).slices])
    box = core.grow(8, within=Box.of(region.shape))
    tracemalloc.start()
    try:
        region.write(core, noise)
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = region.read(box)
        read = tracemalloc.get_traced_memory()[1] - before - result.nbytes
    finally:
        tracemalloc.stop()
    assert np.array_equal(result[: block[0], : block[1], : block[2]], noise)
    assert written <= write_bytes(block, 2, region.chunk)
    assert read <= decode_bytes(2, region.chunk)
    tracemalloc.start()
    try:
        whole = region.read(core)  # of a shard that is asked for whole, zarr would hold the file as well
        read = tracemalloc.get_traced_memory()[1] - whole.nbytes
    finally:
        tracemalloc.stop()
    assert np.array_equal(whole, noise)
    assert read <= decode_bytes(2, region.chunk)
    assert write_bytes(block, 2, region.chunk) >= 2 * noise.nbytes  # the plan itself is not nothing


def _volume(folder: Path, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(4)
    array = np.lib.format.open_memmap(folder / "c0.npy", "w+", np.uint16, shape)
    for z in range(shape[0]):
        array[z] = rng.choice([15000, 28000, 37000], shape[1:]) + rng.integers(-4000, 4000, shape[1:])
    array.flush()


@pytest.mark.slow
@pytest.mark.parametrize(("block", "steps"), [(128, "fixed"), (128, "otsu"), (192, "fixed")])
def test_workers_stay_below_the_planned_peak(block: int, steps: str, tmp_path: Path) -> None:
    import distributed

    _volume(tmp_path, (260, 256, 300))
    chain = STEPS[steps].replace("    normalise: {reference: c0}\n", "")
    (tmp_path / "study.yaml").write_text(
        f"study: memory\nblock: {block}\nspecimens:\n  cathode:\n    phases: [pore, CBD, sulfur]\n    voxel_size: 1\n"
        f"    scans: [{{name: c0, path: c0.npy, cycle: 0}}]\n{chain}"
    )
    recipe = load(tmp_path / "study.yaml")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="2GiB", dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        planned = plan(recipe, capacity(client)).peak
        summary = run(recipe, client=client)
    assert summary.planned == planned
    assert len(summary.peaks) == 2
    measured = max(summary.peaks.values())
    print(f"block {block}, {steps}: planned {planned / MIB:.0f} MiB, measured {measured / MIB:.0f} MiB")
    assert measured <= planned
    assert planned < 2.5 * measured
    assert zarr.open_array(tmp_path / "study.zarr", path="cathode/scale0/phase", mode="r").shape == (1, 260, 256, 300)


def test_threads_of_this_process_are_planned_for(tmp_path: Path, small_scans: Path) -> None:
    from stores import write_study

    path = write_study(tmp_path, small_scans, "fixed", 64)
    summary: Any = run(path, threads=2)
    assert summary.peaks.keys() == {"this process"}
    assert max(summary.peaks.values()) <= summary.planned
