"""Permeability of a pore space: Stokes flow through its voxels, driven by a pressure drop along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, log2, nan, prod
from typing import Any

import numpy as np

from mgsflow.blocks import Box
from mgsflow.compute import Source
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import ArraySink
from mgsflow.memory import MIB, USABLE, WORKER_BASE, available, format_bytes
from mgsflow.solvers.team import Team, default_threads
from mgsflow.transport.diffusion.medium import check_edges
from mgsflow.transport.stokes.bramble_pasciak import bramble_pasciak
from mgsflow.transport.stokes.distributed.fields import FlowSinks
from mgsflow.transport.stokes.distributed.permeability import permeability_in_blocks
from mgsflow.transport.stokes.minres import minimal_residual
from mgsflow.transport.stokes.narrow_throats import narrow_share
from mgsflow.transport.stokes.pore_volume import FlowVolume, coarsen, inner, read_volume
from mgsflow.transport.stokes.problem import check_flow, flow_result, known_numbers, pore_source, without_flow
from mgsflow.transport.stokes.result import Permeability
from mgsflow.transport.stokes.system import StokesSystem
from mgsflow.transport.stokes.velocity.coarse import velocity_boxes
from mgsflow.transport.stokes.velocity.faces import make_faces

FINE_BYTES = 92
"""Bytes a voxel for vectors, codes of faces and weights."""

GRAPH_BYTES = 18
"""Bytes a voxel for the graph of the pressure, where boxes have eight voxels."""

BOX_BYTES = 60
"""Bytes a box for the velocity's coarse levels."""

FIELD_BYTES = 32
"""Bytes a voxel for the solution, and velocity and pressure at the centres of voxels."""


def permeability(
    phase: Any,
    pore: int | Sequence[int] = 1,
    axis: str = "z",
    voxel_size: float | Sequence[float] = 1.0,
    sides: str = "no-slip",
    rtol: float = 1e-3,
    reservoirs: int = 0,
    resolution_check: bool = False,
    fields: bool = False,
    threads: int | None = None,
    memory: int | None = None,
) -> Permeability:
    """Return the permeability of the pores of an image along an axis.

    Solves the Stokes equations μ ∇²u = ∇p, ∇·u = 0 in the pore voxels, with the pressure fixed at inlet and outlet
    (the two outer faces across the axis) and no-slip walls on solids. By Darcy's law K = μ U L / Δp, with the
    superficial velocity U, the mean over the whole cross-section, and the length L of the image.

    Parameters
    ----------
    phase : ndarray, zarr array or DataArray, shape (z, y, x)
        Labels, or booleans that are true in pores.
    pore : int or sequence of int
        Label of the pores, or several that are pores together.
    axis : {"z", "y", "x"}
        Along the flow.
    voxel_size : float or sequence of float
        Edge of a voxel in µm, or edges along (z, y, x).
    sides : {"no-slip", "symmetric", "periodic"}
        The four outer faces along the flow: walls; planes of symmetry, without shear or flow across; or each joined
        to the opposite one.
    rtol : float
        Relative error of K by the solver, at least 1e-6.
    reservoirs : int
        Open planes added before the inlet and behind the outlet. K is still that of the image: its length, and the
        whole pressure drop.
    resolution_check : bool
        Also solve with voxels 2 and 4 times as large, and extrapolate.
    fields : bool
        Also return velocity and pressure.
    threads : int, optional
        Default: those of the machine, at most 8. It does not change the result.
    memory : int, optional
        Bytes that the solve may take; default, nine tenths of the machine's. A larger problem is solved in slabs:
        see `mgsflow.transport.stokes.distributed.permeability.permeability_in_blocks`, also for clusters.

    Returns
    -------
    Permeability
        K in µm² with its error estimate; `status` tells whether the solve converged.

    Raises
    ------
    InputError
        If an argument is out of range, or the image or its labels cannot be used.

    Notes
    -----
    Marker-and-cell grid: see `stokes.velocity.faces`. A slit of H voxels has K = (H² + 2) / 12, where the
    continuum has H² / 12. About 120 bytes are needed a voxel of the image (`permeability_bytes`), 32 more for fields.

    References
    ----------
    F. H. Harlow and J. E. Welch, *Phys. Fluids* 8 (1965) 2182–2189, doi:10.1063/1.1761178.

    Examples
    --------
    A slit of 4 voxels between walls, in a cross-section 6 voxels high: K = (4² + 2) / 12 · 4 / 6.

    >>> import numpy as np
    >>> from mgsflow import permeability
    >>> image = np.zeros((4, 6, 3), np.uint8)
    >>> image[:, 1:5] = 1
    >>> result = permeability(image, pore=1, axis="z", sides="symmetric", rtol=1e-6)
    >>> result.status
    'converged'
    >>> round(result.permeability_um2, 4)
    1.0
    """
    sizes = check_flow(axis, voxel_size, sides, rtol, reservoirs)
    shape = list(pore_source(phase, pore).shape)
    shape["zyx".index(axis)] += 2 * int(reservoirs)
    limit = int(USABLE * available()) if memory is None else memory
    if permeability_bytes(shape, sizes, fields) > limit:
        if resolution_check:
            raise InputError(
                f"resolution_check needs {format_bytes(permeability_bytes(shape, sizes))} of memory, of which "
                f"{format_bytes(limit)} may be taken: leave it out, and the image is solved in slabs"
            )
        return _in_slabs(phase, pore, axis, sizes, sides, rtol, int(reservoirs), fields, threads, limit)
    volume = read_volume(pore_source(phase, pore), axis, sizes, sides, int(reservoirs))
    with Team(default_threads() if threads is None else threads) as team:
        coarser = _coarsened(pore_source(phase, pore), volume) if resolution_check and not volume.status else []
        found = solve_volume(volume, rtol, fields, team)
        if found.status != "converged":
            return found
        larger: list[float] = []
        for other in coarser:
            k = solve_volume(other, rtol, False, team).permeability_um2
            if not (isfinite(k) and k > 0):
                break
            larger.append(k)
    return replace(found, coarse_um2=tuple(larger), extrapolated_um2=extrapolate(found.permeability_um2, larger))


