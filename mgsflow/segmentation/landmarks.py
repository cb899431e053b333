"""One grey scale for several scans, from landmarks.

Two scans of one material differ in brightness and contrast. The grey values of two things that cycling does not change,
air and an inert reference (glass fibre, current collector, …), fix the straight line between their scales. Histograms
are never matched as a whole: that would erase the very change in phase fractions that is to be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mgsflow.errors import InputError
from mgsflow.segmentation.histogram import GreyHistogram

GreyRange: TypeAlias = tuple[float, float]

_SMOOTH = 0.004  # of the span of grey values: far narrower than a peak of a noisy scan
_PROMINENT = 0.02  # of the highest peak: lower ones are ripples
_RIVAL = 0.7  # of the chosen peak: a second one as prominent makes the choice a guess


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Grey values of air and of an inert reference in one scan.

    Parameters
    ----------
    air, reference : float
        Grey values; `reference` is the higher.

    Raises
    ------
    InputError
        If they are not finite, or `reference` is not above `air`.
    """

    air: float
    reference: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.air) and np.isfinite(self.reference) and self.air < self.reference):
            raise InputError(f"landmarks need air < reference, got {self.air} and {self.reference}")


def find_landmarks(
    histogram: GreyHistogram, air: GreyRange | None = None, reference: GreyRange | None = None
) -> Landmarks:
    """Find the peaks of air and of the inert reference, to a fraction of a bin.

    Parameters
    ----------
    histogram : GreyHistogram
        Of the whole scan. Its first and last bin are left out: they hold padding and saturated voxels.
    air, reference : (float, float), optional
        Ranges of grey values in which to look for one peak each. Without any, the two most prominent peaks of the
        histogram are taken, which must stand out from a third; with one of them, the most prominent peak above or
        below it is the other.

    Returns
    -------
    Landmarks

    Raises
    ------
    InputError
        If there is no peak in a range, or two that are alike; the message lists the peaks there are.
    """
    smooth, sigma = _smooth(histogram)
    peaks, prominence = _peaks(smooth, sigma)
    centres = histogram.centres
    if air is None and reference is None:
        if peaks.size < 2:
            raise InputError(
                f"two peaks are needed for air and reference, the histogram has {_listed(centres[peaks])}: give their "
                "approximate grey ranges, or the landmarks themselves"
            )
        order = np.argsort(-prominence, kind="stable")
        if peaks.size > 2 and prominence[order[2]] > _RIVAL * prominence[order[1]]:
            raise InputError(
                f"the histogram has {_listed(centres[peaks])}, and which are air and reference is not clear: give "
                "their approximate grey ranges"
            )
        low, high = sorted(peaks[order[:2]])
    else:
        below, above = (-np.inf, np.inf) if air is None else air, (-np.inf, np.inf) if reference is None else reference
        if air is None:
            high = _choose(centres, peaks, prominence, above, "reference")
            low = _choose(centres, peaks, prominence, (-np.inf, centres[high - 1]), "air")
        else:
            low = _choose(centres, peaks, prominence, below, "air")
            above = (max(above[0], centres[low + 1]), above[1])
            high = _choose(centres, peaks, prominence, above, "reference")
    return Landmarks(_centre(histogram, smooth, int(low)), _centre(histogram, smooth, int(high)))


def fit_rescale(
    histogram: GreyHistogram,
    landmarks: Landmarks,
    air: GreyRange | None = None,
    reference: GreyRange | None = None,
) -> tuple[float, float]:
    """Fit the straight line that puts a scan on the grey scale of another.

    Parameters
    ----------
    histogram : GreyHistogram
        Of the scan to be rescaled.
    landmarks : Landmarks
        Of the scan whose scale is wanted.
    air, reference : (float, float), optional
        Where to look for this scan's landmarks; see `find_landmarks`.

    Returns
    -------
    gain, offset : float
        ``gain * grey + offset`` is on the other scan's scale.

    Raises
    ------
    InputError
        If this scan's landmarks are not found.
    """
    own = find_landmarks(histogram, air, reference)
    gain = (landmarks.reference - landmarks.air) / (own.reference - own.air)
    return gain, landmarks.air - gain * own.air


