"""What a study file says about the region of a scan that counts, checked.

A field's text is also the documentation of its key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from mgsflow.recipe.problems import nearest, problem, shown
from mgsflow.recipe.steps import Section
from mgsflow.recipe.values import StudyPath, each, real, said, text, whole

AXES = ("z", "y", "x")
#: Name of what lies outside, among the labels of a phase image.
OUTSIDE = "outside"


def _axis(value: Any) -> str:
    word = text(value)
    if word not in AXES:
        raise problem(f"must be z, y or x, got {shown(word)}")
    return word


def _centre(value: Any) -> tuple[float, float]:
    items = each(value, real, "voxels")
    if len(items) != 2:
        raise problem(f"must be two numbers of voxels, [y, x] for an axis along z, got {len(items)}")
    return items[0], items[1]


def _radius(value: Any) -> float:
    number = real(value)
    if number <= 0:
        raise problem(f"must be above 0 voxels, got {number:g}")
    return number


class Circle(Section):
    """The cylinder that a scan shows, whole along its axis.

    Parameters
    ----------
    centre : (float, float)
        Centre of the circle in voxels: [y, x] for an axis along z. Voxel i spans i − ½ to i + ½.
    radius : float
        In voxels. What lies beyond it is outside.
    axis : str
        ``z``, ``y`` or ``x``.
    """

    centre: Annotated[tuple[float, float], BeforeValidator(_centre)]
    radius: Annotated[float, BeforeValidator(_radius)]
    axis: Annotated[str, BeforeValidator(_axis)] = "z"


class RegionOfScan(Section):
    """Which voxels are the specimen. What is outside is in no histogram, fit, fraction, area or solve.

    Parameters
    ----------
    box : mapping or str, optional
        Voxels that are read at all, as ``{z: [100, 900], y: [0, 512]}``: the first, and one past the last, along each
        axis that is not read whole. ``inscribed``: the largest box within the `cylinder`; every analysis is possible
        then.
    cylinder : Circle or str, optional
        The circle of a reconstruction: ``auto`` finds it, where what is outside is one constant or NaN; or
        ``{centre: [y, x], radius: r}`` in voxels of the file, or of the box if there is one.
    mask : Path, optional
        An image of the scan's shape, in any format that a scan may have; 0 is outside. With a `box`, of the whole scan.
    outside : float, optional
        Grey value of all voxels that are outside, and of no other; ``nan`` for not a number.
    exclude : tuple of str
        Phases that do not count, as resin around a fragment: their voxels become part of the outside.

    Notes
    -----
    Filters carry grey values across the border of a cylinder or mask: the region is smaller than it by their reach.
    Within a cylinder or mask there are fractions, profiles, surfaces, interfaces, and transport along axes across which
    the area of the region does not change; give ``box: inscribed`` for everything else.
    """

    box: dict[str, tuple[int, int]] | Literal["inscribed"] | None = None
    cylinder: Circle | Literal["auto"] | None = None
    mask: StudyPath | None = None
    outside: float | None = None
    exclude: tuple[str, ...] = ()

    @field_validator("box", mode="before")
    @classmethod
    def _box(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value != "inscribed":
                raise problem(f"must be a mapping, as {{z: [100, 900]}}, or inscribed, got {shown(value)}")
            return value
        if not isinstance(value, dict) or not value:
            raise problem(f"must be a mapping, as {{z: [100, 900]}}, or inscribed, got {shown(value)}")
        found = {}
        for axis, span in value.items():
            if axis not in AXES:
                raise problem(f"no axis {shown(axis)}: {nearest(str(axis), AXES)}", str(axis))
            ends = each(span, lambda v: whole(v, 0), "voxels")
            if len(ends) != 2 or not ends[0] < ends[1]:
                raise problem(f"must be the first voxel and one past the last, as [100, 900], got {shown(span)}", axis)
            found[axis] = (ends[0], ends[1])
        return found

    @field_validator("cylinder", mode="before")
    @classmethod
    def _cylinder(cls, value: Any) -> Any:
        if value is True:
            return "auto"
        if not isinstance(value, (dict, Circle)) and value != "auto":
            raise problem(f"must be auto, or {{centre: [y, x], radius: r}} in voxels, got {shown(value)}")
        return value

    @field_validator("outside", mode="before")
    @classmethod
    def _outside(cls, value: Any) -> Any:
        if isinstance(value, str) and value.strip().lower() in ("nan", ".nan"):
            return float("nan")
        if isinstance(value, float) and value != value:
            return value
        return real(value)

    @field_validator("exclude", mode="before")
    @classmethod
    def _exclude(cls, value: Any) -> Any:
        return each(value, text, "names") if isinstance(value, (list, tuple)) else (text(value),)

    @model_validator(mode="after")
    def _one_shape(self) -> RegionOfScan:
        given = [name for name in ("cylinder", "mask", "outside") if getattr(self, name) is not None]
        if len(given) > 1:
            raise problem(f"has {' and '.join(given)}: give one of them")
        if self.box == "inscribed" and self.cylinder is None:
            raise problem("inscribed needs the cylinder: add `cylinder: auto`", "box")
        if self.box is None and not given and not self.exclude:
            raise problem("is empty: give box, cylinder, mask, outside or exclude, or delete it")
        return self

    @property
    def shaped(self) -> bool:
        """Whether voxels that are read are outside by their place: the region is no box."""
        return self.box != "inscribed" and any(v is not None for v in (self.cylinder, self.mask, self.outside))

    @property
    def labelled(self) -> bool:
        """Whether phase images have a label for what is outside."""
        return self.shaped or bool(self.exclude)


def region_values(region: RegionOfScan | None, folder: Path) -> dict[str, Any] | None:
    """Return a region as JSON values, with paths relative to a folder."""
    if region is None:
        return None
    values = region.model_dump(mode="json")
    if region.mask is not None:
        values["mask"] = said(region.mask, folder)
    if region.outside is not None and region.outside != region.outside:
        values["outside"] = "nan"
    return values
