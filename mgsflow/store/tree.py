"""Opening a study as an xarray DataTree, whose scans are selected by cycle and state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.core.indexing import IndexSelResult

from mgsflow.errors import InputError
from mgsflow.store.schema import ATTRS, WORKINGS
from mgsflow.store.study import Study


class ScanIndex(xr.Index):
    """Selects along ``scan`` by ``cycle`` and ``state``, alone or together.

    One scan that fits drops the dimension; several keep it. Neither coordinate need be unique, nor is either the
    dimension's own index, which is the scan's name.
    """

    def __init__(self, cycle: np.ndarray, state: np.ndarray) -> None:
        self._labels = {"cycle": cycle, "state": state}

    @classmethod
    def from_variables(cls, variables: Mapping[Any, xr.Variable], *, options: Mapping[str, Any]) -> ScanIndex:
        """Build from the two coordinate variables."""
        return cls(np.asarray(variables["cycle"].values), np.asarray(variables["state"].values).astype(object))

    def sel(self, labels: dict[Any, Any], method: Any = None, tolerance: Any = None) -> IndexSelResult:
        """Return the positions of the scans that fit all labels; a list fits any of its members."""
        fits = np.ones(len(self._labels["cycle"]), dtype=bool)
        for name, label in labels.items():
            if isinstance(label, slice):
                raise KeyError(f"{name}: a range of scans is not defined; give a value or a list")
            own = self._labels[name]
            wanted = np.atleast_1d(np.asarray(label)).tolist()
            fits &= np.array([any(value == w for w in wanted) for value in own.tolist()], dtype=bool)
        found = np.flatnonzero(fits)
        if found.size == 0:
            asked = ", ".join(f"{k}={v!r}" for k, v in labels.items())
            known = ", ".join(f"{c}/{s}" for c, s in zip(self._labels["cycle"], self._labels["state"]))
            raise KeyError(f"no scan with {asked}; cycle/state of the scans: {known}")
        many = any(not np.isscalar(label) and np.ndim(label) > 0 for label in labels.values())
        position: Any = int(found[0]) if found.size == 1 and not many else found
        return IndexSelResult({"scan": position})

    def isel(self, indexers: Mapping[Any, Any]) -> ScanIndex | None:
        """Return the index of some of the scans, or None where a single one is left."""
        at = indexers.get("scan", slice(None))
        if isinstance(at, xr.Variable):
            at = at.values
        if np.ndim(at) == 0 and not isinstance(at, slice):
            return None
        return ScanIndex(self._labels["cycle"][at], self._labels["state"][at])

    def equals(self, other: xr.Index, **kwargs: Any) -> bool:
        """Tell whether another index has the same labels."""
        return isinstance(other, ScanIndex) and all(
            np.array_equal(self._labels[k], other._labels[k]) for k in self._labels
        )


def open_study(path: str | Path) -> xr.DataTree:
    """Open a study store, lazily.

    Parameters
    ----------
    path : path
        The store, as ``study.zarr``.

    Returns
    -------
    xarray.DataTree
        A node for each specimen, with children ``scale0`` (volumes, dask arrays of whole shards), ``scale1`` … and
        ``metrics``. Each selects its scans by name, cycle or state: ``tree["cathode/metrics"].ds.sel(cycle=3)``. Beside
        them ``electrochemistry``, if the study has any.

    Raises
    ------
    StudyNotFound, StoreError
        If there is no study, or not one that this version reads.
    """
    study = Study.open(path, oldest=1)
    nodes: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs={"title": study.title})}
    for name in study.specimens:
        specimen = study[name]
        attrs = {k: v for k, v in specimen.attributes.items() if k in {"voxel_size", "phases", "thresholds"}}
        nodes[name] = xr.Dataset(attrs=attrs)
        for child, group in sorted(specimen.group.groups()):
            if child not in WORKINGS:
                nodes[f"{name}/{child}"] = _open_group(study.place, group)
    for name, group in sorted(study.root.groups()):
        if name not in study.specimens:  # what was measured beside the scans
            for child, part in sorted(group.groups()):
                nodes[f"{name}/{child}"] = _open_group(study.place, part)
    return xr.DataTree.from_dict(nodes)


def open_group(path: str | Path, group: str) -> xr.Dataset:
    """Open one group of a study store, lazily, with its scans selectable by cycle and state."""
    study = Study.open(path, oldest=1)
    try:
        found = study.root[group]
    except KeyError:
        raise InputError(f"no group {group!r} in {path}") from None
    if not isinstance(found, zarr.Group):
        raise InputError(f"{group!r} in {path} is an array, not a group")
    return _open_group(study.place, found)


def _open_group(place: Any, group: zarr.Group) -> xr.Dataset:
    dataset = xr.open_zarr(place, group=group.path, consolidated=False, chunks=None)
    for name, array in group.arrays():
        if array.shards is not None:  # volumes: a dask chunk is a shard, the unit that was written
            dataset[name] = dataset[name].chunk(dict(zip(dataset[name].dims, array.shards)))
    dataset.attrs.pop(ATTRS, None)
    names = [n for n in ("cycle", "state", "extent", "axis") if n in dataset.variables]
    dataset = dataset.assign_coords({n: dataset[n].load() for n in names})
    if "cycle" in names and "state" in names and dataset["cycle"].dims == ("scan",):
        dataset = dataset.set_xindex(["cycle", "state"], ScanIndex)
    return dataset
