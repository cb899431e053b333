"""Velocities on the faces of voxels, from those at their centres.

The flow solver has each component of the velocity on the faces across its axis, and gives the means of two faces, at
the centres of voxels. No-slip walls and continuity (∇·u = 0) undo that: across the flow a row of open voxels begins
at a wall, where the velocity is zero, and each mean gives the next face; along the flow, what leaves a voxel sideways
is then known, and so is the difference of its two faces.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.errors import InputError
from mgsflow.transport.stokes.velocity.faces import SIDES


def face_velocities(velocity: np.ndarray, d: int, edges: np.ndarray, sides: str = "no-slip") -> list[np.ndarray]:
    """Return the three components on faces.

    Parameters
    ----------
    velocity : ndarray, shape (3, z, y, x)
        At centres: means of the two faces; zero in solid.
    d : int
        Axis of the flow.
    edges : ndarray, shape (3,)
        Edges of a voxel.
    sides : {"no-slip", "symmetric", "periodic"}
        Rows that are open all around a periodic side have no wall: their faces are means of the centres.

    Returns
    -------
    list of ndarray of float32
        Components along (z, y, x), each one longer along its own axis.

    Raises
    ------
    InputError
        If the velocity is not finite, or the sides are none of these.
    """
    if sides not in SIDES:
        raise InputError(f"sides must be one of {', '.join(SIDES)}, got {sides!r}")
    if not np.isfinite(velocity).all():
        raise InputError("the velocity is not finite everywhere: it must be zero in solid, and the solve converged")
    flowing = np.ascontiguousarray((velocity != 0).any(axis=0))
    faces: list[np.ndarray] = [np.empty(0)] * 3
    net = np.zeros(flowing.shape, np.float64)
    for e in (e for e in range(3) if e != d):
        rows = np.moveaxis(velocity[e], e, 2)
        found = np.zeros((*rows.shape[:2], rows.shape[2] + 1), np.float64)
        open_rows = np.ascontiguousarray(np.moveaxis(flowing, e, 2))
        _unfold(np.ascontiguousarray(rows, dtype=np.float64), open_rows, sides == "periodic", found)
        component = np.moveaxis(found, 2, e)
        net += np.diff(component, axis=e) / edges[e]
        faces[e] = np.ascontiguousarray(component, dtype=np.float32)
    faces[d] = _along(velocity[d], flowing, net * (edges[d] / 2), d)
    return faces


def _along(centre: np.ndarray, flowing: np.ndarray, half: np.ndarray, d: int) -> np.ndarray:
    """Return the faces along the flow: u ± half of what leaves sideways, zero at walls."""
    u = np.moveaxis(centre, d, 0).astype(np.float64)
    is_open = np.moveaxis(flowing, d, 0)
    h = np.moveaxis(half, d, 0)
    n = u.shape[0]
    found = np.zeros((n + 1, *u.shape[1:]), np.float64)
    found[0] = np.where(is_open[0], u[0] + h[0], 0)
    found[n] = np.where(is_open[-1], u[-1] - h[-1], 0)
    both = is_open[:-1] & is_open[1:]
    # both neighbours give a face; they differ by rounding
    found[1:n] = np.where(both, (u[:-1] - h[:-1] + u[1:] + h[1:]) / 2, 0)
    return np.ascontiguousarray(np.moveaxis(found, 0, d), dtype=np.float32)


@njit(cache=True, nogil=True)
def _unfold(centre: np.ndarray, flowing: np.ndarray, periodic: bool, face: np.ndarray) -> None:
    """Set the faces of rows along the last axis from the means of two, beginning at walls."""
    n0, n1, n = centre.shape
    for i in range(n0):
        for j in range(n1):
            begin = -1
            for k in range(n):
                if not flowing[i, j, k]:
                    begin = k
                    break
            if not periodic:
                value = 0.0
                for k in range(n):
                    face[i, j, k] = value
                    value = 2 * centre[i, j, k] - value if flowing[i, j, k] else 0.0
                    if k == n - 1 or not flowing[i, j, k + 1]:
                        value = 0.0
                continue
            if begin < 0:
                for k in range(n):
                    face[i, j, k] = (centre[i, j, k - 1] + centre[i, j, k]) / 2
                face[i, j, n] = face[i, j, 0]
                continue
            value = 0.0
            for step in range(1, n + 1):
                k = (begin + step) % n
                face[i, j, k] = value
                after = (k + 1) % n
                value = 2 * centre[i, j, k] - value if flowing[i, j, k] and flowing[i, j, after] else 0.0
            face[i, j, n] = face[i, j, 0]
