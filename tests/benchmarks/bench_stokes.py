"""Speed, iterations and memory of the permeability solver in one run, beside poromics if it is there.

    python tests/benchmarks/bench_stokes.py [THREADS] [LARGEST EDGE]
    python tests/benchmarks/bench_stokes.py slabs EDGE [GIBIBYTES]

Default: 2 threads, 200. The first solve of all compiles, and is not counted. With ``slabs``, a fibre mat in a zarr
store on two workers of so much memory (default: no limit), the rest in scratch.
"""

import sys
import tempfile
import tracemalloc
from importlib.metadata import version
from time import perf_counter, process_time

import dask
import distributed
import numpy as np
import zarr
from scipy.ndimage import gaussian_filter

from mgsflow.blocks import Box
from mgsflow.compute import worker_peaks
from mgsflow.memory import MIB, peak_rss
from mgsflow.phantoms import separator
from mgsflow.solvers.solution import Step
from mgsflow.transport.permeability import permeability, permeability_bytes
from mgsflow.transport.stokes.distributed.duct import Duct
from mgsflow.transport.stokes.distributed.permeability import permeability_in_blocks
from mgsflow.transport.stokes.distributed.plan import choose_slabs, plan_slabs
from mgsflow.transport.stokes.problem import pore_source

PAPER = (275, 180, 135)


def blobs(n: int, porosity: float, blur: float = 3.0) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(0).normal(size=(n,) * 3).astype(np.float32), blur, mode="wrap")
    return (field < np.quantile(field, porosity)).astype(np.uint8)


def fibres() -> np.ndarray:
    return (separator(PAPER).geometry.labels(Box.of(PAPER)) == 0).astype(np.uint8)


def report(name: str, image: np.ndarray, threads: int, axis: str = "z", exact: bool = False) -> None:
    wall, cpu = perf_counter(), process_time()
    found = permeability(image, axis=axis, threads=threads)
    wall, cpu = perf_counter() - wall, process_time() - cpu
    k = found.permeability_um2
    line = f"{name:34s} {wall:7.2f} s ({cpu:6.2f} s of CPU)  {found.iterations:3d} iterations  K {k:9.5g}"
    if exact:
        error = k / permeability(image, axis=axis, threads=threads, rtol=1e-6).permeability_um2 - 1
        line += f"  error {error:+.1e}"
    print(f"{line}  narrow {found.narrow_share:.2f}", flush=True)


def memory(name: str, image: np.ndarray) -> None:
    tracemalloc.start()
    permeability(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    planned = permeability_bytes(image.shape)
    print(f"{name:34s} {peak / image.size:7.1f} bytes a voxel, planned {planned / image.size:.1f}", flush=True)


def beside_poromics(threads: int) -> None:
    try:
        import poromics
    except ImportError:
        print("poromics is not installed: pip install poromics taichi, to compare with its lattice Boltzmann")
        return
    image = blobs(64, 0.5)
    start = perf_counter()
    found = permeability(image, threads=threads)
    ours = perf_counter() - start
    start = perf_counter()
    theirs = poromics.permeability_lbm(image.astype(bool), axis=0, voxel_size=1e-6, verbose=False)
    seconds = perf_counter() - start
    print(
        f"poromics {version('poromics')}, 64³: {seconds:.1f} s, {seconds / ours:.0f} × ours ({ours:.2f} s); K "
        f"{theirs.k * 1e12:.4g} beside {found.permeability_um2:.4g}"
    )


def in_slabs(n: int, memory: int | None) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        dask.config.set({"distributed.worker.memory.terminate": False}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        image = zarr.create_array(f"{folder}/mat.zarr", shape=(n,) * 3, chunks=(64,) * 3, dtype=np.uint8)
        geometry = separator((n,) * 3).geometry
        for z in range(0, n, 64):
            image[z : z + 64] = geometry.labels(Box((z, 0, 0), (min(z + 64, n), n, n))) == 0
        stored = zarr.open_array(f"{folder}/mat.zarr", mode="r")
        duct = Duct(pore_source(stored, 1), (0, 1, 2), (1.0, 1.0, 1.0), "no-slip", 0, (n,))
        duct = choose_slabs(duct, 2, memory)
        plan = plan_slabs(duct, 2, memory)
        before, start = peak_rss(), perf_counter()

        def say(step: Step) -> None:
            print(
                f"  {step.iteration:2d}: K {step.value:.6g}, error {step.error:.1e}, {step.seconds:.0f} s", flush=True
            )

        found = permeability_in_blocks(
            stored, block=duct.thickness, client=client, memory=memory or 1 << 40, progress=say
        )
        seconds = perf_counter() - start
        most = max(worker_peaks(client).values())
        driver = peak_rss() - before
        print(
            f"{n}³ in {len(duct.thickness)} slabs: {found.status}, K {found.permeability_um2:.7g}, {found.iterations} "
            f"iterations, {seconds:.0f} s\n  a worker {most / MIB:.0f} MiB of {plan.worker / MIB:.0f} planned, scratch "
            f"{plan.scratch / MIB:.0f} MiB planned, this process {driver / MIB:.0f} more, of {plan.driver / MIB:.0f}"
        )
        if n <= 320:
            start = perf_counter()
            plain = permeability(stored, threads=2)
            print(
                f"  in memory: {perf_counter() - start:.0f} s, {plain.iterations} iterations, K in slabs over that "
                f"{found.permeability_um2 / plain.permeability_um2 - 1:+.1e}"
            )


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "slabs":
        in_slabs(int(sys.argv[2]), int(float(sys.argv[3]) * 1024) * MIB if len(sys.argv) > 3 else None)
        return
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    largest = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    print(f"numpy {np.__version__}, numba {version('numba')}, {threads} threads, relative error 1e-3")
    permeability(blobs(24, 0.5), threads=threads)
    mat = fibres()
    print(f"fibre mat {PAPER}, porosity {mat.mean():.3f}")
    for axis in "zyx":
        report(f"  along {axis}", mat, threads, axis)
    print("Gaussian blobs")
    for porosity in (0.35, 0.85):
        for n in (64, 100, 150, 200, 300, 400):
            if n <= largest:
                report(f"  porosity {porosity}, {n}³", blobs(n, porosity), threads, exact=n <= 100)
    memory("fibre mat", mat)
    memory("blobs, porosity 0.85, 128³", blobs(128, 0.85))
    beside_poromics(threads)


if __name__ == "__main__":
    main()
