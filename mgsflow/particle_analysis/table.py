"""The table of particles: one row a particle, in physical units, and one a contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.errors import InputError
from mgsflow.labelling.distance.kernel import FAR
from mgsflow.measures.surface.area import area_factors
from mgsflow.measures.surface.crofton import check_voxel_size
from mgsflow.particle_analysis.kernel import BINS
from mgsflow.particle_analysis.merge import contact_numbers, unlike_pairs
from mgsflow.particle_analysis.parts import LIMB, Columns, Part, from_rank
from mgsflow.particle_analysis.shape import (
    border_weight,
    central_moments,
    ellipsoid,
    equivalent_diameter,
    sphericity,
)

if TYPE_CHECKING:
    import xarray as xr

AXES = ("z", "y", "x")

#: Further dimension, units and long name of each column.
VARIABLES: dict[str, tuple[str | None, str, str]] = {
    "voxel_count": (None, "voxel", "voxels of the particle"),
    "volume": (None, "µm³", "volume"),
    "equivalent_diameter": (None, "µm", "diameter of the sphere of equal volume"),
    "surface_area": (None, "µm²", "surface area, Crofton's formula on 13 directions, what the scan cuts left out"),
    "surface_area_faces": (None, "µm²", "surface area, voxel faces (1.5 times too large on average)"),
    "cut_area": (None, "µm²", "what the particle's faces on the scan's border would add to its surface area"),
    "volume_per_area": (None, "µm", "volume over surface area, faces on the scan's border included"),
    "sphericity": (None, "1", "Wadell's sphericity of the particle as seen, faces on the scan's border included"),
    "semi_axis": ("principal", "µm", "semi-axes of the ellipsoid of equal second moments"),
    "elongation": (None, "1", "intermediate over longest semi-axis"),
    "flatness": (None, "1", "shortest over intermediate semi-axis"),
    "aspect_ratio": (None, "1", "longest over shortest semi-axis"),
    "orientation": ("axis", "1", "direction of the longest axis"),
    "centroid": ("axis", "µm", "centre of mass"),
    "box_start": ("axis", "voxel", "first voxel of the bounding box"),
    "box_stop": ("axis", "voxel", "one past the last voxel of the bounding box"),
    "touches_border": (None, "1", "touches the border of the scan, which may cut it"),
    "touches_low": ("axis", "1", "touches the scan's first face"),
    "touches_high": ("axis", "1", "touches the scan's last face"),
    "spans": ("axis", "1", "touches both faces: percolates along the axis"),
    "border_weight": (None, "1", "weight that makes up for particles the border cuts (0 for those that touch it)"),
    "contact_number": (None, "1", "particles that share a voxel face with this one"),
    "touching_number": (None, "1", "particles that share a voxel face, edge or corner with this one"),
    "contact_area": (None, "µm²", "surface area shared with other particles"),
    "grey_mean": (None, "1", "mean grey value"),
    "grey_low": (None, "1", "smallest grey value"),
    "grey_high": (None, "1", "largest grey value"),
    "inscribed_radius": (None, "µm", "largest distance of its voxels from the nearest outside, centre to centre"),
}

#: The same of a contact.
CONTACTS: dict[str, tuple[str | None, str, str]] = {
    "particle_a": (None, "1", "id of the one particle"),
    "particle_b": (None, "1", "id of the other"),
    "area": (None, "µm²", "area of the contact, Crofton's formula on 13 directions"),
    "area_faces": (None, "µm²", "area of the contact, voxel faces"),
    "faces": ("axis", "1", "voxel faces of the contact across each axis"),
}

PRINCIPAL = ("longest", "intermediate", "shortest")


@dataclass(frozen=True, eq=False)
class ParticleTable:
    """Particles of a scan, by ascending id.

    Attributes
    ----------
    shape : tuple of int
        Of the volume in voxels.
    voxel_size : tuple of float
        Edges of a voxel along (z, y, x) in µm.
    ids : ndarray of uint64, shape (n,)
    columns : mapping of str to ndarray, shape (n,) or (n, 3)
        See `VARIABLES`; ``grey_…`` only where there was an image, ``inscribed_radius`` only where there was a distance.
    contacts : mapping of str to ndarray, shape (m,) or (m, 3)
        See `CONTACTS`.

    Notes
    -----
    Areas have the bias of the 13 directions: on spheres -5 % at a radius of 2 voxels, -2 % at 3, below 1 % from 5 on;
    up to -10 % on boxes along the axes. An isolated voxel shows half of its faces, and a sphericity of 1.6.
    """

    shape: Triple
    voxel_size: tuple[float, float, float]
    ids: np.ndarray
    columns: Mapping[str, np.ndarray]
    contacts: Mapping[str, np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        return int(self.ids.size)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise InputError(f"the table has no column {name!r}: there are {', '.join(self.columns)}")
        return self.columns[name]

    def select(self, keep: np.ndarray) -> ParticleTable:
        """Return some particles, and the contacts among them; numbers and areas of contact stay as they were.

        Parameters
        ----------
        keep : ndarray of bool, shape (n,)
        """
        keep = np.asarray(keep)
        if keep.shape != self.ids.shape or keep.dtype != np.bool_:
            raise InputError(f"keep must be {len(self)} booleans, got {keep.dtype} of shape {keep.shape}")
        kept = self.ids[keep]
        among = np.isin(self.contacts["particle_a"], kept) & np.isin(self.contacts["particle_b"], kept)
        return ParticleTable(
            self.shape,
            self.voxel_size,
            kept,
            {k: v[keep] for k, v in self.columns.items()},
            {k: v[among] for k, v in self.contacts.items()},
        )

    def to_dataset(self) -> xr.Dataset:
        """Return the particles along ``particle``, whose coordinate is the id."""
        import xarray as xr  # not needed by workers: 40 MiB less in each

        attrs = {"voxel_size": list(self.voxel_size), "shape": list(self.shape)}
        return xr.Dataset(
            _variables("particle", self.columns, VARIABLES),
            coords={"particle": self.ids, "axis": list(AXES), "principal": list(PRINCIPAL)},
            attrs=attrs,
        )

    def contacts_dataset(self) -> xr.Dataset:
        """Return the contacts along ``contact``."""
        import xarray as xr

        return xr.Dataset(_variables("contact", self.contacts, CONTACTS), coords={"axis": list(AXES)})

    def to_csv(self, path: str | Path) -> None:
        """Write one line a particle; columns of an axis are ``centroid_z``, ``centroid_y`` …, units in brackets."""
        names, values = ["particle"], [self.ids]
        for name, column in self.columns.items():
            dim, units, _ = VARIABLES[name]
            unit = "" if units == "1" else f" [{units}]"
            for i, part in enumerate({"axis": AXES, "principal": PRINCIPAL}.get(dim or "", ("",))):
                names.append(f"{name}_{part}{unit}" if part else f"{name}{unit}")
                cells = column[:, i] if part else column
                values.append(cells.astype(int) if cells.dtype == bool else cells)
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(names) + "\n")
            file.writelines(",".join(str(v) for v in row) + "\n" for row in zip(*(v.tolist() for v in values)))


def _variables(dim: str, values: Mapping[str, np.ndarray], described: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in values.items():
        further, units, long_name = described[name]
        dims = (dim, further) if further else (dim,)
        found[name] = (dims, value, {"units": units, "long_name": long_name})
    return found


def make_table(
    total: Part, columns: Columns, shape: Triple, voxel_size: Sequence[float], squared: bool | None = None
) -> ParticleTable:
    """Return the table of what all blocks know together.

    Parameters
    ----------
    total : Part
        From `mgsflow.particle_analysis.merge.merge`.
    columns : Columns
        Of the part.
    shape : tuple of int
        Of the volume.
    voxel_size : sequence of float
        Edges of a voxel along (z, y, x) in µm.
    squared : bool, optional
        Whether distances are squares: default, whole numbers are squares of voxels and floats are lengths in µm.

    Raises
    ------
    InputError
        If the voxel size is none, distances in voxels meet voxels that are not cubes, or a distance is not a number.
    """
    edges = check_voxel_size(voxel_size)
    added = {k: total.added[:, at] for k, at in columns.added.items()}
    topped = {k: total.topped[:, at] for k, at in columns.topped.items()}
    voxels = added["voxels"][:, 0]
    start, stop = -topped["low"], topped["high"] + 1
    border = topped["border"].astype(bool)
    mean, covariance = central_moments(voxels, added["first"], added["second_high"], added["second_low"], start, stop)
    semi_axes, direction = ellipsoid(covariance, edges)
    volume = voxels * float(np.prod(edges))
    unlike = unlike_pairs(total, columns)
    area, cut = _areas(unlike, edges), _areas(added["outside"], edges)
    whole = area[0] + cut[0]
    face_numbers, touching = contact_numbers(total)
    shared = _areas(total.contacts, edges)
    of_contacts = np.zeros(voxels.size)
    for side in range(2):
        np.add.at(of_contacts, np.searchsorted(total.ids, total.pairs[:, side]), shared[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "voxel_count": voxels,
            "volume": volume,
            "equivalent_diameter": equivalent_diameter(volume),
            "surface_area": area[0],
            "surface_area_faces": area[2],
            "cut_area": cut[0],
            "volume_per_area": volume / whole,
            "sphericity": sphericity(volume, whole),
            "semi_axis": semi_axes,
            "elongation": semi_axes[:, 1] / semi_axes[:, 0],
            "flatness": semi_axes[:, 2] / semi_axes[:, 1],
            "aspect_ratio": semi_axes[:, 0] / semi_axes[:, 2],
            "orientation": direction,
            "centroid": (mean + 0.5) * np.array(edges),
            "box_start": start,
            "box_stop": stop,
            "touches_border": border.any(axis=1),
            "touches_low": border[:, :3],
            "touches_high": border[:, 3:],
            "spans": border[:, :3] & border[:, 3:],
            "border_weight": border_weight(start, stop, shape),
            "contact_number": face_numbers,
            "touching_number": touching,
            "contact_area": of_contacts,
        }
    if columns.grey:
        found |= _grey(voxels, added, topped, columns.grey)
    if columns.distance:
        found["inscribed_radius"] = _radius(topped["distance"][:, 0], columns.distance, edges, squared)
    contacts = {
        "particle_a": total.pairs[:, 0],
        "particle_b": total.pairs[:, 1],
        "area": shared[0],
        "area_faces": shared[2],
        "faces": total.contacts[:, :3],
    }
    return ParticleTable(shape, edges, total.ids, found, contacts)


def _areas(pairs: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Return areas by estimator, shape (3, n); added up in a fixed order, whatever the number of rows."""
    factors = area_factors(edges)
    areas = np.zeros((3, len(pairs)))
    for c in range(7):
        areas += factors[:, c, None] * pairs[:, c]
    return areas


