"""The steps of a specimen, in order: what a recipe means in passes over its scans.

The steps are yielded one by one, because what is fitted to the records of earlier ones (drift, grey scale, thresholds)
is part of later ones. Where thresholds are fixed, a scan is filtered, segmented and measured in one reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Output, Pass, Source
from mgsflow.filters import SliceMean
from mgsflow.kernel import Kernel, Reduction, chain_halo
from mgsflow.measures import make_measures
from mgsflow.pipeline.analyses.network import network_steps
from mgsflow.pipeline.analyses.particles import particle_steps
from mgsflow.pipeline.analyses.rve import rve_steps
from mgsflow.pipeline.analyses.sensitivity import sensitivity_steps
from mgsflow.pipeline.analyses.thickness import thickness_steps
from mgsflow.pipeline.fits import Fits
from mgsflow.pipeline.solves.transport import solve_steps
from mgsflow.pipeline.step import Step
from mgsflow.recipe import SpecimenRecipe
from mgsflow.regions import LabelOutside, OnlyInside, Region
from mgsflow.segmentation import Extremes, Histogram, Majority, Threshold
from mgsflow.store import Records, Specimen
from mgsflow.store.pyramid import Halved, levels_of

_PHASE = np.dtype(np.uint8)


@dataclass(frozen=True)
class Scanned:
    """A scan's files, opened.

    Parameters
    ----------
    source : Source
        Usually a reader.
    checksum : str
        Digest of the files' content.
    region : Region, optional
        Voxels that count; None for all of them.
    """

    source: Source
    checksum: str
    region: Region | None = None

    def within(self, reduction: Reduction, reach: Triple = (0, 0, 0)) -> Reduction:
        """Return a reduction of the voxels that nothing outside can have changed by operations of this reach."""
        return reduction if self.region is None else OnlyInside(reduction, self.region.shrunk(reach))


def steps(specimen: Specimen, recipe: SpecimenRecipe, scans: dict[str, Scanned], fits: Fits) -> Iterator[Step]:
    """Yield the steps of a specimen; each must be carried out before the next is asked for.

    Parameters
    ----------
    specimen : Specimen
        In the store, with its scans added.
    recipe : SpecimenRecipe
    scans : dict of str to Scanned
        The recipe's scans by name.
    fits : Fits
    """
    ingested = {name: ingest(specimen, recipe, name, scan) for name, scan in scans.items()}
    yield from ingested.values()
    chains, inputs = {}, {}
    histogram = _histogram(specimen, fits, list(scans))
    for name in scans:
        chain: tuple[Kernel, ...] = ()
        inputs[name] = ingested[name].key
        record = "histogram_image"
        if recipe.correct.drift is not None:
            mean = _slice_mean(histogram)
            if not histogram.exact:  # sums of floats need the range first
                yield _survey(specimen, name, "slices", inputs[name], (), mean, "slice_mean_image")
            chain += (fits.drift(name, mean),)
        if recipe.normalise is not None and (chain or not histogram.exact):
            record = "histogram_corrected"
            inside = scans[name].within(histogram, chain_halo(chain))
            yield _survey(specimen, name, "survey", inputs[name], chain, inside, record)
        chains[name] = (chain, record)
    for name, (chain, record) in chains.items():
        if recipe.normalise is not None:
            chain += (fits.rescale(name, histogram, record),)
        chains[name] = (chain + recipe.filter, record)
    yield from _phases(specimen, recipe, scans, {n: c for n, (c, _) in chains.items()}, inputs, histogram, fits)


def _phases(
    specimen: Specimen,
    recipe: SpecimenRecipe,
    scans: dict[str, Scanned],
    chains: dict[str, tuple[Kernel, ...]],
    inputs: dict[str, str],
    histogram: Histogram,
    fits: Fits,
) -> Iterator[Step]:
    arrays = {name: "filtered" if chain else "image" for name, chain in chains.items()}
    last = dict(inputs)
    if recipe.segment is None or recipe.segment.thresholds is None:
        for name, chain in chains.items():
            if chain or not histogram.exact:
                step = filter_scan(specimen, name, inputs[name], scans[name], chain, histogram)
                last[name] = step.key
                yield step
    if recipe.segment is not None:
        for name, chain in chains.items():
            if recipe.segment.thresholds is not None:
                source, through, values = "image", chain, recipe.segment.thresholds
            else:
                source, through = arrays[name], ()
                values = fits.thresholds(list(chains), histogram, f"histogram_{source}")
            labels = phase_labels(recipe, name, values, scans[name].region, chain_halo(chain))
            step = segment(specimen, recipe, name, last[name], scans[name], source, through, labels, histogram)
            yield from _pyramid(specimen, name, "phase", step.key, first=step)
            yield from thickness_steps(specimen, recipe, name, step.key)
            yield from solve_steps(specimen, recipe, name, step.key)
            yield from network_steps(specimen, recipe, name, step.key)
            yield from rve_steps(specimen, recipe, name, step.key)
            # fixed thresholds make the filtered image in the same step as the phases
            made = step.key if recipe.segment.thresholds is not None and chain else last[name]
            yield from sensitivity_steps(specimen, recipe, name, made, arrays[name], values, histogram)
            yield from particle_steps(specimen, recipe, name, step.key, arrays[name], made)
    for name in chains:
        yield from _pyramid(specimen, name, "image", inputs[name])


def ingest(specimen: Specimen, recipe: SpecimenRecipe, scan: str, scanned: Scanned) -> Step:
    """Return the step that reads a scan's files into the store and takes its histogram."""
    source = scanned.source
    region = specimen.volume("image", scan, source.dtype)
    reductions: list[Reduction] = []
    if _exact(source.dtype):
        reductions.append(scanned.within(Histogram(np.dtype(source.dtype).name)))
        if recipe.correct.drift is not None:
            reductions.append(SliceMean())
    else:
        reductions.append(scanned.within(Extremes()))
    output = Output(0, region, _recorded(specimen, scan, "image", reductions))
    return Step("ingest", specimen, scan, Pass(source, specimen.grid(scan), (), (output,)), scanned.checksum)


