"""What identifies a scan's files: their content, or quickly their sizes and times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mgsflow.readers.files import reading
from mgsflow.readers.numbering import natural_key
from mgsflow.readers.remote import RemotePath

_CHUNK = 1 << 20
#: Files that a task hashes: few, so that a scan of many slices keeps all workers busy.
_SHARE = 32


def checksum(files: Iterable[Path]) -> str:
    """Return one SHA-256, in hex, of the content of files in natural order of their paths.

    Each file counts with its length, so that a byte cannot move from one to the next unseen. Names do not count: a
    scan that is copied elsewhere keeps its checksum.

    Raises
    ------
    InputNotFound, InputError
        If a file is missing or cannot be read.
    """
    return joined(digests(_natural(files)))


def digests(files: Iterable[Path]) -> list[bytes]:
    """Return the length of each file, in 8 bytes, and the SHA-256 of its content."""
    found = []
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    for path in files:
        content, length = sha256(), 0
        with reading(path), path.open("rb", buffering=0) as file:
            while n := file.readinto(buffer):
                content.update(view[:n])
                length += n
        found.append(length.to_bytes(8, "little") + content.digest())
    return found


def joined(found: Iterable[bytes]) -> str:
    """Return the checksum of files from their digests, in natural order of the files."""
    total = sha256()
    for one in found:
        total.update(one)
    return total.hexdigest()


@dataclass(frozen=True)
class Share:
    """Some files of a scan, as a task for a worker.

    Parameters
    ----------
    scan : str
    start : int
        Position of the first in natural order.
    files : tuple of Path
    """

    scan: str
    start: int
    files: tuple[Path, ...]

    @classmethod
    def all_of(cls, scan: str, files: Iterable[Path]) -> list[Share]:
        """Return the files of a scan in shares."""
        ordered = _natural(files)
        return [cls(scan, i, tuple(ordered[i : i + _SHARE])) for i in range(0, len(ordered), _SHARE)]

    def hashed(self) -> tuple[Share, list[bytes]]:
        """Return the share and its digests."""
        return self, digests(self.files)


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
