"""Axes and voxel size of arrays in an OME-Zarr image, versions 0.1 to 0.6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zarr

from mgsflow.errors import InputError
from mgsflow.readers.units import micrometres, size_or_none

_UNSCALED = ("identity", "translation")


@dataclass(frozen=True)
class Image:
    """What OME metadata says of an array.

    Parameters
    ----------
    axes : tuple of str
        Names of all axes, as stored; empty in versions that had none.
    voxel_size : tuple of float or None
        Of the last three axes, in µm.
    """

    axes: tuple[str, ...]
    voxel_size: tuple[float, float, float] | None


def multiscale(group: Any) -> dict[str, Any] | None:
    """Return the metadata of a group's first image, or None."""
    images = _ome(group).get("multiscales")
    return images[0] if isinstance(images, Sequence) and images and isinstance(images[0], dict) else None


def image_groups(group: Any) -> list[str]:
    """Return the images that bioformats2raw put under a root, by number."""
    if "bioformats2raw.layout" not in _ome(group):
        return []
    names = [name for name, item in group.members() if isinstance(item, zarr.Group) and multiscale(item) is not None]
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def _ome(group: Any) -> dict[str, Any]:
    attributes = dict(group.attrs)
    inner = attributes.get("ome", attributes)  # under "ome" from version 0.5
    return dict(inner) if isinstance(inner, Mapping) else {}


def first_level(image: dict[str, Any], where: str) -> str:
    """Return the path of the array of full resolution."""
    try:
        return str(image["datasets"][0]["path"])
    except (KeyError, IndexError, TypeError) as error:
        raise _damaged(where, error) from error


def describe(image: dict[str, Any], level: str, where: str) -> Image | None:
    """Return axes and voxel size of one of an image's arrays; None if the image does not list it.

    Raises
    ------
    InputError
        If the metadata is damaged, or its last three axes are not those of space.
    """
    try:
        found = [d for d in image["datasets"] if str(d["path"]).strip("/") == level]
        if not found:
            return None
        transforms = list(found[0].get("coordinateTransformations", []))
        axes = image.get("axes", [])
        if "coordinateSystems" in image:  # from version 0.6; further transforms lead to other systems
            output = transforms[0].get("output") if transforms else None
            output = output.get("name") if isinstance(output, Mapping) else output
            systems = {system["name"]: system["axes"] for system in image["coordinateSystems"]}
            axes = systems[output] if output in systems else next(iter(systems.values()))
        else:
            transforms += image.get("coordinateTransformations", [])
        described = [axis if isinstance(axis, dict) else {"name": str(axis)} for axis in axes]
        names = tuple(str(axis["name"]) for axis in described)
        if names and sorted(names[-3:]) != ["x", "y", "z"]:
            raise InputError(f"{where}: its OME-Zarr image has axes {list(names)}; the last three must be x, y, z")
        scale = [float(micrometres(axis.get("unit")) or "nan") for axis in described[-3:]]
        for factors in _scales(transforms, where):
            scale = [s * float(f) for s, f in zip(scale, factors[-3:])]
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(where, error) from error
    return Image(names, size_or_none(scale))


def _scales(transforms: Sequence[dict[str, Any]], where: str) -> list[list[float]]:
    found = []
    for transform in transforms:
        kind = transform.get("type")
        if kind == "scale":
            found.append(transform["scale"])
        elif kind == "sequence":
            found += _scales(transform["transformations"], where)
        elif kind not in _UNSCALED:
            raise InputError(
                f"{where}: its OME-Zarr image is placed by a transform of type {kind!r}, not by its voxel size alone; "
                "resample it along its axes"
            )
    return found


def _damaged(where: str, error: Exception) -> InputError:
    return InputError(f"{where}: its OME-Zarr metadata is damaged ({error!r}); name the array by its own path")
