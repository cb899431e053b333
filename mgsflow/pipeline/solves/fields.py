"""Output of a solve beside its numbers: maps of the flux density, streamlines, and fields on request.

Fields are stored in ``scale0`` along (scan, z, y, x), one array per phase and axis: ``concentration_pore_x``,
``flux_pore_x``. Maps are small, at most `PIXELS` along each edge, and are collected in the group ``flux``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from mgsflow.blocks import Triple
from mgsflow.compute import Parts
from mgsflow.store import Region, Specimen
from mgsflow.store.remote import drop, place_of
from mgsflow.store.schema import AXES, VOLUME_DIMS

if TYPE_CHECKING:
    import xarray as xr

    from mgsflow.transport.streamlines.result import Streamlines

#: Edge of a chunk. Fields are not sharded: blocks of a solve differ from those of the store, and are written at once.
CHUNK = 64

#: Most pixels along an edge of a map.
PIXELS = 256

#: Fields that a study can request, with their descriptions.
FIELDS = {
    "concentration": "concentration over that of the inlet",
    "flux": "flux density over that of a cell of the phase",
}

#: Attributes of streamlines that are stored: see `mgsflow.transport.streamlines.result.Streamlines`.
_LINES = ("position", "speed", "time", "start", "end", "length")


@dataclass(frozen=True)
class Outputs:
    """Where the maps, streamlines and fields of a solve are stored.

    Parameters
    ----------
    parts : Parts
    index : tuple of int
    name : str
        Of the solve.
    bins : tuple of int
        Voxels along (z, y, x) that make a pixel of a map.
    fields : dict of str to Region
        For the requested ones of `FIELDS`.
    """

    parts: Parts
    index: Triple
    name: str
    bins: Triple
    fields: dict[str, Region] = field(default_factory=dict)

    def clear(self) -> None:
        """Remove the fields of an earlier solve: a solve without flow writes none."""
        for region in self.fields.values():
            drop(zarr.open_group(place_of(region.store), mode="r+"), f"{region.path}/c/{region.scan}")

    def put_maps(self, maps: Sequence[np.ndarray] | None) -> None:
        """Store the maps along z, y and x; None if the solve gave none."""
        for along, name in enumerate(AXES):
            bins = tuple(n for a, n in enumerate(self.bins) if a != along)
            small = np.zeros((0, 0), np.float32) if maps is None else _binned(maps[along], bins)
            self.parts.write(self.index, f"{self.name}.flux_{name}", small)

    def put_streamlines(self, lines: Streamlines | None) -> None:
        """Store streamlines; None if the solve gave no velocity."""
        for part in _LINES:
            column = np.zeros(0) if lines is None else np.atleast_1d(getattr(lines, part))
            self.parts.write(self.index, f"{self.name}.streamlines_{part}", column)


def stored_streamlines(parts: Parts, scan: int, name: str, axis: str) -> Streamlines | None:
    """Return the stored streamlines of a solve, or None."""
    from mgsflow.transport.streamlines.result import Streamlines

    columns = {part: parts.read((scan, 0, 0), f"{name}.streamlines_{part}") for part in _LINES}
    if not columns["end"].size:
        return None
    length = float(columns.pop("length")[0])
    return Streamlines(axis=axis, length=length, **columns)


def outputs(specimen: Specimen, scan: str, name: str, fields: Sequence[str], suffix: str) -> Outputs:
    """Return where the output of a solve on a scan is stored; missing arrays are created.

    Parameters
    ----------
    specimen : Specimen
    scan : str
    name : str
        Of the solve.
    fields : sequence of str
        Of `FIELDS`.
    suffix : str
        Phase and axis, for the names of arrays: ``pore_x``.
    """
    regions = {f: _region(specimen, scan, f, re.sub(r"[^A-Za-z0-9_.-]", "_", suffix)) for f in fields}
    return Outputs(specimen.parts(), (specimen.index(scan), 0, 0), name, bins_of(specimen.shape), regions)


def bins_of(shape: Triple) -> Triple:
    """Return the number of voxels along (z, y, x) of a pixel of a map, the same for all scans."""
    z, y, x = (-(-n // PIXELS) for n in shape)
    return z, y, x


def flux_maps(specimen: Specimen, scans: Sequence[str], solves: Sequence[tuple[str, str, str]]) -> xr.Dataset:
    """Return the maps of all scans.

    Parameters
    ----------
    specimen : Specimen
    scans : sequence of str
    solves : sequence of (name, phase, axis)

    Returns
    -------
    Dataset
        ``flux_along_z(scan, phase, axis, y, x)``, and so along y and x: the mean of the flux density along z, relative
        to that of a cell of the phase; ``axis`` is the direction of the flow. NaN where a solve gave no flux.
    """
    import xarray as xr

    phases = [p for p in specimen.phases if p in {phase for _, phase, _ in solves}]
    axes = [a for a in AXES if a in {axis for _, _, axis in solves}]
    bins, parts = bins_of(specimen.shape), specimen.parts()
    counts = [-(-n // b) for n, b in zip(specimen.shape, bins)]
    data: dict[str, Any] = {}
    for along, name in enumerate(AXES):
        shape = tuple(n for a, n in enumerate(counts) if a != along)
        values = np.full((len(scans), len(phases), len(axes), *shape), np.nan, np.float32)
        for i, scan in enumerate(scans):
            for solve, phase, axis in solves:
                part = parts.read((specimen.index(scan), 0, 0), f"{solve}.flux_{name}")
                rows, columns = part.shape
                values[i, phases.index(phase), axes.index(axis), :rows, :columns] = part
        dims = ("scan", "phase", "axis", *(a for a in AXES if a != name))
        long_name = f"flux density seen along {name}, its mean over what lies behind, over that of a cell of the phase"
        data[f"flux_along_{name}"] = (dims, values, {"units": "1", "long_name": long_name})
    coords: dict[str, Any] = {
        "scan": np.array(scans, dtype=object),
        "phase": np.array(phases, dtype=object),
        "axis": np.array(axes, dtype=object),
    }
    for a, name in enumerate(AXES):
        centres = (np.arange(counts[a]) + 0.5) * bins[a] * specimen.voxel_size[a]
        coords[name] = (name, centres, {"units": "µm", "long_name": f"{name}, pixel centre"})
    return xr.Dataset(data, coords=coords)


def _region(specimen: Specimen, scan: str, field: str, suffix: str) -> Region:
    group, name = specimen.level(0), f"{field}_{suffix}"
    full = (len(specimen.scans), *specimen.shape)
    if name not in group:
        group.create_array(
            name,
            shape=full,
            dtype=np.float32,
            chunks=(1, CHUNK, CHUNK, CHUNK),
            compressors=BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
            fill_value=np.nan,
            dimension_names=VOLUME_DIMS,
            attributes={"units": "1", "long_name": FIELDS[field]},
        )
    found = group[name]
    assert isinstance(found, zarr.Array)
    index = specimen.index(scan)
    return Region(
        specimen.store, found.path, found.shape, index, specimen.scans[index].shape, found.dtype, (CHUNK,) * 3
    )


def _binned(values: np.ndarray, bins: tuple[int, ...]) -> np.ndarray:
    """Return the means over pixels; the last row and column may cover fewer voxels."""
    wide = values.astype(np.float64)
    for axis, n in enumerate(bins):
        starts = np.arange(0, values.shape[axis], n)
        sizes = np.diff([*starts, values.shape[axis]])
        wide = np.add.reduceat(wide, starts, axis=axis) / np.expand_dims(sizes, 1 - axis)
    return wide.astype(np.float32)
