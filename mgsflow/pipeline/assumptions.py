"""What a study takes for granted of its scans, and may be wrong about: told before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator

from mgsflow.compute import Source
from mgsflow.errors import InputError
from mgsflow.network.pores import cubic_edge
from mgsflow.recipe import SpecimenRecipe
from mgsflow.regions import Cylinder, Region, find_cylinder_axis


def field_of_view(source: Source) -> str | None:
    """Return a warning if a scan looks like a cylinder in a constant, which is outside a reconstruction's circle."""
    found = find_cylinder_axis(source)
    if found is None:
        return None
    axis, value = found
    return (
        f"all corners along {axis} are {value:g}, as outside the circle of a reconstruction, and count as a phase: add "
        "`region: {cylinder: auto}` to the study, or `region: {cylinder: auto, box: inscribed}`, or fractions, areas "
        "and transport are those of the box"
    )


def check_cubes(recipe: SpecimenRecipe, voxel_size: tuple[float, float, float], where: str) -> list[str]:
    """Return warnings of analyses that take voxels for cubes where they are not.

    Raises
    ------
    InputError
        If a pore network is asked for, which there is only of cubes.
    """
    try:
        cubic_edge(voxel_size)
    except InputError as error:
        if recipe.network is not None:
            raise InputError(f"{where}.network: {error}") from None
        if recipe.particles is not None:
            edges = " × ".join(f"{v:g}" for v in voxel_size)
            return [
                f"particles are separated by distances in voxels, which are no cubes here ({edges} µm): whether two "
                "that touch are separated depends on the direction; resample the scans to cubes"
            ]
    return []


def across(recipe: SpecimenRecipe, region: Region | None, scan: str) -> Iterator[str]:
    """Yield a warning of transport across the axis of a cylinder, which has no number."""
    if not isinstance(region, Cylinder):
        return
    for section in ("tortuosity", "permeability"):
        asked = getattr(recipe, section)
        axes = [] if asked is None else [axis for axis in asked.axes if axis != region.axis]
        if axes:
            yield (
                f"{scan}: there is no {section} along {' and '.join(axes)} within a cylinder along {region.axis}, "
                f"whose area changes there: ask for `axes: {region.axis}`, or add `box: inscribed` to the region"
            )


def warnings_of(
    recipe: SpecimenRecipe, sources: dict[str, Source], voxel_size: tuple[float, float, float], where: str
) -> Iterator[str]:
    """Yield what may be wrong about a specimen's scans.

    Raises
    ------
    InputError
        If an analysis cannot be made of them.
    """
    yield from check_cubes(recipe, voxel_size, where)
    if recipe.segment is not None:
        for name, source in sources.items():
            if (text := field_of_view(source)) is not None:
                yield f"{name}: {text}"
