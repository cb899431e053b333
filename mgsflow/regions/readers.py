"""Scans as they are read with a region: a box of a larger file, or with its empty outside filled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.errors import InputError
from mgsflow.readers import Reader
from mgsflow.readers.voxels import check_finite, nonfinite_allowed
from mgsflow.regions.shapes import Region


@dataclass(frozen=True)
class Cropped:
    """A box of a volume, as a volume of its own.

    Parameters
    ----------
    whole : Reader
    box : Box
        Inside the volume.
    """

    whole: Reader
    box: Box

    def __post_init__(self) -> None:
        if not all(self.box.shape) or not Box.of(self.whole.shape).contains(self.box):
            raise InputError(
                f"the box {_spans(self.box)} is not within the scan of {_spans(Box.of(self.whole.shape))} voxels"
            )

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        return self.box.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        return self.whole.dtype

    @property
    def voxel_size(self) -> tuple[float, float, float] | None:
        """Edges (z, y, x) of a voxel in µm."""
        return self.whole.voxel_size

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the volume comes from."""
        return self.whole.files

    @property
    def grain(self) -> Triple:
        """Least box that is read without reading or decoding its neighbours."""
        return self.whole.grain

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the files."""
        return self.whole.warnings

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        return self.whole.scratch(shape)

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box, counted from the first that is kept."""
        if not Box.of(self.shape).contains(box):
            raise InputError(f"box {box.start} to {box.stop} is not inside the volume of shape {self.shape}")
        return self.whole.read(box.shift(self.box.start))


@dataclass(frozen=True)
class Filled:
    """A volume whose voxels outside a region may be NaN or infinite: they are read as 0.

    Parameters
    ----------
    volume : Reader
    region : Region
        Inside which every value must be finite.
    """

    volume: Reader
    region: Region

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        return self.volume.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        return self.volume.dtype

    @property
    def voxel_size(self) -> tuple[float, float, float] | None:
        """Edges (z, y, x) of a voxel in µm."""
        return self.volume.voxel_size

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the volume comes from."""
        return self.volume.files

    @property
    def grain(self) -> Triple:
        """Least box that is read without reading or decoding its neighbours."""
        return self.volume.grain

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the files."""
        return self.volume.warnings

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        return self.volume.scratch(shape) + self.region.scratch(shape) + 2 * int(np.prod(shape))

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box."""
        with nonfinite_allowed():
            values = self.volume.read(box)
        if values.dtype.kind != "f":
            return values
        bad = ~np.isfinite(values)
        if bad.any():
            outside = ~self.region.inside(box)
            if not (bad <= outside).all():
                z = int(np.argmax((bad & ~outside).any(axis=(1, 2))))
                plane = np.where(outside[z], values.dtype.type(0), values[z])
                check_finite(plane, f"{self.files[0]}: z={box.start[0] + z}, inside the region", box.start[1:])
            values = np.where(bad, values.dtype.type(0), values)
        return values


def _spans(box: Box) -> str:
    return ", ".join(f"{axis} {a}:{b}" for axis, a, b in zip("zyx", box.start, box.stop))
