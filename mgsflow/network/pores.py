"""A pore network: pores, the throats between them, and the openings of pores in the faces of the volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.errors import InputError
from mgsflow.network.throat_kernel import FACES
from mgsflow.network.throats import Throats
from mgsflow.particle_analysis.table import ParticleTable

if TYPE_CHECKING:
    import xarray as xr

AXES = ("z", "y", "x")

#: Further dimension, units and long name of each column of pores.
PORES: dict[str, tuple[str | None, str, str]] = {
    "id": (None, "1", "id of the pore"),
    "centre": ("axis", "µm", "centre of the largest ball in the pore"),
    "centroid": ("axis", "µm", "centre of mass"),
    "voxel_count": (None, "voxel", "voxels of the pore"),
    "volume": (None, "µm³", "volume"),
    "equivalent_radius": (None, "µm", "radius of the ball of equal volume"),
    "inscribed_radius": (None, "µm", "radius of the largest ball in the pore, centre to centre of voxels"),
    "surface_area": (None, "µm²", "surface area with throats, Crofton's formula on 13 directions"),
    "coordination": (None, "1", "throats to other pores"),
    "touches_low": ("axis", "1", "has an opening in the scan's first face"),
    "touches_high": ("axis", "1", "has an opening in the scan's last face"),
}

#: The same of throats and of openings.
THROATS: dict[str, tuple[str | None, str, str]] = {
    "pore_a": (None, "1", "id of the one pore"),
    "pore_b": (None, "1", "id of the other"),
    "pore": (None, "1", "id of the pore"),
    "face": (None, "1", "face of the scan: 0 and 1 along z, 2 and 3 along y, 4 and 5 along x"),
    "position": ("axis", "µm", "mean centre of its voxel faces"),
    "radius": (None, "µm", "largest ball that passes: distance to the solid at the saddle between the pores"),
    "hydraulic_radius": (None, "µm", "three times the mean distance to the wall over the throat"),
    "cross_section": (None, "µm²", "area across the throat's mean direction"),
    "area": (None, "µm²", "area of contact, Crofton's formula on 13 directions"),
    "area_faces": (None, "µm²", "area of contact, voxel faces"),
    "length_a": (None, "µm", "from the centre of the one pore to the throat"),
    "length_b": (None, "µm", "from the throat to the centre of the other pore"),
    "length": (None, "µm", "length of the way from centre to centre through the throat, or to the face"),
}


@dataclass(frozen=True, eq=False)
class PoreNetwork:
    """Pores and throats of one phase of a scan.

    Attributes
    ----------
    shape : tuple of int
        Of the volume in voxels.
    voxel_size : float
        Edge of a voxel in µm.
    pores : mapping of str to ndarray, shape (pores,) or (pores, 3)
        By rising id; see `PORES`.
    throats : mapping of str to ndarray, shape (throats,) or (throats, 3)
        Two pores that share a voxel face have one throat, however many patches it is of; see `THROATS`.
    openings : mapping of str to ndarray, shape (openings,) or (openings, 3)
        What the faces of the scan cut of pores, like throats to a pore beyond.
    porosity : float
        Volume of the phase per total volume, specks included.
    specks : int
        Pores that were left out: see `make_network`.

    Notes
    -----
    *Radius.* Distances go from the centre of a voxel to that of the nearest solid one. That is up to half a voxel more
    than to the wall, and the middle of the pore or throat lies off the voxels' centres by up to half a voxel along each
    axis: of tubes, the radius is 0.1 to 0.5 voxels too small on average, of square ducts along the axes between exact
    and half a voxel too large.

    *Hydraulic radius.* Of a circle, and of any polygon whose sides all touch one circle, the mean distance to the
    wall is a third of that circle's radius; of a slit it is a quarter of the width. It is taken over the faces of the
    throat, with the wall half a voxel before the nearest solid voxel's centre, and is less rough than one distance.

    *Cross-section.* Voxel faces, added as vectors, so that steps of an oblique throat cancel: see
    `mgsflow.network.throats.Throats.cross_section`. With both, the conductances of round and square tubes from a radius
    of 1.5 voxels on, in any direction, are within 10 % on average.
    """

    shape: Triple
    voxel_size: float
    pores: Mapping[str, np.ndarray]
    throats: Mapping[str, np.ndarray]
    openings: Mapping[str, np.ndarray] = field(repr=False)
    porosity: float
    specks: int = 0

    @property
    def count(self) -> int:
        """Number of pores."""
        return int(self.pores["id"].size)

    @property
    def throat_count(self) -> int:
        """Number of throats."""
        return int(self.throats["pore_a"].size)

    @property
    def mean_coordination(self) -> float:
        """Throats that a pore has on average, NaN without pores; throats in the faces of the scan do not count."""
        return 2 * self.throat_count / self.count if self.count else float("nan")

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Return the rows of pores by their ids."""
        return np.searchsorted(self.pores["id"], ids)

    def to_dataset(self) -> xr.Dataset:
        """Return pores along ``pore``, throats along ``throat`` and openings along ``opening``.

        What throats and openings share has the prefix ``throat_`` or ``opening_``.
        """
        import xarray as xr  # not needed by workers: 40 MiB less in each

        data = variables("pore", self.pores, PORES)
        for dim, columns in (("throat", self.throats), ("opening", self.openings)):
            found = variables(dim, columns, THROATS)
            data |= {f"{dim}_{name}": value for name, value in found.items()}
        attrs = {
            "voxel_size": self.voxel_size,
            "shape": list(self.shape),
            "porosity": self.porosity,
            "specks": self.specks,
        }
        return xr.Dataset(data, coords={"axis": list(AXES)}, attrs=attrs)


