"""Particles on jittered, hashed grid cells: any box of space lists its own, whatever was listed before.

Each level of a `Grains` is a grid of cubic cells; a cell holds one particle with some probability, anywhere in it.
Where two would overlap, the one of the coarser level stays, and among equals the one of the larger hash (Matern's
second hard-core process, level by level). The rule looks at candidates and not at survivors, so it ends after one
step and needs only the neighbouring cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from mgsflow.blocks import Box
from mgsflow.errors import InputError
from mgsflow.phantoms.hashing import point_hash, row_hash, stream_key, unit
from mgsflow.phantoms.sampling import Lattice

# Radii may be scaled by a calibration, within this factor; the metric is not evaluated beyond.
SCALE = 1.3
FAR = np.float32(9.0)
_ROUGH = 2.0  # the roughness field is clipped at two standard deviations
_COLUMNS = 8  # z, y, x, radius, axis (3), stretch


@dataclass(frozen=True)
class Level:
    """Particles of one range of sizes.

    Parameters
    ----------
    cell : float
        Edge of the grid cells, µm.
    probability : float
        That a cell has a candidate.
    diameters : tuple of float
        Smallest and largest volume-equivalent diameter, µm; between them the density falls as d^-4, which spreads the
        volume evenly over log d.
    """

    cell: float
    probability: float
    diameters: tuple[float, float]

    def __post_init__(self) -> None:
        small, large = self.diameters
        if not 0 < small <= large:
            raise InputError(f"diameters must be positive and ascending, got {self.diameters}")
        if not self.cell > 0 or not 0 <= self.probability <= 1:
            raise InputError(
                f"cell must be positive and probability within 0 and 1, got {self.cell}, {self.probability}"
            )


@dataclass(frozen=True)
class Grains:
    """Ellipsoidal particles of several levels.

    Parameters
    ----------
    levels : tuple of Level
        From the largest particles to the smallest.
    seed : int
    stretch : float
        Semi-axes along a random direction are longer or shorter than the others by up to ``1 + stretch``.
    gap : float
        Least distance between the spheres of equal volume, µm; negative values let particles overlap.
    """

    levels: tuple[Level, ...]
    seed: int
    stretch: float = 0.0
    gap: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.stretch <= 2:
            raise InputError(f"stretch must be within 0 and 2, got {self.stretch}")

    @property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        table = [(v.cell, v.probability, *v.diameters) for v in self.levels]
        # keyed by the cell and not by the position, so that levels keep their sites whichever others there are
        keys = [stream_key(self.seed, f"grains {v.cell}") for v in self.levels]
        return np.array(table, np.float64), np.array(keys, np.uint64)

    def near(self, low: np.ndarray, high: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Return the particles that may reach into a box of space.

        Parameters
        ----------
        low, high : ndarray
            Corners (z, y, x), µm.
        margin : float
            Reach beyond the scaled particles, µm.

        Returns
        -------
        ndarray of float64, (n, 8)
            Centre (z, y, x) and radius of the sphere of equal volume in µm, unit vector of the odd axis, and its
            stretch.
        """
        table, keys = self._tables
        found = []
        for i, level in enumerate(self.levels):
            reach = 0.5 * level.diameters[1] * SCALE * (1.0 + self.stretch) ** (2.0 / 3.0) + margin
            a = np.floor((low - reach) / level.cell).astype(np.int64)
            b = np.floor((high + reach) / level.cell).astype(np.int64) + 1
            found.append(_enumerate(table, keys, i, a, b, self.gap, self.stretch))
        return np.concatenate(found)

    def distance(
        self,
        out: np.ndarray,
        lattice: Lattice,
        voxel_size: tuple[float, float, float],
        rough: np.ndarray | None = None,
        amplitude: float = 0.0,
        most: float = 0.0,
    ) -> None:
        """Lower an array to the scaled distance of each voxel from the nearest particle.

        The distance is 1 on the surface of a particle and proportional to the distance from its centre:
        ``(rho - min(amplitude r, most) F) / r``, with rho the ellipsoidal norm and F the field `rough`.

        Parameters
        ----------
        out : ndarray of float32
            Changed in place where a distance below `SCALE` is found.
        lattice : Lattice
        voxel_size : tuple of float
            µm.
        rough : ndarray of float32, optional
            Unit field at the lattice, clipped at two.
        amplitude, most : float
            Displacement of the surface: a share of the radius, and at most so many µm.
        """
        v = np.array(voxel_size, np.float64)
        box = lattice.box
        low, high = np.array(box.start) * v, np.array(box.stop) * v
        list_ = self.near(low, high, _ROUGH * most * (1.0 + self.stretch) ** (2.0 / 3.0))
        field = rough if rough is not None else np.zeros((1, 1, 1), np.float32)
        _distance(out, *lattice.args, v, list_, field, rough is not None, amplitude, most)

    def listed(self, box: Box, voxel_size: tuple[float, float, float], scale: float) -> np.ndarray:
        """Return the particles whose centres lie in a box of voxels, as records of centre and radius in µm."""
        v = np.array(voxel_size, np.float64)
        low, high = np.array(box.start) * v, np.array(box.stop) * v
        near = self.near(low, high)
        inside = near[np.all((near[:, :3] >= low) & (near[:, :3] < high), axis=1)]
        out = np.empty(len(inside), PARTICLE)
        out["centre"], out["radius"] = inside[:, :3], inside[:, 3] * scale
        return out


PARTICLE = np.dtype([("centre", np.float64, (3,)), ("radius", np.float64)])
"""A particle: its centre (z, y, x) and the radius of the sphere of equal volume, in µm."""


