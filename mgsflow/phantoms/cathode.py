"""Sulfur cathode of a Mg/S cell: pore, carbon-binder domain (CBD) and sulfur, in four cycle states.

Fractions, grey values, sizes and trends follow the X-ray nano-tomography of doi:10.1002/smtd.202001193 (Table 3 and
text): sulfur is consumed and agglomerates with cycling, pores merge, and CBD densifies toward the current collector,
which is at the last z. The paper gives no pore and CBD fractions at cycle 10; cycle 3 is carried on. States of one seed
share their random fields and particle sites, so that a particle that survives stays where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from mgsflow.blocks import Box, Triple
from mgsflow.errors import InputError
from mgsflow.phantoms.fields import add_field
from mgsflow.phantoms.grains import FAR, SCALE, Grains, Level
from mgsflow.phantoms.grey import GreyModel
from mgsflow.phantoms.hashing import stream_key
from mgsflow.phantoms.phantom import Phantom, VoxelSize, scan_shape, voxel_triple
from mgsflow.phantoms.sampling import Lattice, tiles

PORE, CBD, SULFUR = 0, 1, 2
GREY = GreyModel(levels=(18_200.0, 28_000.0, 37_000.0), fringe=0.35, grain=1800.0, noise=900.0)
# Lattice spacings of the fields, µm: three octaves of pores, and the roughness of the sulfur.
_OCTAVES = (0.45, 0.95, 2.0)
_ROUGHNESS = 0.55
_CELLS = (28.0, 4.6, 2.8, 1.27)  # levels of particles, µm


@dataclass(frozen=True)
class State:
    """What a cycle state is made of.

    Parameters
    ----------
    fractions : tuple of float
        Pore, CBD and sulfur; they are scaled to a sum of 1.
    octaves : tuple of float
        Weight of each octave in the pore field: coarser pores where the last are larger.
    gradient : float
        Porosity is ``mean (1 + gradient (1 - 2 s))``, s from 0 at the first z to 1 at the collector.
    levels : tuple of (probability, smallest, largest)
        Sulfur particles of each level, diameters in µm.
    stretch, rough : float
        Departure from spheres: axis ratio minus 1, and relative roughness.
    """

    fractions: tuple[float, float, float]
    octaves: tuple[float, float, float]
    gradient: float
    levels: tuple[tuple[float, float, float], ...]
    stretch: float
    rough: float


STATES = {
    0: State(
        (31, 55, 13.5), (0.80, 0.50, 0.34), 0.10, ((0, 5, 11.5), (0.9, 2, 4.5), (0.8, 1, 2), (0.9, 0.5, 1)), 0.7, 0.22
    ),
    1: State(
        (28, 62, 10), (0.62, 0.62, 0.48), 0.18, ((0, 5, 11.5), (0.6, 2, 4.7), (0.5, 1, 2), (0.45, 0.5, 1)), 0.5, 0.18
    ),
    3: State(
        (30, 66, 3), (0.30, 0.66, 0.69), 0.26, ((0.9, 5, 11.5), (0.11, 2, 5), (0.16, 1.06, 2), (0, 0.5, 1)), 0.25, 0.10
    ),
    10: State(
        (30.5, 68.8, 0.7),
        (0.22, 0.62, 0.75),
        0.34,
        ((0, 5, 11.5), (0.05, 2, 4), (0.045, 1.06, 2), (0, 0.5, 1)),
        0.2,
        0.08,
    ),
}


@dataclass(frozen=True)
class CathodeGeometry:
    """Phases of a cathode; see `cathode`."""

    shape: Triple
    voxel_size: VoxelSize
    cycle: int
    seed: int

    phase_names = ("pore", "CBD", "sulfur")

    @property
    def _state(self) -> State:
        return STATES[self.cycle]

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Fractions of pore, CBD and sulfur that the phantom is made to."""
        total = sum(self._state.fractions)
        pore, cbd, sulfur = (f / total for f in self._state.fractions)
        return pore, cbd, sulfur

    @property
    def _grains(self) -> Grains:
        levels = (Level(c, p, (a, b)) for c, (p, a, b) in zip(_CELLS, self._state.levels) if p > 0)
        return Grains(tuple(levels), self.seed, self._state.stretch, gap=0.1)

    def labels(self, box: Box) -> np.ndarray:
        """Return the phases (uint8) of a box, which may lie outside the volume."""
        out = np.empty(box.shape, np.uint8)
        scale, shift = _calibrated(self)
        for tile in tiles(box):
            pores, near = self._fields(Lattice.of(tile))
            part = out[tile.relative_to(box).slices]
            np.greater_equal(pores, np.float32(shift), out=part, casting="unsafe")  # 0 pore, 1 CBD
            part[near < np.float32(scale)] = SULFUR
        return out

    def particles(self, box: Box) -> np.ndarray:
        """Return the sulfur particles whose centres lie in a box."""
        return self._grains.listed(box, self.voxel_size, _calibrated(self)[0])

    def _fields(self, lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
        """Return the pore field minus its depth-dependent threshold, and the distance from sulfur over its radius."""
        state = self._state
        pores = np.zeros(lattice.count, np.float32)
        norm = sum(w * w for w in state.octaves) ** 0.5
        for length, weight in zip(_OCTAVES, state.octaves):
            add_field(pores, lattice, stream_key(self.seed, f"pores {length}"), self._spacing(length), weight / norm)
        pores -= self._threshold(lattice.coordinates(0))[:, None, None]
        rough = np.zeros(lattice.count, np.float32)
        add_field(rough, lattice, stream_key(self.seed, "sulfur"), self._spacing(_ROUGHNESS), 1.0)
        np.clip(rough, -2.0, 2.0, out=rough)
        near = np.full(lattice.count, FAR, np.float32)
        self._grains.distance(near, lattice, self.voxel_size, rough, state.rough, most=0.16)
        return pores, near

    def _spacing(self, length: float) -> VoxelSize:
        z, y, x = (max(length / v, 1.0) for v in self.voxel_size)
        return z, y, x

    def _threshold(self, z: np.ndarray) -> np.ndarray:
        pore, _, sulfur = self.fractions
        s = np.clip((z + 0.5) / self.shape[0], 0.0, 1.0)
        share = pore / (1.0 - sulfur) * (1.0 + self._state.gradient * (1.0 - 2.0 * s))
        quantile = NormalDist().inv_cdf
        return np.array([quantile(float(p)) for p in share], np.float32)


@lru_cache(maxsize=64)
def _calibrated(geometry: CathodeGeometry) -> tuple[float, float]:
    """Return the factor on sulfur radii and the shift of the pore threshold that give the fractions asked for.

    A finite volume of a random medium misses its expected fractions by chance; both numbers are quantiles over a sparse
    lattice in the volume. Radii are scaled by no more than `SCALE` either way: a volume too small to hold sulfur
    has none.
    """
    pores, near = geometry._fields(Lattice.sparse(geometry.shape))
    pore, _, sulfur = geometry.fractions
    scale = float(np.clip(np.quantile(near, sulfur), 1.0 / SCALE, SCALE))
    rest = pores[near >= np.float32(scale)]
    if not rest.size:
        return scale, 0.0
    shift = np.quantile(rest, min(1.0, pore * near.size / rest.size))
    return scale, float(np.clip(shift, -0.5, 0.5))


def cathode(shape: int | Triple, cycle: int = 0, seed: int = 0, voxel_size: float | VoxelSize = 0.126) -> Phantom:
    """Return a phantom nano-CT scan of a sulfur cathode.

    Parameters
    ----------
    shape : int or tuple of int
        Voxels along (z, y, x); z runs through the electrode, and the collector is at the last z.
    cycle : {0, 1, 3, 10}
        Cycle state.
    seed : int
        Specimen: states of one seed are related.
    voxel_size : float or tuple of float
        µm.

    Returns
    -------
    Phantom
        Labels 0 pore, 1 CBD, 2 sulfur; grey values below 23,100, between, and above 32,500 for nearly all voxels once
        noise is filtered.

    Raises
    ------
    InputError
        A cycle that the paper has no numbers for, or a shape or voxel size that is not positive.
    """
    if cycle not in STATES:
        raise InputError(f"cycle must be one of {sorted(STATES)} (the states of the paper), got {cycle}")
    geometry = CathodeGeometry(scan_shape(shape), voxel_triple(voxel_size), int(cycle), int(seed))
    return Phantom(geometry.shape, geometry.voxel_size, geometry, GREY, _noise_seed(seed, cycle))


def _noise_seed(seed: int, cycle: int) -> int:
    """Return a seed of its own for the noise of each scan."""
    return int(stream_key(seed, f"scan {cycle}"))
