"""Minkowski functionals of each phase from its 2×2×2 patterns: mean curvature, Euler number; marching-cubes area.

Every functional is a sum over cubes of a value of the pattern. A cube holds a share of the cells around it: 1/8 of a
voxel (vertex of the lattice), 1/4 of a pair (edge), 1/2 of a square, and itself.

*Euler number*, 6-connected: voxels − pairs + squares − cubes that lie wholly in the phase. 26-connected: the same
sum over all sets of corners, with the sign of their parity (the nerve of the closed voxels).

*Integral of mean curvature*: ``M = 2π ⟨∫ χ(X ∩ plane) dh⟩`` (Crofton), averaged over the planes whose normals are
the 13 directions of the lattice, each with its share of the sphere; χ of a section is that of its 4-connected
(square and rectangular) or 6-connected (triangular) lattice. A ball has 4πr.

*Marching-cubes area*: the area of the triangles that Lewiner's tables put into a cube of this pattern.

References
----------
Ohser and Mücklich, *Statistical Analysis of Microstructures in Materials Science* (Wiley, 2000), chapters 3 and 4.
Lewiner et al., *Journal of Graphics Tools* 8 (2003) 1–15, doi:10.1080/10867651.2003.10487582.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from mgsflow.measures.surface.contacts import check_border
from mgsflow.measures.surface.crofton import check_voxel_size, plane_spacings, plane_weights
from mgsflow.measures.surface.patterns import CORNERS, PatternCounts, Patterns
from mgsflow.measures.windowed import Windowed

if TYPE_CHECKING:
    import xarray as xr

CONNECTIVITIES = (6, 26)


@lru_cache(maxsize=1)
def _cells() -> dict[str, np.ndarray]:
    """Return how many cells of each kind lie wholly in the phase, for each pattern: arrays of shape (n, 256)."""
    inside = (np.arange(256)[:, None] >> np.arange(8)[None, :] & 1).astype(bool)
    out = {
        k: np.zeros((n, 256), np.int64)
        for k, n in {
            "voxels": 1,
            "pairs": 3,
            "diagonals": 3,
            "squares": 3,
            "rectangles": 3,
            "triangles": 1,
            "cubes": 1,
        }.items()
    }
    out["voxels"][0] = inside.sum(axis=1)
    out["cubes"][0] = inside.all(axis=1)
    for a, b in combinations(range(8), 2):
        both = inside[:, a] & inside[:, b]
        step = CORNERS[a] != CORNERS[b]
        if step.sum() == 1:
            out["pairs"][int(np.argmax(step))] += both
        elif step.sum() == 2:
            out["diagonals"][int(np.argmin(step))] += both
    for four in combinations(range(8), 4):
        c = CORNERS[list(four)]
        whole = inside[:, list(four)].all(axis=1)
        flat = np.ptp(c, axis=0) == 0
        if flat.any():
            out["squares"][int(np.argmax(flat))] += whole
            continue
        for axis in range(3):
            u, v = (c[:, k] for k in range(3) if k != axis)
            # both corners of a diagonal of the plane, on both levels of the axis
            if c[:, axis].sum() == 2 and ((u == v).all() or (u != v).all()):
                out["rectangles"][axis] += whole
    for three in combinations(range(8), 3):
        c = CORNERS[list(three)]
        if all((c[i] != c[j]).sum() == 2 for i, j in combinations(range(3), 2)):
            out["triangles"][0] += inside[:, list(three)].all(axis=1)
    return out


def euler_tables() -> np.ndarray:
    """Return eight times the Euler number that a cube of each pattern adds, 6- and 26-connected, shape (2, 256)."""
    n = _cells()
    tables = np.empty((2, 256), np.int64)
    tables[0] = n["voxels"][0] - 2 * n["pairs"].sum(0) + 4 * n["squares"].sum(0) - 8 * n["cubes"][0]
    tables[1] = 0
    for s in range(1, 256):
        corners = CORNERS[[k for k in range(8) if s >> k & 1]]
        # a set of corners lies in 8, 4, 2 or 1 cubes: the fewer, the more axes it extends along
        eighths = 2 ** int(np.ptp(corners, axis=0).sum())
        sign = 1 if len(corners) % 2 else -1
        tables[1] += ((np.arange(256) & s) == s) * sign * eighths
    return tables


def section_tables() -> np.ndarray:
    """Return eight times the Euler number of plane sections that a cube adds, by class of normals, shape (7, 256)."""
    n = _cells()
    voxels, pairs, diagonals = n["voxels"][0], n["pairs"], n["diagonals"]
    tables = np.empty((7, 256), np.int64)
    for axis in range(3):
        tables[axis] = voxels - 2 * (pairs.sum(0) - pairs[axis]) + 4 * n["squares"][axis]
        tables[3 + axis] = 2 * voxels - 4 * pairs[axis] - 4 * diagonals[axis] + 8 * n["rectangles"][axis]
    tables[6] = 4 * voxels - 8 * diagonals.sum(0) + 8 * n["triangles"][0]
    return tables


def curvature_table(voxel_size: Sequence[float]) -> np.ndarray:
    """Return the integral of mean curvature in µm that a cube of each pattern adds, shape (256,)."""
    sizes = check_voxel_size(voxel_size)
    table: np.ndarray = 2 * np.pi / 8 * (plane_weights(sizes) * plane_spacings(sizes)) @ section_tables()
    return table


def marching_cubes_table(voxel_size: Sequence[float]) -> np.ndarray:
    """Return the area in µm² of the marching-cubes surface in a cube of each pattern, shape (256,)."""
    return _marching_cubes(check_voxel_size(voxel_size)).copy()


@lru_cache(maxsize=16)
def _marching_cubes(sizes: tuple[float, float, float]) -> np.ndarray:
    from skimage.measure import marching_cubes, mesh_surface_area

    areas = np.zeros(256)
    for pattern in range(1, 255):
        cube = np.zeros((2, 2, 2), np.float32)
        cube[tuple(CORNERS[[k for k in range(8) if pattern >> k & 1]].T)] = 1.0
        vertices, faces, *_ = marching_cubes(cube, 0.5)
        areas[pattern] = mesh_surface_area(vertices * np.array(sizes), faces)
    return areas


@dataclass(frozen=True)
class Minkowski(Patterns, Windowed[PatternCounts]):
    """Integral of mean curvature, Euler numbers and marching-cubes area of each phase.

    Parameters
    ----------
    phases, tile
        As for `Patterns`.
    border : {"excluded", "included", "corrected"}
        What the border of the scan (or window) is. Excluded (default): cubes inside only, so that cutting a phase
        off adds neither area nor curvature, and Euler numbers of adjacent windows add up. Included: nothing of any
        phase lies beyond the border; the Euler number is then that of the phase as it is in the window (components −
        tunnels + cavities). Corrected: excluded, scaled by the voxels of the window over its cubes.
    """

    border: str = "excluded"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_border(self.border)

    def dataset(self, counts: PatternCounts, voxel_size: Sequence[float], phases: Sequence[str]) -> xr.Dataset:
        """Return ``mean_curvature_integral`` (µm), ``euler_number`` and ``marching_cubes_area`` (µm²) by ``phase``.

        Euler numbers also by ``connectivity`` (6, 26).
        """

        def add(table: np.ndarray) -> np.ndarray:
            return functional(counts, table, self.border)

        euler = np.stack([add(t) for t in euler_tables()]) / 8
        curvature, area = add(curvature_table(voxel_size)), add(marching_cubes_table(voxel_size))
        by = ("phase",)
        values = {
            "mean_curvature_integral": (by, curvature, "µm", "mean curvature integrated over the surface"),
            "euler_number": (("connectivity", *by), euler, "1", "components − tunnels + cavities"),
            "marching_cubes_area": (by, area, "µm²", "area of the marching-cubes surface"),
        }
        import xarray as xr  # not needed by workers: 40 MiB less in each

        return xr.Dataset(
            {
                k: (dims, v, {"units": units, "long_name": name, "border": self.border})
                for k, (dims, v, units, name) in values.items()
            },
            coords={"phase": list(phases), "connectivity": list(CONNECTIVITIES)},
        )


def functional(counts: PatternCounts, table: np.ndarray, border: str = "excluded") -> np.ndarray:
    """Return the sum of a value of the pattern over a window, for each phase, with its border treated as said."""
    if border == "included":
        return counts.padded(table)
    total = counts.inside(table)
    if border == "corrected":
        return total * (float(np.prod(counts.shape)) / counts.cubes if counts.cubes else 0.0)
    return total
