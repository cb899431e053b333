"""The conducting medium, read from an image of phases or of diffusivities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.compute import Source
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import source_of
from mgsflow.measures.surface.crofton import check_voxel_size
from mgsflow.solvers.huge_pages import zeros
from mgsflow.solvers.team import Team
from mgsflow.transport.diffusion.boxes import ONES, count_voxels, pack, plane_grain

_SLAB = 1 << 25  # voxels read at a time

#: Boundary conditions on the four sides along the flow.
SIDES = ("no-flux", "periodic")


@dataclass(frozen=True)
class Medium:
    """An image and the diffusivities of its voxels.

    Attributes
    ----------
    source : Source
        Labels, or diffusivities if it holds floating-point numbers.
    diffusivities : dict of int to float, or None
        Those above 0, by label.
    """

    source: Source
    diffusivities: dict[int, float] | None

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        return self.source.shape

    def single(self) -> float | None:
        """Return the diffusivity of the conducting voxels: 0 if none conducts, None if there are several."""
        if self.diffusivities is not None:
            values = set(self.diffusivities.values())
        else:
            values = set()
            for box in self._slabs():
                part = np.unique(self._checked(box))
                values |= {float(v) for v in part[part > 0][:3]}
                if len(values) > 1:
                    return None
        return (values.pop() if values else 0.0) if len(values) < 2 else None

    def packed(self, team: Team) -> np.ndarray:
        """Return the voxels that conduct, a byte for each box of 2×2×2."""
        boxes = zeros(tuple(-(-n // 2) for n in self.shape), np.uint8)
        table = np.zeros(256, np.uint8)
        table[1:] = 1
        for box in self._slabs():
            labels, conducts = self._mask(box, table)
            first, stop = box.start[0] // 2, -(-box.stop[0] // 2)
            team.run(pack, first, stop, labels, conducts, box.start[0], boxes, grain=plane_grain(boxes))
        return boxes

    def diffusivity(self) -> np.ndarray:
        """Return the diffusivity of every voxel, float64."""
        out = np.zeros(self.shape)
        for box in self._slabs():
            part = out[box.slices]
            if self.diffusivities is None:
                part[...] = self._checked(box)
                continue
            labels = self.source.read(box)
            for label, value in self.diffusivities.items():
                part[_equal(labels, label)] = value
        return out

    def _mask(self, box: Box, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a slab of bytes, and which bytes conduct."""
        if self.diffusivities is None:
            return (self._checked(box) > 0).view(np.uint8), table
        labels = self.source.read(box)
        if labels.dtype.itemsize == 1:
            bytes_ = labels.view(np.uint8)
            chosen = np.zeros(256, np.uint8)
            for label in self.diffusivities:
                if _fits(label, labels.dtype):
                    chosen[np.array(label).astype(labels.dtype).view(np.uint8)] = 1
            return bytes_, chosen
        inside = np.zeros(labels.shape, np.bool_)
        for label in self.diffusivities:
            inside |= _equal(labels, label)
        return inside.view(np.uint8), table

    def _checked(self, box: Box) -> np.ndarray:
        values = self.source.read(box)
        bad = ~(values >= 0) | ~np.isfinite(values)
        if bad.any():
            at = np.unravel_index(int(np.argmax(bad)), bad.shape)
            voxel = tuple(int(i) + s for i, s in zip(at, box.start))
            raise InputError(f"diffusivities must be finite and at least 0, got {values[at]} at voxel {voxel}")
        return values

    def _slabs(self) -> list[Box]:
        nz, ny, nx = self.shape
        if isinstance(getattr(self.source, "array", None), np.ndarray) and self.source.dtype.itemsize == 1:
            return [Box.of(self.shape)]
        thick = max(2, _SLAB // (ny * nx) // 2 * 2)
        return [Box((z, 0, 0), (min(nz, z + thick), ny, nx)) for z in range(0, nz, thick)]


def medium_of(phase: Any, conductivity: Mapping[int, float] | None) -> Medium:
    """Check an image and its diffusivities.

    Raises
    ------
    InputError
        If the image is not an array or of an unsuitable dtype; if diffusivities are given for an image that holds them,
        or are not finite numbers from 0 up by integer label.
    """
    source: Source = phase if hasattr(phase, "read") and hasattr(phase, "scratch") else source_of(phase, "phase image")
    kind = source.dtype.kind
    if kind == "f":
        if conductivity is not None:
            raise InputError(
                f"an image of {source.dtype} holds the diffusivity of each voxel: leave out conductivity,"
                " or give labels as whole numbers"
            )
        return Medium(source, None)
    if kind not in "biu":
        raise InputError(f"a phase image holds whole numbers, or the diffusivity of each voxel, got {source.dtype}")
    if conductivity is None:
        conductivity = {1: 1.0}
    if not isinstance(conductivity, Mapping) or not conductivity:
        raise InputError(f"conductivity must say which labels conduct, as {{1: 1.0}}, got {conductivity!r}")
    found = {}
    for label, value in conductivity.items():
        if not isinstance(label, int | np.integer):
            raise InputError(f"labels in conductivity must be whole numbers, got {label!r}")
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise InputError(f"the conductivity of label {label} must be a number, got {value!r}")
        if not (isfinite(value) and value >= 0):
            raise InputError(f"the conductivity of label {label} must be finite and at least 0, got {value}")
        if value > 0:
            found[int(label)] = float(value)
    return Medium(source, found)


def check_axis(axis: str | int) -> int:
    """Return the number of an axis from its name.

    Raises
    ------
    InputError
    """
    if isinstance(axis, str) and axis in ("z", "y", "x"):
        return "zyx".index(axis)
    if isinstance(axis, int | np.integer) and not isinstance(axis, bool) and 0 <= axis < 3:
        return int(axis)
    raise InputError(f"axis must be 'z', 'y' or 'x', got {axis!r}")


def check_edges(voxel_size: float | Sequence[float]) -> tuple[float, float, float]:
    """Return the edges of a voxel along (z, y, x).

    Raises
    ------
    InputError
    """
    if isinstance(voxel_size, int | float | np.number):
        edges = (float(voxel_size),) * 3
    else:
        edges = tuple(float(h) for h in voxel_size)  # type: ignore[assignment]
    check_voxel_size(edges)
    return edges


def face_conductances(edges: tuple[float, float, float], axis: int) -> tuple[float, float, float]:
    """Return the conductance of a face between two voxels along each axis, over that along `axis`."""
    z, y, x = ((edges[axis] / h) ** 2 for h in edges)
    return z, y, x


def check_sides(sides: str) -> None:
    """Check the boundary condition on the four sides along the flow.

    Raises
    ------
    InputError
        If it is none of `SIDES`.
    """
    if sides not in SIDES:
        raise InputError(f"sides must be one of {', '.join(SIDES)}, got {sides!r}")


def check_rtol(rtol: float, least: str) -> None:
    """Check a tolerance.

    Parameters
    ----------
    rtol : float
    least : str
        Smallest tolerance, as the message quotes it.


    Raises
    ------
    InputError
        If it is not a number from `least` to below 1.
    """
    if not (isinstance(rtol, int | float) and isfinite(rtol) and float(least) <= rtol < 1):
        raise InputError(f"rtol must be a number from {least} to below 1, got {rtol!r}")


def packed_voxels(boxes: np.ndarray, team: Team) -> int:
    """Return the number of voxels in packed boxes."""
    counts = np.zeros(len(boxes), np.int64)
    team.run(count_voxels, 0, len(boxes), boxes, ONES, counts, grain=plane_grain(boxes))
    return int(counts.sum())


def _fits(label: int, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "b":
        return label in (0, 1)
    return int(np.iinfo(dtype).min) <= label <= int(np.iinfo(dtype).max)


def _equal(labels: np.ndarray, label: int) -> np.ndarray:
    """Compare labels with one that their dtype may not be able to represent."""
    if not _fits(label, labels.dtype):
        return np.zeros(labels.shape, np.bool_)
    return labels == np.array(label).astype(labels.dtype)
