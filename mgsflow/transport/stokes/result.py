"""What a permeability solve found, and the flow that follows from it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import TYPE_CHECKING

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

DARCY_UM2 = 0.9869233
"""One darcy in µm²."""

CREEPING = 0.1
"""Reynolds number above which inertia begins to count."""


@dataclass(frozen=True)
class Flow:
    """Flow at a pressure drop.

    Attributes
    ----------
    flow_rate : float
        m³/s through the whole cross-section.
    mean_velocity : float
        m/s: flow rate per cross-section, solid included (Darcy velocity).
    pore_velocity : float
        m/s: mean along the flow over the percolating pores.
    reynolds_number : float
        ρ U √K / μ with the Darcy velocity U.
    creeping : bool
        Whether that is at most 0.1, so that Stokes flow holds.
    """

    flow_rate: float
    mean_velocity: float
    pore_velocity: float
    reynolds_number: float
    creeping: bool


@dataclass(frozen=True, eq=False)
class Permeability:
    """Permeability of a pore space along an axis, and how far it can be trusted.

    Attributes
    ----------
    permeability_um2 : float
        K in µm², by the energy: its error is the square of the velocity's. 0 if nothing percolates, ∞ if pores that
        fill the cross-section touch no wall, NaN if the solver did not converge.
    status : {"converged", "not converged", "not percolating", "no pores", "no walls"}
    error_estimate : float
        Estimated relative error of K by the solver; that of the voxels is another (see `resolution_error`).
    iterations : int
    permeability_by_flux_um2 : float
        K from the flow through the inlet; it converges more slowly, and is there to compare.
    plane_flux_spread : float
        Standard deviation of the flow through the planes over its mean: zero for the exact solution.
    narrow_share : float
        Share of the percolating pores in throats under 4 voxels, where the error of the voxels is over 20 %.
    porosity, percolating_porosity : float
        Pores, and those that lead from inlet to outlet, per volume.
    axis : {"z", "y", "x"}
    sides : {"no-slip", "symmetric", "periodic"}
    voxel_size : tuple of float
        µm, along (z, y, x).
    shape : tuple of int
        Voxels along (z, y, x).
    reservoirs : int
        Open planes before the inlet and behind the outlet.
    method : str
    history : tuple of float
        K in µm² after each iteration.
    coarse_um2 : tuple of float
        K in µm² with voxels 2 and 4 times as large, where those were asked for and percolate.
    extrapolated_um2 : float
        K that these and K itself tend to with smaller voxels; NaN without them.
    velocity : ndarray of float32 or None, shape (3, z, y, x)
        Components (z, y, x) at the centres of voxels in µm/s at a pressure drop over viscosity of 1 s⁻¹.
    pressure : ndarray of float32 or None, shape (z, y, x)
        At the centres of voxels: 1 at the inlet, 0 at the outlet, NaN where nothing flows.
    """

    permeability_um2: float
    status: str
    error_estimate: float
    iterations: int
    permeability_by_flux_um2: float
    plane_flux_spread: float
    narrow_share: float
    porosity: float
    percolating_porosity: float
    axis: str
    sides: str
    voxel_size: tuple[float, float, float]
    shape: Triple
    reservoirs: int = 0
    method: str = ""
    history: tuple[float, ...] = ()
    coarse_um2: tuple[float, ...] = ()
    extrapolated_um2: float = float("nan")
    velocity: np.ndarray | None = None
    pressure: np.ndarray | None = None

    @property
    def permeability(self) -> float:
        """K in m²."""
        return self.permeability_um2 * 1e-12

    @property
    def permeability_darcy(self) -> float:
        """K in darcy."""
        return self.permeability_um2 / DARCY_UM2

    @property
    def resolution_error(self) -> float:
        """Relative difference of K and what it tends to with smaller voxels; NaN if that was not asked for."""
        return abs(self.permeability_um2 / self.extrapolated_um2 - 1) if self.extrapolated_um2 else float("nan")

    def flow_rate(self, pressure_drop: float, viscosity: float) -> float:
        """Return the flow rate in m³/s; see `flow`."""
        return self.flow(pressure_drop, viscosity).flow_rate

    def flow(self, pressure_drop: float, viscosity: float, density: float = 1000.0) -> Flow:
        """Return the flow at a pressure drop, by Darcy's law: Q = K A Δp / (μ L).

        Parameters
        ----------
        pressure_drop : float
            Pa, over the length of the image.
        viscosity : float
            Pa·s.
        density : float
            kg/m³, for the Reynolds number.

        Raises
        ------
        InputError
            If viscosity or density is not positive, or K is not a number.
        """
        if not viscosity > 0 or not density > 0:
            raise InputError(f"viscosity and density must be positive, got {viscosity} Pa·s and {density} kg/m³")
        if not isfinite(self.permeability_um2):
            raise InputError(f"no flow follows from a permeability that is {self.permeability_um2} ({self.status})")
        d = "zyx".index(self.axis)
        sizes = [n * v * 1e-6 for n, v in zip(self.shape, self.voxel_size)]
        area = sizes[0] * sizes[1] * sizes[2] / sizes[d]
        mean = self.permeability * pressure_drop / (viscosity * sizes[d])
        reynolds = density * abs(mean) * sqrt(self.permeability) / viscosity
        if reynolds > CREEPING:
            warnings.warn(
                f"the Reynolds number {reynolds:.3g} is above {CREEPING}: inertia will make the flow smaller than "
                "Stokes flow; give a smaller pressure drop",
                stacklevel=2,
            )
        pore = mean / self.percolating_porosity if self.percolating_porosity else 0.0
        return Flow(mean * area, mean, pore, reynolds, reynolds <= CREEPING)

    def to_dataset(self) -> xr.Dataset:
        """Return the numbers, and the fields if there are any, with ``units`` and ``long_name``."""
        import xarray as xr  # not needed by workers

        scalars = {
            "permeability": (self.permeability_um2, "µm²", "permeability"),
            "permeability_by_flux": (self.permeability_by_flux_um2, "µm²", "permeability by the inlet's flux"),
            "permeability_error_estimate": (self.error_estimate, "1", "estimated relative error of the solver"),
            "permeability_extrapolated": (self.extrapolated_um2, "µm²", "permeability extrapolated to small voxels"),
            "plane_flux_spread": (self.plane_flux_spread, "1", "relative spread of the flux through planes"),
            "narrow_throats": (self.narrow_share, "1", "share of percolating pores in throats under 4 voxels"),
            "porosity": (self.porosity, "1", "pores per volume"),
            "percolating_porosity": (self.percolating_porosity, "1", "percolating pores per volume"),
            "permeability_iterations": (self.iterations, "1", "iterations of the solver"),
        }
        data = {k: ((), v, {"units": units, "long_name": name}) for k, (v, units, name) in scalars.items()}
        data["permeability_status"] = ((), self.status, {"long_name": "status of the solver"})  # type: ignore[assignment]
        found = xr.Dataset(data, coords={"axis": self.axis}, attrs={"sides": self.sides})
        at = {
            a: (a, (np.arange(n) + 0.5) * v, {"units": "µm"})
            for a, n, v in zip("zyx", self.shape, self.voxel_size)
        }  # fmt: skip
        if self.velocity is not None:
            units = {"units": "µm/s", "long_name": "velocity at a pressure drop over viscosity of 1/s"}
            found["velocity"] = (("component", "z", "y", "x"), self.velocity, units)
            found = found.assign_coords(at | {"component": list("zyx")})
        if self.pressure is not None:
            found["pressure"] = (("z", "y", "x"), self.pressure, {"units": "1", "long_name": "share of the drop"})
            found = found.assign_coords(at)
        return found
