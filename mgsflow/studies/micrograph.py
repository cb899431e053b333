"""Porosity of a section from a micrograph, by the same segmentation as a scan's: the area fraction of each phase.

The area fraction of a random plane section is an unbiased estimate of the volume fraction (Delesse, Ann. des Mines 13
(1848) 379).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.measures import measure
from mgsflow.readers.files import file_size, trusting
from mgsflow.readers.tiff.reader import open_slice
from mgsflow.segmentation import Extremes, GreyHistogram, Histogram, Threshold, otsu_thresholds

if TYPE_CHECKING:
    import xarray as xr

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
_MOST_PIXELS = 1 << 28
_BLOCK = 256


def read_micrograph(path: str | Path, bar: int = 0) -> np.ndarray:
    """Return the grey values of a micrograph.

    Parameters
    ----------
    path : path
        TIFF, PNG, JPEG or BMP; colours are taken as grey where they are.
    bar : int
        Rows at the lower edge that are left out.

    Returns
    -------
    ndarray, shape (1, y, x)

    Raises
    ------
    InputError, InputNotFound
        If it cannot be read, is not one grey image, or has more than 268 million pixels.
    """
    path = Path(path)
    grey = _picture(path) if path.suffix.lower() in _PICTURES else _slice(path)
    if not 0 <= bar < grey.shape[1]:
        raise InputError(f"{path}: has {grey.shape[1]} rows, of which {bar} cannot be left out")
    return grey[:, : grey.shape[1] - bar]


def area_fractions(
    grey: np.ndarray, thresholds: Sequence[float] = (), phases: Sequence[str] = ("pore", "solid")
) -> xr.Dataset:
    """Return the area fraction of each phase of a micrograph.

    Parameters
    ----------
    grey : ndarray, shape (1, y, x)
    thresholds : sequence of float
        Rising grey values, one fewer than there are phases; a pixel at a threshold belongs to the upper phase. Default:
        multi-level Otsu.
    phases : sequence of str
        Names by rising grey value.

    Returns
    -------
    Dataset
        Along ``phase``: ``volume_fraction``, its standard error ``volume_fraction_error`` from the variance between
        parts of the image, and ``voxel_count`` in pixels; along ``below``, the phase below it:
        ``threshold``.

    Raises
    ------
    InputError
        If the image holds too few grey values, or NaN.
    """
    names = [str(p) for p in phases]
    used = tuple(float(t) for t in thresholds) or otsu_thresholds(_histogram(grey), len(names))
    labels = Threshold(used)(grey)
    found = measure(labels, ("volume",), 1.0, phases=names, block=_BLOCK)
    found = found[["volume_fraction", "volume_fraction_error", "voxel_count"]]
    found["volume_fraction"].attrs["long_name"] = "area of the phase per total area of the image"
    error = "standard error of the area fraction, from its variance between parts of the image"
    found["volume_fraction_error"].attrs["long_name"] = error
    found["voxel_count"].attrs |= {"units": "pixel", "long_name": "pixels of the phase"}
    attrs = {"long_name": "grey value at which the next brighter phase begins"}
    found["threshold"] = ("below", np.array(used), attrs)
    return found.assign_coords(below=np.array(names[:-1], dtype=object))


def _histogram(grey: np.ndarray) -> GreyHistogram:
    block = Grid.whole(grey.shape).block((0, 0, 0))
    if grey.dtype.name in ("uint8", "uint16", "int16"):
        histogram = Histogram(grey.dtype.name)
    else:
        low, high = Extremes()(grey, block)
        histogram = Histogram(grey.dtype.name, float(low), float(high))
    return histogram.gather(histogram(grey, block)[None])


def _slice(path: Path) -> np.ndarray:
    reader = open_slice(path)
    if reader.shape[1] * reader.shape[2] > _MOST_PIXELS:
        raise InputError(f"{path}: is an image of {reader.shape[1]} × {reader.shape[2]} pixels, too large for memory")
    return reader.read(Box.of(reader.shape))


def _picture(path: Path) -> np.ndarray:
    from PIL import Image  # not needed by workers

    file_size(path)
    with trusting(str(path), "the image"), Image.open(path) as image:
        if image.width * image.height > _MOST_PIXELS:
            raise InputError(f"{path}: is an image of {image.height} × {image.width} pixels, too large for memory")
        if image.mode not in ("L", "I;16", "I", "F"):
            colours = np.asarray(image.convert("RGB"))
            if (colours != colours[..., :1]).any():
                raise InputError(f"{path}: is an image in colour: export it in grey")
            return np.ascontiguousarray(colours[None, ..., 0])
        return np.asarray(image)[None]
