"""Speed of exact distances and of local thickness, beside their peers, in one run.

    python tests/benchmarks/bench_distance.py [EDGE] [--labels IMAGE.tiff --phase LABEL]

Smooth random pores of porosity 0.4, thin to wide, noise, and a hollow block, of EDGE³ voxels (default 256), or one
phase of an image. Seconds of one core (CPU time, median of three), so that a busy machine matters little. Peers are
optional: edt, porespy.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import numpy as np
import scipy
import zarr
from scipy import ndimage
from zarr.codecs import BloscCodec

from mgsflow.blocks import Grid
from mgsflow.labelling.arrays import ArraySink, ArraySource, PhaseMask
from mgsflow.labelling.distance.certified import DistanceSource
from mgsflow.labelling.distance.kernel import squared_distance
from mgsflow.labelling.distance.pencils import by_pencils
from mgsflow.labelling.distance.transform import DistanceBlocks
from mgsflow.labelling.passes import runner
from mgsflow.measures.thickness.local_thickness import ThicknessBlocks, local_thickness

try:
    import edt
except ImportError:
    edt = None
    print("edt is not installed: left out")
try:
    import porespy
except ImportError:
    porespy = None
    print("porespy is not installed: left out")


def seconds(call: Callable[[], object], times: int = 3) -> float:
    call()
    taken = []
    for _ in range(times):
        start = process_time()
        call()
        taken.append(process_time() - start)
    return float(np.median(taken))


def volumes(arguments: argparse.Namespace) -> Iterator[tuple[str, np.ndarray]]:
    if arguments.labels:
        import tifffile

        yield arguments.labels, tifffile.imread(arguments.labels) == arguments.phase
        return
    shape = (arguments.edge,) * 3
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    for sigma in (1.5, 3, 6, 12, 24):
        field = ndimage.gaussian_filter(noise, sigma, mode="wrap")
        yield f"blobs, sigma {sigma}", field < np.quantile(field, 0.4)
    yield "noise", noise < -0.25
    hollow = np.zeros(shape, bool)
    hollow[1:-1, 1:-1, 1:-1] = True
    yield "hollow block", hollow


def store(folder: Path, name: str, shape: tuple[int, ...], dtype: str) -> zarr.Array:
    return zarr.create_array(
        folder / name,
        shape=shape,
        dtype=dtype,
        chunks=(64,) * 3,
        shards=(256,) * 3,
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
        overwrite=True,
    )


def distances(mask: np.ndarray, folder: Path) -> None:
    def show(name: str, taken: float) -> None:
        print(f"  {name:44s} {mask.size / taken / 1e6:7.1f} Mvoxel/s  {taken / ours:6.2f} x the time", flush=True)

    ours = seconds(lambda: squared_distance(mask))
    show("squared_distance, in memory, int32", ours)
    if edt is not None:
        show("edt.edtsq, in memory, float32", seconds(lambda: edt.edtsq(mask, parallel=1)))
    show("scipy, in memory, float64", seconds(lambda: ndimage.distance_transform_edt(mask), 1))
    show("squared_distance, voxels 0.3 x 0.1 x 0.1", seconds(lambda: squared_distance(mask, edges=(0.3, 0.1, 0.1))))
    stored = store(folder, "mask.zarr", mask.shape, "bool")
    stored[...] = mask
    out = store(folder, "out.zarr", mask.shape, "int32")
    grid = Grid.regular(mask.shape, 256)
    source = PhaseMask(ArraySource(stored))
    each = runner(None, 1)
    work = DistanceBlocks(DistanceSource(source, reach=256), None, ArraySink(out), grid, squared=True)
    show("by blocks, zarr to zarr", seconds(lambda: each(work.run, grid), 1))

    def pencils() -> None:
        with by_pencils(source, None, False, folder, each) as squares:
            each(DistanceBlocks(squares, None, ArraySink(out), grid, squared=True).run, grid)

    show("by pencils, zarr to zarr", seconds(pencils, 1))


def thickness(mask: np.ndarray, folder: Path) -> None:
    part = mask[:200, :200, :200].copy()

    def show(name: str, voxels: int, taken: float) -> None:
        print(f"  {name:44s} {voxels / taken / 1e6:7.2f} Mvoxel/s  {taken:7.2f} s", flush=True)

    show("local_thickness, in memory, 200^3", part.size, seconds(lambda: local_thickness(part, threads=1), 1))
    if porespy is not None:
        for sizes in (None, 25):
            run = lambda: porespy.filters.local_thickness(part, **({"sizes": sizes} if sizes else {}))  # noqa: B023, E731
            show(f"porespy, 200^3, sizes {sizes or 'default'}", part.size, seconds(run, 1))
    stored = store(folder, "mask.zarr", mask.shape, "bool")
    stored[...] = mask
    out = store(folder, "thick.zarr", mask.shape, "float32")
    grid = Grid.regular(mask.shape, 256)
    work = ThicknessBlocks(DistanceSource(PhaseMask(ArraySource(stored)), reach=256), grid, ArraySink(out))
    show("by blocks, zarr to zarr", mask.size, seconds(lambda: runner(None, 1)(work.run, grid), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edge", type=int, nargs="?", default=256)
    parser.add_argument("--labels", default=None)
    parser.add_argument("--phase", type=int, default=0)
    arguments = parser.parse_args()
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, zarr {zarr.__version__}")
    for module in (edt, porespy):
        if module is not None:
            print(module.__name__, getattr(module, "__version__", "of unknown version"))
    with tempfile.TemporaryDirectory() as place:
        for name, mask in volumes(arguments):
            deepest = np.sqrt(squared_distance(mask).max())
            print(f"{name}: {mask.shape}, share {mask.mean():.2f}, largest distance {deepest:.1f}")
            distances(mask, Path(place))
            if deepest < 40:
                thickness(mask, Path(place))


if __name__ == "__main__":
    main()
