"""OME-Zarr 0.5 metadata of a specimen, so that napari, neuroglancer and other viewers open its volumes.

The image and the phases are two multiscale images of one group, each with its pyramid (specification:
https://ngff.openmicroscopy.org/0.5/).
"""

from __future__ import annotations

from typing import Any

from mgsflow.store.schema import AXES, fresh
from mgsflow.store.specimen import Specimen


def write_ome(specimen: Specimen) -> None:
    """Write the multiscales of every array that has a pyramid into the specimen's attributes.

    Written last: whatever writes the group anew wipes its attributes.
    """
    multiscales = []
    for array in ("image", "filtered", "phase"):
        levels = _levels(specimen, array)
        if levels:
            multiscales.append(_multiscale(array, levels, specimen.voxel_size))
    if multiscales:
        fresh(specimen.group).update_attributes({"ome": {"version": "0.5", "multiscales": multiscales}})


def _levels(specimen: Specimen, array: str) -> list[int]:
    levels = []
    for level in range(32):
        name = f"scale{level}"
        if name not in specimen.group or array not in specimen.level(level):
            break
        levels.append(level)
    return levels


def _multiscale(array: str, levels: list[int], voxel_size: tuple[float, float, float]) -> dict[str, Any]:
    axes: list[dict[str, str]] = [{"name": "scan", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in AXES]
    datasets = []
    for level in levels:
        scale = [1.0] + [v * 2**level for v in voxel_size]
        # a coarse voxel's centre lies between those of the voxels it stands for
        shift = [0.0] + [v * (2**level) / 2 for v in voxel_size]
        datasets.append(
            {
                "path": f"scale{level}/{array}",
                "coordinateTransformations": [
                    {"type": "scale", "scale": scale},
                    {"type": "translation", "translation": shift},
                ],
            }
        )
    return {
        "name": array,
        "axes": axes,
        "datasets": datasets,
        "type": "majority" if array == "phase" else "mean",
    }
