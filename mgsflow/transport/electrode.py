"""Electrode tortuosity factor: ions that enter from one side and react on a surface, or in all of the volume.

There is no current through a blocking electrode. Its impedance at low frequency is a capacitance in series with an
ionic resistance R, and R is a third of the resistance of the pores if these are straight, uniform, and react evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.errors import InputError
from mgsflow.solvers.conjugate_gradients import minimise_energy
from mgsflow.solvers.solution import CONVERGED, Step
from mgsflow.solvers.team import Team, default_threads
from mgsflow.transport.diffusion.graph import GraphDiffusion, find_reached, periodic_axes
from mgsflow.transport.diffusion.graph_kernel import reactive_faces
from mgsflow.transport.diffusion.medium import check_axis, check_edges, check_rtol, check_sides, medium_of
from mgsflow.transport.diffusion.result import NOTHING_CONDUCTS

if TYPE_CHECKING:
    import xarray as xr

NOT_REACHED = "not reached from the inlet"
NOTHING_REACTS = "nothing reacts"


@dataclass(frozen=True)
class ElectrodeTortuosity:
    """Result of `electrode_tortuosity_factor`.

    Attributes
    ----------
    axis : str
    status : str
        ``"converged"``; ``"nothing conducts"``; ``"not reached from the inlet"``: no voxel of the phase touches the
        first face; ``"nothing reacts"``: the reached voxels have no reactive surface; ``"not converged"`` and
        ``"broke down"``: see `mgsflow.solvers.solution.Solution`. The factors are NaN unless converged, and infinite
        where no voxel is reached.
    tortuosity_factor : float
        τₑ = 3 ε A D R / L.
    tortuosity_factor_ladder : float
        Relative to a ladder of one resistor and one capacitor per plane of voxels, as in TauFactor 2: smaller by about
        3 / (2 L) with L in voxels, because the first resistor of the ladder is a full one.
    resistance : float
        A D R / L, the ionic resistance at low frequency relative to that of a cell of free electrolyte.
    volume_fraction : float
        Share ε of all voxels that conduct.
    reached_fraction : float
        Share of the conducting voxels that are connected to the first face.
    reactive_area : float
        Reached reactive surface per volume of the image, per unit of the voxel size. For a reaction in the volume, the
        share of all voxels that is reached.
    error_estimate : float
        Estimated relative error of R.
    iterations : int
    history : tuple of Step
        Of `resistance`.
    """

    axis: str
    status: str
    tortuosity_factor: float
    tortuosity_factor_ladder: float
    resistance: float
    volume_fraction: float
    reached_fraction: float
    reactive_area: float
    error_estimate: float
    iterations: int
    history: tuple[Step, ...] = field(repr=False)

    def to_dataset(self) -> xr.Dataset:
        """Return the numbers and their certificate."""
        import xarray as xr  # not needed by workers

        texts = {
            "electrode_tortuosity_factor": (self.tortuosity_factor, "electrode tortuosity factor"),
            "electrode_tortuosity_factor_ladder": (
                self.tortuosity_factor_ladder,
                "electrode tortuosity factor against a ladder network",
            ),
            "electrode_resistance": (self.resistance, "ionic resistance over that of free electrolyte"),
            "electrode_reached_fraction": (self.reached_fraction, "share of the phase that is reached from the inlet"),
            "electrode_tortuosity_error": (self.error_estimate, "estimated relative error of the resistance"),
        }
        data: dict[str, Any] = {k: ((), v, {"units": "1", "long_name": t}) for k, (v, t) in texts.items()}
        data["electrode_tortuosity_status"] = ((), self.status, {"long_name": "how the solve ended"})
        return xr.Dataset(data, coords={"axis": self.axis})


def electrode_tortuosity_factor(
    phase: Any,
    conducting: int = 1,
    reactive: int | None = 0,
    axis: str = "z",
    voxel_size: float | Sequence[float] = 1.0,
    rtol: float = 1e-3,
    sides: str = "no-flux",
    threads: int | None = None,
    most_iterations: int = 200,
) -> ElectrodeTortuosity:
    """Return the electrode tortuosity factor τₑ of a phase that ions enter from the first face along an axis.

    With a potential that oscillates slowly on the first face and a capacitance on the reactive surface, the impedance
    tends to 1 / (i ω C) + R. The resistance follows from one solve: ψ with −∇·(D ∇ψ) = the reactive surface, ψ = 0 on
    the first face and no flux elsewhere gives R = ∮ψ / (∮1)².

    Parameters
    ----------
    phase : ndarray, zarr array or DataArray, shape (z, y, x)
        Labels.
    conducting : int
        Label of the phase that conducts ions.
    reactive : int or None
        Label of the phase whose interface with the conducting phase reacts. None: all of the conducting volume reacts.
    axis : {"z", "y", "x"}
        Direction from the separator, before the first plane, to the current collector, behind the last.
    voxel_size : float or sequence of float
        Edge of a voxel, or edges along (z, y, x).
    rtol : float
        Tolerance of the solver: relative error of R, at least 1e-12.
    sides : {"no-flux", "periodic"}
    threads : int, optional
        Default: the cores of the machine, at most 8.
    most_iterations : int

    Returns
    -------
    ElectrodeTortuosity

    Raises
    ------
    InputError
        If an argument is invalid.

    References
    ----------
    Nguyen, T.-T. et al. (2020). The electrode tortuosity factor. npj Comput. Mater. 6, 123.
    doi:10.1038/s41524-020-00386-4

    Examples
    --------
    A straight slit between two solid walls reacts evenly, so that τₑ = 1.

    >>> import numpy as np
    >>> from mgsflow.transport import electrode_tortuosity_factor
    >>> phases = np.zeros((40, 3, 4), np.uint8)
    >>> phases[:, 1] = 1
    >>> result = electrode_tortuosity_factor(phases, rtol=1e-6)
    >>> result.status, round(result.tortuosity_factor, 3)
    ('converged', 1.0)
    """
    medium = medium_of(phase, {conducting: 1.0})
    if medium.diffusivities is None:
        raise InputError("an electrode's tortuosity needs labels: whole numbers, not diffusivities")
    if reactive == conducting:
        raise InputError(f"label {conducting} cannot conduct and be the solid that reacts")
    number = check_axis(axis)
    edges = check_edges(voxel_size)
    check_sides(sides)
    check_rtol(rtol, "1e-12")
    periodic = sides == "periodic"
    diffusivity = medium.diffusivity()
    conducts = diffusivity > 0
    kept = find_reached(conducts, number, periodic)
    voxels, planes = diffusivity.size, diffusivity.shape[number]
    count, reached = int(np.count_nonzero(conducts)), int(np.count_nonzero(kept))
    fraction = count / voxels

    def result(status: str, **numbers: Any) -> ElectrodeTortuosity:
        values: dict[str, Any] = {
            "tortuosity_factor": inf if status == NOT_REACHED else nan,
            "tortuosity_factor_ladder": inf if status == NOT_REACHED else nan,
            "resistance": inf if status == NOT_REACHED else nan,
            "volume_fraction": fraction,
            "reached_fraction": reached / count if count else 0.0,
            "reactive_area": 0.0,
            "error_estimate": 0.0,
            "iterations": 0,
            "history": (),
        }
        return ElectrodeTortuosity(axis="zyx"[number], status=status, **(values | numbers))

    if not count:
        return result(NOTHING_CONDUCTS)
    if not reached:
        return result(NOT_REACHED)
    h = np.asarray(edges) / edges[number]
    areas = h.prod() / h
    with Team(default_threads() if threads is None else threads) as team:
        solver = GraphDiffusion(diffusivity, kept, number, tuple(areas / h), periodic, team, outlet=False)
        uptake = np.full(reached, float(h.prod()))
        if reactive is not None:
            reacts = medium_of(phase, {reactive: 1.0}).diffusivity() > 0
            reactive_faces(solver.index, reacts, areas, periodic_axes(number, periodic), uptake)
            del reacts
        total = float(uptake.sum())
        if not total > 0:
            return result(NOTHING_REACTS)
        b = uptake[solver.order]
        found = minimise_energy(
            solver.hierarchy.product, solver.hierarchy.cycle, b, np.zeros(b.size), 0.0, rtol, most_iterations
        )
    # the energy at the minimum is -∮ψ; the resistance of free electrolyte is L / A
    scale = -(float(areas[number]) * voxels / planes) / planes / total**2
    resistance = found.value * scale if found.status == CONVERGED else nan
    factor = 3 * fraction * resistance
    unit = edges[number] if reactive is not None else 1.0
    return result(
        found.status,
        tortuosity_factor=factor,
        tortuosity_factor_ladder=factor / (1 + 1.5 / planes + 0.5 / planes**2),
        resistance=resistance,
        reactive_area=total / (voxels * float(h.prod())) / unit,
        error_estimate=found.error_estimate,
        iterations=found.iterations,
        history=tuple(step.scaled(scale) for step in found.history),
    )
