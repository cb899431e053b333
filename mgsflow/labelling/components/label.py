"""Connected components of masks at hand, and what is chosen by them: labels, percolating parts, holes, specks.

Each function takes an ndarray, a zarr array or a DataArray (z, y, x) of booleans or integers (all but 0 is inside). All
run the same passes, one block after the other on threads or on a cluster, so that results are the same, to the bit, for
any blocks. An array in memory is worked on in this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgsflow.errors import InputError
from mgsflow.labelling.components.kernel import MARKED
from mgsflow.labelling.components.merged import Components, merged
from mgsflow.labelling.components.out_of_core import check_connectivity, check_min_voxels
from mgsflow.labelling.unions import Keep


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
    check_min_voxels(min_voxels)
    with merged(mask, None, connectivity, out, block, threads, client) as found:
        groups = found.number(_at_least(min_voxels))
        return found.written(out, groups.dtype, "label"), found.components(groups)


def find_components(
    mask: Any,
    connectivity: int = 6,
    block: int | Sequence[int] | None = None,
    threads: int | None = None,
    client: Any = None,
    min_voxels: int = 1,
) -> Components:
    """Return what is known of a mask's connected components, and write no labels; see `label_components`."""
    check_min_voxels(min_voxels)
    with merged(mask, None, connectivity, None, block, threads, client) as found:
        return found.components(found.number(_at_least(min_voxels)))


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
    return _selected(mask, lambda t: t[2] & bits == bits, connectivity, out, block, threads, client)


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
    with merged(mask, None, connectivity, out, block, threads, client) as found:
        groups = found.number(None)
        chosen = int(groups.first[np.argmax(groups.columns[0])]) if groups.count else -1
        return found.selected(lambda t: t[0] == chosen, out)


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
    check_min_voxels(min_voxels)
    return _selected(mask, lambda t: t[1] >= min_voxels, connectivity, out, block, threads, client)


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
    with merged(mask, None, dual, out, block, threads, client, outside=True) as found:
        return found.selected(lambda t: t[2] & 0b111111 != 0, out, inside=False)


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
    with merged(low, high, connectivity, out, block, threads, client) as found:
        return found.selected(lambda t: t[2] & MARKED != 0, out)


def _selected(
    mask: Any,
    keep: Keep,
    connectivity: int,
    out: Any,
    block: int | Sequence[int] | None,
    threads: int | None,
    client: Any,
) -> Any:
    with merged(mask, None, connectivity, out, block, threads, client) as found:
        return found.selected(keep, out)


def _at_least(min_voxels: int) -> Keep | None:
    return None if min_voxels <= 1 else lambda table: table[1] >= min_voxels
