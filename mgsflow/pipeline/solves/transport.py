"""Transport through the phases of a scan: the solves that a study requests, and their results in ``metrics``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import nan, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.pipeline.code import code_version
from mgsflow.pipeline.solves.diffusion import Diffusion
from mgsflow.pipeline.solves.fields import flux_maps, outputs, stored_streamlines
from mgsflow.pipeline.solves.flow import Flow
from mgsflow.pipeline.solves.problem import Problem, Solve
from mgsflow.pipeline.step import Step
from mgsflow.recipe import SpecimenRecipe
from mgsflow.store import Specimen
from mgsflow.store.schema import AXES

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Diffusion", "Flow", "Problem", "flux_groups", "problems", "solve_steps", "solved", "streamline_groups"]


def problems(specimen: Specimen, recipe: SpecimenRecipe) -> Iterator[Problem]:
    """Yield the problems that a study requests on each scan."""
    labels = {name: i for i, name in enumerate(recipe.phases)}
    size = specimen.voxel_size
    if (tortuosity := recipe.tortuosity) is not None:
        for phase in tortuosity.phases:
            for axis in tortuosity.axes:
                yield Diffusion(labels[phase], axis, size, tortuosity.rtol, tortuosity.sides)
    if (flow := recipe.permeability) is not None:
        drop = None if flow.pressure is None else flow.pressure[0] - flow.pressure[1]
        for axis in flow.axes:
            pores = tuple(sorted(labels[p] for p in flow.phase))
            yield Flow(pores, axis, size, flow.rtol, flow.sides, drop, flow.viscosity, flow.streamlines)


def solve_steps(specimen: Specimen, recipe: SpecimenRecipe, scan: str, inputs: str) -> Iterator[Step]:
    """Yield a step for every solve on a scan whose phases are made."""
    parts = specimen.parts()
    for problem in problems(specimen, recipe):
        fields = _fields_of(problem, recipe)
        stored = outputs(specimen, scan, problem.name, fields, _array_suffix(problem, recipe))
        work = Solve(specimen.volume("phase", scan), problem, stored)
        output_paths = (f"{parts.path}/{problem.name}", *(r.path for r in stored.fields.values()))
        disk = sum(r.dtype.itemsize * prod(r.shape) for r in stored.fields.values())
        parameters = repr((problem, fields, code_version([problem])))
        yield Step(
            problem.name, specimen, scan, work, inputs, parameters=parameters, output_paths=output_paths, disk=disk
        )


def flux_groups(specimen: Specimen, recipe: SpecimenRecipe) -> dict[str, xr.Dataset]:
    """Return the group ``flux``, maps of the flux density of all diffusion solves, if there are any."""
    solves = [(p.name, recipe.phases[p.label], p.axis) for p in problems(specimen, recipe) if isinstance(p, Diffusion)]
    return {"flux": flux_maps(specimen, [s.name for s in recipe.scans], solves)} if solves else {}


def streamline_groups(specimen: Specimen, recipe: SpecimenRecipe) -> dict[str, xr.Dataset]:
    """Return the group ``streamlines``, those of all flow solves, if there are any."""
    flows = [p for p in problems(specimen, recipe) if isinstance(p, Flow) and p.lines]
    found = {
        (scan.name, flow.axis): lines
        for scan in recipe.scans
        for flow in flows
        if (lines := stored_streamlines(specimen.parts(), specimen.index(scan.name), flow.name, flow.axis)) is not None
    }
    if not found:
        return {}
    from mgsflow.transport.streamlines.result import concatenate_streamlines

    return {"streamlines": concatenate_streamlines(found)}


def _fields_of(problem: Problem, recipe: SpecimenRecipe) -> tuple[str, ...]:
    if not isinstance(problem, Diffusion) or recipe.tortuosity is None:
        return ()
    return recipe.tortuosity.fields


def _array_suffix(problem: Problem, recipe: SpecimenRecipe) -> str:
    return f"{recipe.phases[problem.label]}_{problem.axis}" if isinstance(problem, Diffusion) else problem.name


def solved(specimen: Specimen, recipe: SpecimenRecipe, scan: str) -> xr.Dataset:
    """Return the numbers of the solves on a scan, along ``phase`` and ``axis``."""
    import xarray as xr

    parts, index = specimen.parts(), specimen.index(scan)
    data: dict[str, Any] = {}
    coords = {"phase": np.array(recipe.phases, dtype=object), "axis": np.array(AXES, dtype=object)}
    for problem in problems(specimen, recipe):
        numbers = json.loads(parts.read((index, 0, 0), problem.name).tobytes())
        dims = tuple(problem.place)
        shape = tuple(coords[d].size for d in dims)
        for name, value in numbers.items():
            if name not in data:
                units, long_name = problem.variables.get(name, ("", "status of the solver"))
                attrs = {"long_name": long_name} | ({"units": units} if units else {})
                empty = np.full(shape, "", dtype=object) if isinstance(value, str) else np.full(shape, nan)
                data[name] = (dims, empty, attrs)
            data[name][1][tuple(problem.place.values())] = value
    return xr.Dataset(data, coords=coords if data else {})
