"""Flow through the open phases as a problem of a study."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import isfinite

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.compute import Source, task_threads
from mgsflow.errors import ComputeError
from mgsflow.pipeline.capacity import Capacity, Needs
from mgsflow.pipeline.fields import Outputs
from mgsflow.pipeline.problem import Place
from mgsflow.store.schema import AXES

#: Variable, units and description of what a solve leaves, each along ``axis``.
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

    def share(self, phases: Source, room: Capacity, outputs: Outputs) -> Needs | None:
        """Return None: it is solved on one worker only."""
        return None

    def solve_shared(self, phases: Source, place: Place, outputs: Outputs) -> dict[str, float | str]:
        """Refuse: see `share`."""
        raise ComputeError("flow is solved on one worker only")
