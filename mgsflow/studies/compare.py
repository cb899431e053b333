"""Metrics of all scans beside those of a reference state: differences, ratios, and what goes with the capacity.

With u the standard uncertainty of a metric M, a scan differs from the reference r where

    |M − M_r| > k √(u² + u_r²),        k = 2.

u² is the sum of the squares of what is known: what the uncertainty of the thresholds does (``<name>_uncertainty``),
the sampling error (``<name>_error``, or std/√n of a mean over particles), and the error of the solver. The solver's
alone is no uncertainty of a metric: where nothing else is known, nothing is said. Scans that share their thresholds
share that error too, so that a difference is seen more often than is said here.

Correlations with the capacity are Pearson's r and Spearman's ρ over the scans whose metric and capacity are both known.
Three pairs are needed for a number at all; a p-value is given from five on, and is of one test: of many metrics, some
come out low by chance.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

#: A difference counts as seen beyond so many combined standard uncertainties.
COVERAGE = 2.0
#: The metric that others are correlated with, and what else is of the cell and not of the scan.
CAPACITY = "capacity"
_OF_CELL = (CAPACITY, "charge_capacity", "capacity_retention", "coulombic_efficiency")
#: The estimator that is compared where there are several.
ESTIMATOR = "crofton13"
_DIMS = {"scan", "phase", "neighbour", "pair", "axis", "estimator"}
# what certifies a metric, or counts what went into it
_CERTIFICATES = (
    *("_error", "_uncertainty", "_iterations", "_flux_spread", "_by_flux", "_residual", "_outside", "_too_small"),
    *("_at_border", "_std", "_count", "_cells", "_specks"),
)
_COUNTS = ("particle_count", "pore_count", "throat_count")
#: Relative errors of solvers, and the metrics that they are of.
_SOLVERS = {
    "tortuosity_error": (
        *("tortuosity_factor", "tortuosity_factor_percolating", "effective_diffusivity", "formation_factor"),
    ),
    "permeability_error": ("permeability", "flow_rate", "mean_velocity"),
}
#: What comes first; the others follow as they are.
_FIRST = (
    *("volume_fraction", "surface_per_total_volume", "surface_per_phase_volume", "interface_per_total_volume"),
    *("tpb_density", "tortuosity_factor", "effective_diffusivity", "permeability"),
)
_FEWEST, _FEWEST_P = 3, 5


def compare(
    metrics: xr.Dataset | xr.DataTree | str | Path, reference: str | None = None, specimen: str | None = None
) -> xr.Dataset:
    """Compare the metrics of all scans of a specimen with those of one.

    Parameters
    ----------
    metrics : Dataset, DataTree or path
        Metrics along ``scan``, with the coordinates ``cycle`` and ``state``; or an opened study, or its store.
    reference : str, optional
        Name of the scan. Default: the first pristine one of cycle 0; if there is none, the first of the lowest cycle.
    specimen : str, optional
        Of a study; may be left out where it has one.

    Returns
    -------
    Dataset
        Each metric ``M`` that has a number, along ``scan`` and, as it comes, ``phase``, ``neighbour``, ``pair``,
        ``axis`` (of estimators the first, ``crofton13``); ``M_difference`` and ``M_ratio`` to the reference;
        ``M_combined_uncertainty``, the standard uncertainty of the difference, and ``M_differs`` (1, 0, or NaN where it
        cannot be told), where any is known. Where there is a ``capacity``: ``M_pearson``, ``M_spearman`` and
        ``M_pairs``, the number of scans that they are of; ``M_pearson_p``, ``M_spearman_p`` where five or more are.
        How solves ended is in ``…_status``. Attributes: ``reference``, ``coverage``.

    Raises
    ------
    InputError
        If there are no metrics, or no scan of that name.
    """
    import xarray as xr

    data = _metrics(metrics, specimen).load()
    scans = [str(s) for s in data.scan.values]
    base = _reference(data, scans, reference)
    made: dict[str, Any] = {}
    for name in _compared(data):
        dims = ("scan", *(str(d) for d in data[name].dims if d not in ("scan", "estimator")))
        values = _numbers(data[name], dims)
        values[~np.isfinite(values)] = nan
        if np.isnan(values).all():
            continue
        attrs = dict(data[name].attrs)
        made[name] = (dims, values, attrs)
        made |= _against(name, dims, values, attrs, base, *_uncertainty(data, name, dims, values))
        if CAPACITY in data and name not in _OF_CELL:
            made |= _correlated(name, dims, values, attrs, _numbers(data[CAPACITY], ("scan",)))
    for status in (str(n) for n in data.data_vars if str(n).endswith("_status")):
        if "scan" in data[status].dims:
            made[status] = (data[status].dims, data[status].values, dict(data[status].attrs))
    used = {str(d) for v in made.values() for d in v[0]} | {"scan"}
    coords = {name: (c.dims, c.values, c.attrs) for name, c in data.coords.items() if set(map(str, c.dims)) <= used}
    return xr.Dataset(made, coords=coords, attrs={"reference": scans[base], "coverage": COVERAGE})


def compared_names(comparison: xr.Dataset) -> list[str]:
    """Return the metrics of a comparison, without what is derived of them."""
    return [str(n) for n in comparison.data_vars if f"{n}_ratio" in comparison]


def _metrics(given: Any, specimen: str | None) -> xr.Dataset:
    import xarray as xr

    if isinstance(given, (str, Path)):
        from mgsflow.store.tree import open_study

        given = open_study(given)
    if isinstance(given, xr.DataTree):
        there = [str(n) for n, node in given.children.items() if "metrics" in node.children]
        if "metrics" in given.children:
            given = given["metrics"]
        elif specimen is None and len(there) != 1:
            raise InputError(f"the study has metrics of {', '.join(there) or 'no specimen'}: name one as `specimen`")
        elif specimen is not None and specimen not in there:
            raise InputError(f"no metrics of a specimen {specimen!r}; there are those of {', '.join(there) or 'none'}")
        else:
            given = given[f"{specimen or there[0]}/metrics"]
        given = given.to_dataset()
    if not isinstance(given, xr.Dataset) or "scan" not in given.dims or "scan" not in given.coords:
        raise InputError("metrics must be a Dataset along `scan`, a study, or its store")
    given = given.drop_indexes([n for n in ("cycle", "state") if n in given.xindexes])
    return given


def _reference(data: xr.Dataset, scans: Sequence[str], name: str | None) -> int:
    if name is not None:
        if name not in scans:
            raise InputError(f"no scan {name!r} to compare with; there are: {', '.join(scans)}")
        return scans.index(name)
    if not scans:
        raise InputError("there are no scans to compare")
    cycle = np.asarray(data["cycle"].values) if "cycle" in data.coords else np.zeros(len(scans), int)
    state = [str(s) for s in data["state"].values] if "state" in data.coords else [""] * len(scans)
    order = sorted(range(len(scans)), key=lambda i: (cycle[i], state[i] != "pristine", i))
    return order[0]


def _compared(data: xr.Dataset) -> list[str]:
    """Return the names of what can be compared, the most asked for first."""
    names = []
    for name, variable in data.data_vars.items():
        word = str(name)
        numeric = variable.dtype.kind in "iuf" and "scan" in variable.dims and set(map(str, variable.dims)) <= _DIMS
        if numeric and (word in _COUNTS or not word.endswith(_CERTIFICATES)):
            names.append(word)
    rank = {name: i for i, name in enumerate(_FIRST)}
    return sorted(names, key=lambda n: (rank.get(n, len(rank)), n))


def _numbers(variable: xr.DataArray, dims: tuple[str, ...]) -> np.ndarray:
    """Return a variable as numbers along some dimensions, of one estimator; those it does not have, of length one."""
    if "estimator" in variable.dims:
        known = [str(e) for e in variable["estimator"].values]
        variable = variable.isel(estimator=known.index(ESTIMATOR) if ESTIMATOR in known else 0, drop=True)
    there = [d for d in dims if d in variable.dims]
    values = np.array(variable.transpose(*there).values, dtype=np.float64)
    return values.reshape([variable.sizes.get(d, 1) for d in dims])


def _uncertainty(
    data: xr.Dataset, name: str, dims: tuple[str, ...], values: np.ndarray
) -> tuple[np.ndarray | None, list[str]]:
    """Return the standard uncertainty of a metric, and what it is made of; NaN where it is not known."""
    terms: dict[str, np.ndarray] = {}
    if f"{name}_uncertainty" in data:
        terms["cells" if name in _OF_CELL else "thresholds"] = _numbers(data[f"{name}_uncertainty"], dims)
    if f"{name}_error" in data and f"{name}_error" not in _SOLVERS:
        terms["sampling"] = _numbers(data[f"{name}_error"], dims)
    stem = name.removesuffix("_mean")
    if stem != name and f"{stem}_std" in data and f"{stem}_count" in data:
        count = _numbers(data[f"{stem}_count"], dims)
        terms["sampling"] = _numbers(data[f"{stem}_std"], dims) / np.sqrt(np.where(count > 1, count, nan))
    if not terms:
        return None, []
    squares, known = np.zeros(values.shape), np.zeros(values.shape, bool)
    for term in terms.values():
        squares = squares + np.where(np.isnan(term), 0.0, term) ** 2
        known = known | ~np.isnan(term)
    for solver, metrics in _SOLVERS.items():
        if name in metrics and solver in data:
            error = _numbers(data[solver], dims) * values
            squares = squares + np.where(np.isnan(error), 0.0, error) ** 2
            terms["solver"] = error
    return np.where(known, np.sqrt(squares), nan), list(terms)


def _against(
    name: str,
    dims: tuple[str, ...],
    values: np.ndarray,
    attrs: dict[str, Any],
    base: int,
    uncertainty: np.ndarray | None,
    sources: list[str],
) -> dict[str, Any]:
    """Return how a metric of each scan compares with that of the reference."""
    units, long_name = str(attrs.get("units", "1")), str(attrs.get("long_name", name.replace("_", " ")))
    difference = values - values[base]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = values / values[base]
    ratio[~np.isfinite(ratio)] = nan
    found = {
        "difference": (difference, units, "difference to the reference"),
        "ratio": (ratio, "1", "ratio to the reference"),
    }
    if uncertainty is not None:
        combined = np.sqrt(uncertainty**2 + uncertainty[base] ** 2)
        combined[~np.isfinite(combined) | np.isnan(difference)] = nan
        combined[base] = nan
        with np.errstate(invalid="ignore"):
            differs = np.where(np.isnan(combined), nan, abs(difference) > COVERAGE * combined)
        if not np.isnan(combined).all():
            what = f"standard uncertainty of the difference, of {', '.join(sources)}"
            found["combined_uncertainty"] = (combined, units, what)
            found["differs"] = (differs, "1", f"1 where the difference exceeds {COVERAGE:g} combined uncertainties")
    return {
        f"{name}_{key}": (dims, numbers, {"units": unit, "long_name": f"{what}: {long_name}"})
        for key, (numbers, unit, what) in found.items()
    }


def _correlated(
    name: str, dims: tuple[str, ...], values: np.ndarray, attrs: dict[str, Any], capacity: np.ndarray
) -> dict[str, Any]:
    """Return how a metric goes with the capacity over the scans, in each of its places."""
    shape = values.shape[1:]
    numbers = {key: np.full(shape, nan) for key in _CORRELATIONS}
    pairs = np.zeros(shape, np.int64)
    for place in np.ndindex(*shape):
        one = values[(slice(None), *place)]
        both = np.isfinite(capacity) & np.isfinite(one)
        pairs[place] = int(both.sum())
        for key, number in correlation(capacity[both], one[both]).items():
            numbers[key][place] = number
    of = str(attrs.get("long_name", name.replace("_", " ")))
    found: dict[str, Any] = {}
    for key, array in numbers.items():
        if not key.endswith("_p") or np.isfinite(array).any():
            found[f"{name}_{key}"] = (dims[1:], array, {"units": "1", "long_name": f"{_CORRELATIONS[key]}: {of}"})
    what = {"units": "1", "long_name": f"scans that the correlation is of: {of}"}
    return found | {f"{name}_pairs": (dims[1:], pairs, what)}


_CORRELATIONS = {
    "pearson": "Pearson's correlation with the capacity",
    "spearman": "Spearman's rank correlation with the capacity",
    "pearson_p": "two-sided p-value, of this one test, of Pearson's correlation with the capacity",
    "spearman_p": "two-sided p-value, of this one test, of Spearman's rank correlation with the capacity",
}


def correlation(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return correlations of pairs, as far as there are enough of them.

    Parameters
    ----------
    x, y : ndarray, shape (pairs,)

    Returns
    -------
    dict of str to float
        ``pearson`` and ``spearman`` from three pairs on, NaN where one of the two does not vary; ``pearson_p`` and
        ``spearman_p`` (two-sided) from five on.
    """
    if x.size < _FEWEST:
        return {}
    found = {"pearson": nan, "spearman": nan}
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return found
    from scipy.stats import pearsonr, spearmanr  # slow to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hardly varies
        for key, of in (("pearson", pearsonr), ("spearman", spearmanr)):
            result = of(x, y)
            found[key] = float(result.statistic)
            if x.size >= _FEWEST_P:
                found[f"{key}_p"] = float(result.pvalue)
    return found
