"""What a study file says about how scans are processed, checked.

A field's text is also the documentation of its key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, SkipValidation, field_validator, model_validator

from mgsflow.kernel import Kernel
from mgsflow.measures import DEFAULT, MEASURES
from mgsflow.recipe.analyses import Particles, Permeability, Thickness, Tortuosity
from mgsflow.recipe.chain import filter_chain
from mgsflow.recipe.problems import nearest, problem, shown
from mgsflow.recipe.region import RegionOfScan
from mgsflow.recipe.steps import Correct, Normalise, Section, Segment
from mgsflow.recipe.studies import Network, Rve, Sensitivity
from mgsflow.recipe.values import VoxelSize, check_unique, each, text

MOST_PHASES = 255
_CAN_BE_OFF = (
    "region",
    "correct",
    "normalise",
    "segment",
    "particles",
    "thickness",
    "tortuosity",
    "permeability",
    "network",
    "rve",
    "sensitivity",
)


class Processing(Section):
    """What is done with scans; each key may also stand under ``defaults``, for all specimens that do not have it.

    Parameters
    ----------
    voxel_size : (float, float, float), optional
        Edges of a voxel along (z, y, x) in µm; one number for a cube. May be left out where the files tell it.
    trust : str, optional
        ``study``: `voxel_size` holds for all scans, though files of two of them state different ones, which is an error
        otherwise.
    phases : tuple of str
        Names of the phases by rising grey value, label 0 first; at least two, if there is `segment`.
    region : RegionOfScan, optional
        Which voxels of a scan are the specimen; without it, all of them.
    correct : Correct
        Corrections before the filters.
    normalise : Normalise, optional
        One grey scale for all scans.
    filter : tuple of Kernel
        Filters of the grey image, in this order.
    segment : Segment, optional
        How grey values become phases. Without it only grey images are made.
    measures : tuple of str
        What is measured of the phases: ``volume`` (fractions), ``profile`` (fractions along each axis), ``surface`` and
        ``interface`` (areas), ``tpb`` (triple-phase boundary), ``curvature`` (with Euler number), ``correlation``. By
        layers along each axis: ``surface_profile``, ``interface_profile``,
        ``tpb_profile``, ``curvature_profile``.

    particles : Particles, optional
        Particles of one phase.
    thickness : Thickness, optional
        Local thickness of phases.
    tortuosity : Tortuosity, optional
        Tortuosity factors of phases.
    permeability : Permeability, optional
        Permeabilities of open phases.
    network : Network, optional
        Pore network of one phase.
    rve : Rve, optional
        Representative volume.
    sensitivity : Sensitivity, optional
        Sensitivity to a threshold.

    Notes
    -----
    ``false`` for a section, and ``[]`` for `filter`, turn off what ``defaults`` asks for.
    """

    voxel_size: VoxelSize | None = None
    trust: Literal["study"] | None = None
    phases: tuple[str, ...] = ()
    region: RegionOfScan | None = None
    correct: Correct = Correct()
    normalise: Normalise | None = None
    filter: Annotated[SkipValidation[tuple[Kernel, ...]], BeforeValidator(filter_chain)] = ()
    segment: Segment | None = None
    measures: tuple[str, ...] = DEFAULT
    particles: Particles | None = None
    thickness: Thickness | None = None
    tortuosity: Tortuosity | None = None
    permeability: Permeability | None = None
    network: Network | None = None
    rve: Rve | None = None
    sensitivity: Sensitivity | None = None

    @model_validator(mode="before")
    @classmethod
    def _off(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {k: v for k, v in data.items() if not (k in _CAN_BE_OFF and v is False)}
        return data

    @field_validator("phases", mode="before")
    @classmethod
    def _phases(cls, value: Any) -> Any:
        if value is None:
            return value
        names = each(value, text, "names")
        if not 2 <= len(names) <= MOST_PHASES:
            raise problem(f"must be 2 to {MOST_PHASES} names, label 0 first, got {len(names)}")
        check_unique(names, "a phase")
        return names

    @field_validator("measures", mode="before")
    @classmethod
    def _measures(cls, value: Any) -> tuple[str, ...]:
        names = each(value, text, "names")
        for i, item in enumerate(names):
            if item not in MEASURES:
                raise problem(f"unknown measure {shown(item)}: {nearest(item, MEASURES)}", i)
        check_unique(names, "a measure")
        return names
