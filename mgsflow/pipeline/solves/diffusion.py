"""Diffusion through a phase as a problem of a study."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Source, task_threads
from mgsflow.pipeline.solves.fields import CHUNK, Outputs
from mgsflow.pipeline.solves.problem import BlockRun
from mgsflow.store.schema import AXES

if TYPE_CHECKING:
    from mgsflow.transport.diffusion.result import Tortuosity
    from mgsflow.transport.resources import BlockPlan, Resources

#: Units and description of the numbers of a solve, each along ``phase`` and ``axis``.
_VARIABLES = {
    "tortuosity_factor": ("1", "tortuosity factor, with the whole fraction of the phase"),
    "tortuosity_factor_percolating": ("1", "tortuosity factor, with the percolating fraction"),
    "effective_diffusivity": ("1", "effective diffusivity over that in the phase"),
    "formation_factor": ("1", "formation factor"),
    "percolating_fraction": ("1", "share of the phase that percolates"),
    "tortuosity_error": ("1", "estimated relative error of the effective diffusivity, of the solver alone"),
    "tortuosity_flux_spread": ("1", "largest less smallest flux through a plane, over the mean"),
    "tortuosity_iterations": ("1", "iterations of the diffusion solver"),
}

#: Most bytes per voxel of a solve on a graph: 190 were measured where a third of all voxels did not conduct.
_GRAPH_BYTES = 400


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
        return _VARIABLES

    @property
    def place(self) -> dict[str, int]:
        """The phase and the axis."""
        return {"phase": self.label, "axis": AXES.index(self.axis)}

    def solve(self, phases: np.ndarray, outputs: Outputs | None = None) -> dict[str, float | str]:
        """Solve in memory; store maps of the flux density and fields, and return status and numbers."""
        from mgsflow.transport.tortuosity import tortuosity_factor

        fields = {} if outputs is None else outputs.fields
        found = tortuosity_factor(
            phases,
            {self.label: 1.0},
            self.axis,
            self.voxel_size,
            rtol=self.rtol,
            sides=self.sides,
            maps=outputs is not None,
            out=fields.get("concentration"),
            flux_out=fields.get("flux"),
            threads=task_threads(),
            memory=sys.maxsize,  # the plan has checked it
        )
        return self._numbers(found, outputs)

    def plan_blocks(self, phases: Source, resources: Resources, outputs: Outputs) -> BlockPlan | None:
        """Return the memory of a solve in blocks, which there is for closed sides only."""
        return self._blocks(phases, resources, outputs)[1] if self.sides == "no-flux" else None

    def solve_in_blocks(self, phases: Source, run: BlockRun, outputs: Outputs) -> dict[str, float | str]:
        """Solve block by block; otherwise as `solve`."""
        from mgsflow.transport.diffusion.distributed.tortuosity import tortuosity_factor_in_blocks

        grid, _ = self._blocks(phases, run.resources, outputs)
        found = tortuosity_factor_in_blocks(
            phases,
            {self.label: 1.0},
            self.axis,
            self.voxel_size,
            self.rtol,
            block=grid.largest,
            maps=True,
            out=outputs.fields.get("concentration"),
            flux_out=outputs.fields.get("flux"),
            **run.options(grid.largest, self.rtol),
        )
        return self._numbers(found, outputs)

    def _blocks(self, phases: Source, resources: Resources, outputs: Outputs) -> tuple[Grid, BlockPlan]:
        from mgsflow.transport.diffusion.distributed.plan import plan_solve
        from mgsflow.transport.diffusion.medium import medium_of

        return plan_solve(medium_of(phases, {self.label: 1.0}), resources, chunk=CHUNK if outputs.fields else 1)

    def _numbers(self, found: Tortuosity, outputs: Outputs | None) -> dict[str, float | str]:
        if outputs is not None:
            outputs.put_maps(found.flux_maps)
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
        """Return the most bytes that a solve holds: those with every voxel conducting."""
        from mgsflow.transport.tortuosity import packed_bytes

        voxels = prod(n + 2 for n in shape)
        packed = self.sides == "no-flux" and max(self.voxel_size) <= 2 * min(self.voxel_size)
        return packed_bytes(voxels, voxels, self.rtol) if packed else _GRAPH_BYTES * voxels
