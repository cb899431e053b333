"""Distributions over particles, by number or by volume, of one scan or of many side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.errors import InputError
from mgsflow.particle_analysis.table import VARIABLES, ParticleTable

if TYPE_CHECKING:
    import xarray as xr

WEIGHTINGS = ("number", "volume")
PARTICLE_BORDERS = ("keep", "drop", "weight")
QUANTITIES = ("equivalent_diameter", "volume_per_area", "sphericity")
"""What the histograms of doi:10.1002/smtd.202001193 (Fig. 5 m–o) show."""

FEWEST_VOXELS = 10
"""Particles below are not quantified there: their shape is that of a few voxels."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """Distribution of a quantity over the particles of a scan.

    Attributes
    ----------
    quantity, by, border : str
        As asked for.
    count : int
        Particles it is of.
    too_small, at_border : int
        Particles that were left out for their size; of the others, for touching the border.
    mean, std : float
        Weighted mean, and standard deviation about it (of the population). NaN where there are no particles.
    d10, d50, d90 : float
        Smallest value that, with those below, makes up 10, 50, 90 % of the weight: always one that occurs.
    edges : ndarray, shape (bins + 1,)
    share : ndarray, shape (bins,)
        Share of the weight in each bin, the upper edge of the last one included; NaN where there are no particles.
    outside : float
        Share of the weight beyond the edges.
    """

    quantity: str
    by: str
    border: str
    count: int
    too_small: int
    at_border: int
    mean: float
    std: float
    d10: float
    d50: float
    d90: float
    edges: np.ndarray
    share: np.ndarray
    outside: float

    def to_dataset(self) -> xr.Dataset:
        """Return the numbers, and the histogram along ``<quantity>_bin``, whose coordinate is the bins' centres."""
        import xarray as xr  # not needed by workers: 40 MiB less in each

        q, (_, units, long_name) = self.quantity, VARIABLES[self.quantity]
        weighted = f"{long_name}, by {self.by} of particles"
        data: dict[str, Any] = {
            f"{q}_{name}": ((), value, {"units": units, "long_name": f"{what} of {weighted}"})
            for name, value, what in (
                ("mean", self.mean, "mean"),
                ("std", self.std, "standard deviation"),
                ("d10", self.d10, "10 % quantile"),
                ("d50", self.d50, "median"),
                ("d90", self.d90, "90 % quantile"),
            )
        }
        bins = f"{q}_bin"
        data |= {
            f"{q}_share": ((bins,), self.share, {"units": "1", "long_name": f"share in each bin of {weighted}"}),
            f"{q}_outside": ((), self.outside, {"units": "1", "long_name": f"share beyond all bins of {weighted}"}),
            f"{q}_count": ((), self.count, {"units": "1", "long_name": "particles in the distribution"}),
            f"{q}_too_small": ((), self.too_small, {"units": "1", "long_name": "particles left out for their size"}),
            f"{q}_at_border": ((), self.at_border, {"units": "1", "long_name": "particles left out at the border"}),
        }
        centres = (self.edges[:-1] + self.edges[1:]) / 2
        lower, upper = ({"units": units, "long_name": f"{end} edge of the bin"} for end in ("lower", "upper"))
        coords = {
            bins: (bins, centres, {"units": units, "long_name": long_name}),
            f"{q}_lower": (bins, self.edges[:-1], lower),
            f"{q}_upper": (bins, self.edges[1:], upper),
        }
        return xr.Dataset(data, coords=coords, attrs={"by": self.by, "border": self.border})


