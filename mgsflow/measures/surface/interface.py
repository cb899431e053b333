"""Area of the interface between each pair of phases, by the estimators of `surface`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mgsflow.measures.surface.area import ESTIMATORS, Surface, area_factors
from mgsflow.measures.surface.contacts import ContactCounts
from mgsflow.measures.surface.crofton import check_voxel_size

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Interface(Surface):
    """Area of the interface between each pair of phases, and its density per total volume.

    Parameters
    ----------
    phases, tile, inactive, outside, border
        As for `Surface`. The border of the scan is never an interface: ``"included"`` counts as ``"excluded"``.

    Notes
    -----
    The matrices are symmetric with a zero diagonal; a row adds up to the surface area of its phase (border not
    counted), since what is not one phase is another.
    """

    def dataset(self, counts: ContactCounts, voxel_size: Sequence[float], phases: Sequence[str]) -> xr.Dataset:
        """Return ``interface_area`` (µm²) and ``interface_per_total_volume`` (µm⁻¹).

        Each by ``estimator``, ``phase`` and ``neighbour``.
        """
        return interface_dataset(counts, voxel_size, phases, self.border)


def interface_areas(counts: ContactCounts, voxel_size: Sequence[float], border: str = "excluded") -> np.ndarray:
    """Return the area between each pair of phases in µm², shape (estimators, phases, phases)."""
    areas: np.ndarray = (area_factors(voxel_size)[:, :, None, None] * counts.contacts(border)).sum(axis=1)
    return areas


def interface_dataset(
    counts: ContactCounts, voxel_size: Sequence[float], phases: Sequence[str], border: str = "excluded"
) -> xr.Dataset:
    """Return interface areas and densities of a window's counts, as `Interface.finalize` does."""
    areas = interface_areas(counts, voxel_size, border)
    total = counts.total * float(np.prod(check_voxel_size(voxel_size)))
    share = areas / total if total else np.full(areas.shape, np.nan)
    values = {
        "interface_area": (areas, "µm²", "area between two phases"),
        "interface_per_total_volume": (share, "µm⁻¹", "area between two phases per total volume"),
    }
    import xarray as xr  # not needed by workers: 40 MiB less in each

    return xr.Dataset(
        {
            k: (("estimator", "phase", "neighbour"), v, {"units": units, "long_name": name, "border": border})
            for k, (v, units, name) in values.items()
        },
        coords={"estimator": list(ESTIMATORS), "phase": list(phases), "neighbour": list(phases)},
    )
