"""Volume Graphics (.vgi, a text beside a raw .vol)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mgsflow.errors import InputError
from mgsflow.readers.files import file_size, reading, trusting
from mgsflow.readers.flat import FlatSource
from mgsflow.readers.header import Header, open_described
from mgsflow.readers.stream import StreamSource

PATTERNS = ("*.vgi",)
_KINDS = {"unsigned integer": "u", "signed integer": "i", "integer": "i", "float": "f"}


def open_vgi(path: Path) -> FlatSource | StreamSource:
    """Open the volume that a .vgi file describes; x varies fastest in its .vol.

    Raises
    ------
    InputNotFound, InputError
        If a file is missing, the text is damaged, or the voxels are not all there.
    """
    file_size(path)
    with reading(path):
        text = path.read_text(encoding="latin-1")
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^\s*([A-Za-z]+)\s*=\s*(.*?)\s*$", text, re.MULTILINE):
        found.setdefault(key.lower(), []).append(value)
    with trusting(str(path), "its text"):
        for key in ("size", "bitsperelement"):
            if key not in found:
                raise InputError(f"{path}: is not a .vgi file, or is damaged: it has no {key}")
        names = [n for n in found.get("name", []) if n.lower().endswith((".vol", ".raw"))]
        if len(set(names)) > 1:
            raise InputError(f"{path}: names {len(set(names))} files of voxels; write them to one")
        data = path.parent / re.split(r"[\\/]", names[0])[-1] if names else path.with_suffix(".vol")
        kind = found.get("datatype", ["unsigned integer"])[-1].strip('"').lower()
        if kind not in _KINDS:
            raise InputError(f"{path}: voxels of type {kind!r} are not read")
        stored = np.dtype(f"<{_KINDS[kind]}{int(found['bitsperelement'][-1]) // 8}")
        lengths = [int(n) for n in found["size"][-1].split()]
        spacing = [float(s) for s in found["resolution"][-1].split()] if "resolution" in found else None
        unit = found["unit"][-1].strip('"') if "unit" in found else None
        offset = int(found.get("skipheader", ["0"])[-1])
    return open_described(Header(lengths, stored, data, offset, spacing, unit), str(path))
