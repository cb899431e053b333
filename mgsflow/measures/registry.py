"""The measures by the names that a study file uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mgsflow.errors import InputError
from mgsflow.measures.correlation.functions import Correlation
from mgsflow.measures.definition import Measure
from mgsflow.measures.surface.area import Surface
from mgsflow.measures.surface.interface import Interface
from mgsflow.measures.surface.minkowski import Minkowski
from mgsflow.measures.triple_phase.corrected import TripleLine
from mgsflow.measures.triple_phase.edges import TriplePhase
from mgsflow.measures.volume.fractions import VolumeFraction
from mgsflow.measures.volume.layers import LayerProfile
from mgsflow.measures.volume.profile import DepthProfile

Voxel = tuple[float, float, float]


def _triple(phases: int, voxel_size: Voxel) -> tuple[Measure, ...]:
    least = min(voxel_size)
    z, y, x = (v / least for v in voxel_size)
    return TriplePhase(phases), TripleLine(phases, aspect=(z, y, x))


def _one(make: Callable[[int], Measure], phases: int, voxel_size: Voxel) -> tuple[Measure, ...]:
    return (make(phases),)


def _layers(make: Callable[[int, Voxel], tuple[Measure, ...]], phases: int, voxel_size: Voxel) -> tuple[Measure, ...]:
    return tuple(LayerProfile(m) for m in make(phases, voxel_size))


#: What each name stands for, given the number of phases and the voxel size in µm.
MEASURES: dict[str, Callable[[int, Voxel], tuple[Measure, ...]]] = {
    "volume": partial(_one, VolumeFraction),
    "profile": partial(_one, DepthProfile),
    "surface": partial(_one, Surface),
    "interface": partial(_one, Interface),
    "tpb": _triple,
    "curvature": partial(_one, Minkowski),
    "correlation": partial(_one, Correlation),
    "surface_profile": partial(_layers, partial(_one, Surface)),
    "interface_profile": partial(_layers, partial(_one, Interface)),
    "tpb_profile": partial(_layers, _triple),
    "curvature_profile": partial(_layers, partial(_one, Minkowski)),
}

#: What is measured where nothing is asked for: all that one fast pass gives.
DEFAULT = ("volume", "profile", "surface", "interface")


#: Measures of an image in which voxels may be outside the volume that is measured.
WITHIN_REGION = ("volume", "profile", "surface", "interface", "surface_profile", "interface_profile")


def make_measures(
    names: Sequence[str], phases: int, voxel_size: Sequence[float], outside: bool = False
) -> tuple[Measure, ...]:
    """Return the measures that names stand for.

    Parameters
    ----------
    names : sequence of str
        Keys of `MEASURES`.
    phases : int
        Number of phases.
    voxel_size : sequence of float
        Edges of a voxel along (z, y, x) in µm.
    outside : bool
        Whether there are voxels outside the volume, which have the label `phases`: one more than the phases.

    Raises
    ------
    InputError
        If there is no such measure, or it cannot take so many phases, or voxels outside.
    """
    found: list[Measure] = []
    z, y, x = voxel_size
    for name in names:
        if name not in MEASURES:
            raise InputError(f"no measure {name!r}: there are {', '.join(MEASURES)}")
        if outside and name not in WITHIN_REGION:
            raise InputError(f"{name} is not measured within a region of any shape: give a box, as `box: inscribed`")
        made = MEASURES[name](phases + outside, (z, y, x))
        found += [_with_outside(measure, phases) for measure in made] if outside else made
    return tuple(found)


def _with_outside(measure: Any, label: int) -> Measure:
    if isinstance(measure, LayerProfile):
        return replace(measure, measure=replace(measure.measure, outside=label))
    made: Measure = replace(measure, outside=label)
    return made
