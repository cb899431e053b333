"""What an image operation and an additive measure say about themselves, and how a chain runs on one block.

A kernel is a frozen dataclass: its fields are the parameters that a study file gives, so that its ``repr`` identifies
the operation in the ledger. It works on an array and knows nothing of chunks: near an edge of the array it does what
it does at the border of a volume. The engine hands it a block with a halo, so that only edges that *are* borders of
the volume matter: what an artificial edge spoils lies in the halo and is trimmed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mgsflow.blocks import Block, Box, Triple


@runtime_checkable
class Kernel(Protocol):
    """An operation on a volume whose result at a voxel depends on its neighbourhood only."""

    @property
    def halo(self) -> Triple:
        """Reach along (z, y, x): how far away a voxel can change the result at another."""
        ...

    def dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of the result for an input of this dtype."""
        ...

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the most bytes used at once beside the input array and the result."""
        ...

    def __call__(self, array: np.ndarray, origin: Triple = (0, 0, 0)) -> np.ndarray:
        """Apply to an array whose first voxel is voxel `origin` of the scan; same shape out.

        Must release the GIL where it is slow, start no threads, leave its input as it is, and give each voxel a
        value that depends on its neighbourhood alone, to the bit.
        """
        ...


@runtime_checkable
class Reduction(Protocol):
    """A sum over a volume that is taken block by block: each block gives a small record, and records add up.

    Like a `Kernel`, a frozen dataclass whose ``repr`` identifies it in the ledger. Records are stored, one a block,
    so that an interrupted pass continues and a sum over any set of blocks needs no second pass over voxels.
    """

    @property
    def name(self) -> str:
        """Name of the stored records: an identifier, unique in a study."""
        ...

    @property
    def halo(self) -> Triple:
        """Voxels that it reads beyond the block, along (z, y, x)."""
        ...

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of a block's record, for the longest block along each axis."""
        ...

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the most bytes used at once beside the input array and the record."""
        ...

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the record of a block from the voxels of ``block.outer`` (whose halo is exactly `halo`, clipped)."""
        ...


def chain_halo(chain: Sequence[Kernel]) -> Triple:
    """Return the halo of a chain: the sum of its kernels' halos."""
    z, y, x = (sum(k.halo[axis] for k in chain) for axis in range(3))
    return z, y, x


def run_stages(
    chain: Sequence[Kernel], array: np.ndarray, box: Box, core: Box, margins: Sequence[Triple]
) -> Iterator[tuple[np.ndarray, Box]]:
    """Apply kernels one after the other to a block with its halo, and yield what stands after each.

    Parameters
    ----------
    chain : sequence of Kernel
    array : ndarray
        Voxels of `box`: of the core grown by ``stage_margins(chain, margins)[0]``, clipped at the volume.
    box, core : Box
        Voxels that are given, and those that are asked for.
    margins : sequence of tuple of int
        One more than there are kernels: how much beyond the core is wanted of each stage, the input being the first.

    Yields
    ------
    array, box
        The stage's voxels on the core and what later stages need around it: the same, to the bit, as of the whole
        volume.
    """
    needed = stage_margins(chain, margins)
    for i in range(len(chain) + 1):
        if i:
            array = chain[i - 1](array, box.start)
        keep = core.grow(needed[i], within=box)
        array, box = crop(array, box, keep), keep
        yield array, box


def stage_margins(chain: Sequence[Kernel], margins: Sequence[Triple]) -> list[Triple]:
    """Return how much beyond a core each stage must hold so that all later ones come out right."""
    needed = [margins[-1]]
    for kernel, margin in zip(reversed(chain), reversed(margins[:-1])):
        needed.append(tuple(max(m, n + h) for m, n, h in zip(margin, needed[-1], kernel.halo)))  # type: ignore[arg-type]
    return needed[::-1]


def run_chain(chain: Sequence[Kernel], array: np.ndarray, block: Block) -> np.ndarray:
    """Return what a chain makes of a block's core, from the voxels of ``block.outer``.

    The halo must be at least `chain_halo`; the result is the same, to the bit, as on the whole volume.
    """
    margins = [(0, 0, 0)] * (len(chain) + 1)
    for array, _ in run_stages(chain, array, block.outer, block.core, margins):  # noqa: B007, B020
        pass
    return array


def crop(array: np.ndarray, box: Box, keep: Box) -> np.ndarray:
    """Return the voxels `keep` of an array that holds the voxels `box`."""
    return array if keep == box else array[keep.relative_to(box).slices]
