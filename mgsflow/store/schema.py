"""The layout of a study store: names, versions, chunks, and how its arrays are made.

study.zarr/                   attrs: schema version, title
  cathode/                    attrs: voxel size, phases, scans (the truth that the coordinates below repeat), OME
    scale0/                   image, filtered, phase (scan, z, y, x), and coordinates
    scale1/ ...               2x coarser image and phase, for viewers
    blocks/                   ledger flags and records of each block (scan, block_z, block_y, block_x, ...)
    parts/                    what tasks found that is not one record a block: solutions, tables
    metrics/                  what was measured
    particles/                one row a particle
    pores/, throats/          a pore network; local_porosity/ is the map beside it
    flux/, streamlines/       maps and lines of solves
    rve/, sensitivity/, comparison/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from mgsflow.blocks import Triple, triple
from mgsflow.compute.checked_store import ALWAYS_WRITTEN, CHECKSUM
from mgsflow.errors import InputError

#: Raised when the layout changes in a way that older versions would misread, or that would be misread in older stores.
#: 2: chunks carry checksums and are never left out, so that a missing one is damage; in 1 it stood for zeros.
SCHEMA = 2
AXES = ("z", "y", "x")
VOLUME_DIMS = ("scan", *AXES)
BLOCK_DIMS = ("scan", "block_z", "block_y", "block_x")
#: Key of our part of a group's attributes.
ATTRS = "mgsflow"

#: Groups of a specimen that are not for readers.
WORKINGS = ("blocks", "parts", "scratch")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RESERVED = {"scale", "metrics", "particles", *WORKINGS}


def check_name(kind: str, name: str) -> str:
    """Return a name that is safe as a folder and an identifier, or refuse it."""
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(
            f"{kind} name {name!r}: use letters, digits, '_', '-' and '.', starting with a letter or digit"
        )
    if name in _RESERVED:
        raise InputError(f"{kind} name {name!r} is taken by the store itself: choose another")
    return name


def chunk_of(block: Triple) -> Triple:
    """Return the inner chunk for shards of a block's shape: on each axis the divisor nearest to 64.

    Small chunks keep a halo cheap: 4 voxels beyond a 256³ block decode 6³ chunks of 64³, not 3³ of 256³.
    """
    z, y, x = (
        min((d for d in range(1, b + 1) if b % d == 0), key=lambda d: (abs(log(d / 64)), d)) for b in triple(block)
    )
    return z, y, x


def create_volume(
    group: zarr.Group, name: str, dtype: np.dtype[Any], shape: Sequence[int], block: Triple
) -> zarr.Array:
    """Create a (scan, z, y, x) array, metadata only, whose shards are blocks of one scan."""
    return group.create_array(
        name,
        shape=tuple(shape),
        dtype=dtype,
        chunks=(1, *chunk_of(block)),
        shards=(1, *block),
        # bit-shuffled lz4 takes 8 % off 16-bit noise and 97 % off phases, at 0.5 to 0.9 Gvoxel/s
        compressors=[BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"), CHECKSUM],
        fill_value=0,
        dimension_names=VOLUME_DIMS,
        config=ALWAYS_WRITTEN,
    )


def create_records(
    group: zarr.Group, name: str, record: tuple[int, ...], dtype: np.dtype[Any], grid: Sequence[int]
) -> zarr.Array:
    """Create a (scan, block_z, block_y, block_x, ...) array with one chunk a block."""
    return group.create_array(
        name,
        shape=(*grid, *record),
        dtype=dtype,
        chunks=(1, 1, 1, 1, *record),
        compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), CHECKSUM],
        fill_value=0,
        config=ALWAYS_WRITTEN,
        dimension_names=(*BLOCK_DIMS, *(f"{name}_{i}" for i in range(len(record)))),
    )


def put_coordinate(group: zarr.Group, name: str, dims: tuple[str, ...], values: Any, attrs: dict[str, Any]) -> None:
    """Write a small coordinate array; made once, then resized and set, so that no crash leaves it missing."""
    strings = isinstance(values, list)
    data = np.array(values, dtype=object) if strings else np.asarray(values)
    if name not in group:
        # one chunk for good: a resize moves no data, and one file is replaced in one step
        chunks = tuple(1 << 16 if d in AXES else 1024 if d == "scan" else n for d, n in zip(dims, data.shape))
        group.create_array(
            name,
            shape=data.shape,
            dtype="str" if strings else data.dtype,
            chunks=chunks,
            dimension_names=dims,
            attributes=attrs,
        )
    array = group[name]
    assert isinstance(array, zarr.Array)
    if array.shape != data.shape:
        array.resize(data.shape)
    array[...] = data


def mark_coordinates(group: zarr.Group, names: Sequence[str]) -> None:
    """Tell xarray and others that read the CF conventions which arrays of a group are coordinates."""
    wanted = " ".join(names)
    if group.attrs.get("coordinates") != wanted:
        group.attrs["coordinates"] = wanted


def fresh(group: zarr.Group) -> zarr.Group:
    """Return the group with its attributes as they now stand in the store: zarr keeps those it first read."""
    return zarr.open_group(group.store, path=group.path, mode="r" if group.read_only else "r+", zarr_format=3)


def attributes(group: zarr.Group) -> dict[str, Any]:
    """Return our part of a group's attributes, fresh from the store."""
    found = fresh(group).attrs.get(ATTRS, {})
    assert isinstance(found, dict)
    return dict(found)


def note(group: zarr.Group, values: dict[str, Any]) -> None:
    """Add to our part of a group's attributes, in one step."""
    fresh(group).update_attributes({ATTRS: attributes(group) | values})
