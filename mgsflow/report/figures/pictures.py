"""Planes as small image files, and any image as a data URI."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import numpy as np
from PIL import Image

from mgsflow.report.figures.palette import PARTICLES, particle_colour, phase_colour
from mgsflow.report.figures.slices import Plane

#: Bytes of one picture, at most; and of all pictures of slices in a report, about.
MOST = 150 * 1024
ALL = 10 * 1024 * 1024
_LEAST = 10 * 1024


def budget(pictures: int) -> int:
    """Return the bytes that each of so many pictures may have."""
    return max(_LEAST, min(MOST, ALL // max(1, pictures)))


def grey_picture(plane: Plane, window: tuple[float, float], most: int = MOST) -> bytes:
    """Return a grey plane as JPEG of at most `most` bytes; unfinished blocks are black.

    Parameters
    ----------
    plane : Plane
    window : (float, float)
        Grey values that become black and white.
    most : int
    """
    grey = Image.fromarray(to_bytes(plane, window))
    return _fitted(grey.size, most, lambda size: _jpeg(grey.resize(size, Image.Resampling.BOX)))


def phase_picture(plane: Plane, phases: int, most: int = MOST) -> bytes:
    """Return a phase plane as PNG with the phases' colours, at most `most` bytes; unfinished blocks are transparent."""
    labels = plane.pixels.astype(np.uint8)
    clear = min(phases, 255)
    if plane.missing is not None:
        labels = np.where(plane.missing, np.uint8(clear), labels)
    size = (labels.shape[1], labels.shape[0])
    return _fitted(size, most, lambda s: _png(_shrunk(labels, s, clear + 1), clear))


def particle_picture(plane: Plane, most: int = MOST) -> bytes:
    """Return a plane of ids as PNG with a colour for each particle; what is none is transparent."""
    colours = Image.fromarray(particle_indices(plane.pixels))
    return _fitted(colours.size, most, lambda s: _particle_png(colours.resize(s, Image.Resampling.NEAREST)))


def particle_indices(ids: np.ndarray) -> np.ndarray:
    """Return the number of each particle's colour, the same for an id in any scan; `PARTICLES` where there is none."""
    # ids follow the voxels' order, as neighbours do: steps of the golden ratio send them far apart
    mixed = (ids.astype(np.uint64) * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    colours = (mixed * np.uint64(PARTICLES)) >> np.uint64(32)
    return np.where(ids == 0, np.uint64(PARTICLES), colours).astype(np.uint8)


def to_bytes(plane: Plane, window: tuple[float, float]) -> np.ndarray:
    """Return a grey plane in 256 steps between the two values of a window."""
    low, high = window
    scaled = (plane.pixels.astype(np.float64) - low) * (255.0 / (high - low))
    grey = np.clip(np.nan_to_num(scaled), 0, 255).round().astype(np.uint8)
    return grey if plane.missing is None else np.where(plane.missing, np.uint8(0), grey)


def data_uri(content: bytes) -> str:
    """Return an image file as a data URI."""
    kind = "png" if content.startswith(b"\x89PNG") else "webp" if content.startswith(b"RIFF") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def _fitted(size: tuple[int, int], most: int, make: object) -> bytes:
    assert callable(make)
    content: bytes = make(size)
    while len(content) > most and max(size) > 32:
        # bytes go with the area; a little less than that, or the last step would be repeated
        shrink = min(0.9, 0.97 * (most / len(content)) ** 0.5)
        size = (max(1, int(size[0] * shrink)), max(1, int(size[1] * shrink)))
        content = make(size)
    return content


def _jpeg(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=82, optimize=True)
    return out.getvalue()


def _png(labels: np.ndarray, clear: int) -> bytes:
    return _painted(Image.fromarray(labels), [phase_colour(k) for k in range(clear + 1)], clear)


def _particle_png(indices: Image.Image) -> bytes:
    return _painted(indices, [*(particle_colour(k) for k in range(PARTICLES)), "#ffffff"], PARTICLES)


def _painted(indices: Image.Image, colours: list[str], clear: int) -> bytes:
    """Return colours' numbers as PNG, `clear` transparent."""
    image = Image.frombytes("P", indices.size, indices.tobytes())
    image.putpalette([int(colour[i : i + 2], 16) for colour in colours for i in (1, 3, 5)])
    out = BytesIO()
    image.save(out, "PNG", optimize=True, transparency=clear)
    return out.getvalue()


def _shrunk(labels: np.ndarray, size: tuple[int, int], count: int) -> np.ndarray:
    """Return labels at a smaller size: in each pixel the label that covers most of it."""
    if size == (labels.shape[1], labels.shape[0]):
        return labels
    best = np.zeros((size[1], size[0]), np.uint8)
    most = np.full(best.shape, -1, np.int16)
    for label in (k for k in range(count) if (labels == k).any()):
        cover = Image.fromarray(np.where(labels == label, np.uint8(255), np.uint8(0)))
        share = np.asarray(cover.resize(size, Image.Resampling.BOX)).astype(np.int16)
        best = np.where(share > most, np.uint8(label), best)
        most = np.maximum(share, most)
    return best
