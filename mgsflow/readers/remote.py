"""Scans in object storage: a path whose files are objects, read by ranges of bytes."""

from __future__ import annotations

import fnmatch
import io
import os
import stat
from collections.abc import Generator
from pathlib import Path, PosixPath
from typing import Any

from mgsflow.errors import InputError, InputNotFound
from mgsflow.store.remote import RemoteStore, remote_url

#: Bytes that are fetched for a shorter read: headers are read in pieces of a few bytes.
_LEAST = 1 << 16


def local_or_remote(path: str | Path) -> Path:
    """Return a path as it is to be read: a `RemotePath` for ``s3://bucket/key``."""
    url = remote_url(path)
    if url is None:
        return Path(path).expanduser()
    return RemotePath(f"s3:/{url.removeprefix('s3://')}")


class RemotePath(PosixPath):
    """``s3://bucket/key`` as a path: what readers ask of a path is asked of the object store.

    A folder is a key that others start with. What is not there raises FileNotFoundError, as a file would.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return remote_url(super().__str__()) or super().__str__()

    @property
    def _bucket(self) -> RemoteStore:
        return RemoteStore(f"s3://{self.parts[1]}", read_only=True)

    @property
    def _key(self) -> str:
        return "/".join(self.parts[2:])

    def absolute(self) -> RemotePath:
        """Return the path itself: an address is never relative."""
        return self

    def expanduser(self) -> RemotePath:
        """Return the path itself."""
        return self

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether there is an object."""
        return bool(self._key) and self._bucket.holds(self._key)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether there are objects under the key."""
        return bool(self._bucket.names(self._key))

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether there is an object, or any under the key."""
        return self.is_file() or self.is_dir()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return the size of an object; its other entries are empty."""
        return os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, self._bucket.size(self._key), 0, 0, 0))

    def stamp(self) -> str:
        """Return what changes whenever the object is written anew."""
        return self._bucket.stamp(self._key)

    def iterdir(self) -> Generator[RemotePath, None, None]:
        """Yield what is right under the key."""
        for name in self._bucket.names(self._key):
            yield self / name

    def beneath(self) -> list[RemotePath]:
        """Return all objects under the key, at any depth."""
        cut = len(self._key) + 1 if self._key else 0
        return [self / key[cut:] for key in self._bucket.keys(self._key)]

    def matches(self) -> list[RemotePath]:
        """Return the objects that the path, as a pattern, stands for: wildcards in the last part alone."""
        if any(c in str(self.parent) for c in "*?["):
            raise InputError(f"{self}: in object storage, wildcards can be in the name of the file alone")
        return [p for p in self.parent.iterdir() if fnmatch.fnmatchcase(p.name, self.name) and p.is_file()]

    def open(self, *args: Any, **kwargs: Any) -> Any:
        """Open an object to be read, unbuffered, in binary; other modes are refused."""
        mode = args[0] if args else kwargs.get("mode", "r")
        if mode != "rb":
            raise InputError(f"{self}: a scan in object storage is only read, and not in mode {mode!r}")
        return RemoteFile(self._bucket, self._key, str(self))


class RemoteFile(io.RawIOBase):
    """An object as a file. Each read is one request, small ones of the same place together one.

    Parameters
    ----------
    bucket : RemoteStore
    key : str
    name : str
        For messages.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    """

    def __init__(self, bucket: RemoteStore, key: str, name: str) -> None:
        self.name = name
        self._bucket, self._key = bucket, key
        self._size, self._at = bucket.size(key), 0
        self._start, self._held = 0, b""

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read at any place."""
        return True

    def tell(self) -> int:
        """Return the place of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the place of the next read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self.name}: no place before the start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what is at the place, and return how many bytes there were."""
        view = memoryview(buffer).cast("B")
        stop = min(self._size, self._at + len(view))
        if stop <= self._at:
            return 0
        if not self._start <= self._at <= stop <= self._start + len(self._held):
            part = self._fetch(self._at, min(self._size, max(stop, self._at + _LEAST)))
            if len(part) > _LEAST:  # large ones are not kept
                view[: stop - self._at] = part
                self._at = stop
                return len(part)
            self._start, self._held = self._at, part
        begin = self._at - self._start
        view[: stop - self._at] = self._held[begin : begin + stop - self._at]
        count, self._at = stop - self._at, stop
        return count

    def _fetch(self, start: int, stop: int) -> bytes:
        found = self._bucket.load(self._key, start, stop)
        if found is None:
            raise InputNotFound(f"{self.name}: no such file any more")
        if len(found) != stop - start:
            raise InputError(f"{self.name}: ends {stop - start - len(found)} bytes early; was it changed meanwhile?")
        return found
