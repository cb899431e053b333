"""What there is to work with, and whether a step fits in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mgsflow.blocks import Grid
from mgsflow.compute import Pass, Work
from mgsflow.compute.executor import reaching_scheduler
from mgsflow.errors import DoesNotFit
from mgsflow.memory import HOLES, MIB, USABLE, WORKER_BASE, available, cores, format_bytes, peak_rss
from mgsflow.pipeline.step import Step


@dataclass(frozen=True)
class Capacity:
    """Workers of a cluster, or this process.

    Parameters
    ----------
    workers : int
        Number of processes.
    threads : int
        Tasks that each runs at a time.
    memory : int
        Bytes that each may use.
    base : int
        Bytes that each holds before its first block.
    in_driver : bool
        Whether it is this process, which also drives what all workers do together.
    """

    workers: int
    threads: int
    memory: int
    base: int = WORKER_BASE
    in_driver: bool = False

    @property
    def usable(self) -> int:
        """Bytes of a worker that a plan may fill."""
        return int(USABLE * self.memory)


@dataclass(frozen=True)
class Needs:
    """What a step takes.

    Parameters
    ----------
    peak : int
        Bytes of a worker at its most.
    scratch : int
        Bytes of all workers' scratch files, which are gone with the step.
    together : bool
        Whether all workers do it together, each some of its blocks, because it has no room on one.
    """

    peak: int
    scratch: int = 0
    together: bool = False


def capacity(client: Any = None, threads: int | None = None) -> Capacity:
    """Return what a client's workers have, each taken as the weakest; without a client, this process and machine."""
    if client is None:
        # this process has more loaded than a worker, and may have to compile kernels
        return Capacity(1, threads or cores(), available(), peak_rss() + 160 * MIB, in_driver=True)
    workers = list(client.scheduler_info(n_workers=-1)["workers"].values())
    if not workers:  # they may still be on their way: judged when they are there
        with reaching_scheduler():
            client.wait_for_workers(1, timeout=60)
        workers = list(client.scheduler_info(n_workers=-1)["workers"].values())
    limits = [w["memory_limit"] or available() for w in workers]
    return Capacity(len(workers), max(w["nthreads"] for w in workers), min(limits))


def peak(work: Work, room: Capacity) -> int:
    """Return the planned peak of a worker in bytes: its base, and a block for each thread."""
    return room.base + int(min(room.threads, len(work.grid)) * work.memory() * (1 + HOLES))


def capacity_for(step: Step, room: Capacity) -> Capacity:
    """Return what there is for a step: that of a worker, or of this process if the step is done here."""
    return capacity(threads=1) if step.in_driver else room


def needs(step: Step, room: Capacity) -> Needs:
    """Return what a step takes: on one worker, or on all of them if its work can be shared and does not fit there.

    Raises
    ------
    DoesNotFit
        If not even a share of it fits.
    """
    alone = peak(step.work, capacity_for(step, room))
    share = getattr(step.work, "share", None)
    if step.in_driver or share is None or alone <= room.usable:
        return Needs(alone)
    try:
        shared: Needs | None = share(room)
    except DoesNotFit as error:
        raise DoesNotFit(f"step {step.name} of {step.label}: {error}") from None
    return Needs(alone) if shared is None else shared


def check_fits(step: Step, room: Capacity) -> int:
    """Return the planned peak of a step on a worker.

    Raises
    ------
    DoesNotFit
        If it is more than a worker may use; the message says what would fit.
    """
    found = needs(step, room)
    needed, room = found.peak, capacity_for(step, room)
    if found.together or needed <= room.usable:
        return needed
    if step.in_driver:
        raise DoesNotFit(
            f"step {step.name} of {step.label} needs {format_bytes(needed)} in the process that runs the study, and "
            f"{format_bytes(room.usable)} can be used: run it on a machine with more memory, or raise min_voxels or "
            "the smoothing of the filters, so that there are fewer particles"
        )
    raise DoesNotFit(
        f"step {step.name} of {step.label} needs {format_bytes(needed)} a worker, and {format_bytes(room.usable)} of "
        f"{format_bytes(room.memory)} can be used. {remedy(step.work, room)}"
    )


def check_base(room: Capacity) -> None:
    """Refuse workers that have no room for a block, before any task is sent to them.

    Raises
    ------
    DoesNotFit
    """
    if room.base > room.usable:
        whole = int(room.base / USABLE / (64 * MIB) + 2) * 64
        raise DoesNotFit(
            f"a worker holds {format_bytes(room.base)} before its first block, and {format_bytes(room.usable)} of "
            f"{format_bytes(room.memory)} can be used. What fits: workers of {format_bytes(whole * MIB)} "
            "(--memory-limit) or more."
        )


def remedy(work: Work, room: Capacity) -> str:
    """Return what would make a pass fit."""
    whole = int(peak(work, room) / USABLE / (64 * MIB) + 1) * 64
    ways = [f"workers of {format_bytes(whole * MIB)} (--memory-limit)"]
    if room.threads > 1 and peak(work, replace(room, threads=1)) <= room.usable:
        ways.append("one thread a worker")
    for edge in (192, 128, 96, 64, 48, 32):
        if not isinstance(work, Pass):
            break
        smaller = replace(work, grid=Grid.regular(work.grid.shape, edge))
        if edge < max(work.grid.largest) and peak(smaller, room) <= room.usable:
            ways.append(f"`block: {edge}` in the study file (for a new store)")
            break
    return "What fits: " + ", or ".join(ways) + "."
