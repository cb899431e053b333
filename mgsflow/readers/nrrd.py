"""NRRD (.nrrd, .nhdr), as 3D Slicer and ImageJ write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mgsflow.errors import InputError
from mgsflow.readers.files import trusting
from mgsflow.readers.flat import FlatSource
from mgsflow.readers.header import Header, beside, open_described, rotated, text_before
from mgsflow.readers.stream import StreamSource

PATTERNS = ("*.nrrd", "*.nhdr")
_NAMES = {
    "i1": "signed char|int8|int8_t", "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t", "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float", "f8": "double",
}  # fmt: skip
_TYPES = {name: code for code, names in _NAMES.items() for name in names.split("|")}
_CODECS = {"raw": "", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}


def open_nrrd(path: Path) -> FlatSource | StreamSource:
    """Open a NRRD file; the spacing is used where the header states its unit.

    Raises
    ------
    InputNotFound, InputError
        If a file is missing, the header is damaged, or its voxels are not all there.
    """
    detached = path.suffix.lower() == ".nhdr"
    try:
        text, offset = text_before(path, b"\n\n")
    except InputError:
        if not detached:
            raise
        text, offset = path.read_text(encoding="latin-1"), 0
    lines = [line.rstrip("\r") for line in text.split("\n")]
    if not lines[0].startswith("NRRD000"):
        raise InputError(f"{path}: is not a NRRD file (it starts with {lines[0][:16]!r})")
    fields = {}
    for line in lines[1:]:
        key, colon, value = line.partition(": ")
        if not line.startswith("#") and colon and ":=" not in line:
            fields[key.strip().lower().replace(" ", "")] = value.strip()
    with trusting(str(path), "its NRRD header"):
        kind, encoding = fields["type"].lower(), fields["encoding"].lower()
        if kind not in _TYPES or encoding not in _CODECS:
            raise InputError(f"{path}: voxels of type {kind!r} in encoding {encoding!r} are not read")
        stored = np.dtype((">" if fields.get("endian", "little").lower() == "big" else "<") + _TYPES[kind])
        name = fields.get("datafile", fields.get("data file"))
        if name is not None and (name.upper().startswith("LIST") or "%" in name):
            raise InputError(f"{path}: its voxels are in several files; write them to one")
        lengths = [int(n) for n in fields["sizes"].split()]
        spacing: list[float] | None = None
        warnings: tuple[str, ...] = ()
        if "spacedirections" in fields:
            vectors = np.array(
                [[float(v) for v in d.strip("() ").split(",")] for d in fields["spacedirections"].split(") (")]
            )
            spacing = [float(s) for s in np.linalg.norm(vectors, axis=1)]
            warnings = tuple(f"{path}: {text}" for text in rotated(vectors))
        elif "spacings" in fields:
            spacing = [float(s) for s in fields["spacings"].split()]
        units = {u.strip() for u in fields.get("spaceunits", fields.get("units", "")).replace('"', " ").split()}
        if len(units) > 1:
            raise InputError(f"{path}: its axes are in different units ({', '.join(sorted(units))}); write it in one")
        skip = int(fields.get("byteskip", 0))
        if int(fields.get("lineskip", 0)):
            raise InputError(f"{path}: skips lines before its voxels; write it without")
    codec = _CODECS[encoding]
    start = 0 if name is not None else offset
    return open_described(
        Header(
            lengths,
            stored,
            path if name is None else beside(path, name),
            start if codec else (-1 if skip == -1 else start + skip),
            spacing,
            units.pop() if units else None,
            codec,
            max(skip, 0) if codec else 0,
            warnings=warnings,
        ),
        str(path),
    )