@njit(cache=True, nogil=True)
def _candidate(
    table: np.ndarray, key: np.uint64, level: int, z: int, y: int, x: int
) -> tuple[bool, float, float, float, float, np.uint64]:
    """Return whether a cell has a candidate, its centre, its radius, and its hash."""
    cell, probability, small, large = table[level]
    h = point_hash(row_hash(key, z, y), x)
    if unit(point_hash(h, 1)) >= probability:
        return False, 0.0, 0.0, 0.0, 0.0, h
    a, b = small**-3.0, large**-3.0
    radius = 0.5 * (a + unit(point_hash(h, 2)) * (b - a)) ** (-1.0 / 3.0)
    cz = (z + unit(point_hash(h, 3))) * cell
    cy = (y + unit(point_hash(h, 4))) * cell
    cx = (x + unit(point_hash(h, 5))) * cell
    return True, cz, cy, cx, radius, h


@njit(cache=True, nogil=True)
def _survives(
    table: np.ndarray,
    keys: np.ndarray,
    level: int,
    z: float,
    y: float,
    x: float,
    radius: float,
    own: np.uint64,
    gap: float,
) -> bool:
    for other in range(level + 1):
        cell = table[other, 0]
        reach = radius + 0.5 * table[other, 3] + gap
        z0, z1 = int(np.floor((z - reach) / cell)), int(np.floor((z + reach) / cell))
        y0, y1 = int(np.floor((y - reach) / cell)), int(np.floor((y + reach) / cell))
        x0, x1 = int(np.floor((x - reach) / cell)), int(np.floor((x + reach) / cell))
        for k in range(z0, z1 + 1):
            for j in range(y0, y1 + 1):
                for i in range(x0, x1 + 1):
                    there, oz, oy, ox, r, h = _candidate(table, keys[other], other, k, j, i)
                    if not there or (other == level and h <= own):
                        continue
                    d = radius + r + gap
                    if (oz - z) ** 2 + (oy - y) ** 2 + (ox - x) ** 2 < d * d:
                        return False
    return True


@njit(cache=True, nogil=True)
def _enumerate(
    table: np.ndarray, keys: np.ndarray, level: int, a: np.ndarray, b: np.ndarray, gap: float, stretch: float
) -> np.ndarray:
    out = np.empty(((b[0] - a[0]) * (b[1] - a[1]) * (b[2] - a[2]), _COLUMNS), np.float64)
    n = 0
    for z in range(a[0], b[0]):
        for y in range(a[1], b[1]):
            for x in range(a[2], b[2]):
                there, cz, cy, cx, radius, h = _candidate(table, keys[level], level, z, y, x)
                if not there:
                    continue
                if gap >= 0.0 and not _survives(table, keys, level, cz, cy, cx, radius, h, gap):
                    continue
                up = 2.0 * unit(point_hash(h, 6)) - 1.0
                around = 2.0 * np.pi * unit(point_hash(h, 7))
                flat = np.sqrt(max(0.0, 1.0 - up * up))
                power = 2.0 * unit(point_hash(h, 8)) - 1.0
                out[n, 0], out[n, 1], out[n, 2], out[n, 3] = cz, cy, cx, radius
                out[n, 4], out[n, 5], out[n, 6] = up, flat * np.sin(around), flat * np.cos(around)
                out[n, 7] = (1.0 + stretch) ** power
                n += 1
    return out[:n].copy()


@njit(cache=True, nogil=True)
def _distance(
    out: np.ndarray,
    start: np.ndarray,
    step: int,
    v: np.ndarray,
    grains: np.ndarray,
    rough: np.ndarray,
    is_rough: bool,
    amplitude: float,
    most: float,
) -> None:
    nz, ny, nx = out.shape
    for g in range(grains.shape[0]):
        cz, cy, cx, r = grains[g, 0], grains[g, 1], grains[g, 2], grains[g, 3]
        az, ay, ax, s = grains[g, 4], grains[g, 5], grains[g, 6], grains[g, 7]
        bump = min(amplitude * r, most)
        odd, even = s ** (-4.0 / 3.0), s ** (2.0 / 3.0)
        # beyond this distance from the centre the metric cannot be below SCALE
        reach = (SCALE * r + _ROUGH * bump) * max(s ** (2.0 / 3.0), s ** (-1.0 / 3.0)) + 1e-6
        z0 = max(0, int(np.ceil(((cz - reach) / v[0] - 0.5 - start[0]) / step)))
        z1 = min(nz, int(np.floor(((cz + reach) / v[0] - 0.5 - start[0]) / step)) + 1)
        y0 = max(0, int(np.ceil(((cy - reach) / v[1] - 0.5 - start[1]) / step)))
        y1 = min(ny, int(np.floor(((cy + reach) / v[1] - 0.5 - start[1]) / step)) + 1)
        for iz in range(z0, z1):
            dz = (start[0] + iz * step + 0.5) * v[0] - cz
            for iy in range(y0, y1):
                dy = (start[1] + iy * step + 0.5) * v[1] - cy
                left = reach * reach - dz * dz - dy * dy
                if left <= 0.0:
                    continue
                w = np.sqrt(left)
                x0 = max(0, int(np.ceil(((cx - w) / v[2] - 0.5 - start[2]) / step)))
                x1 = min(nx, int(np.floor(((cx + w) / v[2] - 0.5 - start[2]) / step)) + 1)
                line = out[iz, iy]
                zy, along = dz * dz + dy * dy, dz * az + dy * ay
                for ix in range(x0, x1):
                    dx = (start[2] + ix * step + 0.5) * v[2] - cx
                    t = along + dx * ax
                    rho = np.sqrt(odd * (t * t) + even * max(zy + dx * dx - t * t, 0.0))
                    if is_rough:
                        rho -= bump * np.float64(rough[iz, iy, ix])
                    q = np.float32(rho / r)
                    if q < SCALE:
                        line[ix] = min(line[ix], q)
