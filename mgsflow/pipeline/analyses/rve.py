"""Representative volume: the steps that measure and solve windows of a scan, and the Dataset of what they found.

Counts that add up come from one reading of the scan, cut at the windows' planes; what is left is a task a window, and
each solve a task of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Box
from mgsflow.pipeline.solves.many import ListStep, Task, asked_problems, numbers_of, solve_step
from mgsflow.pipeline.step import Step
from mgsflow.recipe import Rve, SpecimenRecipe
from mgsflow.store import Scan, Specimen
from mgsflow.studies.metrics import comparable, solved, study_measures
from mgsflow.studies.properties import WindowProperties
from mgsflow.studies.rve import rve_dataset
from mgsflow.studies.windows import Cropped, place_windows

if TYPE_CHECKING:
    import xarray as xr

#: The group of the results.
GROUP = "rve"


def rve_steps(specimen: Specimen, recipe: SpecimenRecipe, scan: str, inputs: str) -> Iterator[Step]:
    """Yield the steps of the study on a scan whose phases are made.

    Parameters
    ----------
    specimen : Specimen
    recipe : SpecimenRecipe
    scan : str
    inputs : str
        Key of the step that made the phases.
    """
    asked = recipe.rve
    if asked is None:
        return
    study = _properties(specimen, recipe, asked, scan)
    parts = specimen.parts(GROUP, str(specimen.index(scan)))
    pieces, apart = study.pieces, study.apart
    if pieces is not None:
        parameters = repr((pieces.cuts.planes, pieces.reductions, pieces.around, pieces.only))
        yield Step(
            "rve_pieces", specimen, scan, pieces, inputs, parameters=parameters, output_paths=(f"{parts.path}/pieces",)
        )
    if apart is not None:
        parameters = repr((apart.windows, apart.reductions))
        yield ListStep(
            "rve_windows", specimen, scan, apart, inputs, parameters=parameters, output_paths=(f"{parts.path}/windows",)
        )
    phases = specimen.volume("phase", scan)
    found = asked_problems(specimen, recipe, asked.solve)
    # the whole scan is solved for in any case; the largest first
    windows = sorted(set(study.windows) - {Box.of(phases.shape)}, key=lambda b: (-b.size, b))
    tasks = [Task(Cropped(phases, box), problem, _where(box)) for box in windows for problem in found]
    if tasks:
        yield solve_step("rve_solves", specimen, scan, inputs, tasks, parts)


def rve_groups(specimen: Specimen, recipe: SpecimenRecipe) -> dict[str, xr.Dataset]:
    """Return the Dataset of the study, along ``scan``, by the group that it belongs in; nothing if it was not asked.

    See `mgsflow.studies.rve.rve_dataset` for what it holds.
    """
    asked = recipe.rve
    if asked is None:
        return {}
    names = {s.name for s in recipe.scans}
    scans = [s for s in specimen.scans if s.name in names]
    placed = {s.name: _placed(asked, s) for s in scans}
    room = max(len(boxes) for windows in placed.values() for boxes in windows.values())
    found = [_of_scan(specimen, recipe, asked, s, max(1, room)) for s in scans]
    return {GROUP: along_scan(found, scans)}


def along_scan(found: list[xr.Dataset], scans: list[Scan]) -> xr.Dataset:
    """Join what was found of scans, with their names, cycles and states."""
    import xarray as xr

    parts = [
        one.expand_dims(scan=np.array([scan.name], dtype=object)).assign_coords(
            cycle=("scan", [scan.cycle]), state=("scan", np.array([scan.state], dtype=object))
        )
        for one, scan in zip(found, scans)
    ]
    return xr.concat(parts, dim="scan", join="outer", data_vars="all", combine_attrs="override")


def _of_scan(specimen: Specimen, recipe: SpecimenRecipe, asked: Rve, scan: Scan, room: int) -> xr.Dataset:
    import xarray as xr

    study, phases = _properties(specimen, recipe, asked, scan.name), list(recipe.phases)
    parts, kept = specimen.parts(GROUP, str(specimen.index(scan.name))), specimen.parts()
    whole = Box.of(scan.shape)
    found = study.gather(specimen.voxel_size, phases)
    if not study.whole:
        records = [_whole_counts(m, specimen, scan.name) for m in study.measures]
        found[whole] = comparable(study.measures, records, scan.shape, specimen.voxel_size, phases)
    wanted = asked_problems(specimen, recipe, asked.solve)
    for box in found:
        rows = []
        for problem in wanted:
            if box == whole:
                numbers = json.loads(kept.read((specimen.index(scan.name), 0, 0), problem.name).tobytes())
            else:
                numbers = numbers_of(parts, _where(box), problem)
            rows.append((problem.place, problem.variables, numbers))
        found[box] = xr.merge([found[box], solved(rows, phases)], join="exact", compat="equals")
    placed = _placed(asked, scan)
    by_size = {size: [found[box] for box in boxes] for size, boxes in placed.items()}
    confidence = None if asked.placement == "nested" else asked.confidence
    return rve_dataset(
        scan.shape, specimen.voxel_size, placed, by_size, found[whole], asked.tolerance, confidence, room
    )


def _properties(specimen: Specimen, recipe: SpecimenRecipe, asked: Rve, scan: str) -> WindowProperties:
    grid = specimen.grid(scan)
    placed = _placed(asked, specimen.scans[specimen.index(scan)])
    return WindowProperties(
        specimen.volume("phase", scan),
        grid,
        tuple(box for boxes in placed.values() for box in boxes),
        asked.placement != "random",
        study_measures(asked.measures, len(recipe.phases), specimen.voxel_size),
        specimen.parts(GROUP, str(specimen.index(scan))),
        # what the study measures of its phases is there already
        whole=not set(asked.measures) <= set(recipe.measures),
    )


def _whole_counts(measure: Any, specimen: Specimen, scan: str) -> Any:
    """Return what a measure makes of a whole scan, from what was counted as the phases were made."""
    source = getattr(measure, "source", measure)
    return measure.counts(specimen.records(f"{source.name}_phase", source, scan), specimen.grid(scan))


def _placed(asked: Rve, scan: Scan) -> dict[int, tuple[Box, ...]]:
    return place_windows(scan.shape, asked.sizes, asked.placement, asked.windows, asked.seed)


def _where(box: Box) -> str:
    return f"{'x'.join(map(str, box.shape))}@{'-'.join(map(str, box.start))}"