def _grey(
    voxels: np.ndarray, added: Mapping[str, np.ndarray], topped: Mapping[str, np.ndarray], kind: str
) -> dict[str, np.ndarray]:
    if kind == "i":
        sums = [(int(h) << LIMB) + int(v) for h, v in zip(added["grey_high"][:, 0], added["grey_low"][:, 0])]
        means = [s / int(n) for s, n in zip(sums, voxels)]
        low, high = -topped["grey_low"][:, 0], topped["grey_high"][:, 0]
    else:
        # digits of 32 bits of a multiple of 2^-150: the quotient of whole numbers is rounded once
        means = [
            sum(int(d) << (32 * k) for k, d in zip(range(BINS), digits)) / (int(n) << 150)
            for digits, n in zip(added["grey_digits"], voxels)
        ]
        low, high = (_float32(ranks) for ranks in (-topped["grey_low"][:, 0], topped["grey_high"][:, 0]))
    return {"grey_mean": np.array(means, float), "grey_low": low, "grey_high": high}


def _float32(ranks: np.ndarray) -> np.ndarray:
    """Return the float32 of ranks."""
    bits = ranks.astype(np.int32)
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).view(np.float32)


def _radius(ranks: np.ndarray, kind: str, edges: Sequence[float], squared: bool | None) -> np.ndarray:
    if kind == "f":
        values = from_rank(ranks)
    else:
        values = np.where(ranks == FAR, np.inf, ranks.astype(float))
    if np.isnan(values).any() or (values < 0).any():
        raise InputError("distances in particles must be 0 or more, and numbers")
    lengths = np.sqrt(values) if squared or (squared is None and kind == "i") else values
    if kind == "f":
        return lengths
    if max(edges) - min(edges) > 1e-9 * max(edges):
        raise InputError("distances in whole voxels need cubic voxels: give distances in µm")
    return lengths * edges[0]
