"""Shapes of particles from exact sums: diameters, sphericity, and the ellipsoid of the same second moments.

Central moments are differences of large numbers; they are therefore taken in whole numbers, ``N Σ ij - Σ i Σ j``, and
only their quotient with N² is a float.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import cbrt  # numpy's differs in the last bit between processors

from mgsflow.blocks import Triple
from mgsflow.particle_analysis.parts import LIMB

_AXES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def equivalent_diameter(volume: np.ndarray) -> np.ndarray:
    """Return the diameter of the sphere of a volume, ``(6 V / π)^(1/3)``."""
    return np.asarray(cbrt(6.0 * volume / np.pi))


def sphericity(volume: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Return the surface of the sphere of the same volume over the particle's own, ``π^(1/3) (6 V)^(2/3) / A``.

    H. Wadell, J. Geol. 43 (1935) 250, doi:10.1086/624298. Not capped: where the area of a particle of few voxels comes
    out too small, it exceeds 1.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(cbrt(np.pi) * cbrt(6.0 * volume) ** 2 / area)


def central_moments(
    voxels: np.ndarray, first: np.ndarray, high: np.ndarray, low: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean indices and covariances of indices, from exact sums.

    Parameters
    ----------
    voxels : (n,) int64
        N.
    first : (n, 3) int64
        Σ z, Σ y, Σ x.
    high, low : (n, 6) int64
        ``high · 2^31 + low`` is Σ zz, yy, xx, zy, zx, yx.
    start, stop : (n, 3) int64
        Bounding box.

    Returns
    -------
    mean : (n, 3) float64
    covariance : (n, 3, 3) float64
    """
    # from the corner of the bounding box
    first = first - voxels[:, None] * start
    mean = start + first / voxels[:, None]
    covariance = np.empty((voxels.size, 3, 3))
    width = (stop - start).max(axis=1, initial=1).astype(float)
    # beyond this, int64 would overflow; what overflows before the last step below it comes right again
    small = (voxels * width) ** 2 < 2.0**62
    for c, (i, j) in enumerate(_AXES):
        a, b, n = start[:, i], start[:, j], voxels
        # Σ (i - a)(j - b), where `first` is moved already
        moved = (high[:, c] << LIMB) + low[:, c] - a * first[:, j] - b * first[:, i] - n * a * b
        value = (n * moved - first[:, i] * first[:, j]) / n.astype(float) ** 2
        for k in np.flatnonzero(~small):
            value[k] = _large(int(n[k]), first[k, [i, j]], start[k, [i, j]], int(high[k, c]), int(low[k, c]))
        covariance[:, i, j] = covariance[:, j, i] = value
    return mean, covariance


def _large(n: int, first: np.ndarray, start: np.ndarray, high: int, low: int) -> float:
    """Return one covariance in integers of any size."""
    (p, q), (a, b) = (int(v) for v in first), (int(v) for v in start)
    moved = (high << LIMB) + low - a * q - b * p - n * a * b
    return (n * moved - p * q) / (n * n)


def ellipsoid(covariance: np.ndarray, voxel_size: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ellipsoid of uniform density that has a particle's second moments.

    Parameters
    ----------
    covariance : (n, 3, 3)
        Of voxel indices.
    voxel_size : sequence of float
        Edges of a voxel in µm. A voxel is a box, not a point: ``edge² / 12`` is added along each axis.

    Returns
    -------
    semi_axes : (n, 3)
        In µm, the longest first: ``√(5 λ)`` for the eigenvalues λ of the covariance.
    direction : (n, 3)
        Unit vector (z, y, x) of the longest axis, its last component that is not zero positive; NaN where two axes are
        the longest.
    """
    edges = np.asarray(voxel_size, float)
    scaled = covariance * np.outer(edges, edges)
    scaled[:, range(3), range(3)] += edges**2 / 12.0
    values, vectors = np.linalg.eigh(scaled)
    values, vectors = values[:, ::-1], vectors[:, :, ::-1]
    direction = vectors[:, :, 0].copy()
    direction[np.abs(direction) < 1e-12] = 0.0
    for axis in range(3):
        sign = np.sign(direction[:, axis])
        direction *= np.where(sign == 0, 1.0, sign)[:, None]
    direction[values[:, 0] - values[:, 1] <= 1e-12 * values[:, 0]] = np.nan
    return np.sqrt(5.0 * values), direction


def border_weight(start: np.ndarray, stop: np.ndarray, shape: Triple) -> np.ndarray:
    """Return the weights that make up for particles that are left out because they touch the border.

    Parameters
    ----------
    start, stop : (n, 3) int
        Bounding boxes in voxels, `stop` excluded.
    shape : tuple of int
        Of the volume.

    Returns
    -------
    ndarray of float64, shape (n,)
        Zero for a particle that touches the border, which may go on beyond it. For others ``∏ L / (L - w - 1)``: of
        the L places that a particle of width w can have along an axis, so many are clear of both faces. (In the
        continuum ``L / (L - w)``; a voxel image cannot tell a particle that ends at the face from one that is cut.)

    References
    ----------
    R. E. Miles, "On the elimination of edge effects in planar sampling", in Stochastic Geometry, eds. E. F. Harding
    and D. G. Kendall (Wiley, 1974) 228. C. Lantuéjoul, "On the estimation of mean values in individual analysis of
    particles", Microsc. Acta Suppl. 4 (1980) 266. J. Serra, Image Analysis and Mathematical Morphology (Academic
    Press, 1982), chapter 8.
    """
    lengths = np.array(shape, np.int64)
    inside = np.all((start > 0) & (stop < lengths), axis=1)
    places = np.where(inside[:, None], lengths - (stop - start) - 1, 1)
    return np.where(inside, (lengths / places).prod(axis=1), 0.0)
