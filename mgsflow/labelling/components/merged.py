"""Components of a mask at hand, merged over all blocks: numbered, chosen, and written where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import MemoryParts, Parts, Source
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import PhaseMask, check_mask, grid_of, like, sink_of
from mgsflow.labelling.components.out_of_core import HOW, RunLabels, check_connectivity, merge_blocks
from mgsflow.labelling.components.runs import Runs
from mgsflow.labelling.passes import Each, client_for, folder_beside, parts_in, runner
from mgsflow.labelling.relabel import Relabel
from mgsflow.labelling.shells import shell_bytes
from mgsflow.labelling.unions import Groups, Keep, Unions, number, select
from mgsflow.memory import cores

_SMALL = 2**21  # voxels for which a thread is worth its while
_LARGE = 2**28  # voxels that are worked on at once in an array in memory, to need less beside it
_HELD = 2**29  # bytes of planes that are held in memory rather than beside a stored result


@dataclass(frozen=True)
class Components:
    """What is known of connected components, in order of their ids 1 … count.

    Parameters
    ----------
    shape : tuple of int
        Of the volume.
    sizes : ndarray of int64, shape (count,)
        Voxels of each.
    first : ndarray of int64, shape (count,)
        C index, in the whole volume, of each one's first voxel; rising.
    faces : ndarray of bool, shape (count, 3, 2)
        Whether each touches the low and the high face of the volume along z, y and x.
    """

    shape: Triple
    sizes: np.ndarray
    first: np.ndarray
    faces: np.ndarray

    @property
    def count(self) -> int:
        """Number of components."""
        return self.sizes.size

    @property
    def percolating(self) -> np.ndarray:
        """Whether each touches both faces along z, y and x: booleans, shape (count, 3)."""
        return np.asarray(self.faces.all(axis=2))

    @property
    def touches_border(self) -> np.ndarray:
        """Whether each touches any face of the volume: booleans, shape (count,)."""
        return np.asarray(self.faces.any(axis=(1, 2)))

    @classmethod
    def of(cls, shape: Triple, groups: Groups) -> Components:
        """Return the components that were numbered."""
        sizes, flags = groups.columns
        bits = np.unpackbits(flags.astype(np.uint8)[:, None], axis=1, count=6, bitorder="little")
        return cls(shape, sizes, groups.first, bits.view(bool).reshape(-1, 3, 2))


@dataclass(frozen=True)
class Merged:
    """Components of all blocks, merged, and what runs the passes; made by `merged`.

    Parameters
    ----------
    given : ndarray, zarr array or DataArray
        The mask as it came: results come back as its like.
    mask : Source
    grid : Grid
    parts : Parts
    connectivity : {6, 18, 26}
    each : callable
        See `mgsflow.labelling.passes`.
    offsets, unions
        See `mgsflow.labelling.components.out_of_core.merge_blocks`.
    kept : dict, optional
        Runs of blocks that are still there.
    """

    given: Any
    mask: Source
    grid: Grid
    parts: Parts
    connectivity: int
    each: Each
    offsets: np.ndarray
    unions: Unions
    kept: dict[Triple, Runs] | None

    def number(self, keep: Keep | None) -> Groups:
        """Number the components that are kept, and leave the tables for `written`."""
        return number(self.parts, self.grid, self.offsets, self.unions, HOW, keep)

    def components(self, groups: Groups) -> Components:
        """Return what is known of numbered components."""
        return Components.of(self.grid.shape, groups)

    def selected(self, keep: Keep, out: Any, inside: bool = True) -> Any:
        """Return a mask of the components that are kept, or of all else: see `select` and `written`."""
        select(self.parts, self.grid, self.offsets, self.unions, HOW, keep, inside)
        return self.written(out, np.dtype(bool))

    def written(self, out: Any, dtype: np.dtype[Any], name: str | None = None) -> Any:
        """Return `out`, or a new array, with the ids or booleans of the tables."""
        labels = RunLabels(self.mask, self.connectivity, self.kept)
        target = np.empty(self.grid.shape, dtype) if out is None else out
        sink = sink_of(target, self.grid.shape, dtype)
        if isinstance(target, np.ndarray) and target.flags.c_contiguous and self.grid.counts[1:] == (1, 1):

            def run(index: Triple) -> Triple:  # whole planes: filled where they are
                core = self.grid.block(index).core
                lut = self.parts.read(index, "lut").astype(target.dtype)
                labels.paint(core, lut, target[core.slices])
                return index

            self.each(run, self.grid)
        else:
            self.each(Relabel(labels, self.parts, self.grid, sink, np.dtype(target.dtype)).run, self.grid)
        return like(self.given, target, name) if out is None else out


@contextmanager
def merged(
    mask: Any,
    marks: Any,
    connectivity: int,
    out: Any,
    block: int | Sequence[int] | None,
    threads: int | None,
    client: Any,
    outside: bool = False,
) -> Iterator[Merged]:
    """Check what a user gave, merge the components of all blocks, and in the end clear up what they left.

    Parameters
    ----------
    mask, connectivity, out, block, threads, client
        As of `mgsflow.labelling.components.label.label`.
    marks : as `mask`, or None
        See `mgsflow.labelling.components.out_of_core.FindComponents`.
    outside : bool
        Whether the components of the background are wanted.
    """
    check_connectivity(connectivity)
    inside = PhaseMask(check_mask(mask))
    other = None if marks is None else PhaseMask(check_mask(marks, "mask of marks"))
    if other is not None and other.shape != inside.shape:
        raise InputError(f"the two masks must have one shape, got {inside.shape} and {other.shape}")
    if out is not None:  # of any dtype, here: that is checked when the ids are known
        sink_of(out, inside.shape, np.dtype(bool))
    if block is None:
        local = isinstance(mask, np.ndarray) and (out is None or isinstance(out, np.ndarray))
        block = _slabs(inside.shape, threads or cores()) if local else 256
    grid = grid_of(inside.shape, block, out)
    source: Source = _Outside(inside) if outside else inside
    client = None if out is None else client_for(client, mask, marks, out)
    each = runner(client, threads)
    kept: dict[Triple, Runs] | None = {} if isinstance(mask, np.ndarray) else None
    with folder_beside(out, needed=client is not None) as folder:
        few = client is None and len(grid) * shell_bytes(grid, 4) < _HELD
        parts = MemoryParts() if few else parts_in(folder)
        offsets, unions = merge_blocks(source, grid, parts, connectivity, other, each, kept)
        yield Merged(mask, source, grid, parts, connectivity, each, offsets, unions, kept)


def _slabs(shape: Triple, threads: int) -> Triple:
    """Return blocks of whole planes for an array in memory: as many as there are threads, unless they get large."""
    plane = shape[1] * shape[2]
    count = min(threads, max(1, shape[0] * plane // _SMALL))
    thick = min(-(-shape[0] // count), max(1, _LARGE // plane))
    return thick, shape[1], shape[2]


@dataclass(frozen=True)
class _Outside:
    """The background of a mask, as a source."""

    mask: PhaseMask

    @property
    def shape(self) -> Triple:
        return self.mask.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.mask.dtype

    def scratch(self, shape: Triple) -> int:
        return self.mask.scratch(shape) + shape[0] * shape[1] * shape[2]

    def read(self, box: Box) -> np.ndarray:
        return ~self.mask.read(box)
