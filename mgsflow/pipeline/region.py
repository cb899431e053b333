"""The region of a scan that counts: what a study file says of it, as a reader and a shape."""

from __future__ import annotations

from dataclasses import dataclass

from mgsflow.blocks import Box, Triple, triple
from mgsflow.errors import InputError
from mgsflow.readers import Reader, fingerprint, open_scan
from mgsflow.recipe.region import RegionOfScan
from mgsflow.regions import Cropped, Cylinder, Filled, Mask, Region, find_cylinder, inscribed_box


@dataclass(frozen=True)
class InRegion:
    """A scan as it is read, and which of its voxels count.

    Parameters
    ----------
    reader : Reader
        The box that is read.
    region : Region, optional
        Voxels that count; None for all of them.
    identity : str
        What the voxels depend on beside the files.
    text : str
        The region in words, empty without one.
    """

    reader: Reader
    region: Region | None = None
    identity: str = ""
    text: str = ""


def in_region(reader: Reader, asked: RegionOfScan | None) -> InRegion:
    """Return a scan within its region.

    Parameters
    ----------
    reader : Reader
        The whole scan.
    asked : RegionOfScan, optional

    Raises
    ------
    InputError
        If the box is not in the scan, no cylinder is found, or a mask does not fit.
    """
    if asked is None:
        return InRegion(reader)
    whole, parts = reader, []
    box = Box.of(reader.shape)
    if isinstance(asked.box, dict):
        box = _box(asked.box, reader.shape)
        reader = Cropped(reader, box)
        parts.append(f"voxels {_spans(box)} of {' × '.join(map(str, whole.shape))}")
    region: Region | None = None
    if asked.cylinder is not None:
        cylinder = _cylinder(asked.cylinder, reader)
        if asked.box == "inscribed":
            box = inscribed_box(cylinder, reader.shape)
            reader = Cropped(reader, box)
            parts.append(f"{_spans(box)}, the largest box in {_words(cylinder)}")
        else:
            region = cylinder
            parts.append(_words(cylinder))
    elif asked.mask is not None:
        region = _mask(asked, whole, box)
        parts.append(f"the mask {asked.mask.name}")
    elif asked.outside is not None:
        region = Mask(reader, asked.outside, identity=f"outside {asked.outside}")
        parts.append(f"where the grey value is not {asked.outside:g}")
    if region is not None:
        reader = Filled(reader, region)
    if asked.exclude:
        parts.append(f"without {', '.join(asked.exclude)}")
    identity = "" if reader is whole else repr((box, region))
    return InRegion(reader, region, identity, "; ".join(parts))


def _box(spans: dict[str, tuple[int, int]], shape: Triple) -> Box:
    ends = [spans.get(axis, (0, n)) for axis, n in zip("zyx", shape)]
    return Box(triple([a for a, _ in ends]), triple([b for _, b in ends]))


def _cylinder(asked: object, reader: Reader) -> Cylinder:
    if asked == "auto":
        return find_cylinder(reader)
    given = Cylinder(asked.centre, asked.radius, asked.axis)  # type: ignore[attr-defined]
    for i, middle in zip(given.across, given.centre):
        if not -0.5 <= middle <= reader.shape[i] - 0.5:
            axis, n = "zyx"[i], reader.shape[i]
            raise InputError(f"the cylinder's centre, {middle:g} along {axis}, is outside the {n} voxels of the scan")
    return given


def _mask(asked: RegionOfScan, whole: Reader, box: Box) -> Mask:
    assert asked.mask is not None
    found = open_scan(asked.mask)
    if found.shape != whole.shape:
        raise InputError(
            f"the mask {asked.mask} has the shape {found.shape}, the scan {whole.shape}: they must be equal (z, y, x)"
        )
    source: Reader = found if box == Box.of(whole.shape) else Cropped(found, box)
    return Mask(source, 0.0, identity=f"{asked.mask.name} {fingerprint(found.files)}")


def _words(cylinder: Cylinder) -> str:
    first, second = (f"{c:g}" for c in cylinder.centre)
    a, b = ("zyx"[i] for i in cylinder.across)
    return (
        f"the cylinder along {cylinder.axis} of radius {cylinder.radius:g} voxels around {a} = {first}, {b} = {second}"
    )


def _spans(box: Box) -> str:
    return ", ".join(f"{axis} {a} to {b}" for axis, a, b in zip("zyx", box.start, box.stop))
