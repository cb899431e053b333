"""Finding or making a dask client, and closing only what was opened here."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mgsflow.compute.executor import current_client
from mgsflow.errors import ComputeError, InputError, InputNotFound
from mgsflow.memory import file_bytes, parse_bytes, peak_rss

#: Blocks are not kept on workers: there is nothing to spill, and the plan is the guard.
_MEMORY = {f"distributed.worker.memory.{k}": v for k, v in {"target": False, "spill": False, "pause": 0.93}.items()}

#: A nanny starts a lost worker anew; dask's local cluster takes it for lost if, 15 s after a loss, its worker is just
#: being started again after another. With none left, the run ends, not never.
_LOST = {"distributed.deploy.lost-worker-timeout": "1 d", "distributed.scheduler.no-workers-timeout": "300 s"}

#: Environment of a worker of one thread. Chunks, which are freed as fast as they come, stay in its heap, where dask has
#: the allocator give back all at once: each then costs the kernel fresh pages, a quarter of the time of a run. Blocks
#: are mapped by themselves, and given back. zarr's own threads only get in each other's way.
_ENVIRONMENT = {
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 4 << 20,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 64 << 20,
    "distributed.nanny.pre-spawn-environ.ZARR_THREADING__MAX_WORKERS": 1,
}


@contextmanager
def connect(
    scheduler: str | None = None,
    scheduler_file: str | Path | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
) -> Iterator[Any]:
    """Yield a dask client for the time of a ``with`` block, or None where threads of this process are to be used.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running scheduler, as ``tcp://host:8786``.
    scheduler_file : path, optional
        File that a running scheduler wrote.
    workers : int, optional
        Start this many worker processes of one thread each on this machine.
    memory_limit : str or int, optional
        Memory of each of those workers, as ``2GiB``.

    Raises
    ------
    InputError, InputNotFound
        If the arguments exclude each other, or the file is not there.
    ComputeError
        If the scheduler does not answer.
    """
    if sum(x is not None for x in (scheduler, scheduler_file, workers)) > 1:
        raise InputError("give one of --scheduler, --scheduler-file and --workers, not several")
    if memory_limit is not None and workers is None:
        raise InputError("--memory-limit is the memory of each local worker: give --workers too")
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}")
    if scheduler_file is not None and not Path(scheduler_file).is_file():
        raise InputNotFound(f"no scheduler file at {scheduler_file}: start dask scheduler --scheduler-file first")
    if scheduler is None and scheduler_file is None and workers is None:
        yield current_client()
        return

    import dask
    import distributed

    if workers is not None:
        limit = parse_bytes(memory_limit) if memory_limit is not None else "auto"
        with dask.config.set(_MEMORY | _LOST | _ENVIRONMENT), ExitStack() as opened:
            try:
                with _held_back():
                    cluster = distributed.LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        memory_limit=limit,
                        dashboard_address="127.0.0.1:0",
                        silence_logs=50,  # workers that are closed say that their scheduler is gone
                    )
                    opened.enter_context(cluster)
                    client = opened.enter_context(distributed.Client(cluster))
                yield client
            finally:
                with _held_back():
                    opened.close()
        return
    try:
        client = distributed.Client(
            address=scheduler,
            scheduler_file=str(scheduler_file) if scheduler_file else None,
            timeout=30,
            set_as_default=False,  # one that fails to connect would stay the default for good
        )
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        text = str(error)
        if "ssl_context" in text or "SSL" in text or "encrypt" in text.lower():
            text = (
                "it takes connections by TLS alone, with its own certificate: set "
                "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT and …__CLIENT__KEY to those of the run"
            )
        raise ComputeError(f"no dask scheduler answers at {scheduler or scheduler_file}: {text}") from error
    with client, client.as_current():
        yield client


@contextmanager
def _held_back() -> Iterator[None]:
    """Have an interrupt wait until a cluster is started or closed, unless it comes twice.

    Dask would leave workers behind, or wait 10 s for them when Python ends. Outside the main thread, which alone is
    interrupted, nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: h for n in (signal.SIGINT, signal.SIGTERM) if callable(h := signal.getsignal(n))}
    came: list[int] = []

    def hold(number: int, frame: Any) -> None:
        came.append(number)
        if len(came) > 1:
            before[signal.Signals(number)](number, frame)

    for number in before:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if len(came) == 1:
        signal.raise_signal(came[0])


def worker_peaks(client: Any) -> dict[str, int]:
    """Return the most memory that each worker process held since it started, in bytes, by address.

    Of those that can be reached: it is asked for when all is done, and is no reason to fail.
    """
    if client is None:
        return {"this process": peak_rss()}
    try:
        peaks: dict[str, int] = client.run(peak_rss, on_error="ignore")
    except (OSError, TimeoutError):
        return {}
    return peaks


def worker_io(client: Any) -> tuple[float, float]:
    """Return the bytes that all workers have read from files and written to them; NaN where no system says."""
    counts = client.run(file_bytes).values()
    return sum(read for read, _ in counts), sum(written for _, written in counts)
