"""Where a solve in blocks runs, and whether it fits in the memory there: the same for diffusion and for Stokes flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from mgsflow.blocks import Triple
from mgsflow.compute.supersteps.executor import Executor, ThreadExecutor
from mgsflow.compute.supersteps.subdomain import FaceNeighbours
from mgsflow.errors import DoesNotFit
from mgsflow.memory import USABLE, available, cores, format_bytes

Blocks = TypeVar("Blocks")


@dataclass(frozen=True)
class Resources:
    """Processes that solve in blocks: the workers of a cluster, or this process alone.

    Attributes
    ----------
    workers : int
        Number of processes.
    threads : int
        Threads of each.
    memory : int or None
        Bytes that each may use; None where there is no limit.
    local : bool
        Whether it is this process, which then also holds the coarse level.
    """

    workers: int
    threads: int
    memory: int | None
    local: bool

    @classmethod
    def of(cls, client: Any, memory: int | None, threads: int | None) -> Resources:
        """Return the workers of a client, each taken as the weakest, or this process where there is no client."""
        if client is None:
            memory = available() if memory is None else memory
            return cls(1, cores() if threads is None else threads, memory, local=True)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        limits = [w["memory_limit"] for w in workers if w["memory_limit"]]
        threads = max((w["nthreads"] for w in workers), default=1)
        return cls(max(1, len(workers)), threads, min(limits, default=None) if memory is None else memory, local=False)


def start_executor(
    client: Any, resources: Resources, blocks: Triple, budget: int | None, scratch: str | Path | None
) -> Executor:
    """Return what runs the supersteps of face neighbours: a client's workers, or threads of this process.

    Parameters
    ----------
    client : distributed.Client or None
    resources : Resources
    blocks : tuple of int
        Number of blocks along (z, y, x).
    budget : int or None
        See `BlockPlan`.
    scratch : path, optional
        Folder of the scratch files.
    """
    neighbours = FaceNeighbours(blocks)
    if client is None:
        return ThreadExecutor(neighbours, resources.threads, budget, scratch)
    from mgsflow.compute.supersteps.dask_executor import DaskExecutor  # dask takes a second to load

    return DaskExecutor(client, neighbours, budget, scratch)


@dataclass(frozen=True)
class BlockPlan:
    """Bytes of a solve in blocks.

    Attributes
    ----------
    budget : int or None
        Most bytes of block arrays in a worker's memory, for a `DiskStore`; None if all are in memory.
    worker : int
        Most bytes of a worker process.
    scratch : int
        Most bytes of all workers' scratch files together.
    driver : int
        Most bytes of the driver beside its base.
    """

    budget: int | None
    worker: int
    scratch: int
    driver: int


def plan_memory(
    memory: int | None,
    fixed: int,
    block: int,
    blocks: int,
    threads: int,
    total: int,
    driver: int,
    problem: str,
    hint: str,
) -> BlockPlan:
    """Return a plan from the bytes of its parts.

    Parameters
    ----------
    memory : int or None
        Bytes that a worker may take: what does not fit goes to scratch. None keeps all in memory.
    fixed : int
        Bytes of a worker beside block arrays.
    block : int
        Bytes of the arrays of the largest block.
    blocks, threads : int
        Blocks of a worker, and its threads: each holds the block that it works on.
    total : int
        Bytes of all block arrays.
    driver : int
    problem, hint : str
        For the error: what is solved, in which blocks; and what else would make it fit.

    Raises
    ------
    DoesNotFit
        If not even a block for each thread fits.
    """
    if memory is None:
        return BlockPlan(None, fixed + min(total, blocks * block), 0, driver)
    budget = int(USABLE * memory) - fixed
    if budget < threads * block:
        need = int((fixed + threads * block) / USABLE) + 1
        raise DoesNotFit(
            f"{problem} needs {format_bytes(need)} a worker, but each has {format_bytes(memory)}: give them more "
            f"(--memory-limit), or {hint}"
        )
    return BlockPlan(budget, fixed + budget, total, driver)


def plan_with_driver(
    resources: Resources,
    driver: int,
    problem: str,
    choose: Callable[[int | None], Blocks],
    plan: Callable[[Blocks, int | None], BlockPlan],
) -> tuple[Blocks, BlockPlan]:
    """Return the blocks of a solve and its plan: with scratch only where not all fits in memory.

    Parameters
    ----------
    resources : Resources
    driver : int
        Bytes of the coarse level in the process that starts the solve; a local one needs them of its own memory.
    problem : str
        For the error: what is solved, and what the driver holds of it.
    choose : callable
        Returns the blocks for workers of so many bytes.
    plan : callable
        Returns the plan for blocks, and for workers of so many bytes.

    Raises
    ------
    DoesNotFit
        If not even a single block fits, or what the driver holds does not.
    """
    memory = resources.memory
    limit = memory if resources.local and memory is not None else available()
    if driver > USABLE * limit:
        raise DoesNotFit(
            f"{problem} needs {format_bytes(driver)} in the process that starts it, which has {format_bytes(limit)}: "
            "start it on a machine with more memory"
        )
    if resources.local and memory is not None:
        memory -= driver
    blocks = choose(memory)
    found = plan(blocks, None)
    if memory is not None and found.worker > USABLE * memory:
        found = plan(blocks, memory)
    return blocks, replace(found, worker=found.worker + driver) if resources.local else found
