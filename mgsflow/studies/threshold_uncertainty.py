"""How well a histogram fixes a threshold between two phases: the place and the width of the valley between their peaks.

Noise and partial volumes fill the valley between two peaks, and no grey value in it parts the phases without error. By
how much the sound choices differ (valley, midpoint of the peaks, crossing of fitted peaks, least misclassification)
goes with the width of the valley. About its lowest place v the histogram is

    log h(g) ≈ log h(v) + (g − v)² / (2 w²),        w = (d² log h / dg²)^(−1/2) at v

so that a grey value chosen with a probability inverse to the number of voxels that it would cut apart has the standard
deviation w about v. Between two Gaussian peaks at distance d, of noise σ, w = 2σ²/d: the threshold of least error moves
by as much if the ratio of the two phases changes by e². (The parabola is fitted over ± d/8, where the valley of two
Gaussian peaks is flatter than at its lowest place already: w comes out 1.5 times as large.) Partial volumes make the
valley flatter, and w larger. Where it is flat from peak to peak, w is that of any value between them being as likely,
d/√12.

The standard uncertainty of the threshold t in use adds what it lies off the valley, as an error that is not corrected
for:

    u² = w² + (t − v)²

How many voxels there are does not enter: they fix v to a hundredth of w already in a small scan (resampling the counts
would find no more than that, and less than is true, as voxels are not independent), but not what a threshold should be.
It is a model of the choice, not a confidence level. On phantoms whose true phases are known (`mgsflow.phantoms`:
cathodes and separators of all states, filtered and not), the threshold that gives the true fraction lies within u of
the one in use in all cases but where a third phase's partial volumes lie at the threshold: there within 1.1 u.

References
----------
J. M. S. Prewitt and M. L. Mendelsohn, Ann. N. Y. Acad. Sci. 128 (1966) 1035, doi:10.1111/j.1749-6632.1965.tb11715.x
(valley). J. Kittler and J. Illingworth, Pattern Recognition 19 (1986) 41, doi:10.1016/0031-3203(86)90030-0 (least
error). JCGM 100:2008 (GUM), 4.3.7, F.2.4.5 (uncorrected offsets).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, nan, pi, sqrt

import numpy as np

from mgsflow.segmentation import GreyHistogram

_SMOOTH = 0.004  # of the span of grey values, as for the landmarks
_FIT = 0.125  # of the distance of the peaks: half the range of the parabola
_SIGNIFICANT = 5.0  # standard deviations by which a peak rises above the valley

FOUND, NO_VALLEY, BORROWED = "valley", "no valley", "no valley: that of another threshold"


@dataclass(frozen=True)
class ThresholdUncertainty:
    """What a histogram says about a threshold in use; in grey values.

    Attributes
    ----------
    threshold : float
        The threshold in use.
    status : str
        ``valley``; or ``no valley``, where there are not two peaks about the threshold, and all else is NaN.
    low, high : float
        Peaks below and above.
    valley : float
        Lowest place between them.
    width : float
        w, the standard deviation of a sound choice about the valley.
    """

    threshold: float
    status: str = NO_VALLEY
    low: float = nan
    high: float = nan
    valley: float = nan
    width: float = nan

    @property
    def standard(self) -> float:
        """u, the standard uncertainty of the threshold."""
        return hypot(self.width, self.threshold - self.valley)


def threshold_uncertainties(
    histogram: GreyHistogram, thresholds: Sequence[float]
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Return the standard uncertainties of all thresholds in use, and how each was found.

    Where a scan has no valley at a threshold, as it hardly has a phase there, the largest uncertainty of the others is
    taken: noise and blur are those of the same scan. NaN where there is none at all.

    Parameters
    ----------
    histogram, thresholds
        As for `threshold_uncertainty`.
    """
    found = [threshold_uncertainty(histogram, thresholds, i) for i in range(len(thresholds))]
    known = [one.standard for one in found if one.status == FOUND]
    values = tuple(one.standard if one.status == FOUND else max(known, default=nan) for one in found)
    statuses = tuple(one.status if one.status == FOUND or not known else BORROWED for one in found)
    return values, statuses


