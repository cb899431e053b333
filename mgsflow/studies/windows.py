"""Windows of a scan: where cubes of a few sizes lie, of which a study asks what they say of the whole.

*Nested* cubes lie about the centre of the scan, each inside the next, one of a size. *Random* ones lie anywhere within
the scan, and may overlap. *Tiled* ones lie side by side on a grid about the centre; where there are more than are
asked for, some are drawn. What is drawn follows from the seed and the size alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Triple, triple
from mgsflow.compute import Source
from mgsflow.errors import InputError

PLACEMENTS = ("nested", "random", "tiled")


def place_windows(
    shape: Triple, sizes: Sequence[int], placement: str = "nested", count: int = 8, seed: int = 0
) -> dict[int, tuple[Box, ...]]:
    """Return the windows of each size, none where the scan is too small for it.

    Parameters
    ----------
    shape : tuple of int
        Shape of the scan in voxels.
    sizes : sequence of int
        Edges of the cubes in voxels, rising.
    placement : {"nested", "random", "tiled"}
    count : int
        Most windows of a size, where they are random or tiled. No two are the same.
    seed : int
        Of what is drawn.

    Raises
    ------
    InputError
        If the sizes do not rise from at least 2 voxels, there is no such placement, or a number is out of range.
    """
    edges = [int(s) for s in sizes]
    if not edges or edges[0] < 2 or any(a >= b for a, b in pairwise(edges)):
        raise InputError(f"sizes must be rising edges of cubes, of 2 voxels or more, as [60, 80, 120], got {edges}")
    if placement not in PLACEMENTS:
        raise InputError(f"placement must be one of {', '.join(PLACEMENTS)}, got {placement!r}")
    if count < 1 or seed < 0:
        raise InputError(f"windows must be 1 or more and seed 0 or more, got {count} and {seed}")
    found: dict[int, tuple[Box, ...]] = {}
    for edge in edges:
        if edge > min(shape):
            found[edge] = ()
        elif placement == "nested":
            found[edge] = (_cube(triple([(n - edge) // 2 for n in shape]), edge),)
        else:
            draw = np.random.default_rng([seed, edge])
            starts = _anywhere(shape, edge, count, draw) if placement == "random" else _tiles(shape, edge, count, draw)
            found[edge] = tuple(sorted(_cube(s, edge) for s in starts))
    return found


@dataclass(frozen=True)
class Cropped:
    """A window of a source, as a source of its own: its first voxel is the origin."""

    source: Source
    box: Box

    @property
    def shape(self) -> Triple:
        """Lengths along (z, y, x)."""
        return self.box.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return self.source.dtype

    def scratch(self, shape: Triple) -> int:
        """Return the bytes held beside the result while a box is read."""
        return self.source.scratch(shape)

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box of the window."""
        return self.source.read(box.shift(self.box.start))


def _cube(start: Triple, edge: int) -> Box:
    z, y, x = start
    return Box(start, (z + edge, y + edge, x + edge))


def _anywhere(shape: Triple, edge: int, count: int, draw: np.random.Generator) -> set[Triple]:
    free = triple([n - edge + 1 for n in shape])
    count = min(count, prod(free))
    found: set[Triple] = set()
    while len(found) < count:
        if prod(free) < 4 * count:  # too few places to draw until they differ
            order = draw.permutation(prod(free))[:count]
            return {triple([int(k) for k in np.unravel_index(i, free)]) for i in order}
        found.add(triple([int(draw.integers(n)) for n in free]))
    return found


def _tiles(shape: Triple, edge: int, count: int, draw: np.random.Generator) -> set[Triple]:
    fit = triple([n // edge for n in shape])
    first = [(n - k * edge) // 2 for n, k in zip(shape, fit)]
    order = draw.permutation(prod(fit))[:count]
    places = (np.unravel_index(i, fit) for i in order)
    return {triple([int(a + edge * k) for a, k in zip(first, at)]) for at in places}
