"""Nested windows counted from one reading of a phase image, against a pass for each window; and thresholds likewise.

Run by hand: ``python tests/benchmarks/bench_studies.py [edge]``. Prints processor time, and ratios from the same run.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Grid
from mgsflow.compute import MemoryParts, indices
from mgsflow.labelling.arrays import ArraySource
from mgsflow.measures import make_measures, measure
from mgsflow.phantoms import cathode
from mgsflow.segmentation import Majority, Threshold
from mgsflow.studies import place_windows
from mgsflow.studies.properties import WindowProperties
from mgsflow.studies.sensitivity import Variants
from mgsflow.studies.thresholding import CountThresholds, whole_reduction

NAMES = ("volume", "surface", "interface", "curvature")


def seconds(call: Callable[[], Any], times: int = 3) -> float:
    """Return the median processor time of a call, in seconds."""
    taken = []
    for _ in range(times):
        begin = time.process_time()
        call()
        taken.append(time.process_time() - begin)
    return statistics.median(taken)


def windows(phases: np.ndarray, block: int) -> None:
    """Compare the counts of nested windows."""
    placed = place_windows(phases.shape, [s for s in (60, 80, 120, 160, 200) if s <= min(phases.shape)])
    boxes = tuple(b for some in placed.values() for b in some)
    measures = make_measures(NAMES, 3, (1.0, 1.0, 1.0))
    grid = Grid.regular(phases.shape, block)

    def once() -> None:
        work = WindowProperties(ArraySource(phases), grid, boxes, True, measures, MemoryParts()).pieces
        assert work is not None
        for index in indices(grid):
            work.run(index)

    def each() -> None:
        for box in (*boxes, Box.of(phases.shape)):
            measure(phases[box.slices], NAMES, 1.0, phases=["a", "b", "c"], block=block)

    def whole() -> None:
        measure(phases, NAMES, 1.0, phases=["a", "b", "c"], block=block)

    one, many, least = seconds(once), seconds(each), seconds(whole)
    print(f"windows {list(placed)} and the whole: one reading {one:.2f} s, a pass each {many:.2f} s, ", end="")
    print(f"ratio {many / one:.2f}; the whole alone {least:.2f} s")


def thresholds(grey: np.ndarray, at: tuple[float, ...], block: int) -> None:
    """Compare the counts at several thresholds."""
    variants = Variants.of(at, 0, [at[0] - 300 * i for i in range(1, 5)], (900.0, 900.0), 1).all
    measures = make_measures(NAMES, 3, (1.0, 1.0, 1.0))
    grid = Grid.regular(grey.shape, block)
    reductions = tuple(dict.fromkeys(whole_reduction(m) for m in measures))

    def once() -> None:
        work = CountThresholds(ArraySource(grey), grid, variants, reductions, MemoryParts())
        for index in indices(grid):
            work.run(index)

    def each() -> None:
        for variant in variants:
            phases = Threshold(variant.thresholds)(grey)
            phases = Majority(variant.majority)(phases) if variant.majority else phases
            measure(phases, NAMES, 1.0, phases=["a", "b", "c"], block=block)

    one, many = seconds(once), seconds(each)
    print(f"{len(variants)} thresholds: one reading {one:.2f} s, the whole image each {many:.2f} s, ", end="")
    print(f"ratio {many / one:.2f}")


def main() -> None:
    """Compare on a phantom cathode."""
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    phantom = cathode((edge,) * 3, cycle=0, seed=1)
    box = Box.of(phantom.shape)
    phases, grey = phantom.truth.read(box), phantom.image.read(box)
    print(f"cathode {edge}³, blocks of 128, numpy {np.__version__}, Python {platform.python_version()}")
    measure(phases[:40, :40, :40], NAMES, 1.0, phases=["a", "b", "c"])  # compile
    windows(phases, 128)
    thresholds(grey, phantom.thresholds, 128)


if __name__ == "__main__":
    main()
