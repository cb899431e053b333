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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from mgsflow.blocks import Triple
from mgsflow.errors import InputError
from mgsflow.transport.streamlines.face_velocity import face_velocities

if TYPE_CHECKING:
    import xarray as xr

#: How a line ended.
OUTLET, INLET, SIDE, STAGNANT, TOO_LONG = range(5)
ENDS = ("outlet", "inlet", "side", "stagnant", "too long")
_LEFT_BOX = 5
#: Points of a line, at most, for each voxel along the three edges of the image.
_MOST_POINTS = 24
#: Voxels of the box that is read at a time, where the field is not in memory.
_BOX = 64


@dataclass(frozen=True, eq=False)
class Streamlines:
    """Lines along a flow, each of which carries the same share of what enters.

    Attributes
    ----------
    axis : {"z", "y", "x"}
        Direction of the flow.
    position : ndarray of float32, shape (points, 3)
        Places along (z, y, x) in µm, line after line, one where a line enters or leaves a voxel.
    speed : ndarray of float32, shape (points,)
        Magnitude of the velocity there, in the units given.
    time : ndarray of float64, shape (points,)
        Time since the inlet: µm over the unit of the velocity.
    start : ndarray of int64, shape (lines + 1,)
        First point of each line; the last entry is the number of points.
    end : ndarray of uint8, shape (lines,)
        How each line ended: see `ends`.
    length : float
        Of the image along the flow, in µm.
    """

    axis: str
    position: np.ndarray
    speed: np.ndarray
    time: np.ndarray
    start: np.ndarray
    end: np.ndarray
    length: float

    @property
    def ends(self) -> list[str]:
        """How each line ended: ``outlet``, or, where the field is not free of divergence, another word."""
        return [ENDS[e] for e in self.end]

    @property
    def through(self) -> np.ndarray:
        """Whether each line reached the outlet."""
        return np.asarray(self.end == OUTLET)

    def line(self, index: int) -> np.ndarray:
        """Return the places of one line, shape (points, 3)."""
        return self.position[self.start[index] : self.start[index + 1]]

    def path_lengths(self) -> np.ndarray:
        """Return the length of each line in µm."""
        steps = np.sqrt((np.diff(self.position.astype(np.float64), axis=0) ** 2).sum(axis=1))
        total = np.concatenate([[0.0], np.cumsum(steps)])
        first, last = self.start[:-1], self.start[1:] - 1
        return np.asarray(total[last] - total[first])

    def hydraulic_tortuosity(self) -> float:
        """Return the mean length of the lines that run through over the length of the image; NaN if none does.

        Lines share the flow equally, so that the mean is weighted by flux.
        """
        through = self.through
        return float(self.path_lengths()[through].mean() / self.length) if through.any() else float("nan")

    def travel_times(self) -> np.ndarray:
        """Return the time from inlet to outlet of each line that runs through."""
        return np.asarray(self.time[self.start[1:] - 1][self.through])

    def to_dataset(self) -> xr.Dataset:
        """Return the points, each with the number of its line, and how the lines ended."""
        import xarray as xr  # not needed by workers

        line = np.repeat(np.arange(self.end.size, dtype=np.int32), np.diff(self.start))
        return xr.Dataset(
            {
                "position": (("point", "axis"), self.position, {"units": "µm", "long_name": "place on a streamline"}),
                "speed": ("point", self.speed, {"long_name": "magnitude of the velocity"}),
                "time": ("point", self.time, {"long_name": "time since the inlet"}),
                "line": ("point", line, {"long_name": "number of the streamline"}),
                "ended": ("lines", np.array(self.ends, dtype=object), {"long_name": "where the streamline ended"}),
            },
            coords={"axis": list("zyx")},
            attrs={"flow_axis": self.axis, "length_um": self.length},
        )

    def write_vtk(self, path: str | Path) -> Path:
        """Write the lines for ParaView: ``.vtp`` (XML) or ``.vtk`` (legacy), both as text, in µm along (x, y, z).

        Raises
        ------
        InputError
            If the suffix is another, or the file cannot be written.
        """
        from mgsflow.transport.streamlines.vtk import legacy_polydata, xml_polydata

        path = Path(path)
        forms = {".vtk": legacy_polydata, ".vtp": xml_polydata}
        if path.suffix not in forms:
            raise InputError(f"streamlines are written as .vtk or .vtp, got {path.name}: choose one of these")
        text = forms[path.suffix](self.position, self.start, {"speed": self.speed, "time": self.time})
        try:
            path.write_text(text, encoding="ascii")
        except OSError as error:
            raise InputError(f"streamlines cannot be written to {path}: {error.strerror or error}") from error
        return path


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
        If an argument is not as said.
    """
    if axis not in ("z", "y", "x"):
        raise InputError(f"axis must be z, y or x, got {axis!r}")
    if lines < 1:
        raise InputError(f"lines must be 1 or more, got {lines}")
    edges = np.ones(3) * np.asarray(voxel_size, dtype=np.float64)
    if edges.shape != (3,) or not (np.isfinite(edges).all() and (edges > 0).all()):
        raise InputError(f"voxel_size must be one or three positive numbers in µm, got {voxel_size!r}")
    d = "zyx".index(axis)
    faces, shape = _faces(velocity, d, edges, sides)
    index = [slice(None)] * 3
    index[d] = slice(0, 1)
    inlet = np.asarray(faces[d][tuple(index)], dtype=np.float64).squeeze(d)
    if not np.isfinite(inlet).all():
        raise InputError("the velocity at the inlet is not finite: streamlines need a field that converged")
    seeds = _seeds(inlet, lines)
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


def stacked(found: Mapping[tuple[str, str], Streamlines]) -> xr.Dataset:
    """Return the lines of several scans and axes as one table.

    Parameters
    ----------
    found : dict of (str, str) to Streamlines
        By scan and axis.

    Returns
    -------
    Dataset
        Along ``point``: ``position`` (also along ``axis``), ``speed``, ``time`` and ``line``, the number of the line;
        along ``lines``: ``line_scan``, ``line_axis`` and ``ended``.
    """
    import xarray as xr

    parts, before = [], 0
    for (scan, axis), lines in found.items():
        one = lines.to_dataset()
        count = lines.end.size
        one["line"] = one["line"] + np.int32(before)
        one["line_scan"] = ("lines", np.full(count, scan, dtype=object), {"long_name": "scan of the streamline"})
        one["line_axis"] = ("lines", np.full(count, axis, dtype=object), {"long_name": "direction of its flow"})
        parts.append(one.drop_attrs(deep=False))
        before += count
    if not parts:
        raise InputError("no streamlines to be put together: give those of one scan at least")
    names = [[n for n in parts[0].data_vars if d in parts[0][n].dims] for d in ("point", "lines")]
    return xr.merge(
        [xr.concat([p[n] for p in parts], dim=d) for n, d in zip(names, ("point", "lines"))], combine_attrs="override"
    )


def _faces(velocity: Any, d: int, edges: np.ndarray, sides: str) -> tuple[list[Any], Triple]:
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


def _seeds(inlet: np.ndarray, lines: int) -> np.ndarray:
    """Return starting points (rows, columns) on the inlet in voxels, one for each equal share of its flow."""
    flow = np.where(inlet > 0, inlet, 0.0)
    total = flow.sum()
    if not total > 0:
        return np.zeros((0, 2))
    # neighbours on a space-filling curve are neighbours on the inlet: equal shares are spread evenly over it
    order = np.argsort(_morton(*np.indices(inlet.shape)).ravel(), kind="stable")
    cumulative = np.cumsum(flow.ravel()[order])
    at = np.searchsorted(cumulative, (np.arange(lines) + 0.5) / lines * cumulative[-1], side="right")
    cells = np.stack(np.unravel_index(order[np.minimum(at, order.size - 1)], inlet.shape), axis=1)
    plastic = 1.32471795724474602596  # of the R2 sequence, which fills squares evenly
    inside = (0.5 + np.arange(1, lines + 1)[:, None] / np.array([plastic, plastic**2])) % 1
    return np.asarray(cells + inside)


def _morton(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    code = np.zeros(row.shape, np.int64)
    for bit in range(20):
        code |= ((row >> bit & 1) << (2 * bit + 1)) | ((column >> bit & 1) << (2 * bit))
    return code


def _trace_all(
    faces: list[Any], shape: Triple, seeds: np.ndarray, d: int, edges: np.ndarray
) -> list[tuple[np.ndarray, int]]:
    """Return points (z, y, x in voxels, speed, time) and end of each line, reading one box at a time."""
    most = _MOST_POINTS * sum(shape)
    box = shape if all(isinstance(f, np.ndarray) for f in faces) else (_BOX, _BOX, _BOX)
    pieces: list[list[np.ndarray]] = [[] for _ in seeds]
    ends = [STAGNANT] * len(seeds)
    heads = {}
    for i, seed in enumerate(seeds):
        place = np.insert(seed, d, 0.0)
        heads[i] = (tuple(int(p) for p in place), np.append(place, 0.0), 0)
    while heads:
        # the box that the first waiting line needs, and all other lines that wait for it
        wanted = [tuple(c // b for c, b in zip(cell, box)) for cell, _, _ in heads.values()]
        turn = min(wanted)
        low = np.array([t * b for t, b in zip(turn, box)])
        high = np.minimum(low + box, shape)
        parts = _read(faces, low, high)
        for i in [i for i, w in zip(list(heads), wanted) if w == turn]:
            cell, state, used = heads.pop(i)
            out = np.empty((most - used + 1, 5))
            at = np.array(cell)
            count, end = _trace(*parts, low, high, np.array(shape), d, edges, at, state, out)
            pieces[i].append(out[:count].copy())
            if end == _LEFT_BOX:
                heads[i] = (tuple(int(c) for c in at), state, used + count)
            else:
                ends[i] = int(end)
    return [(np.concatenate(p), e) for p, e in zip(pieces, ends)]


def _read(faces: list[Any], low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    parts = []
    for d, component in enumerate(faces):
        index = tuple(slice(int(a), int(b) + (e == d)) for e, (a, b) in enumerate(zip(low, high)))
        parts.append(np.ascontiguousarray(component[index], dtype=np.float32))
    return parts


@njit(cache=True, nogil=True)
def _trace(
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
    """Follow one line through a box of voxels; cell and state (place in voxels, time) are where it stops."""
    before, after, here = np.empty(3), np.empty(3), np.empty(3)
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
            here[e] = before[e] + change * s
            speed += (here[e] * edges[e]) ** 2
            # towards a face that the flow does not cross, a point only creeps
            if here[e] > 0 and after[e] > 0:
                room, sign = 1.0 - s, 1
            elif here[e] < 0 and before[e] < 0:
                room, sign = -s, -1
            else:
                continue
            share = change * room / here[e]
            t = room / here[e] if abs(share) < 1e-9 else np.log1p(share) / change
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
                here[e] = after[e] if step > 0 else before[e]
            else:
                change = after[e] - before[e]
                grown = change * first
                moved = here[e] * first if abs(grown) < 1e-9 else here[e] * np.expm1(grown) / change
                state[e] = min(max(state[e] + moved, float(cell[e])), cell[e] + 1.0)
                here[e] = before[e] + change * (state[e] - cell[e])
            speed += (here[e] * edges[e]) ** 2
        state[3] += first
        cell[way] += step
        if cell[way] < 0 or cell[way] >= shape[way]:
            out[count, 0], out[count, 1], out[count, 2] = state[0], state[1], state[2]
            out[count, 3], out[count, 4] = np.sqrt(speed), state[3]
            return count + 1, SIDE if way != d else OUTLET if step > 0 else INLET
        if cell[way] < low[way] or cell[way] >= high[way]:
            return count, _LEFT_BOX  # where it goes on, this place is the first
