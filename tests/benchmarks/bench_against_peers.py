"""Filter, segment and count a uint16 zarr array: this engine, dask-image with map_overlap, and scipy in memory.

    python tests/benchmarks/bench_against_peers.py [--size 512] [--repeats 3] [--threads 2]

Every variant does an unsharp mask (σ = 1.5), two thresholds and the fractions of three phases, in a process of its own,
from the same array (chunks of 64³ in shards of 256³) to a zarr array of phases; scipy starts from and ends in memory.
Prints medians of wall time and peak memory, and the ratios.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIGMA, AMOUNT, CUTS, BLOCK = 1.5, 0.6, (23100.0, 32500.0), 256
VARIANTS = ("mgsflow", "dask-image", "scipy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(one(arguments.only, arguments.folder, arguments.threads)))
        return
    folder = Path(tempfile.mkdtemp(prefix="mgsflow-bench-"))
    try:
        make(folder, arguments.size)
        results: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
        for repeat in range(arguments.repeats + 1):
            for name in VARIANTS:  # taken in turn, so that a busy spell hits all
                command = [sys.executable, __file__, "--only", name, "--folder", str(folder)]
                command += ["--threads", str(arguments.threads)]
                line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
                if repeat:  # the first round compiles and fills the page cache
                    results[name].append(json.loads(line))
        show(results, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make(folder: Path, size: int) -> None:
    import numpy as np

    from mgsflow.compute import Output, Pass, completed, indices
    from mgsflow.phantoms import cathode
    from mgsflow.store import Scan, Study

    specimen = Study.create(folder / "study.zarr").add_specimen(
        "cathode", (0.126,) * 3, ("pore", "CBD", "sulfur"), BLOCK
    )
    specimen.add_scan(Scan("a", 0, "pristine", (size,) * 3))
    region = specimen.volume("image", "a", np.uint16)
    work = Pass(cathode((size,) * 3).image, specimen.grid("a"), (), (Output(0, region),))
    for _ in completed(work.run, indices(work.grid)):
        pass


def one(name: str, folder: Path, threads: int) -> dict[str, float]:
    from mgsflow.memory import peak_rss

    run = {"mgsflow": ours, "dask-image": dask_image, "scipy": scipy}[name]
    seconds, counts = run(folder, threads)
    return {"seconds": seconds, "peak": peak_rss()} | {f"n{i}": int(c) for i, c in enumerate(counts)}


def ours(folder: Path, threads: int):
    import numpy as np

    from mgsflow.compute import Output, Pass, completed, indices
    from mgsflow.filters import UnsharpMask
    from mgsflow.measures import VolumeFraction
    from mgsflow.segmentation import Threshold
    from mgsflow.store import Study

    specimen = Study.open(folder / "study.zarr", "r+")["cathode"]
    start = time.perf_counter()
    measure = VolumeFraction(3)
    records = specimen.records("volume_bench", measure, "a")
    phase = specimen.volume("phase", "a", np.uint8)
    chain = (UnsharpMask(SIGMA, AMOUNT), Threshold(CUTS))
    outputs = (Output(2, phase, ((measure, records),)),)
    work = Pass(specimen.volume("image", "a"), specimen.grid("a"), chain, outputs)
    for _ in completed(work.run, indices(work.grid), threads=threads):
        pass
    counts = records[...].sum(axis=tuple(range(6)))
    return time.perf_counter() - start, counts


def dask_image(folder: Path, threads: int):
    import dask
    import dask.array as da
    import numpy as np
    import zarr
    from dask_image.ndfilters import gaussian

    source = zarr.open_array(folder / "study.zarr", path="cathode/scale0/image", mode="r")
    shape = source.shape[1:]
    target = zarr.create_array(
        folder / "peer.zarr", shape=shape, dtype="uint8", chunks=(64,) * 3, shards=(BLOCK,) * 3, overwrite=True
    )
    start = time.perf_counter()
    image = da.from_array(source, chunks=(1, BLOCK, BLOCK, BLOCK))[0].astype(np.float32)
    sharp = image + AMOUNT * (image - gaussian(image, SIGMA))
    phase = sharp.map_blocks(labels, dtype=np.uint8)
    counts = da.stack([(phase == i).sum() for i in range(3)])
    with dask.config.set(scheduler="threads", num_workers=threads):
        stored = da.store(phase, target, lock=False, compute=False)
        _, found = dask.compute(stored, counts)
    return time.perf_counter() - start, found


def scipy(folder: Path, threads: int):
    import numpy as np
    import zarr
    from scipy.ndimage import gaussian_filter

    source = zarr.open_array(folder / "study.zarr", path="cathode/scale0/image", mode="r")
    image = source[0]
    start = time.perf_counter()
    grey = image.astype(np.float32)
    sharp = grey + AMOUNT * (grey - gaussian_filter(grey, SIGMA))
    phase = labels(sharp)
    counts = np.bincount(phase.ravel(), minlength=3)
    return time.perf_counter() - start, counts


def labels(sharp):
    import numpy as np

    grey = np.rint(sharp)  # faster than np.digitize
    return (grey >= CUTS[0]).astype(np.uint8) + (grey >= CUTS[1])


def show(results: dict[str, list[dict[str, float]]], arguments: argparse.Namespace) -> None:
    from importlib.metadata import version

    names = ("numpy", "scipy", "zarr", "dask", "dask-image", "numba")
    print(f"{arguments.size}³ uint16, {arguments.threads} threads, median of {arguments.repeats}; ", end="")
    print(", ".join(f"{n} {version(n)}" for n in names))
    median = {n: {k: statistics.median(r[k] for r in rows) for k in rows[0]} for n, rows in results.items()}
    for name, row in median.items():
        speed = arguments.size**3 / row["seconds"] / 1e6
        counts = [int(row[f"n{i}"]) for i in range(3)]
        print(
            f"{name:11s} {row['seconds']:7.2f} s  {speed:6.1f} Mvoxel/s  peak {row['peak'] / 2**20:6.0f} MiB  {counts}"
        )
    own = median["mgsflow"]
    for name in VARIANTS[1:]:
        other = median[name]
        print(
            f"against {name}: {other['seconds'] / own['seconds']:.2f}× faster, "
            f"{own['peak'] / other['peak']:.2f} of its peak memory"
        )


if __name__ == "__main__":
    main()
