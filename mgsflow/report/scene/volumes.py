"""Volumes small enough to be drawn in three dimensions, read piece by piece from arrays of any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgsflow.blocks import Box
from mgsflow.report.figures.pictures import particle_indices
from mgsflow.report.state import ScanState, SpecimenState

#: Longest edge that is drawn, and of the cube about the middle that is read where there is no coarse level, in voxels.
DRAWN, READ = 256, 512


@dataclass(frozen=True, eq=False)
class DrawnField:
    """Numbers that are drawn; attributes as of `Drawn`."""

    values: np.ndarray
    lengths: tuple[float, float, float]
    reduction: int
    whole: bool

    @property
    def said(self) -> str:
        """What is drawn, where that is not every voxel of the scan."""
        return _said(self.whole, self.reduction)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Labels that are drawn.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    lengths : (float, float, float)
        Of the volume along (z, y, x) in µm.
    start : (float, float, float)
        Where it begins, in µm.
    reduction : int
        Voxels along an axis for each that is drawn.
    whole : bool
        Whether it is the whole scan.
    """

    labels: np.ndarray
    lengths: tuple[float, float, float]
    start: tuple[float, float, float]
    reduction: int
    whole: bool

    @property
    def said(self) -> str:
        """What is drawn, where that is not every voxel of the scan."""
        return _said(self.whole, self.reduction)


def phase_volume(state: SpecimenState, scan: ScanState) -> Drawn | None:
    """Return a scan's phases: its finest coarse level that fits, or the middle, thinned out; None if not finished."""
    if not (state.segmented and scan.complete("segment")):
        return None
    level, longest = 0, max(scan.scan.shape)
    while longest > READ // 2 and scan.complete(f"phase_{level + 1}"):
        if f"scale{level + 1}/phase" not in state.specimen.group:
            break
        level, longest = level + 1, -(-longest // 2)
    return _read(state, scan, "phase", level)


def particle_volume(state: SpecimenState, scan: ScanState) -> Drawn | None:
    """Return the number of each particle's colour, plus 1; 0 where there is none. None if they are not finished."""
    if not (scan.complete("particle") and "scale0/particle" in state.specimen.group):
        return None
    return _read(state, scan, "particle", 0)


def field_volume(state: SpecimenState, scan: ScanState, array: str) -> DrawnField:
    """Return a field of the solves, thinned out as particles are."""
    values, lengths, _, step, whole = _thinned(state, scan, array, 0)
    return DrawnField(values.astype(np.float32), lengths, step, whole)


def _read(state: SpecimenState, scan: ScanState, array: str, level: int) -> Drawn:
    return Drawn(*_thinned(state, scan, array, level))


def _thinned(
    state: SpecimenState, scan: ScanState, array: str, level: int
) -> tuple[np.ndarray, tuple[float, float, float], tuple[float, float, float], int, bool]:
    region = state.specimen.volume(array, scan.scan.name, level=level)
    edges = [v * 2**level for v in state.specimen.voxel_size]
    length = [min(n, READ) for n in region.shape]
    start = [(n - m) // 2 for n, m in zip(region.shape, length)]
    step = max(1, -(-max(length) // DRAWN))
    slab = max(step, 32 // step * step)  # little memory: few planes at a time
    pieces = []
    for first in range(0, length[0], slab):
        low = (start[0] + first, start[1], start[2])
        high = (start[0] + min(first + slab, length[0]), start[1] + length[1], start[2] + length[2])
        voxels = region.read(Box(low, high))[::step, ::step, ::step]
        pieces.append(_coloured(voxels) if array == "particle" else voxels)
    labels = np.concatenate(pieces)
    z, y, x = (n * step * e for n, e in zip(labels.shape, edges))
    where = (start[0] * edges[0], start[1] * edges[1], start[2] * edges[2])
    return labels, (z, y, x), where, step * 2**level, list(region.shape) == length


def _said(whole: bool, reduction: int) -> str:
    parts = [] if whole else ["the middle of the scan"]
    if reduction > 1:
        parts.append(f"1 voxel in {reduction}³")
    return ", ".join(parts)


def _coloured(ids: np.ndarray) -> np.ndarray:
    return np.where(ids == 0, 0, particle_indices(ids) + 1).astype(np.uint8)