def distribution(
    table: ParticleTable,
    quantity: str = "equivalent_diameter",
    by: str = "number",
    border: str = "keep",
    bins: int | Sequence[float] | np.ndarray = 20,
    min_voxels: int = FEWEST_VOXELS,
) -> Distribution:
    """Return how a quantity is distributed over particles.

    Parameters
    ----------
    table : ParticleTable
    quantity : str
        A column with one number a particle.
    by : {"number", "volume"}
        Whether each particle counts once, or by its volume.
    border : {"keep", "drop", "weight"}
        What to do with particles that touch the border of the scan: take them as they are, cut or not; leave them out,
        which favours small ones; or leave them out and weigh the others by ``border_weight`` (Miles and Lantuéjoul),
        which is without bias as long as no particle is as large as the scan.
    bins : int or sequence of float
        Edges, or how many bins between zero and the largest value.
    min_voxels : int
        Particles of fewer voxels are left out.

    Raises
    ------
    InputError
        If the quantity has no column of one number, a choice is none, or edges do not ascend.
    """
    values, weight, small, cut = _weighted(table, quantity, by, border, min_voxels)
    edges = _edges([values], bins)
    total = float(weight.sum())
    if not total > 0:
        nan = float("nan")
        empty = np.full(edges.size - 1, nan)
        return Distribution(quantity, by, border, 0, small, cut, nan, nan, nan, nan, nan, edges, empty, nan)
    mean = float((weight * values).sum()) / total
    std = float(np.sqrt((weight * (values - mean) ** 2).sum() / total))
    d10, d50, d90 = (float(v) for v in np.quantile(values, [0.1, 0.5, 0.9], weights=weight, method="inverted_cdf"))
    share = np.histogram(values, edges, weights=weight)[0] / total
    within = (values >= edges[0]) & (values <= edges[-1])
    outside = float(weight[~within].sum()) / total
    return Distribution(quantity, by, border, values.size, small, cut, mean, std, d10, d50, d90, edges, share, outside)


def distributions(
    tables: Mapping[str, ParticleTable],
    quantities: Sequence[str] = QUANTITIES,
    by: str = "number",
    border: str = "keep",
    bins: int | Mapping[str, Sequence[float]] = 20,
    min_voxels: int = FEWEST_VOXELS,
) -> xr.Dataset:
    """Return the distributions of several scans side by side, on bins that they share.

    Parameters
    ----------
    tables : mapping of str to ParticleTable
        By scan.
    quantities : sequence of str
    bins : int or mapping of str to sequence of float
        How many bins between zero and the largest value of all scans, or edges by quantity.
    by, border, min_voxels
        As for `distribution`.

    Returns
    -------
    Dataset
        The variables of `Distribution.to_dataset` along ``scan``.
    """
    import xarray as xr

    if not tables:
        raise InputError("no tables of particles: give one a scan")
    found = []
    for quantity in quantities:
        of_all = [_weighted(t, quantity, by, border, min_voxels)[0] for t in tables.values()]
        edges = _edges(of_all, bins if isinstance(bins, int) else bins.get(quantity, 20))
        each = [distribution(t, quantity, by, border, edges, min_voxels).to_dataset() for t in tables.values()]
        found.append(xr.concat(each, xr.DataArray(list(tables), dims="scan", name="scan"), coords="minimal"))
    return xr.merge(found, join="exact", compat="equals", combine_attrs="override")


def _weighted(
    table: ParticleTable, quantity: str, by: str, border: str, min_voxels: int
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Return values and weights of the particles that are taken, and how many are too small, or at the border."""
    if by not in WEIGHTINGS:
        raise InputError(f"by must be one of {', '.join(WEIGHTINGS)}, got {by!r}")
    if border not in PARTICLE_BORDERS:
        raise InputError(f"border must be one of {', '.join(PARTICLE_BORDERS)}, got {border!r}")
    values = table[quantity]
    if values.ndim != 1 or values.dtype == np.bool_:
        raise InputError(f"a distribution is of one number a particle, and {quantity!r} is none")
    large = table["voxel_count"] >= min_voxels
    taken = large if border == "keep" else large & ~table["touches_border"]
    weight = table["volume"] if by == "volume" else np.ones(len(table))
    if border == "weight":
        weight = weight * table["border_weight"]
    values = values[taken].astype(float)
    known = ~np.isnan(values)
    return values[known], weight[taken][known], int((~large).sum()), int(large.sum() - taken.sum())


def _edges(values: Sequence[np.ndarray], bins: int | Sequence[float] | np.ndarray) -> np.ndarray:
    if isinstance(bins, int) and not isinstance(bins, bool):
        if bins < 1:
            raise InputError(f"bins must be at least one, got {bins}")
        finite = np.concatenate([v[np.isfinite(v)] for v in values])
        low, high = min(0.0, finite.min(initial=0.0)), finite.max(initial=0.0)
        return np.linspace(low, high if high > low else low + 1.0, bins + 1)
    edges = np.asarray(bins, float)
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
        raise InputError(f"edges of bins must ascend, at least two of them, got {bins!r}")
    return edges
