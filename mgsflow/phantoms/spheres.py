"""Spheres: given ones, and random packings of any size whose spheres stay apart or overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.errors import InputError
from mgsflow.phantoms.grains import FAR, PARTICLE, SCALE, Grains, Level
from mgsflow.phantoms.grey import GreyModel
from mgsflow.phantoms.phantom import Phantom, VoxelSize, scan_shape, voxel_triple
from mgsflow.phantoms.sampling import Lattice, tiles
from mgsflow.phantoms.shapes import PORE, SOLID, default_grey


@dataclass(frozen=True, eq=False)
class GivenSpheres:
    """Spheres of given centres and radii; see `spheres`."""

    voxel_size: VoxelSize
    centres: np.ndarray
    radii: np.ndarray
    inside: int

    phase_names = ("pore", "solid")

    def labels(self, box: Box) -> np.ndarray:
        """Return the phases (uint8) of a box, which may lie outside the volume."""
        v = np.array(self.voxel_size)
        out = np.full(box.shape, PORE + SOLID - self.inside, np.uint8)
        low, high = np.array(box.start) * v, np.array(box.stop) * v
        away = self.centres - np.clip(self.centres, low, high)
        for i in np.flatnonzero((away * away).sum(axis=1) < self.radii**2):
            c, r = self.centres[i], self.radii[i]
            first = np.floor((c - r) / v).astype(int)
            last = np.ceil((c + r) / v).astype(int)
            near = Box(tuple(first), tuple(last)).intersect(box)
            z, y, x = ((np.arange(a, b) + 0.5) * s - m for a, b, s, m in zip(near.start, near.stop, v, c))
            d2 = (z * z)[:, None, None] + (y * y)[:, None] + x * x
            out[near.relative_to(box).slices][d2 < r * r] = self.inside
        return out

    def particles(self, box: Box) -> np.ndarray:
        """Return the spheres whose centres lie in a box."""
        v = np.array(self.voxel_size)
        low, high = np.array(box.start) * v, np.array(box.stop) * v
        keep = np.all((self.centres >= low) & (self.centres < high), axis=1)
        out = np.empty(int(keep.sum()), PARTICLE)
        out["centre"], out["radius"] = self.centres[keep], self.radii[keep]
        return out


@dataclass(frozen=True)
class RandomSpheres:
    """Spheres on hashed sites; see `random_spheres`."""

    shape: Triple
    voxel_size: VoxelSize
    grains: Grains
    fraction: float

    phase_names = ("pore", "solid")

    @property
    def largest_scale(self) -> float:
        """Factor on the radii at which the largest spheres that were kept apart would touch."""
        gap = self.grains.gap
        return SCALE if gap < 0 else 1.0 + gap / self.grains.levels[0].diameters[1]

    def labels(self, box: Box) -> np.ndarray:
        """Return the phases (uint8) of a box, which may lie outside the volume."""
        out = np.empty(box.shape, np.uint8)
        scale = np.float32(_scale(self))
        for tile in tiles(box):
            out[tile.relative_to(box).slices] = self._near(Lattice.of(tile)) < scale
        return out

    def particles(self, box: Box) -> np.ndarray:
        """Return the spheres whose centres lie in a box."""
        return self.grains.listed(box, self.voxel_size, _scale(self))

    def _near(self, lattice: Lattice) -> np.ndarray:
        near = np.full(lattice.count, FAR, np.float32)
        self.grains.distance(near, lattice, self.voxel_size)
        return near


@lru_cache(maxsize=64)
def _wanted(geometry: RandomSpheres) -> float:
    """Return the factor on the radii that gives the fraction asked for in the volume."""
    return float(np.quantile(geometry._near(Lattice.sparse(geometry.shape)), geometry.fraction))


def _scale(geometry: RandomSpheres) -> float:
    return min(max(_wanted(geometry), 1.0 / SCALE), geometry.largest_scale)


def spheres(
    shape: int | Triple,
    centres: Sequence[Sequence[float]] | np.ndarray,
    radii: float | Sequence[float] | np.ndarray,
    inside: str = "solid",
    voxel_size: float | VoxelSize = 1.0,
    grey: GreyModel | None = None,
) -> Phantom:
    """Return spheres of given centres and radii, which may overlap and reach out of the volume.

    Parameters
    ----------
    shape : int or tuple of int
    centres : array_like, (n, 3)
        (z, y, x), µm.
    radii : float or array_like, (n,)
        µm.
    inside : {"solid", "pore"}
        Phase of the spheres.
    voxel_size : float or tuple of float
        µm.
    grey : GreyModel, optional

    Returns
    -------
    Phantom
        Labels 0 pore, 1 solid.
    """
    n, v = scan_shape(shape), voxel_triple(voxel_size)
    c = np.array(centres, np.float64).reshape(-1, 3) if np.size(centres) % 3 == 0 else np.empty((0, 0))
    if c.shape[1] != 3 or np.ndim(centres) != 2 or not np.isfinite(c).all():
        raise InputError(f"centres must be finite (n, 3), got shape {np.shape(centres)}")
    r = np.array(radii, np.float64)
    if r.ndim > 1 or (r.ndim == 1 and len(r) != len(c)) or not (np.isfinite(r) & (r > 0)).all():
        raise InputError(f"radii must be positive, one or one for each of {len(c)} centres, got {radii}")
    if inside not in ("pore", "solid"):
        raise InputError(f"inside must be 'pore' or 'solid', got {inside!r}")
    geometry = GivenSpheres(v, c, np.broadcast_to(r, len(c)).copy(), SOLID if inside == "solid" else PORE)
    return Phantom(n, v, geometry, grey or default_grey(2))


def random_spheres(
    shape: int | Triple,
    fraction: float,
    diameters: float | tuple[float, float],
    overlap: bool = False,
    seed: int = 0,
    voxel_size: float | VoxelSize = 1.0,
    grey: GreyModel | None = None,
) -> Phantom:
    """Return randomly placed solid spheres.

    Parameters
    ----------
    shape : int or tuple of int
    fraction : float
        Volume fraction of the spheres: at most 0.1 if they stay apart, 0.6 if they overlap. All radii are scaled by
        one factor (within 1.3 either way) to meet it; a volume of only a few spheres may miss it.
    diameters : float or tuple of float
        Smallest and largest, before scaling, µm; the density falls as d^-4.
    overlap : bool
        Whether spheres may overlap; else no two touch.
    seed : int
    voxel_size : float or tuple of float
        µm.
    grey : GreyModel, optional

    Returns
    -------
    Phantom
        Labels 0 pore, 1 solid; ``particles()`` lists the spheres.
    """
    n, v = scan_shape(shape), voxel_triple(voxel_size)
    sizes = [float(d) for d in np.atleast_1d(diameters)]
    small, large = sizes[0], sizes[-1]
    top = 0.6 if overlap else 0.1
    if not 0 < fraction <= top:
        raise InputError(f"fraction must be above 0 and at most {top} with overlap={overlap}, got {fraction}")
    if len(sizes) > 2 or not 0 < small <= large < np.inf:
        raise InputError(f"diameters must be positive and ascending (µm), got {diameters}")
    # mean volume under the density d^-4; then one sphere a cell at the number density asked for
    ratio = large / small
    cubed = small**3 * (3.0 * math.log(ratio) / (1.0 - ratio**-3) if ratio > 1.0 + 1e-9 else 1.0)
    volume = math.pi / 6.0 * cubed
    density = (-math.log(1.0 - fraction) if overlap else fraction) / volume
    # Candidates that are dropped to keep spheres apart must be made up for: add some until the radii need not grow.
    for _ in range(12):
        level = Level((0.95 / density) ** (1.0 / 3.0), 0.95, (small, large))
        grains = Grains((level,), int(seed), gap=-1.0 if overlap else 0.05 * large)
        geometry = RandomSpheres(n, v, grains, float(fraction))
        if overlap or _wanted(geometry) <= geometry.largest_scale:
            break
        density *= 1.2
    return Phantom(n, v, geometry, grey or default_grey(2), int(seed))
