"""What a study file says about particles and transport, checked.

A field's text is also the documentation of its key.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, field_validator

from mgsflow.recipe.problems import nearest, problem, shown
from mgsflow.recipe.steps import Section
from mgsflow.recipe.values import each, real, text, whole

AXES = ("z", "y", "x")
_FIELDS = ("concentration", "flux")
_BORDERS = ("keep", "drop", "weight")
_SIDES = {"tortuosity": ("no-flux", "periodic"), "permeability": ("no-slip", "symmetric", "periodic")}


def one_of(words: tuple[str, ...]) -> Any:
    """Return a check that a value is one of some words."""

    def check(value: Any) -> str:
        word = text(value)
        if word not in words:
            raise problem(f"must be {' or '.join(words)}, got {shown(word)}: {nearest(word, words)}")
        return word

    return check


def _names(value: Any) -> tuple[str, ...]:
    names = each(value, text, "names") if isinstance(value, (list, tuple)) else (text(value),)
    if not names:
        raise problem("is an empty list: name at least one phase")
    for i, item in enumerate(names):
        if item in names[:i]:
            raise problem(f"{item!r} is named twice: delete one", i)
    return names


def _axes(value: Any) -> tuple[str, ...]:
    names = each(value, one_of(AXES), "axes") if isinstance(value, (list, tuple)) else (one_of(AXES)(value),)
    if not names:
        raise problem("is an empty list: name at least one axis, as [z, y, x]")
    return tuple(a for a in AXES if a in names)


def _fields(value: Any) -> tuple[str, ...]:
    names = each(value, one_of(_FIELDS), "fields") if isinstance(value, (list, tuple)) else (one_of(_FIELDS)(value),)
    return tuple(f for f in _FIELDS if f in names)


def _tolerance(value: Any) -> float:
    number = real(value)
    if not 1e-6 <= number <= 0.1:
        raise problem(f"must be a relative error from 1e-6 to 0.1, got {number:g}")
    return number


def not_negative(value: Any) -> float:
    """Return a number that is 0 or more."""
    number = real(value)
    if number < 0:
        raise problem(f"must be 0 or more, got {number:g}")
    return number


def _positive(unit: str) -> Any:
    def check(value: Any) -> float:
        number = real(value, unit)
        if number <= 0:
            raise problem(f"must be positive, in {unit}, got {number:g}")
        return number

    return check


Axes = Annotated[tuple[str, ...], BeforeValidator(_axes)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Tolerance = Annotated[float, BeforeValidator(_tolerance)]


class Particles(Section):
    """Particles of one phase: parted by a watershed on its distance transform, numbered and measured.

    Parameters
    ----------
    phase : str
        Name of the phase.
    persistence : float
        Depth of a neck, in voxels, below which two summits of the distance are one particle: the radius of the smaller
        ball minus that of the neck. More merges more.
    relative : bool
        Take `persistence` as a share of the smaller ball's radius.
    min_voxels : int
        Particles of fewer voxels are left out.
    border : str
        What the distributions do with particles that the volume cuts: ``keep``, ``drop``, or ``weight`` them by the
        chance that one of their size lies wholly inside (Miles and Lantuéjoul).
    """

    phase: Annotated[str, BeforeValidator(text)]
    persistence: Annotated[float, BeforeValidator(not_negative)] = 0.5
    relative: bool = False
    min_voxels: Annotated[int, BeforeValidator(lambda v: whole(v, 0))] = 10
    border: Annotated[str, BeforeValidator(one_of(_BORDERS))] = "keep"

    @field_validator("relative", mode="before")
    @classmethod
    def _relative(cls, value: Any) -> Any:
        if not isinstance(value, bool):
            raise problem(f"must be true or false, got {shown(value)}")
        return value


class Thickness(Section):
    """Local thickness of phases, by volume: the diameter of the largest inscribed ball over each voxel.

    Parameters
    ----------
    phases : tuple of str
        Names of the phases.
    reach : int
        Largest radius of a ball, in voxels. It bounds the memory of a task; larger balls end the run with an error.
    """

    phases: Names
    reach: Annotated[int, BeforeValidator(lambda v: whole(v, 1, 1024))] = 64


class Tortuosity(Section):
    """Tortuosity factors: steady diffusion through a phase, from face to face.

    Parameters
    ----------
    phases : tuple of str
        Phases that conduct, each by itself.
    axes : tuple of str
        Directions.
    rtol : float
        Relative error of the effective diffusivity that is asked for.
    sides : str
        ``no-flux`` or ``periodic``.
    fields : tuple of str
        Fields to keep in the store, of ``concentration`` and ``flux`` (its density along the axis): 4 bytes a voxel
        each, for every phase and axis.
    """

    phases: Names
    axes: Axes = AXES
    rtol: Tolerance = 1e-3
    sides: Annotated[str, BeforeValidator(one_of(_SIDES["tortuosity"]))] = "no-flux"
    fields: Annotated[tuple[str, ...], BeforeValidator(_fields)] = ()


class Permeability(Section):
    """Permeabilities: Stokes flow through the open phases, from face to face.

    Parameters
    ----------
    phase : tuple of str
        Phases that are open to flow, taken together.
    axes : tuple of str
        Directions.
    rtol : float
        Relative error of the permeability that is asked for.
    sides : str
        ``no-slip`` (a solid frame), ``symmetric`` or ``periodic``.
    pressure : (float, float), optional
        Pressures at inlet and outlet in Pa, for the flow rate.
    viscosity : float
        Viscosity in Pa s, for the flow rate.
    streamlines : int
        Lines along the flow that are traced and kept, each with the same share of it; none where the solve is shared
        by several workers.
    """

    phase: Names
    axes: Axes = AXES
    rtol: Tolerance = 1e-3
    sides: Annotated[str, BeforeValidator(one_of(_SIDES["permeability"]))] = "no-slip"
    pressure: tuple[float, float] | None = None
    viscosity: Annotated[float, BeforeValidator(_positive("Pa s"))] = 1e-3
    streamlines: Annotated[int, BeforeValidator(lambda v: whole(v, 0, 10_000))] = 0

    @field_validator("pressure", mode="before")
    @classmethod
    def _pressure(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)) and len(value) == 2:
            inlet, outlet = each(value, lambda v: real(v, "Pa"), "pressures")
            if inlet > outlet:
                return inlet, outlet
        raise problem(f"must be two pressures in Pa, [inlet, outlet], the inlet's higher, got {shown(value)}")
