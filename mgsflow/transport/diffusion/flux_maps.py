"""Flux density from the concentration, box by box, and its maps: means along each axis."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np
from numba import njit

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Sink

Maps = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class FieldRequest:
    """Which fields of a solution are wanted.

    Attributes
    ----------
    keep : bool
        Whether to return concentration, flux density and profiles.
    maps : bool
        Whether to return the maps of the flux density.
    out, flux_out : Sink, optional
        Take the concentration and the flux density, float32, box by box.
    """

    keep: bool = False
    maps: bool = False
    out: Sink | None = None
    flux_out: Sink | None = None

    @property
    def any(self) -> bool:
        """Whether any field is wanted."""
        return self.keep or self.maps or self.out is not None or self.flux_out is not None


class FluxMaps:
    """Means of the flux density along z, y and x, summed box by box.

    Parameters
    ----------
    shape : (int, int, int)
        Voxels along (z, y, x).
    """

    def __init__(self, shape: Triple) -> None:
        self.shape = shape
        self._sums = [np.zeros(_without(shape, along)) for along in range(3)]

    def add(self, box: Box, sums: Maps) -> None:
        """Add the `flux_sums` of a box."""
        for along, part in enumerate(sums):
            self._sums[along][_without(box.slices, along)] += part

    def means(self) -> Maps:
        """Return the maps, float32: along z of shape (y, x), along y (z, x), along x (z, y)."""
        z, y, x = ((s / n).astype(np.float32) for s, n in zip(self._sums, self.shape))
        return z, y, x


def flux_sums(flux: np.ndarray) -> Maps:
    """Return the sums of a flux density along z, y and x, in double precision."""
    z, y, x = (flux.sum(axis=along, dtype=np.float64) for along in range(3))
    return z, y, x


def flux_density(
    concentration: np.ndarray, axis: int, length: int, before: np.ndarray | None, after: np.ndarray | None
) -> np.ndarray:
    """Return the flux density along an axis at the centre of each voxel, where all diffusivities are one.

    ``q = -(L / Δc) ∂c/∂x``, the mean of the fluxes into and out of a voxel, relative to that of a cell full of the
    phase: its mean over the volume is D_eff / D₀.

    Parameters
    ----------
    concentration : ndarray of float32, shape (z, y, x)
        Of a box; NaN where nothing percolates.
    axis : int
    length : int
        Voxels of the volume along the axis.
    before, after : ndarray of float32, or None
        Concentration of the planes of voxels next to the box along the axis; None where the box touches the inlet,
        held at 1, or the outlet, held at 0.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
        0 where nothing percolates.
    """
    flux = np.zeros(concentration.shape, np.float32)
    ends = (before is None, after is None)
    plane = np.full(_without(concentration.shape, axis), np.nan, np.float32)
    planes = [plane if p is None else np.ascontiguousarray(p, np.float32) for p in (before, after)]
    _density(concentration, axis, length, *planes, *ends, flux)
    return flux


def write_fields(concentration: np.ndarray, axis: int, out: Sink | None = None, flux_out: Sink | None = None) -> Maps:
    """Store concentration and flux density box by box, and return the maps of the flux density.

    Parameters
    ----------
    concentration : ndarray of float32, shape (z, y, x)
        NaN where nothing percolates.
    axis : int
        Direction of the flow; all diffusivities are one.
    out, flux_out : Sink, optional
        Take the concentration and the flux density, float32.

    Returns
    -------
    tuple of ndarray
        See `FluxMaps.means`.
    """
    maps = FluxMaps(concentration.shape)
    for block in _boxes(concentration.shape, out, flux_out).blocks():
        box = block.core
        part = np.ascontiguousarray(concentration[box.slices])
        before, after = (_plane_beside(concentration, box, axis, side) for side in (-1, 1))
        flux = flux_density(part, axis, concentration.shape[axis], before, after)
        if out is not None:
            out.write(box, part)
        if flux_out is not None:
            flux_out.write(box, flux)
        maps.add(box, flux_sums(flux))
    return maps.means()


def _boxes(shape: Triple, *sinks: Sink | None) -> Grid:
    """Return boxes of whole rows, some ten million voxels at most; no two share a chunk of a sink."""
    chunks = {s.chunk for s in sinks if s is not None} or {(64, 64, 64)}
    z, y = (lcm(*(c[a] for c in chunks)) for a in (0, 1))
    return Grid.regular(shape, (min(z, shape[0]), min(y, shape[1]), shape[2]))


def _plane_beside(concentration: np.ndarray, box: Box, axis: int, side: int) -> np.ndarray | None:
    at = box.start[axis] - 1 if side < 0 else box.stop[axis]
    if not 0 <= at < concentration.shape[axis]:
        return None
    where = list(box.slices)
    where[axis] = slice(at, at + 1)
    return concentration[tuple(where)].squeeze(axis)


def _without(values: tuple, along: int) -> tuple:
    return tuple(v for a, v in enumerate(values) if a != along)


@njit(cache=True, nogil=True)
def _density(
    c: np.ndarray,
    axis: int,
    length: int,
    before: np.ndarray,
    after: np.ndarray,
    inlet: bool,
    outlet: bool,
    flux: np.ndarray,
) -> None:
    nz, ny, nx = c.shape
    last = c.shape[axis] - 1
    dz, dy, dx = int(axis == 0), int(axis == 1), int(axis == 2)
    n = np.float64(length)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                a = np.float64(c[z, y, x])
                if np.isnan(a):
                    continue
                place = z if axis == 0 else (y if axis == 1 else x)
                i = y if axis == 0 else z
                j = y if axis == 2 else x
                total = 0.0
                if place > 0:
                    b = np.float64(c[z - dz, y - dy, x - dx])
                    if not np.isnan(b):
                        total += 0.5 * (b - a)
                elif inlet:
                    total += 1.0 - a
                else:
                    b = np.float64(before[i, j])
                    if not np.isnan(b):
                        total += 0.5 * (b - a)
                if place < last:
                    b = np.float64(c[z + dz, y + dy, x + dx])
                    if not np.isnan(b):
                        total += 0.5 * (a - b)
                elif outlet:
                    total += a
                else:
                    b = np.float64(after[i, j])
                    if not np.isnan(b):
                        total += 0.5 * (a - b)
                flux[z, y, x] = np.float32(n * total)
