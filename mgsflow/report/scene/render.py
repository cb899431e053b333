"""Shaded pictures of three dimensions: voxels, balls and sticks, seen in parallel projection from one direction.

A scene gathers what is nearest in each pixel, its colour and the way it faces; light and shade are made at the end.
The paper is clear, so that a picture stands on a page of any colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image
from scipy.ndimage import gaussian_filter

from mgsflow.report.scene.kernel import cast_labels, cast_largest, stamp_balls

#: Pixels along an edge of a picture that become one: edges are smooth.
_FINE = 2
#: Fine pixels for each one of those that shadows are made of.
_COARSE = 4
_AZIMUTH, _ELEVATION = np.radians(32.0), np.radians(26.0)
#: Direction of the light along the picture: right, up, toward the eye.
_LIGHT = np.array([-0.45, 0.65, 0.62])
_FRAME = "#8b929c"


@dataclass(frozen=True)
class Label:
    """A text beside an edge of the box: what it says, and where, as shares of the width and height."""

    text: str
    left: float
    top: float
    anchor: str


@dataclass(frozen=True)
class View:
    """A parallel projection of a box whose first axis, z, runs downwards.

    Parameters
    ----------
    lengths : (float, float, float)
        Of the box along (z, y, x), in µm.
    width : int
        Of the picture in pixels; the height follows.
    """

    lengths: tuple[float, float, float]
    width: int = 560

    @cached_property
    def axes(self) -> np.ndarray:
        """Unit vectors along (z, y, x) of the picture's right, top, and the direction of the eye, shape (3, 3)."""
        a, e = _AZIMUTH, _ELEVATION
        # the eye is above (low z), before (high y) and to the right (high x) of the box
        toward = np.array([-np.sin(e), np.cos(e) * np.cos(a), np.cos(e) * np.sin(a)])
        right = np.array([0.0, -np.sin(a), np.cos(a)])
        # right-handed along (x, y, z), hence left-handed along (z, y, x)
        return np.array([right, np.cross(right, toward), toward])

    @cached_property
    def corners(self) -> np.ndarray:
        """Corners of the box, from its middle, along right, up and toward: shape (2, 2, 2, 3) by z, y and x."""
        half = np.array(self.lengths) / 2
        signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij"), axis=-1)
        return np.asarray((signs * half) @ self.axes.T)

    @cached_property
    def scale(self) -> float:
        """µm of a (fine) pixel."""
        return float(1.13 * np.ptp(self.corners[..., 0]) / (_FINE * self.width))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Rows and columns of fine pixels."""
        rows = 1.06 * np.ptp(self.corners[..., 1]) / self.scale
        return _FINE * int(np.ceil(rows / _FINE)), _FINE * self.width

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return column, row and depth in fine pixels of places (z, y, x) in µm, shape (n, 3)."""
        rows, columns = self.size
        seen = (np.asarray(points, dtype=np.float64) - np.array(self.lengths) / 2) @ self.axes.T / self.scale
        return np.stack([columns / 2 + seen[:, 0], rows / 2 - seen[:, 1], seen[:, 2]], axis=1)

    def labels(self) -> list[Label]:
        """Return the name and length of each axis, beside an edge in front."""
        z, y, x = self.lengths
        rows, columns = self.size
        ends = {
            "x": ([z, y, 0], [z, y, x], "left"),
            "y": ([z, 0, x], [z, y, x], "right"),
            "z": ([0, 0, x], [z, 0, x], "beside"),
        }
        found = []
        for name, (start, stop, anchor) in ends.items():
            middle = self.project(np.array([start, stop], dtype=np.float64)).mean(axis=0)
            length = self.lengths["zyx".index(name)]
            found.append(Label(f"{name} {length:.3g} µm", float(middle[0] / columns), float(middle[1] / rows), anchor))
        return found


