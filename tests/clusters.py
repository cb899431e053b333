"""Dask clusters of worker processes on this machine, as the tests use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def cluster(workers: int = 2, **options: Any) -> Iterator[Any]:
    """Return a client of worker processes of one thread, not as the current client: threads stay the default.

    Parameters
    ----------
    workers : int
        Processes at the start.
    **options
        Of `distributed.LocalCluster`, in place of those used here.
    """
    import dask
    import distributed

    given: dict[str, Any] = {
        "threads_per_worker": 1,
        "memory_limit": None,
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": 60,
    }
    with (
        dask.config.set({"distributed.scheduler.no-workers-timeout": 60}),
        distributed.LocalCluster(n_workers=workers, **given | options) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client
