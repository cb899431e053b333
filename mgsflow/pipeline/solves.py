"""Transport through the phases of a scan: which solves a study asks for, and what they leave in ``metrics``.

A solve reads a scan's phases whole, in one task. What it finds is a few numbers, kept in the store as they are, so
that a run that is stopped solves nothing twice.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, nan, prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Parts, Source, task_threads
from mgsflow.pipeline.step import Step
from mgsflow.recipe import SpecimenRecipe
from mgsflow.store import Specimen
from mgsflow.store.schema import AXES

if TYPE_CHECKING:
    import xarray as xr

#: Variable, units and description of what a solve leaves; each along ``axis``, and tortuosity along ``phase`` too.
_DIFFUSION = {
    "tortuosity_factor": ("1", "tortuosity factor, with the whole fraction of the phase"),
    "tortuosity_factor_percolating": ("1", "tortuosity factor, with the percolating fraction"),
    "effective_diffusivity": ("1", "effective diffusivity over that in the phase"),
    "formation_factor": ("1", "formation factor"),
    "percolating_fraction": ("1", "share of the phase that percolates"),
    "tortuosity_error": ("1", "estimated relative error of the effective diffusivity, of the solver alone"),
    "tortuosity_flux_spread": ("1", "largest less smallest flux through a plane, over the mean"),
    "tortuosity_iterations": ("1", "iterations of the diffusion solver"),
}
_FLOW = {
    "permeability": ("µm²", "permeability"),
    "permeability_error": ("1", "estimated relative error of the permeability, of the solver alone"),
    "permeability_by_flux": ("µm²", "permeability by the flux through the inlet, which converges more slowly"),
    "percolating_porosity": ("1", "open pores that percolate, per volume"),
    "narrow_share": ("1", "share of the percolating pores in throats under 4 voxels, where voxels are too coarse"),
    "permeability_iterations": ("1", "iterations of the flow solver"),
    "flow_rate": ("m³/s", "flow rate through the whole section at the pressures of the study"),
    "mean_velocity": ("m/s", "flow rate over the section"),
    "reynolds_number": ("1", "Reynolds number of that flow; Stokes flow holds well below 0.1"),
}

#: Bytes a conducting voxel that a diffusion solve holds at most: 41 to 65 measured on packed voxels in single
#: precision, and 190 of all voxels on a graph, a third of which did not conduct.
_PACKED, _GRAPH = 70, 400


class Problem(Protocol):
    """A boundary value problem on the phases of a scan. A frozen dataclass; its ``repr`` identifies it."""

    @property
    def name(self) -> str:
        """Name of the step."""
        ...

    @property
    def variables(self) -> dict[str, tuple[str, str]]:
        """Units and description of each number."""
        ...

    @property
    def place(self) -> dict[str, int]:
        """Where its numbers stand in those of the study: a position along each dimension."""
        ...

    def solve(self, phases: np.ndarray) -> dict[str, float | str]:
        """Return status and numbers."""
        ...

    def memory(self, shape: Triple) -> int:
        """Return the most bytes that a solve holds beside the phases, whatever is in them."""
        ...


@dataclass(frozen=True)
class Diffusion:
    """Steady diffusion through one phase: see `mgsflow.transport.tortuosity_factor`."""

    label: int
    axis: str
    voxel_size: tuple[float, float, float]
    rtol: float
    sides: str

    @property
    def name(self) -> str:
        """Name of the step."""
        return f"tortuosity_{self.label}_{self.axis}"

    @property
    def variables(self) -> dict[str, tuple[str, str]]:
        """Units and description of each number."""
        return _DIFFUSION

    @property
    def place(self) -> dict[str, int]:
        """The phase and the axis."""
        return {"phase": self.label, "axis": AXES.index(self.axis)}

    def solve(self, phases: np.ndarray) -> dict[str, float | str]:
        """Return status and numbers."""
        from mgsflow.transport.tortuosity import tortuosity_factor

        found = tortuosity_factor(
            phases,
            {self.label: 1.0},
            self.axis,
            self.voxel_size,
            rtol=self.rtol,
            sides=self.sides,
            threads=task_threads(),
        )
        return {
            "tortuosity_status": found.status,
            "tortuosity_factor": found.tortuosity_factor,
            "tortuosity_factor_percolating": found.tortuosity_factor_percolating,
            "effective_diffusivity": found.effective_diffusivity,
            "formation_factor": found.formation_factor,
            "percolating_fraction": found.percolating_fraction,
            "tortuosity_error": found.error_estimate,
            "tortuosity_flux_spread": found.flux_spread,
            "tortuosity_iterations": found.iterations,
        }

    def memory(self, shape: Triple) -> int:
        """Return the most bytes that a solve holds: with every voxel conducting."""
        packed = self.sides == "no-flux" and max(self.voxel_size) <= 2 * min(self.voxel_size)
        single = self.rtol >= 2e-5
        return (_PACKED if single else 2 * _PACKED) * prod(n + 2 for n in shape) if packed else _GRAPH * prod(shape)


@dataclass(frozen=True)
class Flow:
    """Stokes flow through the open phases: see `mgsflow.transport.permeability`."""

    labels: tuple[int, ...]
    axis: str
    voxel_size: tuple[float, float, float]
    rtol: float
    sides: str
    pressure_drop: float | None
    viscosity: float

    @property
    def name(self) -> str:
        """Name of the step."""
        return f"permeability_{'-'.join(map(str, self.labels))}_{self.axis}"

    @property
    def variables(self) -> dict[str, tuple[str, str]]:
        """Units and description of each number."""
        return _FLOW

    @property
    def place(self) -> dict[str, int]:
        """The axis."""
        return {"axis": AXES.index(self.axis)}

    def solve(self, phases: np.ndarray) -> dict[str, float | str]:
        """Return status and numbers."""
        from mgsflow.transport.permeability import permeability

        found = permeability(
            phases, self.labels, self.axis, self.voxel_size, sides=self.sides, rtol=self.rtol, threads=task_threads()
        )
        numbers: dict[str, float | str] = {
            "permeability_status": found.status,
            "permeability": found.permeability_um2,
            "permeability_error": found.error_estimate,
            "permeability_by_flux": found.permeability_by_flux_um2,
            "percolating_porosity": found.percolating_porosity,
            "narrow_share": found.narrow_share,
            "permeability_iterations": found.iterations,
        }
        if self.pressure_drop is not None and isfinite(found.permeability_um2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the number stands beside the flow rate
                flow = found.flow(self.pressure_drop, self.viscosity)
            numbers |= {
                "flow_rate": flow.flow_rate,
                "mean_velocity": flow.mean_velocity,
                "reynolds_number": flow.reynolds_number,
            }
        return numbers

    def memory(self, shape: Triple) -> int:
        """Return the most bytes that a solve holds."""
        from mgsflow.transport.permeability import permeability_bytes

        return permeability_bytes(shape, self.voxel_size)


@dataclass(frozen=True)
class Solve:
    """A problem on a whole scan, as work of a single block."""

    phases: Source
    problem: Problem
    parts: Parts
    scan: int

    @property
    def grid(self) -> Grid:
        """The scan in one block."""
        return Grid.whole(self.phases.shape)

    def run(self, index: Triple) -> Triple:
        """Solve, and return the index when the numbers are stored."""
        numbers = self.problem.solve(self.phases.read(Box.of(self.phases.shape)))
        text = json.dumps(numbers).encode()
        self.parts.write((self.scan, 0, 0), self.problem.name, np.frombuffer(text, np.uint8))
        return index

    def memory(self) -> int:
        """Return the most bytes that the solve holds."""
        shape = self.phases.shape
        return prod(shape) + max(self.phases.scratch(shape), self.problem.memory(shape))


def problems(specimen: Specimen, recipe: SpecimenRecipe) -> Iterator[Problem]:
    """Yield what a study asks to be solved on each scan."""
    labels = {name: i for i, name in enumerate(recipe.phases)}
    size = specimen.voxel_size
    if (asked := recipe.tortuosity) is not None:
        for phase in asked.phases:
            for axis in asked.axes:
                yield Diffusion(labels[phase], axis, size, asked.rtol, asked.sides)
    if (flow := recipe.permeability) is not None:
        drop = None if flow.pressure is None else flow.pressure[0] - flow.pressure[1]
        for axis in flow.axes:
            pores = tuple(sorted(labels[p] for p in flow.phase))
            yield Flow(pores, axis, size, flow.rtol, flow.sides, drop, flow.viscosity)


def solve_steps(specimen: Specimen, recipe: SpecimenRecipe, scan: str, inputs: str) -> Iterator[Step]:
    """Yield a step for every solve on a scan whose phases are made."""
    parts = specimen.parts()
    for problem in problems(specimen, recipe):
        work = Solve(specimen.volume("phase", scan), problem, parts, specimen.index(scan))
        fills = (f"{parts.path}/{problem.name}",)
        yield Step(problem.name, specimen, scan, work, inputs, says=repr(problem), fills=fills)


def solved(specimen: Specimen, recipe: SpecimenRecipe, scan: str) -> xr.Dataset:
    """Return what the solves on a scan have found, along ``phase`` and ``axis``."""
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
