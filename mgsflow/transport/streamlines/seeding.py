"""Starting points of streamlines on the inlet, each for the same share of the flow."""

from __future__ import annotations

import numpy as np


def flux_weighted_seeds(inlet: np.ndarray, lines: int) -> np.ndarray:
    """Return starting points (rows, columns) on the inlet in voxels, one for each equal share of its flow."""
    flow = np.where(inlet > 0, inlet, 0.0)
    total = flow.sum()
    if not total > 0:
        return np.zeros((0, 2))
    # neighbours on a space-filling curve are neighbours on the inlet: equal shares are spread evenly over it
    order = np.argsort(_morton_code(*np.indices(inlet.shape)).ravel(), kind="stable")
    cumulative = np.cumsum(flow.ravel()[order])
    at = np.searchsorted(cumulative, (np.arange(lines) + 0.5) / lines * cumulative[-1], side="right")
    cells = np.stack(np.unravel_index(order[np.minimum(at, order.size - 1)], inlet.shape), axis=1)
    plastic = 1.32471795724474602596  # of the R2 sequence, which fills squares evenly
    inside = (0.5 + np.arange(1, lines + 1)[:, None] / np.array([plastic, plastic**2])) % 1
    return np.asarray(cells + inside)


def _morton_code(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    code = np.zeros(row.shape, np.int64)
    for bit in range(20):
        code |= ((row >> bit & 1) << (2 * bit + 1)) | ((column >> bit & 1) << (2 * bit))
    return code
