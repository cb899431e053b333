"""Forecasts against runs: what `mgsflow plan` says of 1 and 2 workers at three sizes, and what they take.

    python tests/benchmarks/bench_plan.py [--sizes 256 384 512] [--workers 1 2] [--memory-limit 2GiB] [--steps]
    python tests/benchmarks/bench_plan.py --table --sizes 1024 2048 4096 --workers 1 16 64 200 --memory-limit 4GiB

Prints predicted and measured seconds and their ratio, of whole runs and, if asked, of every step. With --table, what is
predicted of four scans of these sizes, which are not made.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

STUDY = """\
study: plan
block: {block}
specimens:
  cathode:
    voxel_size: 0.126
    phases: [pore, CBD, sulfur]
    scans:
      - {{name: pristine, path: scan, cycle: 0}}
    filter:
      - unsharp_mask: {{sigma: 1.5, amount: 0.6}}
    segment: {{thresholds: [23100, 32500]}}
    particles: {{phase: sulfur}}
    tortuosity: {{phases: [pore], axes: z}}
"""

#: Studies of four scans in the table, by their last lines.
TABLE = {
    "phases, fractions, surfaces": "",
    "+ tortuosity of one phase along z": "    tortuosity: {phases: [pore], axes: z}\n",
    "+ particles": "    tortuosity: {phases: [pore], axes: z}\n    particles: {phase: sulfur}\n",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 384, 512])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--memory-limit", default="2GiB")
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--driver", default="512GiB", help="memory of the machine that runs the study, in the table")
    parser.add_argument("--bandwidth", type=float, default=None, help="bytes a second of the store")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mgsflow-bench-"))
    try:
        if arguments.table:
            table(folder, arguments)
            return
        for size in arguments.sizes:
            bench(folder / str(size), size, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(folder: Path, arguments: argparse.Namespace) -> None:
    import mgsflow.memory

    # of the machine that runs the study, as every module sees it
    mgsflow.memory.available = lambda: mgsflow.memory.parse_bytes(arguments.driver)  # type: ignore
    from mgsflow.cli.show import _time
    from mgsflow.memory import format_bytes, parse_bytes
    from mgsflow.phantoms import cathode, write_tiff_stack
    from mgsflow.pipeline import Capacity, plan, rehearse
    from mgsflow.recipe import load

    scans = ""
    for cycle in (0, 1, 3, 10):
        write_tiff_stack(cathode((256,) * 3, cycle=cycle).image, folder / f"c{cycle}")
        scans += f"      - {{name: c{cycle}, path: c{cycle}, cycle: {cycle}}}\n"
    plain = STUDY.format(block=256).split("    particles:")[0]
    plain = plain.replace("      - {name: pristine, path: scan, cycle: 0}\n", scans)
    for what, lines in TABLE.items():
        path = folder / "study.yaml"
        path.write_text(plain + lines)
        recipe = load(path)
        rates = rehearse(recipe)
        for size in arguments.sizes:
            cells = []
            for workers in arguments.workers:
                room = Capacity(workers, 1, parse_bytes(arguments.memory_limit))
                found = plan(recipe, room, rates, size, arguments.bandwidth)
                cells.append(_time(found.expected.seconds) + ("*" if found.problems else ""))
                for problem in found.problems:
                    print("   *", problem[:150])
            whole = found.expected
            print(
                f"{what:36s} {size:5d}³ {' '.join(f'{c:>9s}' for c in cells)}  {whole.busy / 3600:6.0f} core h, peak "
                f"{format_bytes(max(n.peak for n in found.lines if not n.here))}, driver "
                f"{format_bytes(max((n.peak for n in found.lines if n.here), default=0))}, disk "
                f"{format_bytes(found.disk)}, read {format_bytes(whole.read)}, written {format_bytes(whole.written)}",
                flush=True,
            )


def bench(folder: Path, size: int, arguments: argparse.Namespace) -> None:
    # not at the top: worker processes import this file anew, and would carry all of it
    from mgsflow.compute import connect
    from mgsflow.memory import parse_bytes
    from mgsflow.phantoms import cathode, write_tiff_stack
    from mgsflow.pipeline import Capacity, plan, rehearse, run
    from mgsflow.recipe import load

    write_tiff_stack(cathode((size,) * 3).image, folder / "scan")
    path = folder / "study.yaml"
    path.write_text(STUDY.format(block=arguments.block))
    start = time.perf_counter()
    rates = rehearse(load(path))
    print(f"{size}³: rehearsed in {time.perf_counter() - start:.0f} s", flush=True)
    for workers in arguments.workers:
        found = plan(load(path), Capacity(workers, 1, parse_bytes(arguments.memory_limit)), rates)
        took: dict[str, list[float]] = {}

        def progress(step: str, label: str, done: int, total: int, took: dict[str, list[float]] = took) -> None:
            took.setdefault(str(step), []).append(time.perf_counter())

        with connect(workers=workers, memory_limit=arguments.memory_limit) as client:
            start = time.perf_counter()
            run(path, client, progress)
            measured = time.perf_counter() - start
        predicted = found.expected.seconds
        print(
            f"{size}³ on {workers}: predicted {predicted:6.1f} s, measured {measured:6.1f} s, "
            f"ratio {predicted / measured:.2f}",
            flush=True,
        )
        if arguments.steps:
            for line in found.lines:
                took_s, told = took[line.step][-1] - took[line.step][0], line.expected
                print(f"    {line.step:20s} {told.seconds if told else 0:7.2f} {took_s:7.2f}")
        shutil.rmtree(folder / "study.zarr")


if __name__ == "__main__":
    main()
