"""The pores that a flow can pass: those connected, through faces of voxels, to both the inlet and the outlet."""

from __future__ import annotations

import numpy as np


def keep_percolating(pores: np.ndarray, periodic: bool) -> int:
    """Set pores to zero that do not lead from the first plane to the last; return the number that remain.

    Parameters
    ----------
    pores : ndarray of uint8, shape (z, y, x)
        Not zero in pores; changed in place.
    periodic : bool
        Whether pores go on across opposite sides.
    """
    from scipy.ndimage import label

    labels, count = label(pores)
    ends = _ends(labels)
    if periodic and count:
        first = _joined_across_sides(labels, count)
        ends = _ends(labels, first)
        keep = np.isin(first, ends)
    else:
        keep = np.zeros(count + 1, bool)
        keep[ends] = True
    keep[0] = False
    for plane, marks in zip(pores, labels):
        plane[~keep[marks]] = 0
    return int(np.count_nonzero(pores))


def _ends(labels: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
    """Return the labels (or what they are joined to) that are on both the first and the last plane."""
    planes = [labels[0], labels[-1]] if first is None else [first[labels[0]], first[labels[-1]]]
    both = np.intersect1d(planes[0], planes[1])
    return both[both > 0]


def _joined_across_sides(labels: np.ndarray, count: int) -> np.ndarray:
    """Return one number for each set of labels that meet across opposite sides; 0 for label 0."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = [(labels[:, 0], labels[:, -1]), (labels[:, :, 0], labels[:, :, -1])]
    a, b = (np.concatenate([p[q].ravel() for p in pairs]) for q in (0, 1))
    met = (a > 0) & (b > 0)
    graph = coo_matrix((np.ones(met.sum(), bool), (a[met], b[met])), shape=(count + 1, count + 1))
    first = connected_components(graph, directed=False)[1].astype(np.int64) + 1
    first[0] = 0
    return first
