"""Three orthogonal planes through the middle of a scan, read at a level of the pyramid that fits a screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import floor, log10

import numpy as np
import zarr

from mgsflow.blocks import Box
from mgsflow.report.state import ScanState, SpecimenState
from mgsflow.store import Region

#: Longest edge of a plane that is read, in pixels.
LONGEST = 1024
_STRIP = 256
#: Axes of each plane's rows and columns, by the axis it stands on.
PLANES = {"z": ("y", "x"), "y": ("z", "x"), "x": ("z", "y")}


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane of one scan.

    Parameters
    ----------
    array : str
        ``image``, ``filtered``, ``phase`` or ``particle``.
    axis : str
        Axis that the plane stands on.
    position : float
        Where on that axis, in µm.
    reduction : int
        Voxels along an axis for each pixel; 1 at full resolution.
    size : tuple of float
        Lengths of the rows' and the columns' axis in µm: height and width.
    pixels : ndarray, shape (rows, columns)
    missing : ndarray of bool or None
        Pixels of blocks that are not finished.
    """

    array: str
    axis: str
    position: float
    reduction: int
    size: tuple[float, float]
    pixels: np.ndarray
    missing: np.ndarray | None = None


@dataclass(frozen=True)
class ScaleBar:
    """A bar of a round length.

    Parameters
    ----------
    length : float
        In µm.
    share : float
        Of the width of the picture.
    """

    length: float
    share: float

    @property
    def label(self) -> str:
        """Length with its unit."""
        if self.length >= 1000:
            return f"{self.length / 1000:g} mm"
        return f"{self.length:g} µm" if self.length >= 1 else f"{1000 * self.length:g} nm"


def scale_bar(width: float) -> ScaleBar:
    """Return the longest bar of 1, 2 or 5 times a power of ten µm that is at most 0.3 of a width in µm."""
    most = 0.3 * width * (1 + 1e-12)
    power = 10.0 ** floor(log10(most))
    digit = next(d for d in (5, 2, 1) if d * power <= most)
    length = float(f"{digit * power:.3g}")
    return ScaleBar(length, length / width)


def grey_planes(state: SpecimenState, scan: ScanState) -> list[Plane]:
    """Return the planes of the filtered image, or of the files' image where that is not there; none if neither is.

    A filtered image has no coarse levels: of large scans the files' image is shown.
    """
    if state.filtered:
        found = _planes(state, scan, "filtered", "segment" if _fixed(state) else "filter", exact=True)
        if found:
            return found
    return _planes(state, scan, "image", "ingest")


def phase_planes(state: SpecimenState, scan: ScanState) -> list[Plane]:
    """Return the planes of the phases; none if there are none."""
    return _planes(state, scan, "phase", "segment") if state.segmented else []


def particle_planes(state: SpecimenState, scan: ScanState) -> list[Plane]:
    """Return the plane on z of the particles' ids, alone in its list; none if they are not finished.

    Ids have no coarse levels: of large scans the voxels shown are thinned out.
    """
    if not (state.segmented and scan.complete("particle") and "scale0/particle" in state.specimen.group):
        return []
    return _planes(state, scan, "particle", "particle", axes="z")


def _planes(
    state: SpecimenState, scan: ScanState, array: str, step: str, exact: bool = False, axes: str = "zyx"
) -> list[Plane]:
    """Return the planes of an array at its finest level that fits `LONGEST`.

    Where no such level is finished, they are thinned out from the coarsest that is begun; with `exact`, none are made.
    """
    if not scan.begun(step) or (exact and not scan.complete(step)):
        return []
    level, fits = _level(state, scan, array, step)
    if exact and not fits:
        return []
    region = state.specimen.volume(array, scan.scan.name, level=level)
    flags = None
    name = step if level == 0 else f"{array}_{level}"
    if not scan.complete(name):
        flags = np.asarray(state.specimen.blocks[f"done_{name}"][region.scan]).astype(bool)  # type: ignore[index]
        region = replace(region, unfinished=True)
    return list(_read(state, scan, array, region, level, flags, axes))


def _level(state: SpecimenState, scan: ScanState, array: str, step: str) -> tuple[int, bool]:
    level, longest = 0, max(scan.scan.shape)
    while longest > LONGEST:
        finished = scan.complete(f"{array}_{level + 1}")
        if not finished or f"scale{level + 1}/{array}" not in state.specimen.group:
            return level, False
        level, longest = level + 1, -(-longest // 2)
    return level, True


def _read(
    state: SpecimenState,
    scan: ScanState,
    array: str,
    region: Region,
    level: int,
    flags: np.ndarray | None,
    axes: str,
) -> Iterator[Plane]:
    block = state.specimen.level_block(level)
    step = max(1, -(-max(region.shape) // LONGEST))
    edges = dict(zip("zyx", (v * 2**level for v in state.specimen.voxel_size)))
    for axis in axes:
        a = "zyx".index(axis)
        at = min((scan.scan.shape[a] // 2) >> level, region.shape[a] - 1)
        rows, columns = (i for i in range(3) if i != a)
        pixels = _plane(region, a, at, rows, step)
        missing = None
        if flags is not None:
            done = np.take(flags, at // block[a], axis=a)
            y, x = (np.arange(0, region.shape[i], step) // block[i] for i in (rows, columns))
            missing = ~done[np.ix_(y, x)]
            missing = missing if missing.any() else None
        # the last pixel of a thinned plane stands for `step` voxels too, or the picture would be stretched
        size = (
            pixels.shape[0] * step * edges[PLANES[axis][0]],
            pixels.shape[1] * step * edges[PLANES[axis][1]],
        )
        yield Plane(array, axis, (at + 0.5) * edges[axis], step * 2**level, size, pixels, missing)


def _plane(region: Region, axis: int, at: int, rows: int, step: int) -> np.ndarray:
    """Return every step-th row and column of a plane, read in strips: little memory, whatever its size."""
    strips = []
    height = max(_STRIP // step, 1) * step
    for first in range(0, region.shape[rows], height if step > 1 else region.shape[rows]):
        start, stop = [0, 0, 0], list(region.shape)
        start[axis], stop[axis] = at, at + 1
        start[rows] = first
        if step > 1:
            stop[rows] = min(first + height, region.shape[rows])
        box = Box(tuple(start), tuple(stop))  # type: ignore[arg-type]
        strips.append(region.read(box).squeeze(axis)[::step, ::step])
    return np.concatenate(strips)


def _fixed(state: SpecimenState) -> bool:
    # with fixed thresholds one pass filters and segments
    if state.recipe:
        return bool((state.recipe.get("segment") or {}).get("thresholds"))
    return not isinstance(state.specimen.group.get("blocks/done_filter"), zarr.Array)
