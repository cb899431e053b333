"""Shapes of a region: for any box of voxels, which of them are inside.

A voxel is inside or outside as a whole. Filters and the majority filter of labels carry values across the border of a
region as far as they reach; a region that is `shrunk` by that reach holds the voxels that nothing outside can have
changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import hypot
from typing import Any, Protocol

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.compute import Source
from mgsflow.errors import InputError

AXES = "zyx"


class Region(Protocol):
    """Voxels of a scan that count. A frozen dataclass, cheap to pickle; its ``repr`` identifies it."""

    def inside(self, box: Box) -> np.ndarray:
        """Return for each voxel of a box whether it is inside: bool, of the box's shape, perhaps not writable."""
        ...

    def shrunk(self, reach: Triple) -> Region:
        """Return the voxels from which no voxel outside is within `reach` along (z, y, x)."""
        ...

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that `inside` holds beside the result."""
        ...


@dataclass(frozen=True)
class Cylinder:
    """A circular cylinder that reaches through the scan along an axis.

    Parameters
    ----------
    centre : (float, float)
        Of the circle, in voxels along the other two axes, in the order z, y, x; voxel i spans i − ½ to i + ½.
    radius : float
        In voxels; a voxel is inside if its centre is at most that far from the axis.
    axis : {"z", "y", "x"}
    """

    centre: tuple[float, float]
    radius: float
    axis: str = "z"

    def __post_init__(self) -> None:
        if self.axis not in tuple(AXES):
            raise InputError(f"axis of a cylinder must be z, y or x, got {self.axis!r}")
        if not self.radius > 0:
            raise InputError(f"radius of a cylinder must be above 0 voxels, got {self.radius:g}")

    @property
    def across(self) -> tuple[int, int]:
        """Positions of the two axes of the circle."""
        first, second = (i for i, a in enumerate(AXES) if a != self.axis)
        return first, second

    def inside(self, box: Box) -> np.ndarray:
        """Return for each voxel of a box whether it is inside."""
        first, second = self.across
        u = np.arange(box.start[first], box.stop[first]) - self.centre[0]
        v = np.arange(box.start[second], box.stop[second]) - self.centre[1]
        circle = u[:, None] ** 2 + v**2 <= self.radius**2
        return np.broadcast_to(np.expand_dims(circle, AXES.index(self.axis)), box.shape)

    def shrunk(self, reach: Triple) -> Cylinder:
        """Return the cylinder within which no voxel outside is in reach."""
        first, second = self.across
        by = hypot(reach[first], reach[second])
        if by >= self.radius:
            raise InputError(
                f"a cylinder of radius {self.radius:g} voxels has nothing left within the reach of the filters, "
                f"{by:.3g} voxels: give a larger radius, or fewer filters"
            )
        return replace(self, radius=self.radius - by) if by else self

    def scratch(self, shape: Triple) -> int:
        """Return the bytes of the squares of distances in the plane."""
        first, second = self.across
        return 24 * shape[first] * shape[second] + 4096


@dataclass(frozen=True)
class Mask:
    """The voxels of an image of the scan's shape that are not a given value.

    Parameters
    ----------
    source : Source
        The image; a voxel is inside where it is not `outside`.
    outside : float
        The value; NaN for not a number.
    reach : tuple of int
        How far along (z, y, x) the nearest voxel outside must be.
    identity : str
        Tells the content of the source from another's.
    """

    source: Source
    outside: float = 0.0
    reach: Triple = (0, 0, 0)
    identity: str = ""

    def __repr__(self) -> str:
        return f"Mask({self.identity!r}, outside={self.outside!r}, reach={self.reach})"

    def inside(self, box: Box) -> np.ndarray:
        """Return for each voxel of a box whether it is inside."""
        outer = box.grow(self.reach, within=Box.of(self.source.shape))
        values = self.source.read(outer)
        found: np.ndarray = ~np.isnan(values) if np.isnan(self.outside) else values != values.dtype.type(self.outside)
        if any(self.reach):
            from scipy.ndimage import minimum_filter  # not needed by workers without masks

            # beyond the scan there is no voxel outside
            found = minimum_filter(found, size=[2 * r + 1 for r in self.reach], mode="constant", cval=True)
        return np.ascontiguousarray(found[box.relative_to(outer).slices])

    def shrunk(self, reach: Triple) -> Mask:
        """Return the mask eroded by a box of that reach."""
        z, y, x = (a + b for a, b in zip(self.reach, reach))
        return replace(self, reach=(z, y, x))

    def scratch(self, shape: Triple) -> int:
        """Return the bytes of the image around a box and of its masks."""
        grown: Any = tuple(n + 2 * r for n, r in zip(shape, self.reach))
        size = int(np.prod(grown))
        return self.source.scratch(grown) + size * (np.dtype(self.source.dtype).itemsize + 3)