def filter_scan(
    specimen: Specimen, scan: str, inputs: str, scanned: Scanned, chain: tuple[Kernel, ...], histogram: Histogram
) -> Step:
    """Return the step that filters a scan's image, stores it and takes its histogram."""
    source = specimen.volume("image", scan)
    outputs = _grey_outputs(specimen, scan, scanned, chain, histogram)
    return Step("filter", specimen, scan, Pass(source, specimen.grid(scan), chain, outputs), inputs)


def segment(
    specimen: Specimen,
    recipe: SpecimenRecipe,
    scan: str,
    inputs: str,
    scanned: Scanned,
    array: str,
    chain: tuple[Kernel, ...],
    labels: tuple[Kernel, ...],
    histogram: Histogram,
) -> Step:
    """Return the step that makes a scan's phases from a grey array, and measures them in the same reading."""
    source = specimen.volume(array, scan)
    grey = _grey_outputs(specimen, scan, scanned, chain, histogram) if array == "image" else ()
    chain += labels
    measures = make_measures(recipe.measures, len(recipe.phases), specimen.voxel_size, recipe.has_outside)
    reductions = [getattr(m, "source", m) for m in measures]
    region = specimen.volume("phase", scan, _PHASE)
    phases = Output(len(chain), region, _recorded(specimen, scan, "phase", list(dict.fromkeys(reductions))))
    return Step("segment", specimen, scan, Pass(source, specimen.grid(scan), chain, (*grey, phases)), inputs)


