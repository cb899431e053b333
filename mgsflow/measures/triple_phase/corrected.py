"""Length of triple-phase lines without the staircase of voxel edges, from smoothed indicators.

Let g₁, g₂ be the indicators of two of three phases, smoothed by any kernel. In a plane across a straight triple line
they map the plane one to one onto the triangle of fractions, whose area is 1/2; so the length of the line is

    L = 2 ∫ |∇g₁ × ∇g₂| dV

with no bias from its direction. Along an interface of two phases the gradients are opposite and add nothing. With more
than three phases every line is seen by three pairs: ``L = 2/3 Σ_{i<j} ∫ |∇gᵢ × ∇gⱼ| dV``.

The kernel has whole-number weights, so that smoothed indicators are exact, and what a voxel adds is rounded to a whole
number of 2⁻³² voxels before it is summed: the result is the same, to the bit, for any blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import exp
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mgsflow.blocks import Block, Box, Grid, Triple
from mgsflow.errors import InputError
from mgsflow.measures.labels import as_labels, check_phases, label_scratch
from mgsflow.measures.surface.crofton import check_voxel_size
from mgsflow.measures.tiles import check_tile, sums_of_windows, tile_slots, tile_spans
from mgsflow.measures.triple_phase.kernel import brick_length
from mgsflow.measures.windowed import Windowed

if TYPE_CHECKING:
    import xarray as xr

_BRICK = 32
_UNIT = 2.0**-32
_SUM = 256


def smoothing_weights(sigma: float) -> np.ndarray:
    """Return a Gaussian's weights as whole numbers that add up to 256, of odd length and without zeros at the ends."""
    reach = int(np.ceil(4 * sigma))
    exact = np.array([exp(-0.5 * (r / sigma) ** 2) for r in range(1, reach + 1)])
    side = np.rint(_SUM * exact / (1 + 2 * exact.sum())).astype(np.int32)
    side = side[side > 0]
    return np.concatenate([side[::-1], [_SUM - 2 * side.sum()], side]).astype(np.int32)


