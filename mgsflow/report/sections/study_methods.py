"""How thickness, pore networks, representative volumes and sensitivities were found, with every parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgsflow.report.numbers import listing, plain

_WORDS = {
    "volume": "volume fractions",
    "surface": "surface areas",
    "interface": "interfaces",
    "tpb": "the triple-phase boundary",
    "curvature": "curvatures",
    "tortuosity": "tortuosity factors",
    "permeability": "permeabilities",
}
_PLACED = {
    "nested": "cubes about the middle of the scan, each inside the next",
    "random": "cubes anywhere in the scan",
    "tiled": "cubes side by side",
}


def study_sentences(recipe: Mapping[str, Any]) -> list[str]:
    """Return what a specimen's study file asks of these; nothing where it asks for none."""
    makers = (
        ("thickness", _thickness),
        ("network", _network),
        ("rve", _rve),
        ("sensitivity", _sensitivity),
    )
    return [make(recipe[name]) for name, make in makers if recipe.get(name)]


def _thickness(asked: Mapping[str, Any]) -> str:
    return (
        f"The local thickness of {listing(list(asked['phases']))} is the diameter of the largest ball inside the "
        f"phase that holds a voxel, for balls of a radius up to {plain(asked['reach'])} voxels; its "
        "distribution is by volume."
    )


def _network(asked: Mapping[str, Any]) -> str:
    value = float(asked.get("persistence", 0.0))
    parted = f"{100 * value:g} % of the smaller one's radius" if asked.get("relative") else f"{plain(value)} voxels"
    return (
        f"The pore network of {asked['phase']} is from a watershed on the exact Euclidean distance to other phases: "
        f"pores are its basins, two of which are one where the throat between them is less than {parted} narrower in "
        f"radius than the smaller pore. Pores of fewer than {plain(asked.get('min_voxels', 0))} voxels without a "
        "throat were left out. The radius of a throat is the distance at its saddle. Local porosity is that of "
        f"cubes of {plain(asked.get('cube', 16))} voxels a side."
    )


def _rve(asked: Mapping[str, Any]) -> str:
    sizes = listing([plain(n) for n in asked["sizes"]])
    text = (
        f"Representative volumes: {_what(asked)} of {_PLACED[str(asked['placement'])]}, with edges of {sizes} voxels, "
        "were compared with those of the whole scan"
    )
    tolerance = f"{100 * float(asked['tolerance']):g} %"
    if asked["placement"] == "nested":
        return f"{text} at a tolerance of {tolerance}; one window of a size gives no confidence."
    seed = f", placed by the seed {plain(asked['seed'])}" if asked["placement"] == "random" else ""
    return (
        f"{text}, with at most {plain(asked['windows'])} windows of a size{seed}. A size is representative if "
        f"another window of it lies within {tolerance} of the whole with a confidence of "
        f"{100 * float(asked['confidence']):g} %, by the "
        "prediction interval of Student's t (Kanit et al. 2003, doi:10.1016/S0020-7683(03)00143-4)."
    )


def _sensitivity(asked: Mapping[str, Any]) -> str:
    values = asked.get("values") or ()
    at = (
        f"at the grey values {listing([plain(v) for v in values])}"
        if values
        else "at five grey values about the one in use, out to its uncertainty"
    )
    return (
        f"The threshold above {asked['phase']} was moved: {_what(asked)} were found anew {at}. Its standard "
        "uncertainty is from the width of the histogram's valley and the distance of the threshold from it; error "
        "bars of numbers are their slope times that."
    )


def _what(asked: Mapping[str, Any]) -> str:
    names = [*asked.get("measures", ()), *asked.get("solve", ())]
    return listing([_WORDS.get(n, n) for n in names]) or "nothing"
