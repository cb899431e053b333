"""Binary volumes that are hard on anything that works block by block, and cuts of volumes into uneven blocks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from mgsflow.blocks import Grid


def snake(shape):
    """One path of voxels through the whole volume: along x, back along x two rows on, and so on two planes on."""
    out = np.zeros(shape, bool)
    nz, ny, nx = shape
    for z in range(0, nz, 2):
        for y in range(0, ny, 2):
            out[z, y] = True
            if y + 2 < ny:
                out[z, y + 1, 0 if (y // 2) % 2 else nx - 1] = True
        if z + 2 < nz:
            out[z + 1, 0 if (z // 2) % 2 else (ny - 1) // 2 * 2, 0] = True
    return out


def spirals(shape):
    """A square spiral in every other plane."""
    _, ny, nx = shape
    out = np.zeros(shape, bool)
    plane = np.zeros((ny, nx), bool)
    y = x = 0
    dy, dx = 0, 1
    plane[0, 0] = True
    while True:
        for _ in range(2):
            a, b = y + dy, x + dx
            c, d = y + 2 * dy, x + 2 * dx
            free = 0 <= a < ny and 0 <= b < nx and not plane[a, b]
            if free and not (0 <= c < ny and 0 <= d < nx and plane[c, d]):
                break
            dy, dx = dx, -dy
        else:
            break
        y, x = y + dy, x + dx
        plane[y, x] = True
    out[::2] = plane
    return out


def checkerboard(shape):
    """Voxels that touch across edges only."""
    return np.indices(shape).sum(axis=0) % 2 == 0


def corners(shape):
    """Voxels that touch across corners only."""
    z, y, x = np.indices(shape)
    return (z % 2 == y % 2) & (y % 2 == x % 2)


@st.composite
def masks(draw, most=9):
    """Return a binary volume: random, regular, winding, empty or full."""
    shape = draw(st.tuples(*[st.integers(1, most)] * 3))
    kind = draw(st.sampled_from(["random"] * 3 + ["snake", "spirals", "checkerboard", "corners", "constant"]))
    if kind == "random":
        seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.05, 0.2, 0.3, 0.4, 0.5, 0.7, 0.95]))
        mask = np.random.default_rng(seed).random(shape) < share
    elif kind == "constant":
        mask = np.full(shape, draw(st.booleans()))
    else:
        mask = globals()[kind](shape)
    return ~mask if draw(st.booleans()) else mask


@st.composite
def cuts(draw, n):
    """Return block lengths that add up to n: uneven, thin, or one."""
    if draw(st.booleans()):
        block = draw(st.sampled_from([1, 2, 3, 5, 7, n]))
        return Grid.regular((n, 1, 1), (min(block, n), 1, 1)).cuts[0]
    where = draw(st.sets(st.integers(1, n - 1))) if n > 1 else set()
    places = [0, *sorted(where), n]
    return tuple(b - a for a, b in pairwise(places))


@st.composite
def masks_in_blocks(draw, most=9):
    """Return a binary volume and a grid over it."""
    mask = draw(masks(most))
    return mask, Grid(tuple(draw(cuts(n)) for n in mask.shape))
