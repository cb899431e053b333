"""Interfaces of a block: the cells on its faces where it touches neighbouring blocks and the ends of the volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgsflow.blocks import Triple


def face_cells(shape: Triple, axis: int, side: int, plane: np.ndarray) -> np.ndarray:
    """Return the cells (z, y, x) of a block's face that are marked in a plane, in C order, int32 of shape (n, 3)."""
    flat = np.argwhere(plane).astype(np.int32)
    fixed = np.full(len(flat), 0 if side < 0 else shape[axis] - 1, np.int32)
    return np.ascontiguousarray(np.insert(flat, axis, fixed, axis=1))


def ghost_cells(cells: np.ndarray, axis: int, side: int) -> np.ndarray:
    """Return the cells next to these on the other side of the face."""
    out = cells.copy()
    out[:, axis] += side
    return out


def read_plane(boxes: np.ndarray, shape: Triple, axis: int, side: int) -> np.ndarray:
    """Return the voxels of packed boxes that lie on a face of the block, bool."""
    plane_index = 0 if side < 0 else shape[axis] - 1
    plane = np.take(boxes, plane_index // 2, axis=axis)
    step = 4 >> axis  # distance in bits of two voxels along the axis
    others = [a for a in range(3) if a != axis]
    out = np.empty((2 * plane.shape[0], 2 * plane.shape[1]), np.bool_)
    for a in range(2):
        for b in range(2):
            bit = (plane_index & 1) * step + a * (4 >> others[0]) + b * (4 >> others[1])
            out[a::2, b::2] = plane >> bit & 1
    return out[: shape[others[0]], : shape[others[1]]]


@dataclass(frozen=True)
class Interface:
    """The links of a block with one neighbour, in C order of their cells.

    Attributes
    ----------
    axis, side : int
    start, stop : int
        Their range in the arrays of all interface cells of the block.
    """

    axis: int
    side: int
    start: int
    stop: int

    @property
    def face(self) -> tuple[int, int]:
        """Name of the face."""
        return self.axis, self.side

    @property
    def span(self) -> slice:
        """Range of the interface's cells."""
        return slice(self.start, self.stop)
