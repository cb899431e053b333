"""NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from mgsflow.errors import InputError
from mgsflow.readers.files import open_file, trusting
from mgsflow.readers.flat import FlatSource
from mgsflow.readers.header import Header, open_described
from mgsflow.readers.stream import StreamSource

PATTERNS = ("*.nii", "*.nii.gz")
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_UNITS = {1: "m", 2: "mm", 3: "um"}
_HEADER = 544


def open_nifti(path: Path) -> FlatSource | StreamSource:
    """Open a NIfTI file; the first axis is x, and varies fastest.

    Raises
    ------
    InputNotFound, InputError
        If the file is missing, its header is damaged, it scales its values, or its voxels are not all there.
    """
    with open_file(path) as file:
        start = file.read(1 << 16)
    packed = start[:2] == b"\x1f\x8b"
    with trusting(str(path), "its NIfTI header"):
        if packed:
            start = zlib.decompressobj(31).decompress(start, _HEADER)
        order = next((o for o in "<>" if struct.unpack(o + "i", start[:4])[0] in (348, 540)), "")
        if not order:
            raise InputError(f"{path}: is not a NIfTI file, or its header is damaged")
        second = struct.unpack(order + "i", start[:4])[0] == 540
        if second:
            magic, kind = start[4:8], struct.unpack(order + "h", start[12:14])[0]
            dims = struct.unpack(order + "8q", start[16:80])
            steps = struct.unpack(order + "8d", start[104:168])
            offset, slope, intercept = struct.unpack(order + "qdd", start[168:192])
            unit = struct.unpack(order + "i", start[500:504])[0]
        else:
            magic, kind = start[344:348], struct.unpack(order + "h", start[70:72])[0]
            dims = struct.unpack(order + "8h", start[40:56])
            steps = struct.unpack(order + "8f", start[76:108])
            offset, slope, intercept = struct.unpack(order + "3f", start[108:120])
            unit = start[123]
        if magic[:3] not in (b"n+1", b"n+2"):
            raise InputError(f"{path}: keeps its voxels in another file (.img); convert it to one file")
        if kind not in _TYPES:
            raise InputError(f"{path}: voxels of NIfTI type {kind} are not read")
        if slope not in (0, 1) or (slope and intercept):
            raise InputError(f"{path}: its values are to be scaled by {slope:g} and {intercept:g}; write them scaled")
        if not 3 <= dims[0] <= 7:
            raise InputError(f"{path}: its header says {dims[0]} axes; a volume has three")
        lengths, spacing = dims[1 : dims[0] + 1], [round(float(s), 7) for s in steps[1:4]]
    stored = np.dtype(order + _TYPES[kind])
    if packed:
        header = Header(lengths, stored, path, 0, spacing, _UNITS.get(unit & 7), "gzip", int(offset))
    else:
        header = Header(lengths, stored, path, int(offset), spacing, _UNITS.get(unit & 7))
    return open_described(header, str(path))
