"""A scan larger than its workers: made, ingested, filtered, segmented and measured by small worker processes.

    python tests/benchmarks/bench_out_of_core.py [--size 1024] [--workers 2] [--memory-limit 512MiB] [--folder DIR]

Prints the time of each step, the planned and the measured peak memory of every worker, and fails if one is above plan.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

STUDY = """\
study: out of core
block: {block}
specimens:
  cathode:
    voxel_size: 0.126
    phases: [pore, CBD, sulfur]
    scans:
      - {{name: pristine, path: scan, cycle: 0}}
    filter:
      - unsharp_mask: {{sigma: 1.5, amount: 0.6}}
    segment:
      thresholds: [23100, 32500]
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--block", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-limit", default="512MiB")
    parser.add_argument("--folder", type=Path, default=None, help="keep scan and store here")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="mgsflow-bench-"))
    try:
        return bench(folder, arguments)
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def bench(folder: Path, arguments: argparse.Namespace) -> int:
    # not at the top: worker processes import this file anew, and would carry all of it
    from mgsflow.compute import connect
    from mgsflow.memory import format_bytes
    from mgsflow.phantoms import cathode, write_tiff_stack
    from mgsflow.pipeline import run

    size = arguments.size
    if not (folder / "scan").exists():
        start = time.perf_counter()
        write_tiff_stack(cathode((size,) * 3).image, folder / "scan")
        print(f"phantom of {size}³ written in {time.perf_counter() - start:.1f} s")
    (folder / "study.yaml").write_text(STUDY.format(block=arguments.block))
    times: dict[str, list[float]] = {}

    def progress(step: str, label: str, done: int, total: int) -> None:
        times.setdefault(step, []).append(time.perf_counter())

    with connect(workers=arguments.workers, memory_limit=arguments.memory_limit) as client:
        start = time.perf_counter()
        summary = run(folder / "study.yaml", client, progress)
        total = time.perf_counter() - start
    for step, stamps in times.items():
        seconds = stamps[-1] - stamps[0]
        speed = f", {size**3 / seconds / 1e6:.0f} Mvoxel/s" if not step[-1].isdigit() and seconds > 0 else ""
        print(f"{step:10s} {seconds:7.1f} s{speed}")
    print(f"run        {total:7.1f} s, {arguments.workers} workers of {arguments.memory_limit}")
    print(f"planned peak of a worker  {format_bytes(summary.planned)}")
    for worker, peak in summary.peaks.items():
        print(f"measured  {worker}  {format_bytes(peak)}  ({peak / summary.planned:.2f} of plan)")
    return int(any(peak > summary.planned for peak in summary.peaks.values()))


if __name__ == "__main__":
    sys.exit(main())
