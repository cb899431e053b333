"""A flow problem: checks of its parameters, the pores of an image, and the numbers of its solution.

Shared by solves in memory (`mgsflow.transport.permeability`) and in slabs (`mgsflow.transport.stokes.distributed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan, prod
from typing import Any

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.compute import Source
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import PhaseMask, check_mask
from mgsflow.transport.diffusion.medium import check_edges
from mgsflow.transport.stokes.bramble_pasciak import FlowState
from mgsflow.transport.stokes.result import Permeability
from mgsflow.transport.stokes.velocity.faces import SIDES

FINEST = 1e-6
"""Smallest relative error that single precision can be asked for."""


def check_flow(
    axis: str, voxel_size: float | Sequence[float], sides: str, rtol: float, reservoirs: int
) -> tuple[float, float, float]:
    """Return the edges of a voxel along (z, y, x) after a check of all parameters.

    Raises
    ------
    InputError
        Naming the first that is invalid.
    """
    if axis not in ("z", "y", "x"):
        raise InputError(f"axis must be z, y or x, got {axis!r}")
    if sides not in SIDES:
        raise InputError(f"sides must be one of {', '.join(SIDES)}, got {sides!r}")
    if not FINEST <= rtol < 1:
        raise InputError(f"rtol must be from {FINEST} to 1, got {rtol}")
    if reservoirs < 0 or int(reservoirs) != reservoirs:
        raise InputError(f"reservoirs must be a whole number of planes, got {reservoirs}")
    return check_edges(voxel_size)


def pore_source(phase: Any, pore: int | Sequence[int]) -> Source:
    """Return a source of booleans that are true in pores.

    Raises
    ------
    InputError
        If `pore` is no label, and no sequence of them, or the image is not usable.
    """
    labels = (pore,) if isinstance(pore, int | np.integer) else tuple(pore)
    if not labels or not all(isinstance(v, int | np.integer) for v in labels):
        raise InputError(f"pore must be a label or a sequence of labels, got {pore!r}")
    source: Source = phase if hasattr(phase, "read") and hasattr(phase, "scratch") else check_mask(phase, "phase image")
    return PhaseMask(source, tuple(int(v) for v in labels))


def known_numbers(
    pores: int,
    percolating: int,
    order: Triple,
    sides: str,
    edges: tuple[float, float, float],
    shape: Triple,
    reservoirs: int,
) -> dict[str, Any]:
    """Return the numbers of a result that need no solve; edges and shape have the axis of the flow first."""
    back = np.argsort(order)
    size = prod(shape)
    return {
        "porosity": pores / size,
        "percolating_porosity": percolating / size,
        "axis": "zyx"[order[0]],
        "sides": sides,
        "voxel_size": tuple(float(edges[d]) for d in back),
        "shape": tuple(int(shape[d]) for d in back),
        "reservoirs": reservoirs,
    }


def without_flow(status: str, known: dict[str, Any]) -> Permeability:
    """Return the result where there is no flow to solve for."""
    k = inf if status == "no walls" else 0.0
    return Permeability(k, status, 0.0, 0, k, 0.0, 0.0, **known)


def flow_scale(edges: tuple[float, float, float], shape: Triple) -> float:
    """Return K in µm² of f·u = 1: the mean velocity over the section, times the length in edges along the flow."""
    return float(edges[0] ** 2 * shape[0] / (shape[1] * shape[2]))


def flow_result(
    state: FlowState, edges: tuple[float, float, float], shape: Triple, narrow: float, known: dict[str, Any]
) -> Permeability:
    """Return the result of a solve, without fields."""
    scale, flows = flow_scale(edges, shape), state.plane_flow
    return Permeability(
        float(state.energy * scale) if state.status == "converged" else nan,
        state.status,
        state.error,
        state.iterations,
        float(state.inflow * scale),
        float(flows.std() / abs(flows.mean())),
        narrow,
        method=state.method,
        history=tuple(float(e * scale) for e in state.history),
        **known,
    )
