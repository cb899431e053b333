"""Long straight fibres of a mat, on hashed grid cells: distances to the nearest and to the second nearest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from mgsflow.errors import InputError
from mgsflow.phantoms.hashing import point_hash, row_hash, stream_key, unit
from mgsflow.phantoms.sampling import Lattice


@dataclass(frozen=True)
class Fibres:
    """One fibre a cell, its middle anywhere in it, lying nearly in the (y, x) plane in any direction.

    Parameters
    ----------
    seed : int
    cell : tuple of float
        Edges of the grid cells along (z, y, x), µm.
    length : float
        Length of a fibre, µm.
    diameters : tuple of float
        Smallest and largest diameter, µm, uniform between.
    tilt : float
        Largest angle to the plane, rad.
    """

    seed: int
    cell: tuple[float, float, float]
    length: float
    diameters: tuple[float, float]
    tilt: float

    def __post_init__(self) -> None:
        if min(self.cell) <= 0 or self.length <= 0:
            raise InputError(f"cell and length must be positive, got {self.cell} and {self.length}")
        if not 0 < self.diameters[0] <= self.diameters[1]:
            raise InputError(f"diameters must be positive and ascending, got {self.diameters}")
        if not 0 <= self.tilt < 1.5:
            raise InputError(f"tilt must be within 0 and 1.5 rad, got {self.tilt}")

    def near(self, low: np.ndarray, high: np.ndarray, reach: float) -> np.ndarray:
        """Return the fibres whose axes may come within `reach` (µm) of a box of space.

        Returns
        -------
        ndarray of float64, (n, 7)
            Middle (z, y, x) and radius in µm, unit vector (z, y, x).
        """
        half = 0.5 * self.length
        span = np.array([half * np.sin(self.tilt), half, half]) + reach
        cell = np.array(self.cell)
        a = np.floor((low - span) / cell).astype(np.int64)
        b = np.floor((high + span) / cell).astype(np.int64) + 1
        d = np.array(self.diameters)
        return _enumerate(stream_key(self.seed, "fibres"), cell, a, b, low - reach, high + reach, half, d, self.tilt)

    def distances(
        self,
        nearest: np.ndarray,
        second: np.ndarray,
        lattice: Lattice,
        voxel_size: tuple[float, float, float],
        reach: float,
    ) -> None:
        """Lower two arrays to the distances (µm, negative inside) from the two nearest fibre surfaces.

        Parameters
        ----------
        nearest, second : ndarray of float32
            Changed in place where a surface is within `reach`.
        lattice : Lattice
        voxel_size : tuple of float
        reach : float
            µm.
        """
        v = np.array(voxel_size, np.float64)
        box = lattice.box
        low, high = np.array(box.start) * v, np.array(box.stop) * v
        fibres = self.near(low, high, reach + 0.5 * self.diameters[1])
        _distances(nearest, second, *lattice.args, v, fibres, 0.5 * self.length, reach)


@njit(cache=True, nogil=True)
def _enumerate(
    key: np.uint64,
    cell: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    half: float,
    diameters: np.ndarray,
    tilt: float,
) -> np.ndarray:
    out = np.empty(((b[0] - a[0]) * (b[1] - a[1]) * (b[2] - a[2]), 7), np.float64)
    n = 0
    for z in range(a[0], b[0]):
        for y in range(a[1], b[1]):
            row = row_hash(key, z, y)
            for x in range(a[2], b[2]):
                h = point_hash(row, x)
                f = out[n]
                f[0] = (z + unit(point_hash(h, 1))) * cell[0]
                f[1] = (y + unit(point_hash(h, 2))) * cell[1]
                f[2] = (x + unit(point_hash(h, 3))) * cell[2]
                f[3] = 0.5 * (diameters[0] + unit(point_hash(h, 4)) * (diameters[1] - diameters[0]))
                around = np.pi * unit(point_hash(h, 5))
                up = tilt * (2.0 * unit(point_hash(h, 6)) - 1.0)
                f[4] = np.sin(up)
                f[5], f[6] = np.cos(up) * np.sin(around), np.cos(up) * np.cos(around)
                # keep it if its segment, cut to the grown box axis by axis, is not empty
                t0, t1 = -half, half
                for i in range(3):
                    u, p, q = f[4 + i], low[i] - f[i], high[i] - f[i]
                    if abs(u) < 1e-9:
                        if p > 0.0 or q < 0.0:
                            t1 = t0 - 1.0
                    else:
                        t0, t1 = max(t0, min(p / u, q / u)), min(t1, max(p / u, q / u))
                if t0 <= t1:
                    n += 1
    return out[:n].copy()


@njit(cache=True, nogil=True)
def _distances(
    nearest: np.ndarray,
    second: np.ndarray,
    start: np.ndarray,
    step: int,
    v: np.ndarray,
    fibres: np.ndarray,
    half: float,
    reach: float,
) -> None:
    nz, ny, nx = nearest.shape
    for i in range(fibres.shape[0]):
        cz, cy, cx, r, uz, uy, ux = fibres[i]
        far = r + reach
        far2 = far * far
        pz, py = half * abs(uz) + far, half * abs(uy) + far
        z0 = max(0, int(np.floor(((cz - pz) / v[0] - 0.5 - start[0]) / step)))
        z1 = min(nz, int(np.ceil(((cz + pz) / v[0] - 0.5 - start[0]) / step)) + 1)
        y0 = max(0, int(np.floor(((cy - py) / v[1] - 0.5 - start[1]) / step)))
        y1 = min(ny, int(np.ceil(((cy + py) / v[1] - 0.5 - start[1]) / step)) + 1)
        qa = max(1.0 - ux * ux, 1e-12)
        for iz in range(z0, z1):
            dz = (start[0] + iz * step + 0.5) * v[0] - cz
            for iy in range(y0, y1):
                dy = (start[1] + iy * step + 0.5) * v[1] - cy
                # |d|^2 - (d.u)^2 <= far^2 is a quadratic in dx, and |dx| <= half |ux| + far
                zy, along = dz * dz + dy * dy, dz * uz + dy * uy
                qb = ux * along
                root = qb * qb - qa * (zy - along * along - far2)
                if root <= 0.0:
                    continue
                root = np.sqrt(root)
                end = half * abs(ux) + far
                x_low, x_high = max((qb - root) / qa, -end), min((qb + root) / qa, end)
                x0 = max(0, int(np.floor(((cx + x_low) / v[2] - 0.5 - start[2]) / step)))
                x1 = min(nx, int(np.ceil(((cx + x_high) / v[2] - 0.5 - start[2]) / step)) + 1)
                one, two = nearest[iz, iy], second[iz, iy]
                for ix in range(x0, x1):
                    dx = (start[2] + ix * step + 0.5) * v[2] - cx
                    t = along + dx * ux
                    cut = min(max(t, -half), half)
                    d2 = zy + dx * dx - cut * (2.0 * t - cut)
                    if d2 < far2:
                        d = np.float32(np.sqrt(max(d2, 0.0)) - r)
                        two[ix] = min(two[ix], max(one[ix], d))
                        one[ix] = min(one[ix], d)
