"""Distances of a volume in which blocks would have to reach too far: one pass along each axis, over whole lines.

A pencil is a bundle of lines from one face of the volume to the opposite one. What a pass finds is kept in a scratch
volume for the next; memory depends on the length of the lines, not on distances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Sink, Source
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import ArraySink, ArraySource
from mgsflow.labelling.distance.envelope import LONGEST, NEAR, along_x_all, along_y, along_z, lines_bytes
from mgsflow.labelling.distance.kernel import Metric
from mgsflow.labelling.passes import Each
from mgsflow.memory import write_bytes

_WIDE = 64  # voxels across a pencil: a stored chunk


@dataclass(frozen=True)
class Pencils:
    """The pass along one axis, pencil by pencil.

    Parameters
    ----------
    source : Source
        Along x, the mask: its voxels that are not zero are the phase. Else what the pass before found.
    sink : Sink
        Squared distances, as far as the axes that were done know.
    axis : {2, 1, 0}
        In this order: x, y, z.
    edges : tuple of float, optional
        Edges of a voxel; see `Metric`.
    outside : bool
        Distances of the background to the phase instead.
    """

    source: Source
    sink: Sink
    axis: int
    edges: tuple[float, float, float] | None = None
    outside: bool = False

    @property
    def grid(self) -> Grid:
        """Pencils along the axis."""
        shape = self.source.shape
        z, y, x = (n if i == self.axis else _WIDE for i, n in enumerate(shape))
        return Grid.regular(shape, (z, y, x))

    def run(self, index: Triple) -> Triple:
        """Do one pencil, and return its index when it is stored."""
        core = self.grid.block(index).core
        metric = Metric(self.edges)
        n = core.shape[self.axis]
        q, weight = metric.squares(self.axis, n + NEAR + 1), metric.weight(self.axis)
        voxels = self.source.read(core)
        if self.axis == 2:
            mask = np.ascontiguousarray((voxels != 0) != self.outside).view(np.uint8)
            found = np.empty(core.shape, metric.dtype)
            along_x_all(mask, q, weight, metric.far, found)
        else:
            found = np.array(voxels, order="C")
            (along_y if self.axis == 1 else along_z)(found, 0, n, q, weight, metric.far, found)
        self.sink.write(core, found)
        return index

    def memory(self) -> int:
        """Return the most bytes that one pencil holds at once."""
        shape = self.grid.largest
        size = prod(shape)
        itemsize = Metric(self.edges).dtype.itemsize
        given = size * np.dtype(self.source.dtype).itemsize
        lines = lines_bytes(max(shape), itemsize) + 16 * (max(shape) + NEAR) + (1 << 16)
        reading = self.source.scratch(shape)
        working = (3 * size if self.axis == 2 else 0) + size * itemsize + lines
        return given + max(reading, working + write_bytes(shape, itemsize, self.sink.chunk))


@contextmanager
def by_pencils(
    mask: Source,
    edges: tuple[float, float, float] | None,
    outside: bool,
    folder: Path | None,
    each: Each,
) -> Iterator[Source]:
    """Yield the squared distances of a volume, which are gone when the ``with`` block ends.

    Parameters
    ----------
    mask, edges, outside
        As of `Pencils`.
    folder : Path, optional
        Where scratch volumes may be kept for that time, in reach of all workers; default, in memory.
    each : callable
        Runs a function on the indices of all blocks of a grid, in any order, and returns when all are done.

    Raises
    ------
    InputError
        If the volume is longer than `LONGEST` along an axis.
    """
    if max(mask.shape) > LONGEST:
        raise InputError(f"distances by whole lines take at most {LONGEST} voxels along an axis, got {mask.shape}")
    dtype = Metric(edges).dtype
    if folder is None:
        whole = ArraySink(np.empty(mask.shape, dtype))  # a pencil may lie where it was read
        yield _passes(mask, edges, outside, each, lambda axis: whole)
        return
    with TemporaryDirectory(prefix=".distance-", dir=folder) as place:

        def scratch(axis: int) -> ArraySink:
            if axis == 0:  # two at a time
                rmtree(Path(place) / "2.zarr")
            # a pencil is a file
            shards = [-(-n // _WIDE) * _WIDE if i == axis else _WIDE for i, n in enumerate(mask.shape)]
            return ArraySink(
                zarr.create_array(
                    Path(place) / f"{axis}.zarr",
                    shape=mask.shape,
                    dtype=dtype,
                    chunks=(_WIDE,) * 3,
                    shards=tuple(shards),
                    compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
                    fill_value=0,
                )
            )

        yield _passes(mask, edges, outside, each, scratch)


def _passes(
    mask: Source,
    edges: tuple[float, float, float] | None,
    outside: bool,
    each: Each,
    scratch: Callable[[int], ArraySink],
) -> Source:
    source = mask
    for axis in (2, 1, 0):
        sink = scratch(axis)
        work = Pencils(source, sink, axis, edges, outside)
        each(work.run, work.grid)
        source = ArraySource(sink.array)
    return source
