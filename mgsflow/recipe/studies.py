"""What a study file says about studies of a scan: representative volumes, thresholds, pore networks.

A field's text is also the documentation of its key.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, field_validator, model_validator

from mgsflow.recipe.analyses import not_negative, one_of
from mgsflow.recipe.problems import nearest, problem, shown
from mgsflow.recipe.steps import Section
from mgsflow.recipe.values import each, real, text, whole

#: Measures that add up over windows of a scan.
ADDITIVE = ("volume", "surface", "interface", "tpb", "curvature")
#: Solves that a study can repeat in windows or at thresholds, with the phases and axes of their own sections.
SOLVES = ("tortuosity", "permeability")


def _chosen(words: tuple[str, ...], what: str) -> Any:
    def check(value: Any) -> tuple[str, ...]:
        names = each(value, text, "names") if isinstance(value, (list, tuple)) else (text(value),)
        for i, item in enumerate(names):
            if item not in words:
                raise problem(f"unknown {what} {shown(item)}: {nearest(item, words)}", i)
            if item in names[:i]:
                raise problem(f"{item!r} is named twice: delete one", i)
        return tuple(w for w in words if w in names)

    return check


def _sizes(value: Any) -> tuple[int, ...]:
    edges = each(value, lambda n: whole(n, 4), "edges in voxels") if isinstance(value, (list, tuple)) else ()
    if len(edges) < 2 or list(edges) != sorted(set(edges)):
        raise problem(f"must be two or more rising edges of cubes in voxels, as [60, 80, 120], got {shown(value)}")
    return tuple(edges)


def _share(value: Any) -> float:
    number = real(value)
    if not 0 < number < 1:
        raise problem(f"must lie between 0 and 1, got {number:g}")
    return number


Additive = Annotated[tuple[str, ...], BeforeValidator(_chosen(ADDITIVE, "measure"))]
Solves = Annotated[tuple[str, ...], BeforeValidator(_chosen(SOLVES, "solve"))]


class Rve(Section):
    """Representative volume: measures of windows of a scan, against their size.

    Parameters
    ----------
    sizes : tuple of int
        Edges of cubic windows in voxels, rising.
    placement : str
        ``nested``: cubes about the centre of the scan, each inside the next; ``random``; ``tiled``: side by side.
    windows : int
        Most windows of a size, where they are random or tiled.
    measures : tuple of str
        Of ``volume``, ``surface``, ``interface``, ``tpb``, ``curvature``.
    solve : tuple of str
        Of ``tortuosity`` and ``permeability``: phases, axes and the rest are those of the sections of that name.
    tolerance : float
        Relative deviation up to which a window represents the scan.
    confidence : float
        Share of windows that must keep it; of ``nested`` ones, one a size, none can be stated.
    seed : int
        Of the random placement.
    """

    sizes: Annotated[tuple[int, ...], BeforeValidator(_sizes)]
    placement: Annotated[str, BeforeValidator(one_of(("nested", "random", "tiled")))] = "nested"
    windows: Annotated[int, BeforeValidator(lambda v: whole(v, 1, 10_000))] = 8
    measures: Additive = ("volume", "surface", "tpb")
    solve: Solves = ()
    tolerance: Annotated[float, BeforeValidator(_share)] = 0.05
    confidence: Annotated[float, BeforeValidator(_share)] = 0.95
    seed: Annotated[int, BeforeValidator(lambda v: whole(v, 0))] = 0


class Sensitivity(Section):
    """Sensitivity of measures to a threshold; it gives every number in ``metrics`` an error bar, its uncertainty.

    Parameters
    ----------
    phase : str
        The threshold between this phase and the next brighter one is moved.
    values : tuple of float, optional
        Grey values, rising; or ``{from: 21900, to: 23100, step: 300}``. The threshold in use is added. Default: five
        about it, out to its uncertainty on either side.
    measures : tuple of str
        Of ``volume``, ``surface``, ``interface``, ``tpb``, ``curvature``.
    solve : tuple of str
        Of ``tortuosity`` and ``permeability``: phases, axes and the rest are those of the sections of that name.
    """

    phase: Annotated[str, BeforeValidator(text)]
    values: tuple[float, ...] = ()
    measures: Additive = ("volume", "surface", "tpb")
    solve: Solves = ()

    @field_validator("values", mode="before")
    @classmethod
    def _values(cls, value: Any) -> tuple[float, ...]:
        if isinstance(value, dict):
            if set(value) != {"from", "to", "step"}:
                raise problem(f"must have the keys from, to and step, got {shown(', '.join(map(str, value)))}")
            low, high, step = (real(value[k]) for k in ("from", "to", "step"))
            if not (step > 0 and high > low):
                raise problem("must rise: `to` above `from`, by a positive `step`")
            count = int((high - low) / step + 1e-9) + 1
            if count > 100:
                raise problem(f"are {count} thresholds, and 100 are the most: make `step` larger")
            value = [low + i * step for i in range(count)]
        numbers = each(value, real, "grey values")
        if list(numbers) != sorted(set(numbers)):
            raise problem(f"must be rising grey values, got {shown(value)}")
        return tuple(numbers)


class Network(Section):
    """Pore network of one phase: pores and throats, from a watershed on its distance transform.

    Parameters
    ----------
    phase : str
        Name of the phase.
    persistence : float
        Depth of a throat, in voxels, below which two pores are one: see ``particles``.
    relative : bool
        Take `persistence` as a share of the smaller ball's radius.
    min_voxels : int
        Pores of fewer voxels that have no throat are left out, as specks.
    cube : int
        Edge, in voxels, of the cubes whose porosity is mapped.
    """

    phase: Annotated[str, BeforeValidator(text)]
    persistence: Annotated[float, BeforeValidator(not_negative)] = 0.5
    relative: bool = False
    min_voxels: Annotated[int, BeforeValidator(lambda v: whole(v, 0))] = 10
    cube: Annotated[int, BeforeValidator(lambda v: whole(v, 2, 256))] = 16

    @model_validator(mode="before")
    @classmethod
    def _relative(cls, data: Any) -> Any:
        if isinstance(data, dict) and not isinstance(data.get("relative", False), bool):
            raise problem(f"must be true or false, got {shown(data['relative'])}", "relative")
        return data

    @model_validator(mode="after")
    def _share(self) -> Network:
        if self.relative and self.persistence > 1:
            raise problem(
                f"is a share of a radius, from 0 to 1, got {self.persistence:g}: or delete `relative`", "persistence"
            )
        return self