def phase_labels(
    recipe: SpecimenRecipe, scan: str, thresholds: tuple[float, ...], region: Region | None, reach: Triple
) -> tuple[Kernel, ...]:
    """Return the kernels that make phases of grey values.

    Parameters
    ----------
    recipe : SpecimenRecipe
    scan : str
    thresholds : tuple of float
    region : Region, optional
        Voxels that count.
    reach : tuple of int
        That of the filters before, along (z, y, x).
    """
    assert recipe.segment is not None
    kernels: tuple[Kernel, ...] = (Threshold(thresholds),)
    if recipe.segment.majority:
        kernels += (Majority(recipe.segment.majority),)
    asked = next(recipe.region_of(s) for s in recipe.scans if s.name == scan)
    if asked is None or not asked.labelled:
        return kernels
    z, y, x = (a + b for a, b in zip(reach, chain_halo(kernels)))
    excluded = tuple(recipe.phases.index(phase) for phase in asked.exclude)
    shape = None if region is None else region.shrunk((z, y, x))
    return (*kernels, LabelOutside(len(recipe.phases), shape, excluded))


def _grey_outputs(
    specimen: Specimen, scan: str, scanned: Scanned, chain: tuple[Kernel, ...], histogram: Histogram
) -> tuple[Output, ...]:
    dtype = specimen.volume("image", scan).dtype
    outputs = []
    if not histogram.exact:  # the range is known only now
        outputs.append(Output(0, None, _recorded(specimen, scan, "image", [scanned.within(histogram)])))
    if chain:
        for kernel in chain:
            dtype = np.dtype(kernel.dtype(dtype))
        region = specimen.volume("filtered", scan, dtype)
        inside = scanned.within(histogram, chain_halo(chain))
        outputs.append(Output(len(chain), region, _recorded(specimen, scan, "filtered", [inside])))
    return tuple(outputs)


def _survey(
    specimen: Specimen,
    scan: str,
    name: str,
    inputs: str,
    chain: tuple[Kernel, ...],
    reduction: Reduction,
    record: str,
) -> Step:
    records = specimen.records(record, reduction, scan)
    output = Output(len(chain), None, ((reduction, records),))
    source = specimen.volume("image", scan)
    return Step(name, specimen, scan, Pass(source, specimen.grid(scan), chain, (output,)), inputs)


def _pyramid(specimen: Specimen, scan: str, array: str, inputs: str, first: Step | None = None) -> Iterator[Step]:
    if first is not None:
        yield first
    for level in range(1, levels_of(specimen.shape)):
        step = coarser(specimen, scan, array, inputs, level)
        inputs = step.key
        yield step


def coarser(specimen: Specimen, scan: str, array: str, inputs: str, level: int) -> Step:
    """Return the step that makes a level of an array's pyramid from the one below."""
    fine = specimen.volume(array, scan, level=level - 1)
    source = Halved(fine, labels=array == "phase")
    sink = specimen.volume(array, scan, fine.dtype, level)
    grid = Grid.regular(source.shape, specimen.level_block(level))
    return Step(f"{array}_{level}", specimen, scan, Pass(source, grid, (), (Output(0, sink),)), inputs)


def _recorded(
    specimen: Specimen, scan: str, array: str, reductions: list[Reduction]
) -> tuple[tuple[Reduction, Records], ...]:
    return tuple((r, specimen.records(f"{r.name}_{array}", r, scan)) for r in reductions)


def _exact(dtype: np.dtype[Any]) -> bool:
    return np.dtype(dtype).itemsize < 4 and np.dtype(dtype).kind in "iu"


def _histogram(specimen: Specimen, fits: Fits, scans: list[str]) -> Histogram:
    dtype = specimen.volume("image", scans[0]).dtype
    if _exact(dtype):
        return Histogram(dtype.name)
    low, high = fits.grey_range(scans)
    return Histogram(dtype.name, low, high)


def _slice_mean(histogram: Histogram) -> SliceMean:
    if histogram.exact:
        return SliceMean()
    assert histogram.low is not None
    assert histogram.high is not None
    return SliceMean((histogram.high - histogram.low) / 2**24)
