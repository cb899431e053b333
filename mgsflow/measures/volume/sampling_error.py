"""How far a volume fraction is from that of the material, because the scan is but a sample of it.

Voxels are not independent draws: a pore of a thousand voxels is closer to one. The error is therefore taken from the
variance between cells of the scan, as in the blocking analysis of correlated series. Were the cells independent, the
fraction f of n of them would have the variance (ratio estimator, cells of v_i voxels of which c_i are of the phase)

    var(f) = Σ (c_i − f v_i)² / (Σ v_i)² / (1 − 1/n),    n = (Σ v_i)² / Σ v_i².

With small cells it comes out too low, and it rises to a plateau as cells outgrow the structure; with few cells it is
itself uncertain. The largest over all cell sizes with eight cells or more is reported, each widened by Student's t, so
that ±2 errors means 95 % with few cells too.

H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91 (1989) 461, doi:10.1063/1.457480. C. Lantuéjoul, J. Microsc. 161
(1991) 387, doi:10.1111/j.1365-2818.1991.tb03099.x (the integral range, which the plateau measures).
"""

from __future__ import annotations

import numpy as np

_FEWEST = 8  # cells; the variance between fewer says nothing
_NORMAL = 1.959964  # 97.5 % point of the normal distribution


def sampling_error(counts: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Estimate the standard error of volume fractions from counts in a regular grid of tiles.

    Parameters
    ----------
    counts : ndarray of int, shape (tiles z, y, x, phases)
        Voxels of each phase in each tile.
    voxels : ndarray of int, shape (tiles z, y, x)
        Voxels in each tile; those at the upper borders may hold fewer.

    Returns
    -------
    ndarray, shape (phases,)
        The error of each fraction. NaN where it cannot be known: fewer than eight tiles, or a phase that fills none or
        all of the scan.
    """
    total = float(voxels.sum(dtype=np.int64))
    if not total:
        return np.full(counts.shape[-1], np.nan)
    fraction = counts.sum(axis=(0, 1, 2), dtype=np.int64) / total
    worst = np.full(fraction.size, np.nan)
    edge = 1
    while True:
        volume = _cells(voxels, edge).astype(np.float64)
        cells = total**2 / float((volume**2).sum())
        if cells < _FEWEST - 1e-9:
            break
        apart = _cells(counts, edge) - fraction * volume[..., None]
        variance = (apart**2).sum(axis=(0, 1, 2)) / total**2 / (1 - 1 / cells)
        from scipy.special import stdtrit  # not needed by workers

        error = np.sqrt(variance) * (stdtrit(cells - 1, 0.975) / _NORMAL)
        worst = np.fmax(worst, error)
        edge += max(1, edge // 4)
    worst[(fraction == 0) | (fraction == 1)] = np.nan
    return worst


def _cells(tiles: np.ndarray, edge: int) -> np.ndarray:
    """Add up cubes of `edge` tiles; those at the upper borders may hold fewer."""
    for axis in range(3):
        tiles = np.add.reduceat(tiles, np.arange(0, tiles.shape[axis], edge), axis=axis, dtype=np.int64)
    return tiles
