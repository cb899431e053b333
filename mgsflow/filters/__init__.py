"""Filters of grey images: smoothing, sharpening, denoising, linear grey maps and correction of drift along z.

Each filter is a kernel that streams through a block with a few rows of scratch; chains of them run in one pass.
Names in `FILTERS` are those of a study file's ``filters`` list. `mgsflow.filters.lazy` has the same names as
functions on NumPy arrays, dask arrays and DataArrays.
"""

from mgsflow.filters.denoise import NonLocalMeans
from mgsflow.filters.drift import SliceDrift, SliceMean, fit_drift, slice_totals
from mgsflow.filters.gaussian import Gaussian
from mgsflow.filters.median import Median
from mgsflow.filters.rescale import Rescale
from mgsflow.filters.unsharp import UnsharpMask
from mgsflow.kernel import Kernel

FILTERS: dict[str, type[Kernel]] = {
    "gaussian": Gaussian,
    "median": Median,
    "non_local_means": NonLocalMeans,
    "rescale": Rescale,
    "unsharp_mask": UnsharpMask,
}

__all__ = [
    "FILTERS",
    "Gaussian",
    "Median",
    "NonLocalMeans",
    "Rescale",
    "SliceDrift",
    "SliceMean",
    "UnsharpMask",
    "fit_drift",
    "slice_totals",
]
