"""Streamlines as a result: points, how each line ended, lengths and travel times, tables and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mgsflow.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

#: How a line ended, in this order: the code of an end is its index.
ENDS = ("outlet", "inlet", "side", "stagnant", "too long")
OUTLET, INLET, SIDE, STAGNANT, TOO_LONG = range(len(ENDS))


@dataclass(frozen=True, eq=False)
class Streamlines:
    """Lines along a flow, each of which carries the same share of what enters.

    Attributes
    ----------
    axis : {"z", "y", "x"}
        Direction of the flow.
    position : ndarray of float32, shape (points, 3)
        Points along (z, y, x) in µm, line after line, one where a line enters or leaves a voxel.
    speed : ndarray of float32, shape (points,)
        Magnitude of the velocity there, in the units given.
    time : ndarray of float64, shape (points,)
        Time since the inlet: µm over the unit of the velocity.
    start : ndarray of int64, shape (lines + 1,)
        First point of each line; the last entry is the number of points.
    end : ndarray of uint8, shape (lines,)
        How each line ended: see `ends`.
    length : float
        Of the image along the flow, in µm.
    """

    axis: str
    position: np.ndarray
    speed: np.ndarray
    time: np.ndarray
    start: np.ndarray
    end: np.ndarray
    length: float

    @property
    def ends(self) -> list[str]:
        """How each line ended: ``outlet``, another word where the field is not divergence-free."""
        return [ENDS[e] for e in self.end]

    @property
    def through(self) -> np.ndarray:
        """Whether each line reached the outlet."""
        return np.asarray(self.end == OUTLET)

    def line(self, index: int) -> np.ndarray:
        """Return the points of one line, shape (points, 3)."""
        return self.position[self.start[index] : self.start[index + 1]]

    def path_lengths(self) -> np.ndarray:
        """Return the length of each line in µm."""
        steps = np.sqrt((np.diff(self.position.astype(np.float64), axis=0) ** 2).sum(axis=1))
        total = np.concatenate([[0.0], np.cumsum(steps)])
        first, last = self.start[:-1], self.start[1:] - 1
        return np.asarray(total[last] - total[first])

    def hydraulic_tortuosity(self) -> float:
        """Return τ_h = ⟨ℓ⟩ / L, mean length of lines from inlet to outlet over that of the image; NaN without any.

        Lines carry equal flow rates, so that the mean is weighted by flux.

        References
        ----------
        A. Duda, Z. Koza and M. Matyka, *Phys. Rev. E* 84 (2011) 036319, doi:10.1103/PhysRevE.84.036319.
        """
        through = self.through
        return float(self.path_lengths()[through].mean() / self.length) if through.any() else float("nan")

    def travel_times(self) -> np.ndarray:
        """Return the time from inlet to outlet of each line that reaches the outlet."""
        return np.asarray(self.time[self.start[1:] - 1][self.through])

    def to_dataset(self) -> xr.Dataset:
        """Return the points, each with the number of its line, and how the lines ended."""
        import xarray as xr  # not needed by workers

        line = np.repeat(np.arange(self.end.size, dtype=np.int32), np.diff(self.start))
        return xr.Dataset(
            {
                "position": (("point", "axis"), self.position, {"units": "µm", "long_name": "place on a streamline"}),
                "speed": ("point", self.speed, {"long_name": "magnitude of the velocity"}),
                "time": ("point", self.time, {"long_name": "time since the inlet"}),
                "line": ("point", line, {"long_name": "number of the streamline"}),
                "ended": ("lines", np.array(self.ends, dtype=object), {"long_name": "where the streamline ended"}),
            },
            coords={"axis": list("zyx")},
            attrs={"flow_axis": self.axis, "length_um": self.length},
        )

    def write_vtk(self, path: str | Path) -> Path:
        """Write the lines for ParaView: ``.vtp`` (XML) or ``.vtk`` (legacy), both as text, in µm along (x, y, z).

        Raises
        ------
        InputError
            If the suffix is another, or the file cannot be written.
        """
        from mgsflow.transport.streamlines.vtk import legacy_polydata, xml_polydata

        path = Path(path)
        forms = {".vtk": legacy_polydata, ".vtp": xml_polydata}
        if path.suffix not in forms:
            raise InputError(f"streamlines are written as .vtk or .vtp, got {path.name}: choose one of these")
        text = forms[path.suffix](self.position, self.start, {"speed": self.speed, "time": self.time})
        try:
            path.write_text(text, encoding="ascii")
        except OSError as error:
            raise InputError(f"streamlines cannot be written to {path}: {error.strerror or error}") from error
        return path


def concatenate_streamlines(results: Mapping[tuple[str, str], Streamlines]) -> xr.Dataset:
    """Return the lines of several scans and axes as one table.

    Parameters
    ----------
    results : dict of (str, str) to Streamlines
        By scan and axis.

    Returns
    -------
    Dataset
        Along ``point``: ``position`` (also along ``axis``), ``speed``, ``time`` and ``line``, the number of the line;
        along ``lines``: ``line_scan``, ``line_axis`` and ``ended``.
    """
    import xarray as xr

    tables, offset = [], 0
    for (scan, axis), lines in results.items():
        table = lines.to_dataset()
        count = lines.end.size
        table["line"] = table["line"] + np.int32(offset)
        table["line_scan"] = ("lines", np.full(count, scan, dtype=object), {"long_name": "scan of the streamline"})
        table["line_axis"] = ("lines", np.full(count, axis, dtype=object), {"long_name": "direction of its flow"})
        tables.append(table.drop_attrs(deep=False))
        offset += count
    if not tables:
        raise InputError("no streamlines to be put together: give those of one scan at least")
    names = [[n for n in tables[0].data_vars if d in tables[0][n].dims] for d in ("point", "lines")]
    return xr.merge(
        [xr.concat([p[n] for p in tables], dim=d) for n, d in zip(names, ("point", "lines"))], combine_attrs="override"
    )
