"""Flux density from the concentration, and profiles of porosity, concentration and tortuosity along the flow."""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.transport.diffusion.graph_kernel import half_harmonic_mean


def field_profile(
    concentration: np.ndarray, diffusivity: np.ndarray | None, axis: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return flux density and profiles of a concentration that is 1 on the first and 0 on the last face of an axis.

    Parameters
    ----------
    concentration : ndarray of float32, shape (z, y, x)
        NaN where nothing percolates.
    diffusivity : ndarray of float64, shape (z, y, x), or None
        Relative to the largest; None where all are 1.
    axis : int

    Returns
    -------
    flux_density : ndarray of float32, shape (z, y, x)
        Flux along the axis at the centre of each voxel, relative to that of a cell of the largest diffusivity; 0 where
        nothing percolates. Its mean is the effective diffusivity.
    mean_diffusivity : ndarray, shape (planes,)
        Mean diffusivity of each plane of voxels: for one phase, its percolating fraction.
    mean_concentration : ndarray, shape (planes,)
        Of the percolating voxels of each plane, weighted by their diffusivity.
    """
    flux = np.zeros(concentration.shape, np.float32)
    sums = np.zeros((2, concentration.shape[axis]))
    unit = np.empty((0, 0, 0)) if diffusivity is None else diffusivity
    _accumulate(concentration, unit, axis, flux, sums)
    plane = concentration.size // concentration.shape[axis]
    mean = np.divide(sums[1], sums[0], out=np.full(sums.shape[1], np.nan), where=sums[0] > 0)
    return flux, sums[0] / plane, mean


def tortuosity_profile(mean_diffusivity: np.ndarray, mean_concentration: np.ndarray, effective: float) -> np.ndarray:
    """Return the tortuosity factor at the planes between voxels and at both ends, shape (planes + 1,).

    ``τ = ε D (-dc̄/dx) / flux``, with the mean concentration c̄ of the percolating voxels of a plane: the contribution of
    a slice of the electrode. Where pores are narrow, c̄ falls steeply and τ is large.
    """
    n = mean_diffusivity.size
    c = np.concatenate([[1.0], mean_concentration, [0.0]])
    drop = -np.diff(c)
    drop[[0, -1]] *= 2  # the Dirichlet faces are half a voxel away
    between = (mean_diffusivity[:-1] + mean_diffusivity[1:]) / 2
    return np.concatenate([mean_diffusivity[:1], between, mean_diffusivity[-1:]]) * drop * n / effective


@njit(cache=True, nogil=True)
def _accumulate(c: np.ndarray, diffusivity: np.ndarray, axis: int, flux: np.ndarray, sums: np.ndarray) -> None:
    nz, ny, nx = c.shape
    n = c.shape[axis]
    several = diffusivity.size > 0
    dz, dy, dx = int(axis == 0), int(axis == 1), int(axis == 2)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                a = np.float64(c[z, y, x])
                if np.isnan(a):
                    continue
                d = diffusivity[z, y, x] if several else 1.0
                place = z if axis == 0 else (y if axis == 1 else x)
                sums[0, place] += d
                sums[1, place] += d * a
                if place == 0:
                    flux[z, y, x] += np.float32(n * d * (1.0 - a))
                if place == n - 1:
                    flux[z, y, x] += np.float32(n * d * a)
                    continue
                q, r, s = z + dz, y + dy, x + dx
                b = np.float64(c[q, r, s])
                if np.isnan(b):
                    continue
                e = diffusivity[q, r, s] if several else 1.0
                half = np.float32(n * half_harmonic_mean(d, e) * (a - b))
                flux[z, y, x] += half
                flux[q, r, s] += half
