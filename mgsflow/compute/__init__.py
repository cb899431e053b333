"""The blockwise engine: passes over volumes, and the threads or cluster that run them."""

from mgsflow.compute.blockwise import Output, Pass, Sink, Source, indices
from mgsflow.compute.cluster import connect, worker_io, worker_peaks
from mgsflow.compute.executor import Work, completed, current_client, task_threads
from mgsflow.compute.parts import MemoryParts, Parts, StoredParts
from mgsflow.compute.source import check_workers

__all__ = [
    "MemoryParts",
    "Output",
    "Parts",
    "Pass",
    "Sink",
    "Source",
    "StoredParts",
    "Work",
    "check_workers",
    "completed",
    "connect",
    "current_client",
    "indices",
    "task_threads",
    "worker_io",
    "worker_peaks",
]
