"""Where a slab of a Stokes solve lies: its own planes across the flow, and the few of its neighbours that it holds.

Sweeps on the two finest levels work plane by plane and do not depend on the order, so that a slab which holds three
planes of each neighbour computes, to the bit, what a solve in one piece does. Slabs begin at a multiple of four voxels:
boxes of two planes, and boxes of two of these, belong to one slab.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.errors import InputError

HALO = 3
"""Planes of each neighbour that a slab holds."""

UNIT = 4
"""Planes of voxels that stay together."""

THINNEST = 8
"""Fewest planes of a slab: the halo, boxes too, must belong to the next slab alone."""

LOWER, UPPER = (0, -1), (0, 1)
"""Names of a slab's two faces, see `mgsflow.compute.supersteps.subdomain.FaceNeighbours`."""


@dataclass(frozen=True)
class Slab:
    """Planes of a field that a slab holds, counted from the first of them; see `stokes.velocity.faces`.

    The field may be one of boxes: see `of_boxes`.

    Attributes
    ----------
    offset : int
        Plane of the whole field that is the first; even.
    planes : int
        Held in all: the last carries nothing.
    start, stop : int
        Its own planes of voxels, or of boxes.
    last : bool
        Whether it ends at the outlet.
    outlet : int
        1 for a field of voxels, where a last plane of faces follows; 0 for one of boxes.
    shift : tuple of int
        By axis: 1 where boxes are two planes long, 0 where one.
    """

    offset: int
    planes: int
    start: int
    stop: int
    last: bool
    outlet: int
    shift: Triple

    @property
    def first(self) -> bool:
        """Whether it begins at the inlet."""
        return self.offset == 0

    @property
    def end(self) -> int:
        """One past its own planes of faces."""
        return self.stop + (self.outlet if self.last else 0)

    @property
    def around(self) -> tuple[int, int]:
        """Planes of faces on which sweeps need a right-hand side: its own, and two beyond."""
        return max(1, self.start - 2), self.end if self.last else self.stop + 2

    @property
    def around_voxels(self) -> tuple[int, int]:
        """Planes of voxels of these."""
        return max(1, self.start - 2), self.stop if self.last else self.stop + 2

    @property
    def box_offset(self) -> int:
        """Plane of boxes of the whole that is the first here."""
        return self.offset >> self.shift[0]

    @property
    def boxes(self) -> tuple[int, int]:
        """Its own planes of boxes of faces."""
        return self.box(self.start), self.box(self.end - 1) + 1

    @property
    def voxel_boxes(self) -> tuple[int, int]:
        """Its own planes of boxes of voxels."""
        return self.box(self.start), self.box(self.stop - 1) + 1

    @property
    def box_planes(self) -> int:
        """Planes of boxes that arrays have here."""
        return self.box(self.planes - 1) + 2

    def of_boxes(self, shape: Triple, shift: Triple) -> Slab:
        """Return where the same slab's boxes of faces lie in a field of boxes.

        Parameters
        ----------
        shape : tuple of int
            Of the whole field of boxes.
        shift : tuple of int
            How these double again.
        """
        a, b = (self.box_offset + p for p in self.boxes)
        offset = 0 if self.first else a - HALO
        planes = shape[0] - offset if self.last else b - offset + HALO + 1
        return Slab(offset, planes, a - offset, b - offset, self.last, 0, shift)

    def box(self, plane: int) -> int:
        """Return the plane of boxes that a plane is in."""
        return (plane + self.shift[0]) >> self.shift[0]

    def cut(self, field: np.ndarray) -> dict[Any, np.ndarray]:
        """Return copies of the planes that the neighbours hold; planes are the third axis from the end."""
        faces = {}
        if not self.first:
            faces[LOWER] = field[..., self.start : self.start + HALO, :, :].copy()
        if not self.last:
            faces[UPPER] = field[..., self.stop - HALO : self.stop, :, :].copy()
        return faces

    def put(self, faces: Mapping[Any, Any], field: np.ndarray) -> None:
        """Write the neighbours' planes into a field."""
        if LOWER in faces:
            field[..., self.start - HALO : self.start, :, :] = faces[LOWER]
        if UPPER in faces:
            field[..., self.stop : self.stop + HALO, :, :] = faces[UPPER]


def cut_slabs(thickness: Sequence[int], shift: Triple) -> list[Slab]:
    """Return the slabs of the given planes of voxels, in order along the flow.

    Raises
    ------
    InputError
        If a slab is too thin, or would cut a box.
    """
    length = sum(thickness)
    if len(thickness) > 1 and (min(thickness) < THINNEST or any(n % UNIT for n in thickness[:-1])):
        raise InputError(
            f"slabs must have {THINNEST} planes or more, a multiple of {UNIT} in all but the last, got "
            f"{list(thickness)}"
        )
    slabs = []
    begin = 0
    for n in thickness:
        last = begin + n == length
        offset = begin + 1 - HALO if begin else 0
        start = begin + 1 - offset
        planes = length + 3 - offset if last else start + n + HALO + 1
        slabs.append(Slab(offset, planes, start, start + n, last, 1, shift))
        begin += n
    return slabs


def even_slabs(length: int, planes: int) -> list[int]:
    """Return slabs of about so many planes each: a multiple of four, none too thin."""
    planes = max(THINNEST, planes - planes % UNIT)
    count, rest = divmod(length, planes)
    if count and rest < THINNEST:
        return [planes] * (count - 1) + [planes + rest]
    return [planes] * count + ([rest] if rest else [])
