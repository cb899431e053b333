"""Flow through the open phases as a problem of a study."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.compute import Source, task_threads
from mgsflow.pipeline.solves.fields import Outputs
from mgsflow.pipeline.solves.problem import BlockRun
from mgsflow.store.schema import AXES

if TYPE_CHECKING:
    from mgsflow.transport.resources import BlockPlan, Resources
    from mgsflow.transport.stokes.distributed.duct import Duct
    from mgsflow.transport.stokes.result import Permeability

#: Units and description of the numbers of a solve, each along ``axis``.
_VARIABLES = {
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
    lines: int = 0

    @property
    def name(self) -> str:
        """Name of the step."""
        return f"permeability_{'-'.join(map(str, self.labels))}_{self.axis}"

    @property
    def variables(self) -> dict[str, tuple[str, str]]:
        """Units and description of each number."""
        return _VARIABLES

    @property
    def place(self) -> dict[str, int]:
        """The axis."""
        return {"axis": AXES.index(self.axis)}

    def solve(self, phases: np.ndarray, outputs: Outputs | None = None) -> dict[str, float | str]:
        """Solve in memory; store streamlines, and return status and numbers."""
        from mgsflow.transport.permeability import permeability
        from mgsflow.transport.streamlines.trace import streamlines

        traced = self.lines > 0 and outputs is not None
        found = permeability(
            phases,
            self.labels,
            self.axis,
            self.voxel_size,
            sides=self.sides,
            rtol=self.rtol,
            threads=task_threads(),
            fields=traced,
            memory=sys.maxsize,  # the plan has checked it
        )
        if traced:
            assert outputs is not None
            known = found.velocity is not None and isfinite(found.permeability_um2)
            outputs.put_streamlines(
                streamlines(found.velocity, self.axis, self.voxel_size, self.lines, self.sides) if known else None
            )
        return self._numbers(found)

    def _numbers(self, found: Permeability) -> dict[str, float | str]:
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
                warnings.simplefilter("ignore")  # of a large Reynolds number, which is stored beside the flow rate
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

        return permeability_bytes(shape, self.voxel_size, fields=self.lines > 0)

    def plan_blocks(self, phases: Source, resources: Resources, outputs: Outputs) -> BlockPlan:
        """Return the memory of a solve in slabs across the flow."""
        return self._slabs(phases, resources)[1]

    def solve_in_blocks(self, phases: Source, run: BlockRun, outputs: Outputs) -> dict[str, float | str]:
        """Solve slab by slab; otherwise as `solve`, but without streamlines: no process holds the velocity."""
        from mgsflow.transport.stokes.distributed.permeability import permeability_in_blocks

        duct, _ = self._slabs(phases, run.resources)
        found = permeability_in_blocks(
            phases,
            self.labels,
            self.axis,
            self.voxel_size,
            self.sides,
            self.rtol,
            block=duct.thickness,
            **run.options(duct.thickness[:1], self.rtol),
        )
        if self.lines:
            outputs.put_streamlines(None)
        return self._numbers(found)

    def _slabs(self, phases: Source, resources: Resources) -> tuple[Duct, BlockPlan]:
        from mgsflow.transport.stokes.distributed.permeability import flow_duct
        from mgsflow.transport.stokes.distributed.plan import plan_flow

        duct = flow_duct(phases, self.labels, self.axis, self.voxel_size, self.sides)
        # checkpoints hold the solution: a sixth vector
        return plan_flow(duct, resources, keep=True)
