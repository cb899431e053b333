"""Voxel size from the metadata of a TIFF file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import tifffile

from mgsflow.readers.units import micrometres, size_or_none

# What writers fill in when they know nothing (1 by TIFF's own default, 72 and 96 by screens, the rest by printers).
# None can be a tomogram: 96 dots an inch are voxels of 265 µm.
_DEFAULT_DPI = (1, 72, 96, 150, 300, 600)
_PER_INCH = {2: 1.0, 3: 2.54}


def voxel_size(tif: tifffile.TiffFile) -> tuple[float, float, float] | None:
    """Return (z, y, x) in µm, or None unless the file states all three.

    OME-XML counts before ImageJ's description, and this before the resolution tags. The distance of slices is only
    known from the first two: the tags say nothing of z, and voxels are not taken for cubes.
    """
    ome = _ome(tif.ome_metadata) if tif.is_ome else None
    if ome is not None:
        return ome
    imagej = tif.imagej_metadata if tif.is_imagej else None
    return _imagej(tif.pages[0], imagej) if imagej else None


def _ome(xml: str | None) -> tuple[float, float, float] | None:
    # No writer of OME needs a document type, and entities are how XML exhausts memory.
    if not xml or "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        return None
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    pixels = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return None
    return size_or_none(
        [_times(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "µm")) for a in "ZYX"]
    )


def _imagej(page: Any, imagej: dict[str, Any]) -> tuple[float, float, float] | None:
    unit = imagej.get("unit")
    y, x = _resolution(page, "YResolution"), _resolution(page, "XResolution")
    per_inch = _PER_INCH.get(int(page.tags.valueof("ResolutionUnit", 2)))
    if micrometres(unit) is not None:
        # ImageJ counts pixels a unit of its own, and leaves ResolutionUnit empty unless that is cm or inch
        scale = unit
    elif per_inch is not None and unit is None:
        if any(v is not None and _is_default(v * per_inch) for v in (y, x)):
            return None
        scale = "inch" if per_inch == 1.0 else "cm"
    else:
        return None
    # ImageJ writes the units of y and z only where they are not that of x
    across, along = imagej.get("yunit", scale), imagej.get("zunit", scale)
    return size_or_none([_times(imagej.get("spacing"), along), _times(_inverse(y), across), _times(_inverse(x), scale)])


def _is_default(dpi: float) -> bool:
    return any(abs(dpi - default) <= 0.01 * default for default in _DEFAULT_DPI)


def _resolution(page: Any, tag: str) -> float | None:
    value = page.tags.valueof(tag)
    if not isinstance(value, Sequence) or len(value) != 2 or not value[1]:
        return None
    return float(value[0]) / float(value[1])


def _inverse(value: float | None) -> float | None:
    return 1.0 / value if value else None


def _times(value: Any, unit: Any) -> float | None:
    factor = micrometres(unit)
    try:
        return None if value is None or factor is None else float(value) * factor
    except (TypeError, ValueError):
        return None
