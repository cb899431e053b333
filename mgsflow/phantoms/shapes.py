"""Test geometries of exactly known description: spheres, ducts, slabs, cylinders, and Gaussian-field pores.

Lengths are in µm from the outer corner of voxel (0, 0, 0); a voxel belongs to a body if its centre lies inside. With
the default voxel size of 1 µm, lengths are in voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.errors import InputError
from mgsflow.phantoms.fields import LENGTH_PER_SPACING, add_field
from mgsflow.phantoms.grey import GreyModel
from mgsflow.phantoms.hashing import stream_key
from mgsflow.phantoms.phantom import Phantom, VoxelSize, no_particles, scan_shape, voxel_triple
from mgsflow.phantoms.sampling import Lattice, tiles

PORE, SOLID = 0, 1
_AXES = {"z": 0, "y": 1, "x": 2}
_GREYS = (18_200.0, 28_000.0, 37_000.0)


def default_grey(phases: int) -> GreyModel:
    """Return the cathode's grey model, with evenly spread grey values if there are more than three phases."""
    levels = _GREYS[:phases] if phases <= 3 else tuple(np.linspace(15_000.0, 50_000.0, phases).tolist())
    return GreyModel(levels=levels)


def build(shape: Triple, voxel: VoxelSize, geometry: _Shape, grey: GreyModel | None, seed: int) -> Phantom:
    """Return the phantom of a test geometry."""
    return Phantom(shape, voxel, geometry, grey or default_grey(len(geometry.phase_names)), seed)


