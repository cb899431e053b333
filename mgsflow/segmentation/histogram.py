"""Exact grey-value histograms: a reduction over blocks, and the histogram that its records add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Block, Triple
from mgsflow.errors import InputError

# dtypes whose every value has a bin, and the least of those values
_EXACT = {"uint8": 0, "uint16": 0, "int16": -32768}
_RANGED = ("int32", "uint32", "float32", "float64")


@dataclass(frozen=True, eq=False)
class GreyHistogram:
    """Numbers of voxels in grey-value bins of one width.

    Bin ``i`` holds the grey values from ``low + i * width`` up to, not including, ``low + (i + 1) * width``.

    Parameters
    ----------
    counts : ndarray of int64
        Voxels in each bin.
    low : float
        Least grey value of the first bin.
    width : float
        Grey values from one bin to the next.
    discrete : bool
        Whether a bin holds the one grey value ``low + i * width`` (an integer image, counted exactly).
    below, above : int
        Voxels under and over the range, which are counted in the first and the last bin.

    Raises
    ------
    InputError
        If the counts are not a list of integers ≥ 0, or the width is not positive.
    """

    counts: np.ndarray
    low: float
    width: float
    discrete: bool = True
    below: int = 0
    above: int = 0

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts)
        if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "iu" or int(counts.min()) < 0:
            raise InputError("counts of a histogram must be a list of integers >= 0, with one or more bins")
        if not (np.isfinite(self.low) and np.isfinite(self.width) and self.width > 0):
            raise InputError(f"a histogram needs a finite low and a width > 0, got {self.low} and {self.width}")
        object.__setattr__(self, "counts", counts.astype(np.int64))

    @property
    def total(self) -> int:
        """Number of voxels."""
        return int(self.counts.sum())

    @property
    def centres(self) -> np.ndarray:
        """Grey value that stands for each bin: its value if discrete, else its middle."""
        return self.low + self.width * (np.arange(self.counts.size) + (0.0 if self.discrete else 0.5))

    @property
    def edges(self) -> np.ndarray:
        """Borders of the bins, one more than there are bins; halfway between the values if discrete."""
        return self.low + self.width * (np.arange(self.counts.size + 1) - (0.5 if self.discrete else 0.0))

    def __add__(self, other: GreyHistogram) -> GreyHistogram:
        """Return the histogram of both sets of voxels; the bins must be the same."""
        mine = (self.low, self.width, self.discrete, self.counts.size)
        theirs = (other.low, other.width, other.discrete, other.counts.size)
        if mine != theirs:
            raise InputError(
                f"histograms of different bins cannot be added: (low, width, discrete, bins) are {mine} and {theirs}"
            )
        counts = self.counts + other.counts
        return GreyHistogram(counts, *mine[:3], self.below + other.below, self.above + other.above)

    def percentile(self, q: float | Sequence[float]) -> np.ndarray:
        """Return grey values that `q` per cent of the voxels do not exceed.

        Exact for a discrete histogram (the inverse of the distribution function, as numpy's ``inverted_cdf``); linear
        inside the bin otherwise.

        Raises
        ------
        InputError
            If `q` is outside 0 to 100, or there are no voxels.
        """
        share = np.asarray(q, dtype=np.float64)
        if not np.all((share >= 0) & (share <= 100)):
            raise InputError(f"percentiles must lie between 0 and 100, got {q}")
        total = self._some_voxels()
        cumulative = np.cumsum(self.counts)
        wanted = share / 100 * total
        first = int(np.flatnonzero(self.counts)[0])
        bins = np.maximum(np.searchsorted(cumulative, wanted, side="left"), first)
        if self.discrete:
            return self.low + self.width * bins
        before = cumulative[bins] - self.counts[bins]
        return self.low + self.width * (bins + (wanted - before) / self.counts[bins])

    @property
    def mean(self) -> float:
        """Mean grey value."""
        total = self._some_voxels()
        return float(self.centres[0] + self.width * (self._first_moment() / total))

    @property
    def variance(self) -> float:
        """Variance of the grey values, over all voxels (no n - 1)."""
        total = self._some_voxels()
        distance = np.arange(self.counts.size) - self._first_moment() / total
        return float(self.width**2 * (self.counts * distance**2).sum() / total)

    @property
    def std(self) -> float:
        """Standard deviation of the grey values."""
        return float(np.sqrt(self.variance))

    def _first_moment(self) -> int:
        # Python integers: the sum may pass 63 bits only for volumes no disk holds, but this costs nothing
        return int(np.dot(self.counts.astype(object), np.arange(self.counts.size).astype(object)))

    def _some_voxels(self) -> int:
        total = self.total
        if not total:
            raise InputError("the histogram holds no voxels")
        return total


@dataclass(frozen=True, slots=True)
class Histogram:
    """Exact histogram of grey values.

    8- and 16-bit integers have one bin a grey value. For 32-bit integers and floats a range is cut into `bins` bins of
    one width; values outside are counted in the end bins and, apart, as below or above the range.

    Parameters
    ----------
    dtype : str
        Data type of the image: uint8, uint16, int16, int32, uint32, float32 or float64.
    low, high : float, optional
        Range of the bins (`high` included in the last), in grey values; for 32-bit integers and floats only.
    bins : int, optional
        Number of bins in the range.

    Raises
    ------
    InputError
        For another dtype, a range that is missing, empty or not needed, or fewer than 1 bin. When called: for an image
        of another dtype, or one that holds NaN.

    Notes
    -----
    The record of a block is the list of its counts. For a range, two more at the end hold the voxels below and above.
    """

    dtype: str = "uint16"
    low: float | None = None
    high: float | None = None
    bins: int = 65536

    def __post_init__(self) -> None:
        if self.dtype in _EXACT:
            if self.low is not None or self.high is not None:
                raise InputError(f"low and high are not needed: every grey value of {self.dtype} has its own bin")
            object.__setattr__(self, "bins", 1 << 8 * np.dtype(self.dtype).itemsize)
            return
        if self.dtype not in _RANGED:
            raise InputError(f"dtype must be one of {', '.join((*_EXACT, *_RANGED))}, got {self.dtype!r}")
        if self.low is None or self.high is None:
            raise InputError(f"a histogram of {self.dtype} needs low and high, the grey values that the bins span")
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise InputError(f"low must be less than high, both finite, got {self.low} and {self.high}")
        if not 1 <= self.bins <= 1 << 24:
            raise InputError(f"bins must be between 1 and {1 << 24}, got {self.bins}")

    @property
    def name(self) -> str:
        """Name of the stored records."""
        return "histogram"

    @property
    def halo(self) -> Triple:
        """No voxel beyond the block is read."""
        return (0, 0, 0)

    @property
    def exact(self) -> bool:
        """Whether every grey value has its own bin."""
        return self.dtype in _EXACT

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the record's shape and its dtype, wide enough for a block of one grey value."""
        length = self.bins if self.exact else self.bins + 2
        return (length,), np.dtype(np.uint32 if prod(largest) < 1 << 32 else np.uint64)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of two tables of counts and of one plane, copied if its rows are not contiguous."""
        return 2 * 8 * (self.bins + 2) + shape[1] * shape[2] * dtype.itemsize + 4096

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the counts of the voxels that the block owns."""
        if array.dtype.newbyteorder("=") != np.dtype(self.dtype):
            raise InputError(f"the histogram is set up for {self.dtype}, but the image is {array.dtype.name}")
        core = array[block.trim]
        dtype = self.record(core.shape)[1]
        if not self.exact:
            return self._ranged(core, block).astype(dtype, copy=False)
        tables = np.zeros((2, self.bins), dtype)
        unsigned = np.dtype(f"u{core.dtype.itemsize}")
        for z in range(core.shape[0]):
            # a signed plane read as unsigned: its upper half of bins comes first, put right below
            plane = np.ascontiguousarray(core[z], dtype=core.dtype.newbyteorder("="))
            _count(plane.view(unsigned), tables)
        tables[0] += tables[1]
        return np.roll(tables[0], self.bins // 2) if _EXACT[self.dtype] else tables[0]

    def gather(self, records: Any) -> GreyHistogram:
        """Return the histogram of all blocks of `records`, an ndarray or zarr array (…, length of a record)."""
        length = self.record((1, 1, 1))[0][0]
        if records.shape[-1] != length:
            raise InputError(f"records of {self!r} have length {length}, these have {records.shape[-1]}")
        total = np.zeros(length, np.int64)
        for index in np.ndindex(*records.shape[:-1]):
            total += np.asarray(records[index]).astype(np.int64)
        if self.exact:
            return GreyHistogram(total, float(_EXACT[self.dtype]), 1.0)
        assert self.low is not None
        assert self.high is not None
        width = (self.high - self.low) / self.bins
        below, above = int(total[-2]), int(total[-1])
        return GreyHistogram(total[:-2], float(self.low), width, False, below, above)

    def _ranged(self, core: np.ndarray, block: Block) -> np.ndarray:
        assert self.low is not None
        assert self.high is not None
        counts = np.zeros(self.bins + 2, np.int64)
        for z in range(core.shape[0]):
            plane = np.ascontiguousarray(core[z], dtype=core.dtype.newbyteorder("="))
            nans = _count_range(plane, float(self.low), float(self.high), self.bins, counts)
            if nans:
                y, x = (int(v) for v in np.argwhere(np.isnan(plane))[0])
                where = tuple(a + b for a, b in zip(block.core.start, (z, y, x)))
                raise InputError(
                    f"the image holds NaN, first at voxel (z, y, x) = {where}: replace such voxels before segmentation"
                )
        return counts


@njit(cache=True, nogil=True)
def _count(plane: np.ndarray, tables: np.ndarray) -> None:
    # neighbours often share a grey value: two tables let one count be stored while the next is loaded
    even, odd = tables[0], tables[1]
    one = tables.dtype.type(1)
    for y in range(plane.shape[0]):
        row = plane[y]
        pairs = row.size // 2
        for i in range(pairs):
            even[row[2 * i]] += one
            odd[row[2 * i + 1]] += one
        if row.size % 2:
            even[row[row.size - 1]] += one


@njit(cache=True, nogil=True)
def _count_range(plane: np.ndarray, low: float, high: float, bins: int, counts: np.ndarray) -> int:
    scale = bins / (high - low)
    nans = 0
    for y in range(plane.shape[0]):
        row = plane[y]
        for x in range(row.size):
            value = np.float64(row[x])
            if value < low:
                counts[bins] += 1
                counts[0] += 1
            elif value > high:
                counts[bins + 1] += 1
                counts[bins - 1] += 1
            elif value == value:
                counts[min(int((value - low) * scale), bins - 1)] += 1
            else:
                nans += 1
    return nans
