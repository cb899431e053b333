"""Merging basins that are not deep enough to be particles of their own.

From the deepest point down, each basin starts at its peak, and two that meet become one at their saddle; there, the one
with the lower peak ends. What it rose above the saddle, √D²(peak) - √D²(saddle), is its *persistence*: how much thinner
than the particle the neck is that sets it apart, in voxels. Basins whose persistence is small are merged with the one
across that saddle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from mgsflow.labelling.components.kernel import find
from mgsflow.particle_analysis.watershed.saddles import Meetings


@dataclass(frozen=True)
class Merged:
    """Particles that basins were merged to.

    Parameters
    ----------
    particle : ndarray of int64, shape (basins,)
        The basin with the highest peak of each one's particle.
    ends : ndarray of int32, shape (basins,)
        Squared distance of the saddle where each basin ends; 0 for those that never do.
    """

    particle: np.ndarray
    ends: np.ndarray


def merge_basins(peaks: np.ndarray, meetings: Meetings, persistence: float, relative: bool) -> Merged:
    """Merge basins of small persistence.

    Parameters
    ----------
    peaks : ndarray of int32, shape (basins,)
        Squared distances of the basins' peaks. Basins are numbered from 1 in the order of their peaks by (squared
        distance, C index), which makes numbers, and the result, independent of blocks.
    meetings : Meetings
        Of basins by their numbers, each once.
    persistence : float
        Largest persistence at which a basin is merged, in voxels.
    relative : bool
        `persistence` is a share of the depth of the basin's peak, √D²(peak), instead.
    """
    # by falling saddles, and equal ones in an order that blocks have no part in
    order = np.lexsort((meetings.second, meetings.first, -meetings.saddle.astype(np.int64)))
    particle, ends = np.arange(peaks.size), np.zeros(peaks.size, np.int32)
    _merge(
        meetings.first[order] - 1, meetings.second[order] - 1, meetings.saddle[order], peaks, persistence, relative,
        particle, ends,
    )  # fmt: skip
    return Merged(particle, ends)


@njit(cache=True, nogil=True)
def _merge(first, second, saddle, peaks, persistence, relative, particle, ends):  # type: ignore[no-untyped-def]
    whole = np.arange(peaks.size)
    for k in range(first.size):
        a, b = find(whole, first[k]), find(whole, second[k])
        if a == b:
            continue
        low, high = min(a, b), max(a, b)
        whole[low] = high
        ends[low] = saddle[k]
        depth = np.sqrt(np.float64(peaks[low]))
        rise = depth - np.sqrt(np.float64(saddle[k]))
        if (rise / depth if relative else rise) <= persistence:
            # all of the lower side is one particle by now: whatever is less high in it has less persistence
            p, q = find(particle, first[k]), find(particle, second[k])
            particle[min(p, q)] = max(p, q)
    for i in range(
        particle.size - 1, -1, -1
    ):  # a parent is larger than its child, and settled when the child's turn comes
        particle[i] = particle[particle[i]]
