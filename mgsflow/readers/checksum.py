"""What identifies a scan's files: their content, or quickly their sizes and times."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from mgsflow.readers.files import reading
from mgsflow.readers.numbering import natural_key
from mgsflow.readers.remote import RemotePath

_CHUNK = 1 << 20


def checksum(files: Iterable[Path]) -> str:
    """Return one SHA-256, in hex, of the content of files in natural order of their paths.

    Each file counts with its length, so that a byte cannot move from one to the next unseen. Names do not count: a
    scan that is copied elsewhere keeps its checksum.

    Raises
    ------
    InputNotFound, InputError
        If a file is missing or cannot be read.
    """
    total = sha256()
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    for path in _natural(files):
        content, length = sha256(), 0
        with reading(path), path.open("rb", buffering=0) as file:
            while n := file.readinto(buffer):
                content.update(view[:n])
                length += n
        total.update(length.to_bytes(8, "little") + content.digest())
    return total.hexdigest()


def named_checksum(scan: tuple[str, tuple[Path, ...]]) -> tuple[str, str]:
    """Return a scan's name with the checksum of its files: a task for a worker."""
    name, files = scan
    return name, checksum(files)


def fingerprint(files: Iterable[Path]) -> str:
    """Return a SHA-256, in hex, of the names, sizes and times (of objects, tags) of files: quick, to tell a change.

    Raises
    ------
    InputNotFound, InputError
        If a file is missing or cannot be looked up.
    """
    total = sha256()
    for path in _natural(files):
        with reading(path):
            stat = path.stat()
            changed = path.stamp() if isinstance(path, RemotePath) else stat.st_mtime_ns
        total.update(f"{path.name}\0{stat.st_size}\0{changed}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _natural(files: Iterable[Path]) -> list[Path]:
    return sorted(files, key=lambda path: natural_key(str(path)))
