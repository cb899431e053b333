"""Diffusion and slow flow through a pore network, from one face of the scan to the opposite one.

Concentration, or pressure, is 1 in all openings of the one face and 0 in those of the other; in every pore, what comes
in goes out. The sides are closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.errors import InputError
from mgsflow.network.conductance import CONES, DUCTS, Conductances, diffusive, hydraulic
from mgsflow.network.pores import AXES, PoreNetwork
from mgsflow.solvers.conjugate_gradients import conjugate_gradients

if TYPE_CHECKING:
    import xarray as xr

CONVERGED = "converged"
NOT_PERCOLATING = "not percolating"
NOTHING_CONDUCTS = "nothing conducts"
NO_SOLID = "no solid"
NOT_CONVERGED = "not converged"

_MAX_ITERATIONS = 20_000

#: Units and long name of each number.
VARIABLES: dict[str, tuple[str, str]] = {
    "network_tortuosity_factor": ("1", "tortuosity factor by the pore network"),
    "network_effective_diffusivity": ("1", "effective over free diffusivity by the pore network"),
    "network_permeability": ("µm²", "permeability by the pore network"),
    "network_tortuosity_factor_cones": ("1", "tortuosity factor by the pore network, conduits widening all the way"),
    "network_permeability_cones": ("µm²", "permeability by the pore network, conduits widening all the way"),
    "network_percolating_pores": ("1", "pores that throats connect to both faces"),
    "network_flux_imbalance": ("1", "flux in less flux out over their mean, the larger of diffusion and flow"),
}


@dataclass(frozen=True)
class NetworkTransport:
    """What goes through a network along an axis.

    Attributes
    ----------
    axis : str
    conduits : str
        ``"ducts"`` or ``"cones"``.
    status : str
        ``"converged"``; ``"not percolating"``: no way through throats joins both faces, so that diffusivity and
        permeability are 0 and τ = ∞; ``"nothing conducts"``: there are no pores; ``"no solid"``: nothing bounds the
        pores, so that there is no network to speak of; ``"not converged"``: the solver did not come to its tolerance.
        The numbers are NaN then.
    tortuosity_factor : float
        τ = ε D₀ / D_eff with the porosity ε of all pores.
    effective_diffusivity : float
        D_eff / D₀ of the whole scan.
    permeability : float
        In µm².
    percolating_pores : int
        Pores that are connected to both faces.
    flux_imbalance : float
        |in − out| over their mean, the larger of both solves.
    potential, pressure : ndarray, shape (pores,)
        Concentration and pressure in each pore from 1 to 0; NaN where nothing flows.
    """

    axis: str
    conduits: str
    status: str
    tortuosity_factor: float
    effective_diffusivity: float
    permeability: float
    percolating_pores: int
    flux_imbalance: float
    potential: np.ndarray
    pressure: np.ndarray

    def numbers(self) -> dict[str, float | str]:
        """Return status and numbers by the names of `VARIABLES`, as far as they are this form of conduits'."""
        if self.conduits == CONES:
            return {
                "network_tortuosity_factor_cones": self.tortuosity_factor,
                "network_permeability_cones": self.permeability,
            }
        return {
            "network_status": self.status,
            "network_tortuosity_factor": self.tortuosity_factor,
            "network_effective_diffusivity": self.effective_diffusivity,
            "network_permeability": self.permeability,
            "network_percolating_pores": self.percolating_pores,
            "network_flux_imbalance": self.flux_imbalance,
        }

    def to_dataset(self) -> xr.Dataset:
        """Return the numbers, with the axis as a coordinate."""
        import xarray as xr  # not needed by workers: 40 MiB less in each

        data: dict[str, Any] = {}
        for name, value in self.numbers().items():
            units, long_name = VARIABLES.get(name, ("", "how the solve of the pore network ended"))
            data[name] = ((), value, {"long_name": long_name} | ({"units": units} if units else {}))
        return xr.Dataset(data, coords={"axis": self.axis})