def threshold_uncertainty(histogram: GreyHistogram, thresholds: Sequence[float], which: int) -> ThresholdUncertainty:
    """Return the uncertainty of one of the thresholds in use.

    Parameters
    ----------
    histogram : GreyHistogram
        Of the grey values that are cut at the thresholds.
    thresholds : sequence of float
        Rising.
    which : int
        The threshold in question; peaks are looked for between its neighbours.
    """
    at = float(thresholds[which])
    none = ThresholdUncertainty(at)
    smooth, sigma = _smoothed(histogram)
    if smooth is None:
        return none
    centres = histogram.centres
    below = float(thresholds[which - 1]) if which else -np.inf
    above = float(thresholds[which + 1]) if which + 1 < len(thresholds) else np.inf
    left = np.flatnonzero((centres >= below) & (centres <= at))
    right = np.flatnonzero((centres >= at) & (centres < above))
    if left.size < 3 or right.size < 3:
        return none
    low, high = int(left[smooth[left].argmax()]), int(right[smooth[right].argmax()])
    if high - low < 4:
        return none
    between = smooth[low : high + 1]
    lowest = np.flatnonzero(between <= between.min())
    bottom = low + int(lowest[lowest.size // 2])
    # a sum of Poisson counts with Gaussian weights has this standard deviation
    noise = sqrt(max(1.0, min(smooth[low], smooth[high])) / (2 * sqrt(pi) * sigma))
    if min(smooth[low], smooth[high]) - smooth[bottom] <= _SIGNIFICANT * noise:
        return none
    # one voxel more where the smoothing reaches, for valleys that are empty
    place, width = _parabola(smooth + 1 / (2 * sqrt(pi) * sigma), bottom, high - low)
    return ThresholdUncertainty(
        at,
        FOUND,
        float(centres[low]),
        float(centres[high]),
        # no more digits than a fit gives alike on every processor
        float(f"{centres[0] + histogram.width * place:.9g}"),
        float(f"{histogram.width * width:.9g}"),
    )


def _smoothed(histogram: GreyHistogram) -> tuple[np.ndarray | None, float]:
    counts = histogram.counts.astype(np.float64)
    counts[[0, -1]] = 0  # padding and saturated voxels
    cumulative = np.cumsum(counts)
    if cumulative[-1] <= 0:
        return None, 1.0
    ends = np.searchsorted(cumulative, np.array([0.001, 0.999]) * cumulative[-1])
    sigma = max(1.0, _SMOOTH * float(ends[1] - ends[0]))
    from scipy.ndimage import gaussian_filter1d  # not needed by workers

    return gaussian_filter1d(counts, sigma, mode="constant", truncate=5.0), sigma


def _parabola(smooth: np.ndarray, bottom: int, apart: int) -> tuple[float, float]:
    """Return vertex and width in bins of the parabola through the logarithm of a valley's counts."""
    reach = max(2, round(_FIT * apart))
    bins = np.arange(max(0, bottom - reach), min(smooth.size, bottom + reach + 1))
    # the weights are those of a logarithm of Poisson counts
    curve = np.polynomial.Polynomial.fit(bins - bottom, np.log(smooth[bins]), 2, w=np.sqrt(smooth[bins]))
    coefficients = np.zeros(3)
    coefficients[: curve.convert().coef.size] = curve.convert().coef
    _, slope, bend = (float(c) for c in coefficients)
    anywhere = apart / sqrt(12)
    if bend <= 0.5 / anywhere**2:
        return float(bottom), anywhere
    return bottom + float(np.clip(-slope / (2 * bend), -reach, reach)), 1 / sqrt(2 * bend)
