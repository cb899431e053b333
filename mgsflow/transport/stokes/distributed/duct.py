"""The volume that a flow is solved in when it is cut into slabs: image, reservoirs and the slabs across the flow."""

from __future__ import annotations

from dataclasses import dataclass

from mgsflow.blocks import Box, Triple
from mgsflow.compute import Source
from mgsflow.transport.stokes.distributed.slab import Slab, cut_slabs
from mgsflow.transport.stokes.velocity.coarse import velocity_boxes


@dataclass(frozen=True)
class Duct:
    """The volume that a flow is solved in, its axes in the order of the solver: that of the flow first.

    Attributes
    ----------
    source : Source
        Booleans that are true in pores.
    order : tuple of int
        Axes of the image, the first along the flow.
    edges : tuple of float
        Edges of a voxel in µm, in that order.
    sides : str
    reservoirs : int
        Open planes at either end.
    thickness : tuple of int
        Planes of each slab, reservoirs included.
    """

    source: Source
    order: Triple
    edges: tuple[float, float, float]
    sides: str
    reservoirs: int
    thickness: tuple[int, ...]

    @property
    def image_shape(self) -> Triple:
        """Voxels of the image, along the flow first."""
        z, y, x = (self.source.shape[d] for d in self.order)
        return z, y, x

    @property
    def shape(self) -> Triple:
        """Shape of a whole field, see `mgsflow.transport.stokes.velocity.faces`."""
        z, y, x = self.image_shape
        return z + 2 * self.reservoirs + 3, y + 2, x + 2

    @property
    def periodic(self) -> bool:
        """Whether the sides are."""
        return self.sides == "periodic"

    @property
    def slabs(self) -> list[Slab]:
        """The slabs, in order along the flow."""
        shifts, _ = velocity_boxes(self.shape, self.edges)
        return cut_slabs(self.thickness, shifts[0])

    def image_planes(self, slab: Slab) -> tuple[int, int]:
        """Return the planes of the image that are a slab's own."""
        before = 1 + self.reservoirs - slab.offset
        nz = self.image_shape[0]
        return min(max(slab.start - before, 0), nz), min(max(slab.stop - before, 0), nz)

    def box(self, start: int, stop: int) -> Box:
        """Return some planes of the image as a box of the image."""
        first, last = [0, 0, 0], list(self.source.shape)
        first[self.order[0]], last[self.order[0]] = start, stop
        return Box((first[0], first[1], first[2]), (last[0], last[1], last[2]))
