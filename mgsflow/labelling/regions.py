"""Connected components of masks at hand, and what is chosen by them: labels, percolating parts, holes, specks.

Each function takes an ndarray, a zarr array or a DataArray (z, y, x) of booleans or integers (all but 0 is inside). All
run the same passes, one block after the other on threads or on a cluster, so that results are the same, to the bit, for
any blocks. An array in memory is worked on in this process.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import MemoryParts, Parts, Source, StoredParts, completed, current_client, indices
from mgsflow.errors import InputError
from mgsflow.labelling.at_hand import PhaseMask, check_mask, grid_of, in_memory, like, sink_of
from mgsflow.labelling.component_kernel import MARKED
from mgsflow.labelling.components import HOW, RunLabels, Runs, check_connectivity, merge_blocks
from mgsflow.labelling.relabel import Relabel
from mgsflow.labelling.unions import Groups, Keep, Unions, number, select
from mgsflow.memory import cores

_SMALL = 2**21  # voxels for which a thread is worth its while
_LARGE = 2**28  # voxels that are worked on at once in an array in memory, to need less beside it


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


def label(
    mask: Any,
    connectivity: int = 6,
    out: Any = None,
    block: int | Sequence[int] | None = None,
    threads: int | None = None,
    client: Any = None,
) -> Any:
    """Number the connected components of a mask.

    Ids are the ranks of the components' first voxels, in C order of the whole volume: they do not depend on the blocks.

    Parameters
    ----------
    mask : ndarray, zarr array or DataArray, shape (z, y, x)
        Booleans or integers; all but 0 is inside.
    connectivity : {6, 18, 26}
        Voxels that share a face, an edge, or a corner are neighbours.
    out : ndarray or zarr array, optional
        Where to write the labels, block by block: what does not fit in memory needs a zarr array. Its dtype must hold
        the ids: uint32, or uint64 where there are more than 2³² - 1.
    block : int or three, optional
        Edges of a block in voxels, rounded up to whole files of `out`; default, 256, and of an array in memory as many
        slabs as there are threads. It changes the memory that is used, not the result.
    threads : int, optional
        Threads, where there is no cluster; default, all cores.
    client : distributed.Client, optional
        Cluster to use where mask and `out` are stored; default, the current one.

    Returns
    -------
    ndarray, zarr array or DataArray
        Ids 1 … count, 0 outside: `out` if it was given; a DataArray for a DataArray; else an ndarray, uint32 unless
        there are too many.

    Raises
    ------
    InputError
        If the mask, the connectivity or `out` cannot be used.
    """
    return label_components(mask, connectivity, out, block, threads, client)[0]


def label_components(
    mask: Any,
    connectivity: int = 6,
    out: Any = None,
    block: int | Sequence[int] | None = None,
    threads: int | None = None,
    client: Any = None,
    min_voxels: int = 1,
) -> tuple[Any, Components]:
    """Number the connected components of a mask, and say what is known of them; see `label`.

    Parameters
    ----------
    mask, connectivity, out, block, threads, client
        As of `label`.
    min_voxels : int
        Smaller components are left out.

    Returns
    -------
    labels : as of `label`
    components : Components
    """
    _check_size(min_voxels)
    with _work(mask, None, connectivity, out, block, threads, client) as work:
        groups = work.number(_at_least(min_voxels))
        return work.written(out, groups.dtype, "label"), Components.of(work.grid.shape, groups)


def components(
    mask: Any,
    connectivity: int = 6,
    block: int | Sequence[int] | None = None,
    threads: int | None = None,
    client: Any = None,
    min_voxels: int = 1,
) -> Components:
    """Return what is known of a mask's connected components, and write no labels; see `label_components`."""
    _check_size(min_voxels)
    with _work(mask, None, connectivity, None, block, threads, client) as work:
        return Components.of(work.grid.shape, work.number(_at_least(min_voxels)))


