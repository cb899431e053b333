"""The filters as functions on NumPy, dask and xarray images, for notebooks.

What comes in goes out: an array for an array, a lazy dask array for a dask array, a DataArray with its coordinates and
attributes for a DataArray. Values are those of the kernels on the whole volume, to the bit, whatever the chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import dask.array as da
import numpy as np
import xarray as xr
from dask.array.overlap import overlap

from mgsflow.blocks import Grid
from mgsflow.errors import InputError
from mgsflow.filters.denoise import NonLocalMeans
from mgsflow.filters.gaussian import Gaussian
from mgsflow.filters.median import Median
from mgsflow.filters.rescale import Rescale
from mgsflow.filters.unsharp import UnsharpMask
from mgsflow.kernel import Kernel, chain_halo, run_chain

Image = TypeVar("Image", np.ndarray, da.Array, xr.DataArray)


def apply(image: Image, chain: Kernel | Sequence[Kernel]) -> Image:
    """Apply kernels one after the other to an image.

    Parameters
    ----------
    image : ndarray, dask array or DataArray, shape (…, z, y, x)
        Volumes along leading axes, such as scans, are filtered one by one. A DataArray's last dimensions must be
        named z, y and x. A dask array stays lazy; chunks thinner than the halo of the chain are merged.
    chain : Kernel or sequence of Kernel

    Returns
    -------
    ndarray, dask array or DataArray
        The same kind and shape as the image.

    Raises
    ------
    InputError
        If the image is none of these, has fewer than three axes or none of the grey dtypes.
    """
    kernels = tuple(chain) if isinstance(chain, Sequence) else (chain,)
    if isinstance(image, xr.DataArray):
        if image.dims[-3:] != ("z", "y", "x"):
            raise InputError(
                f"the last dimensions must be z, y and x, got {image.dims}: use .transpose(..., 'z', 'y', 'x')"
            )
        data: Any = image.data if isinstance(image.data, da.Array) else image.values
        return image.copy(data=apply(data, kernels))
    if not isinstance(image, np.ndarray | da.Array):
        raise InputError(f"a filter takes a NumPy array, a dask array or a DataArray, got {type(image).__name__}")
    if image.ndim < 3:
        raise InputError(f"a filter works on volumes (…, z, y, x), got an image of shape {image.shape}")
    dtype = image.dtype
    for kernel in kernels:
        dtype = kernel.dtype(dtype)
    if isinstance(image, da.Array):
        return _apply_lazily(image, kernels, dtype)
    whole = Grid.regular(image.shape[-3:], image.shape[-3:]) if image.size else None
    return _apply_now(image, kernels, dtype, whole)


def gaussian(image: Image, sigma: float | tuple[float, float, float], truncate: float = 4.0) -> Image:
    """Smooth an image: see `Gaussian`, and `apply` for what an image may be."""
    return apply(image, Gaussian(sigma, truncate))


def median(image: Image, radius: int = 1) -> Image:
    """Take the median around each voxel: see `Median`, and `apply` for what an image may be."""
    return apply(image, Median(radius))


def non_local_means(image: Image, strength: float, search: int = 2, noise: float = 0.0) -> Image:
    """Take noise away and keep edges: see `NonLocalMeans`, and `apply` for what an image may be."""
    return apply(image, NonLocalMeans(strength, search, noise))


def rescale(image: Image, gain: float, offset: float = 0.0) -> Image:
    """Map grey values linearly: see `Rescale`, and `apply` for what an image may be."""
    return apply(image, Rescale(gain, offset))


def unsharp_mask(
    image: Image, sigma: float | tuple[float, float, float], amount: float, threshold: float = 0.0
) -> Image:
    """Sharpen an image: see `UnsharpMask`, and `apply` for what an image may be."""
    return apply(image, UnsharpMask(sigma, amount, threshold))


def _apply_now(
    image: np.ndarray,
    chain: tuple[Kernel, ...],
    dtype: np.dtype[Any],
    grid: Grid | None,
    index: tuple[int, ...] = (0, 0, 0),
) -> np.ndarray:
    """Filter one block with its halo, of every volume along the leading axes."""
    lead = image.shape[:-3]
    if grid is None or not image.size:
        return np.empty(image.shape, dtype)
    block = grid.block(index, chain_halo(chain))
    out = np.empty(lead + block.core.shape, dtype)
    for place in np.ndindex(lead):
        out[place] = run_chain(chain, image[place], block)
    return out


def _apply_lazily(image: da.Array, chain: tuple[Kernel, ...], dtype: np.dtype[Any]) -> da.Array:
    if any(np.isnan(n) for n in image.shape):
        raise InputError("the dask array has chunks of unknown size: call compute_chunk_sizes() on it first")
    if 0 in image.shape:
        return da.empty(image.shape, dtype=dtype, chunks=image.chunks)
    halo = chain_halo(chain)
    lead = image.ndim - 3
    cuts = tuple(_merge_thin(c, h) for c, h in zip(image.chunks[lead:], halo))
    image = image.rechunk(image.chunks[:lead] + cuts)
    # An axis in one piece has no inner edges; dask would refuse a depth beyond its length.
    depth = {lead + i: h if len(c) > 1 else 0 for i, (c, h) in enumerate(zip(cuts, halo))}
    depth |= dict.fromkeys(range(lead), 0)
    # "none" adds no voxels at true borders: there the kernels mirror.
    outer = overlap(image, depth=depth, boundary="none", allow_rechunk=False)
    grid = Grid(cuts)  # type: ignore[arg-type]

    def run(array: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
        return _apply_now(array, chain, dtype, grid, block_id[-3:])

    empty = np.empty((0,) * image.ndim, dtype)
    return outer.map_blocks(run, chunks=image.chunks, dtype=dtype, meta=empty, name=None)


def _merge_thin(cut: Sequence[int], at_least: int) -> tuple[int, ...]:
    """Merge neighbouring chunks until each is as thick as the halo, or only one is left."""
    merged: list[int] = []
    for n in cut:
        if merged and merged[-1] < at_least:
            merged[-1] += n
        else:
            merged.append(n)
    if len(merged) > 1 and merged[-1] < at_least:
        last = merged.pop()
        merged[-1] += last
    return tuple(n for n in merged if n)
