"""How large a window must be to stand for the whole: spread over windows, deviation, and the smallest size that does.

*Several windows of a size* (random or tiled). Let m and s be mean and standard deviation of a property over the n
windows of a size. Another window of this size lies within ``m ± t s √(1 + 1/n)`` with confidence c, t being Student's
for n − 1 degrees of freedom (prediction interval of one more draw; with n → ∞, c = 95 % and no bias it is the relative
error 2 D(V)/Z of Kanit et al. for one realisation). A size represents the whole, of property Z, at tolerance r if

    |m − Z| + t s √(1 + 1/n) ≤ r |Z|

and the property is known in at least a share c of the windows (a pore that does not percolate is no number, and no
window that stands for the whole). The smallest representative size is the smallest from which on all larger ones are.

The interval is about the scan, not the material: windows that fill much of a scan overlap it, and each other, and agree
with it for that reason alone.

Where no size is representative, the size that would be is predicted as Kanit et al. do: a power of the volume is fitted
to the variance between windows, s² = K V^(−α) (α = 1 for volume fractions, once windows are larger than the structure),
and the predicted volume is that at which z s = r |Z|, z being the normal quantile. It is an extrapolation, and from
windows that fill a good part of the scan it comes out too small.

*One window of a size* (nested) has no spread: the smallest size from which on all larger windows keep
``|Z(size) − Z| ≤ r |Z|`` is given, and no confidence can be stated.

References
----------
T. Kanit, S. Forest, I. Galliet, V. Mounoury, D. Jeulin, Int. J. Solids Struct. 40 (2003) 3647–3679,
doi:10.1016/S0020-7683(03)00143-4. G. J. Hahn and W. Q. Meeker, *Statistical Intervals* (Wiley, 1991), section 4.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A property over the windows of each size.

    Attributes
    ----------
    count : ndarray of int, shape (sizes, …)
        Windows whose property is known.
    mean, spread : ndarray, shape (sizes, …)
        Mean, and standard deviation between windows (of n − 1; NaN for one window).
    deviation : ndarray, shape (sizes, …)
        (mean − whole) / |whole|.
    reach : ndarray, shape (sizes, …)
        Relative deviation from the whole within which another window lies, with the confidence asked for; of one
        window, its own deviation.
    representative : ndarray, shape (…)
        Smallest representative size; NaN if none of them is.
    predicted : ndarray, shape (…)
        Size that the fall of the spread predicts to be representative; NaN where fewer than three sizes have a spread,
        or it does not fall.
    """

    count: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    deviation: np.ndarray
    reach: np.ndarray
    representative: np.ndarray
    predicted: np.ndarray


def spread_of(
    values: np.ndarray,
    whole: np.ndarray,
    sizes: Sequence[int],
    windows: Sequence[int],
    tolerance: float,
    confidence: float | None,
) -> Spread:
    """Return spread, deviation and smallest representative size of a property.

    Parameters
    ----------
    values : ndarray, shape (sizes, windows, …)
        NaN where a window is missing, or its property is not known.
    whole : ndarray, shape (…)
        Of the whole scan.
    sizes : sequence of int
        Rising.
    windows : sequence of int
        Windows of each size that there are.
    tolerance : float
        Relative deviation.
    confidence : float or None
        Share of windows that must keep it; None for one window a size.
    """
    known = np.isfinite(values)
    count = known.sum(axis=1)
    filled = np.where(known, values, 0.0)
    mean = _divide(filled.sum(axis=1), count)
    apart = np.where(known, values - np.where(count > 0, mean, 0.0)[:, None], 0.0)
    spread = np.sqrt(_divide((apart**2).sum(axis=1), count - 1))
    scale = np.abs(whole)
    deviation = _divide(mean - whole, np.broadcast_to(scale, mean.shape))
    there = np.array(windows).reshape(-1, *([1] * whole.ndim))
    if confidence is None:
        reach = np.abs(deviation)
        enough = (count == there) & (there > 0)
    else:
        from scipy.stats import t as student  # not needed by workers

        factor = student.ppf(0.5 + confidence / 2, np.maximum(count - 1, 1)) * np.sqrt(1 + 1 / np.maximum(count, 1))
        reach = np.abs(deviation) + _divide(factor * spread, np.broadcast_to(scale, mean.shape))
        enough = (count >= confidence * there) & (count > 1)
    keeps = enough & (np.nan_to_num(reach, nan=np.inf) <= tolerance)
    present = (there > 0).reshape(-1)
    representative = np.full(whole.shape, np.nan)
    still = np.ones(whole.shape, bool)
    for i in reversed(range(len(sizes))):
        if present[i]:
            still &= keeps[i]
            representative[still] = sizes[i]
    predicted = _predicted(spread, scale, sizes, tolerance, confidence)
    return Spread(count, mean, spread, deviation, reach, representative, predicted)


def _predicted(
    spread: np.ndarray, scale: np.ndarray, sizes: Sequence[int], tolerance: float, confidence: float | None
) -> np.ndarray:
    """Return the edge at which a power law through the spread meets the tolerance."""
    if confidence is None:
        return np.full(scale.shape, np.nan)
    # not needed by workers; numpy's logarithm differs in the last bit between processors
    from scipy.special import expm1, xlogy
    from scipy.stats import norm

    known = np.nan_to_num(spread, nan=0.0) > 0
    n = known.sum(axis=0)
    x = xlogy(1.0, sizes).reshape(-1, *([1] * scale.ndim))
    y = xlogy(1.0, np.where(known, spread, 1.0))
    off = np.where(known, x - _divide((x * known).sum(axis=0), n), 0.0)
    slope = _divide((off * y).sum(axis=0), (off**2).sum(axis=0))
    middle = _divide((x * known).sum(axis=0), n), _divide((y * known).sum(axis=0), n)
    wanted = xlogy(1.0, np.where(scale > 0, tolerance * scale, np.nan) / norm.ppf(0.5 + confidence / 2))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        edge = 1 + expm1(middle[0] + (wanted - middle[1]) / slope)
    return np.where((n > 2) & (slope < 0), edge, np.nan)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b, NaN where b is 0."""
    out: np.ndarray = np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=np.asarray(b) > 0)
    return out
