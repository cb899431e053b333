"""What the numbers of a scan owe to its thresholds: properties against a threshold, slopes, and error bars.

One threshold is moved over a list of values that has the one in use among them, so that a property M has a curve M(t).
The slope is that of the least-squares line through the values within u (the uncertainty of the threshold) of the one
in use, or through its neighbours where none is as near. Every other threshold is moved too, once down and once up by
its own uncertainty: its slope is the central difference.

The error bar of M is the root of the sum of squares over the thresholds of

    max(|dM/dt| u, largest |M(t') − M(t)| for t' within u of t),

the second being half the range where M is far from a straight line. It is infinite where M is no number at a threshold
within u of the one in use, as a tortuosity where nothing percolates.

Where the labels are smoothed by a majority filter, what it changes (M with it less M without) is one more term of the
sum: noise roughens a surface, the filter smooths noise and fine structure alike, and the truth lies between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.errors import InputError
from mgsflow.studies.thresholding import Labelling

if TYPE_CHECKING:
    import xarray as xr

#: A threshold of unknown uncertainty is moved by this share of the way to its neighbours, to see what depends on it.
_NUDGE = 0.05


@dataclass(frozen=True)
class Variants:
    """The thresholds at which a scan is measured.

    Attributes
    ----------
    in_use : tuple of float
        The thresholds of the study.
    moved : int
        The one that is moved over `values`.
    values : tuple of float
        Rising, with the one in use among them.
    uncertainties : tuple of float
        Standard uncertainty of every threshold; NaN where it is not known.
    sides : tuple of (int, float, float)
        Each other threshold, and the values below and above it.
    majority : int
        Radius of the majority filter that the study smooths labels by.
    statuses : tuple of str
        How the uncertainty of every threshold was found.
    """

    in_use: tuple[float, ...]
    moved: int
    values: tuple[float, ...]
    uncertainties: tuple[float, ...]
    sides: tuple[tuple[int, float, float], ...]
    majority: int = 0
    statuses: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        in_use: Sequence[float],
        moved: int,
        values: Sequence[float],
        uncertainties: Sequence[float],
        majority: int = 0,
        statuses: Sequence[str] = (),
    ) -> Variants:
        """Return the variants for a list of values, or, if it is empty, five about the threshold in use.

        Raises
        ------
        InputError
            If a value does not lie between the neighbours of the threshold.
        """
        used = tuple(float(t) for t in in_use)
        low, high = _limits(used, moved)
        for value in values:
            if not low < value < high:
                raise InputError(
                    f"threshold {value:g} does not lie between {low:g} and {high:g}, the thresholds beside the one "
                    "that is moved: give values between them"
                )
        if not values:
            below, above = _either_side(used, moved, uncertainties[moved])
            values = (below, (below + used[moved]) / 2, (used[moved] + above) / 2, above)
        ordered = tuple(sorted({float(v) for v in values} | {used[moved]}))
        others = [j for j in range(len(used)) if j != moved]
        sides = tuple((j, *_either_side(used, j, uncertainties[j])) for j in others)
        known = tuple(float(u) for u in uncertainties)
        return cls(used, moved, ordered, known, sides, majority, tuple(statuses))

    @property
    def all(self) -> tuple[Labelling, ...]:
        """How phases are made in each variant: for the values, for the sides, and without the majority filter."""
        along = [self.at(self.moved, v) for v in self.values]
        beside = [self.at(j, v) for j, below, above in self.sides for v in (below, above)]
        return tuple(dict.fromkeys([*along, *beside, self.rough]))

    @property
    def used(self) -> Labelling:
        """How the study makes phases."""
        return Labelling(self.in_use, self.majority)

    @property
    def rough(self) -> Labelling:
        """The same without the majority filter."""
        return Labelling(self.in_use)

    def at(self, which: int, value: float) -> Labelling:
        """Return the variant that has one of the thresholds at a value."""
        return Labelling((*self.in_use[:which], value, *self.in_use[which + 1 :]), self.majority)

    def touched(self, variant: Labelling) -> set[int]:
        """Return the phases that are worth a solve: those beside a threshold that is moved for its error alone."""
        moved = [j for j, (a, b) in enumerate(zip(variant.thresholds, self.in_use)) if a != b]
        return (
            {p for j in moved for p in (j, j + 1)}
            if moved and moved != [self.moved]
            else {*range(len(self.in_use) + 1)}
        )


def sensitivity_dataset(variants: Variants, found: Mapping[Labelling, xr.Dataset]) -> xr.Dataset:
    """Return a scan's properties by threshold, with slopes and error bars.

    Parameters
    ----------
    variants : Variants
    found : dict of Labelling to Dataset
        Properties of each variant.

    Returns
    -------
    Dataset
        For each property ``<name>`` by ``threshold``: ``<name>_slope`` (per grey value) and ``<name>_uncertainty`` at
        the threshold in use. Variables ``threshold_value`` (grey value at each place along ``threshold``),
        ``threshold_in_use``, ``threshold_uncertainty``, ``threshold_status``. Texts (how solves ended) have neither
        slope nor error bar.
    """
    import xarray as xr

    along = [found[variants.at(variants.moved, v)] for v in variants.values]
    used = variants.in_use[variants.moved]
    u = variants.uncertainties[variants.moved]
    grey = {"units": "grey value"}
    data: dict[str, Any] = {
        "threshold_value": ("threshold", np.array(variants.values), grey | {"long_name": "threshold that is moved"}),
        "threshold_in_use": ((), used, grey | {"long_name": "threshold in use"}),
        "threshold_uncertainty": ((), u, grey | {"long_name": "standard uncertainty of the threshold in use"}),
        "threshold_status": (
            (),
            variants.statuses[variants.moved] if variants.statuses else "",
            {"long_name": "how that uncertainty was found"},
        ),
    }
    for key, first in along[0].data_vars.items():
        name, dims, attrs = str(key), tuple(str(d) for d in first.dims), dict(first.attrs)
        values = np.stack([one[key].transpose(*dims).values for one in along])
        data[name] = (("threshold", *dims), values, attrs)
        if values.dtype.kind not in "iuf":
            continue
        curve = values.astype(np.float64)
        at = variants.values.index(used)
        slope = slope_at(np.array(variants.values), curve, at, u)
        squares = error_at(np.array(variants.values), curve, at, slope, u) ** 2
        for j, below, above in variants.sides:
            low, high = (_values(found[variants.at(j, v)], key, dims) for v in (below, above))
            squares = squares + _side_error(low, curve[at], high, above - below, variants.uncertainties[j]) ** 2
        if variants.majority:
            squares = (
                squares + _larger(np.zeros_like(slope), _values(found[variants.rough], key, dims)[None], curve[at]) ** 2
            )
        long = str(attrs.get("long_name", name))
        units = str(attrs.get("units", "1"))
        data[f"{name}_slope"] = (
            dims,
            slope,
            attrs | {"units": f"{units} / grey value", "long_name": f"{long}, slope against the threshold"},
        )
        data[f"{name}_uncertainty"] = (
            dims,
            np.sqrt(squares),
            attrs | {"long_name": f"{long}, standard uncertainty from that of the phases"},
        )
    return xr.Dataset(data, coords=along[0].coords)


def _values(data: xr.Dataset, key: Any, dims: tuple[str, ...]) -> np.ndarray:
    return np.asarray(data[key].transpose(*dims).values, np.float64)


def slope_at(thresholds: np.ndarray, values: np.ndarray, at: int, reach: float) -> np.ndarray:
    """Return the slope of properties against the threshold, at one of the thresholds.

    Parameters
    ----------
    thresholds : ndarray, shape (n,)
        Rising.
    values : ndarray, shape (n, …)
        NaN where a property is not known; such thresholds are left out.
    at : int
        Place of the threshold in use.
    reach : float
        Thresholds within it make the line; the two neighbours do in any case.
    """
    apart = thresholds - thresholds[at]
    near = np.abs(apart) <= (reach if np.isfinite(reach) else 0.0) * (1 + 1e-9)
    near[max(0, at - 1) : at + 2] = True
    x = apart[near].reshape(-1, *([1] * (values.ndim - 1)))
    y = values[near]
    known = np.isfinite(y)
    n = known.sum(axis=0)
    centre = np.divide((x * known).sum(axis=0), n, out=np.zeros(n.shape), where=n > 0)
    off = (x - centre) * known
    total = (off**2).sum(axis=0)
    slope: np.ndarray = np.divide(
        (off * np.where(known, y, 0.0)).sum(axis=0), total, out=np.full(n.shape, np.nan), where=(n > 1) & (total > 0)
    )
    return slope


def error_at(thresholds: np.ndarray, values: np.ndarray, at: int, slope: np.ndarray, reach: float) -> np.ndarray:
    """Return the error bar of properties: by the slope, or half the range within reach, whichever is larger."""
    if not np.isfinite(reach):
        # what does not move with the threshold does not care
        return np.where((values == values[at]).all(axis=0), 0.0, np.nan)
    apart = np.abs(thresholds - thresholds[at])
    inside = values[apart <= reach * (1 + 1e-9)]
    return _larger(np.abs(slope) * reach, inside, values[at])


def _side_error(low: np.ndarray, middle: np.ndarray, high: np.ndarray, apart: float, u: float) -> np.ndarray:
    if not np.isfinite(u):
        return np.where((low == middle) & (high == middle), 0.0, np.nan)
    return _larger(np.abs(high - low) / apart * u, np.stack([low, high]), middle)


def _larger(by_slope: np.ndarray, others: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return the error by the slope or by the range; infinite where a threshold within reach gives no number."""
    range_ = np.where(np.isfinite(others), np.abs(others - middle), np.inf).max(axis=0)
    found: np.ndarray = np.where(np.isfinite(middle), np.fmax(by_slope, range_), np.nan)
    return found


def _limits(thresholds: Sequence[float], at: int) -> tuple[float, float]:
    low = thresholds[at - 1] if at else -np.inf
    high = thresholds[at + 1] if at + 1 < len(thresholds) else np.inf
    return low, high


def _either_side(thresholds: Sequence[float], at: int, u: float) -> tuple[float, float]:
    """Return the values below and above a threshold, by its uncertainty, but not beyond its neighbours."""
    low, high = _limits(thresholds, at)
    used = thresholds[at]
    if not (np.isfinite(u) and u > 0):
        gaps = [g for g in (used - low, high - used) if np.isfinite(g)]
        u = _NUDGE * (min(gaps) if gaps else max(abs(used), 1.0))
    # 0.9 of the way at most: phases between two thresholds must not vanish
    return max(used - u, used - 0.9 * (used - low)), min(used + u, used + 0.9 * (high - used))