def valley(histogram: GreyHistogram, between: GreyRange) -> float:
    """Return the grey value at which the smoothed histogram is lowest between two peaks.

    Parameters
    ----------
    histogram : GreyHistogram
    between : (float, float)
        Grey values of (or near) the peaks on both sides.

    Returns
    -------
    float
        To a fraction of a bin; the middle, where the histogram is as low over a stretch.

    Raises
    ------
    InputError
        If the range is empty, or the histogram only falls or only rises in it.
    """
    smooth, _ = _smooth(histogram)
    low, high = between
    inside = np.flatnonzero((histogram.centres >= low) & (histogram.centres <= high))
    if inside.size < 3:
        raise InputError(f"no valley between grey values {low} and {high}: the range has {inside.size} bins")
    part = smooth[inside]
    flat = np.flatnonzero(part <= part.min())
    if flat[0] == 0 or flat[-1] == part.size - 1:
        raise InputError(
            f"no valley between grey values {low} and {high}: its lowest value there is at an end of the range"
        )
    at = float(flat[0] + flat[-1]) / 2
    if flat.size == 1:
        a, b, c = part[flat[0] - 1 : flat[0] + 2]
        at += 0.5 * (a - c) / (a - 2 * b + c)
    return float(histogram.centres[inside[0]] + histogram.width * at)


def _smooth(histogram: GreyHistogram) -> tuple[np.ndarray, float]:
    counts = histogram.counts.astype(np.float64)
    counts[[0, -1]] = 0
    cumulative = np.cumsum(counts)
    if cumulative[-1] <= 0:
        raise InputError("the histogram holds no voxels between its first and its last bin")
    # the span of all but the rarest grey values follows gain and offset, and so does the smoothing
    ends = np.searchsorted(cumulative, np.array([0.001, 0.999]) * cumulative[-1])
    sigma = max(1.0, _SMOOTH * float(ends[1] - ends[0]))
    from scipy.ndimage import gaussian_filter1d  # not needed by workers

    return gaussian_filter1d(counts, sigma, mode="constant", truncate=5.0), sigma


def _peaks(smooth: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    padded = np.concatenate([[0.0], smooth, [0.0]])
    from scipy.signal import find_peaks  # not needed by workers

    peaks, found = find_peaks(padded, prominence=_PROMINENT * smooth.max())
    # a sum of Poisson counts with Gaussian weights has this standard deviation
    noise = np.sqrt(padded[peaks] / (2 * np.sqrt(np.pi) * sigma))
    real = found["prominences"] > 5 * noise
    return peaks[real] - 1, found["prominences"][real]


def _choose(centres: np.ndarray, peaks: np.ndarray, prominence: np.ndarray, within: GreyRange, name: str) -> int:
    low, high = within
    inside = np.flatnonzero((centres[peaks] >= low) & (centres[peaks] <= high))
    if not inside.size:
        raise InputError(
            f"no peak for {name} between grey values {low:g} and {high:g}: the histogram has {_listed(centres[peaks])}"
        )
    order = inside[np.argsort(-prominence[inside], kind="stable")]
    if order.size > 1 and prominence[order[1]] > _RIVAL * prominence[order[0]]:
        raise InputError(
            f"more than one peak for {name} between grey values {low:g} and {high:g}: the histogram has "
            f"{_listed(centres[peaks[inside]])} there; give a narrower range"
        )
    return int(peaks[order[0]])


def _listed(values: Sequence[float] | np.ndarray) -> str:
    if not len(values):
        return "no peaks"
    return ("one peak, at " if len(values) == 1 else "peaks at ") + ", ".join(f"{v:.6g}" for v in values)


def _centre(histogram: GreyHistogram, smooth: np.ndarray, peak: int) -> float:
    """Return the vertex of the parabola through the logarithm of a peak's top, which is exact for a Gaussian."""
    low = high = peak
    while low > 0 and smooth[low - 1] > 0.6 * smooth[peak]:
        low -= 1
    while high < smooth.size - 1 and smooth[high + 1] > 0.6 * smooth[peak]:
        high += 1
    # the two neighbours at least, even of a peak one bin wide
    low, high = min(low, max(0, peak - 1)), max(high, min(smooth.size - 1, peak + 1))
    bins = np.arange(low, high + 1)
    bins = bins[smooth[bins] > 0]
    # weights proportional to the height: those of a logarithm of Poisson counts
    curve = np.polynomial.Polynomial.fit(bins - peak, np.log(smooth[bins]), 2, w=np.sqrt(smooth[bins]))
    _, slope, bend = (float(c) for c in curve.convert().coef)
    shift = -slope / (2 * bend) if bend < 0 else 0.0
    # no more digits than a fit gives alike on every processor
    return float(f"{histogram.centres[peak] + histogram.width * np.clip(shift, low - peak, high - peak):.9g}")
