"""Exact Euclidean distances of a mask: within a phase, outside of it, or signed.

Blocks are read with as much around them as their distances need (see `certified`). Where that is more than a block may
read, the whole volume is done by lines along each axis instead (see `pencils`). Both
give the same numbers, to the bit, for any blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Sink, Source
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import PhaseMask, check_mask, grid_of, like, sink_of
from mgsflow.labelling.distance.certified import HALO, REACH, BeyondReach, DistanceSource
from mgsflow.labelling.distance.kernel import FAR
from mgsflow.labelling.distance.pencils import by_pencils
from mgsflow.labelling.passes import client_for, folder_beside, runner
from mgsflow.memory import write_bytes

SIDES = ("inside", "outside", "signed")


@dataclass(frozen=True)
class DistanceBlocks:
    """Write distances block by block.

    Parameters
    ----------
    inside, outside : Source, optional
        Squared distances of the phase, of the background, or of both: the second then count as negative.
    sink : Sink
    grid : Grid
    scale : float
        What a distance is multiplied with: the edge of a voxel where squared distances are in voxels².
    squared : bool
        Write squared distances: as they are where `scale` is 1.
    """

    inside: Source | None
    outside: Source | None
    sink: Sink
    grid: Grid
    scale: float = 1.0
    squared: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what is written: int32 or float64 squared, else float32."""
        return result_dtype(np.dtype(self._sources[0].dtype), self.scale, self.squared)

    @property
    def _sources(self) -> list[Source]:
        return [s for s in (self.inside, self.outside) if s is not None]

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when it is stored.

        Raises
        ------
        BeyondReach
            As the sources do.
        """
        core = self.grid.block(index).core
        first, *others = self._sources
        out = self._finished(first.read(core))
        for source in others:
            out -= self._finished(source.read(core))
        self.sink.write(core, out)
        return index

    def _finished(self, squares: np.ndarray) -> np.ndarray:
        if squares.dtype == self.dtype:
            return squares if squares.flags.owndata else squares.copy()
        out = np.empty(squares.shape, self.dtype)
        for plane, result in zip(squares, out):  # little by little, to need little beside
            values = plane.astype(np.float64)
            if squares.dtype == np.int32:
                values[plane == FAR] = np.inf
            result[...] = values * self.scale**2 if self.squared else np.sqrt(values) * self.scale
        return out

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        shape = self.grid.largest
        size, plane = prod(shape), shape[1] * shape[2]
        given = size * np.dtype(self._sources[0].dtype).itemsize
        out = size * self.dtype.itemsize
        held = out if len(self._sources) == 2 else 0  # of the first, while the second is done
        reading = given + max(s.scratch(shape) for s in self._sources)
        writing = out + write_bytes(shape, self.dtype.itemsize, self.sink.chunk)
        return max(held + reading, held + given + out + 40 * plane, writing)


def distance(
    mask: Any,
    voxel_size: float | Sequence[float] = 1.0,
    squared: bool = False,
    side: str = "inside",
    out: Any = None,
    block: int | Sequence[int] = 256,
    threads: int | None = None,
    client: Any = None,
    halo: int = HALO,
    reach: int = REACH,
) -> Any:
    """Compute the exact Euclidean distance of each voxel to the nearest one on the other side of a mask.

    Distances are between the centres of voxels; what is outside the volume counts as nothing. They are the same, to the
    bit, for any blocks and any cluster.

    Parameters
    ----------
    mask : ndarray, zarr array or DataArray, shape (z, y, x)
        Booleans or integers; all but 0 is inside.
    voxel_size : float or sequence of float
        Edge of a voxel in µm, or edges along (z, y, x).
    squared : bool
        Return squared distances.
    side : {"inside", "outside", "signed"}
        Distances of voxels inside to the nearest one outside (0 outside), those of voxels outside to the nearest one
        inside (0 inside), or the former less the latter: positive inside, negative outside.
    out : ndarray or zarr array, optional
        Where to write, block by block: what does not fit in memory needs a zarr array.
    block : int or three
        Edges of a block in voxels, rounded up to whole files of `out`.
    threads : int, optional
        Threads, where there is no cluster; default, all cores.
    client : distributed.Client, optional
        Cluster to use where mask and `out` are stored; default, the current one.
    halo, reach : int
        Voxels around a block that are read at first, and at most; they change time and memory, not the result. Where
        distances are longer than `reach`, the volume is done by lines, with two scratch volumes beside `out`.

    Returns
    -------
    ndarray, zarr array or DataArray
        float32 in µm: the rounded value of the exact distance. Squared: whole numbers of voxels² in int32 where
        `voxel_size` is 1; else float64 in µm², where edges differ the least ((wx·dx)² + (wy·dy)²) + (wz·dz)². Where
        there is nothing to be distant from, infinite, or in int32 `mgsflow.labelling.distance.kernel.FAR`. `out` if it
        was given, a DataArray for a DataArray, else an ndarray.

    Raises
    ------
    InputError
        If the mask, `out` or a parameter cannot be used.
    """
    source = PhaseMask(check_mask(mask))
    size = check_edges(voxel_size)
    if side not in SIDES:
        raise InputError(f"side must be one of {', '.join(SIDES)}, got {side!r}")
    for name, value in (("halo", halo), ("reach", reach)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of voxels, at least 1, got {value!r}")
    same = size[0] == size[1] == size[2]
    edges, scale = (None, size[0]) if same else (size, 1.0)
    grid = grid_of(source.shape, block, out)
    client = None if out is None else client_for(client, mask, out)
    each = runner(client, threads)

    def work(inside: Source, outside: Source, sink: Sink) -> DistanceBlocks:
        return DistanceBlocks(
            None if side == "outside" else inside, None if side == "inside" else outside, sink, grid, scale, squared
        )

    inside: Source = DistanceSource(source, edges, halo, reach)
    outside: Source = DistanceSource(source, edges, halo, reach, outside=True)
    dtype = result_dtype(np.dtype(inside.dtype), scale, squared)
    target = np.empty(grid.shape, dtype) if out is None else out
    sink = sink_of(target, grid.shape, dtype)
    try:
        each(work(inside, outside, sink).run, grid)
    except BeyondReach:
        with ExitStack() as stack:
            folder = stack.enter_context(folder_beside(out, client is not None))
            if side != "outside":
                inside = stack.enter_context(by_pencils(source, edges, False, folder, each))
            if side != "inside":
                outside = stack.enter_context(by_pencils(source, edges, True, folder, each))
            each(work(inside, outside, sink).run, grid)
    return like(mask, target, "distance") if out is None else out


def result_dtype(given: np.dtype[Any], scale: float, squared: bool) -> np.dtype[Any]:
    """Return the type of distances that are made of squared distances of a given type, times a scale."""
    if not squared:
        return np.dtype(np.float32)
    return given if scale == 1 else np.dtype(np.float64)


def check_edges(voxel_size: float | Sequence[float]) -> tuple[float, float, float]:
    """Return the edges of a voxel along (z, y, x), of one or three.

    Raises
    ------
    InputError
        If they are not one or three positive numbers.
    """
    sizes = tuple(float(v) for v in (voxel_size if isinstance(voxel_size, Sequence | np.ndarray) else [voxel_size] * 3))
    if len(sizes) != 3 or not all(np.isfinite(v) and v > 0 for v in sizes):
        raise InputError(f"voxel_size must be a positive length in µm, or three (z, y, x), got {voxel_size!r}")
    return sizes[0], sizes[1], sizes[2]
