"""The percolating pores of an image, padded for the solver, with the axis of the flow first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.compute import Source
from mgsflow.transport.diffusion.graph import find_percolating

_PLANES = 64
"""Planes read at a time."""


@dataclass(frozen=True, eq=False)
class FlowVolume:
    """Pores to solve in.

    Attributes
    ----------
    padded : ndarray of uint8, shape (length + 2 reservoirs + 3, …, …)
        1 in percolating pores, the flow along axis 0, with the margin that fields have (see `stokes.velocity.faces`).
    order : tuple of int
        Axes of the image, the first along the flow.
    edges : tuple of float
        Edges of a voxel in µm, in that order.
    sides : str
    reservoirs : int
        Open planes at either end.
    pores, percolating : int
        Voxels of the image that are pores, and those among them that lead from inlet to outlet.
    """

    padded: np.ndarray
    order: Triple
    edges: tuple[float, float, float]
    sides: str
    reservoirs: int
    pores: int
    percolating: int

    @property
    def image(self) -> np.ndarray:
        """The voxels of the image, a view, axis of the flow first."""
        return inner(self.padded, self.reservoirs)

    @property
    def size(self) -> int:
        """Voxels of the image."""
        return self.image.size

    @property
    def status(self) -> str:
        """Why there is nothing to solve, or an empty string."""
        return flow_status(self.pores, self.percolating, self.size, self.sides)


def flow_status(pores: int, percolating: int, size: int, sides: str) -> str:
    """Return why there is nothing to solve, or an empty string, from counts of voxels."""
    if not pores:
        return "no pores"
    if not percolating:
        return "not percolating"
    return "no walls" if sides != "no-slip" and percolating == size else ""


def flow_order(axis: str) -> Triple:
    """Return the axes of an image, that of the flow first."""
    first = "zyx".index(axis)
    others = [d for d in range(3) if d != first]
    return first, others[0], others[1]


def inner(padded: np.ndarray, reservoirs: int = 0) -> np.ndarray:
    """Return the voxels of a padded field that are of the image, a view."""
    return padded[1 + reservoirs : padded.shape[0] - 2 - reservoirs, 1:-1, 1:-1]


def read_volume(
    source: Source, axis: str, voxel_size: tuple[float, float, float], sides: str, reservoirs: int
) -> FlowVolume:
    """Return the flow volume of a source of booleans that are true in pores."""
    order = flow_order(axis)
    nz, ny, nx = source.shape
    shape = [source.shape[d] for d in order]
    padded = np.zeros((shape[0] + 2 * reservoirs + 3, shape[1] + 2, shape[2] + 2), np.uint8)
    image = inner(padded, reservoirs).transpose(np.argsort(order))
    for start in range(0, nz, _PLANES):
        box = Box((start, 0, 0), (min(nz, start + _PLANES), ny, nx))
        image[box.slices] = source.read(box)
    edges = (voxel_size[order[0]], voxel_size[order[1]], voxel_size[order[2]])
    return _finish(padded, order, edges, sides, reservoirs)


def coarsen(volume: FlowVolume, image: np.ndarray, factor: int) -> FlowVolume | None:
    """Return the volume in voxels `factor` times as large, pores where most of them are, or None if too few.

    Parameters
    ----------
    volume : FlowVolume
    image : ndarray of bool
        All pores of the image, axis first.
    factor : int
    """
    shape = [n // factor for n in image.shape]
    if min(shape) < 1:
        return None
    z, y, x = (n * factor for n in shape)
    cut = image[:z, :y, :x].reshape(shape[0], factor, shape[1], factor, shape[2], factor)
    count = cut.sum(axis=(1, 3, 5), dtype=np.int32)
    # of eight voxels, four are half: the first of them decides, without preference
    tie = 2 * count == factor**3
    reservoirs = -(-volume.reservoirs // factor)
    padded = np.zeros((shape[0] + 2 * reservoirs + 3, shape[1] + 2, shape[2] + 2), np.uint8)
    inner(padded, reservoirs)[:] = np.where(tie, cut[:, 0, :, 0, :, 0], 2 * count > factor**3)
    h = volume.edges
    edges = (h[0] * factor, h[1] * factor, h[2] * factor)
    return _finish(padded, volume.order, edges, volume.sides, reservoirs)


def _finish(
    padded: np.ndarray, order: Triple, edges: tuple[float, float, float], sides: str, reservoirs: int
) -> FlowVolume:
    pores = int(np.count_nonzero(inner(padded, reservoirs)))
    if reservoirs:
        padded[1 : 1 + reservoirs, 1:-1, 1:-1] = 1
        padded[-2 - reservoirs : -2, 1:-1, 1:-1] = 1
    within = inner(padded)
    within[~find_percolating(within != 0, 0, sides == "periodic").kept] = 0
    percolating = int(np.count_nonzero(inner(padded, reservoirs)))
    return FlowVolume(padded, order, edges, sides, reservoirs, pores, percolating)