@dataclass(frozen=True, eq=False)
class _Shape:
    """What the geometries share: voxel size, names, and centres of voxels."""

    voxel_size: VoxelSize
    phase_names: tuple[str, ...]

    def labels(self, box: Box) -> np.ndarray:
        """Return the phases (uint8) of a box, which may lie outside the volume."""
        raise NotImplementedError

    def particles(self, box: Box) -> np.ndarray:
        """Return no particles."""
        return no_particles()

    def _centres(self, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the centres of voxels, µm, as three arrays that broadcast to the box."""
        z, y, x = ((np.arange(a, b) + 0.5) * v for a, b, v in zip(box.start, box.stop, self.voxel_size))
        return z[:, None, None], y[:, None], x


@dataclass(frozen=True, eq=False)
class _Profile(_Shape):
    """Phases that do not change along an axis: a rule on the two others."""

    axis: int
    rule: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def labels(self, box: Box) -> np.ndarray:
        """Return the phases of a box."""
        a, b = (c for i, c in enumerate(self._centres(box)) if i != self.axis)
        return np.ascontiguousarray(np.broadcast_to(self.rule(a, b), box.shape))


@dataclass(frozen=True)
class _Rectangle:
    low: tuple[float, float]
    high: tuple[float, float]

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        inside = (a > self.low[0]) & (a < self.high[0]) & (b > self.low[1]) & (b < self.high[1])
        return np.where(inside, np.uint8(PORE), np.uint8(SOLID))


@dataclass(frozen=True)
class _Array:
    pitch: float
    radius: float

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        da, db = (v - (np.floor(v / self.pitch) + 0.5) * self.pitch for v in (a, b))
        return (da * da + db * db < self.radius * self.radius).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class _Slabs(_Shape):
    axis: int
    bounds: np.ndarray
    order: np.ndarray

    def labels(self, box: Box) -> np.ndarray:
        """Return the phases of a box."""
        layer = np.searchsorted(self.bounds, self._centres(box)[self.axis], side="right")
        return np.ascontiguousarray(np.broadcast_to(self.order[layer], box.shape))


@dataclass(frozen=True)
class GaussianPores:
    """Thresholded Gaussian field; see `gaussian_pores`."""

    shape: Triple
    voxel_size: VoxelSize
    porosity: float
    length: float
    seed: int

    phase_names = ("pore", "solid")

    def labels(self, box: Box) -> np.ndarray:
        """Return the phases of a box, which may lie outside the volume."""
        out = np.empty(box.shape, np.uint8)
        level = np.float32(_level(self))
        for tile in tiles(box):
            out[tile.relative_to(box).slices] = self._field(Lattice.of(tile)) >= level
        return out

    def particles(self, box: Box) -> np.ndarray:
        """Return no particles."""
        return no_particles()

    def _field(self, lattice: Lattice) -> np.ndarray:
        field = np.zeros(lattice.count, np.float32)
        z, y, x = (self.length / LENGTH_PER_SPACING / v for v in self.voxel_size)
        add_field(field, lattice, stream_key(self.seed, "gaussian pores"), (z, y, x), 1.0)
        return field


@lru_cache(maxsize=64)
def _level(geometry: GaussianPores) -> float:
    """Return the level that gives the porosity in the volume, within half a standard deviation of the expected one."""
    level = NormalDist().inv_cdf(geometry.porosity)
    found = float(np.quantile(geometry._field(Lattice.sparse(geometry.shape)), geometry.porosity))
    return min(max(found, level - 0.5), level + 0.5)


def duct(
    shape: int | Triple,
    width: float | tuple[float, float],
    axis: str = "x",
    voxel_size: float | VoxelSize = 1.0,
    grey: GreyModel | None = None,
) -> Phantom:
    """Return a straight duct of square or rectangular section along an axis, in the middle of a solid.

    Parameters
    ----------
    shape : int or tuple of int
    width : float or tuple of float
        Edges of the section along the two other axes (in the order z, y, x), µm.
    axis : {"x", "y", "z"}
    voxel_size : float or tuple of float
        µm.
    grey : GreyModel, optional

    Returns
    -------
    Phantom
        Labels 0 pore (in the duct), 1 solid.
    """
    n, v, i = scan_shape(shape), voxel_triple(voxel_size), _axis(axis)
    w = _positive("width", (width, width) if np.isscalar(width) else width, 2)  # type: ignore[arg-type]
    middle = [0.5 * n[k] * v[k] for k in range(3) if k != i]
    rule = _Rectangle((middle[0] - w[0] / 2, middle[1] - w[1] / 2), (middle[0] + w[0] / 2, middle[1] + w[1] / 2))
    return build(n, v, _Profile(v, ("pore", "solid"), i, rule), grey, 0)


def cylinders(
    shape: int | Triple,
    pitch: float,
    radius: float,
    axis: str = "z",
    voxel_size: float | VoxelSize = 1.0,
    grey: GreyModel | None = None,
) -> Phantom:
    """Return a square array of parallel solid cylinders; the first is in the middle of a cell at the origin.

    Parameters
    ----------
    shape : int or tuple of int
    pitch : float
        Edge of a cell, µm.
    radius : float
        µm, at most half the pitch.
    axis : {"z", "y", "x"}
        Direction of the cylinders.
    voxel_size : float or tuple of float
        µm.
    grey : GreyModel, optional

    Returns
    -------
    Phantom
        Labels 0 pore, 1 solid (cylinders).
    """
    n, v, i = scan_shape(shape), voxel_triple(voxel_size), _axis(axis)
    p, r = _positive("pitch and radius", (pitch, radius), 2)
    if 2 * r > p:
        raise InputError(f"radius must be at most half the pitch {pitch}, got {radius}")
    return build(n, v, _Profile(v, ("pore", "solid"), i, _Array(p, r)), grey, 0)


def slabs(
    shape: int | Triple,
    thicknesses: Sequence[float],
    labels: Sequence[int] | None = None,
    axis: str = "z",
    phase_names: Sequence[str] | None = None,
    voxel_size: float | VoxelSize = 1.0,
    grey: GreyModel | None = None,
) -> Phantom:
    """Return layers along an axis; the last goes on to the end of the volume.

    Parameters
    ----------
    shape : int or tuple of int
    thicknesses : sequence of float
        Of each layer, µm.
    labels : sequence of int, optional
        Phase of each layer; 0, 1, 2, … unless given.
    axis : {"z", "y", "x"}
    phase_names : sequence of str, optional
    voxel_size : float or tuple of float
        µm.
    grey : GreyModel, optional

    Returns
    -------
    Phantom
    """
    n, v, i = scan_shape(shape), voxel_triple(voxel_size), _axis(axis)
    t = _positive("thicknesses", thicknesses, len(thicknesses))
    order = list(range(len(t))) if labels is None else [int(k) for k in labels]
    if len(order) != len(t) or min(order) < 0 or max(order) > 254:
        raise InputError(f"labels must be {len(t)} whole numbers within 0 and 254, one a layer, got {labels}")
    names = tuple(phase_names or (f"phase {k}" for k in range(max(order) + 1)))
    if len(names) <= max(order):
        raise InputError(f"phase_names must name the labels 0 to {max(order)}, got {names}")
    geometry = _Slabs(v, names, i, np.cumsum(t)[:-1], np.array(order, np.uint8))
    return build(n, v, geometry, grey, 0)


def gaussian_pores(
    shape: int | Triple,
    porosity: float,
    correlation_length: float,
    seed: int = 0,
    voxel_size: float | VoxelSize = 1.0,
    grey: GreyModel | None = None,
) -> Phantom:
    """Return a Gaussian random field cut at the level that gives a porosity.

    Parameters
    ----------
    shape : int or tuple of int
    porosity : float
        Within 0 and 1; met to about 0.1 % unless the volume holds only a few correlation lengths.
    correlation_length : float
        l of the field's correlation, which is close to ``exp(-r^2 / l^2)``; µm, at least 1.2 voxels.
    seed : int
    voxel_size : float or tuple of float
        µm.
    grey : GreyModel, optional

    Returns
    -------
    Phantom
        Labels 0 pore, 1 solid.
    """
    n, v = scan_shape(shape), voxel_triple(voxel_size)
    if not 0 < porosity < 1:
        raise InputError(f"porosity must be within 0 and 1, got {porosity}")
    if not 1.2 * max(v) <= correlation_length < np.inf:
        raise InputError(
            f"correlation_length must be at least 1.2 voxels ({1.2 * max(v):g} µm), got {correlation_length}"
        )
    geometry = GaussianPores(n, v, float(porosity), float(correlation_length), int(seed))
    return Phantom(n, v, geometry, grey or default_grey(2), int(seed))


def _axis(axis: str) -> int:
    if axis not in _AXES:
        raise InputError(f"axis must be one of 'z', 'y', 'x', got {axis!r}")
    return _AXES[axis]


def _positive(name: str, values: Sequence[float], count: int) -> list[float]:
    out = [float(v) for v in values]
    if not out or len(out) != count or not all(0 < v < np.inf for v in out):
        raise InputError(f"{name} must be {count} positive length{'s' if count > 1 else ''} (µm), got {values}")
    return out
