"""Assembly of the diffusion equation on voxels of any diffusivity, as a graph of the voxels that conduct."""

from __future__ import annotations

import numpy as np
from numba import njit

from mgsflow.solvers.coarsening_kernel import unite


@njit(cache=True, nogil=True, inline="always")
def half_harmonic_mean(d: float, e: float) -> float:
    """Return d e / (d + e), of two positive numbers."""
    # with the larger in front, neither overflow nor a product that rounds to nothing
    small, large = min(d, e), max(d, e)
    return small / (1.0 + small / large)


@njit(cache=True, nogil=True, inline="always")
def _neighbour(
    side: int, z: int, y: int, x: int, shape: tuple[int, int, int], periodic: np.ndarray
) -> tuple[int, int, int]:
    """Return the voxel on a side (0, 1 along z, 2, 3 along y, 4, 5 along x), across periodic ones; -1 if there is none.

    A single layer of voxels is not its own neighbour.
    """
    a = side >> 1
    to = (z if a == 0 else (y if a == 1 else x)) + (1 if side & 1 else -1)
    if to < 0 or to == shape[a]:
        to = (shape[a] - 1 if to < 0 else 0) if periodic[a] and shape[a] > 1 else -1
    if to < 0:
        return -1, -1, -1
    return (to if a == 0 else z), (to if a == 1 else y), (to if a == 2 else x)


@njit(cache=True, nogil=True)
def voxel_parts(conducts: np.ndarray, periodic: np.ndarray, parent: np.ndarray) -> None:
    """Join face neighbours that conduct, across periodic sides too; other voxels stay separate."""
    nz, ny, nx = conducts.shape
    for i in range(parent.size):
        parent[i] = i
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if not conducts[z, y, x]:
                    continue
                i = (z * ny + y) * nx + x
                if x and conducts[z, y, x - 1]:
                    unite(parent, i, i - 1)
                if y and conducts[z, y - 1, x]:
                    unite(parent, i, i - nx)
                if z and conducts[z - 1, y, x]:
                    unite(parent, i, i - ny * nx)
                if periodic[2] and x == nx - 1 and conducts[z, y, 0]:
                    unite(parent, i, i - x)
                if periodic[1] and y == ny - 1 and conducts[z, 0, x]:
                    unite(parent, i, i - y * nx)
                if periodic[0] and z == nz - 1 and conducts[0, y, x]:
                    unite(parent, i, i - z * ny * nx)
    for i in range(parent.size):
        parent[i] = parent[parent[i]]


@njit(cache=True, nogil=True)
def number_kept(kept: np.ndarray, index: np.ndarray) -> int:
    """Number the voxels that are kept in C order, -1 for others; return how many there are."""
    n = 0
    for i in range(kept.size):
        if kept[i]:
            index[i] = n
            n += 1
        else:
            index[i] = -1
    return n


@njit(cache=True, nogil=True)
def link_voxels(
    index: np.ndarray,
    diffusivity: np.ndarray,
    conductance: np.ndarray,
    periodic: np.ndarray,
    axis: int,
    outlet: bool,
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    ground: np.ndarray,
    source: np.ndarray,
    key: np.ndarray,
    count: bool,
) -> None:
    """Write the links of the kept voxels; with `count` true, only the number of links of each.

    The conductance of a face is that of its axis times the harmonic mean 2ab / (a + b) of the two diffusivities. A
    Dirichlet face of `axis` is half a voxel away: twice the conductance of the voxel. With `outlet` false, there is no
    flux through the last plane.
    """
    nz, ny, nx = index.shape
    last = index.shape[axis] - 1
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                i = index[z, y, x]
                if i < 0:
                    continue
                d = diffusivity[z, y, x]
                at = 0 if count else indptr[i]
                n = 0
                for side in range(6):
                    q, r, s = _neighbour(side, z, y, x, index.shape, periodic)
                    j = index[q, r, s] if q >= 0 else -1
                    if j < 0:
                        continue
                    if not count:
                        indices[at + n] = j
                        weights[at + n] = conductance[side >> 1] * 2.0 * half_harmonic_mean(d, diffusivity[q, r, s])
                    n += 1
                if not count:
                    place = z if axis == 0 else (y if axis == 1 else x)
                    end = 2.0 * conductance[axis] * d
                    source[i] = end if place == 0 else 0.0
                    ground[i] = source[i] + (end if outlet and place == last else 0.0)
                    key[i] = (np.int64(z) << 42) | (np.int64(y) << 21) | np.int64(x)
                else:
                    indptr[i + 1] = n


@njit(cache=True, nogil=True)
def voxel_fluxes(
    index: np.ndarray,
    diffusivity: np.ndarray,
    conductance: float,
    axis: int,
    x: np.ndarray,
    out: np.ndarray,
) -> None:
    """Sum the flux through every plane between voxels along `axis`, the end faces, held at 1 and 0, included."""
    nz, ny, nx = index.shape
    last = index.shape[axis] - 1
    dz, dy, dx = int(axis == 0), int(axis == 1), int(axis == 2)
    for q in range(nz):
        for r in range(ny):
            for s in range(nx):
                i = index[q, r, s]
                if i < 0:
                    continue
                d = diffusivity[q, r, s]
                place = q if axis == 0 else (r if axis == 1 else s)
                if place == 0:
                    out[0] += 2.0 * conductance * d * (1.0 - x[i])
                if place == last:
                    out[last + 1] += 2.0 * conductance * d * x[i]
                else:
                    j = index[q + dz, r + dy, s + dx]
                    if j >= 0:
                        mean = half_harmonic_mean(d, diffusivity[q + dz, r + dy, s + dx])
                        out[place + 1] += conductance * 2.0 * mean * (x[i] - x[j])


@njit(cache=True, nogil=True)
def reactive_faces(
    index: np.ndarray, reacts: np.ndarray, areas: np.ndarray, periodic: np.ndarray, out: np.ndarray
) -> None:
    """Sum for each kept voxel the areas of its faces to voxels that react."""
    nz, ny, nx = index.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                i = index[z, y, x]
                if i < 0:
                    continue
                total = 0.0
                for side in range(6):
                    q, r, s = _neighbour(side, z, y, x, index.shape, periodic)
                    if q >= 0 and reacts[q, r, s]:
                        total += areas[side >> 1]
                out[i] = total


@njit(cache=True, nogil=True)
def link_energy(
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    ground: np.ndarray,
    source: np.ndarray,
    x: np.ndarray,
) -> float:
    """Sum conductance times difference squared over all links, and over the end faces."""
    total = 0.0
    for i in range(x.size):
        part = source[i] * (1.0 - x[i]) ** 2 + (ground[i] - source[i]) * x[i] ** 2
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            if j > i:
                part += weights[k] * (x[i] - x[j]) ** 2
        total += part
    return total
