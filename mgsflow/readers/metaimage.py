"""MetaImage (.mhd with .raw or .zraw, .mha), as ITK and Elastix write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mgsflow.errors import InputError
from mgsflow.readers.files import open_file, trusting
from mgsflow.readers.flat import FlatSource
from mgsflow.readers.header import Header, beside, open_described, rotated
from mgsflow.readers.stream import StreamSource

PATTERNS = ("*.mhd", "*.mha")
_TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4", "ULONG": "u4",
    "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip


def open_metaimage(path: Path) -> FlatSource | StreamSource:
    """Open a MetaImage; spacing is in mm, unless ``DistanceUnits`` says otherwise.

    Raises
    ------
    InputNotFound, InputError
        If a file is missing, the header is damaged, or its voxels are not all there.
    """
    tags: dict[str, str] = {}
    offset = 0
    with open_file(path) as file:
        start = file.read(1 << 16)
    while "ElementDataFile" not in tags:
        end = start.find(b"\n", offset)
        line = start[offset : end if end >= 0 else len(start)].decode("latin-1")
        key, equals, value = line.partition("=")
        if not equals or (end < 0 and key.strip() != "ElementDataFile"):
            raise InputError(f"{path}: its MetaImage header is damaged at {line[:40]!r}")
        tags[key.strip()] = value.strip()
        offset = end + 1
    with trusting(str(path), "its MetaImage header"):
        name = tags["ElementDataFile"]
        if name.upper().startswith("LIST") or "%" in name:
            raise InputError(f"{path}: its voxels are in several files; write them to one")
        if int(tags.get("ElementNumberOfChannels", 1)) != 1:
            raise InputError(f"{path}: has {tags['ElementNumberOfChannels']} channels; export one")
        kind = tags["ElementType"].removeprefix("MET_")
        if kind not in _TYPES:
            raise InputError(f"{path}: voxels of type MET_{kind} are not read")
        if tags.get("BinaryData", "True").lower() != "true":
            raise InputError(f"{path}: its voxels are text; write them as binary")
        big = tags.get("BinaryDataByteOrderMSB", tags.get("ElementByteOrderMSB", "False")).lower() == "true"
        stored = np.dtype((">" if big else "<") + _TYPES[kind])
        lengths = [int(n) for n in tags["DimSize"].split()]
        spacing = [float(s) for s in tags.get("ElementSpacing", tags.get("ElementSize", "")).split()] or None
        unit, warnings = tags.get("DistanceUnits"), []
        if unit is None and spacing is not None:
            unit = "mm"
            warnings.append(f"{path}: ElementSpacing is taken in mm, as MetaImage means it")
        matrix = tags.get("TransformMatrix", tags.get("Rotation", tags.get("Orientation")))
        if matrix is not None and len(lengths) == 3:
            warnings += [f"{path}: {text}" for text in rotated(np.array(matrix.split(), float).reshape(3, 3))]
        local = name.upper() == "LOCAL"
        header = int(tags.get("HeaderSize", 0))
    return open_described(
        Header(
            lengths,
            stored,
            path if local else beside(path, name),
            offset if local else header,
            spacing,
            unit,
            "zlib" if tags.get("CompressedData", "False").lower() == "true" else "",
            warnings=tuple(warnings),
        ),
        str(path),
    )
