"""Putting together what blocks know of particles, by id: whole numbers only, so that the order does not matter."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mgsflow.particle_analysis.parts import Columns, Part

FEWEST = 1 << 17
"""Rows that are waited for before they are added up, or as many as there are by then."""


def merge(parts: Iterable[Part], columns: Columns) -> Part:
    """Return the sum of many parts: particles by ascending id, contacts by ascending pair of ids.

    Parameters
    ----------
    parts : iterable of Part
        In any order. They are added up as they come: what is held is about three times what is returned.
    columns : Columns
        Of all parts.
    """
    total = Part.empty(columns)
    waiting: list[Part] = []
    rows = 0
    for part in parts:
        waiting.append(part)
        rows += part.ids.size + len(part.pairs)
        if rows > max(FEWEST, total.ids.size + len(total.pairs)):
            total, waiting, rows = _sum([total, *waiting]), [], 0
    return _sum([total, *waiting])


def _sum(parts: list[Part]) -> Part:
    ids = np.concatenate([p.ids for p in parts])
    pairs = np.concatenate([p.pairs for p in parts])
    order, starts = _groups(ids)
    by_pair, pair_starts = _groups(pairs[:, 1], pairs[:, 0])
    return Part(
        ids[order][starts],
        _reduce(np.add, [p.added for p in parts], order, starts),
        _reduce(np.maximum, [p.topped for p in parts], order, starts),
        pairs[by_pair][pair_starts],
        _reduce(np.add, [p.contacts for p in parts], by_pair, pair_starts),
    )


def _groups(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order that sorts by the last key first, and where in it new keys start."""
    order = np.lexsort(keys)
    new = np.zeros(order.size, bool)
    new[:1] = True
    for key in keys:
        of = key[order]
        new[1:] |= of[1:] != of[:-1]
    return order, np.flatnonzero(new)


def _reduce(function: np.ufunc, rows: list[np.ndarray], order: np.ndarray, starts: np.ndarray) -> np.ndarray:
    joined = np.concatenate(rows)[order]
    return function.reduceat(joined, starts, axis=0) if starts.size else joined


def unlike_pairs(total: Part, columns: Columns) -> np.ndarray:
    """Return pairs of a particle's voxels and of voxels that are not its own, by class of direction, shape (n, 7)."""
    unlike = total.added[:, columns.added["open"]].copy()
    for side in range(2):
        np.add.at(unlike, np.searchsorted(total.ids, total.pairs[:, side]), total.contacts)
    return unlike


def contact_numbers(total: Part) -> tuple[np.ndarray, np.ndarray]:
    """Return how many others each particle shares a voxel face with, and how many it touches at all."""
    numbers = []
    for kept in (total.pairs[total.contacts[:, :3].any(axis=1)], total.pairs):
        at = np.searchsorted(total.ids, kept.ravel())
        numbers.append(np.bincount(at, minlength=total.ids.size).astype(np.int64))
    return numbers[0], numbers[1]