def percolating(
    mask: Any,
    axis: int | str,
    connectivity: int = 6,
    out: Any = None,
    block: int | Sequence[int] | None = None,
    threads: int | None = None,
    client: Any = None,
) -> Any:
    """Return the part of a mask that leads from one face of the volume to the opposite one.

    Parameters
    ----------
    mask, connectivity, out, block, threads, client
        As of `label`; `out` holds booleans.
    axis : {0, 1, 2, "z", "y", "x"}
        Components are kept that touch both faces along this axis.

    Returns
    -------
    ndarray of bool, zarr array or DataArray
        All False if nothing percolates.
    """
    if isinstance(axis, bool) or axis not in (0, 1, 2, "z", "y", "x"):
        raise InputError(f"axis must be z, y or x (or 0, 1, 2), got {axis!r}")
    place = "zyx".index(axis) if isinstance(axis, str) else int(axis)
    return touching(mask, [(place, 0), (place, 1)], connectivity, out, block, threads, client)


def touching(
    mask: Any,
    faces: Sequence[tuple[int, int]],
    connectivity: int = 6,
    out: Any = None,
    block: int | Sequence[int] | None = None,
    threads: int | None = None,
    client: Any = None,
) -> Any:
    """Return the components of a mask that touch all of the given faces of the volume.

    Parameters
    ----------
    mask, connectivity, out, block, threads, client
        As of `percolating`.
    faces : sequence of (axis, side)
        Axis 0, 1, 2 for z, y, x; side 0 for the low and 1 for the high face.
    """
    bits = 0
    for axis, side in faces:
        if axis not in (0, 1, 2) or side not in (0, 1):
            raise InputError(f"a face is an axis (0, 1, 2) and a side (0, 1), got {(axis, side)!r}")
        bits |= 1 << (2 * axis + side)
    return _selected(mask, lambda t: t[2] & bits == bits, connectivity, out, block, threads, client, "touching")


def largest(
    mask: Any,
    connectivity: int = 6,
    out: Any = None,
    block: int | Sequence[int] | None = None,
    threads: int | None = None,
    client: Any = None,
) -> Any:
    """Return the largest component of a mask; of equally large ones, that with the first voxel.

    Parameters and result as of `percolating`.
    """
    with _work(mask, None, connectivity, out, block, threads, client) as work:
        groups = work.number(None)
        chosen = int(groups.first[np.argmax(groups.columns[0])]) if groups.count else -1
        return work.selected(lambda t: t[0] == chosen, out, "largest")


def remove_small(
    mask: Any,
    min_voxels: int,
    connectivity: int = 6,
    out: Any = None,
    block: int | Sequence[int] | None = None,
    threads: int | None = None,
    client: Any = None,
) -> Any:
    """Return a mask without its components of fewer than `min_voxels` voxels.

    Other parameters and result as of `percolating`.
    """
    _check_size(min_voxels)
    return _selected(mask, lambda t: t[1] >= min_voxels, connectivity, out, block, threads, client, "remove_small")


def fill_holes(
    mask: Any,
    connectivity: int = 6,
    out: Any = None,
    block: int | Sequence[int] | None = None,
    threads: int | None = None,
    client: Any = None,
) -> Any:
    """Return a mask with its holes filled: components of the background that do not touch the border of the volume.

    Parameters
    ----------
    mask, out, block, threads, client
        As of `percolating`.
    connectivity : {6, 26}
        Of the mask. Its background is connected the other way, 26 for 6 and 6 for 26, so that a closed surface of the
        mask has an inside; with 18, the background is taken as 6-connected.
    """
    dual = 26 if check_connectivity(connectivity) == 6 else 6
    with _work(mask, None, dual, out, block, threads, client, outside=True) as work:
        return work.selected(lambda t: t[2] & 0b111111 != 0, out, "fill_holes", inside=False)


def hysteresis(
    low: Any,
    high: Any,
    connectivity: int = 6,
    out: Any = None,
    block: int | Sequence[int] | None = None,
    threads: int | None = None,
    client: Any = None,
) -> Any:
    """Return the components of the mask `low` that have a voxel in the mask `high`.

    Other parameters and result as of `percolating`. With ``low = image >= a`` and ``high = image >= b > a`` this is
    thresholding with hysteresis.
    """
    with _work(low, high, connectivity, out, block, threads, client) as work:
        return work.selected(lambda t: t[2] & MARKED != 0, out, "hysteresis")


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

    def read(self, box: Any) -> np.ndarray:
        return ~self.mask.read(box)


