"""A specimen: its scans, and the arrays over them.

The list of scans in the attributes is the truth, replaced in one step; coordinates and array shapes follow from it
and are mended whenever a store is opened for writing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zarr

from mgsflow.blocks import Grid, Triple, triple
from mgsflow.compute import StoredParts
from mgsflow.errors import InputError, StoreError, StudyNotFound
from mgsflow.kernel import Reduction
from mgsflow.store.ledger import Ledger
from mgsflow.store.region import Records, Region
from mgsflow.store.remote import drop
from mgsflow.store.schema import (
    AXES,
    attributes,
    check_name,
    chunk_of,
    create_records,
    create_volume,
    mark_coordinates,
    note,
    put_coordinate,
)


@dataclass(frozen=True)
class Scan:
    """One tomogram of a specimen.

    Parameters
    ----------
    name : str
    cycle : int
        Charge/discharge cycles it has seen.
    state : str
        As ``pristine``, ``charged``, ``discharged``.
    shape : tuple of int
        Its extent in voxels (z, y, x).
    """

    name: str
    cycle: int
    state: str
    shape: Triple


class Specimen:
    """Scans that share a voxel size, and the arrays over them.

    Parameters
    ----------
    store : str or RemoteStore
        Location of the study, as zarr opens it.
    group : zarr.Group
    """

    def __init__(self, store: Any, group: zarr.Group) -> None:
        self.store = store
        self.group = group
        self._held: dict[str, Any] | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Read the attributes once for all that is done within.

        For whom nobody else changes the store meanwhile: a run has its lock. A study of many scans asks hundreds of
        times for what stays as it is, and in object storage every time is a request.
        """
        self._held = attributes(self.group)
        try:
            yield
        finally:
            self._held = None

    @property
    def name(self) -> str:
        """Name in the study."""
        return self.group.basename

    @property
    def attributes(self) -> dict[str, Any]:
        """What the specimen notes about itself."""
        return attributes(self.group) if self._held is None else deepcopy(self._held)

    def note(self, **values: Any) -> None:
        """Add to the attributes, in one step."""
        note(self.group, values)
        if self._held is not None:
            self._held = attributes(self.group)

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edges of a voxel along (z, y, x) in µm."""
        z, y, x = self.attributes["voxel_size"]
        return z, y, x

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases, label 0 first."""
        return tuple(self.attributes["phases"])

    @property
    def block(self) -> Triple:
        """Shape of a block and of a shard."""
        return triple(self.attributes["block"])

    @property
    def scans(self) -> tuple[Scan, ...]:
        """The scans, in the order of the ``scan`` dimension."""
        return tuple(Scan(s["name"], int(s["cycle"]), s["state"], triple(s["shape"])) for s in self.attributes["scans"])

    def index(self, scan: str) -> int:
        """Return the position of a scan."""
        names = [s.name for s in self.scans]
        if scan not in names:
            raise StudyNotFound(
                f"no scan {scan!r} in specimen {self.name}; there are: {', '.join(names) or 'none yet'}"
            )
        return names.index(scan)

    @property
    def shape(self) -> Triple:
        """Extent of the arrays: the largest of the scans along each axis."""
        scans = self.scans
        z, y, x = (max((s.shape[a] for s in scans), default=0) for a in range(3))
        return z, y, x

    def add_scan(self, scan: Scan) -> int:
        """Add a scan, or bring its entry up to date, and return its position.

        A scan whose shape changed loses its voxels: they are another tomogram's.
        """
        check_name("scan", scan.name)
        if any(n <= 0 for n in scan.shape):
            raise InputError(f"scan {scan.name} is empty: shape {scan.shape}")
        scans = list(self.scans)
        names = [s.name for s in scans]
        if scan.name not in names:
            scans.append(scan)
        else:
            at = names.index(scan.name)
            if scans[at] == scan:
                return at
            if scans[at].shape != scan.shape:
                self._forget(at)
            scans[at] = scan
        self.note(scans=[asdict(s) | {"shape": list(s.shape)} for s in scans])
        self.mend()
        return self.index(scan.name)

    def grid(self, scan: str) -> Grid:
        """Return the blocks of a scan's extent."""
        return Grid.regular(self.scans[self.index(scan)].shape, self.block)

    def volume(self, array: str, scan: str, dtype: Any = None, level: int = 0) -> Region:
        """Return a scan's part of an array, which is created if a dtype is given and it is not there.

        Raises
        ------
        StoreError
            If the array is not there, or there with another dtype.
        """
        group = self.level(level)
        shape = _coarser(self.shape, level)
        if array not in group:
            if dtype is None:
                raise StoreError(f"{self.store}: no {array!r} in {group.path} yet: run the study first")
            create_volume(group, array, np.dtype(dtype), (len(self.scans), *shape), self.level_block(level))
        found = group[array]
        assert isinstance(found, zarr.Array)
        if dtype is not None and found.dtype != np.dtype(dtype):
            raise StoreError(
                f"{group.path}/{array} holds {found.dtype} and scan {scan} would give {np.dtype(dtype)}: scans of one "
                "specimen must share a dtype; convert them, or make two specimens"
            )
        index = self.index(scan)
        return Region(
            self.store,
            found.path,
            found.shape,
            index,
            _coarser(self.scans[index].shape, level),
            found.dtype,
            chunk_of(self.level_block(level)),
        )

    def level(self, level: int) -> zarr.Group:
        """Return the group of a level of the pyramid, made if it is not there."""
        name = f"scale{level}"
        if name in self.group:
            found = self.group[name]
            assert isinstance(found, zarr.Group)
            return found
        made = self.group.require_group(name)
        self._coordinates(made, level, _coarser(self.shape, level))
        return made

    def level_block(self, level: int) -> Triple:
        """Return the shard of a level: halves of the block below, down to 32 voxels."""
        z, y, x = (max(min(32, b), -(-b >> level)) if level else b for b in self.block)
        return z, y, x

    def records(self, name: str, reduction: Reduction, scan: str) -> Records:
        """Return where a reduction's records of a scan go; the array is made, or made anew, to fit them."""
        group = self.blocks
        shape, dtype = reduction.record(self.block)
        grid = (len(self.scans), *self._grid_counts())
        found = group.get(name)
        if isinstance(found, zarr.Array) and (found.shape[4:] != shape or found.dtype != dtype):
            self._orphan(found.path)
            del group[name]
            found = None
        if found is None:
            found = create_records(group, name, shape, np.dtype(dtype), grid)
        assert isinstance(found, zarr.Array)
        return Records(self.store, found.path, found.shape, self.index(scan), self.grid(scan).counts)

    def ledger(self, step: str, scan: str, grid: Grid | None = None) -> Ledger:
        """Return the ledger of a step on a scan; `grid` where it is not of the full resolution."""
        shape = (len(self.scans), *self._grid_counts())
        return Ledger(self.blocks, step, self.index(scan), scan, grid or self.grid(scan), shape)

    def forget(self, scan: str, steps: Sequence[str]) -> None:
        """Let steps be done again on a scan, whose results are no more."""
        ours = attributes(self.blocks)
        for step in steps:
            for what in ("keys", "totals"):
                ours.get(what, {}).get(step, {}).pop(scan, None)
        note(self.blocks, ours)

    def progress(self, scan: str) -> list[tuple[str, int, int]]:
        """Return (step, finished blocks, all blocks) of the steps that a scan has begun, in order."""
        index, found = self.index(scan), []
        for step, totals in attributes(self.blocks).get("totals", {}).items():
            if scan in totals:
                flags: Any = self.blocks[f"done_{step}"]
                found.append((step, int(np.asarray(flags[index]).sum()), int(totals[scan])))
        return found

    @property
    def blocks(self) -> zarr.Group:
        """The group of ledgers and records."""
        return self.group.require_group("blocks")

    def parts(self, *place: str) -> StoredParts:
        """Return where tasks keep what is not one record a block; a folder of its own, if a place is named."""
        group = self.group.require_group("/".join(("parts", *place)))
        return StoredParts(self.store, group.path)

    def drop(self, path: str) -> None:
        """Remove what the study's store holds under a path."""
        drop(self.group, path)

    def mend(self) -> None:
        """Bring array shapes and coordinates in line with the list of scans."""
        scans = self.scans
        if not scans:
            return
        for level in range(sum(1 for name, _ in self.group.groups() if name.startswith("scale"))):
            group, shape = self.level(level), _coarser(self.shape, level)
            for _, array in group.arrays():
                if array.ndim == 4 and array.shape != (len(scans), *shape):
                    array.resize((len(scans), *shape))
            self._coordinates(group, level, shape)
        counts = self._grid_counts()
        for _, array in self.blocks.arrays():
            if array.ndim >= 4 and array.shape[:4] != (len(scans), *counts):
                array.resize((len(scans), *counts, *array.shape[4:]))
        self._scan_coordinates(self.blocks)
        mark_coordinates(self.blocks, ("cycle", "state"))

    def _coordinates(self, group: zarr.Group, level: int, shape: Triple) -> None:
        self._scan_coordinates(group)
        extent = np.array([_coarser(s.shape, level) for s in self.scans], dtype=np.int64)
        mark_coordinates(group, ("cycle", "state", "extent"))
        put_coordinate(group, "axis", ("axis",), list(AXES), {})
        put_coordinate(group, "extent", ("scan", "axis"), extent, {"long_name": "size of the scan", "units": "voxel"})
        for axis, n, size in zip(AXES, shape, self.voxel_size):
            centres = (np.arange(n) + 0.5) * (size * 2**level)
            put_coordinate(group, axis, (axis,), centres, {"long_name": f"{axis}, voxel centre", "units": "µm"})

    def _scan_coordinates(self, group: zarr.Group) -> None:
        scans = self.scans
        put_coordinate(group, "scan", ("scan",), [s.name for s in scans], {})
        cycles = np.array([s.cycle for s in scans], dtype=np.int64)
        put_coordinate(group, "cycle", ("scan",), cycles, {"long_name": "cycles of charge and discharge"})
        put_coordinate(group, "state", ("scan",), [s.state for s in scans], {"long_name": "state of charge"})

    def _grid_counts(self) -> Triple:
        return Grid.regular(self.shape, self.block).counts

    def _orphan(self, path: str) -> None:
        """Let every scan redo the steps that fill an array, which is about to be made anew."""
        ours = attributes(self.blocks)
        for step, paths in ours.get("writes", {}).items():
            if path in paths:
                ours["keys"].pop(step, None)
        note(self.blocks, ours)

    def _forget(self, index: int) -> None:
        ours, name = attributes(self.blocks), self.scans[index].name
        for what in ("keys", "totals"):
            ours[what] = {k: {s: v for s, v in scans.items() if s != name} for k, scans in ours.get(what, {}).items()}
        note(self.blocks, ours)
        for group in (*(g for n, g in self.group.groups() if n.startswith("scale")), self.blocks):
            for array_name, array in group.arrays():
                if array.ndim >= 4:  # whole files: a scan's shards lie in one folder of each array
                    drop(group, f"{group.path}/{array_name}/c/{index}")


def _coarser(shape: Triple, level: int) -> Triple:
    z, y, x = (-(-n >> level) for n in shape)
    return z, y, x
