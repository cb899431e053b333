"""Weights of the 13 directions of a voxel lattice, for stereology by lines and by planes.

A lattice direction stands for the part of the sphere of directions that is nearest to it. On anisotropic voxels the
directions move, and their parts are computed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np

from mgsflow.errors import InputError

CLASSES = ("z", "y", "x", "yx", "zx", "zy", "zyx")
"""Classes of directions that mirrors make alike: 3 axes, 2 diagonals in each of 3 planes, 4 space diagonals."""

MEMBERS = np.array([1, 1, 1, 2, 2, 2, 4])
"""How many of the 13 directions are in each class."""

_EXTENT = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)])


def check_voxel_size(voxel_size: Sequence[float]) -> tuple[float, float, float]:
    """Return a voxel size as three floats, or refuse it."""
    sizes = tuple(float(h) for h in voxel_size)
    if len(sizes) != 3 or not all(np.isfinite(h) and h > 0 for h in sizes):
        raise InputError(f"voxel_size must be three positive lengths (z, y, x), got {voxel_size!r}")
    return sizes[0], sizes[1], sizes[2]


def line_lengths(voxel_size: Sequence[float]) -> np.ndarray:
    """Return the distance between neighbours along each class of directions, shape (7,)."""
    return np.linalg.norm(_EXTENT * np.asarray(voxel_size, float), axis=1)


def plane_spacings(voxel_size: Sequence[float]) -> np.ndarray:
    """Return the distance between lattice planes whose normal is in each class, shape (7,).

    Planes of class ``yx`` hold the z axis and a diagonal of the yx plane; planes of class ``zyx`` are triangular.
    """
    return 1.0 / np.linalg.norm(_EXTENT / np.asarray(voxel_size, float), axis=1)


def line_weights(voxel_size: Sequence[float]) -> np.ndarray:
    """Return the share of the sphere that belongs to one direction of each class, shape (7,).

    The sum over the 13 directions, ``line_weights(h) @ MEMBERS``, is 1. For cubic voxels these are twice the values
    of Ohser and Mücklich (2000): axes 0.0916, diagonals of faces 0.0740, diagonals of the cube 0.0704.
    """
    z, y, x = (float(h) / max(voxel_size) for h in voxel_size)
    return _voronoi((z, y, x)).copy()


def plane_weights(voxel_size: Sequence[float]) -> np.ndarray:
    """Return the share of the sphere that belongs to one plane normal of each class, shape (7,)."""
    return line_weights([1.0 / float(h) for h in voxel_size])


@lru_cache(maxsize=64)
def _voronoi(scale: tuple[float, float, float]) -> np.ndarray:
    from scipy.spatial import SphericalVoronoi

    lattice = np.array([d for d in product((-1, 0, 1), repeat=3) if any(d)])
    points = lattice * np.array(scale)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    areas = SphericalVoronoi(points, threshold=1e-9).calculate_areas()
    # a direction and its opposite are one line; members of a class differ by rounding only
    shares = [areas[(np.abs(lattice) == e).all(axis=1)].mean() * 2.0 for e in _EXTENT]
    # no more digits than Voronoi cells have alike in every process: sums in them depend on where arrays lie
    weights = np.round(shares, 12)
    return np.asarray(weights / (weights * MEMBERS).sum())
