"""Supersteps on a dask cluster: one short task a worker and step, pinned to it; faces go from worker to worker.

The scheduler sees as many tasks a step as there are workers, and forgets each before the next: no graph grows, and
none is replayed. What dask does about a lost worker (run its tasks elsewhere) cannot help where state is lost, so the
driver watches the workers itself while it waits, and says `WorkerLost`.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dask
import distributed

from mgsflow.blocks import Triple
from mgsflow.compute.source import source_digest
from mgsflow.compute.supersteps.block_host import StaleFaces
from mgsflow.compute.supersteps.block_server import (
    PeerLost,
    Placement,
    StaleEpoch,
    count_blocks,
    drop_blocks,
    load_blocks,
    make_blocks,
    save_blocks,
    step_blocks,
)
from mgsflow.compute.supersteps.block_store import StoreCounts
from mgsflow.compute.supersteps.checkpoint import Checkpoint, Checkpoints
from mgsflow.compute.supersteps.executor import Versions, WorkerLost
from mgsflow.compute.supersteps.subdomain import Factory, Topology
from mgsflow.errors import ComputeError

#: Seconds between two looks at the workers while a step runs.
POLL = 0.5

#: Errors of a task that mean: a worker is gone, or was.
_LOSSES = (PeerLost, StaleEpoch, StaleFaces)


class DaskExecutor:
    """Supersteps on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
    topology : Topology
    budget : int, optional
        Most bytes of block arrays in the memory of each worker; the others are in its scratch. Default, all in memory.
    directory : path, optional
        Where workers put scratch; default, their local directory.
    silence : float
        Seconds without a sign of life after which a worker is given up. Workers send one every half second (every few
        seconds in large clusters), also while they compute.
    deadline : float
        Seconds that any step may take at most.
    joining : float
        Seconds to wait for a worker where there is none to place blocks on.
    settle : float
        Seconds to wait after a loss for as many workers as there were before: most are started anew.
    lease : float
        Seconds without a call after which workers drop their blocks, because the driver must be gone.

    Notes
    -----
    Every wait ends: for a step's tasks by `silence` or `deadline`, for faces by `silence`, for workers to place blocks
    on by `joining`, for an answer of the scheduler by `silence`.
    """

    def __init__(
        self,
        client: distributed.Client,
        topology: Topology,
        budget: int | None = None,
        directory: str | Path | None = None,
        silence: float = 30.0,
        deadline: float = 3600.0,
        joining: float = 120.0,
        settle: float = 10.0,
        lease: float = 900.0,
    ) -> None:
        self._client = client
        self._topology = topology
        self._budget = budget
        self._directory = None if directory is None else str(directory)
        self._silence, self._deadline, self._lease = silence, deadline, lease
        self._joining, self._settle = joining, settle
        self._run = f"mgsflow-{uuid.uuid4().hex[:12]}"
        self._epoch = self._count = 0
        self._versions = Versions()
        self._placed: dict[str, list[Triple]] = {}
        self._used: set[str] = set()
        self._given_up: set[str] = set()
        #: by worker, its last sign of life in the scheduler's time, and when that came in ours
        self._seen: dict[str, tuple[float, float]] = {}

    @property
    def blocks(self) -> tuple[Triple, ...]:
        """Positions of all blocks, in C order."""
        return self._topology.blocks

    @property
    def workers(self) -> list[str]:
        """Addresses of the workers that hold blocks."""
        return list(self._placed)

    def place(self, factory: Factory) -> None:
        """Make all blocks, anew if there are some, on all workers there are now."""
        before = len(self._placed)
        self._epoch += 1
        self._versions = Versions()
        self._placed = {}
        shares = self._shares(self._available(before))
        self._used |= set(shares)
        owners = {index: worker for worker, indices in shares.items() for index in indices}
        # a peer that stands still must be named by the driver's watch, not by whoever waits for it
        placement = Placement(self._run, self._epoch, owners, self._lease, 2 * self._silence, source_digest())
        self._on_workers(
            make_blocks,
            {
                worker: (placement, self._topology, factory, indices, self._budget, self._directory)
                for worker, indices in shares.items()
            },
        )
        self._placed = shares

    def step(
        self,
        method: str,
        *common: Any,
        each: Mapping[Triple, tuple[Any, ...]] | None = None,
        pull: str | None = None,
        publish: str | None = None,
    ) -> dict[Triple, Any]:
        """Call a method on every block; see `Executor.step`."""
        call = self._versions.call(method, common, None, pull, publish)
        arguments = {}
        for worker, indices in self._where().items():
            own = {} if each is None else {index: each[index] for index in indices if index in each}
            arguments[worker] = (
                self._run,
                self._epoch,
                type(call)(call.method, call.common, own, call.pull, call.publish),
            )
        results: dict[Triple, Any] = {}
        for part in self._on_workers(step_blocks, arguments).values():
            results |= part
        return {index: results[index] for index in self.blocks}

    def checkpoint(self, checkpoints: Checkpoints, header: Mapping[str, Any]) -> Checkpoint:
        """Write what all blocks save, and the driver's header."""
        folder = checkpoints.begin()
        files: dict[str, int] = {}
        for part in self._everywhere(save_blocks, str(folder)).values():
            files |= part
        return checkpoints.commit(folder, files, header)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint in blocks that were just placed."""
        self._everywhere(load_blocks, str(checkpoint.folder))

    def counts(self) -> list[StoreCounts]:
        """Return the bytes of each worker's store."""
        return list(self._everywhere(count_blocks).values())

    def close(self) -> None:
        """Drop the blocks where workers can be reached; the others drop them when the lease is over."""
        used, self._used, self._placed = self._used, set(), {}
        with contextlib.suppress(ComputeError):
            alive = self._alive()
            self._on_workers(drop_blocks, {worker: (self._run,) for worker in sorted(used) if worker in alive})

    def __enter__(self) -> DaskExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _where(self) -> dict[str, list[Triple]]:
        if not self._placed:
            raise ComputeError("no blocks: place them first")
        return self._placed

    def _everywhere(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        return self._on_workers(function, {w: (self._run, self._epoch, *arguments) for w in self._where()})

    def _shares(self, workers: dict[str, int]) -> dict[str, list[Triple]]:
        """Return each worker's blocks: neighbours in C order, as many as its share of all threads."""
        threads = sum(workers.values())
        shares: dict[str, list[Triple]] = {}
        first = before = 0
        for worker in sorted(workers):
            before += workers[worker]
            last = round(len(self.blocks) * before / threads)
            if last > first:
                shares[worker] = list(self.blocks[first:last])
            first = last
        return shares

    def _on_workers(self, function: Callable[..., Any], arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
        """Run a function on workers, each with its arguments, and return the results by worker."""
        if not arguments:
            return {}
        self._count += 1
        # what goes out is small by design, but faces of a coarse problem may pass dask's 10 MB
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GiB"}):
            futures = {
                worker: self._client.submit(
                    function,
                    *values,
                    key=f"{function.__name__}-{self._run}-{self._epoch}-{self._count}-{i}",
                    workers=[worker],
                    allow_other_workers=False,
                    pure=False,
                    retries=0,
                )
                for i, (worker, values) in enumerate(arguments.items())
            }
        try:
            self._wait(futures)
            return self._ask(self._client.gather, futures, asynchronous=True)
        finally:
            left = [future for future in futures.values() if not future.done()]
            if left and self._client.status == "running":
                with contextlib.suppress(WorkerLost):
                    self._ask(self._client.cancel, left, asynchronous=True, force=True)

    def _wait(self, futures: Mapping[str, distributed.Future]) -> None:
        """Return when all tasks have ended well; raise what they raised, or `WorkerLost`."""
        began = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError), self._client.as_current():
                distributed.wait(list(futures.values()), timeout=POLL)
            failed = [future for future in futures.values() if future.status in ("error", "cancelled", "lost")]
            if not failed and all(future.status == "finished" for future in futures.values()):
                return
            self._check_alive(set(futures))
            for future in failed:
                self._raise(future)
            if time.monotonic() - began > self._deadline:
                slow = [worker for worker, future in futures.items() if not future.done()]
                for worker in slow:
                    self._give_up(worker)
                raise WorkerLost(f"{', '.join(slow)} did not end a step within {self._deadline:g} s")

    def _raise(self, future: distributed.Future) -> None:
        if future.status != "error":
            raise WorkerLost("the cluster cancelled a step: its scheduler lost the worker or was restarted")
        error = future.exception(timeout=self._silence)
        if isinstance(error, (*_LOSSES, distributed.KilledWorker, distributed.scheduler.NoValidWorkerError)):
            # the cause may not have come to light yet: a dead worker leaves the scheduler's list a moment later
            raise WorkerLost(str(error)) from error
        assert error is not None
        raise error

    def _check_alive(self, workers: set[str]) -> None:
        alive = self._alive()
        gone = sorted(workers - set(alive))
        if gone:
            raise WorkerLost(f"{', '.join(gone)} left the cluster")
        now = time.monotonic()
        silent = sorted(w for w in workers if now - self._seen[w][1] > self._silence)
        for worker in silent:
            self._give_up(worker)
        if silent:
            raise WorkerLost(f"no sign of life from {', '.join(silent)} for {self._silence:g} s")

    def _alive(self) -> dict[str, int]:
        """Return the threads of each worker that the scheduler knows and that was not given up."""
        now = time.monotonic()
        alive = {}
        for worker, state in self._ask(self._client.scheduler.identity, n_workers=-1)["workers"].items():
            if worker in self._given_up:
                continue
            alive[worker] = state["nthreads"]
            # clocks of machines differ: only whether the scheduler's note has changed counts
            if self._seen.get(worker, (None, 0.0))[0] != state["last_seen"]:
                self._seen[worker] = state["last_seen"], now
        self._seen = {worker: seen for worker, seen in self._seen.items() if worker in alive}
        return alive

    def _available(self, before: int) -> dict[str, int]:
        """Return the workers that can take blocks, waiting a while for the first, and for as many as before."""
        began = time.monotonic()
        while True:
            workers = self._alive()
            waited = time.monotonic() - began
            if len(workers) >= max(1, before) or (workers and waited > self._settle):
                return workers
            if waited > self._joining:
                raise ComputeError(
                    f"the cluster at {self._client.scheduler.address} has had no worker for {self._joining:g} s: "
                    "start some"
                )
            time.sleep(POLL)

    def _give_up(self, worker: str) -> None:
        """Use a worker never again, and tell the scheduler: when it wakes up it is to close, and be started anew."""
        self._given_up.add(worker)
        with contextlib.suppress(WorkerLost):
            self._ask(self._client.scheduler.unregister, address=worker, stimulus_id=f"{self._run}-silent")

    def _ask(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Return the answer of the scheduler, or of a worker through it."""
        try:
            return distributed.utils.sync(
                self._client.loop, function, *arguments, callback_timeout=self._silence, **named
            )
        except (TimeoutError, OSError) as error:
            raise WorkerLost(f"the scheduler did not answer: {error!r}") from error
