"""What is fitted to a specimen's scans between passes: drift, grey scale, range, thresholds.

Each is a few numbers from stored records. Thresholds are frozen in the store with what they were fitted for: scans
that are added later are cut at the same grey values, or a comparison would compare thresholds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from mgsflow.compute import indices
from mgsflow.filters import Rescale, SliceDrift, SliceMean, fit_drift, slice_totals
from mgsflow.recipe import Normalise, SpecimenRecipe
from mgsflow.segmentation import (
    Extremes,
    GreyHistogram,
    Histogram,
    Landmarks,
    find_landmarks,
    fit_rescale,
    otsu_thresholds,
)
from mgsflow.store import Specimen


class Fits(Protocol):
    """What later steps need to know of earlier ones."""

    def grey_range(self, scans: Sequence[str]) -> tuple[float, float]:
        """Return least and greatest grey value over the scans."""
        ...

    def drift(self, scan: str, mean: SliceMean) -> SliceDrift:
        """Return the correction of a scan's slices."""
        ...

    def rescale(self, scan: str, histogram: Histogram, record: str) -> Rescale:
        """Return what puts a scan on the specimen's grey scale."""
        ...

    def thresholds(self, scans: Sequence[str], histogram: Histogram, record: str) -> tuple[float, ...]:
        """Return the grey values that part the phases."""
        ...


class StoredFits:
    """Fits from the records of a store.

    Parameters
    ----------
    specimen : Specimen
    recipe : SpecimenRecipe
    refit : bool
        Fit thresholds anew even where frozen ones are there.
    """

    def __init__(self, specimen: Specimen, recipe: SpecimenRecipe, refit: bool = False) -> None:
        self.specimen, self.recipe, self.refit = specimen, recipe, refit

    def grey_range(self, scans: Sequence[str]) -> tuple[float, float]:
        """Return least and greatest grey value over the scans."""
        ranges = [Extremes().gather(self.specimen.records("extremes_image", Extremes(), s)) for s in scans]
        return min(r[0] for r in ranges), max(r[1] for r in ranges)

    def drift(self, scan: str, mean: SliceMean) -> SliceDrift:
        """Return the gains of a scan's slices."""
        records = self.specimen.records("slice_mean_image", mean, scan)
        grid = self.specimen.grid(scan)
        blocks = ((grid.block(i), records[i]) for i in indices(grid))
        sums, counts = slice_totals(blocks, grid.shape[0])
        assert self.recipe.correct.drift is not None
        wanted = self.recipe.correct.drift
        drift = fit_drift(sums, counts, wanted.smooth, wanted.anchor, mean.step or 1.0)
        self._note(scan, drift_range=[min(drift.gain), max(drift.gain)])
        return drift

    def rescale(self, scan: str, histogram: Histogram, record: str) -> Rescale:
        """Return gain and offset from the two landmarks."""
        normalise = self.recipe.normalise
        assert normalise is not None
        if scan == normalise.reference:
            gain, offset = 1.0, 0.0
        else:
            wanted = self._wanted(normalise, histogram, record)
            own = self.histogram(scan, histogram, record)
            gain, offset = fit_rescale(own, wanted, normalise.low, normalise.high)
        self._note(scan, gain=gain, offset=offset)
        return Rescale(gain, offset)

    def _wanted(self, normalise: Normalise, histogram: Histogram, record: str) -> Landmarks:
        if normalise.target is not None:
            return Landmarks(*normalise.target)
        assert normalise.reference is not None
        reference = self.histogram(normalise.reference, histogram, record)
        return find_landmarks(reference, normalise.low, normalise.high)

    def thresholds(self, scans: Sequence[str], histogram: Histogram, record: str) -> tuple[float, ...]:
        """Return the frozen thresholds, or fit them to the pooled histogram and freeze them."""
        parameters = (
            self.recipe.filter,
            self.recipe.correct,
            self.recipe.normalise,
            len(self.recipe.phases),
            histogram.dtype,
        )
        frozen = self.specimen.attributes.get("thresholds")
        key = self._key(parameters, frozen["fitted_to"] if frozen else scans)
        if frozen and frozen.get("key") == key and not self.refit:
            return tuple(frozen["values"])
        pooled: GreyHistogram | None = None
        for scan in scans:
            own = self.histogram(scan, histogram, record)
            pooled = own if pooled is None else pooled + own
        assert pooled is not None  # a specimen has at least one scan
        values = otsu_thresholds(pooled, len(self.recipe.phases))
        self.specimen.note(
            thresholds={
                "key": self._key(parameters, scans),
                "values": list(values),
                "method": "multi_otsu",
                "fitted_to": list(scans),
            }
        )
        return values

    def _key(self, parameters: tuple[object, ...], scans: Sequence[str]) -> str:
        """Return what thresholds depend on: parameters, and the regions of the scans that they are fitted to."""
        regions = {s.name: repr(r) for s in self.recipe.scans if (r := self.recipe.region_of(s)) is not None}
        what = (parameters, [text for name, text in regions.items() if name in scans])
        return hashlib.sha256(repr(what).encode()).hexdigest()

    def histogram(self, scan: str, histogram: Histogram, record: str) -> GreyHistogram:
        """Return the histogram of a scan."""
        return histogram.gather(self.specimen.records(record, histogram, scan))

    def _note(self, scan: str, **values: object) -> None:
        fits = self.specimen.attributes.get("fits", {})
        fits.setdefault(scan, {}).update(values)
        self.specimen.note(fits=fits)


class PlannedFits:
    """Stand-ins of the same kind, for planning a run that has not begun."""

    def __init__(self, specimen: Specimen, recipe: SpecimenRecipe) -> None:
        self.specimen, self.recipe = specimen, recipe

    def grey_range(self, scans: Sequence[str]) -> tuple[float, float]:
        """Return any range."""
        return 0.0, 1.0

    def drift(self, scan: str, mean: SliceMean) -> SliceDrift:
        """Return gains of 1."""
        return SliceDrift((1.0,) * self.specimen.grid(scan).shape[0])

    def rescale(self, scan: str, histogram: Histogram, record: str) -> Rescale:
        """Return the identity."""
        return Rescale(1.0, 0.0)

    def thresholds(self, scans: Sequence[str], histogram: Histogram, record: str) -> tuple[float, ...]:
        """Return thresholds in the right number."""
        return tuple(float(i + 1) for i in range(len(self.recipe.phases) - 1))
