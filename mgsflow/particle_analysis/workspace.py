"""Room for the particles of a strip of planes: what the kernels fill, and parts that are taken from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.errors import InputError
from mgsflow.particle_analysis import kernel
from mgsflow.particle_analysis import surface_kernel as cubes
from mgsflow.particle_analysis.parts import LIMB, Columns, Part, rank, width

AT_ONCE = 1 << 14
"""Particles, and pairs, of a part."""

LEAST = np.iinfo(np.int64).min
"""What is below anything."""


class Room:
    """Numbers, sums and contacts of the particles that were met since the last part.

    Parameters
    ----------
    outer : tuple of int
        Shape of a block's labels.
    columns : Columns
        What is asked for.
    room : int
        Voxels of a plane of a strip, unless a row has more.
    """

    def __init__(self, outer: Triple, columns: Columns, room: int) -> None:
        plane, most, pairs = self.sizes(outer, room)
        self.columns = columns
        self.plane, self.most, self.most_pairs = plane, most, pairs
        nx = outer[2]
        self.keys = np.zeros(_power(2 * most), np.uint64)
        self.values = np.zeros(self.keys.size, np.int32)
        self.names = np.zeros(most + 1, np.uint64)
        self.sums = np.zeros((most + 1, kernel.SUMS), np.int64)
        self.open = np.zeros((most + 1, 8), np.int32)
        self.grey = np.zeros((most + 1, _grey_width(columns)), np.int64)
        self.grey[:, :2] = LEAST
        self.distance = np.full(most + 1 if columns.distance else 0, LEAST)
        self.slots = np.zeros(_power(2 * pairs), np.int32)
        self.pairs = np.zeros(pairs + 1, np.int64)
        self.contacts = np.zeros((pairs + 1, 8), np.int32)
        self.count = self.pair_count = self.numbered = 0
        rows = self.rows(outer, room) + 1
        self.numbers = np.zeros((2, rows, nx), np.int32)
        self.runs = np.zeros((2, rows, nx, 2), np.int32)
        self.run_count = np.zeros((2, rows), np.int64)
        self.scratch = np.zeros((5, nx + 1), np.int32)
        self.table = cubes.pattern_table()

    @staticmethod
    def rows(outer: Triple, room: int) -> int:
        """Return how many rows a strip has."""
        return max(1, min(outer[1], room // outer[2] - 1))

    @classmethod
    def sizes(cls, outer: Triple, room: int) -> tuple[int, int, int]:
        """Return voxels of a strip's plane, and room for particles and for pairs."""
        plane = (cls.rows(outer, room) + 1) * outer[2]
        # `full` asks for two planes of particles and for the 13 pairs of one: a little more, and parts are few
        return plane, 4 * plane, 16 * plane

    @classmethod
    def bytes(cls, outer: Triple, columns: Columns, room: int) -> int:
        """Return the most bytes held, a part that is taken and stored included."""
        plane, most, pairs = cls.sizes(outer, room)
        hashed = 12 * _power(2 * most) + 4 * _power(2 * pairs)
        particle = 8 * (1 + kernel.SUMS + 4 + _grey_width(columns) + bool(columns.distance))
        row = 8 * (1 + width(columns.added) + width(columns.topped))
        # a part, the columns it is joined from, the part before, its packed row, and an encoded copy
        taken = 5 * (min(most, AT_ONCE) * row + min(pairs, AT_ONCE) * 8 * 9)
        # numbers and runs of two planes, and a plane's labels, grey values and distances as the kernels take them
        planes = plane * (2 * 12 + 4 * 8) + 20 * (outer[2] + 1)
        return hashed + (most + 1) * particle + (pairs + 1) * 40 + planes + taken

    @property
    def full(self) -> bool:
        """Whether two planes may not find room."""
        return self.count + 2 * self.plane > self.most or self.pair_count + 13 * self.plane > self.most_pairs

    @property
    def is_clear(self) -> bool:
        """Whether no plane was numbered since all was forgotten."""
        return self.numbered == 0

    def number(self, ids: np.ndarray, z: int) -> None:
        """Number a plane."""
        self.numbered += 1
        k, n = z % 2, len(ids)
        self.count = kernel.number_plane(
            ids, self.keys, self.values, self.names, self.count,
            self.numbers[k, :n], self.runs[k, :n], self.run_count[k, :n],
        )  # fmt: skip

    def add_runs(self, z: int, rows: int, cols: int, place: np.ndarray, shape: Triple) -> None:
        """Add the voxels of a plane."""
        k = z % 2
        kernel.add_runs(self.numbers[k], self.runs[k], self.run_count[k], rows, cols, place, np.array(shape), self.sums)

    def add_grey(self, z: int, image: np.ndarray, rows: int, cols: int, place: np.ndarray) -> None:
        """Add the grey values of a plane."""
        k = z % 2
        runs = self.numbers[k], self.runs[k], self.run_count[k], rows, cols, self.grey
        if self.columns.grey == "f":
            bits = np.ascontiguousarray(image, np.float32).view(np.int32)
            bad = kernel.add_grey_float(bits, *runs)
            if bad >= 0:
                voxel = (int(place[3]), int(place[4]) + bad // cols, int(place[5]) + bad % cols)
                raise InputError(f"the image is {image[bad // cols, bad % cols]} at voxel {voxel}, in a particle")
            return
        if image.dtype.itemsize == 8 and (image.max() > 1 << 32 or image.min() < -(1 << 32)):
            raise InputError(f"grey values beyond 2^32 in plane {int(place[3])}: give the image as float32")
        small = image.dtype.kind != "i" and image.dtype.itemsize <= 2
        kernel.add_grey(np.ascontiguousarray(image, np.uint16 if small else np.int64), *runs)

    def add_distance(self, z: int, distance: np.ndarray, rows: int, cols: int) -> None:
        """Raise the largest distances by a plane."""
        k = z % 2
        values = rank(distance)
        kernel.add_largest(values, self.numbers[k], self.runs[k], self.run_count[k], rows, cols, self.distance)

    def count_cubes(self, z: int, high: int, rows: int, cols: int, last: bool) -> None:
        """Count the pairs between a plane and the next, or in the volume's last."""
        lower = self.numbers[z % 2, :high]
        upper = lower if last else self.numbers[(z + 1) % 2, :high]
        self.pair_count = cubes.count_cubes(
            lower, upper, rows, cols, last, self.table, cubes.PAIRS, self.open,
            self.slots, self.pairs, self.pair_count, self.contacts, self.scratch,
        )  # fmt: skip

    def clear(self) -> None:
        """Forget everything."""
        n, m = self.count, self.pair_count
        for array in (self.sums, self.open, self.names):
            array[: n + 1] = 0
        self.grey[: n + 1, 2:] = 0
        self.grey[: n + 1, :2] = LEAST
        self.distance[: n + 1] = LEAST
        self.contacts[: m + 1] = 0
        self.keys[:] = 0
        self.slots[:] = 0
        self.count = self.pair_count = self.numbered = 0

    def take(self, core: Box) -> Iterator[Part]:
        """Yield what is known so far, a bounded number of particles and pairs at once."""
        for at in range(0, max(1, self.count, self.pair_count), AT_ONCE):
            numbers = slice(min(at, self.count) + 1, min(at + AT_ONCE, self.count) + 1)
            pairs = slice(min(at, self.pair_count) + 1, min(at + AT_ONCE, self.pair_count) + 1)
            yield self._part(numbers, pairs, core)

    def _part(self, numbers: slice, pairs: slice, core: Box) -> Part:
        # those that only the next block has voxels of count where they meet background
        open_ = self.open[numbers, :7]
        met = (self.sums[numbers, kernel.VOXELS] > 0) | open_.any(axis=1)
        sums, open_ = self.sums[numbers][met], open_[met]
        added, topped = self.columns.added, self.columns.topped
        adds = np.zeros((len(sums), width(added)), np.int64)
        tops = np.full((len(sums), width(topped)), LEAST)
        voxels = sums[:, kernel.VOXELS]
        first, second = moments_from(sums[:, kernel.FIRST : kernel.SECOND], sums[:, kernel.SECOND : kernel.LOW],
                                     voxels, core.start)  # fmt: skip
        adds[:, added["voxels"]] = voxels[:, None]
        adds[:, added["first"]] = first
        adds[:, added["second_high"]] = second >> LIMB
        adds[:, added["second_low"]] = second & ((1 << LIMB) - 1)
        adds[:, added["outside"]] = sums[:, kernel.OUTSIDE :]
        adds[:, added["open"]] = open_
        own = voxels > 0
        tops[own, topped["low"]] = -sums[own, kernel.LOW : kernel.HIGH]
        tops[own, topped["high"]] = sums[own, kernel.HIGH : kernel.BORDER]
        tops[:, topped["border"]] = sums[:, kernel.BORDER : kernel.OUTSIDE]
        grey = self.grey[numbers][met]
        if self.columns.grey:
            tops[:, topped["grey_low"]] = grey[:, :1]
            tops[:, topped["grey_high"]] = grey[:, 1:2]
        if self.columns.grey == "i":
            adds[:, added["grey_high"]] = grey[:, 2:] >> LIMB
            adds[:, added["grey_low"]] = grey[:, 2:] & ((1 << LIMB) - 1)
        elif self.columns.grey == "f":
            adds[:, added["grey_digits"]] = _carried(grey[:, 2:])
        if self.columns.distance:
            tops[:, topped["distance"]] = self.distance[numbers][met][:, None]
        packed = self.pairs[pairs]
        ids = np.sort(self.names[np.stack([packed >> 32, packed & 0xFFFFFFFF], axis=1)], axis=1)
        return Part(self.names[numbers][met], adds, tops, ids, self.contacts[pairs, :7].astype(np.int64))


def _grey_width(columns: Columns) -> int:
    return {None: 0, "i": 3, "f": 2 + kernel.BINS}[columns.grey]


def _power(n: int) -> int:
    return 1 << max(4, (n - 1).bit_length())


def _carried(digits: np.ndarray) -> np.ndarray:
    """Return digits below 2^32 (the last one excepted) of the same sums, so that many can be added."""
    digits = digits.copy()
    for k in range(digits.shape[1] - 1):
        carry = digits[:, k] >> 32
        digits[:, k] -= carry << 32
        digits[:, k + 1] += carry
    return digits


def moments_from(
    first: np.ndarray, second: np.ndarray, voxels: np.ndarray, origin: Triple
) -> tuple[np.ndarray, np.ndarray]:
    """Return moments of indices that are counted from `origin`, counted from zero.

    Parameters
    ----------
    first : (n, 3) int64
        Σ z, Σ y, Σ x.
    second : (n, 6) int64
        Σ zz, yy, xx, zy, zx, yx.
    voxels : (n,) int64
    origin : tuple of int
    """
    moved = first + voxels[:, None] * np.array(origin)
    out = np.empty_like(second)
    for c, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        out[:, c] = second[:, c] + origin[i] * first[:, j] + origin[j] * moved[:, i]
    return moved, out
