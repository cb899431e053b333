"""Speed of the particle table, in memory and from a store, beside regionprops and cc3d, in one run.

    python tests/benchmarks/bench_particles.py [EDGE] [LABELS.npy]

Without labels, three volumes of EDGE³ voxels (default 256): spheres apart, cells that fill space, and cells with a
third of them left out. One thread unless said. Peers are asked for less: regionprops for area, box, centroid, inertia
and mean grey; cc3d for voxel counts, boxes and centroids only.
"""

import sys
import tempfile
from collections.abc import Callable
from statistics import median
from time import perf_counter, thread_time

import numba
import numpy as np
import zarr
from scipy import ndimage
from scipy.spatial import cKDTree

from mgsflow.blocks import Box
from mgsflow.particle_analysis.from_labels import particles
from mgsflow.particle_analysis.sums import block_parts
from mgsflow.phantoms import random_spheres


def seconds(run: Callable[[], object], clock: Callable[[], float] = perf_counter, times: int = 5) -> float:
    """Return the median of some runs, after one that compiles."""
    run()
    found = []
    for _ in range(times):
        start = clock()
        run()
        found.append(clock() - start)
    return median(found)


def volumes(edge: int) -> dict[str, np.ndarray]:
    if len(sys.argv) > 2:
        return {sys.argv[2]: np.load(sys.argv[2])}
    shape = (edge,) * 3
    phantom = random_spheres(shape, 0.1, (16, 24), seed=1)
    spheres = ndimage.label(phantom.truth.read(Box.of(shape)))[0].astype(np.uint32)
    points = np.random.default_rng(0).random((edge**3 // 8400, 3)) * edge
    nearest = cKDTree(points).query(np.indices(shape).reshape(3, -1).T)[1].reshape(shape) + 1
    cells = nearest.astype(np.uint32)
    return {"spheres": spheres, "cells": cells, "cells with gaps": np.where(cells % 3, cells, 0)}


def main() -> None:
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    print(f"numpy {np.__version__}, numba {numba.__version__}, zarr {zarr.__version__}")
    for name, labels in volumes(edge).items():
        compare(name, labels)


def compare(name: str, labels: np.ndarray) -> None:
    size, box = labels.size / 1e6, Box.of(labels.shape)
    grey = np.random.default_rng(1).integers(0, 1 << 16, labels.shape, dtype=np.uint16)
    smooth = grey.astype(np.float32)
    table = particles(labels, voxel_size=1, threads=1)
    contacts, full = len(table.contacts["area"]), np.mean(labels > 0)
    print(f"{name} {labels.shape}: {len(table)} particles, {contacts} contacts, {full:.2f} full")
    runs: dict[str, Callable[[], object]] = {
        "table": lambda: particles(labels, voxel_size=1, threads=1),
        "table with uint16 image": lambda: particles(labels, grey, 1, threads=1),
        "table with float32 image": lambda: particles(labels, smooth, 1, threads=1),
        "table, blocks of 64": lambda: particles(labels, voxel_size=1, block=64, threads=1),
        "kernels only": lambda: list(block_parts(labels, box, labels.shape)),
    }
    for what, run in runs.items():
        print(f"  {what:32s} {size / seconds(run, thread_time):7.0f} Mvoxel/s of a core")
    two = seconds(lambda: particles(labels, voxel_size=1, block=128, threads=2))
    print(f"  {'two threads, blocks of 128':32s} {size / two:7.0f} Mvoxel/s, wall")
    with tempfile.TemporaryDirectory() as folder:
        cut = {"chunks": (64,) * 3, "shards": (256,) * 3}
        stored = zarr.create_array(folder, shape=labels.shape, dtype=labels.dtype, **cut)
        stored[...] = labels
        read = seconds(lambda: stored[...])
        measured = seconds(lambda: particles(stored, voxel_size=1, threads=1))
        print(f"  {'from zarr':32s} {size / measured:7.0f} Mvoxel/s, wall; reading alone {size / read:.0f}")
    ours = seconds(runs["table with uint16 image"])
    for peer, run in peers(labels, grey).items():
        theirs = seconds(run, times=1)
        print(f"  {peer:32s} {size / theirs:7.0f} Mvoxel/s, ours {theirs / ours:.1f} x as fast")


def peers(labels: np.ndarray, grey: np.ndarray) -> dict[str, Callable[[], object]]:
    from skimage.measure import regionprops_table

    wanted = ("label", "area", "bbox", "centroid", "inertia_tensor_eigvals", "intensity_mean")
    found: dict[str, Callable[[], object]] = {
        "scikit-image regionprops": lambda: regionprops_table(labels.astype(np.int32), grey, wanted)
    }
    try:
        import cc3d
    except ImportError:
        print("  (no cc3d here: pip install connected-components-3d to compare)")
    else:
        found["cc3d statistics"] = lambda: cc3d.statistics(labels)
    return found


if __name__ == "__main__":
    main()
