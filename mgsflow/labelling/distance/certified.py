"""Exact distances of a box of voxels, from a mask that is read around it only as far as needed.

*Certificate.* Let D be the distance of a voxel to the background within what was read, and g the steps along an axis
from the voxel to the first one beyond an artificial face. Background beyond that face is at least g steps away, so
that where D is at most g steps long, none of it can be nearer: D is exact. Faces at the border of the volume are not
artificial: there is nothing beyond. Where more is read D can only fall, so that reading as far as the values ask for
certifies them all. One retry is enough, unless no background was seen at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.compute import Source
from mgsflow.errors import MgsflowError
from mgsflow.labelling.distance.kernel import Distances, Metric, reach, scratch

HALO = 32
"""Voxels read around a block at first: half a stored chunk, whose other half is decoded anyway."""

REACH = 128
"""Voxels read around a block at most."""

SLAB = 64
"""Planes read at once: as many as stored chunks hold."""


class BeyondReach(MgsflowError, RuntimeError):  # noqa: N818
    """The background is farther from a block than it may read."""


@dataclass(frozen=True)
class DistanceSource:
    """A source of exact squared distances, computed where they are read.

    Parameters
    ----------
    mask : Source
        Voxels that are not zero are the phase.
    edges : tuple of float, optional
        Edges of a voxel along (z, y, x); default, distances are in voxels and their squares whole numbers.
    halo : int
        Voxels read around a box at first: enough for most.
    reach : int
        Voxels read around a box at most. It bounds the memory and the time.
    outside : bool
        Distances of the background to the phase instead.
    """

    mask: Source
    edges: tuple[float, float, float] | None = None
    halo: int = HALO
    reach: int = REACH
    outside: bool = False

    @property
    def shape(self) -> Triple:
        """Lengths along (z, y, x)."""
        return self.mask.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel: int32, or float64 if edges are given."""
        return Metric(self.edges).dtype

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        outer = [min(n, c + 2 * self.reach) for n, c in zip(self.shape, shape)]
        slab: Triple = (min(SLAB, outer[0]), outer[1], outer[2])
        itemsize = np.dtype(self.mask.dtype).itemsize
        # a result of an earlier try is gone before the next
        return (
            scratch(outer, shape, slab[0], self.dtype.itemsize)
            + prod(slab) * (itemsize + self.outside)
            + self.mask.scratch(slab)
        )

    def read(self, box: Box) -> np.ndarray:
        """Return the squared distances of a box; `FAR` or infinite where the volume has no background.

        Raises
        ------
        BeyondReach
            If that takes more than `reach` voxels around the box.
        """
        volume = Box.of(self.shape)
        allowed = box.grow(self.reach, volume)
        outer = box.grow(min(self.halo, self.reach), volume)
        while True:
            found = self._within(box, outer)
            if found.flat[0] == Metric(self.edges).far:
                # no background so far, for no voxel: nothing says how far to go
                wanted = outer.grow(max(HALO, *(a - b for a, b in zip(box.start, outer.start))), volume)
            else:
                low, high = reach(found, self.edges)
                start = tuple(max(0, min(o, b - n)) for o, b, n in zip(outer.start, box.start, low))
                stop = tuple(min(s, max(o, b + n)) for o, b, n, s in zip(outer.stop, box.stop, high, self.shape))
                wanted = Box(start, stop)  # type: ignore[arg-type]
            if wanted == outer:
                return found
            wanted = wanted.intersect(allowed)
            if wanted == outer:
                raise BeyondReach(
                    f"the background is over {self.reach} voxels away from the block at {box.start}: compute the "
                    "distances of the whole volume first (mgsflow.distance), or let blocks reach farther"
                )
            outer = wanted
            del found

    def _within(self, box: Box, outer: Box) -> np.ndarray:
        distances = Distances(outer.shape, box.relative_to(outer), self.edges)
        for slab in planes(outer):
            voxels = self.mask.read(slab)
            if self.outside:
                voxels = voxels == 0
            distances.add(voxels, slab.start[0] - outer.start[0])
        return distances.finish()


def planes(box: Box) -> Iterator[Box]:
    """Yield the planes of a box in slabs, cut where stored chunks are."""
    (z, y0, x0), (stop, y1, x1) = box.start, box.stop
    while z < stop:
        end = min(stop, (z // SLAB + 1) * SLAB)
        yield Box((z, y0, x0), (end, y1, x1))
        z = end
