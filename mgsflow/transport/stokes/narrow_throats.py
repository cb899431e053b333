"""Narrow throats: the share of a pore space that a ball of four voxels does not reach.

A duct of 2 voxels lets 78 % too much through, of 4 voxels 22 %, of 8 voxels 6 %: narrow throats decide how far a
computed permeability can be trusted. The ball is the union of three bars of 2×2×4 voxels, a digital ball of diameter
4; what lies outside the opening of the pores by it counts as narrow.
"""

from __future__ import annotations

import numpy as np
from numba import njit

WIDTH = 4
"""Diameter of the ball in voxels."""

MARGIN = WIDTH - 1
"""Voxels by which a ball that covers a voxel can extend beyond it."""


@njit(cache=True, nogil=True)
def _mark_wide(pores: np.ndarray, wide: np.ndarray) -> None:
    """Set `wide` where a ball fits; both with a margin of 3 voxels."""
    n0, n1, n2 = pores.shape
    for i in range(n0 - 3):
        for j in range(n1 - 3):
            for k in range(n2 - 3):
                # the middle is in all three bars: most places fail there
                if not (pores[i + 1, j + 1, k + 1] and pores[i + 2, j + 2, k + 2]):
                    continue
                fits = True
                for a in range(4):
                    for b in range(4):
                        for c in range(4):
                            if _outer(a) + _outer(b) + _outer(c) < 2 and not pores[i + a, j + b, k + c]:
                                fits = False
                                break
                        if not fits:
                            break
                    if not fits:
                        break
                if fits:
                    for a in range(4):
                        for b in range(4):
                            for c in range(4):
                                if _outer(a) + _outer(b) + _outer(c) < 2:
                                    wide[i + a, j + b, k + c] = 1


@njit(inline="always")
def _outer(a):  # type: ignore[no-untyped-def]
    return 1 if a == 0 or a == 3 else 0


def narrow_share(pores: np.ndarray, sides: str) -> float:
    """Return the share of the pore voxels that no ball of diameter 4 within the pores covers.

    Parameters
    ----------
    pores : ndarray of uint8, shape (z, y, x)
        Not zero in pores; the flow is along axis 0, whose ends are taken to go on.
    sides : {"no-slip", "symmetric", "periodic"}
        What lies beyond the sides: solid, a mirror image, or the opposite side.
    """
    covered = covered_voxels(np.pad(pores, ((MARGIN, MARGIN), (0, 0), (0, 0)), mode="edge"), sides)
    total = np.count_nonzero(pores)
    return float(1.0 - covered / total) if total else 0.0


def covered_voxels(pores: np.ndarray, sides: str) -> int:
    """Return how many voxels a ball of diameter 4 within the pores covers.

    Parameters
    ----------
    pores : ndarray of uint8, shape (z + 6, y, x)
        With three planes more at either end, which are not counted.
    sides : str
        As of `narrow_share`.
    """
    across = {"no-slip": "constant", "symmetric": "symmetric", "periodic": "wrap"}[sides]
    grown = np.pad(pores, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode=across)  # type: ignore[call-overload]
    wide = np.zeros(grown.shape, np.uint8)
    _mark_wide(grown, wide)
    return int(np.count_nonzero(wide[(slice(MARGIN, -MARGIN),) * 3]))
