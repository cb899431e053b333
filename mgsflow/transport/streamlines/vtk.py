"""Lines with numbers at their points, as text that ParaView and VTK read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np


def legacy_polydata(position: np.ndarray, start: np.ndarray, data: Mapping[str, np.ndarray]) -> str:
    """Return lines in the legacy format of VTK, as ASCII.

    Parameters
    ----------
    position : ndarray, shape (points, 3)
        Along (z, y, x); written as x, y, z.
    start : ndarray, shape (lines + 1,)
        First point of each line, and the number of points.
    data : dict of str to ndarray
        Numbers at the points.
    """
    count, lines = len(position), len(start) - 1
    parts = ["# vtk DataFile Version 3.0", "mgsflow streamlines", "ASCII", "DATASET POLYDATA", f"POINTS {count} float"]
    parts += _rows(position[:, ::-1])
    parts.append(f"LINES {lines} {count + lines}")
    for a, b in pairwise(start.tolist()):
        parts.append(" ".join(map(str, (b - a, *range(a, b)))))
    parts.append(f"POINT_DATA {count}")
    for name, values in data.items():
        parts += [f"SCALARS {name} float 1", "LOOKUP_TABLE default", *_rows(values[:, None])]
    return "\n".join(parts) + "\n"


def xml_polydata(position: np.ndarray, start: np.ndarray, data: Mapping[str, np.ndarray]) -> str:
    """Return lines as XML (``.vtp``) with ASCII numbers; arguments as of `legacy_polydata`."""
    count, lines = len(position), len(start) - 1
    arrays = [_array(name, "Float64", _rows(values[:, None])) for name, values in data.items()]
    points = _array("Points", "Float32", _rows(position[:, ::-1]), 3)
    connectivity = _array("connectivity", "Int64", list(map(str, range(count))))
    offsets = _array("offsets", "Int64", [str(v) for v in start[1:]])
    return (
        '<?xml version="1.0"?>\n'
        '<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n<PolyData>\n'
        f'<Piece NumberOfPoints="{count}" NumberOfVerts="0" NumberOfLines="{lines}" NumberOfStrips="0" '
        f'NumberOfPolys="0">\n<PointData>\n{"".join(arrays)}</PointData>\n<Points>\n{points}</Points>\n'
        f"<Lines>\n{connectivity}{offsets}</Lines>\n</Piece>\n</PolyData>\n</VTKFile>\n"
    )


def _array(name: str, kind: str, rows: list[str], components: int = 1) -> str:
    text = "\n".join(rows)
    return (
        f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{components}" format="ascii">\n{text}\n'
        "</DataArray>\n"
    )


def _rows(values: np.ndarray) -> list[str]:
    return [" ".join(f"{v:.9g}" for v in row) for row in values.tolist()]
