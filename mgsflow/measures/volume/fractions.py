"""Volume fractions of phases, with their sampling error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numba import njit

from mgsflow.blocks import Block, Box, Grid, Triple
from mgsflow.measures.definition import block_records
from mgsflow.measures.labels import as_labels, check_outside, check_phases, label_scratch
from mgsflow.measures.surface.crofton import check_voxel_size
from mgsflow.measures.tiles import check_tile, check_window, tile_slots, tile_spans
from mgsflow.measures.volume.sampling_error import sampling_error
from mgsflow.measures.windowed import Windowed

if TYPE_CHECKING:
    import xarray as xr

_FEW = 8  # phases up to which a comparison with each is faster than a table


@dataclass(frozen=True)
class VolumeFraction(Windowed[tuple[np.ndarray, np.ndarray]]):
    """Count the voxels of each phase, tile by tile.

    Parameters
    ----------
    phases : int
        Number of phases, at most 256: labels are ``0 … phases - 1``.
    tile : int
        Edge of a tile in voxels, at most 256. Windows on borders of tiles need no second pass, and tiles are the
        smallest cells between which the sampling error is looked for.
    outside : int, optional
        Label of voxels that are none of the volume: they are no phase, and in no denominator.

    Raises
    ------
    InputError
        If a parameter is out of its range. When called: for a label that is none of the phases.

    Notes
    -----
    A record has shape (tiles z, y, x, phases), for the tiles that the block touches; see `mgsflow.measures.tiles`.
    """

    phases: int
    tile: int = 32
    outside: int | None = None

    name: ClassVar[str] = "volume_fraction"
    halo: ClassVar[Triple] = (0, 0, 0)

    def __post_init__(self) -> None:
        check_phases(self.phases, 256)
        check_tile(self.tile, 256)
        check_outside(self.outside, self.phases)

    @property
    def source(self) -> VolumeFraction:
        """The reduction whose records this measure reads."""
        return VolumeFraction(self.phases, self.tile)

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of a record, ``(tiles z, y, x, phases)``."""
        return (*tile_slots(largest, self.tile), self.phases), np.dtype(np.uint32)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the bytes of a copy of the labels, where one is needed."""
        return label_scratch(shape, dtype) + (1 << 16)

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the record of a block."""
        labels = as_labels(array, block, self.phases)
        shape, dtype = self.record(block.core.shape)
        out = np.zeros(shape, dtype)
        zo, yo, xo = block.outer.start
        for (kz, za, zb), (ky, ya, yb), (kx, xa, xb) in product(*tile_spans(block.core, self.tile)):
            _count(labels, (za - zo, zb - zo, ya - yo, yb - yo, xa - xo, xb - xo), out[kz, ky, kx])
        return out

    def tiles(self, records: Any, grid: Grid, window: Box | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the counts of whole tiles, put together from the blocks that cut them.

        Parameters
        ----------
        records, grid
            As for `finalize`.
        window : Box, optional
            Voxels that are wanted, on borders of tiles; the whole scan by default.

        Returns
        -------
        counts : ndarray of uint32, shape (tiles z, y, x, phases)
        voxels : ndarray of uint32, shape (tiles z, y, x)
            Voxels of each tile, fewer in the last ones of a scan.
        """
        window = Box.of(grid.shape) if window is None else window
        check_window(window, grid.shape, self.tile)
        wanted = Box(
            tuple(a // self.tile for a in window.start),  # type: ignore[arg-type]
            tuple(-(-b // self.tile) for b in window.stop),  # type: ignore[arg-type]
        )
        counts = np.zeros((*wanted.shape, self.phases), np.uint32)
        for block, record in block_records(records, grid):
            first = tuple(a // self.tile for a in block.core.start)
            stop = tuple(-(-b // self.tile) for b in block.core.stop)
            held = Box(first, stop)  # type: ignore[arg-type]
            shared = held.intersect(wanted)
            if shared.size:
                counts[shared.relative_to(wanted).slices] += record[shared.relative_to(held).slices].astype(np.uint32)
        edges = [
            np.diff(np.minimum(np.arange(a, b + 1) * self.tile, n))
            for a, b, n in zip(wanted.start, wanted.stop, grid.shape)
        ]
        voxels = edges[0][:, None, None] * edges[1][:, None] * edges[2]
        return counts, voxels.astype(np.uint32)

    def windows(self, records: Any, grid: Grid, boxes: Sequence[Box]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return what `tiles` does for each window on borders of tiles."""
        for box in boxes:
            check_window(box, grid.shape, self.tile)
        counts, voxels = self.tiles(records, grid)
        held = [tuple(slice(a // self.tile, -(-b // self.tile)) for a, b in zip(w.start, w.stop)) for w in boxes]
        return [(counts[part], voxels[part]) for part in held]

    def dataset(
        self, counts: tuple[np.ndarray, np.ndarray], voxel_size: Sequence[float], phases: Sequence[str]
    ) -> xr.Dataset:
        """Return count, volume (µm³) and volume fraction of each phase, and the fraction's sampling error.

        ``volume_fraction_error`` is a standard error: the fraction of the material the scan was cut from lies within
        ± 2 errors with about 95 % confidence, provided that the scan is several times larger than its structure. It is
        NaN where fewer than eight tiles, or an absent phase, leave it unknown; see `sampling_error`.
        """
        voxel = float(np.prod(check_voxel_size(voxel_size)))
        tiles, voxels = counts
        if self.outside is not None:
            voxels = voxels - tiles[..., self.outside]
            tiles = tiles.copy()
            tiles[..., self.outside] = 0
        found = tiles.sum(axis=(0, 1, 2), dtype=np.int64)
        total = int(voxels.sum(dtype=np.int64))
        share = found / total if total else np.full(found.shape, np.nan)
        values = {
            "voxel_count": (found, "voxel", "voxels of the phase"),
            "volume": (found * voxel, "µm³", "volume of the phase"),
            "volume_fraction": (
                share,
                "1",
                "volume of the phase per total volume",
            ),
            "volume_fraction_error": (
                sampling_error(tiles, voxels),
                "1",
                "standard error of the volume fraction, from its variance between parts of the scan",
            ),
        }
        import xarray as xr  # not needed by workers: 40 MiB less in each

        return xr.Dataset(
            {k: ("phase", v, {"units": units, "long_name": name}) for k, (v, units, name) in values.items()},
            coords={"phase": list(phases)},
        )


@njit(cache=True, nogil=True)
def _count(labels: np.ndarray, box: tuple[int, int, int, int, int, int], counts: np.ndarray) -> None:
    za, zb, ya, yb, xa, xb = box
    phases = counts.size
    rest = (zb - za) * (yb - ya) * (xb - xa)
    if phases <= _FEW:
        for p in range(1, phases):
            phase = np.uint8(p)
            n = 0
            for z in range(za, zb):
                for y in range(ya, yb):
                    row = labels[z, y, xa:xb]
                    for x in range(row.size):
                        n += row[x] == phase
            counts[p] += np.uint32(n)
            rest -= n
        counts[0] += np.uint32(rest)
    else:
        for z in range(za, zb):
            for y in range(ya, yb):
                row = labels[z, y, xa:xb]
                for x in range(row.size):
                    counts[row[x]] += np.uint32(1)
