"""The source that a process runs: workers must run that of the client.

A run records by which code its results were made: its own. An image or an environment of workers that was left behind
would compute by other code unseen, and its blocks would be kept as finished. Which part of the source a single result
depends on is another question: see `mgsflow.pipeline.code`.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from mgsflow.errors import ComputeError


@cache
def source_digest() -> str:
    """Return a digest of this package's source as it is installed here."""
    root = Path(__file__).parents[1]
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda p: p.relative_to(root).parts):
        total.update(f"{path.relative_to(root).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def check_source(expected: str) -> None:
    """Raise unless this process, a worker, runs the source of that digest.

    Raises
    ------
    ComputeError
    """
    if source_digest() != expected:
        raise ComputeError(_other("a worker"))


def check_workers(client: Any) -> None:
    """Raise unless all workers that are there now run the source of this process; `check_source` is for later ones.

    Raises
    ------
    ComputeError
    """
    if client is None:
        return
    ours = source_digest()
    try:
        answers: dict[str, Any] = client.run(source_digest, on_error="return")
    except (OSError, TimeoutError):  # whoever works with them next says it
        return
    for worker, found in answers.items():
        if isinstance(found, OSError | TimeoutError):  # a worker that is lost now is started anew
            continue
        if isinstance(found, Exception):
            raise ComputeError(_other(f"worker {worker}", f"does not have this mgsflow ({found})"))
        if found != ours:
            raise ComputeError(_other(f"worker {worker}"))


def _other(who: str, has: str = "runs another mgsflow than this process") -> str:
    return f"{who} {has}: start workers from the same environment or image, and run again; finished blocks are kept"
