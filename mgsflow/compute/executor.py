"""Running many independent tasks: on a dask cluster where there is one, else on threads of this process.

One task a block, a bounded number of them handed out at a time, results taken as they come. A failed task stops the
rest at once; so does an interrupt.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from mgsflow.blocks import Grid, Triple
from mgsflow.compute.source import check_source, source_digest
from mgsflow.errors import ComputeError
from mgsflow.memory import cores

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Tasks handed to the scheduler ahead of the ones that run: enough to keep every thread fed.
AHEAD = 3

#: Restarts of a cluster in the midst of a step after which it is given up.
RESTARTS = 5


class Work(Protocol):
    """A task for every block of a grid: a `Pass`, or a class of its own. Cheap to pickle."""

    @property
    def grid(self) -> Grid:
        """The blocks; a single one where the task is about the whole."""
        ...

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when everything is stored; a second time does no harm."""
        ...

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        ...


def completed(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    client: Any = None,
    threads: int | None = None,
) -> Iterator[Result]:
    """Yield a function's results for all items, in the order in which they are ready.

    Parameters
    ----------
    function : callable
        Picklable, where a cluster is used; may run twice on an item if a worker is lost, so it must not mind.
    items : iterable
    client : distributed.Client or False, optional
        Default: the current client, if the caller has one; otherwise, and for False, threads of this process.
    threads : int, optional
        Number of threads where there is no client; default, the cores of this process.

    Raises
    ------
    MgsflowError
        As the function raised it.
    ComputeError
        If workers died on the same task again and again (most often for want of memory).
    """
    client = client if client is not None else current_client()
    if client is None or client is False:
        yield from _on_threads(function, items, threads or cores())
    else:
        yield from _on_cluster(function, items, client)


def current_client() -> Any:
    """Return the dask client that is current in the caller, or None."""
    distributed = sys.modules.get("distributed")
    if distributed is None:  # nobody can have made a client
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def task_threads() -> int:
    """Return how many threads a task may use that runs alone: those of its worker, or the cores of this process."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            return int(distributed.get_worker().state.nthreads)
        except ValueError:  # not in a task of a worker
            pass
    return cores()


def _on_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    queue = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="mgsflow") as pool:
        running: set[Future[Result]] = {pool.submit(function, item) for item in islice(queue, threads + AHEAD)}
        try:
            while running:
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    result = future.result()
                    running |= {pool.submit(function, item) for item in islice(queue, 1)}
                    yield result
        finally:  # an error, an interrupt or a caller that has enough: start nothing more
            for future in running:
                future.cancel()


def _on_cluster(function: Callable[[Item], Result], items: Iterable[Item], client: Any) -> Iterator[Result]:
    import distributed
    from dask.utils import funcname

    with reaching_scheduler():
        client.wait_for_workers(1, timeout=60)
        threads = sum(client.nthreads().values())
    queue = iter(items)
    ours, name = source_digest(), funcname(function)
    alive: dict[Any, Item] = {}
    ready = distributed.as_completed(loop=client.loop, raise_errors=False)
    cancelled = 0

    def begin(item: Item) -> None:
        with reaching_scheduler():
            future = client.submit(_checked, ours, function, item, key=f"{name}-{uuid4()}")
        alive[future] = item
        ready.add(future)

    try:
        for item in islice(queue, threads * (1 + AHEAD)):
            begin(item)
        while alive:
            future = next(ready)
            item = alive.pop(future)
            if future.status == "error":
                raise _translated(future.exception())
            if future.status == "cancelled":  # all of them are, where somebody restarts the cluster
                cancelled += 1
                if client.status != "running" or cancelled > RESTARTS * threads * (1 + AHEAD):
                    raise ComputeError(
                        "the scheduler is gone, or cancels tasks again and again: run again when the cluster is up, "
                        "finished blocks are kept"
                    )
                begin(item)
                continue
            try:
                with reaching_scheduler():
                    result = future.result()
            except Exception as error:  # it was done, and its worker is gone with what it returned
                raise _translated(error) from error
            future.release()
            for following in islice(queue, 1):
                begin(following)
            yield result
    finally:
        if alive and client.status == "running":
            client.cancel(list(alive), force=True)


def _checked(source: str, function: Callable[[Item], Result], item: Item) -> Result:
    """Do an item, on a worker that may have come while the run was on."""
    from mgsflow.compute.compile_apart import compile_apart_on_worker  # dask need not be there where threads do

    check_source(source)
    compile_apart_on_worker()
    return function(item)


@contextmanager
def reaching_scheduler() -> Iterator[None]:
    """Raise ComputeError where the scheduler is not reached; for calls that raise nothing of a task's own."""
    try:
        yield
    except (OSError, TimeoutError, CancelledError) as error:
        raise ComputeError(
            f"the scheduler or its workers cannot be reached ({error}): run again when the cluster is up, finished "
            "blocks are kept"
        ) from error


def _translated(error: BaseException) -> BaseException:
    import distributed

    if isinstance(error, distributed.KilledWorker):
        return ComputeError(
            "workers died again and again on the same block, most often for want of memory: give them more "
            "(--memory-limit), or use smaller blocks (block: in the study file)"
        )
    if isinstance(error, distributed.scheduler.NoWorkerError | distributed.scheduler.NoValidWorkerError):
        return ComputeError("no worker is left: run again when the cluster is up, finished blocks are kept")
    return error
