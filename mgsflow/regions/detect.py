"""Finding the cylinder of a reconstruction: what lies outside the circle of the scanner's rotation is one constant."""

from __future__ import annotations

from itertools import product
from math import floor, sqrt

import numpy as np

from mgsflow.blocks import Box, Triple, triple
from mgsflow.compute import Source
from mgsflow.errors import InputError
from mgsflow.readers.voxels import nonfinite_allowed
from mgsflow.regions.shapes import AXES, Cylinder

_SAMPLE = 6  # voxels along each edge of what is looked at
_INSIDE = 0.6  # of half an edge: places along the diagonals that lie within the circle (0.6 · √2 < 1)
_TOUCHING = ((-0.97, 0.0), (0.97, 0.0), (0.0, -0.97), (0.0, 0.97))
_SLICES = (0.05, 0.5, 0.95)  # of the length along the axis: where the circle is looked for
_LEAST = 0.25  # of the shorter edge: a smaller radius is no field of view


def find_cylinder_axis(source: Source) -> tuple[str, float] | None:
    """Return the axis along which a scan looks like a cylinder in a constant, and the constant; None if it does not.

    A few voxels are read: in the corners, which are then all of one value (or NaN), within the circle and where it
    touches the borders, which are not. Of a shape too small to tell nothing is said.
    """
    for axis in range(3):
        value = _outside(source, axis)
        if value is not None:
            return AXES[axis], value
    return None


def find_cylinder(source: Source) -> Cylinder:
    """Return the largest cylinder of a reconstruction in which no voxel has the value of its outside.

    Three slices across the axis are read. In each, the outside is what has the constant of the corners and is connected
    to them; the centre is that of what is left. The radius ends half a voxel before the nearest voxel outside, of any
    of the slices, and one more is left out, which the edge of the circle cuts.

    Raises
    ------
    InputError
        If the scan does not look like a cylinder in a constant.
    """
    found = find_cylinder_axis(source)
    if found is None:
        raise InputError(
            "no cylinder was found: the corners are not of one constant value; give its centre and radius, as "
            "{centre: [500, 500], radius: 480}, or delete `cylinder`"
        )
    letter, value = found
    axis = AXES.index(letter)
    planes = [_plane(source, axis, share) for share in _SLICES]
    outside = [_connected_to_corners(_equal(plane, value)) for plane in planes]
    kept = ~np.logical_or.reduce(outside)
    if not kept.any():
        raise InputError(f"no cylinder was found: slices across {letter} hold nothing but {value:g}")
    centre = tuple((np.flatnonzero(kept.any(axis=1 - i))[[0, -1]].sum()) / 2 for i in range(2))
    u, v = (np.arange(n) - c for n, c in zip(kept.shape, centre))
    squares = u[:, None] ** 2 + v**2
    radius = sqrt(squares[~kept].min()) - 1.5 if not kept.all() else min(kept.shape) / 2
    if radius < _LEAST * min(kept.shape):
        raise InputError(
            f"no cylinder was found: what is {value:g} around the middle of the slices across {letter} reaches within "
            f"{max(radius, 0):.3g} voxels of the centre; give centre and radius, or a mask"
        )
    # half voxels: what is recorded is short, and the same for slices that differ in nothing
    return Cylinder((float(centre[0]), float(centre[1])), floor(2 * radius) / 2, letter)


def inscribed_box(cylinder: Cylinder, shape: Triple) -> Box:
    """Return the largest box with a square across the axis that lies within a cylinder, and within a scan.

    Raises
    ------
    InputError
        If it is empty.
    """
    half = cylinder.radius / sqrt(2)
    start, stop = [0, 0, 0], list(shape)
    for i, middle in zip(cylinder.across, cylinder.centre):
        start[i] = max(0, int(np.ceil(middle - half)))
        stop[i] = min(shape[i], int(np.floor(middle + half)) + 1)
    box = Box(triple(start), triple(stop))
    if not box.size:
        raise InputError(f"the cylinder of radius {cylinder.radius:g} voxels holds no box within the scan")
    return box


def _outside(source: Source, axis: int) -> float | None:
    shape = source.shape
    across = [a for a in range(3) if a != axis]
    if any(shape[a] < 8 * _SAMPLE for a in across):
        return None
    at = shape[axis] // 2
    try:
        with nonfinite_allowed():
            corners = [_sample(source, axis, at, place) for place in product((-1.0, 1.0), repeat=2)]
            value = float(corners[0].ravel()[0])
            if any(not _equal(c, value).all() for c in corners):
                return None
            diagonal = [_sample(source, axis, at, place) for place in product((-_INSIDE, _INSIDE), repeat=2)]
            touching = [_sample(source, axis, at, place) for place in _TOUCHING]
    except InputError:  # damaged: the run says so
        return None
    within = sum(not _equal(d, value).all() for d in diagonal)
    borders = sum(not _equal(t, value).all() for t in touching)
    return value if within >= 3 and borders >= 3 else None


def _equal(values: np.ndarray, value: float) -> np.ndarray:
    found: np.ndarray = np.isnan(values) if np.isnan(value) else values == value
    return found


def _connected_to_corners(equal: np.ndarray) -> np.ndarray:
    from scipy.ndimage import label  # not needed by workers

    labels, _ = label(equal)
    corners = {int(labels[i, j]) for i in (0, -1) for j in (0, -1)} - {0}
    return np.isin(labels, list(corners))


def _plane(source: Source, axis: int, share: float) -> np.ndarray:
    start, stop = [0, 0, 0], list(source.shape)
    start[axis] = min(round(share * source.shape[axis]), source.shape[axis] - 1)
    stop[axis] = start[axis] + 1
    with nonfinite_allowed():
        return source.read(Box(triple(start), triple(stop))).squeeze(axis)


def _sample(source: Source, axis: int, at: int, place: tuple[float, ...]) -> np.ndarray:
    """Read a few voxels at a place of the plane across an axis; −1 and 1 are its borders."""
    start, stop = [0, 0, 0], [0, 0, 0]
    start[axis], stop[axis] = at, at + 1
    for a, share in zip((a for a in range(3) if a != axis), place):
        length = source.shape[a] - _SAMPLE
        start[a] = round((share + 1) / 2 * length)
        stop[a] = start[a] + _SAMPLE
    return source.read(Box(triple(start), triple(stop)))
