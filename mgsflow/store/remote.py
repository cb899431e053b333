"""Places in object storage, as ``s3://bucket/key``: what zarr opens there, and what is said when it fails.

Endpoint, region and credentials come from the environment (``AWS_ENDPOINT_URL``, ``AWS_REGION``,
``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN`` and what else the service sets) of each process
that opens a place, and from nowhere else. A task carries the address alone, so that no credential travels, is stored or
is printed.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore

from mgsflow.errors import InputError, MgsflowError, StoreError

Result = TypeVar("Result")
#: Under another name, as a store has a method called list.
Names = list[str]

#: Seconds for which a request that fails is sent again, ever more slowly: a server may be gone for a while.
PATIENCE = 120.0

#: One slash: what a `pathlib.Path` makes of an address, so that a place can be wherever a path can.
_ADDRESS = re.compile(r"s3:/+([^/]*)/*(.*)", re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CODE = re.compile(r"<Code>(\w+)</Code>|\((\w+)\) when calling")
_DENIED = ("PermissionError", "PermissionDeniedError", "UnauthenticatedError")
_REFUSED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken", "InvalidToken", "Forbidden"}


def remote_url(place: str | Path) -> str | None:
    """Return the address of a place in object storage, or None where a path is meant.

    Parameters
    ----------
    place : str or Path
        ``s3://bucket/key``, or a `Path` made of it.

    Raises
    ------
    InputError
        If it holds credentials, or is no address of a bucket.
    """
    found = _ADDRESS.fullmatch(str(place))
    if found is None:
        return None
    bucket, key = found[1], found[2].strip("/")
    if "@" in bucket or ":" in bucket:
        # not repeated in the message, which may be logged
        raise InputError("an s3:// address holds no credentials or port: set AWS_… variables in the environment")
    if not _BUCKET.fullmatch(bucket):
        raise InputError(f"s3://{bucket}/{key}: {bucket!r} is no name of a bucket; write s3://bucket/key")
    if any(part in ("", ".", "..") for part in key.split("/")) and key:
        raise InputError(f"s3://{bucket}/{key}: write the key without '.', '..' or empty parts")
    return f"s3://{bucket}/{key}".rstrip("/")


def place_of(path: str | Path) -> Any:
    """Return what zarr opens at a path: its text, or a `RemoteStore`."""
    url = remote_url(path)
    return str(path) if url is None else RemoteStore(url)


class RemoteStore(WrapperStore[Store]):
    """A zarr store in object storage: hashed, compared and pickled by its address.

    Parameters
    ----------
    url : str
        ``s3://bucket/key``, the root of the store.
    read_only : bool

    Raises
    ------
    StoreError
        By any method, if access is refused, there is no such bucket, or the server fails for longer than `PATIENCE`.
    """

    def __init__(self, url: str, read_only: bool = False) -> None:
        super().__init__(_backend(url, read_only))
        self.url = url

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteStore, (self.url, self.read_only)

    def __hash__(self) -> int:
        return hash((self.url, self.read_only))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and (self.url, self.read_only) == (other.url, other.read_only)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"RemoteStore({self.url!r})"

    def with_read_only(self, read_only: bool = False) -> RemoteStore:
        """Return the same place, to read alone or to write too."""
        return RemoteStore(self.url, read_only)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return an object or a part of it, or None if it is not there."""
        return await self._told(self._store.get(key, prototype, byte_range))

    async def exists(self, key: str) -> bool:
        """Tell whether an object is there."""
        return await self._told(self._store.exists(key))

    async def set(self, key: str, value: Buffer) -> None:
        """Store an object, whole or not at all."""
        await self._told(self._store.set(key, value))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Store an object, unless there is one."""
        await self._told(self._store.set_if_not_exists(key, value))

    async def delete(self, key: str) -> None:
        """Remove an object."""
        await self._told(self._store.delete(key))

    async def delete_dir(self, prefix: str) -> None:
        """Remove all objects under a prefix."""
        await self._told(self._store.delete_dir(prefix))

    async def getsize(self, key: str) -> int:
        """Return the bytes of an object; FileNotFoundError if there is none."""
        return await self._told(self._store.getsize(key), missing=True)

    def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        return self._listed(self._store.list())

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield all keys under a prefix."""
        return self._listed(self._store.list_prefix(prefix))

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names right under a prefix."""
        return self._listed(self._store.list_dir(prefix))

    # the same, for callers that are not asynchronous

    def names(self, prefix: str = "") -> Names:
        """Return the names right under a prefix, sorted."""

        async def gather() -> Names:
            # s3fs lists an object as what is under it, by its whole address
            return sorted([name async for name in self.list_dir(prefix) if "/" not in name.rstrip("/")])

        return sync(gather())

    def keys(self, prefix: str = "") -> Names:
        """Return all keys under a prefix, sorted."""

        async def gather() -> Names:
            inside = f"{prefix.rstrip('/')}/" if prefix else ""
            return sorted([key async for key in self.list_prefix(inside)])

        return sync(gather())

    def holds(self, key: str) -> bool:
        """Tell whether an object is there."""
        return sync(self.exists(key))

    def size(self, key: str) -> int:
        """Return the bytes of an object; FileNotFoundError if there is none."""
        return sync(self.getsize(key))

    def stamp(self, key: str) -> str:
        """Return what changes whenever an object is written anew; FileNotFoundError if there is none."""
        return sync(self._told(_stamp(self._store, key), missing=True))

    def load(self, key: str, start: int | None = None, stop: int | None = None) -> bytes | None:
        """Return the bytes of an object or of a part of it, or None if it is not there."""
        part = None if start is None or stop is None else RangeByteRequest(start, stop)
        found = sync(self.get(key, default_buffer_prototype(), part))
        return None if found is None else found.to_bytes()

    def save(self, key: str, content: bytes, new: bool = False) -> None:
        """Store an object; if it is to be new, only where there is none."""
        buffer = default_buffer_prototype().buffer.from_bytes(content)
        sync(self.set_if_not_exists(key, buffer) if new else self.set(key, buffer))

    def remove(self, key: str) -> None:
        """Remove an object."""
        sync(self.delete(key))

    async def _told(self, work: Awaitable[Result], missing: bool = False) -> Result:
        try:
            return await work
        except (MgsflowError, asyncio.CancelledError, StopAsyncIteration):
            raise
        except FileNotFoundError as error:
            if missing and "NoSuchBucket" not in str(error):
                raise FileNotFoundError(f"{self.url}: no such object") from None
            raise _explained(error, self.url) from None
        except Exception as error:
            # what the service answers repeats keys and signatures: no chain, no text of it
            raise _explained(error, self.url) from None

    async def _listed(self, names: AsyncIterator[str]) -> AsyncIterator[str]:
        # the first step is where a request is sent
        while True:
            try:
                name = await self._told(anext(names))
            except StopAsyncIteration:
                return
            yield name


def drop(group: Any, path: str) -> None:
    """Remove what a group's store holds at and under a path, where there is anything."""
    sync(group.store.delete(path) if sync(group.store.exists(path)) else group.store.delete_dir(path))


