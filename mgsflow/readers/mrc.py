"""MRC (.mrc, .rec), as electron and X-ray tomography have it (MRC2014 and IMOD)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from mgsflow.errors import InputError
from mgsflow.readers.files import open_file
from mgsflow.readers.flat import FlatSource
from mgsflow.readers.header import Header, open_described
from mgsflow.readers.stream import StreamSource

PATTERNS = ("*.mrc", "*.rec")
_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_SIZE = 1024
_IMOD = 1146047817


def open_mrc(path: Path) -> FlatSource | StreamSource:
    """Open an MRC file: axes as its header maps them, lengths in ångström.

    Raises
    ------
    InputNotFound, InputError
        If the file is missing, its header is damaged, or its voxels are not all there.
    """
    with open_file(path) as file:
        start = file.read(_SIZE)
    if len(start) < _SIZE:
        raise InputError(f"{path}: truncated: an MRC header has {_SIZE} bytes, the file {len(start)}")
    order = next((o for o in "<>" if sorted(struct.unpack(o + "3i", start[64:76])) in ([1, 2, 3], [0, 0, 0])), "")
    if not order:
        raise InputError(f"{path}: is not an MRC file, or its header is damaged")
    nx, ny, nz, mode, *_ = struct.unpack(order + "4i", start[:16])
    cells = struct.unpack(order + "3i", start[28:40])
    lengths = struct.unpack(order + "3f", start[40:52])
    axes = struct.unpack(order + "3i", start[64:76])
    group, extra = struct.unpack(order + "2i", start[88:96])
    if mode not in _TYPES:
        raise InputError(f"{path}: voxels of MRC mode {mode} are not read; modes are 0, 1, 2, 6 and 12")
    if group > 400 or extra < 0 or min(nx, ny, nz) < 1:
        raise InputError(f"{path}: is a stack of volumes, or its header is damaged; write one volume")
    kind = _TYPES[mode]
    stamp, flags = struct.unpack(order + "2i", start[152:160])
    if mode == 0 and stamp == _IMOD and not flags & 1:
        kind = "u1"
    names = tuple("xyz"[a - 1] for a in axes) if any(axes) else ("x", "y", "z")
    edges = {n: length / cell if cell > 0 else 0.0 for n, length, cell in zip("xyz", lengths, cells)}
    spacing = [float(f"{edges[n]:.7g}") for n in names]
    return open_described(
        Header((nx, ny, nz), np.dtype(order + kind), path, _SIZE + extra, spacing, "angstrom", axes=names), str(path)
    )
