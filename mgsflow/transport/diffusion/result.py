"""Tortuosity of a phase along one axis, with its certificate: error estimate and balance of fluxes."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nan, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.errors import InputError
from mgsflow.solvers.solution import CONVERGED, Step
from mgsflow.transport.diffusion.profile import tortuosity_profile
from mgsflow.transport.diffusion.solution import FluxSolution

if TYPE_CHECKING:
    import xarray as xr

NOT_PERCOLATING = "not percolating"
NOTHING_CONDUCTS = "nothing conducts"

_VARIABLES = {
    "tortuosity_factor": "tortuosity factor",
    "tortuosity_factor_percolating": "tortuosity factor with the percolating fraction",
    "effective_diffusivity": "effective over largest diffusivity",
    "formation_factor": "formation factor",
    "volume_fraction": "volume fraction of what conducts",
    "percolating_fraction": "share of the conducting voxels that are connected to both ends",
    "tortuosity_error": "estimated relative error of the effective diffusivity",
    "tortuosity_flux_spread": "largest less smallest flux through a plane, over the mean",
    "tortuosity_flux_imbalance": "flux in less flux out, over the mean",
    "tortuosity_iterations": "iterations of the solver",
}


@dataclass(frozen=True)
class Tortuosity:
    """Result of `tortuosity_factor`.

    Attributes
    ----------
    axis : str
        Direction of the flow, ``"z"``, ``"y"`` or ``"x"``.
    status : str
        ``"converged"``; ``"not percolating"``: no path of conducting voxels connects both ends, so that D_eff = 0 and
        τ = ∞; ``"nothing conducts"``: no voxel does; ``"not converged"`` within the iterations allowed: all results of
        the solve are NaN, and ``history`` shows its progress; ``"broke down"``: likewise, because of rounding.
    tortuosity_factor : float
        τ = Σ εᵢ Dᵢ / D_eff: for one phase, ε D₀ / D_eff with the fraction ε of all its voxels.
    tortuosity_factor_percolating : float
        The same with the fractions of percolating voxels only.
    effective_diffusivity : float
        D_eff / D₀ of the whole cell, D₀ being the largest diffusivity in the image.
    formation_factor : float
        D₀ / D_eff.
    volume_fraction : float
        Share of all voxels that conduct.
    percolating_fraction : float
        Share of the conducting voxels that are face-connected to both ends.
    reference_diffusivity : float
        D₀.
    error_estimate : float
        Estimated relative error of the effective diffusivity by the solver alone: the resolution of the image is not in
        it. As the flux is taken from the energy, D_eff is too large by it, and never too small.
    flux_spread : float
        Largest minus smallest flux through a plane of voxels, over the mean: of the order of the square root of the
        error.
    flux_imbalance : float
        |in − out| over their mean.
    iterations : int
    history : tuple of Step
        The effective diffusivity and its estimated error after each iteration.
    plane_fluxes : ndarray, shape (planes + 1,)
        Flux through each plane between voxels and both end faces, over that of a cell full of D₀.
    voxel_size : (float, float, float)
        Edges of a voxel along (z, y, x), as given.
    shape : (int, int, int)
        Voxels along (z, y, x).
    seconds : dict of str to float
        Time spent in each stage.
    concentration : ndarray of float32, shape (z, y, x), or None
        1 on the inlet face and 0 on the outlet face; NaN where nothing percolates. Only on request, like all below.
    flux_density : ndarray of float32, shape (z, y, x), or None
        Flux along the axis through each voxel, over that of a cell of D₀: its mean is ``effective_diffusivity``.
    flux_maps : tuple of ndarray of float32, or None
        Means of the flux density along z, y and x.
    plane_diffusivity : ndarray, shape (planes,), or None
        Mean of D / D₀ over each plane, percolating voxels alone: for one phase, their fraction.
    plane_concentration : ndarray, shape (planes,), or None
        Mean concentration of the percolating voxels of each plane, weighted by D.
    """

    axis: str
    status: str
    tortuosity_factor: float
    tortuosity_factor_percolating: float
    effective_diffusivity: float
    formation_factor: float
    volume_fraction: float
    percolating_fraction: float
    reference_diffusivity: float
    error_estimate: float
    flux_spread: float
    flux_imbalance: float
    iterations: int
    history: tuple[Step, ...] = field(repr=False)
    plane_fluxes: np.ndarray = field(repr=False)
    voxel_size: tuple[float, float, float] = field(repr=False)
    shape: tuple[int, int, int] = field(repr=False)
    seconds: dict[str, float] = field(repr=False, default_factory=dict)
    concentration: np.ndarray | None = field(repr=False, default=None)
    flux_density: np.ndarray | None = field(repr=False, default=None)
    plane_diffusivity: np.ndarray | None = field(repr=False, default=None)
    plane_concentration: np.ndarray | None = field(repr=False, default=None)
    flux_maps: tuple[np.ndarray, np.ndarray, np.ndarray] | None = field(repr=False, default=None)

    @property
    def converged(self) -> bool:
        """Whether the solve reached its tolerance, or no solve was needed."""
        return self.status in ("converged", NOT_PERCOLATING, NOTHING_CONDUCTS)

    def tortuosity_along(self) -> np.ndarray:
        """Return the tortuosity factor at each plane between voxels along the axis and at both ends (planes + 1,).

        Raises
        ------
        InputError
            If the field was not kept.
        """
        if self.plane_diffusivity is None or self.plane_concentration is None:
            raise InputError("the profile needs the concentration: call tortuosity_factor with field=True")
        return tortuosity_profile(self.plane_diffusivity, self.plane_concentration, self.effective_diffusivity)

    def flux_map(self, along: str) -> np.ndarray:
        """Return the mean of the flux density along an axis, of the shape of the other two.

        Raises
        ------
        InputError
            If neither field nor maps were kept, or `along` is not an axis.
        """
        if along not in ("z", "y", "x"):
            raise InputError(f"along must be 'z', 'y' or 'x', got {along!r}")
        if self.flux_maps is not None:
            return self.flux_maps["zyx".index(along)]
        if self.flux_density is None:
            raise InputError("a flux map was not kept: call tortuosity_factor with maps=True, or field=True")
        return self.flux_density.mean(axis="zyx".index(along), dtype=np.float64).astype(np.float32)

    def to_dataset(self) -> xr.Dataset:
        """Return the numbers, their certificate and, if they were kept, the fields.

        Coordinates are in µm if the voxel size is.
        """
        import xarray as xr  # not needed by workers: 40 MiB less in each

        values = {
            "tortuosity_error": self.error_estimate,
            "tortuosity_flux_spread": self.flux_spread,
            "tortuosity_flux_imbalance": self.flux_imbalance,
            "tortuosity_iterations": self.iterations,
        }
        data: dict[str, Any] = {
            name: ((), values.get(name, getattr(self, name, None)), {"units": "1", "long_name": text})
            for name, text in _VARIABLES.items()
        }
        data["tortuosity_status"] = ((), self.status, {"long_name": "how the solve of the tortuosity ended"})
        size = self.voxel_size["zyx".index(self.axis)]
        face = f"{self.axis}_face"
        text = "flux through each plane between voxels, over that of a cell of the largest diffusivity"
        data["plane_flux"] = ((face,), self.plane_fluxes, {"units": "1", "long_name": text})
        where = {"units": "µm", "long_name": f"{self.axis}, plane between voxels"}
        coords: dict[str, Any] = {"axis": self.axis, face: (face, np.arange(self.plane_fluxes.size) * size, where)}
        if self.concentration is not None:
            text = "concentration over that of the inlet"
            data["concentration"] = (("z", "y", "x"), self.concentration, {"units": "1", "long_name": text})
            for name, n, edge in zip("zyx", self.shape, self.voxel_size):
                centre = {"units": "µm", "long_name": f"{name}, voxel centre"}
                coords[name] = (name, (np.arange(n) + 0.5) * edge, centre)
        if self.flux_density is not None:
            text = f"flux density along {self.axis}, over that of a cell of the largest diffusivity"
            data["flux_density"] = (("z", "y", "x"), self.flux_density, {"units": "1", "long_name": text})
            text = "tortuosity factor at each plane between voxels"
            data["tortuosity_profile"] = ((face,), self.tortuosity_along(), {"units": "1", "long_name": text})
        return xr.Dataset(data, coords=coords)


def tortuosity_of(
    solved: FluxSolution | None,
    shape: Triple,
    axis: int,
    voxel_size: tuple[float, float, float],
    voxels: tuple[int, int],
    reference: float,
    seconds: dict[str, float],
    means: tuple[float, float] | None = None,
    **fields: Any,
) -> Tortuosity:
    """Return the tortuosity from a solve, whatever the solver.

    Parameters
    ----------
    solved : FluxSolution or None
        None where nothing percolates.
    shape : (int, int, int)
        Voxels along (z, y, x).
    axis : int
        Direction of the flow.
    voxel_size : (float, float, float)
    voxels : (int, int)
        Voxels that conduct, and those of them that percolate.
    reference : float
        Largest diffusivity.
    seconds : dict of str to float
    means : (float, float), optional
        Mean of D / D₀ over all voxels, and over percolating voxels alone. Default: D = D₀ in all that conduct.
    **fields
        Those of `Tortuosity`.
    """
    conducting, percolating = voxels
    size = prod(shape)
    scale = flux_scale(shape, axis)
    if solved is None:
        status, effective = NOT_PERCOLATING if conducting else NOTHING_CONDUCTS, 0.0
        fluxes = np.zeros(shape[axis] + 1)
    else:
        status, effective = solved.status, solved.energy * scale if solved.status == CONVERGED else nan
        fluxes = solved.plane_fluxes * scale
    mean_all, mean_percolating = means or (conducting / size, percolating / size)
    mean = float(fluxes.mean()) or 1.0
    return Tortuosity(
        axis="zyx"[axis],
        status=status,
        tortuosity_factor=mean_all / effective if effective else inf,
        tortuosity_factor_percolating=mean_percolating / effective if effective else inf,
        effective_diffusivity=effective,
        formation_factor=1 / effective if effective else inf,
        volume_fraction=conducting / size,
        percolating_fraction=percolating / max(1, conducting),
        reference_diffusivity=reference,
        error_estimate=0.0 if solved is None else solved.error_estimate,
        flux_spread=float(np.ptp(fluxes)) / mean,
        flux_imbalance=abs(float(fluxes[0] - fluxes[-1])) / mean,
        iterations=0 if solved is None else solved.iterations,
        history=() if solved is None else tuple(step.scaled(scale) for step in solved.history),
        plane_fluxes=fluxes,
        voxel_size=voxel_size,
        shape=shape,
        seconds=seconds,
        **fields,
    )


def flux_scale(shape: Triple, axis: int) -> float:
    """Return D_eff / D₀ of a unit flux: length over cross-section, in voxels."""
    return shape[axis] ** 2 / prod(shape)
