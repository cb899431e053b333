"""Memory that a call allocates in Python, whatever other threads do meanwhile."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any


def traced_peak(call: Callable[[], Any], times: int = 5) -> int:
    """Return the least peak of several calls: a cluster's event loop in this process can only add to one."""
    peaks = []
    for _ in range(times):
        tracemalloc.start()
        try:
            call()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)
