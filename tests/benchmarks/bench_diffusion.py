"""Tortuosity of a Gaussian-field pore space: this solver, and TauFactor 2 and PoreSpy where they are installed.

    python tests/benchmarks/bench_diffusion.py [--size 500] [--porosity 0.3] [--threads 2] [--repeats 3] [--peers]

Each run is a process of its own, on labels in memory: reading them, percolation, set-up and solve. A solver's answer
counts once it is within 0.1 % of the converged value (this solver at rtol 1e-7); peers are run at ever tighter
tolerances until theirs is. Prints medians of wall and processor time, memory a conducting voxel, and the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEERS = ("taufactor", "porespy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--porosity", type=float, default=0.3)
    parser.add_argument("--sigma", type=float, default=4.0, help="of the Gaussian filter, in voxels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rtol", type=float, default=1e-3)
    parser.add_argument("--peers", action="store_true", help="also run what is installed of " + ", ".join(PEERS))
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--image", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(one(arguments.only, arguments.image, arguments)))
        return
    with tempfile.TemporaryDirectory(prefix="mgsflow-bench-") as folder:
        image = Path(folder) / "image.npy"
        make(image, arguments.size, arguments.porosity, arguments.sigma)
        runs = [run("mgsflow", image, arguments) for _ in range(arguments.repeats)]
        tight = run("tight", image, arguments)
        show(runs, tight, arguments)
        if arguments.peers:
            for name in PEERS:
                against(name, image, arguments, runs, tight["tau"])


def run(name: str, image: Path, arguments: argparse.Namespace, rtol: float | None = None) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", name, "--image", str(image), "--threads", str(arguments.threads)]
    command += ["--rtol", str(rtol or arguments.rtol)]
    threads = {k: str(arguments.threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def make(file: Path, size: int, porosity: float, sigma: float) -> None:
    import numpy as np
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(size).standard_normal((size, size, size), dtype=np.float32)
    field = gaussian_filter(noise, sigma, mode="wrap")
    sample = field.ravel()[:: max(1, field.size // 10_000_000)]
    np.save(file, (field < np.quantile(sample, porosity)).astype(np.uint8))


def one(name: str, file: Path, arguments: argparse.Namespace) -> dict[str, float]:
    import numpy as np

    from mgsflow.memory import peak_rss

    solve = {"mgsflow": ours, "tight": ours, "taufactor": taufactor, "porespy": porespy}[name]
    image = np.load(file)
    warm = np.random.default_rng(0).random((48, 48, 48)) < 0.7
    solve(warm.astype(np.uint8), arguments.threads, 1e-3)  # compiles
    before, wall, cpu = peak_rss(), time.perf_counter(), time.process_time()
    tau, more = solve(image, arguments.threads, 1e-7 if name == "tight" else arguments.rtol)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    conducting = int(np.count_nonzero(image))
    return {"tau": tau, "wall": wall, "cpu": cpu, "bytes": (peak_rss() - before) / conducting} | more


def ours(image, threads: int, rtol: float):
    from mgsflow.transport import tortuosity_factor

    found = tortuosity_factor(image, rtol=rtol, threads=threads)
    more = {f"in {k}": v for k, v in found.seconds.items()}
    return found.tortuosity_factor, more | {"iterations": found.iterations, "estimate": found.error_estimate}


def taufactor(image, threads: int, rtol: float):
    import taufactor
    import torch

    torch.set_num_threads(threads)
    solver = taufactor.Solver(image.astype(float), device="cpu")
    tau = solver.solve(iter_limit=100_000, verbose=False, conv_crit=rtol)
    return float(getattr(tau, "item", lambda: tau)()), {"iterations": int(solver.iter)}


def porespy(image, threads: int, rtol: float):
    import porespy

    found = porespy.simulations.tortuosity_fd(image.astype(bool), axis=0)
    return float(found.tortuosity), {}


def show(runs: list[dict[str, float]], tight: dict[str, float], arguments: argparse.Namespace) -> None:
    from importlib.metadata import version

    names = ", ".join(f"{n} {version(n)}" for n in ("numpy", "numba"))
    n = arguments.size
    print(f"{n}³, porosity {arguments.porosity}, {arguments.threads} threads, median of {len(runs)}; {names}")
    row = {k: statistics.median(r[k] for r in runs) for k in runs[0]}
    print(
        f"τ {row['tau']:.5f} ({row['tau'] / tight['tau'] - 1:+.1e} of the converged {tight['tau']:.6f}, "
        f"estimated {row['estimate']:.1e}) in {row['iterations']:.0f} iterations"
    )
    print(
        f"{row['wall']:.2f} s, {row['cpu']:.2f} s of processors ({row['cpu'] / row['wall']:.2f} at work), "
        f"{n**3 / row['wall'] / 1e6:.0f} Mvoxel/s, {row['bytes']:.1f} bytes a conducting voxel"
    )
    for key, value in row.items():
        if key.startswith("in "):
            print(f"    {key[3:]:20s} {value:6.2f} s  {value / row['wall']:4.0%}")


def against(
    name: str, image: Path, arguments: argparse.Namespace, runs: list[dict[str, float]], converged: float
) -> None:
    try:
        __import__(name)
    except ImportError:
        print(f"{name} is not installed: pip install {name}")
        return
    for rtol in (1e-2, 1e-3, 1e-4):
        found = run(name, image, arguments, rtol)
        off = found["tau"] / converged - 1
        print(f"{name} at {rtol:g}: τ {found['tau']:.5f} ({off:+.1e}), {found['wall']:.1f} s, {found['cpu']:.1f} s CPU")
        if abs(off) < 1e-3 or name == "porespy":
            break
    own = {k: statistics.median(r[k] for r in runs) for k in ("wall", "cpu")}
    print(f"against {name}: {found['wall'] / own['wall']:.0f}× faster, {found['cpu'] / own['cpu']:.0f}× less CPU")


if __name__ == "__main__":
    main()
