"""What a block of a tightly coupled solve is to the engine that runs it, and who its neighbours are.

A subdomain is plain numpy and numba code that knows nothing of other processes. The engine calls one method on every
block, hands it the faces that its neighbours published before, and takes a small result back: a *superstep*.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, TypeAlias

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.compute.supersteps.block_store import BlockArrays

#: Name of one face of a block: where it lies, as its own block sees it.
Face: TypeAlias = Hashable
#: Faces that a block publishes, or those that it was handed, by its own names.
Faces: TypeAlias = Mapping[Face, Any]


class Subdomain(Protocol):
    """One block's part of a solve.

    Methods that a superstep calls take the faces of the neighbours first, if the step pulls some, then the step's
    arguments; they return a result that pickles small or, if the step publishes, a pair of a result and `Faces`.
    Faces must not be changed after they were published, nor those that were handed in.

    Large arrays live in the `BlockArrays` that the factory was given and are looked up anew in each call: a reference
    kept beyond it would hold the memory, and changes to it could be lost.
    """

    def save(self) -> Mapping[str, np.ndarray]:
        """Return what a checkpoint must hold to go on from here."""
        ...

    def load(self, saved: Mapping[str, np.ndarray]) -> None:
        """Take up what `save` returned, in a block that was just made."""
        ...


class Factory(Protocol):
    """Makes the block at a position, reading its voxels where they are. Cheap to pickle."""

    def __call__(self, index: Triple, arrays: BlockArrays) -> Subdomain:
        """Return the block, its large arrays in `arrays`."""
        ...


class Topology(Protocol):
    """Which blocks there are, and whose faces each of them needs. Cheap to pickle."""

    @property
    def blocks(self) -> tuple[Triple, ...]:
        """All positions, in C order."""
        ...

    def links(self, index: Triple) -> Mapping[Face, tuple[Triple, Face]]:
        """Return, by the block's own names, the neighbour and its face that lie there."""
        ...


@dataclass(frozen=True)
class FaceNeighbours:
    """Blocks of a box-shaped grid, each linked to those it shares a face with.

    A face is ``(axis, side)``, side -1 or 1. What a block publishes as ``(0, 1)`` is handed to the block beyond as
    ``(0, -1)``.

    Parameters
    ----------
    counts : tuple of int
        Blocks along each axis.
    periodic : tuple of bool
        Axes along which the last block touches the first.
    """

    counts: Triple
    periodic: tuple[bool, bool, bool] = (False, False, False)

    @property
    def blocks(self) -> tuple[Triple, ...]:
        """All positions, in C order."""
        return tuple(product(*(range(n) for n in self.counts)))  # type: ignore[arg-type]

    def links(self, index: Triple) -> dict[Face, tuple[Triple, Face]]:
        """Return the neighbour and its face across each face of a block that has one."""
        found: dict[Face, tuple[Triple, Face]] = {}
        for axis, side in product(range(3), (-1, 1)):
            position = list(index)
            position[axis] += side
            if self.periodic[axis]:
                position[axis] %= self.counts[axis]
            if 0 <= position[axis] < self.counts[axis]:
                z, y, x = position
                found[axis, side] = (z, y, x), (axis, -side)
        return found
