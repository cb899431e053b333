"""Volume fractions of phases slice by slice, and how they change along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numba import njit

from mgsflow.blocks import Block, Grid, Triple
from mgsflow.measures.definition import block_records
from mgsflow.measures.labels import as_labels, check_names, check_outside, check_phases, label_scratch
from mgsflow.measures.surface.crofton import check_voxel_size

if TYPE_CHECKING:
    import xarray as xr

_FEW = 8  # phases up to which a comparison with each is faster than a table


@dataclass(frozen=True)
class DepthProfile:
    """Count the voxels of each phase in every slice along z, y and x.

    Parameters
    ----------
    phases : int
        Number of phases, at most 256: labels are ``0 … phases - 1``.
    outside : int, optional
        Label of voxels that are none of the volume: a slice's fractions are of its other voxels.

    Raises
    ------
    InputError
        If `phases` is out of its range. When called: for a label that is none of the phases.

    Notes
    -----
    A record has shape (3, phases, longest edge of the block): one row of counts an axis and phase.
    """

    phases: int
    outside: int | None = None

    name: ClassVar[str] = "depth_profile"
    halo: ClassVar[Triple] = (0, 0, 0)

    def __post_init__(self) -> None:
        check_phases(self.phases, 256)
        check_outside(self.outside, self.phases)

    @property
    def source(self) -> DepthProfile:
        """The reduction whose records this measure reads."""
        return DepthProfile(self.phases)

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of a record, ``(axes, phases, longest edge)``."""
        kind = np.uint32 if prod(largest) < 1 << 32 else np.uint64
        return (3, self.phases, max(largest)), np.dtype(kind)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of a copy of the labels, where one is needed."""
        return label_scratch(shape, dtype) + (1 << 16)

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the record of a block."""
        labels = as_labels(array, block, self.phases)[block.trim]
        shape, dtype = self.record(block.core.shape)
        out = np.zeros(shape, dtype)
        for z in range(labels.shape[0]):
            _count_plane(np.ascontiguousarray(labels[z]), z, out)
        return out

    def counts(self, records: Any, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the voxels of each phase in each slice, shape (phases, slices), along z, y and x."""
        z, y, x = (np.zeros((self.phases, n), np.int64) for n in grid.shape)
        for block, record in block_records(records, grid):
            for axis, total in enumerate((z, y, x)):
                n = block.core.shape[axis]
                at = block.core.slices[axis]
                total[:, at] += record[axis, :, :n].astype(np.int64)
        return z, y, x

    def finalize(self, records: Any, grid: Grid, voxel_size: Sequence[float], phases: Sequence[str]) -> xr.Dataset:
        """Return the fraction of each phase in each slice, and the straight line through it.

        ``depth_profile_z(phase, z)``, ``depth_profile_y`` and ``depth_profile_x`` are fractions of a slice's voxels
        (NaN where all of them are outside); the coordinates are centres of slices in µm. ``depth_gradient(phase,
        axis)`` is the slope of the least-squares line through a profile, in µm⁻¹ (NaN along an axis of one slice):
        times the thickness, it is the change of the fraction from one side to the other.

        Raises
        ------
        InputError
            If records, names of phases or voxel size do not fit.
        """
        check_names(phases, self.phases)
        sizes = check_voxel_size(voxel_size)
        total = prod(grid.shape)
        data: dict[str, Any] = {}
        coords: dict[str, Any] = {"phase": list(phases), "axis": list("zyx")}
        gradient = np.full((self.phases, 3), np.nan)
        for i, (axis, counts, size) in enumerate(zip("zyx", self.counts(records, grid), sizes)):
            n = counts.shape[1]
            counted = np.full(n, total // n)
            if self.outside is not None:
                counted = counted - counts[self.outside]
                counts[self.outside] = 0
            fraction = np.divide(counts, counted, out=np.full(counts.shape, np.nan), where=counted > 0)
            attrs = {"units": "1", "long_name": f"volume fraction of the phase in each slice along {axis}"}
            data[f"depth_profile_{axis}"] = (("phase", axis), fraction, attrs)
            centres = (np.arange(n) + 0.5) * size
            coords[axis] = (axis, centres, {"units": "µm", "long_name": f"{axis}, voxel centre"})
            if n > 1 and (counted == counted[0]).all() and counted[0]:
                # slices counted from the middle in whole half steps: the sums are exact until the division
                steps = 2 * np.arange(n) - (n - 1)
                slope = (counts @ steps) / int(counted[0]) / float((steps**2).sum())
                gradient[:, i] = 2 * slope / size
            elif (counted > 0).sum() > 1:
                # slices of the region hold more voxels or fewer, and weigh so much
                steps = np.arange(n) - np.average(np.arange(n), weights=counted)
                known = np.where(counted > 0, fraction, 0.0)
                gradient[:, i] = (known * counted) @ steps / (counted @ steps**2) / size
        data["depth_gradient"] = (
            ("phase", "axis"),
            gradient,
            {"units": "µm⁻¹", "long_name": "slope of the straight line through the depth profile"},
        )
        import xarray as xr  # not needed by workers: 40 MiB less in each

        return xr.Dataset(data, coords=coords)


@njit(cache=True, nogil=True)
def _count_plane(plane: np.ndarray, z: int, counts: np.ndarray) -> None:
    phases = counts.shape[1]
    one = counts.dtype.type(1)
    ny, nx = plane.shape
    if phases <= _FEW:
        for y in range(ny):
            row = plane[y]
            for p in range(phases):
                phase = np.uint8(p)
                n = 0
                for x in range(nx):
                    n += row[x] == phase
                counts[0, p, z] += counts.dtype.type(n)
                counts[1, p, y] += counts.dtype.type(n)
                columns = counts[2, p]
                for x in range(nx):
                    columns[x] += row[x] == phase
    else:
        for y in range(ny):
            row = plane[y]
            for x in range(nx):
                p = row[x]
                counts[0, p, z] += one
                counts[1, p, y] += one
                counts[2, p, x] += one