class Scene:
    """A picture in the making: add what is to be seen, then `shade`."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.depth = np.full(view.size, -np.inf, np.float32)  # in fine pixels
        self.normal = np.zeros((*view.size, 3), np.float32)  # right, up, toward
        self.paint = np.zeros((*view.size, 3), np.uint8)
        self.covered = np.zeros(view.size, np.uint8)

    def add_voxels(self, labels: np.ndarray, colours: Sequence[str]) -> None:
        """Add voxels that fill the box; label 0 is clear, label k has the colour k − 1."""
        view = self.view
        edges = np.array(view.lengths) / labels.shape
        depth = np.where(np.isfinite(self.depth), self.depth * view.scale, -np.inf).astype(np.float32)
        normal = np.zeros((*view.size, 3), np.float32)
        seen = np.zeros(view.size, np.uint8)
        right, up, toward = view.axes
        cast_labels(np.ascontiguousarray(labels, np.uint8), edges, right, up, toward, view.scale, depth, normal, seen)
        new = seen > 0
        table = np.array([(0, 0, 0), *(np.round(255 * np.array(to_rgb(c))) for c in colours)]).astype(np.uint8)
        self.depth[new] = depth[new] / view.scale
        self.normal[new] = normal[new] @ view.axes.T.astype(np.float32)
        self.paint[new] = table[seen[new]]
        self.covered[new] = 1

    def add_balls(self, centres: np.ndarray, radii: np.ndarray, colours: np.ndarray) -> None:
        """Add balls at places (z, y, x) with radii in µm; colours are (n, 3) bytes."""
        if not len(centres):
            return
        places = self.view.project(centres)
        stamp_balls(
            places, np.asarray(radii, np.float64) / self.view.scale, np.ascontiguousarray(colours, np.uint8),
            self.depth, self.normal, self.paint, self.covered,
        )  # fmt: skip

    def add_sticks(self, starts: np.ndarray, stops: np.ndarray, radii: np.ndarray, colours: np.ndarray) -> None:
        """Add round sticks between places: balls so close that they cannot be told apart."""
        if not len(starts):
            return
        a, b = np.asarray(starts, np.float64), np.asarray(stops, np.float64)
        thick = np.maximum(np.asarray(radii, np.float64) / self.view.scale, 0.5)
        far = np.sqrt(((b - a) ** 2).sum(axis=1)) / self.view.scale
        counts = np.maximum(2, np.ceil(far / np.maximum(0.5 * thick, 0.6)).astype(np.int64) + 1)
        which = np.repeat(np.arange(len(a)), counts)
        place = np.arange(which.size) - np.repeat(np.cumsum(counts) - counts, counts)
        share = (place / (counts[which] - 1))[:, None]
        self.add_balls(
            a[which] * (1 - share) + b[which] * share, thick[which] * self.view.scale, np.asarray(colours)[which]
        )

    def add_frame(self, colour: str = _FRAME) -> None:
        """Add the edges of the box."""
        corners = np.stack(np.meshgrid(*((0.0, n) for n in self.view.lengths), indexing="ij"), axis=-1)
        starts, stops = [], []
        for d in range(3):
            first, last = np.take(corners, 0, axis=d), np.take(corners, 1, axis=d)
            starts.append(first.reshape(-1, 3))
            stops.append(last.reshape(-1, 3))
        a, b = np.concatenate(starts), np.concatenate(stops)
        rgb = np.tile(np.round(255 * np.array(to_rgb(colour))).astype(np.uint8), (len(a), 1))
        # nearer by a trifle than the voxels in the same place
        nudge = 2 * self.view.scale * self.view.axes[2]
        self.add_sticks(a + nudge, b + nudge, np.full(len(a), 0.75 * self.view.scale), rgb)

    def shade(self, depth: float = 1.0) -> np.ndarray:
        """Return the picture as (rows, columns, 4) bytes, the last its opacity; hollows are dark by `depth`."""
        there = self.covered > 0
        light = _LIGHT / np.linalg.norm(_LIGHT)
        facing = self.normal @ light.astype(np.float32)
        half = light + np.array([0.0, 0.0, 1.0])
        gloss = np.clip(self.normal @ (half / np.linalg.norm(half)).astype(np.float32), 0, 1) ** 24
        shade = 0.52 + 0.5 * np.clip(facing, -0.4, 1) + 0.08 * self.normal[..., 2]
        rgb = (
            self.paint.astype(np.float32) * (shade * (1 - depth * (1 - self._nooks(there))))[..., None]
            + 34.0 * gloss[..., None]
        )
        alpha = np.where(there, 1.0, 0.0).astype(np.float32)
        # clear pixels have no colour that could bleed into the edge
        coloured = _shrunk(np.clip(rgb, 0, 255) * alpha[..., None])
        opacity = _shrunk(alpha[..., None])
        colour = np.where(opacity > 0, coloured / np.maximum(opacity, 1e-6), 0)
        return np.concatenate([np.round(colour), np.round(255 * opacity)], axis=-1).astype(np.uint8)

    def _nooks(self, there: np.ndarray) -> np.ndarray:
        """Return how much light reaches each pixel: less in hollows, whose surroundings are nearer."""
        span = float(np.linalg.norm(self.view.lengths)) / self.view.scale
        depth = np.where(there, self.depth, -0.5 * span).astype(np.float32)
        light = np.ones(depth.shape, np.float32)
        coarse = np.ascontiguousarray(depth[::_COARSE, ::_COARSE])  # soft shadows need no fine pixels
        for sigma, strength in ((0.006, 0.9), (0.025, 0.6)):
            soft = Image.fromarray(gaussian_filter(coarse, sigma * span / _COARSE, mode="nearest"))
            around = np.asarray(soft.resize(depth.shape[::-1], Image.Resampling.BILINEAR))
            hidden = np.clip(around - depth, 0, None)
            light *= 1 - strength * np.clip(hidden / (6 * sigma * span), 0, 0.75)
        # what is far is a little paler than what is near
        return np.asarray(light * (0.88 + 0.12 * np.clip(0.5 + depth / span, 0, 1)))


def largest_along_rays(view: View, values: np.ndarray) -> np.ndarray:
    """Return the largest value on each ray through values that fill the box; 0 where none is positive."""
    edges = np.array(view.lengths) / values.shape
    found = np.zeros(view.size, np.float32)
    right, up, toward = view.axes
    cast_largest(np.ascontiguousarray(values, np.float32), edges, right, up, toward, view.scale, found)
    return _shrunk(found[..., None])[..., 0]


def over(front: np.ndarray, back: np.ndarray, opacity: float = 1.0) -> np.ndarray:
    """Return a picture over another one that is faded to an opacity; both (rows, columns, 4) bytes."""
    a = front[..., 3:].astype(np.float32) / 255
    b = opacity * back[..., 3:].astype(np.float32) / 255 * (1 - a)
    alpha = a + b
    colour = (front[..., :3] * a + back[..., :3] * b) / np.maximum(alpha, 1e-6)
    return np.concatenate([np.round(colour), np.round(255 * alpha)], axis=-1).astype(np.uint8)


def webp(picture: np.ndarray, quality: int = 82) -> bytes:
    """Return a picture with clear parts as WebP."""
    out = BytesIO()
    Image.fromarray(picture, "RGBA").save(out, "WEBP", quality=quality, method=4, alpha_quality=90)
    return out.getvalue()


def _shrunk(fine: np.ndarray) -> np.ndarray:
    rows, columns, channels = fine.shape
    return fine.reshape(rows // _FINE, _FINE, columns // _FINE, _FINE, channels).mean(axis=(1, 3))
