"""What a study takes for granted of its scans, and may be wrong about: told before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.compute import Source
from mgsflow.errors import InputError
from mgsflow.network.pores import cubic_edge
from mgsflow.recipe import SpecimenRecipe

_AXES = "zyx"
_SAMPLE = 6  # voxels along each edge of what is looked at
_INSIDE = 0.6  # of half an edge: places along the diagonals that lie within the circle (0.6 · √2 < 1)


def field_of_view(source: Source) -> str | None:
    """Return a warning if a scan looks like a cylinder in a constant: what a reconstruction leaves outside its circle.

    A few voxels are read: in the corners, which are then all of one value, within the circle and where it touches the
    borders, which are not. Of a shape too small to tell, or where a value is not finite, nothing is said.
    """
    for axis in range(3):
        value = _outside(source, axis)
        if value is not None:
            return (
                f"all corners along {_AXES[axis]} are {value:g}, as outside the circle of a reconstruction, and count "
                "as a phase: crop the scan to the square within the circle, or fractions, areas and transport are "
                "those of the box"
            )
    return None


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


def _outside(source: Source, axis: int) -> float | None:
    shape = source.shape
    across = [a for a in range(3) if a != axis]
    if any(shape[a] < 8 * _SAMPLE for a in across):
        return None
    at = shape[axis] // 2
    try:
        corners = [_sample(source, axis, at, place) for place in product((-1.0, 1.0), repeat=2)]
        value = corners[0].ravel()[0]
        if any((c != value).any() for c in corners):
            return None
        diagonal = [_sample(source, axis, at, place) for place in product((-_INSIDE, _INSIDE), repeat=2)]
        touching = [_sample(source, axis, at, place) for place in _TOUCHING]
    except InputError:  # not finite, or damaged: the run says so
        return None
    within = sum((d != value).any() for d in diagonal)
    borders = sum((t != value).any() for t in touching)
    return float(value) if within >= 3 and borders >= 3 else None


_TOUCHING = ((-0.97, 0.0), (0.97, 0.0), (0.0, -0.97), (0.0, 0.97))


def _sample(source: Source, axis: int, at: int, place: Sequence[float]) -> np.ndarray:
    """Read a few voxels at a place of the plane across an axis; −1 and 1 are its borders."""
    start, stop = [0, 0, 0], [0, 0, 0]
    start[axis], stop[axis] = at, at + 1
    for a, share in zip((a for a in range(3) if a != axis), place):
        length = source.shape[a] - _SAMPLE
        start[a] = round((share + 1) / 2 * length)
        stop[a] = start[a] + _SAMPLE
    return source.read(Box(_triple(start), _triple(stop)))


def _triple(values: list[int]) -> Triple:
    z, y, x = values
    return z, y, x


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