def _in_slabs(
    phase: Any,
    pore: int | Sequence[int],
    axis: str,
    sizes: tuple[float, float, float],
    sides: str,
    rtol: float,
    reservoirs: int,
    fields: bool,
    threads: int | None,
    memory: int,
) -> Permeability:
    shape = pore_source(phase, pore).shape
    velocity = np.zeros((3, *shape) if fields else 0, np.float32)
    pressure = np.zeros(shape if fields else 0, np.float32)
    out = None
    if fields:
        memory = max(0, memory - velocity.nbytes - pressure.nbytes)
        z, y, x = (ArraySink(v) for v in velocity)
        out = FlowSinks(ArraySink(pressure), (z, y, x))
    found = permeability_in_blocks(
        phase,
        pore,
        axis,
        sizes,
        sides,
        rtol,
        reservoirs,
        memory=int((memory + WORKER_BASE) / USABLE),
        threads=threads,
        out=out,
    )
    return replace(found, velocity=velocity, pressure=pressure) if fields and found.status == "converged" else found


def permeability_bytes(shape: Sequence[int], voxel_size: float | Sequence[float] = 1.0, fields: bool = False) -> int:
    """Return an upper bound of the bytes that `permeability` needs beside an image of any content.

    120 a voxel for cubic voxels. For others the multigrid has smaller boxes and more of them: up to 240.
    """
    edges = check_edges(voxel_size)
    z, y, x = (int(n) + 3 for n in shape)
    shifts, boxes = velocity_boxes((z, y, x), edges)
    graph_size = 2.0 ** (3 - sum(shifts[0]))
    per_voxel = FINE_BYTES + GRAPH_BYTES * graph_size + (FIELD_BYTES if fields else 0)
    return int(z * y * x * per_voxel) + BOX_BYTES * sum(prod(b) for b in boxes) + 2 * MIB


def solve_volume(volume: FlowVolume, rtol: float, fields: bool, team: Team) -> Permeability:
    """Return the permeability of a flow volume, whose array of pores is changed."""
    image = volume.image
    z, y, x = image.shape
    known = known_numbers(
        volume.pores, volume.percolating, volume.order, volume.sides, volume.edges, (z, y, x), volume.reservoirs
    )  # fmt: skip
    if volume.status:
        return without_flow(volume.status, known)
    narrow = narrow_share(image, volume.sides)
    system = StokesSystem(make_faces(volume.padded, volume.edges, volume.sides), team)
    state = bramble_pasciak(system, rtol, keep=fields)
    if state.status == "lost positivity":
        state = minimal_residual(system, rtol, keep=fields)
    result = flow_result(state, volume.edges, (z, y, x), narrow, known)
    if state.vector is None or state.status != "converged":
        return result
    velocity, pressure = centre_fields(state.vector, volume)
    return replace(result, velocity=velocity, pressure=pressure)


def centre_fields(vector: np.ndarray, volume: FlowVolume) -> tuple[np.ndarray, np.ndarray]:
    """Return velocity (3, z, y, x) and pressure (z, y, x) at the centres of the image's voxels."""
    back = np.argsort(volume.order)
    r = volume.reservoirs
    velocity = np.empty((3, *(volume.image.shape[d] for d in back)), np.float32)
    for d in range(3):
        after = np.roll(vector[d], -1, axis=d)
        after += vector[d]
        after *= np.float32(volume.edges[d] / 2)
        velocity[volume.order[d]] = inner(after, r).transpose(back)
    pressure = np.where(volume.image > 0, inner(vector[3], r), np.float32(nan)).transpose(back)
    return velocity, np.ascontiguousarray(pressure)


def extrapolate(fine: float, larger: Sequence[float]) -> float:
    """Return the Richardson extrapolation of K to voxels of edge zero, from K with edges 1, 2 (and 4).

    The order of convergence is estimated from three resolutions, limited to between 1 (staircase walls) and 2 (walls
    along the voxels); with two resolutions it is taken as 1.
    """
    if not larger:
        return nan
    order = 1.0
    if len(larger) > 1:
        ratio = (larger[1] - larger[0]) / (larger[0] - fine) if larger[0] != fine else 4.0
        order = min(2.0, max(1.0, log2(ratio))) if ratio > 0 else 1.0
    return fine + (fine - larger[0]) / (2**order - 1)


def _coarsened(source: Source, volume: FlowVolume) -> list[FlowVolume]:
    pores = source.read(Box.of(source.shape)).transpose(volume.order)
    found = (coarsen(volume, pores, factor) for factor in (2, 4))
    return [f for f in found if f is not None and not f.status]
