"""Streamlines of a flow on voxels, traced exactly from face to face.

On a marker-and-cell grid each component of the velocity is given on the faces across its axis. Between the two faces of
a voxel it is taken as linear along that axis, as the scheme itself does; then a path has a closed form in every voxel
(Pollock's method), its time of flight too, and no face that carries no flow is ever crossed: no line enters a solid.

References
----------
D. W. Pollock (1988). Semianalytical computation of path lines for finite-difference models. *Groundwater* 26, 743–750,
doi:10.1111/j.1745-6584.1988.tb00425.x
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from mgsflow.blocks import Triple
from mgsflow.errors import InputError
from mgsflow.transport.streamlines.face_velocity import face_velocities
from mgsflow.transport.streamlines.result import ENDS, INLET, OUTLET, SIDE, STAGNANT, TOO_LONG, Streamlines
from mgsflow.transport.streamlines.seeding import flux_weighted_seeds

#: A line that goes on in another box.
_LEFT_BOX = len(ENDS)
#: Points of a line, at most, for each voxel along the three edges of the image.
_MAX_POINTS = 24
#: Voxels of the box that is read at a time, where the field is not in memory.
_BOX = 64


def streamlines(
    velocity: Any,
    axis: str = "z",
    voxel_size: float | Sequence[float] = 1.0,
    lines: int = 200,
    sides: str = "no-slip",
) -> Streamlines:
    """Return streamlines from the inlet, the first face along an axis.

    Starting points follow the flow through the inlet, so that each line stands for the same flow rate; within a voxel
    they follow a low-discrepancy sequence. Nothing is random.

    Parameters
    ----------
    velocity : ndarray of shape (3, z, y, x), or sequence of three arrays
        Components along (z, y, x): at the centres of voxels, as `permeability` returns them with ``fields=True``; or on
        the faces, where each array is one longer along its own axis. Face arrays may be zarr arrays: boxes are read
        as lines come to them.
    axis : {"z", "y", "x"}
        Direction of the flow.
    voxel_size : float or sequence of float
        µm, one number or (z, y, x).
    lines : int
        Number of lines.
    sides : {"no-slip", "symmetric", "periodic"}
        Of the solve, where the velocity is given at centres. Lines end at a periodic side.

    Returns
    -------
    Streamlines
        No lines, if nothing flows in.

    Raises
    ------
    InputError
        If an argument is out of range, or the velocity is not finite at the inlet.
    """
    if axis not in ("z", "y", "x"):
        raise InputError(f"axis must be z, y or x, got {axis!r}")
    if lines < 1:
        raise InputError(f"lines must be 1 or more, got {lines}")
    edges = np.ones(3) * np.asarray(voxel_size, dtype=np.float64)
    if edges.shape != (3,) or not (np.isfinite(edges).all() and (edges > 0).all()):
        raise InputError(f"voxel_size must be one or three positive numbers in µm, got {voxel_size!r}")
    d = "zyx".index(axis)
    faces, shape = _face_arrays(velocity, d, edges, sides)
    index = [slice(None)] * 3
    index[d] = slice(0, 1)
    inlet = np.asarray(faces[d][tuple(index)], dtype=np.float64).squeeze(d)
    if not np.isfinite(inlet).all():
        raise InputError("the velocity at the inlet is not finite: streamlines need a field that converged")
    seeds = flux_weighted_seeds(inlet, lines)
    traced = _trace_all(faces, shape, seeds, d, edges)
    counts = [len(t[0]) for t in traced]
    position = np.concatenate([t[0] for t in traced]) if traced else np.zeros((0, 5))
    return Streamlines(
        axis,
        (position[:, :3] * edges).astype(np.float32),
        position[:, 3].astype(np.float32),
        np.ascontiguousarray(position[:, 4]),
        np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        np.array([t[1] for t in traced], np.uint8),
        float(shape[d] * edges[d]),
    )


def _face_arrays(velocity: Any, d: int, edges: np.ndarray, sides: str) -> tuple[list[Any], Triple]:
    if len(velocity) != 3:
        raise InputError(f"velocity must have three components, got {len(velocity)}")
    shapes = [tuple(getattr(v, "shape", ())) for v in velocity]
    if any(len(s) != 3 for s in shapes):
        raise InputError(f"components of the velocity must be three-dimensional arrays, got shapes {shapes}")
    if shapes[0] == shapes[1] == shapes[2]:
        return face_velocities(np.asarray(velocity), d, edges, sides), shapes[0]
    cells = [tuple(n - (i == e) for e, n in enumerate(s)) for i, s in enumerate(shapes)]
    if not cells[0] == cells[1] == cells[2]:
        raise InputError(
            f"face velocities must each be one longer along their own axis, got shapes {shapes}: components along "
            "(z, y, x) of one image"
        )
    return list(velocity), cells[0]


def _trace_all(
    faces: list[Any], shape: Triple, seeds: np.ndarray, d: int, edges: np.ndarray
) -> list[tuple[np.ndarray, int]]:
    """Return points (z, y, x in voxels, speed, time) and end of each line, reading one box at a time."""
    max_points = _MAX_POINTS * sum(shape)
    box = shape if all(isinstance(f, np.ndarray) for f in faces) else (_BOX, _BOX, _BOX)
    segments: list[list[np.ndarray]] = [[] for _ in seeds]
    ends = [STAGNANT] * len(seeds)
    heads = {}
    for i, seed in enumerate(seeds):
        point = np.insert(seed, d, 0.0)
        heads[i] = (tuple(int(p) for p in point), np.append(point, 0.0), 0)
    while heads:
        # the box that the first waiting line needs, and all other lines that wait for it
        wanted = [tuple(c // b for c, b in zip(cell, box)) for cell, _, _ in heads.values()]
        next_box = min(wanted)
        low = np.array([t * b for t, b in zip(next_box, box)])
        high = np.minimum(low + box, shape)
        components = _read_box(faces, low, high)
        for i in [i for i, w in zip(list(heads), wanted) if w == next_box]:
            cell, state, used = heads.pop(i)
            out = np.empty((max_points - used + 1, 5))
            at = np.array(cell)
            count, end = _trace_in_box(*components, low, high, np.array(shape), d, edges, at, state, out)
            segments[i].append(out[:count].copy())
            if end == _LEFT_BOX:
                heads[i] = (tuple(int(c) for c in at), state, used + count)
            else:
                ends[i] = int(end)
    return [(np.concatenate(p), e) for p, e in zip(segments, ends)]


def _read_box(faces: list[Any], low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    components = []
    for d, component in enumerate(faces):
        index = tuple(slice(int(a), int(b) + (e == d)) for e, (a, b) in enumerate(zip(low, high)))
        components.append(np.ascontiguousarray(component[index], dtype=np.float32))
    return components


@njit(cache=True, nogil=True)
def _trace_in_box(
    fz: np.ndarray,
    fy: np.ndarray,
    fx: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    shape: np.ndarray,
    d: int,
    edges: np.ndarray,
    cell: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
) -> tuple[int, int]:
    """Follow one line through a box of voxels; `cell` and `state` (position in voxels, time) end where it stops."""
    before, after, local = np.empty(3), np.empty(3), np.empty(3)
    count = 0
    while True:
        a, b, c = cell[0] - low[0], cell[1] - low[1], cell[2] - low[2]
        before[0], after[0] = fz[a, b, c] / edges[0], fz[a + 1, b, c] / edges[0]
        before[1], after[1] = fy[a, b, c] / edges[1], fy[a, b + 1, c] / edges[1]
        before[2], after[2] = fx[a, b, c] / edges[2], fx[a, b, c + 1] / edges[2]
        first, way, step = -1.0, -1, 0
        speed = 0.0
        for e in range(3):
            s = min(max(state[e] - cell[e], 0.0), 1.0)
            change = after[e] - before[e]
            local[e] = before[e] + change * s
            speed += (local[e] * edges[e]) ** 2
            # towards a face that the flow does not cross, a point only creeps
            if local[e] > 0 and after[e] > 0:
                distance, sign = 1.0 - s, 1
            elif local[e] < 0 and before[e] < 0:
                distance, sign = -s, -1
            else:
                continue
            share = change * distance / local[e]
            t = distance / local[e] if abs(share) < 1e-9 else np.log1p(share) / change
            if way < 0 or t < first:
                first, way, step = t, e, sign
        out[count, 0], out[count, 1], out[count, 2] = state[0], state[1], state[2]
        out[count, 3], out[count, 4] = np.sqrt(speed), state[3]
        count += 1
        if way < 0:
            return count, STAGNANT
        if count >= out.shape[0] - 1:
            return count, TOO_LONG
        speed = 0.0
        for e in range(3):
            if e == way:
                state[e] = cell[e] + (1.0 if step > 0 else 0.0)
                local[e] = after[e] if step > 0 else before[e]
            else:
                change = after[e] - before[e]
                grown = change * first
                moved = local[e] * first if abs(grown) < 1e-9 else local[e] * np.expm1(grown) / change
                state[e] = min(max(state[e] + moved, float(cell[e])), cell[e] + 1.0)
                local[e] = before[e] + change * (state[e] - cell[e])
            speed += (local[e] * edges[e]) ** 2
        state[3] += first
        cell[way] += step
        if cell[way] < 0 or cell[way] >= shape[way]:
            out[count, 0], out[count, 1], out[count, 2] = state[0], state[1], state[2]
            out[count, 3], out[count, 4] = np.sqrt(speed), state[3]
            return count + 1, SIDE if way != d else OUTLET if step > 0 else INLET
        if cell[way] < low[way] or cell[way] >= high[way]:
            return count, _LEFT_BOX  # the line continues there, with this point as its first
