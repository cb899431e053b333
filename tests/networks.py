"""Pore spaces for networks, and networks compared."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mgsflow.network import PoreNetwork


def balls(edge: int, radius: float, count: int) -> np.ndarray:
    """Return a cubic lattice of balls in the middle of their cells."""
    away = (np.arange(edge * count) + 0.5) % edge - edge / 2
    z, y, x = np.meshgrid(away, away, away, indexing="ij", sparse=True)
    return z * z + y * y + x * x < radius * radius


def noise(shape: tuple[int, int, int], open_share: float, seed: int, sigma: float = 1.5) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return field > np.quantile(field, 1 - open_share)


def tables(network: PoreNetwork) -> dict[str, np.ndarray]:
    return {
        f"{table}.{name}": column
        for table in ("pores", "throats", "openings")
        for name, column in getattr(network, table).items()
    }


def same(a: PoreNetwork, b: PoreNetwork) -> None:
    assert (a.shape, a.voxel_size, a.porosity, a.specks) == (b.shape, b.voxel_size, b.porosity, b.specks)
    assert tables(a).keys() == tables(b).keys()
    for name, column in tables(a).items():
        np.testing.assert_array_equal(column, tables(b)[name], err_msg=name)
