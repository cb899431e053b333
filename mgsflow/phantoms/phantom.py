"""A phantom scan: a geometry of phases, seen as a grey image; both are read box by box and never held whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mgsflow.blocks import Box, Triple, triple
from mgsflow.errors import InputError
from mgsflow.phantoms.grains import PARTICLE
from mgsflow.phantoms.grey import GreyModel

VoxelSize = tuple[float, float, float]


@runtime_checkable
class Source(Protocol):
    """A volume that is read box by box."""

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        ...

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box."""
        ...


class Geometry(Protocol):
    """Phases as a function of the voxel, in and around the volume."""

    @property
    def phase_names(self) -> tuple[str, ...]:
        """Name of each label."""
        ...

    def labels(self, box: Box) -> np.ndarray:
        """Return the phases (uint8) of a box, which may lie outside the volume."""
        ...

    def particles(self, box: Box) -> np.ndarray:
        """Return the particles (`PARTICLE`) whose centres lie in a box."""
        ...


@dataclass(frozen=True, eq=False)
class Phantom:
    """A scan whose true phases are known.

    Parameters
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    voxel_size : tuple of float
        µm along (z, y, x).
    geometry : Geometry
    grey : GreyModel
    seed : int
        Seed of grain and noise.

    Attributes
    ----------
    phase_names : tuple of str
        ``phase_names[i]`` is the phase of label i.
    truth : Source
        Phases, uint8.
    image : Source
        Grey values, uint16.
    thresholds : tuple of float
        Grey values midway between the phases'.
    """

    shape: Triple
    voxel_size: VoxelSize
    geometry: Geometry
    grey: GreyModel
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.grey.levels) != len(self.phase_names):
            raise InputError(f"levels must hold one grey value for each of {self.phase_names}, got {self.grey.levels}")

    @property
    def phase_names(self) -> tuple[str, ...]:  # noqa: D102
        return self.geometry.phase_names

    @property
    def thresholds(self) -> tuple[float, ...]:  # noqa: D102
        return self.grey.thresholds

    @property
    def truth(self) -> Truth:  # noqa: D102
        return Truth(self)

    @property
    def image(self) -> Image:  # noqa: D102
        return Image(self)

    def particles(self, box: Box | None = None) -> np.ndarray:
        """Return the true particles whose centres lie in a box (the volume, unless given), in a fixed order.

        Returns
        -------
        ndarray of `PARTICLE`
            ``centre`` (z, y, x) and ``radius`` of the sphere of equal volume, µm; empty for a geometry that has no
            particles.
        """
        return self.geometry.particles(self._checked(box or Box.of(self.shape)))

    def _checked(self, box: Box) -> Box:
        if not Box.of(self.shape).contains(box):
            raise InputError(f"box {box.start} to {box.stop} is not within the volume {self.shape}")
        return box


@dataclass(frozen=True, eq=False)
class Truth:
    """Phases of a phantom, as a source."""

    phantom: Phantom
    dtype: np.dtype[Any] = field(default=np.dtype(np.uint8), init=False)

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        return self.phantom.shape

    @property
    def voxel_size(self) -> VoxelSize:
        """Voxel size along (z, y, x), µm."""
        return self.phantom.voxel_size

    def read(self, box: Box) -> np.ndarray:
        """Return the phases of a box."""
        return self.phantom.geometry.labels(self.phantom._checked(box))


@dataclass(frozen=True, eq=False)
class Image:
    """Grey image of a phantom, as a source."""

    phantom: Phantom
    dtype: np.dtype[Any] = field(default=np.dtype(np.uint16), init=False)

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        return self.phantom.shape

    @property
    def voxel_size(self) -> VoxelSize:
        """Voxel size along (z, y, x), µm."""
        return self.phantom.voxel_size

    def read(self, box: Box) -> np.ndarray:
        """Return the grey values of a box."""
        p = self.phantom
        if not p._checked(box).size:
            return np.empty(box.shape, np.uint16)
        h = p.grey.halo
        # Phases go on beyond the volume, so that its border is like any other place.
        around = Box(_add(box.start, -h), _add(box.stop, h))
        return p.grey.render(p.geometry.labels(around), box, p.seed)


def scan_shape(shape: int | Triple) -> Triple:
    """Return a checked shape (z, y, x); one number is used for every axis."""
    out = triple(shape)
    if min(out) < 1:
        raise InputError(f"shape must be at least one voxel along each axis, got {out}")
    return out


def voxel_triple(voxel_size: float | VoxelSize) -> VoxelSize:
    """Return a checked voxel size (z, y, x) in µm; one number is used for every axis."""
    try:
        z, y, x = (float(voxel_size),) * 3 if np.isscalar(voxel_size) else map(float, voxel_size)  # type: ignore
    except (TypeError, ValueError):
        raise InputError(f"voxel_size must be one number or three (z, y, x) in µm, got {voxel_size!r}") from None
    if not all(0 < v < np.inf for v in (z, y, x)):
        raise InputError(f"voxel_size must be positive (µm), got {voxel_size}")
    return z, y, x


def no_particles() -> np.ndarray:
    """Return an empty list of particles."""
    return np.empty(0, PARTICLE)


def _add(corner: Triple, by: int) -> Triple:
    z, y, x = (c + by for c in corner)
    return z, y, x
