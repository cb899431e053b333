"""How long a step will take, and what it moves, from its size and what a rehearsal took.

A step of blocks takes ``start + max(makespan, blocks × task, bytes / bandwidth)``: its blocks are handed out in their
order to the first thread that is free, each for as long as the voxels that it reads ask for; the scheduler hands out
blocks one after another; and all workers share the store's bandwidth, where that is given. What is done by the process
that runs the study, on tables of the whole scan, no number of workers makes faster.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

from mgsflow.pipeline.planning.capacity import Capacity, Needs
from mgsflow.pipeline.planning.rehearsal import Rates, kind_of, reads, voxels_of
from mgsflow.pipeline.solves.diffusion import Diffusion
from mgsflow.pipeline.solves.flow import Flow
from mgsflow.pipeline.solves.many import SideBySide
from mgsflow.pipeline.solves.problem import Solve
from mgsflow.pipeline.step import Step

#: Times the processor time of a solve in memory that one by all workers takes, with their arrays in memory and on disk:
#: of diffusion at 768³, of flow at 256³ and 384³, on two workers.
TOGETHER = {Diffusion: (2.9, 2.9), Flow: (1.8, 4.0)}


@dataclass(frozen=True)
class Forecast:
    """What a step will take.

    Parameters
    ----------
    seconds : float
    busy : float
        Seconds of threads that are at work, added up.
    read, written : float
        Bytes between workers and files; NaN where that is not known.
    """

    seconds: float
    busy: float
    read: float
    written: float


def forecast(step: Step, room: Capacity, taken: Needs, rates: Rates, bandwidth: float | None = None) -> Forecast | None:
    """Return what a step will take, or None if the rehearsal could not tell.

    Parameters
    ----------
    step : Step
    room : Capacity
    taken : Needs
        What it takes of that room.
    rates : Rates
    bandwidth : float, optional
        Bytes a second that the store gives all workers together.
    """
    rate = rates.steps.get((step.specimen.name, kind_of(step)))
    if rate is None:
        return None
    voxels, slots = voxels_of(step.work), room.workers * room.threads
    busy = rate.voxel * voxels
    if taken.together:
        assert isinstance(step.work, Solve)
        busy *= TOGETHER[type(step.work.problem)][taken.scratch > 0]
    if step.in_driver:
        seconds = busy
    elif taken.together:
        seconds = busy / slots
    elif isinstance(step.work, Solve):  # one task, whose solver takes all threads of its worker
        seconds = busy / room.threads
    else:
        sizes = tuple(prod(t.phases.shape) for t in step.work.tasks) if isinstance(step.work, SideBySide) else None
        most = longest(sizes, slots) if sizes is not None else _of_grid(reads(step.work), slots)
        seconds = max(rate.voxel * most, rates.task * len(step.work.grid))
    read, written = rate.read * voxels, rate.written * voxels
    if bandwidth is not None and not step.in_driver and read + written > 0:
        seconds = max(seconds, (read + written) / bandwidth)
    return Forecast(rate.start + seconds, rate.start + busy, read, written)


def longest(sizes: Iterable[int], slots: int) -> int:
    """Return how much the busiest of some threads does, of tasks that the first free one takes in their order."""
    free = [0] * slots
    for size in sizes:
        heapq.heapreplace(free, free[0] + size)
    return max(free)


@lru_cache(maxsize=256)
def _of_grid(lengths: tuple[tuple[int, ...], ...], slots: int) -> int:
    return longest((prod(block) for block in product(*lengths)), slots)
