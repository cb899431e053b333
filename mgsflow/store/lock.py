"""One run at a time on a store: two would spoil each other's ledger.

On a file system the lock is the kernel's, and goes with its process. In object storage it is a small object beside the
store that its holder writes anew every few seconds; one that has not been renewed for longer was left by a run that was
killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from mgsflow.errors import MgsflowError, StoreError
from mgsflow.store.remote import RemoteStore, remote_url

#: Seconds between two renewals, and after which a lock is taken for left behind.
RENEWED, LEFT = 10.0, 60.0


@contextmanager
def locked(store: Path) -> Iterator[Callable[[], None]]:
    """Hold a store for one run, and yield what raises StoreError once another has taken it.

    Raises
    ------
    StoreError
        If another run holds it, or the lock cannot be written.
    """
    url = remote_url(store)
    with _file_lock(store) if url is None else _object_lock(url) as check:
        yield check


@contextmanager
def _file_lock(store: Path) -> Iterator[Callable[[], None]]:
    lock = store.parent / f".{store.name}.lock"
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a+")
    except OSError as error:
        raise StoreError(
            f"{store.parent} cannot be written ({error.strerror}): choose another place for the store"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise StoreError(f"another run (process {holder}) is at work on {store}: wait for it, or stop it") from None
        if not lock.exists() or not os.path.samestat(lock.stat(), os.fstat(file.fileno())):
            # the holder removed it between our opening and our locking: a third run may have made a new one
            raise StoreError(f"another run on {store} has just ended: run again")
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield lambda: None  # the kernel gives it to nobody else
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def _object_lock(url: str) -> Iterator[Callable[[], None]]:
    folder, _, name = url.rpartition("/")
    if folder in ("s3:/", "s3:"):
        raise StoreError(f"{url} is a whole bucket: name a store in it, as {url}/study.zarr")
    lock = _Lease(RemoteStore(folder), f".{name}.lock", url)
    lock.take()
    keeper = threading.Thread(target=lock.keep, name="mgsflow-lock", daemon=True)
    keeper.start()
    try:
        yield lock.check
    finally:
        lock.end.set()
        keeper.join(timeout=RENEWED)
        lock.release()


class _Lease:
    """The lock object, and what its holder knows of it."""

    def __init__(self, place: RemoteStore, key: str, url: str) -> None:
        self.place, self.key, self.url = place, key, url
        self.end, self.lost = threading.Event(), False
        self.own = {
            "token": uuid.uuid4().hex,
            "host": platform.node(),
            "process": os.getpid(),
            "began": psutil.Process().create_time(),
        }

    def take(self) -> None:
        holder = self._holder()
        if holder is not None:
            if not _left(holder):
                raise StoreError(
                    f"another run (process {holder.get('process')} on {holder.get('host')}) is at work on {self.url}: "
                    f"wait for it, or stop it; {LEFT:.0f} s after it was killed its lock counts no more"
                )
            self.place.remove(self.key)
        self._write(new=True)
        if (self._holder() or {}).get("token") != self.own["token"]:
            raise StoreError(f"another run on {self.url} has just begun: wait for it, or stop it")

    def keep(self) -> None:
        while not self.end.wait(RENEWED):
            try:
                if (self._holder() or {}).get("token") != self.own["token"]:
                    self.lost = True
                    return
                self._write()
            except MgsflowError:
                continue  # the server is away: the run itself will tell, if it stays so

    def check(self) -> None:
        if self.lost:
            raise StoreError(
                f"another run has taken {self.url}, as this one had not been heard of for {LEFT:.0f} s: this one stops"
            )

    def release(self) -> None:
        try:
            if not self.lost and (self._holder() or {}).get("token") == self.own["token"]:
                self.place.remove(self.key)
        except MgsflowError:
            return  # it counts no more after a while

    def _write(self, new: bool = False) -> None:
        self.place.save(self.key, json.dumps(self.own | {"renewed": time.time()}).encode(), new)

    def _holder(self) -> dict[str, object] | None:
        content = self.place.load(self.key)
        if content is None:
            return None
        try:
            found = json.loads(content)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _left(holder: dict[str, object]) -> bool:
    """Tell whether a lock was left behind: not renewed in time, or by a process of this machine that is no more."""
    renewed = holder.get("renewed")
    if not isinstance(renewed, int | float) or time.time() - renewed > LEFT:
        return True
    process = holder.get("process")
    if holder.get("host") != platform.node() or not isinstance(process, int):
        return False
    try:
        return bool(psutil.Process(process).create_time() != holder.get("began"))
    except psutil.Error:
        return True
