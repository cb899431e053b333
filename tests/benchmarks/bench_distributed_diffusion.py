"""Diffusion in blocks against one piece in memory: python tests/benchmarks/bench_distributed_diffusion.py 384

Two workers of 1 GiB, the volume in a zarr store; times, processor times, the memory planned and measured.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import zarr
from scipy import ndimage

from mgsflow.blocks import Grid
from mgsflow.compute import connect, worker_peaks
from mgsflow.memory import MIB, WORKER_BASE
from mgsflow.transport.diffusion.distributed.plan import plan_blocks
from mgsflow.transport.diffusion.distributed.tortuosity import tortuosity_factor_in_blocks
from mgsflow.transport.diffusion.medium import medium_of
from mgsflow.transport.tortuosity import tortuosity_factor

MEMORY = 1024 * MIB


def image(n: int, porosity: float = 0.4, width: float = 3.0) -> np.ndarray:
    """Return a thresholded Gaussian random field."""
    noise = np.random.default_rng(0).standard_normal((n, n, n), dtype=np.float32)
    for axis in range(3):
        ndimage.gaussian_filter1d(noise, width, axis=axis, mode="wrap", output=noise)
    return (noise < np.quantile(noise[::4, ::4, ::4], porosity)).astype(np.uint8)


def processor_seconds(pids: list[int]) -> float:
    """Return the time that processes have been at work."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def main(n: int, block: int = 128, rtol: float = 1e-3) -> None:
    """Compare the two, in one run."""
    labels = image(n)
    warm = labels[:64, :64, :64]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.zarr"
        shard = (block,) * 3
        stored = zarr.create_array(path, shape=labels.shape, chunks=(64,) * 3, shards=shard, dtype=np.uint8)
        stored[...] = labels
        tortuosity_factor(warm, threads=2)
        began, worked = time.perf_counter(), time.process_time()
        plain = tortuosity_factor(labels, rtol=rtol, threads=2)
        whole, whole_work = time.perf_counter() - began, time.process_time() - worked
        del labels
        source = zarr.open_array(path, mode="r")
        plan = plan_blocks(medium_of(source, None), Grid.regular(source.shape, block), 2, MEMORY)
        with connect(workers=2, memory_limit=MEMORY) as client:
            tortuosity_factor_in_blocks(warm, block=32, client=client)
            pids = [*client.run(os.getpid).values(), os.getpid()]
            began, worked = time.perf_counter(), processor_seconds(pids)
            found = tortuosity_factor_in_blocks(source, rtol=rtol, block=block, client=client)
            parts, parts_work = time.perf_counter() - began, processor_seconds(pids) - worked
            peaks = worker_peaks(client).values()
    print(f"{n}³, porosity {plain.volume_fraction:.3f}, rtol {rtol:g}, {os.getloadavg()[0]:.1f} processes waiting")
    for name, r, wall, work in (("in memory", plain, whole, whole_work), ("in blocks", found, parts, parts_work)):
        print(
            f"{name}: D {r.effective_diffusivity:.8f} ± {r.error_estimate:.1e}, {r.iterations} iterations, "
            f"{wall:.1f} s, {work:.1f} s of processors"
        )
    print(f"ratio {parts / whole:.2f}, of processor time {parts_work / whole_work:.2f}")
    conducting = plain.volume_fraction * n**3
    blocks = sum(peak - WORKER_BASE for peak in peaks)
    print(
        f"worker: {max(peaks) / MIB:.0f} MiB, planned {plan.worker / MIB:.0f}; all workers less their base: "
        f"{blocks / conducting:.1f} bytes a conducting voxel"
    )
    print("blocks, s:", {part: round(seconds, 1) for part, seconds in found.seconds.items()})


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:3]))
