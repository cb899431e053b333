"""Bulk-synchronous solves: one method on all blocks at a time, faces handed between neighbours, a driver of scalars.

The same block code runs in this process, on its threads, or on a cluster (`superstep_dask.DaskExecutor`), with the same
numbers: results come by block, and sums over them are taken in C order of the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.compute.supersteps.block_host import BlockHost, Call
from mgsflow.compute.supersteps.block_store import StoreCounts, open_store
from mgsflow.compute.supersteps.checkpoint import Checkpoint, CheckpointDamaged, Checkpoints
from mgsflow.compute.supersteps.subdomain import Factory, Topology
from mgsflow.errors import ComputeError
from mgsflow.memory import cores

Result = TypeVar("Result")


class WorkerLost(ComputeError):  # noqa: N818
    """Blocks are gone with a worker: place them again, and go on from the last checkpoint."""


class Executor(Protocol):
    """Runs supersteps on the blocks of a topology."""

    @property
    def blocks(self) -> tuple[Triple, ...]:
        """Positions of all blocks, in C order."""
        ...

    def place(self, factory: Factory) -> None:
        """Make all blocks, anew if there are some."""
        ...

    def step(
        self,
        method: str,
        *common: Any,
        each: Mapping[Triple, tuple[Any, ...]] | None = None,
        pull: str | None = None,
        publish: str | None = None,
    ) -> dict[Triple, Any]:
        """Call a method on every block, and return the results in C order of the blocks.

        Parameters
        ----------
        method : str
            Name of a method of the blocks; see `Subdomain`.
        *common : object
            Arguments for all blocks.
        each : mapping of block to tuple, optional
            Arguments of single blocks, after the common ones.
        pull, publish : str, optional
            Field of faces to hand to the blocks (as last published), and field under which to keep those that they
            return. A step may do both with one field.

        Raises
        ------
        WorkerLost
            If a worker ended or fell silent.
        """
        ...

    def checkpoint(self, checkpoints: Checkpoints, header: Mapping[str, Any]) -> Checkpoint:
        """Write what all blocks save, and the driver's header."""
        ...

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint in blocks that were just placed."""
        ...

    def counts(self) -> list[StoreCounts]:
        """Return the bytes of each process's store."""
        ...

    def close(self) -> None:
        """Drop the blocks."""
        ...


class Versions:
    """The version of each field's faces, as the driver of the supersteps counts them."""

    def __init__(self) -> None:
        self._latest: dict[str, int] = {}

    def call(
        self,
        method: str,
        common: tuple[Any, ...],
        each: Mapping[Triple, tuple[Any, ...]] | None,
        pull: str | None,
        publish: str | None,
    ) -> Call:
        """Return the call of a superstep, and count up what it publishes."""
        if pull is not None and pull not in self._latest:
            raise ComputeError(f"faces {pull!r} were never published")
        pulled = None if pull is None else (pull, self._latest[pull])
        published = None
        if publish is not None:
            self._latest[publish] = self._latest.get(publish, 0) + 1
            published = (publish, self._latest[publish])
        return Call(method, common, {} if each is None else each, pulled, published)


class ThreadExecutor:
    """Supersteps on threads of this process.

    Parameters
    ----------
    topology : Topology
    threads : int, optional
        Blocks that are worked on at once; default, the cores of this process.
    budget : int, optional
        Most bytes of block arrays in memory; the others are in scratch. Default, all in memory.
    directory : path, optional
        Where scratch is.
    """

    def __init__(
        self,
        topology: Topology,
        threads: int | None = None,
        budget: int | None = None,
        directory: str | Path | None = None,
    ) -> None:
        self._topology = topology
        self._threads = cores() if threads is None else threads
        self._budget, self._directory = budget, directory
        self._host: BlockHost | None = None
        self._versions = Versions()

    @property
    def blocks(self) -> tuple[Triple, ...]:
        """Positions of all blocks, in C order."""
        return self._topology.blocks

    def place(self, factory: Factory) -> None:
        """Make all blocks, anew if there are some."""
        self.close()
        self._versions = Versions()
        self._host = BlockHost(self._topology, open_store(self._budget, self._directory), self._threads)
        self._host.make(factory, self.blocks)

    def step(
        self,
        method: str,
        *common: Any,
        each: Mapping[Triple, tuple[Any, ...]] | None = None,
        pull: str | None = None,
        publish: str | None = None,
    ) -> dict[Triple, Any]:
        """Call a method on every block; see `Executor.step`."""
        results = self._placed.step(self._versions.call(method, common, each, pull, publish), {})
        return {index: results[index] for index in self.blocks}

    def checkpoint(self, checkpoints: Checkpoints, header: Mapping[str, Any]) -> Checkpoint:
        """Write what all blocks save, and the driver's header."""
        folder = checkpoints.begin()
        return checkpoints.commit(folder, self._placed.save(folder), header)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint in blocks that were just placed."""
        self._placed.load(checkpoint.folder)

    def counts(self) -> list[StoreCounts]:
        """Return the bytes of the store."""
        return [self._placed.store.counts()]

    def close(self) -> None:
        """Drop the blocks."""
        if self._host is not None:
            self._host.close()
            self._host = None

    @property
    def _placed(self) -> BlockHost:
        if self._host is None:
            raise ComputeError("no blocks: place them first")
        return self._host


class SerialExecutor(ThreadExecutor):
    """Supersteps in the calling thread, one block after the other.

    Parameters
    ----------
    topology : Topology
    budget, directory : optional
        As of `ThreadExecutor`.
    """

    def __init__(self, topology: Topology, budget: int | None = None, directory: str | Path | None = None) -> None:
        super().__init__(topology, 1, budget, directory)


def sum_blocks(results: Mapping[Triple, Any]) -> Any:
    """Return the sum of all blocks' results (scalars or arrays) in float64, added in C order of the blocks.

    The order makes the sum the same, to the bit, however the blocks are spread over processes.
    """
    total: Any = 0.0
    for index in sorted(results):
        total = total + np.asarray(results[index], np.float64)
    return total


def run_to_end(
    executor: Executor,
    factory: Factory,
    body: Callable[[Checkpoint | None], Result],
    checkpoints: Checkpoints | None = None,
    losses: int = 10,
) -> Result:
    """Place the blocks and run a solve on them; after a loss of workers, again from the last checkpoint.

    Parameters
    ----------
    executor : Executor
    factory : Factory
    body : callable
        The solve: is called with the checkpoint that the blocks were restored from, or with None at the beginning,
        and returns when it has ended.
    checkpoints : Checkpoints, optional
        Without, a loss means beginning again.
    losses : int
        How many losses are put up with in all.

    Returns
    -------
    object
        What `body` returned.

    Raises
    ------
    ComputeError
        After too many losses, naming the last.
    """
    lost = 0
    while True:
        try:
            executor.place(factory)
            return body(_restored(executor, factory, checkpoints))
        except WorkerLost as error:
            lost += 1
            if lost > losses:
                raise ComputeError(
                    f"workers were lost {lost} times in one solve, the last time so: {error}. If they end for want of "
                    "memory, give them more (--memory-limit), or use more of them"
                ) from error


def _restored(executor: Executor, factory: Factory, checkpoints: Checkpoints | None) -> Checkpoint | None:
    for checkpoint in checkpoints.found() if checkpoints is not None else []:
        try:
            executor.restore(checkpoint)
        except CheckpointDamaged:
            executor.place(factory)  # some blocks may have taken it up
        else:
            return checkpoint
    return None
