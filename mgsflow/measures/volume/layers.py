"""Profiles by layers of tiles as measures of their own, so that a study can ask for them by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Block, Grid, Triple
from mgsflow.errors import InputError
from mgsflow.kernel import Reduction
from mgsflow.measures.windowed import AXES, Windowed

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class LayerProfile:
    """Profiles of another measure along axes, from the records of that measure: no pass of its own.

    Parameters
    ----------
    measure : Windowed
        What is measured in each layer: `Surface`, `Interface`, `TriplePhase`, `TripleLine`, `Minkowski`,
        `VolumeFraction` or one of your own. Layers are as thick as its tiles.
    axes : str
        Axes across the layers, of ``"zyx"``.

    Raises
    ------
    InputError
        If the measure has no windows, or an axis is none of z, y and x.
    """

    measure: Any
    axes: str = AXES

    def __post_init__(self) -> None:
        if not isinstance(self.measure, Windowed):
            raise InputError(
                f"{type(self.measure).__name__} has no result for a part of a scan, so no profile by layers"
            )
        check_axes(self.axes)

    @property
    def source(self) -> Reduction:
        """The reduction whose records this measure reads: that of the measure."""
        source: Reduction = getattr(self.measure, "source", self.measure)
        return source

    @property
    def name(self) -> str:
        """Name of the stored records."""
        return self.source.name

    @property
    def halo(self) -> Triple:
        """Voxels that it reads beyond the block."""
        return self.source.halo

    def record(self, largest: Triple) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of a record."""
        return self.source.record(largest)

    def scratch(self, shape: Triple, dtype: np.dtype[Any]) -> int:
        """Return the most bytes used beside the block and the record."""
        return self.source.scratch(shape, dtype)

    def __call__(self, array: np.ndarray, block: Block) -> np.ndarray:
        """Return the record of a block."""
        return self.source(array, block)

    def finalize(self, records: Any, grid: Grid, voxel_size: Sequence[float], phases: Sequence[str]) -> xr.Dataset:
        """Return the variables of `Windowed.profile` along all axes."""
        import xarray as xr  # not needed by workers: 40 MiB less in each

        parts = [self.measure.profile(records, grid, voxel_size, phases, axis) for axis in self.axes]
        return xr.merge(parts, join="exact", compat="equals")


def check_axes(axes: str) -> None:
    """Refuse axes that are not a choice of z, y and x, each once."""
    if not isinstance(axes, str) or not axes or not set(axes) <= set(AXES) or len(set(axes)) != len(axes):
        raise InputError(f"axes must be one or more of z, y and x, each once, as 'z' or 'zyx', got {axes!r}")
