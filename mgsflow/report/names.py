"""Names of files from names of phases, cells and scans."""

from __future__ import annotations

import re


def file_name(text: str) -> str:
    """Return a text as the name of a file: what is not a letter, a digit, ``.``, ``_`` or ``-`` becomes ``_``."""
    return re.sub(r"[^\w.-]+", "_", text)
