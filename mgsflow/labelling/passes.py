"""Running passes over blocks for arrays at hand, and where their parts lie meanwhile."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import zarr

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import MemoryParts, Parts, StoredParts, completed, current_client, indices
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import in_memory
from mgsflow.memory import cores

#: Runs a function on the indices of all blocks of a grid, in any order, and returns when all are done.
Each: TypeAlias = Callable[[Callable[[Triple], Triple], Grid], None]


def runner(client: Any, threads: int | None) -> Each:
    """Return what runs a pass: on a cluster, or on threads of this process.

    Parameters
    ----------
    client : distributed.Client or None
        Without one, arrays in this process stay here, even if some client is current.
    threads : int, optional
        Default, all cores.
    """

    def each(function: Callable[[Triple], Triple], over: Grid) -> None:
        workers = min(threads or cores(), len(over))
        deque(completed(function, indices(over), False if client is None else client, workers), maxlen=0)

    return each


def client_for(client: Any, *arrays: Any) -> Any:
    """Return the given client, else the current one, if a cluster reaches the arrays (None left out); else None."""
    if in_memory(*arrays):
        return None
    return client if client is not None else current_client()


def is_stored(out: Any) -> bool:
    """Tell whether a result goes to a zarr array in a folder."""
    return isinstance(out, zarr.Array) and isinstance(out.store, zarr.storage.LocalStore)


@contextmanager
def folder_beside(out: Any, needed: bool) -> Iterator[Path | None]:
    """Yield a folder beside a stored result, where workers find it, and remove it in the end; else None.

    Raises
    ------
    InputError
        If it is `needed`, and the result does not lie in a folder.
    """
    if not is_stored(out):
        if needed:
            raise InputError("a cluster needs an out array that lies in a folder, which all workers see")
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix=".mgsflow-", dir=Path(str(out.store.root)).parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parts_in(folder: Path | None) -> Parts:
    """Return a place for parts: in a folder, or in memory."""
    if folder is None:
        return MemoryParts()
    store = str(folder / "parts.zarr")
    zarr.create_group(store)
    return StoredParts(store, "")
