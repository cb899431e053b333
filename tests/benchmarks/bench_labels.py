"""Speed of connected components, beside scipy, cc3d and dask-image, in one run.

    python tests/benchmarks/bench_labels.py [EDGE] [BLOCK] [FOLDER]

A mask of blobs (40 % of a smooth random field) and one of noise (30 %), EDGE³ voxels (default 256) in blocks of BLOCK³
(default a quarter of EDGE: 64 blocks). One thread, unless it says otherwise; peers that are not installed are left out.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import zarr
from scipy import ndimage
from zarr.codecs import BloscCodec

from mgsflow.labelling.components.label import label, percolating
from mgsflow.labelling.components.runs import Runs

CODEC = BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle")


def seconds(run: Callable[[], object], times: int = 3) -> float:
    run()
    found = []
    for _ in range(times):
        start = perf_counter()
        run()
        found.append(perf_counter() - start)
    return median(found)


def masks(edge: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(edge,) * 3).astype(np.float32), 3)
    return {"blobs": field > np.quantile(field[::4, ::4, ::4], 0.6), "noise": rng.random((edge,) * 3) < 0.3}


def report(name: str, size: int, t: float, peer: float | None = None, peer_name: str = "") -> None:
    ratio = f", {peer / t:6.1f} x {peer_name}" if peer else ""
    print(f"  {name:58s} {size / t / 1e6:8.1f} Mvoxel/s{ratio}")


def in_core(mask: np.ndarray, connectivity: int) -> float:
    structure = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[connectivity])
    peer = seconds(partial(ndimage.label, mask, structure))
    report(f"scipy, {connectivity}", mask.size, peer)
    try:
        import cc3d

        t = seconds(partial(cc3d.connected_components, mask, connectivity=connectivity))
        report(f"cc3d, {connectivity}", mask.size, t, peer, "scipy")
    except ImportError:
        print("  cc3d is not installed: pip install connected-components-3d")
    t = seconds(partial(label, mask, connectivity, threads=1))
    report(f"label, {connectivity}, one block", mask.size, t, peer, "scipy")
    t = seconds(partial(Runs.of, mask, connectivity))
    report(f"components alone, {connectivity}, no labels", mask.size, t, peer, "scipy")
    t = seconds(partial(percolating, mask, "z", connectivity, threads=1))
    report(f"percolating part, {connectivity}, one block", mask.size, t, peer, "scipy")
    return peer


def stored(folder: Path, mask: np.ndarray, block: int) -> tuple[zarr.Array, zarr.Array]:
    chunk = min(64, block)
    layout: dict[str, Any] = {"chunks": (chunk,) * 3, "shards": (block,) * 3, "compressors": CODEC, "overwrite": True}
    out = zarr.create_array(folder / "labels.zarr", shape=mask.shape, dtype=np.uint32, fill_value=0, **layout)
    return zarr.create_array(folder / "mask.zarr", data=mask, **layout), out


def out_of_core(folder: Path, mask: np.ndarray, block: int, peers: bool) -> None:
    source, out = stored(folder, mask, block)
    times = {}
    for threads in (1, 2):
        times[threads] = seconds(partial(label, source, 6, out, block, threads))
        report(f"label, 6, zarr to zarr, blocks of {block}, {threads} threads", mask.size, times[threads])
    if not peers:
        return
    try:
        import dask
        import dask.array as da
        from dask_image.ndmeasure import label as peer_label
    except ImportError:
        print("  dask-image is not installed")
        return

    target = zarr.create_array(
        folder / "peer.zarr", shape=mask.shape, dtype=np.int32, chunks=(block,) * 3, compressors=CODEC, overwrite=True
    )

    def peer() -> None:
        labels, _ = peer_label(da.from_zarr(source, chunks=(block,) * 3))
        da.store(labels.astype(np.int32), target, lock=False)

    for threads in (1, 2):
        with dask.config.set(scheduler="threads", num_workers=threads):
            t = seconds(peer, 1)
        report(f"dask-image {version('dask-image')}, 6, {threads} threads", mask.size, t)
        print(f"  mgsflow is {t / times[threads]:.1f} x dask-image on {threads} threads")


def main() -> None:
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    block = int(sys.argv[2]) if len(sys.argv) > 2 else edge // 4
    print(f"numpy {np.__version__}, scipy {version('scipy')}, zarr {zarr.__version__}, numba {version('numba')}")
    for name, mask in masks(edge).items():
        print(f"{name} {mask.shape}, {mask.mean():.2f} inside")
        for connectivity in (6, 26):
            in_core(mask, connectivity)
        with tempfile.TemporaryDirectory(dir=sys.argv[3] if len(sys.argv) > 3 else None) as folder:
            out_of_core(Path(folder), mask, block, peers=name == "blobs" and edge <= 400)


if __name__ == "__main__":
    main()