def variables(
    dim: str, columns: Mapping[str, np.ndarray], described: Mapping[str, tuple[str | None, str, str]]
) -> dict[str, Any]:
    """Return columns as variables of a Dataset, with units and names."""
    found = {}
    for name, value in columns.items():
        further, units, long_name = described[name]
        found[name] = ((dim, further) if further else (dim,), value, {"units": units, "long_name": long_name})
    return found


def make_network(
    table: ParticleTable, peaks: np.ndarray, depth: np.ndarray, throats: Throats, min_voxels: int = 0
) -> PoreNetwork:
    """Return the network of what all blocks know together.

    Parameters
    ----------
    table : ParticleTable
        Of the pores, ids 1 … n.
    peaks : ndarray of int64, shape (n, 3)
        Voxel of each pore that is farthest from the solid.
    depth : ndarray of float64, shape (n,)
        Distance there, in voxels.
    throats : Throats
        With openings.
    min_voxels : int
        *Specks*, smaller pores without a throat, are left out. Nothing flows through them, and they would make up much
        of a number of pores. Smaller pores with throats stay: the network would come apart without them.

    Raises
    ------
    InputError
        If voxels are not cubes: distances to the solid are in voxels.
    """
    edge = cubic_edge(table.voxel_size)
    centre = (peaks + 0.5) * edge
    inner = throats.pairs[:, 1] < FACES
    between, cut = throats.select(inner), throats.select(~inner)
    a, b = between.pairs[:, 0] - 1, between.pairs[:, 1] - 1
    position = between.position * edge
    to_a, to_b = _distance(position, centre[a]), _distance(position, centre[b])
    columns = {"pore_a": a + 1, "pore_b": b + 1, "position": position} | _widths(between, edge)
    columns |= {
        "area": _contact_areas(table, between.pairs),
        "area_faces": between.faces.sum(axis=1) * edge**2,
        "length_a": to_a,
        "length_b": to_b,
        "length": to_a + to_b,
    }
    pore, face = cut.pairs[:, 0] - 1, cut.pairs[:, 1] - FACES
    place = cut.position * edge
    openings = {"pore": pore + 1, "face": face, "position": place} | _widths(cut, edge)
    openings |= {"area_faces": cut.faces.sum(axis=1) * edge**2, "length": _distance(place, centre[pore])}
    touches = np.zeros((len(table), 6), bool)
    touches[pore, face] = True
    pores = {
        "id": table.ids.astype(np.int64),
        "centre": centre,
        "centroid": table["centroid"],
        "voxel_count": table["voxel_count"],
        "volume": table["volume"],
        "equivalent_radius": table["equivalent_diameter"] / 2,
        "inscribed_radius": depth * edge,
        "surface_area": table["surface_area"],
        "coordination": np.bincount(np.concatenate([a, b]), minlength=len(table)),
        "touches_low": touches[:, 0::2],
        "touches_high": touches[:, 1::2],
    }
    keep = (pores["voxel_count"] >= min_voxels) | (pores["coordination"] > 0)
    kept = keep[pore]
    return PoreNetwork(
        table.shape,
        edge,
        {name: column[keep] for name, column in pores.items()},
        columns,
        {name: column[kept] for name, column in openings.items()},
        int(table["voxel_count"].sum()) / prod(table.shape),
        int((~keep).sum()),
    )


def cubic_edge(voxel_size: tuple[float, float, float]) -> float:
    """Return the edge of a cubic voxel.

    Raises
    ------
    InputError
        If voxels are not cubes.
    """
    z, y, x = voxel_size
    if max(voxel_size) - min(voxel_size) > 1e-6 * max(voxel_size):
        raise InputError(
            f"a pore network needs voxels that are cubes, got {z:g} x {y:g} x {x:g} µm: resample the scan, or leave "
            "the network out"
        )
    return float(z)


def _widths(throats: Throats, edge: float) -> dict[str, np.ndarray]:
    largest = throats.largest_distance
    return {
        "radius": largest * edge,
        "hydraulic_radius": np.where(np.isfinite(largest), 3 * (throats.mean_distance - 0.5), np.inf) * edge,
        "cross_section": throats.cross_section * edge**2,
    }


def _contact_areas(table: ParticleTable, pairs: np.ndarray) -> np.ndarray:
    """Return Crofton's areas of the pairs: contacts by edges and corners alone are in the table too."""
    known = (table.contacts["particle_a"].astype(np.int64) << 32) | table.contacts["particle_b"].astype(np.int64)
    at = np.searchsorted(known, (pairs[:, 0] << 32) | pairs[:, 1])
    return np.asarray(table.contacts["area"][at])


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(((a - b) ** 2).sum(axis=1)))
