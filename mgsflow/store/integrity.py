"""Whether a study still holds what was written, and how what it does not is computed anew.

Damage is told in three ways: a read that meets it fails (`mgsflow.compute.checked_store`); `missing_shards` compares
the sizes of all files with their stamps, at the start of every run; `damaged_blocks` reads everything. What is damaged
is marked as not finished (`mark_unfinished`), so that the next run computes it anew from its inputs, to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import zarr

from mgsflow.compute import completed
from mgsflow.compute.checked_store import checked, telling_damage
from mgsflow.errors import DamagedData
from mgsflow.store.ledger import read_block_array
from mgsflow.store.region import Region
from mgsflow.store.remote import RemoteStore, drop
from mgsflow.store.schema import attributes, note
from mgsflow.store.shards import checksum, checksum_of, file_size, shard_key, size_of
from mgsflow.store.specimen import Specimen

_STAMPS = "stamps_"


def missing_shards(specimen: Specimen, scan: str) -> list[DamagedData]:
    """Return the shards of a scan whose files are gone, or of another size than was written.

    Of a store in object storage one listing of each array is made, which tells those that are gone.
    """
    found, store = list(_unreadable_stamps(specimen, scan)), specimen.store
    listed: dict[str, set[str]] = {}
    for path, index, stamp in _stamped(specimen, scan):
        key = shard_key(path, index)
        if isinstance(store, RemoteStore):
            if path not in listed:
                listed[path] = set(store.keys(path))
            size = size_of(stamp) if key in listed[path] else None
        else:
            size = file_size(store, key)
        if size is None:
            found.append(DamagedData(path, index, "its file is missing"))
        elif size != size_of(stamp):
            found.append(DamagedData(path, index, f"its file has {size} bytes, and {size_of(stamp)} were written"))
    return found


def damaged_blocks(specimen: Specimen, scan: str) -> Iterator[DamagedData]:
    """Read all voxels and records of a scan that are finished, and yield what is not as it was written."""
    checks = [_Check(_region(specimen, path, scan), index, stamp) for path, index, stamp in _stamped(specimen, scan)]
    yield from (d for d in completed(_Check.run, checks, client=False) if d is not None)
    at = specimen.index(scan)
    for step, paths in attributes(specimen.blocks).get("writes", {}).items():
        done = np.argwhere(_flags(specimen, step, at))
        for path in paths:
            name = path.removeprefix(f"{specimen.name}/blocks/")
            if name == path or name not in specimen.blocks:
                continue
            array = zarr.open_array(checked(specimen.store), path=path, mode="r")
            for index in done:
                try:
                    with telling_damage(path, (at, *map(int, index))):
                        array[(at, *index)]
                except DamagedData as damage:
                    yield damage


def damaged_parts(specimen: Specimen) -> Iterator[DamagedData]:
    """Read all tables, solutions and the like that tasks kept, and yield what is not as it was written."""
    if "parts" not in specimen.group:
        return
    root = zarr.open_group(checked(specimen.store), path=f"{specimen.group.path}/parts", mode="r")
    for name, member in root.members(max_depth=None):
        if isinstance(member, zarr.Array):
            try:
                with telling_damage(f"{root.path}/{name}"):
                    member[...]
            except DamagedData as damage:
                yield damage


def mark_unfinished(specimen: Specimen, damage: DamagedData) -> list[str]:
    """Mark the blocks that a damage is in as not finished, and return the names of the steps that make them.

    Where the block is not known, or not one of the step's own, all blocks of the step are marked. The damaged file is
    removed: writing a part of a shard begins with reading what there is.
    """
    if damage.path.startswith(f"{specimen.blocks.path}/{_STAMPS}") and damage.index is not None:
        drop(specimen.blocks, shard_key(damage.path, damage.index))
        return [damage.path]
    ours = attributes(specimen.blocks)
    steps = [s for s, paths in ours.get("writes", {}).items() if any(_covers(p, damage.path) for p in paths)]
    scans = range(len(specimen.scans)) if damage.index is None else [damage.index[0]]
    for step in steps:
        flags = specimen.blocks[f"done_{step}"]
        assert isinstance(flags, zarr.Array)
        for scan in scans:
            name, done = specimen.scans[scan].name, _flags(specimen, step, scan)
            block = None if damage.index is None else damage.index[1:]
            if block is not None and ours["totals"].get(step, {}).get(name, 0) > 1 and done[block]:
                flags[(scan, *block)] = 0
            else:
                flags[scan] = 0
                ours["keys"].get(step, {}).pop(name, None)
    note(specimen.blocks, ours)
    if steps and damage.index is not None:
        drop(specimen.group, shard_key(damage.path, damage.index))
    return steps


class _Check:
    """The comparison of one shard with its stamp."""

    def __init__(self, region: Region, index: tuple[int, ...], stamp: int) -> None:
        self.region, self.index, self.stamp = region, index, stamp

    def run(self) -> DamagedData | None:
        z, y, x = self.index[1:]
        try:
            voxels = self.region.read(self.region.shards.block((z, y, x)).core)
        except DamagedData as damage:
            return damage
        if checksum(voxels) != checksum_of(self.stamp):
            return DamagedData(self.region.path, self.index, "it holds other voxels than were written")
        return None


def _stamped(specimen: Specimen, scan: str) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Yield path, index and stamp of all shards of a scan that were noted."""
    at = specimen.index(scan)
    for name, array in sorted(specimen.blocks.arrays()):
        if name.startswith(_STAMPS):
            path = f"{specimen.name}/{name.removeprefix(_STAMPS).replace('.', '/', 1)}"
            stamps = read_block_array(array, at)
            for index in np.argwhere(stamps):
                yield path, (at, *map(int, index)), int(stamps[tuple(index)])


def _unreadable_stamps(specimen: Specimen, scan: str) -> Iterator[DamagedData]:
    at = specimen.index(scan)
    for name, array in sorted(specimen.blocks.arrays()):
        if name.startswith(_STAMPS):
            try:
                with telling_damage(array.path):
                    array[at]
            except DamagedData as damage:
                yield DamagedData(damage.path, (at,), damage.reason)


def _region(specimen: Specimen, path: str, scan: str) -> Region:
    _, level, name = path.split("/")
    return specimen.volume(name, scan, level=int(level.removeprefix("scale")))


def _flags(specimen: Specimen, step: str, scan: int) -> np.ndarray:
    flags = specimen.blocks[f"done_{step}"]
    assert isinstance(flags, zarr.Array)
    return read_block_array(flags, scan)


def _covers(written: str, damaged: str) -> bool:
    """Tell whether a path is that of the damaged array, or of a group that it is in."""
    return damaged == written or damaged.startswith(f"{written}/")
