"""What a study file says about the steps of image processing, checked.

A field's text is also the documentation of its key.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator, model_validator

from mgsflow.errors import InputError
from mgsflow.recipe.problems import problem, shown
from mgsflow.recipe.values import GreyRange, Name, each, real, whole
from mgsflow.segmentation import Majority

_EMPTY = {
    "voxel_size": "in the edge of a voxel in µm, one number or [z, y, x]",
    "phases": "in the names by rising grey value, as [pore, solid]",
    "cycle": "in the number of cycles, 0 for pristine",
}


class Section(BaseModel):
    """A mapping of a study file: unknown keys are refused, and nothing changes once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @field_validator("*", mode="before")
    @classmethod
    def _filled(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            field = cls.model_fields[str(info.field_name)]
            what = _EMPTY.get(str(info.field_name), "it in")
            raise problem(f"is empty: fill {what}{'' if field.is_required() else ', or delete the line'}")
        return value


class Drift(Section):
    """Correction of slices whose brightness drifts along z.

    Parameters
    ----------
    smooth : float, optional
        Standard deviation, in slices, of the Gaussian that gives the course of brightness to be kept; ``false`` (None)
        brings every slice to one mean, which is right only if the material is the same all along z.
    anchor : float
        Grey value that stays what it is, as that of no absorption.
    """

    smooth: Annotated[float | None, BeforeValidator(lambda v: _smooth(v))] = 25.0
    anchor: Annotated[float, BeforeValidator(lambda v: real(v))] = 0.0


class Correct(Section):
    """Corrections of the grey image before its filters.

    Parameters
    ----------
    drift : Drift, optional
        ``true``, or ``{smooth: N, anchor: G}``.
    """

    drift: Drift | None = None

    @field_validator("drift", mode="before")
    @classmethod
    def _drift(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {} if value else None
        if not isinstance(value, (dict, Drift)):
            raise problem(f"must be true, false or {{smooth: N}}, got {shown(value)}")
        return value


class Normalise(Section):
    """One grey scale for all scans of a specimen, from two landmarks: air, and something inert.

    Parameters
    ----------
    reference : str, optional
        Scan whose landmarks the other scans' are put on. Either this or `target`.
    target : (float, float), optional
        Grey values on which the landmarks of every scan are put.
    low, high : (float, float), optional
        Ranges of grey values in which the peaks of air and of the inert reference are looked for; without them the two
        most prominent peaks are taken.
    """

    reference: Name | None = None
    target: GreyRange | None = None
    low: GreyRange | None = None
    high: GreyRange | None = None

    @model_validator(mode="after")
    def _check(self) -> Normalise:
        if (self.reference is None) == (self.target is None):
            got = "both are given" if self.target else "neither is given"
            raise problem(f"needs either `reference: SCAN` or `target: [low, high]`; {got}")
        if self.low and self.high and not (self.low[0] < self.high[0] and self.low[1] < self.high[1]):
            raise problem("the range `low` must lie below the range `high`: exchange them", "low")
        return self


class Segment(Section):
    """Phases by grey value.

    Parameters
    ----------
    thresholds : tuple of float, optional
        Grey values, rising, one fewer than there are phases; a voxel at a threshold belongs to the upper phase. Either
        this or `multi_otsu`.
    multi_otsu : bool
        Fit the thresholds to the pooled histogram of the specimen's scans, and keep them.
    majority : int
        Radius in voxels of a majority filter on the labels, which removes specks; 0 for none.
    """

    thresholds: tuple[float, ...] | None = None
    multi_otsu: bool = False
    majority: Annotated[int, BeforeValidator(lambda v: _majority(v))] = 0

    @field_validator("thresholds", mode="before")
    @classmethod
    def _thresholds(cls, value: Any) -> tuple[float, ...]:
        values = each(value, real, "grey values")
        if not values:
            raise problem("is an empty list: give one grey value fewer than there are phases")
        for i, (a, b) in enumerate(pairwise(values)):
            if not a < b:
                hint = f": write {sorted(values)}" if len(set(values)) == len(values) <= 6 else ""
                raise problem(f"must rise, but {b:g} comes after {a:g}{hint}", i + 1)
        return values

    @field_validator("multi_otsu", mode="before")
    @classmethod
    def _multi_otsu(cls, value: Any) -> Any:
        if not isinstance(value, bool):
            raise problem(f"must be true or false, got {shown(value)}")
        return value

    @model_validator(mode="after")
    def _either(self) -> Segment:
        if self.thresholds is not None and self.multi_otsu:
            raise problem("has both `thresholds` and `multi_otsu`: delete one")
        if self.thresholds is None and not self.multi_otsu:
            raise problem("needs `thresholds: [...]` or `multi_otsu: true`")
        return self


def _smooth(value: Any) -> float | None:
    if value is False:
        return None
    number = real(value)
    if number <= 0:
        raise problem(f"must be above 0 (slices), or false for one mean of all, got {number:g}")
    return number


def _majority(value: Any) -> int:
    radius = whole(value, 0)
    if radius:
        try:
            Majority(radius)
        except InputError as error:
            raise problem(f"{str(error).removeprefix('radius ')}; 0 for none") from None
    return radius
