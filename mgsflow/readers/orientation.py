"""Which stored axis is z, y and x: by the names in a file, or by what the user states, and turned while it is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Box, Triple, triple
from mgsflow.errors import InputError

if TYPE_CHECKING:
    from mgsflow.readers.reader import Reader

_ORDERS = tuple("".join(order) for order in permutations("zyx"))
_SYNONYMS = {
    "slice": "z", "slices": "z", "plane": "z", "planes": "z",
    "row": "y", "rows": "y",
    "col": "x", "cols": "x", "column": "x", "columns": "x",
}  # fmt: skip


def order_of_names(names: Sequence[str], where: str) -> str | None:
    """Return the order of stored axes that their names state, as ``"xyz"``.

    Parameters
    ----------
    names : sequence of str
        One for each of the three stored axes, as ``voxel_x`` or ``Z``.
    where : str
        For messages.

    Returns
    -------
    str or None
        None where no name is that of an axis in space.

    Raises
    ------
    InputError
        If some names are axes in space and others are not, or one occurs twice.
    """
    letters = [_letter(name) for name in names]
    if not any(letters):
        return None
    order = "".join(letter or "?" for letter in letters)
    if order not in _ORDERS:
        raise InputError(
            f"{where}: its axes are named {', '.join(map(str, names))}, which does not say which of them is z, y and "
            "x; give their order by axes=, as axes=zyx"
        )
    return order


def agreed_order(stated: Sequence[Sequence[str]], where: str) -> str | None:
    """Return the order that several lists of names state; errors as `order_of_names`, and where two differ."""
    orders = {order: names for names in stated if (order := order_of_names(names, where)) is not None}
    if len(orders) > 1:
        listed = " and ".join(", ".join(names) for names in orders.values())
        raise InputError(f"{where}: states its axes twice, as {listed}; give their order by axes=, as axes=zyx")
    return next(iter(orders), None)


def _letter(name: str) -> str | None:
    words = [w for w in re.split(r"[^a-z]+", str(name).lower()) if w]
    found = {w if w in ("x", "y", "z") else _SYNONYMS[w] for w in words if w in ("x", "y", "z") or w in _SYNONYMS}
    return found.pop() if len(found) == 1 else None


def check_order(axes: object, where: str) -> str:
    """Return the order of axes that a user gives, in lower case, or refuse it."""
    text = "".join(map(str, axes)) if isinstance(axes, (list, tuple)) else str(axes)
    if text.lower() not in _ORDERS:
        raise InputError(f"{where}: axes must be z, y and x in the order of storage, as xyz, got {axes!r}")
    return text.lower()


def check_flip(flip: object, where: str) -> str:
    """Return the axes that a user wants reversed, as a text of their letters, or refuse them."""
    text = ("".join(map(str, flip)) if isinstance(flip, (list, tuple)) else str(flip)).lower()
    if not text or len(set(text)) != len(text) or not set(text) <= set("zyx"):
        raise InputError(f"{where}: flip must name axes to reverse, as z or [z, x], got {flip!r}")
    return text


@dataclass(frozen=True)
class Oriented:
    """A volume whose stored axes are in another order than (z, y, x), or run the other way.

    Parameters
    ----------
    stored : Reader
        The volume as it is stored.
    axes : str
        What the stored axes are, the slowest first, as ``"xyz"``.
    flip : str
        Axes that are reversed, as ``"z"``.
    """

    stored: Reader
    axes: str = "zyx"
    flip: str = ""

    @property
    def _positions(self) -> tuple[int, int, int]:
        """Position in the file of z, y and x."""
        return self.axes.index("z"), self.axes.index("y"), self.axes.index("x")

    def _to_stored(self, zyx: Sequence[int]) -> Triple:
        return triple([zyx["zyx".index(axis)] for axis in self.axes])

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        return triple([self.stored.shape[i] for i in self._positions])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels as delivered."""
        return self.stored.dtype

    @property
    def voxel_size(self) -> tuple[float, float, float] | None:
        """Edges (z, y, x) of a voxel in µm."""
        size = self.stored.voxel_size
        if size is None:
            return None
        z, y, x = self._positions
        return size[z], size[y], size[x]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the voxels come from."""
        return self.stored.files

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the files."""
        return self.stored.warnings

    @property
    def grain(self) -> Triple:
        """Least box that is read without reading or decoding its neighbours."""
        return triple([self.stored.grain[i] for i in self._positions])

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        return self.stored.scratch(self._to_stored(shape)) + prod(shape) * self.dtype.itemsize

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box inside the volume: C-contiguous, in native byte order."""
        start, stop = list(box.start), list(box.stop)
        for axis in self.flip:
            i = "zyx".index(axis)
            start[i], stop[i] = self.shape[i] - box.stop[i], self.shape[i] - box.start[i]
        values = self.stored.read(Box(self._to_stored(start), self._to_stored(stop))).transpose(self._positions)
        reverse = tuple(slice(None, None, -1 if axis in self.flip else None) for axis in "zyx")
        return np.ascontiguousarray(values[reverse])
