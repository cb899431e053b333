"""Speed of the morphology measures: beside marching cubes, TauFactor's metrics, and the reading of a zarr store.

    python tests/benchmarks/bench_morphology.py [EDGE] [IMAGE.tiff]

Without an image, smooth random fields of EDGE³ voxels (default 256) cut into 3 to 8 phases, noise, and grains with
many labels. TauFactor (``pip install taufactor``, with PyTorch) is compared where it is installed. Everything on one
thread, but for the reading of the store, where zarr decodes on threads of its own; medians of runs that take turns.
Beside a store, processor time is given too: it does not depend on what else the machine does.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes, mesh_surface_area

from mgsflow.blocks import Grid
from mgsflow.compute import Output, Pass, completed, indices
from mgsflow.measures import Correlation, Measure, Minkowski, Morphology, TripleLine
from mgsflow.measures.surface.contacts import Contacts
from mgsflow.store import Scan, Specimen, Study

try:
    import torch
    from taufactor import metrics

    torch.set_num_threads(1)
except ImportError:
    metrics = None

TIMES = 3


def turns(runs: dict[str, Callable[[], object]], clock: Callable[[], float] = perf_counter) -> dict[str, float]:
    """Return the median time of each run, after one to warm up, all of them in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(TIMES + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if i:
                seconds[name].append(clock() - start)
    return {name: median(s) for name, s in seconds.items()}


def images(edge: int) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    if len(sys.argv) > 2:
        import tifffile

        yield sys.argv[2], np.unique(tifffile.imread(sys.argv[2]), return_inverse=True)[1].astype(np.uint8)
        return
    field = gaussian_filter(rng.normal(size=(edge,) * 3), 3)
    for phases in (3, 4, 6, 8):
        cuts = np.quantile(field, np.linspace(0, 1, phases + 1)[1:-1])
        yield f"smooth, {phases} phases", np.digitize(field, cuts).astype(np.uint8)
    for phases in (3, 8):
        yield f"noise, {phases} phases", rng.integers(0, phases, field.shape).astype(np.uint8)
    for size in (20, 10):
        seeds = rng.uniform(0, edge, (max(2, (edge // size) ** 3), 3))
        points = np.stack(np.indices(field.shape), -1).reshape(-1, 3)
        labels = cKDTree(seeds).query(points)[1] % 64
        yield f"grains of {size} voxels, 64 labels", labels.reshape(field.shape).astype(np.uint8)


def mesh(image: np.ndarray, phases: int) -> None:
    for p in range(phases):
        vertices, faces, *_ = marching_cubes((image == p).astype(np.float32), 0.5)
        mesh_surface_area(vertices, faces)


def once(measure: Measure, image: np.ndarray, grid: Grid, names: list[str]) -> None:
    record = measure(image, grid.block((0, 0, 0)))
    measure.finalize(record[None, None, None], grid, (1.0, 1.0, 1.0), names)


def tau_areas(image: np.ndarray) -> dict[str, float]:
    return metrics.specific_surface_area(image, method="face_counting", device="cpu")


def tau_smooth_areas(image: np.ndarray) -> dict[str, float]:
    return metrics.specific_surface_area(image, method="gradient", device="cpu")


def tau_interfaces(image: np.ndarray) -> dict[tuple[int, int], float]:
    return metrics.interfacial_areas(image, device="cpu")


def tau_edges(image: np.ndarray) -> float:
    with redirect_stdout(StringIO()):  # it prints the number of edges
        # as int32: its products of counts overflow in uint8
        return float(metrics.triple_phase_boundary(image.astype(np.int32)))


def in_memory(name: str, image: np.ndarray) -> None:
    """Compare all measures with the peers that measure the same image."""
    phases = int(image.max()) + 1
    names = [str(p) for p in range(phases)]
    grid = Grid.regular(image.shape, max(image.shape))
    measures: list[Measure] = [Morphology(phases)]
    if phases <= 8:
        measures += [Minkowski(phases), TripleLine(phases), Correlation(phases)]
    ours = {f"{type(m).__name__} ({m.name})": partial(once, m, image, grid, names) for m in measures}
    main = next(iter(ours))
    peers: dict[str, Callable[[], object]] = {}
    if phases == 3:
        peers["scikit-image, area of each phase"] = partial(mesh, image, phases)
        if metrics is not None:
            peers |= {
                "TauFactor, areas by faces": partial(tau_areas, image),
                "TauFactor, areas by smoothed gradient": partial(tau_smooth_areas, image),
                "TauFactor, interfaces by faces": partial(tau_interfaces, image),
                "TauFactor, triple-phase edges": partial(tau_edges, image),
            }
            check(image, grid, names)
    seconds = turns({**ours, **peers})
    print(f"{name} {image.shape}")
    for label, t in seconds.items():
        times = f"{t / seconds[main]:7.1f} x {main}" if label in peers else ""
        print(f"  {label:42s} {image.size / t / 1e6:8.1f} Mvoxel/s {times}")
    exact = [k for k in peers if k.startswith("TauFactor") and "gradient" not in k]
    if exact:
        total = sum(seconds[k] for k in exact)
        print(f"  {'TauFactor, areas + interfaces + edges':42s} {image.size / total / 1e6:8.1f} Mvoxel/s", end=" ")
        print(f"{total / seconds[main]:7.1f} x {main}, which gives all three and Crofton areas")


def check(image: np.ndarray, grid: Grid, names: list[str]) -> None:
    """Stop unless TauFactor counts the same faces and edges."""
    measure = Morphology(3)
    d = measure.finalize(measure(image, grid.block((0, 0, 0)))[None, None, None], grid, (1.0, 1.0, 1.0), names)
    faces = d.surface_per_total_volume.sel(estimator="faces").values
    np.testing.assert_allclose(list(tau_areas(image).values()), faces, rtol=1e-6)
    z, y, x = image.shape
    places = z * (y - 1) * (x - 1) + y * (z - 1) * (x - 1) + x * (z - 1) * (y - 1)
    np.testing.assert_allclose(tau_edges(image) * places, float(d.tpb_edge_length), rtol=1e-6)


def stored(folder: Path, image: np.ndarray, block: int) -> Specimen:
    phases = tuple(str(p) for p in range(int(image.max()) + 1))
    specimen = Study.create(folder / "study.zarr").add_specimen("image", (1.0, 1.0, 1.0), phases, (block,) * 3)
    specimen.add_scan(Scan("a", 0, "pristine", image.shape))  # type: ignore[arg-type]
    region = specimen.volume("phase", "a", np.uint8)
    for b in specimen.grid("a").blocks():
        region.write(b.core, image[b.core.slices])
    return specimen


def from_store(name: str, image: np.ndarray, block: int = 256) -> None:
    """Compare a pass that measures a stored image with one that only reads it."""
    with tempfile.TemporaryDirectory() as folder:
        specimen = stored(Path(folder), image, min(block, max(image.shape)))
        region, grid = specimen.volume("phase", "a", np.uint8), specimen.grid("a")
        contacts = Contacts(int(image.max()) + 1)
        records = specimen.records("contacts_bench", contacts, "a")
        reading = Pass(region, grid, (), ())
        measuring = Pass(region, grid, (), (Output(0, None, ((contacts, records),)),))

        def do(work: Pass, threads: int) -> None:
            for _ in completed(work.run, indices(grid), threads=threads):
                pass

        def compute() -> None:
            for b in grid.blocks(contacts.halo):
                contacts(image[b.outer.slices], b)

        runs: dict[str, Callable[[], object]] = {"in memory, no reading": compute}
        for threads in (1, 2):
            runs[f"read, {threads} blocks at once"] = partial(do, reading, threads)
            runs[f"read and measure, {threads} blocks at once"] = partial(do, measuring, threads)
        seconds, busy = turns(runs), turns(runs, process_time)
    print(f"{name} {image.shape} from zarr, blocks of {grid.largest}, {os.cpu_count()} cores")
    for label, t in seconds.items():
        line = f"  {label:42s} {image.size / t / 1e6:8.1f} Mvoxel/s, processor {image.size / busy[label] / 1e6:8.1f}"
        if "and measure" in label:
            read = label.replace("read and measure", "read")
            line += f", {t / seconds[read]:.2f} ({busy[label] / busy[read]:.2f}) x the time of reading"
        print(line)


def main() -> None:
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    for package in ("numpy", "numba", "zarr", "scikit-image", *(("taufactor", "torch") if metrics else ())):
        print(package, version(package), end="  ")
    print("" if metrics else "TauFactor is not installed: no comparison with it")
    for name, image in images(edge):
        in_memory(name, image)
        if int(image.max()) == 2:
            from_store(name, image)


if __name__ == "__main__":
    main()
