"""Large arrays in huge pages: mapping pages at their first use dominates the cost of new vectors."""

from __future__ import annotations

import mmap
from math import prod
from typing import Any

import numpy as np

_LARGE = 1 << 22
_ADVICE = getattr(mmap, "MADV_HUGEPAGE", None)


def zeros(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of zeros, in huge pages where it is large and the system has them.

    Memory is mapped in pages of 4 KiB by default; mapping them one by one takes five times as long as filling them.
    """
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)
    kind = np.dtype(dtype)
    size = prod(shape) * kind.itemsize
    if size < _LARGE or _ADVICE is None:
        return np.zeros(shape, kind)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        pages.madvise(_ADVICE)
    except OSError:  # the system has no huge pages
        return np.zeros(shape, kind)
    return np.frombuffer(pages, kind).reshape(shape)
