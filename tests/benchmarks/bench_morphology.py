"""Speed of the morphology measures on a three-phase image, beside scikit-image's marching cubes, in one run.

    python tests/benchmarks/bench_morphology.py [EDGE] [IMAGE.tiff]

Without an image, a smooth random field of EDGE³ voxels (default 256) cut into three phases, and noise. One thread.
"""

import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes, mesh_surface_area

from mgsflow.blocks import Grid
from mgsflow.measures.correlation import Correlation
from mgsflow.measures.measure import Measure
from mgsflow.measures.minkowski import Minkowski
from mgsflow.measures.triple_line import TripleLine
from mgsflow.measures.triple_phase import Morphology


def best(run: Callable[[], object], times: int = 3) -> float:
    run()
    seconds = []
    for _ in range(times):
        start = perf_counter()
        run()
        seconds.append(perf_counter() - start)
    return min(seconds)


def images(edge: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    if len(sys.argv) > 2:
        import tifffile

        return {sys.argv[2]: np.unique(tifffile.imread(sys.argv[2]), return_inverse=True)[1].astype(np.uint8)}
    field = gaussian_filter(rng.normal(size=(edge,) * 3), 3)
    smooth = np.digitize(field, np.quantile(field, [0.45, 0.85])).astype(np.uint8)
    return {"smooth": smooth, "noise": rng.integers(0, 3, smooth.shape).astype(np.uint8)}


def mesh(image: np.ndarray, phases: int) -> None:
    for p in range(phases):
        vertices, faces, *_ = marching_cubes((image == p).astype(np.float32), 0.5)
        mesh_surface_area(vertices, faces)


def once(measure: Measure, image: np.ndarray, grid: Grid, names: list[str]) -> None:
    record = measure(image, grid.block((0, 0, 0)))
    measure.finalize(record[None, None, None], grid, (1.0, 1.0, 1.0), names)


def main() -> None:
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    for name, image in images(edge).items():
        phases = int(image.max()) + 1
        names = [str(p) for p in range(phases)]
        grid = Grid.regular(image.shape, max(image.shape))
        peer = best(partial(mesh, image, phases), 1)
        print(f"{name} {image.shape}, {phases} phases")
        print(f"  {'scikit-image, area of each phase':42s} {image.size / peer / 1e6:8.1f} Mvoxel/s")
        for measure in (Morphology(phases), Minkowski(phases), TripleLine(phases), Correlation(phases)):
            t = best(partial(once, measure, image, grid, names))
            label = f"{type(measure).__name__} ({measure.name})"
            print(f"  {label:42s} {image.size / t / 1e6:8.1f} Mvoxel/s, {peer / t:6.1f} x scikit-image")


if __name__ == "__main__":
    main()
