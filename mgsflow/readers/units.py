"""Lengths in files' metadata, in micrometres."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

_MICROMETRES = {
    "m": 1e6, "meter": 1e6, "metre": 1e6,
    "cm": 1e4, "centimeter": 1e4, "centimetre": 1e4,
    "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3,
    "um": 1.0, "µm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0,
    "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3,
    "å": 1e-4, "angstrom": 1e-4,
    "in": 25400.0, "inch": 25400.0,
}  # fmt: skip


def micrometres(unit: object) -> float | None:
    """Return how many micrometres a unit is, or None where it is no known length (as "pixel")."""
    if not isinstance(unit, str):
        return None
    # ImageJ writes the Greek letter, the micro sign, or its escape
    name = unit.strip().strip('"').replace("\\u00B5", "µ").replace("\\u00b5", "µ").replace("μ", "µ").replace("Å", "å")
    return _MICROMETRES.get(name if name in _MICROMETRES else name.lower())


def size_or_none(sizes: Sequence[float | None]) -> tuple[float, float, float] | None:
    """Return a (z, y, x) voxel size if all three are known, positive and finite."""
    known = [float(s) for s in sizes if s is not None and isfinite(s) and s > 0]
    return (known[0], known[1], known[2]) if len(known) == len(sizes) == 3 else None
