"""Multi-level Otsu thresholds: the exact optimum on a full-depth histogram.

Otsu's thresholds cut a histogram into classes so that the variance between the classes is greatest,

    maximise  Σ_k w_k (μ_k − μ)²,

with w_k the number of voxels of class k, μ_k their mean and μ the mean of all. As the total variance is fixed, this is
one-dimensional k-means, whose cost obeys the quadrangle inequality: the best first cut of the voxels from bin i on does
not move down as i grows. So a dynamic programme over classes needs, with divide and conquer over that cut, O(K N log N)
steps instead of O(N^(K−1)).

N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62, doi:10.1109/TSMC.1979.4310076. A. Grønlund et al., "Fast exact
k-means, k-medians and Bregman divergence clustering in 1D", arXiv:1701.07204.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from mgsflow.errors import InputError
from mgsflow.segmentation.histogram import GreyHistogram


def multi_otsu(counts: npt.ArrayLike, classes: int = 3) -> tuple[int, ...]:
    """Return the bins at which the upper classes begin, for the greatest variance between the classes.

    Parameters
    ----------
    counts : array_like of int
        Voxels in each bin of a histogram whose bins have one width.
    classes : int
        Number of classes, 2 or more.

    Returns
    -------
    tuple of int
        ``classes − 1`` bin numbers, rising: bin ``b`` belongs to class ``np.digitize(b, bins)``. A cut that falls
        among empty bins is put in their middle. Of cuts that are equally good, the lowest are taken, the first
        cut first.

    Raises
    ------
    InputError
        If the counts are no histogram, or fewer bins than `classes` hold voxels.

    Notes
    -----
    The class sums are exact integers, so that the criterion is right to a few units in the last place of a float64.
    scikit-image's ``threshold_otsu`` and ``threshold_multiotsu`` return the *last* bin of the lower class: one less
    than here where no bins are empty.
    """
    histogram = np.asarray(counts)
    if histogram.ndim != 1 or histogram.dtype.kind not in "iu" or (histogram.size and int(histogram.min()) < 0):
        raise InputError("multi-Otsu needs a list of voxel counts: integers >= 0")
    if isinstance(classes, bool) or not isinstance(classes, int) or not 2 <= classes <= 255:
        raise InputError(f"classes must be a whole number from 2 to 255, got {classes!r}")
    occupied = np.flatnonzero(histogram)
    if occupied.size < classes:
        raise InputError(
            f"the histogram holds {occupied.size} distinct grey values, which cannot be cut into {classes} classes: "
            "ask for fewer classes, or look whether the image is empty"
        )
    total = int(histogram.astype(object).sum())
    if total * histogram.size >= 1 << 62:
        raise InputError(f"{total} voxels in {histogram.size} bins are too many for exact sums: pool fewer scans")
    weights = histogram[occupied].astype(np.int64)
    # counted from the mean, so that squares of the class sums lose no digits
    mean = int(np.dot(weights, occupied)) // total
    first_of_class = _best_cuts(weights, occupied - mean, classes)
    return tuple((int(occupied[i - 1]) + int(occupied[i]) + 1) // 2 for i in first_of_class)


def otsu_thresholds(histogram: GreyHistogram, classes: int = 3) -> tuple[float, ...]:
    """Return multi-Otsu thresholds as grey values, for `mgsflow.segmentation.Threshold`.

    Parameters
    ----------
    histogram : GreyHistogram
    classes : int
        Number of classes, 2 or more.

    Returns
    -------
    tuple of float
        The least grey value of each class but the lowest.

    Raises
    ------
    InputError
        If fewer grey values than `classes` occur.
    """
    return tuple(histogram.low + histogram.width * b for b in multi_otsu(histogram.counts, classes))


@njit(cache=True, nogil=True)
def _best_cuts(weights: np.ndarray, positions: np.ndarray, classes: int) -> Any:
    n = weights.size
    weight = np.zeros(n + 1, np.int64)
    moment = np.zeros(n + 1, np.int64)
    for i in range(n):
        weight[i + 1] = weight[i] + weights[i]
        moment[i + 1] = moment[i] + weights[i] * positions[i]
    # best[i]: greatest criterion of bins i … n in the classes so far, counted from the top; cut[k, i]: its first cut
    best = np.empty(n)
    for i in range(n):
        best[i] = _between(weight, moment, i, n)
    cut = np.zeros((classes, n), np.int64)
    for k in range(1, classes):
        starts = n - k  # bins that leave one or more for each of the k classes above
        last = starts  # the highest possible first cut
        better = np.empty(n)
        if k == classes - 1:
            starts = 1
        _best_first_cut(weight, moment, best, 0, 1, last, better, cut[k])
        step = 1
        while step < starts:
            step *= 2
        step //= 2
        # rows between rows already solved, whose cuts bound theirs from both sides
        while step >= 1:
            for i in range(step, starts, 2 * step):
                high = cut[k, i + step] if i + step < starts else last
                low = max(cut[k, i - step], i + 1)
                _best_first_cut(weight, moment, best, i, low, high, better, cut[k])
            step //= 2
        best = better
    cuts = np.empty(classes - 1, np.int64)
    i = 0
    for k in range(classes - 1, 0, -1):
        i = cut[k, i]
        cuts[classes - 1 - k] = i
    return cuts


@njit(cache=True, nogil=True)
def _best_first_cut(
    weight: np.ndarray,
    moment: np.ndarray,
    above: np.ndarray,
    i: int,
    low: int,
    high: int,
    better: np.ndarray,
    cut: np.ndarray,
) -> None:
    value, at = -1.0, low
    for j in range(low, high + 1):
        trial = _between(weight, moment, i, j) + above[j]
        if trial > value:
            value, at = trial, j
    better[i] = value
    cut[i] = at


@njit(cache=True, nogil=True, inline="always")
def _between(weight: np.ndarray, moment: np.ndarray, i: int, j: int) -> float:
    m = np.float64(moment[j] - moment[i])
    return m * m / np.float64(weight[j] - weight[i])
