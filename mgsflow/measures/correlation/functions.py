"""Two-point correlation, lineal path and chord lengths of each phase along the axes.

S₂(r) is the probability that two points at a distance r along an axis both lie in the phase; L(r) that the whole
segment between them does. The initial slope gives the surface per total volume of an isotropic material,
``S_V = -4 dS₂/dr`` at r = 0 (Debye, Anderson and Brumberger 1957, doi:10.1063/1.1722830), which on voxels is
Crofton's formula on three directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mgsflow.blocks import Block, Grid, Triple
from mgsflow.errors import InputError
from mgsflow.measures.correlation.kernel import count_pairs, count_runs, pack
from mgsflow.measures.labels import as_labels, check_names, check_phases, label_scratch
from mgsflow.measures.surface.crofton import check_voxel_size

if TYPE_CHECKING:
    import xarray as xr

AXES = ("z", "y", "x")


@dataclass(frozen=True)
class Correlation:
    """Two-point correlation, lineal path and chord lengths along the axes, up to a lag.

    Parameters
    ----------
    phases : int
        Number of phases, at most 64: labels are ``0 … phases - 1``.
    lags : int
        Longest distance in voxels, 1 to 256. Blocks read a halo as wide as this.

    Notes
    -----
    Records are not by tiles, so there are no windows and no profile by layers. A pair of voxels reaches through as many
    tiles as the lag is long, and a run through any number: what a window on borders of tiles holds does not follow from
    sums over its tiles and one layer beyond, as it does for 2×2×2 cubes. In a layer of 32 voxels there would be few
    pairs at the longer lags anyway. Measure the cropped image, ``measure(phase[a:b], ["correlation"], …)``.
    """

    phases: int
    lags: int = 32

    name: ClassVar[str] = "correlation"

    def __post_init__(self) -> None:
        check_phases(self.phases, 64)
        if isinstance(self.lags, bool) or not isinstance(self.lags, int) or not 1 <= self.lags <= 256:
            raise InputError(f"lags must be a whole number of voxels from 1 to 256, got {self.lags!r}")

    @property
    def source(self) -> Correlation:
        """The reduction whose records this measure reads: itself."""
        return self

    @property
    def halo(self) -> Triple:
        """The longest lag, along each axis."""
        return self.lags, self.lags, self.lags

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of a record, (pairs, runs, chords) × (z, y, x) × phases × (lags + 2)."""
        return (3, 3, self.phases, self.lags + 2), np.dtype(np.int64)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the most bytes used beside the block and the record."""
        words = shape[2] // 64 + 2
        return label_scratch(shape, dtype) + 8 * words * (shape[0] * shape[1] + 2) + 8 * shape[2] + (1 << 16)

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the record of a block."""
        labels = as_labels(array, block, self.phases)
        out = np.zeros(*self.record(block.core.shape))
        core = block.core.relative_to(block.outer)
        (z0, y0, x0), (z1, y1, x1) = core.start, core.stop
        count_runs(labels, (z0, z1, y0, y1, x0, x1), self.lags, np.zeros(labels.shape[2], np.int64), out[1], out[2])
        words = labels.shape[2] // 64 + 2
        columns = np.zeros(64 * words, np.uint8)
        columns[x0:x1] = 1
        mask = np.packbits(columns, bitorder="little").view("<u8").astype(np.uint64)
        bits = np.zeros((*labels.shape[:2], words), np.uint64)
        for phase in range(self.phases):
            if out[1, 2, phase].any():
                pack(labels, phase, bits)
                pairs = np.zeros((3, self.lags + 2), np.int64)
                count_pairs(bits, (z0, z1, y0, y1), mask, self.lags, pairs)
                out[0, :, phase] = pairs
        return out

    def finalize(self, records: Any, grid: Grid, voxel_size: Sequence[float], phases: Sequence[str]) -> xr.Dataset:
        """Return the functions by ``axis``, ``phase`` and ``lag`` (voxels; ``lag_length`` has them in µm).

        ``two_point`` and ``lineal_path`` are probabilities, NaN where the scan is not longer than the lag;
        ``chord_count`` is the number of chords by their ``chord`` length in voxels, without those that the border
        cuts; ``chord_count_longer`` of those longer than the last lag, cut or not;
        ``surface_per_total_volume_slope`` (µm⁻¹) is the surface from the slope at the origin.
        """
        check_names(phases, self.phases)
        sizes = np.array(check_voxel_size(voxel_size))
        total = np.zeros(self.record(grid.largest)[0], np.int64)
        for block in grid.blocks():
            total += np.asarray(records[block.index])
        pairs, runs, chords = total
        lags = np.arange(self.lags + 1)
        places = np.array([np.maximum(n - lags, 0) * (prod(grid.shape) // n) for n in grid.shape], float)
        places[places == 0] = np.nan
        # a voxel starts a segment of k voxels if its run has at least k
        segments = runs[..., ::-1].cumsum(axis=-1)[..., ::-1]
        path = segments[..., 1:] / places[:, None, :]
        two_point = pairs[..., :-1] / places[:, None, :]
        slope = (two_point[..., 0] - two_point[..., 1]) / sizes[:, None]
        dims = ("axis", "phase", "lag")
        import xarray as xr  # not needed by workers: 40 MiB less in each

        return xr.Dataset(
            {
                "two_point": (dims, two_point, {"units": "1", "long_name": "two-point correlation"}),
                "lineal_path": (dims, path, {"units": "1", "long_name": "lineal path"}),
                "chord_count": (("axis", "phase", "chord"), chords[..., 1:-1], {"units": "1", "long_name": "chords"}),
                "chord_count_longer": (
                    ("axis", "phase"),
                    chords[..., -1],
                    {"units": "1", "long_name": "chords longer than the last lag"},
                ),
                "surface_per_total_volume_slope": (
                    "phase",
                    4.0 * slope.mean(axis=0),
                    {"units": "µm⁻¹", "long_name": "surface per total volume from the slope of two_point"},
                ),
            },
            coords={
                "axis": list(AXES),
                "phase": list(phases),
                "lag": lags,
                "chord": lags[1:],
                "lag_length": (("axis", "lag"), sizes[:, None] * lags, {"units": "µm"}),
            },
        )
