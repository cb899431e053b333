"""What every solver of the diffusion equation returns: the flux, and how the solve ended."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mgsflow.solvers.solution import Step


@dataclass(frozen=True, kw_only=True)
class FluxSolution:
    """Flux for a concentration of 1 and 0 on the end faces, per unit conductance of a face along the flow.

    Attributes
    ----------
    status : str
        See `mgsflow.solvers.solution.Solution`.
    energy : float
        Flux, from the energy of the concentration: never below the true one.
    error_estimate : float
        Estimated relative error of the energy.
    plane_fluxes : ndarray, shape (planes + 1,)
        Flux through every plane between voxels along the flow, the end faces included.
    iterations : int
    history : tuple of Step
    seconds : dict of str to float
        Time spent in each stage of the solve.
    """

    status: str
    energy: float
    error_estimate: float
    plane_fluxes: np.ndarray
    iterations: int
    history: tuple[Step, ...]
    seconds: dict[str, float] = field(default_factory=dict)
