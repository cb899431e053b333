"""Amira and Avizo lattices (.am): raw, HxZip and HxByteRLE."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mgsflow.blocks import triple
from mgsflow.errors import InputError
from mgsflow.readers.files import file_size, trusting
from mgsflow.readers.flat import FlatSource
from mgsflow.readers.header import Header, open_described, spacing_of, text_before
from mgsflow.readers.run_length import RunLengthSource, slice_starts
from mgsflow.readers.stream import StreamSource
from mgsflow.readers.voxels import check_declared

PATTERNS = ("*.am",)
_TYPES = {"byte": "u1", "short": "i2", "ushort": "u2", "int": "i4", "int32": "i4", "float": "f4", "double": "f8"}
_FIELD = r"Lattice\s*\{\s*(\w+)(\[\d+\])?\s+(\w+)\s*\}\s*=?\s*@(\d+)(?:\((\w+)\s*,\s*(\d+)\))?"


def open_amira(path: Path) -> FlatSource | StreamSource | RunLengthSource:
    """Open an Amira lattice with uniform coordinates; x varies fastest, and the bounding box is that of centres.

    Raises
    ------
    InputNotFound, InputError
        If there is no such file, its header is damaged, or its voxels are not all there.
    """
    size = file_size(path)
    first = text_before(path, b"\n")[0]
    if not first.startswith(("# AmiraMesh", "# Avizo")) or "BINARY" not in first:
        what = "its voxels are text; write them as binary" if "ASCII" in first else "is not an Amira file"
        raise InputError(f"{path}: {what} (it starts with {first[:40]!r})")
    text, _ = text_before(path, b"\n@1")
    with trusting(str(path), "its Amira header"):
        lattice = re.search(r"define\s+Lattice\s+(\d+)\s+(\d+)\s+(\d+)", text)
        fields = re.findall(_FIELD, text)
        if lattice is None or not fields:
            raise InputError(f"{path}: holds no lattice of three axes")
        if len(fields) > 1 or fields[0][1] or fields[0][3] != "1":
            listed = ", ".join(f"{name} ({kind}{several})" for kind, several, name, *_ in fields)
            raise InputError(f"{path}: has fields {listed}; export one field of one value a voxel")
        kind, _, _, _, codec, encoded = fields[0]
        if kind not in _TYPES or codec not in ("", "HxZip", "HxByteRLE"):
            raise InputError(f"{path}: voxels of type {kind} {codec} are not read")
        if (coordinates := re.search(r'CoordType\s+"(\w+)"', text)) and coordinates[1] != "uniform":
            raise InputError(f"{path}: has {coordinates[1]} coordinates; resample it to uniform ones")
        order = "<" if "LITTLE-ENDIAN" in first else ">"
        lengths = [int(n) for n in lattice.groups()]
        box = re.search(r"BoundingBox((?:\s+[-+.\deE]+){6})", text)
        edges = [float(v) for v in box[1].split()] if box else []
        spacing = [(b - a) / max(1, n - 1) for a, b, n in zip(edges[::2], edges[1::2], lengths)] or None
        unit = re.search(r'Coordinates\s+"([^"]+)"', text)
        _, offset = text_before(path, b"\n@1\n")
    stored = np.dtype(order + _TYPES[kind])
    codecs = {"": "", "HxZip": "zlib", "HxByteRLE": ""}
    header = Header(lengths, stored, path, offset, spacing, unit[1] if unit else None, codecs[codec])
    if codec != "HxByteRLE":
        return open_described(header, str(path))
    if stored.itemsize != 1:
        raise InputError(f"{path}: run lengths of voxels of type {kind} are not read; store it raw")
    if size < offset + int(encoded):
        raise InputError(f"{path}: truncated: its voxels end at byte {offset + int(encoded)}, the file at {size}")
    shape = triple(lengths[::-1])
    check_declared(shape, 1, None, str(path))
    starts = slice_starts(path, offset, int(encoded), shape)
    voxel_size, warnings = spacing_of(header, str(path))
    return RunLengthSource(path.absolute(), shape, stored, starts, offset + int(encoded), voxel_size, tuple(warnings))
