"""How particles, tortuosity and permeability were found, in sentences with every parameter of the study file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mgsflow.report.numbers import listing, plain
from mgsflow.report.sections.particles import BORDERS, parting

_SIDES = {
    "no-flux": "no flux through the sides",
    "no-slip": "no slip at the sides",
    "symmetric": "sides that are planes of symmetry",
    "periodic": "periodic sides",
}


def analysis_sentences(recipe: Mapping[str, Any]) -> list[str]:
    """Return what a specimen's study file asks of particles and transport; nothing where it asks for neither."""
    said = []
    if asked := recipe.get("particles"):
        said.append(_particles(asked))
    if asked := recipe.get("tortuosity"):
        said.append(_tortuosity(asked))
    if asked := recipe.get("permeability"):
        said.append(_permeability(asked))
    return said


def _particles(asked: Mapping[str, Any]) -> str:
    return (
        f"Particles of {asked['phase']} were separated by a watershed: each voxel follows the steepest ascent of the "
        "exact Euclidean distance to other phases to a peak, and basins whose neck is less than "
        f"{parting(asked)} narrower in radius than the smaller of the two peaks are one particle (persistence). "
        f"Particles of fewer than {_voxels(asked['min_voxels'])} were left out. In distributions each particle "
        f"counts once; {BORDERS[str(asked['border'])]}."
    )


def _tortuosity(asked: Mapping[str, Any]) -> str:
    each = " (each by itself)" if len(asked["phases"]) > 1 else ""
    return (
        f"The tortuosity factor τ = ε D₀ / D_eff of {listing(list(asked['phases']))}{each} along "
        f"{_axes(asked['axes'])} is from steady diffusion, ∇·(D ∇c) = 0, between opposite faces of the scan: finite "
        "volumes on the voxels (7 points), fixed concentrations on the end faces, half a voxel from the centres of "
        f"the voxels there, and {_SIDES[str(asked['sides'])]}. It was solved to a relative error of D_eff of "
        f"{100 * asked['rtol']:g} %."
    )


def _permeability(asked: Mapping[str, Any]) -> str:
    together = " taken together" if len(asked["phase"]) > 1 else ""
    text = (
        f"The permeability K = μ U L / Δp of {listing(list(asked['phase']))}{together} along {_axes(asked['axes'])} is "
        "from Stokes flow, μ ∇²u = ∇p and ∇·u = 0, on a marker-and-cell grid of the voxels, with fixed pressures on "
        f"the end faces, no slip on solids and {_SIDES[str(asked['sides'])]}; U is the mean velocity over the whole "
        f"section. It was solved to a relative error of K of {100 * asked['rtol']:g} %."
    )
    if asked.get("pressure"):
        inlet, outlet = asked["pressure"]
        text += (
            f" Flow rates follow from K by Darcy's law, at {inlet / 1000:g} kPa before and {outlet / 1000:g} kPa "
            f"behind the scan, for a viscosity of {asked.get('viscosity', 1e-3):g} Pa s; Reynolds numbers are "
            "ρ U √K / μ at a density of 1000 kg/m³."
        )
    return text


def _axes(axes: Sequence[str]) -> str:
    return listing(list(axes))


def _voxels(count: float) -> str:
    return f"{plain(count)} {'voxel' if count == 1 else 'voxels'}"