@dataclass(frozen=True)
class _Work:
    """Merged components, and what runs the passes."""

    like: Any
    mask: Source
    grid: Grid
    parts: Parts
    connectivity: int
    each: Callable[[Callable[[Triple], Triple], Grid], None]
    offsets: np.ndarray
    unions: Unions
    kept: dict[Triple, Runs] | None

    def number(self, keep: Keep | None) -> Groups:
        return number(self.parts, self.grid, self.offsets, self.unions, HOW, keep)

    def selected(self, keep: Keep, out: Any, name: str, inside: bool = True) -> Any:
        select(self.parts, self.grid, self.offsets, self.unions, HOW, keep, inside)
        return self.written(out, np.dtype(bool), name)

    def written(self, out: Any, dtype: np.dtype[Any], name: str) -> Any:
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
        return like(self.like, target, name) if out is None else out


@contextmanager
def _work(
    mask: Any,
    marks: Any,
    connectivity: int,
    out: Any,
    block: int | Sequence[int] | None,
    threads: int | None,
    client: Any,
    outside: bool = False,
) -> Iterator[_Work]:
    """Check what was given, merge the components of all blocks, and clear up what they left."""
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
    client = client if client is not None else current_client()
    if in_memory(mask, marks, out) or out is None:
        client = None
    with _parts(out if client is not None else None) as parts:

        def each(function: Callable[[Triple], Triple], over: Grid) -> None:
            workers = min(threads or cores(), len(over))
            if client is not None:
                deque(completed(function, indices(over), client), maxlen=0)
            elif workers == 1:
                deque(map(function, indices(over)), maxlen=0)
            else:  # not on the client that may be current: what lies in this process stays here
                with ThreadPoolExecutor(workers) as pool:
                    deque(pool.map(function, indices(over)), maxlen=0)

        kept: dict[Triple, Runs] | None = {} if isinstance(mask, np.ndarray) else None
        offsets, unions = merge_blocks(source, grid, parts, connectivity, other, each, kept)
        yield _Work(mask, source, grid, parts, connectivity, each, offsets, unions, kept)


def _slabs(shape: Triple, threads: int) -> Triple:
    """Return blocks of whole planes for an array in memory: as many as there are threads, unless they get large."""
    plane = shape[1] * shape[2]
    count = min(threads, max(1, shape[0] * plane // _SMALL))
    thick = min(-(-shape[0] // count), max(1, _LARGE // plane))
    return thick, shape[1], shape[2]


@contextmanager
def _parts(out: Any) -> Iterator[Parts]:
    """Yield a place for tables and planes: in memory, or beside a stored result, where workers find it."""
    if out is None:
        yield MemoryParts()
        return
    root = Path(str(getattr(out.store, "root", "")))
    if not root.is_dir():
        raise InputError("a cluster needs an out array that lies in a folder, which all workers see")
    folder = tempfile.mkdtemp(prefix=".mgsflow-", dir=root.parent)
    try:
        store = str(Path(folder) / "parts.zarr")
        zarr.create_group(store)
        yield StoredParts(store, "")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _selected(
    mask: Any,
    keep: Keep,
    connectivity: int,
    out: Any,
    block: int | Sequence[int] | None,
    threads: int | None,
    client: Any,
    name: str,
) -> Any:
    with _work(mask, None, connectivity, out, block, threads, client) as work:
        return work.selected(keep, out, name)


def _at_least(min_voxels: int) -> Keep | None:
    return None if min_voxels <= 1 else lambda table: table[1] >= min_voxels


def _check_size(min_voxels: Any) -> None:
    if isinstance(min_voxels, bool) or not isinstance(min_voxels, int | np.integer) or min_voxels < 0:
        raise InputError(f"min_voxels must be a whole number of voxels, got {min_voxels!r}")
