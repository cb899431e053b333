"""Voxels of an HDF5 data set that were never written: HDF5 silently reads its fill value there."""

from __future__ import annotations

from math import ceil, prod
from pathlib import Path
from typing import Any

import h5py

from mgsflow.errors import InputError
from mgsflow.readers.files import file_size

_DEEPEST = 8


def missing_parts(dataset: Any, path: Path, depth: int = 0) -> str:
    """Return what of a data set was never written, in words; empty where nothing is missing.

    Parameters
    ----------
    dataset : h5py.Dataset
    path : Path
        File that holds it.
    depth : int
        Virtual data sets around it.

    Raises
    ------
    InputNotFound
        If a file that a virtual data set draws from is missing.
    """
    if dataset.is_virtual:
        return _missing_sources(dataset, path, depth)
    if dataset.external:
        return ""
    if dataset.chunks is None:
        return "" if dataset.id.get_storage_size() or not dataset.size else "none of it was written"
    total = prod(ceil(n / c) for n, c in zip(dataset.shape, dataset.chunks))
    written = int(dataset.id.get_num_chunks())
    return f"{total - written} of {total} chunks were never written" if written < total else ""


def _covers(item: h5py.Dataset, source: Any) -> bool:
    """Tell whether a source holds all that is drawn from it."""
    selected = source.src_space
    # of a selection of all, h5py gives no bounds
    if selected.get_select_type() == h5py.h5s.SEL_ALL:
        return int(source.vspace.get_select_npoints()) == item.size
    _, last = selected.get_select_bounds()
    return len(last) == item.ndim and all(b < n for b, n in zip(last, item.shape))


def _missing_sources(dataset: Any, path: Path, depth: int) -> str:
    if depth > _DEEPEST:
        raise InputError(f"{path}:{dataset.name}: draws from virtual data sets over {_DEEPEST} deep")
    mapped = 0
    found = []
    for source in dataset.virtual_sources():
        mapped += int(source.vspace.get_select_npoints())
        file = path if source.file_name == "." else path.parent / source.file_name
        where = f"{source.dset_name} of {file.name}"
        if file != path:
            file_size(file)
        with h5py.File(file, "r", locking="best-effort") as opened:
            item = opened.get(source.dset_name)
            if not isinstance(item, h5py.Dataset):
                found.append(f"{where} does not exist")
                continue
            if not _covers(item, source):
                found.append(f"{where} has shape {item.shape}, smaller than what is drawn from it")
            elif missing := missing_parts(item, Path(item.file.filename).absolute(), depth + 1):
                found.append(f"{where}: {missing}")
    if mapped < dataset.size:
        found.append(f"{dataset.size - mapped} of {dataset.size} voxels of the virtual data set are drawn from no file")
    return "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