async def _stamp(store: Any, key: str) -> str:
    if hasattr(store, "fs"):
        found = await store.fs._info(f"{store.path}/{key}")
        return str(found.get("ETag") or found.get("LastModified"))
    import obstore

    meta = await obstore.head_async(store.store, key)
    return str(meta["e_tag"] or meta["last_modified"])


@lru_cache(maxsize=32)
def _backend(url: str, read_only: bool) -> Store:
    """Return the store beneath: obstore's, or s3fs's where that is all there is."""
    try:
        from obstore.store import S3Store
    except ImportError:
        return _by_fsspec(url, read_only)
    from zarr.storage import ObjectStore

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    # a plain endpoint, as within a cluster, is the user's own choice in the environment
    client: Any = {
        "allow_http": endpoint().startswith("http://"),
        "connect_timeout": "10 seconds",
        "timeout": "120 seconds",
    }
    retry: Any = {
        "max_retries": 50,
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
        "retry_timeout": timedelta(seconds=PATIENCE),
    }
    try:
        inner = S3Store(bucket, prefix=prefix or None, client_options=client, retry_config=retry)
    except Exception as error:
        raise _explained(error, url) from None
    return ObjectStore(inner, read_only=read_only)


def _by_fsspec(url: str, read_only: bool) -> Store:
    from importlib.util import find_spec

    if find_spec("s3fs") is None:
        raise StoreError(f"{url}: object storage needs a package that is not here: pip install 'mgsflow[s3]'")
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(url, storage_options=None, read_only=read_only)


def endpoint() -> str:
    """Return the address of the service, or "" for that of Amazon."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        if os.environ.get(name):
            return os.environ[name]
    return ""


def _explained(error: Exception, url: str) -> StoreError:
    text = str(error)
    found = _CODE.search(text)
    code = (found[1] or found[2]) if found else ""
    bucket = url.removeprefix("s3://").partition("/")[0]
    split = urlsplit(endpoint())
    where = f"{split.hostname}:{split.port}" if split.port else split.hostname or "Amazon S3"
    if code == "NoSuchBucket" or (isinstance(error, FileNotFoundError) and not code):
        return StoreError(f"there is no bucket {bucket!r} at {where}: make it, or check the address {url}")
    denied = isinstance(error, PermissionError) or type(error).__name__ in (
        "PermissionDeniedError",
        "UnauthenticatedError",
    )
    if code in _REFUSED or denied:
        return StoreError(
            f"{where} refuses access to {url} ({code or 'Forbidden'}): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
            "and AWS_SESSION_TOKEN in the environment, of the workers too, and what the key may do"
        )
    if "169.254." in text or "NoCredentials" in type(error).__name__:
        return StoreError(
            f"no credentials for {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, of the "
            "workers too (AWS_SKIP_SIGNATURE=true for a public bucket)"
        )
    if code == "PermanentRedirect" or code == "AuthorizationHeaderMalformed":
        return StoreError(f"the bucket {bucket!r} is in another region: set AWS_REGION")
    what = code or type(error).__name__
    return StoreError(
        f"{where} does not answer, or fails, for {url} ({what}; tried again for {PATIENCE:.0f} s): check that it runs, "
        "and run again, finished blocks are kept"
    )
