"""Separate particles of a volume: out of core here, in memory with scikit-image and with PoreSpy's SNOW.

    python tests/benchmarks/bench_separate.py [--size 256] [--repeats 3] [--block 256] [--chunk 64] [--threads 1]
        [--image FILE.tiff --phase 85] [--only mgsflow,scikit-image,snow] [--snow PYTHON]

Volumes are overlapping spheres (a third of the volume), or a phase of a TIFF. Here, a uint8 zarr array is read and a
uint32 zarr array is written (both in shards of a block); peers start from and end in memory, and a peer's time is that
of distances, markers and watershed alone. Each run is a process of its own that has compiled before it is timed.
`--snow` names the interpreter of an environment with PoreSpy; without it the one that runs this is tried.
Prints medians, Mvoxel/s by the clock for each thread and by processor time, peak memory, disk beside the result, and
ratios within one round. On a busy machine, processor time is what tells.
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

VARIANTS = ("mgsflow", "scikit-image", "snow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--block", type=int, default=256)
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--persistence", type=float, default=0.5)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--phase", type=int, default=1)
    parser.add_argument("--only", default=",".join(VARIANTS))
    parser.add_argument("--snow", default=sys.executable)
    parser.add_argument("--one", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run = {"mgsflow": ours, "scikit-image": scikit_image, "snow": snow}[arguments.one]
        print(json.dumps(run(arguments.folder, arguments) | {"peak": peak()}))
        return
    folder = Path(tempfile.mkdtemp(prefix="mgsflow-bench-"))
    try:
        make(folder, arguments)
        results: dict[str, list[dict[str, float]]] = {}
        for _ in range(arguments.repeats):
            for name in arguments.only.split(","):  # taken in turn, so that a busy spell hits all
                found = once(name, folder, arguments)
                if found is not None:
                    results.setdefault(name, []).append(found)
        show(results, folder, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def once(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, float] | None:
    python = arguments.snow if name == "snow" else sys.executable
    command = [python, __file__, "--one", name, "--folder", str(folder), "--block", str(arguments.block)]
    command += ["--threads", str(arguments.threads), "--persistence", str(arguments.persistence)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        print(f"{name}: left out ({(done.stderr.strip().splitlines() or ['?'])[-1]})")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def make(folder: Path, arguments: argparse.Namespace) -> None:
    import numpy as np
    import zarr

    from mgsflow.blocks import Grid

    if arguments.image is not None:
        import tifffile

        image = tifffile.imread(arguments.image) == arguments.phase
        shape, read = image.shape, lambda box: image[box.slices]
    else:
        from mgsflow.phantoms import random_spheres

        shape = (arguments.size,) * 3
        phantom = random_spheres(shape, 0.35, (12.0, 40.0), overlap=True, seed=1)
        read = phantom.truth.read
    chunk = [min(arguments.chunk, n) for n in shape]
    shard = [-(-min(arguments.block, n) // c) * c for n, c in zip(shape, chunk)]
    mask = zarr.create_array(str(folder / "mask.zarr"), shape=shape, chunks=chunk, shards=shard, dtype="uint8")
    for b in Grid.regular(shape, shard).blocks():
        mask[b.core.slices] = np.asarray(read(b.core)).astype(np.uint8)
    if np.prod(shape) <= 2**28:  # for peers, which hold it all
        np.save(folder / "mask.npy", mask[...].astype(bool))


def ours(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    import numpy as np
    import zarr

    from mgsflow.particle_analysis.watershed.separate import separate

    mask = zarr.open_array(str(folder / "mask.zarr"), mode="r")
    warm = np.zeros((40, 40, 40), bool)
    warm[3:30, 4:28, 5:38] = True
    separate(warm, block=20, threads=1)
    target = folder / "labels.zarr"
    shutil.rmtree(target, ignore_errors=True)
    out = zarr.create_array(
        str(target), shape=mask.shape, chunks=mask.chunks, shards=mask.shards, dtype="uint32",
        compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
    )  # fmt: skip
    disk = Watch(folder)
    with disk:
        start, used = time.perf_counter(), time.process_time()
        _, known = separate(mask, arguments.persistence, out=out, block=arguments.block, threads=arguments.threads)
        seconds, used = time.perf_counter() - start, time.process_time() - used
    return {"seconds": seconds, "cpu": used, "particles": known.count, "disk": disk.most}


def scikit_image(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    import numpy as np
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    mask = np.load(folder / "mask.npy")
    start, used = time.perf_counter(), time.process_time()
    distance = ndimage.distance_transform_edt(mask)
    markers = np.zeros(mask.shape, np.int32)
    peaks = peak_local_max(distance, min_distance=4, labels=mask.astype(np.int32), exclude_border=False)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-distance, markers, mask=mask, connectivity=np.ones((3, 3, 3)))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    return {"seconds": seconds, "cpu": used, "particles": int(labels.max())}


def snow(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    import numpy as np
    import porespy

    porespy.settings.tqdm["disable"] = True
    mask = np.load(folder / "mask.npy")
    porespy.filters.snow_partitioning(mask[:40, :40, :40])
    start, used = time.perf_counter(), time.process_time()
    found = porespy.filters.snow_partitioning(mask)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    return {"seconds": seconds, "cpu": used, "particles": int(found.regions.max())}


class Watch:
    """The most bytes that lay beside mask and labels."""

    def __init__(self, folder: Path) -> None:
        import threading

        self.folder, self.most, self.done = folder, 0, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self) -> None:
        while not self.done.wait(0.5):
            size = 0
            for file in self.folder.glob(".mgsflow-*/**/*"):
                try:
                    size += file.stat().st_size
                except OSError:
                    continue
            self.most = max(self.most, size)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()


def peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def show(results: dict[str, list[dict[str, float]]], folder: Path, arguments: argparse.Namespace) -> None:
    from importlib.metadata import version

    import numpy as np
    import zarr

    mask = zarr.open_array(str(folder / "mask.zarr"), mode="r")
    voxels = float(np.prod(mask.shape))
    names = ("numba", "numpy", "scipy", "scikit-image", "zarr")
    print(f"{mask.shape}, block {arguments.block}, chunk {mask.chunks[0]};", *(f"{n} {version(n)}" for n in names))
    for name, runs in results.items():
        seconds = statistics.median(r["seconds"] for r in runs)
        threads = arguments.threads if name == "mgsflow" else 1
        cpu = statistics.median(r["cpu"] for r in runs)
        pairs = list(zip(runs, results.get("mgsflow", runs)))
        ratios = [statistics.median(r[k] / o[k] for r, o in pairs) for k in ("seconds", "cpu")]
        line = f"{name:13} {seconds:8.2f} s  {voxels / seconds / threads / 1e6:6.2f} Mvoxel/s a thread"
        line += f"  {voxels / cpu / 1e6:6.2f} by processor time"
        line += f"  {runs[0]['particles']:7.0f} particles  peak {max(r['peak'] for r in runs) / 2**20:6.0f} MiB"
        line += f"  time / ours {ratios[0]:5.1f}, processor {ratios[1]:5.1f}"
        if "disk" in runs[0]:
            line += f"  disk {max(r['disk'] for r in runs) / voxels:.3f} bytes a voxel"
        print(line)


if __name__ == "__main__":
    main()