def solve(network: PoreNetwork, axis: str = "z", conduits: str = DUCTS, rtol: float = 1e-12) -> NetworkTransport:
    """Return tortuosity factor and permeability of a network along an axis.

    Parameters
    ----------
    network : PoreNetwork
    axis : {"z", "y", "x"}
        Direction of the flow.
    conduits : {"ducts", "cones"}
        How conduits widen from throats to pores: see `mgsflow.network.conductance`. Solves on voxels lie between both.
    rtol : float
        Of the conjugate gradients: residual over right-hand side.

    Returns
    -------
    NetworkTransport

    Raises
    ------
    InputError
        If there is no such axis, or no such form of conduits.

    Notes
    -----
    A network is a model: with ducts, diffusivity and permeability are within a few per cent of solves on voxels
    where pores are straight ducts or balls that overlap, and low by up to two fifths and a half where they are neither.
    """
    if axis not in AXES:
        raise InputError(f"axis must be z, y or x, got {axis!r}")
    if conduits not in (DUCTS, CONES):
        raise InputError(f"conduits must be {DUCTS} or {CONES}, got {conduits!r}")
    at = AXES.index(axis)
    openings = network.openings
    inlet, outlet = openings["face"] == 2 * at, openings["face"] == 2 * at + 1
    through = percolating(network, inlet, outlet)
    nowhere = np.full(network.count, nan)
    if not network.count:
        return NetworkTransport(axis, conduits, NOTHING_CONDUCTS, inf, 0.0, 0.0, 0, 0.0, nowhere, nowhere)
    if not through.any():
        return NetworkTransport(axis, conduits, NOT_PERCOLATING, inf, 0.0, 0.0, 0, 0.0, nowhere, nowhere)
    if not np.isfinite(network.pores["inscribed_radius"][through]).all():
        return NetworkTransport(axis, conduits, NO_SOLID, nan, nan, nan, int(through.sum()), nan, nowhere, nowhere)
    edges = np.array(network.shape) * network.voxel_size
    per_length = edges[at] / (prod(edges) / edges[at])
    way = (through, inlet, outlet, rtol)
    diffusivity, concentration, first = _conductance(network, diffusive(network, conduits), *way)
    mobility, pressure, second = _conductance(network, hydraulic(network, conduits), *way)
    found = diffusivity * per_length
    return NetworkTransport(
        axis,
        conduits,
        CONVERGED if np.isfinite([diffusivity, mobility]).all() else NOT_CONVERGED,
        network.porosity / found,
        found,
        mobility * per_length,
        int(through.sum()),
        max(first, second),
        concentration,
        pressure,
    )


def percolating(network: PoreNetwork, inlet: np.ndarray, outlet: np.ndarray) -> np.ndarray:
    """Tell which pores throats connect to an opening of the inlet and one of the outlet.

    Parameters
    ----------
    network : PoreNetwork
    inlet, outlet : ndarray of bool, shape (openings,)
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = network.count
    a, b = network.rows(network.throats["pore_a"]), network.rows(network.throats["pore_b"])
    pores = network.rows(network.openings["pore"])
    if not n:
        return np.zeros(0, bool)
    count, cluster = connected_components(coo_array((np.ones(a.size, np.int8), (a, b)), shape=(n, n)), directed=False)
    sides = []
    for opening in (inlet, outlet):
        there = np.zeros(count, bool)
        there[cluster[pores[opening]]] = True
        sides.append(there)
    reached: np.ndarray = (sides[0] & sides[1])[cluster]
    return reached


def _conductance(
    network: PoreNetwork,
    conductances: Conductances,
    through: np.ndarray,
    inlet: np.ndarray,
    outlet: np.ndarray,
    rtol: float,
) -> tuple[float, np.ndarray, float]:
    """Return the conductance between both faces, the potential of each pore, and the flux imbalance; or NaN."""
    from scipy.sparse import coo_array, diags_array

    row = np.cumsum(through) - 1
    n = int(through.sum())
    a, b = network.rows(network.throats["pore_a"]), network.rows(network.throats["pore_b"])
    inside = through[a] & through[b]
    a, b, between = row[a[inside]], row[b[inside]], conductances.throats[inside]
    pore = network.rows(network.openings["pore"])
    ends = through[pore] & (inlet | outlet)
    pore, outer, held = row[pore[ends]], conductances.openings[ends], inlet[ends].astype(np.float64)
    diagonal = np.bincount(a, between, n) + np.bincount(b, between, n) + np.bincount(pore, outer, n)
    matrix = diags_array(diagonal) - coo_array(
        (np.concatenate([between, between]), (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(n, n)
    )
    right = np.bincount(pore, outer * held, n)
    rows = matrix.tocsr()
    # factors would be as quick, but scipy's are BLAS's, whose bits depend on the processor
    x, _, converged = conjugate_gradients(lambda p: rows @ p, lambda r: r / diagonal, right, rtol, _MAX_ITERATIONS)
    if not converged:
        return nan, np.full(network.count, nan), nan
    potential = np.full(network.count, nan)
    potential[through] = x
    fluxes = outer * (held - x[pore])
    into, out = float(fluxes[held == 1].sum()), -float(fluxes[held == 0].sum())
    # dissipation has twice the digits of either flux
    energy = float((between * (x[a] - x[b]) ** 2).sum() + (outer * (held - x[pore]) ** 2).sum())
    return energy, potential, abs(into - out) / (0.5 * (into + out))
