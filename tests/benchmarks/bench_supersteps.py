"""What a superstep costs beside the work in it: python tests/benchmarks/bench_supersteps.py"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import distributed

sys.path.insert(0, str(Path(__file__).parent.parent))

from poisson import MakePoisson

from mgsflow.blocks import Grid
from mgsflow.compute import connect
from mgsflow.compute.supersteps.dask_executor import DaskExecutor
from mgsflow.compute.supersteps.executor import Executor, SerialExecutor
from mgsflow.compute.supersteps.subdomain import FaceNeighbours


def measure(executor: Executor, grid: Grid, steps: int = 40) -> tuple[float, float, float]:
    """Return milliseconds of a step that does nothing, of one with faces, and seconds to place the blocks."""
    began = time.perf_counter()
    executor.place(MakePoisson(grid))
    placed = time.perf_counter() - began
    executor.step("publish", "x", publish="x")

    def step(**fields: str) -> float:
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            if fields:
                executor.step("sweep", **fields)
            else:
                executor.step("weigh", 1.0, 1.0)
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)

    return step(), step(pull="x", publish="x"), placed


def main() -> None:
    """Print the cost with 8, 64 and 512 blocks, in one process and on two workers."""
    print(f"distributed {distributed.__version__}; medians")
    print("blocks  where        empty step  step with faces  placing")
    for n in (2, 4, 8):
        grid = Grid.regular((8 * n,) * 3, 8)
        topology = FaceNeighbours(grid.counts)
        serial = SerialExecutor(topology)
        rows = [("one process", measure(serial, grid))]
        with connect(workers=2) as client, DaskExecutor(client, topology) as executor:
            rows.append(("two workers", measure(executor, grid)))
        for name, (empty, faces, placed) in rows:
            print(f"{n**3:6d}  {name}  {empty:7.1f} ms  {faces:12.1f} ms  {placed:5.2f} s")


if __name__ == "__main__":
    main()
