"""Sensitivity to thresholds: the steps that measure and solve a scan at several, and what its numbers owe to them.

All thresholds are counted in one reading of the grey values, and no phases are stored; a solve makes them as it reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.compute import StoredParts
from mgsflow.errors import InputError
from mgsflow.pipeline.analyses.rve import along_scan
from mgsflow.pipeline.solves.many import Task, asked_problems, numbers_of, solve_step
from mgsflow.pipeline.solves.transport import Diffusion, Flow
from mgsflow.pipeline.step import Step
from mgsflow.recipe import SpecimenRecipe
from mgsflow.segmentation import Histogram
from mgsflow.store import Scan, Specimen
from mgsflow.studies.metrics import properties, solved, study_measures
from mgsflow.studies.sensitivity import Variants, sensitivity_dataset
from mgsflow.studies.threshold_uncertainty import NO_VALLEY, threshold_uncertainties
from mgsflow.studies.thresholding import CountThresholds, Labelling, Thresholded, counts_of_variants, whole_reduction

if TYPE_CHECKING:
    import xarray as xr

#: The group of the results.
GROUP = "sensitivity"
_PLACE = (0, 0, 0)


def sensitivity_steps(
    specimen: Specimen,
    recipe: SpecimenRecipe,
    scan: str,
    inputs: str,
    array: str,
    thresholds: tuple[float, ...],
    histogram: Histogram,
) -> Iterator[Step]:
    """Yield the steps of the study on a scan whose phases are made.

    Parameters
    ----------
    specimen : Specimen
    recipe : SpecimenRecipe
    scan : str
    inputs : str
        Key of the step that made `array`.
    array : str
        Stored array of the grey values that are cut at the thresholds: ``image`` or ``filtered``.
    thresholds : tuple of float
        In use.
    histogram : Histogram
        The reduction whose records of `array` are stored.

    Raises
    ------
    InputError
        If a threshold of the study lies beyond the neighbours of the one that is moved.
    """
    asked, cut = recipe.sensitivity, recipe.segment
    if asked is None or cut is None:
        return
    grey, parts = specimen.volume(array, scan), _parts(specimen, scan)
    variants = _variants(specimen, recipe, scan, array, thresholds, histogram)
    _keep(parts, variants)
    measures = study_measures(asked.measures, len(recipe.phases), specimen.voxel_size)
    reductions = tuple(dict.fromkeys(whole_reduction(m) for m in measures))
    if reductions:
        work = CountThresholds(grey, specimen.grid(scan), variants.all, reductions, parts)
        parameters = repr((variants.all, reductions))
        yield Step(
            "sensitivity", specimen, scan, work, inputs, parameters=parameters, output_paths=(f"{parts.path}/counts",)
        )
    tasks = [
        Task(Thresholded(grey, variant), problem, _where(variant))
        for variant in variants.all
        for problem in asked_problems(specimen, recipe, asked.solve)
        if variant != variants.used and variants.touched(variant) & _labels(problem)
    ]
    if tasks:
        yield solve_step("sensitivity_solves", specimen, scan, inputs, tasks, parts)


def sensitivity_groups(specimen: Specimen, recipe: SpecimenRecipe) -> dict[str, xr.Dataset]:
    """Return the Dataset of the study, along ``scan``, by the group that it belongs in; nothing if it was not asked.

    See `mgsflow.studies.sensitivity.sensitivity_dataset` for what it holds. Where all scans have the same thresholds,
    these are the coordinate of ``threshold``.
    """
    if recipe.sensitivity is None or recipe.segment is None:
        return {}
    names = {s.name for s in recipe.scans}
    scans = [s for s in specimen.scans if s.name in names]
    whole = along_scan([_of_scan(specimen, recipe, s) for s in scans], scans).set_coords("threshold_value")
    values = whole.threshold_value.values
    if (values == values[0]).all():
        whole = whole.assign_coords(threshold=("threshold", values[0], dict(whole.threshold_value.attrs)))
    at = recipe.phases.index(recipe.sensitivity.phase)
    whole.attrs = {"between": list(recipe.phases[at : at + 2]), "majority": recipe.segment.majority}
    return {GROUP: whole}


def uncertainties(
    specimen: Specimen, recipe: SpecimenRecipe, groups: Mapping[str, xr.Dataset] | None = None
) -> xr.Dataset:
    """Return the error bars that the study gives the numbers in ``metrics``, along ``scan``.

    Parameters
    ----------
    specimen : Specimen
    recipe : SpecimenRecipe
    groups : dict of str to Dataset, optional
        What `sensitivity_groups` has returned; put together anew by default.

    Returns
    -------
    Dataset
        ``<name>_uncertainty``, in the units of ``<name>``: its standard uncertainty from that of the thresholds. Empty,
        if no study was asked for.
    """
    import xarray as xr

    if groups is None:
        groups = sensitivity_groups(specimen, recipe)
    if GROUP not in groups:
        return xr.Dataset()
    whole = groups[GROUP]
    names = [n for n in map(str, whole.data_vars) if n.endswith("_uncertainty") and n != "threshold_uncertainty"]
    return whole[names].drop_vars("threshold_value", errors="ignore")


def _of_scan(specimen: Specimen, recipe: SpecimenRecipe, scan: Scan) -> xr.Dataset:
    import xarray as xr

    asked = recipe.sensitivity
    assert asked is not None
    parts, kept, index = _parts(specimen, scan.name), specimen.parts(), specimen.index(scan.name)
    phases, grid = list(recipe.phases), specimen.grid(scan.name)
    variants = _kept(parts)
    measures = study_measures(asked.measures, len(phases), specimen.voxel_size)
    wanted = asked_problems(specimen, recipe, asked.solve)
    found = {}
    for variant, counts in zip(variants.all, counts_of_variants(measures, parts, grid, len(variants.all))):
        rows = []
        for problem in wanted:
            if variant != variants.used and variants.touched(variant) & _labels(problem):
                numbers = numbers_of(parts, _where(variant), problem)
            else:  # solved for in any case
                numbers = json.loads(kept.read((index, 0, 0), problem.name).tobytes())
            rows.append((problem.place, problem.variables, numbers))
        one = properties(measures, counts, specimen.voxel_size, phases)
        found[variant] = xr.merge([one, solved(rows, phases)], join="exact", compat="equals")
    return sensitivity_dataset(variants, found)


def _variants(
    specimen: Specimen,
    recipe: SpecimenRecipe,
    scan: str,
    array: str,
    thresholds: tuple[float, ...],
    histogram: Histogram,
) -> Variants:
    asked, cut = recipe.sensitivity, recipe.segment
    assert asked is not None
    assert cut is not None
    moved = recipe.phases.index(asked.phase)
    whole = histogram.gather(specimen.records(f"{histogram.name}_{array}", histogram, scan))
    values, known, statuses = asked.values, (nan,) * len(thresholds), (NO_VALLEY,) * len(thresholds)
    if whole.total:
        known, statuses = threshold_uncertainties(whole, thresholds)
    elif cut.multi_otsu:
        # a plan: what is not known yet does not change how much there is to do
        count = len(values) or 4
        values = tuple(thresholds[moved] + (i + 1) / (2 * count + 2) for i in range(count))
    try:
        return Variants.of(thresholds, moved, values, known, cut.majority, statuses)
    except InputError as error:
        raise InputError(f"specimens.{specimen.name}.sensitivity.values: {error}") from error


def _labels(problem: Any) -> set[int]:
    """Return the phases through which a problem asks for transport."""
    if isinstance(problem, Flow):
        return set(problem.labels)
    assert isinstance(problem, Diffusion)
    return {problem.label}


def _where(variant: Labelling) -> str:
    return "_".join(f"{t!r}" for t in variant.thresholds) + f"m{variant.majority}"


def _parts(specimen: Specimen, scan: str) -> StoredParts:
    return specimen.parts(GROUP, str(specimen.index(scan)))


def _keep(parts: StoredParts, variants: Variants) -> None:
    """Note the variants, from which what was found of them is put together."""
    text = json.dumps(
        [
            variants.in_use,
            variants.moved,
            variants.values,
            variants.uncertainties,
            variants.majority,
            variants.statuses,
        ]
    )
    content = np.frombuffer(text.encode(), np.uint8)
    try:
        if parts.read(_PLACE, "variants").tobytes() == content.tobytes():
            return
    except KeyError:
        pass
    parts.write(_PLACE, "variants", content)


def _kept(parts: StoredParts) -> Variants:
    return Variants.of(*json.loads(parts.read(_PLACE, "variants").tobytes()))
