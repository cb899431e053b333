"""Velocities on the faces of voxels: which carry flow, and what is beside them.

The marker-and-cell grid has the pressure at the centres of voxels and each component of the velocity on the faces
across its axis. Every field is an array of shape (nz + 3, ny + 2, nx + 2): voxel (i, j, k) lies at (i + 1, j + 1,
k + 1), and the face of component d before it, at the same place; plane 1 of component 0 is the inlet and plane nz + 1
the outlet. A face that carries no flow holds zero, so that sums over neighbours need no condition.

With the velocity divided by the edge h_d of a voxel along it, and its equation multiplied by h_d, pressure gradient
and divergence are plain differences, and the viscous matrix of component d is a sum over the axes e,

    (A_d u)_f = Σ_e (h_d / h_e)² (c_e u_f − u_f₋ₑ − u_f₊ₑ).

c_e counts one for a neighbour, whether it carries flow or lies on a wall (zero, a full distance away); two for a wall
at half the distance, between two solid voxels (the mirror image has the velocity −u); and nothing beyond the inlet,
the outlet or a symmetric side, where the velocity is u itself. Along d itself c is 2. One byte a face holds the
counts along the other two axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from mgsflow.blocks import Triple

ACTIVE = 64
"""Bit of a face that carries flow; below it, three bits each for the counts along the other two axes."""

SIDES = ("no-slip", "symmetric", "periodic")


@njit(cache=True, nogil=True)
def count_couplings(pores: np.ndarray, d: int, mirrored: bool, out: np.ndarray) -> None:
    """Write the codes of the faces of component d; those without flow are left as they are."""
    n0, n1, n2 = pores.shape
    nz, ny, nx = n0 - 3, n1 - 2, n2 - 2
    for i in range(1, nz + 2):
        for j in range(1, ny + 1):
            for k in range(1, nx + 1):
                # the two voxels that share the face; one for the inlet and the outlet
                a, b, c = i - (d == 0), j - (d == 1), k - (d == 2)
                p, q, r = i, j, k
                if d == 0 and i == 1:
                    a = 1
                elif d == 0 and i == nz + 1:
                    p = nz
                elif i == nz + 1:
                    continue
                if not (pores[p, q, r] and pores[a, b, c]):
                    continue
                byte = ACTIVE
                shift = 0
                for e in range(3):
                    if e == d:
                        continue
                    count = 0
                    for s in (-1, 1):
                        u, v, w = p + s * (e == 0), q + s * (e == 1), r + s * (e == 2)
                        if e == 0 and (u < 1 or u > nz):
                            continue
                        if mirrored and ((e == 1 and (v < 1 or v > ny)) or (e == 2 and (w < 1 or w > nx))):
                            continue
                        around = pores[u, v, w] or pores[a + s * (e == 0), b + s * (e == 1), c + s * (e == 2)]
                        count += 1 if around else 2
                    byte |= count << shift
                    shift += 3
                out[i, j, k] = byte


def wrap(field: np.ndarray, periodic: bool) -> None:
    """Copy what lies across the periodic sides into the margin of a field."""
    if periodic:
        field[:, 0] = field[:, -2]
        field[:, -1] = field[:, 1]
        field[:, :, 0] = field[:, :, -2]
        field[:, :, -1] = field[:, :, 1]


def write_face_codes(pores: np.ndarray, d: int, sides: str, start: int, stop: int, out: np.ndarray) -> None:
    """Write the codes of the faces of component d on planes from `start` to `stop`, 0 on all others.

    Parameters
    ----------
    pores : ndarray of uint8, shape (planes, ny + 2, nx + 2)
        With the margin filled: see `wrap`.
    d : int
    sides : {"no-slip", "symmetric", "periodic"}
    start, stop : int
    out : ndarray of uint8, shape of the pores
        Zero before.
    """
    count_couplings(pores, d, sides == "symmetric", out)
    out[:start] = 0
    out[stop:] = 0
    wrap(out, sides == "periodic")


def coupling_weights(edges: tuple[float, float, float]) -> np.ndarray:
    """Return (h_d / h_e)² by component d and axis e, float32 of shape (3, 3)."""
    h = np.array(edges, np.float64)
    weights: np.ndarray = ((h[:, None] / h[None, :]) ** 2).astype(np.float32)
    return weights


def inlet_outlet_halves(planes: int, offset: int, length: int) -> np.ndarray:
    """Return the share of a control volume that faces have: see `Faces.half`.

    Parameters
    ----------
    planes : int
        Planes of the array, the first of which is plane `offset` of the field.
    offset : int
    length : int
        Planes of the field, nz + 3.
    """
    half = np.ones((3, planes), np.float32)
    for plane in (1 - offset, length - 2 - offset):
        if 0 <= plane < planes:
            half[0, plane] = 0.5
    return half


@dataclass(frozen=True, eq=False)
class Faces:
    """The pore space as the solver sees it; the flow is along axis 0.

    Attributes
    ----------
    pores : ndarray of uint8, shape (nz + 3, ny + 2, nx + 2)
        Not zero in pores.
    codes : ndarray of uint8, shape (3, nz + 3, ny + 2, nx + 2)
        A byte for each face of each component, 0 where there is no flow.
    weights : ndarray of float32, shape (3, 3)
        (h_d / h_e)² by component d and axis e.
    half : ndarray of float32, shape (3, nz + 3)
        Share of a control volume that a face of each component has, by plane: ½ for component 0 on the inlet and
        the outlet. Only the axes across are scaled: along the flow such a face has one neighbour where others have
        two.
    periodic : bool
        Whether the sides are.
    edges : tuple of float
        Edges of a voxel, the first along the flow.
    """

    pores: np.ndarray
    codes: np.ndarray
    weights: np.ndarray
    half: np.ndarray
    periodic: bool
    edges: tuple[float, float, float]

    @property
    def shape(self) -> Triple:
        """Shape of every field."""
        a, b, c = self.pores.shape
        return a, b, c

    @property
    def length(self) -> int:
        """Voxels along the flow."""
        return self.shape[0] - 3

    @property
    def section(self) -> int:
        """Voxels of a cross-section, solid ones too."""
        return (self.shape[1] - 2) * (self.shape[2] - 2)

    @property
    def inlet_values(self) -> np.ndarray:
        """1 on the faces of the inlet that carry flow, 0 on others; the margin is 0."""
        values = np.zeros(self.shape[1:], np.float32)
        values[1:-1, 1:-1] = self.codes[0][1, 1:-1, 1:-1] > 0
        return values


def make_faces(pores: np.ndarray, edges: tuple[float, float, float], sides: str) -> Faces:
    """Return the faces of a padded pore space.

    Parameters
    ----------
    pores : ndarray of uint8, shape (nz + 3, ny + 2, nx + 2)
        1 in pores, 0 in solid and in the margin; its margin is filled if the sides are periodic.
    edges : tuple of float
        Edges of a voxel, the first along the flow.
    sides : {"no-slip", "symmetric", "periodic"}
    """
    planes = pores.shape[0]
    wrap(pores, sides == "periodic")
    codes = np.zeros((3, *pores.shape), np.uint8)
    for d in range(3):
        write_face_codes(pores, d, sides, 0, planes, codes[d])
    half = inlet_outlet_halves(planes, 0, planes)
    return Faces(pores, codes, coupling_weights(edges), half, sides == "periodic", edges)
