"""Threads that share the rows of a compiled kernel.

Kernels release the GIL and take the range of rows they work on, so that plain Python threads run them in parallel:
numba's threading layers are not involved, and a solver runs in a thread of a dask worker as in a script. Small jobs run
in the caller's thread, because waking another takes longer than the job.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import TracebackType
from typing import Any

from mgsflow.errors import InputError
from mgsflow.memory import cores

_RANGES = 4  # for each thread: faster threads take more of them

#: Rows of a graph that are worth a second thread: about 50 µs of work.
GRAIN = 16384


class Team:
    """Threads that take ranges of rows in turn.

    Parameters
    ----------
    threads : int
        Number of threads, the caller's included. With 1 none is started.

    Notes
    -----
    The distribution of rows over threads is random. Kernels store each row, or the partial sum of each group of rows,
    separately, so that results are the same to the bit with any number of threads.
    """

    def __init__(self, threads: int = 1) -> None:
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise InputError(f"threads must be a whole number from 1 up, got {threads!r}")
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def run(
        self, kernel: Callable[..., Any], start: int, stop: int, *arguments: Any, grain: int = GRAIN, align: int = 1
    ) -> None:
        """Call ``kernel(a, b, *arguments)`` for ranges that together cover ``start … stop``.

        Parameters
        ----------
        kernel : callable
            Must release the GIL to run in parallel.
        start, stop : int
        *arguments
            Further arguments of the kernel.
        grain : int
            Smallest number of rows that is worth a thread.
        align : int
            Ranges start at multiples of this, counted from `start`.
        """
        rows = stop - start
        if rows <= 0:
            return
        if self._pool is None or rows < 2 * grain:
            kernel(start, stop, *arguments)
            return
        ranges = min(self.threads * _RANGES, rows // grain)
        size = -(-rows // (ranges * align)) * align
        ranges = -(-rows // size)
        ticket = count()

        def work() -> None:
            while (i := next(ticket)) < ranges:
                kernel(start + i * size, min(start + (i + 1) * size, stop), *arguments)

        others = [self._pool.submit(work) for _ in range(min(self.threads, ranges) - 1)]
        try:
            work()
        finally:
            for other in others:
                other.result()


def default_threads() -> int:
    """Return the default number of threads of a solver: the cores of the machine, at most 8."""
    return max(1, min(8, cores()))
