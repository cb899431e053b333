"""Writing a file so that nobody sees half of it, and so that it is the one that is named."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_anew(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there.

    What lies there is replaced, not written into: a link, which a folder from somebody else may hold, would lead the
    content out of the folder, over a file of the user's.

    Raises
    ------
    OSError
        If the file cannot be written; what was there stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(content)
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
