"""Properties of windows against their size, as a Dataset: what is representative of a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.studies.representative import spread_of

if TYPE_CHECKING:
    import xarray as xr


def rve_dataset(
    shape: Triple,
    voxel_size: Sequence[float],
    windows: Mapping[int, Sequence[Box]],
    found: Mapping[int, Sequence[xr.Dataset]],
    whole: xr.Dataset,
    tolerance: float = 0.05,
    confidence: float | None = 0.95,
    room: int = 1,
) -> xr.Dataset:
    """Return a scan's properties by window and size, with spread, deviation and representative size.

    Parameters
    ----------
    shape : tuple of int
        Shape of the scan in voxels.
    voxel_size : sequence of float
        µm along (z, y, x).
    windows : dict of int to sequence of Box
        Windows of each size, as `place_windows` gives them.
    found : dict of int to sequence of Dataset
        Properties of each window.
    whole : Dataset
        The same of the whole scan.
    tolerance : float
        Relative deviation up to which a window represents the scan.
    confidence : float or None
        Share of windows that must keep it; None for one window a size.
    room : int
        Least length of ``window``, for scans of which others have more windows.

    Returns
    -------
    Dataset
        For each property ``<name>`` by ``size`` and ``window``: ``<name>_whole``, ``<name>_mean``, ``<name>_spread``
        (standard deviation between windows), ``<name>_deviation`` (of the mean from the whole, relative),
        ``<name>_reach`` (relative deviation within which another window lies), ``<name>_count`` (windows where it is
        known), ``<name>_representative_size`` and ``<name>_predicted_size`` in voxels; see
        `mgsflow.studies.representative`. Coordinates ``size`` (voxel) and ``volume`` (µm³); variables
        ``volume_share``, ``windows`` and ``origin`` (of each window, −1 where there is none). Where a size has fewer
        windows than others, values are NaN, and texts empty.
    """
    import xarray as xr

    sizes = list(windows)
    most = max(1, room, max((len(w) for w in windows.values()), default=0))
    there = [len(windows[s]) for s in sizes]
    origin = np.full((len(sizes), most, 3), -1, np.int64)
    for i, size in enumerate(sizes):
        for j, box in enumerate(windows[size]):
            origin[i, j] = box.start
    data: dict[str, Any] = {
        "windows": ("size", np.array(there), {"units": "1", "long_name": "windows of the size"}),
        "volume_share": (
            "size",
            np.array([size**3 for size in sizes], float) / prod(shape),
            {"units": "1", "long_name": "volume of a window per volume of the scan"},
        ),
        "origin": (("size", "window", "axis"), origin, {"units": "voxel", "long_name": "first voxel of the window"}),
    }
    for key, variable in whole.data_vars.items():
        name, dims, attrs = str(key), tuple(str(d) for d in variable.dims), dict(variable.attrs)
        text = variable.dtype.kind in "OU"
        values = np.full(
            (len(sizes), most, *variable.shape), "" if text else np.nan, dtype=object if text else np.float64
        )
        for i, size in enumerate(sizes):
            for j, one in enumerate(found[size]):
                values[i, j] = one[key].transpose(*dims).values
        data[name] = (("size", "window", *dims), values, attrs)
        if text:
            data[f"{name}_whole"] = (dims, variable.values, {**attrs, "long_name": f"{_long(attrs, name)}, whole scan"})
            continue
        known = np.asarray(variable.values, np.float64)
        spread = spread_of(values, known, sizes, there, tolerance, confidence)
        data |= _spread_variables(name, dims, attrs, known, spread)
    volume = np.array([size**3 for size in sizes], float) * prod(voxel_size)
    coords = {
        **{str(k): v for k, v in whole.coords.items()},
        "axis": np.array(list("zyx"), dtype=object),
        "size": ("size", np.array(sizes), {"units": "voxel", "long_name": "edge of the window"}),
        "volume": ("size", volume, {"units": "µm³", "long_name": "volume of the window"}),
    }
    said = {"tolerance": tolerance, "confidence": "none: one window a size" if confidence is None else confidence}
    return xr.Dataset(data, coords=coords, attrs=said)


def _spread_variables(
    name: str, dims: tuple[str, ...], attrs: dict[str, Any], whole: np.ndarray, spread: Any
) -> dict[str, Any]:
    by, long = ("size", *dims), _long(attrs, name)
    own = {k: v for k, v in attrs.items() if k != "long_name"}
    one = {**own, "units": "1"}
    found: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]] = {
        "whole": (dims, whole, own | {"long_name": f"{long}, whole scan"}),
        "mean": (by, spread.mean, own | {"long_name": f"{long}, mean of the windows"}),
        "spread": (by, spread.spread, own | {"long_name": f"{long}, standard deviation between windows"}),
        "deviation": (by, spread.deviation, one | {"long_name": f"{long}, relative deviation of the mean"}),
        "reach": (by, spread.reach, one | {"long_name": f"{long}, relative deviation that another window keeps"}),
        "count": (by, spread.count, one | {"long_name": f"{long}, windows where it is known"}),
        "representative_size": (
            dims,
            spread.representative,
            own | {"units": "voxel", "long_name": f"{long}, smallest representative edge of a window"},
        ),
        "predicted_size": (
            dims,
            spread.predicted,
            own | {"units": "voxel", "long_name": f"{long}, representative edge that the fall of the spread predicts"},
        ),
    }
    return {f"{name}_{k}": v for k, v in found.items()}


def _long(attrs: Mapping[str, Any], name: str) -> str:
    return str(attrs.get("long_name", name))
