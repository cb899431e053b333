"""Glass-fibre separator of a Mg/S cell: air, fibres, and deposits where fibres cross.

Fractions follow the X-ray micro-tomography of doi:10.1002/smtd.202001193 (Table 1). The mat lies in planes
perpendicular to z, which runs from cathode to anode.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.errors import InputError
from mgsflow.phantoms.fibres import Fibres
from mgsflow.phantoms.fields import add_field
from mgsflow.phantoms.grey import GreyModel
from mgsflow.phantoms.hashing import stream_key
from mgsflow.phantoms.phantom import Phantom, VoxelSize, no_particles, scan_shape, voxel_triple
from mgsflow.phantoms.sampling import Lattice, tiles

AIR, FIBRE, DEPOSIT = 0, 1, 2
GREY = GreyModel(levels=(15_000.0, 30_000.0, 45_000.0), psf=0.5, fringe=0.3, fringe_width=1.6, grain=2600, noise=1400)
FRACTIONS = {0: (85.01, 14.99, 0.0), 1: (72.82, 14.08, 13.10)}
_REACH = 5.0  # µm from fibre surfaces within which deposits may be
_LUMPS = ((2.2, 0.25), (14.0, 0.45))  # lattice spacing (µm) and weight of the fields that vary the deposits
_NOWHERE = 100.0  # µm, the distance where no fibre is within reach
_SLACK = 0.5  # µm by which a calibration may move fibre surfaces


@dataclass(frozen=True)
class SeparatorGeometry:
    """Phases of a separator; see `separator`."""

    shape: Triple
    voxel_size: VoxelSize
    cycle: int
    seed: int

    phase_names = ("air", "fibre", "deposit")

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Fractions of air, fibre and deposit that the phantom is made to."""
        total = sum(FRACTIONS[self.cycle])
        air, fibre, deposit = (f / total for f in FRACTIONS[self.cycle])
        return air, fibre, deposit

    @property
    def _fibres(self) -> Fibres:
        return Fibres(self.seed, cell=(2.5, 50.0, 50.0), length=240.0, diameters=(1.4, 3.6), tilt=0.12)

    def labels(self, box: Box) -> np.ndarray:
        """Return the phases (uint8) of a box, which may lie outside the volume."""
        out = np.empty(box.shape, np.uint8)
        offset, bridge = _calibrated(self)
        for tile in tiles(box):
            nearest, gap = self._fields(Lattice.of(tile))
            part = out[tile.relative_to(box).slices]
            part[:] = AIR
            if gap is not None:
                part[gap < np.float32(bridge)] = DEPOSIT
            part[nearest < np.float32(offset)] = FIBRE
        return out

    def particles(self, box: Box) -> np.ndarray:
        """Return no particles: deposits have no known centres."""
        return no_particles()

    def _fields(self, lattice: Lattice) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the distance from the nearest fibre surface, and what is smallest where two fibres meet (µm)."""
        reach = _REACH if self.fractions[DEPOSIT] else _SLACK
        nearest = np.full(lattice.count, _NOWHERE, np.float32)
        second = np.full(lattice.count, _NOWHERE, np.float32)
        self._fibres.distances(nearest, second, lattice, self.voxel_size, reach)
        if not self.fractions[DEPOSIT]:
            return nearest, None
        second += nearest  # the length of the gap that a voxel bridges
        lumps = np.ones(lattice.count, np.float32)
        for length, weight in _LUMPS:
            z, y, x = (max(length / v, 1.0) for v in self.voxel_size)
            add_field(lumps, lattice, stream_key(self.seed, f"deposits {length}"), (z, y, x), weight)
        np.clip(lumps, 0.2, 2.0, out=lumps)
        second /= lumps
        return nearest, second


@lru_cache(maxsize=64)
def _calibrated(geometry: SeparatorGeometry) -> tuple[float, float]:
    """Return the offset of fibre surfaces and the gap bridged by deposits (µm) that give the fractions asked for.

    Both are quantiles over a sparse lattice in the volume, within bounds that keep fibres fibres.
    """
    nearest, gap = geometry._fields(Lattice.sparse(geometry.shape))
    _, fibre, deposit = geometry.fractions
    offset = float(np.clip(np.quantile(nearest, fibre), -_SLACK, _SLACK))
    if gap is None:
        return offset, 0.0
    rest = gap[nearest >= np.float32(offset)]
    if not rest.size:
        return offset, 0.0
    bridge = np.quantile(rest, min(1.0, deposit * gap.size / rest.size))
    return offset, float(np.clip(bridge, 0.0, _REACH))


def separator(shape: int | Triple, cycle: int = 0, seed: int = 0, voxel_size: float | VoxelSize = 0.39) -> Phantom:
    """Return a phantom micro-CT scan of a glass-fibre separator.

    Parameters
    ----------
    shape : int or tuple of int
        Voxels along (z, y, x); fibres lie nearly perpendicular to z.
    cycle : {0, 1}
        Pristine, or after one cycle, with deposits between fibres that come close.
    seed : int
        Specimen: both states of one seed have the same fibres.
    voxel_size : float or tuple of float
        µm.

    Returns
    -------
    Phantom
        Labels 0 air, 1 fibre, 2 deposit.

    Raises
    ------
    InputError
        A cycle that the paper has no numbers for, or a shape or voxel size that is not positive.
    """
    if cycle not in FRACTIONS:
        raise InputError(f"cycle must be one of {sorted(FRACTIONS)} (the states of the paper), got {cycle}")
    geometry = SeparatorGeometry(scan_shape(shape), voxel_triple(voxel_size), int(cycle), int(seed))
    noise = int(stream_key(seed, f"separator scan {cycle}"))
    return Phantom(geometry.shape, geometry.voxel_size, geometry, GREY, noise)
