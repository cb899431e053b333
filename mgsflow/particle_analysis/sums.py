"""What a block knows of its particles: whole numbers that add up over blocks, exactly and in any order.

A block's labels are gone through in strips of a few rows along y, plane after plane, so that what is held beside the
block does not grow with it. Where a strip meets more particles than there is room for, as in noise, what is known so
far is handed out as a part of its own: parts of one block add up like those of two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Parts, Source
from mgsflow.errors import InputError
from mgsflow.particle_analysis.parts import Columns, Part
from mgsflow.particle_analysis.workspace import Room

ROOM = 1 << 14
"""Voxels of a plane of a strip, unless a row has more."""

MOST_VOXELS = 1 << 29
"""Voxels of a block: int32 holds its pairs, int64 its moments."""

MOST_EDGE = 1 << 16
"""Voxels along an axis of the volume: int64 holds the second moments of a block's particles about its origin."""


@dataclass(frozen=True)
class ParticleSums:
    """One pass over a volume of labels: what each block knows of its particles.

    Parameters
    ----------
    labels : Source
        Whole numbers; 0 is background, any other a particle.
    grid : Grid
        Of the labels' shape.
    parts : Parts
        Where a block's particles go, as ``particles.0``, and ``particles.1`` … where there are many.
    image : Source, optional
        Grey values: whole numbers, or floats, which are taken as float32.
    distance : Source, optional
        Of which the largest value in each particle is kept.

    Raises
    ------
    InputError
        If dtypes or shapes do not fit, or a volume or block is too large for exact sums. When run: for a negative
        label, a grey value in a particle that is not finite or, of 64 bits, beyond 2³².
    """

    labels: Source
    grid: Grid
    parts: Parts
    image: Source | None = None
    distance: Source | None = None
    room: int = field(default=ROOM, repr=False)

    def __post_init__(self) -> None:
        if self.labels.dtype.kind not in "biu":
            raise InputError(f"labels of particles are whole numbers, got {self.labels.dtype}")
        for what, source in (("labels", self.labels), ("image", self.image), ("distance", self.distance)):
            if source is None:
                continue
            if tuple(source.shape) != self.grid.shape:
                raise InputError(f"the {what} of shape {tuple(source.shape)} must have that of the labels and their"
                                 f" blocks, {self.grid.shape}")  # fmt: skip
            if source.dtype.kind not in "biuf":
                raise InputError(f"the {what} must hold real numbers, got {source.dtype}")
        if max(self.grid.shape) > MOST_EDGE:
            raise InputError(f"particles of at most {MOST_EDGE} voxels along an axis are exact, got {self.grid.shape}")
        if prod(self.grid.largest) > MOST_VOXELS:
            raise InputError(f"blocks of at most {MOST_VOXELS} voxels are exact, got {self.grid.largest}: take 256")

    @property
    def columns(self) -> Columns:
        """Columns of the parts."""
        return Columns(_kind(self.image), _kind(self.distance))

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when everything is stored."""
        core = self.grid.block(index).core
        # pairs belong to the block of their cube's lowest voxel
        stop: Triple = tuple(min(b + 1, n) for b, n in zip(core.stop, self.grid.shape))  # type: ignore[assignment]
        labels = self.labels.read(Box(core.start, stop))
        image = None if self.image is None else self.image.read(core)
        distance = None if self.distance is None else self.distance.read(core)
        before, count = None, 0
        for part in block_parts(labels, core, self.grid.shape, image, distance, self.room):
            if before is not None:
                self.parts.write(index, f"particles.{count}", before.pack(True))
                count += 1
            before = part
        assert before is not None
        self.parts.write(index, f"particles.{count}", before.pack(False))
        return index

    def read(self, index: Triple) -> Iterator[Part]:
        """Yield the parts of a block that was run."""
        count, more = 0, True
        while more:
            part, more = Part.unpack(self.parts.read(index, f"particles.{count}"))
            count += 1
            yield part

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        core = self.grid.largest
        outer: Triple = tuple(min(n, c + 1) for n, c in zip(self.grid.shape, core))  # type: ignore[assignment]
        held, peak = 0, 0
        for source, shape in ((self.labels, outer), (self.image, core), (self.distance, core)):
            if source is not None:
                size = prod(shape) * source.dtype.itemsize
                peak = max(peak, held + size + source.scratch(shape))
                held += size
        return max(peak, held + Room.bytes(outer, self.columns, self.room)) + (1 << 20)


def _kind(source: Source | None) -> str | None:
    return None if source is None else "f" if source.dtype.kind == "f" else "i"


def block_parts(
    labels: np.ndarray,
    core: Box,
    shape: Triple,
    image: np.ndarray | None = None,
    distance: np.ndarray | None = None,
    room: int = ROOM,
) -> Iterator[Part]:
    """Yield what a block knows of its particles: one part, or several where there are very many particles.

    Parameters
    ----------
    labels : ndarray of int
        Labels of the block and of one voxel more at each face that is not the volume's.
    core : Box
        The block.
    shape : tuple of int
        Of the volume.
    image, distance : ndarray, optional
        Of the block.
    room : int
        Voxels of a plane of a strip.
    """
    columns = Columns(*(None if a is None else "f" if a.dtype.kind == "f" else "i" for a in (image, distance)))
    nz, ny, nx = core.shape
    step = Room.rows(labels.shape, room)
    state = Room(labels.shape, columns, room)
    top = len(labels) == nz
    for y0 in range(0, ny, step):
        rows = min(step, ny - y0)
        own, read = slice(y0, y0 + rows), slice(y0, min(y0 + rows + 1, labels.shape[1]))
        for z in range(nz):
            if state.full:
                yield from state.take(core)
                state.clear()
            if z == 0 or state.is_clear:
                state.number(_plane(labels, z, read, core), z)
            place = np.array([z, y0, 0, core.start[0] + z, core.start[1] + y0, core.start[2]])
            state.add_runs(z, rows, nx, place, shape)
            if image is not None:
                state.add_grey(z, image[z, own], rows, nx, place)
            if distance is not None:
                state.add_distance(z, distance[z, own], rows, nx)
            last = top and z + 1 == nz
            if not last:
                state.number(_plane(labels, z + 1, read, core), z + 1)
            state.count_cubes(z, read.stop - read.start, rows, nx, last)
    yield from state.take(core)


def _plane(labels: np.ndarray, z: int, rows: slice, core: Box) -> np.ndarray:
    """Return rows of a plane as contiguous uint32 or uint64."""
    plane = labels[z, rows]
    if plane.dtype.kind == "i" and plane.size and plane.min() < 0:
        y, x = (int(i) for i in np.unravel_index(int(plane.argmin()), plane.shape))
        voxel = (core.start[0] + z, core.start[1] + rows.start + y, core.start[2] + x)
        raise InputError(f"label {int(plane.min())} at voxel {voxel}: labels of particles are 0 (none) or more")
    return np.ascontiguousarray(plane, np.uint64 if plane.dtype.itemsize == 8 else np.uint32)