@dataclass(frozen=True)
class TripleLine(Windowed[tuple[float, int]]):
    """Length of the lines where three phases meet, by smoothed indicators.

    Parameters
    ----------
    phases : int
        Number of phases, at most 64: labels are ``0 … phases - 1``.
    tile : int
        Edge of a tile in voxels, at most 256. A record is one int64 a tile.
    sigma : float
        Standard deviation of the smoothing in voxels, 0.5 to 3. Lines nearer to each other than a few of it are
        smoothed away: in an image whose phases are one or two voxels thick the length comes out far too small.
    aspect : tuple of float
        Edges of a voxel along (z, y, x) up to a common factor; needed where voxels are not cubes.

    Notes
    -----
    At the border of the scan the image is reflected. A window of tiles sees the voxels around it: it is the length
    in this part of the scan, not that of the cropped image.
    """

    phases: int
    tile: int = 32
    sigma: float = 1.0
    aspect: tuple[float, float, float] = (1.0, 1.0, 1.0)

    name: ClassVar[str] = "triple_line"

    def __post_init__(self) -> None:
        check_phases(self.phases, 64)
        check_tile(self.tile, 256)
        if not 0.5 <= self.sigma <= 3.0:
            raise InputError(f"sigma must be from 0.5 to 3 voxels, got {self.sigma!r}")
        object.__setattr__(self, "aspect", check_voxel_size(self.aspect))

    @property
    def source(self) -> TripleLine:
        """The reduction whose records this measure reads: itself."""
        return self

    @property
    def halo(self) -> Triple:
        """Radius of the smoothing, and one voxel for the gradient."""
        h = smoothing_weights(self.sigma).size // 2 + 1
        return h, h, h

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of a record, ``(tiles z, y, x)``."""
        return tile_slots(largest, self.tile), np.dtype(np.int64)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the most bytes used beside the block and the record."""
        fields = 2 if self.phases == 3 else self.phases
        return label_scratch(shape, dtype) + (_BRICK + 2 * self.halo[0]) ** 3 * (1 + 8 + 4 * fields) + (1 << 16)

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the record of a block."""
        labels = as_labels(array, block, self.phases)
        shape, dtype = self.record(block.core.shape)
        out = np.zeros(shape, dtype)
        if self.phases < 3:
            return out
        weights = smoothing_weights(self.sigma)
        margin = self.halo[0]
        n = min(_BRICK, self.tile) + 2 * margin
        b = np.empty((n, n, n), np.uint8)
        t0, t1 = np.empty((2, n, n, n), np.int32)
        fields = np.empty((2 if self.phases == 3 else self.phases, n, n, n), np.int32)
        line = np.empty(n)
        aspect = tuple(a / max(self.aspect) for a in self.aspect)
        # central differences span two voxels, and an indicator is 256³
        scale = 1.0 / (2.0 * _SUM**3) ** 2 / _UNIT
        pieces = []
        for axis, spans in enumerate(tile_spans(block.core, self.tile)):
            cuts = [(k, a, min(a + _BRICK, stop)) for k, start, stop in spans for a in range(start, stop, _BRICK)]
            low, high = block.outer.start[axis], block.outer.stop[axis]
            pieces.append([(k, _reflected(a - margin, stop + margin, low, high)) for k, a, stop in cuts])
        for (kz, iz), (ky, iy), (kx, ix) in product(*pieces):
            out[kz, ky, kx] += brick_length(
                labels, iz, iy, ix, self.phases, weights, aspect, scale, b, t0, t1, fields, line
            )
        return out

    def windows(self, records: Any, grid: Grid, boxes: Sequence[Box]) -> list[tuple[float, int]]:
        """Return length, in longest voxel edges, and number of voxels of windows on borders of tiles."""
        totals = sums_of_windows(records, grid, self.tile, boxes).sum(axis=1)
        factor = 2.0 if self.phases == 3 else 2.0 / 3.0
        return [(factor * int(total) * _UNIT, box.size) for total, box in zip(totals, boxes)]

    def length(self, records: Any, grid: Grid, window: Box | None = None) -> float:
        """Return the length of lines in the scan, or in a window on borders of tiles, in longest voxel edges."""
        return self.counts(records, grid, window)[0]

    def dataset(self, counts: tuple[float, int], voxel_size: Sequence[float], phases: Sequence[str]) -> xr.Dataset:
        """Return ``tpb_length`` (µm) and ``tpb_density`` (µm⁻², per total volume).

        Raises
        ------
        InputError
            The voxels have not the `aspect` that the measure was set up for.
        """
        sizes = np.array(check_voxel_size(voxel_size))
        if not np.allclose(sizes / sizes.max(), np.array(self.aspect) / max(self.aspect), rtol=1e-6):
            raise InputError(
                f"voxels of {tuple(sizes.tolist())} µm are not of aspect {self.aspect}: set the measure's aspect to the"
                " voxel size, and measure again"
            )
        edges, voxels = counts
        length = edges * float(sizes.max())
        import xarray as xr  # not needed by workers: 40 MiB less in each

        return xr.Dataset(
            {
                "tpb_length": ((), length, {"units": "µm", "long_name": "length of triple-phase lines"}),
                "tpb_density": (
                    (),
                    length / (voxels * float(sizes.prod())),
                    {"units": "µm⁻²", "long_name": "length of triple-phase lines per total volume"},
                ),
            }
        )


def _reflected(start: int, stop: int, low: int, high: int) -> np.ndarray:
    """Return places in an array of voxels `low` to `high`, reflected at its ends (c b a | a b c | c b a).

    Beyond an end that is no border of the scan there is nothing to ask for: the halo reaches as far as `start`.
    """
    period = 2 * (high - low)
    at = (np.arange(start, stop) - low) % period
    return np.minimum(at, period - 1 - at)
