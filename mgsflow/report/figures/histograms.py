"""Grey-value histograms of scans, from the records of their blocks."""

from __future__ import annotations

import numpy as np
import zarr

from mgsflow.errors import InputError
from mgsflow.report.state import ScanState, SpecimenState
from mgsflow.segmentation import Extremes, GreyHistogram, Histogram
from mgsflow.store import Records

#: Bins of a drawn histogram, at most.
BINS = 220


def histograms(state: SpecimenState) -> tuple[str, dict[str, GreyHistogram]]:
    """Return the histograms of the scans that have one, by scan, and which image they are of.

    The image is the one that the thresholds part: ``filtered`` if there is one, else ``image``.
    """
    for array in ("filtered", "image") if state.filtered else ("image",):
        found = {s.scan.name: h for s in state.scans if (h := _histogram(state, s, array)) is not None}
        if found:
            return array, found
    return "image", {}


def window(found: dict[str, GreyHistogram]) -> tuple[float, float] | None:
    """Return the grey values that are drawn as black and white in all scans: all but 0.1 % of the voxels' each side."""
    if not found:
        return None
    ends = np.array([h.percentile([0.1, 99.9]) for h in found.values()])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    return (low, high) if low < high else (low, low + 1.0)


def curves(found: dict[str, GreyHistogram]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return grey values and, for each scan, the share of its voxels about each (of one bin's width).

    Bins are put together to at most `BINS` over the range that holds all but a hundred-thousandth of the voxels, each
    of a whole number of the histogram's own bins, so that no bin is favoured.
    """
    first = next(iter(found.values()))
    ends = np.array([h.percentile([0.001, 99.999]) for h in found.values()])
    a = max(0, int((ends[:, 0].min() - first.low) / first.width))
    b = min(first.counts.size, int((ends[:, 1].max() - first.low) / first.width) + 1)
    step = max(1, -(-(b - a) // BINS))
    starts = np.arange(a, b, step)
    starts = starts[starts + step <= first.counts.size] if starts.size > 1 else starts
    centres = first.centres[starts] + first.width * (step - 1) / 2
    shares = {}
    for name, h in found.items():
        padded = np.append(h.counts, np.zeros(step, np.int64))
        shares[name] = padded[starts[:, None] + np.arange(step)].sum(axis=1) / h.total
    return centres, shares


def _histogram(state: SpecimenState, scan: ScanState, array: str) -> GreyHistogram | None:
    if not scan.begun("ingest"):
        return None
    records = _records(state, scan, f"histogram_{array}")
    image = state.specimen.group.get("scale0/image")
    if records is None or not isinstance(image, zarr.Array):
        return None
    try:
        kind = _kind(state, image.dtype.name, records.shape[-1])
        found = kind.gather(records)
    except InputError:
        return None
    return found if found.total else None


def _kind(state: SpecimenState, dtype: str, length: int) -> Histogram:
    plain = Histogram(dtype) if np.dtype(dtype).itemsize < 4 and np.dtype(dtype).kind in "iu" else None
    if plain is not None:
        return plain
    ranges = []
    for scan in state.scans:  # the range that the run took: over all scans of the study file
        records = _records(state, scan, "extremes_image")
        if records is not None and scan.complete("ingest") and (scan.listed or not state.recipe):
            ranges.append(Extremes().gather(records))
    if not ranges:
        raise InputError("no scan is read yet")
    return Histogram(dtype, min(r[0] for r in ranges), max(r[1] for r in ranges))


def _records(state: SpecimenState, scan: ScanState, name: str) -> Records | None:
    specimen = state.specimen
    found = specimen.group.get(f"blocks/{name}")
    index = specimen.index(scan.scan.name)
    counts = specimen.grid(scan.scan.name).counts
    if not isinstance(found, zarr.Array) or found.ndim < 5 or found.shape[0] <= index:
        return None
    return Records(specimen.store, found.path, found.shape, index, counts, unfinished=bool(scan.missing))
