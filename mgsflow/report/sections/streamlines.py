"""Streamlines of the flow through scans, coloured by speed, among the solids they go round."""

from __future__ import annotations

import numpy as np
import xarray as xr

from mgsflow.report.figures.palette import phase_colour
from mgsflow.report.scene.render import Scene, View, over
from mgsflow.report.scene.renderings import Rendering, colour_bar, picture_width, ramp
from mgsflow.report.scene.volumes import phase_volume
from mgsflow.report.sections.part import Part
from mgsflow.report.state import ScanState, SpecimenState

#: Opacity of the solids behind the lines.
_SOLID = 0.3
#: Radius of a line, as a share of the diagonal of the scan.
_THICK = 0.0022


def streamline_part(state: SpecimenState) -> Part | None:
    """Return a picture for each scan and axis that has streamlines; None where there are none."""
    data = state.study("streamlines")
    if data is None or "point" not in data.dims:
        return None
    data = data.load()
    found = []
    for scan in state.scans:
        for axis in "xyz":
            mine = (np.asarray(data["line_scan"].values, dtype=object) == scan.scan.name) & (
                np.asarray(data["line_axis"].values, dtype=object) == axis
            )
            if mine.any():
                found.append(_rendering(state, scan, axis, data, np.flatnonzero(mine)))
    if not found:
        return None
    units = str(data["speed"].attrs.get("units", ""))
    return Part(
        "Streamlines",
        renderings=tuple(found),
        view=(
            "Streamlines of the solved flow; each carries the same share of it. Colours are the speed"
            f"{f' in {units}' if units else ''}, on a scale of its own for each picture; what does not flow is pale."
        ),
    )


def _rendering(state: SpecimenState, scan: ScanState, axis: str, data: xr.Dataset, lines: np.ndarray) -> Rendering:
    number = np.asarray(data["line"].values)
    mine = np.isin(number, lines)
    places = np.asarray(data["position"].transpose("point", "axis").values, np.float64)[mine]
    speed = np.asarray(data["speed"].values, np.float64)[mine]
    number = number[mine]
    z, y, x = (n * v for n, v in zip(scan.scan.shape, state.specimen.voxel_size))
    view = View((z, y, x), picture_width(state, 250))
    low, high = (float(np.quantile(speed, q)) for q in (0.01, 0.92))
    opened = set((state.recipe.get("permeability") or {}).get("phase") or state.specimen.phases[:1])

    def draw() -> np.ndarray:
        scene = Scene(view)
        joined = np.flatnonzero(number[1:] == number[:-1])
        radii = np.full(joined.size, _THICK * float(np.linalg.norm(view.lengths)))
        scene.add_sticks(places[joined], places[joined + 1], radii, ramp(speed[joined], low, high))
        scene.add_frame()
        drawn = phase_volume(state, scan)
        if drawn is None or not drawn.whole:
            return scene.shade(0.35)
        phases = state.specimen.phases
        table = np.array([0 if p in opened else i + 1 for i, p in enumerate(phases)] + [0] * 256, np.uint8)
        solid = Scene(view)
        solid.add_voxels(table[drawn.labels], [phase_colour(i) for i in range(len(phases))])
        return over(scene.shade(0.35), solid.shade(), _SOLID)

    alt = f"Streamlines along {axis} through {state.name} {scan.scan.name} in three dimensions, coloured by speed."
    name = f"{state.name}_{scan.scan.name}_streamlines_{axis}"
    bar = colour_bar("speed" + (f", {u}" if (u := data["speed"].attrs.get("units", "")) else ""), low, high)
    return Rendering(name, scan.scan.name, f"along {axis}", alt, view, draw, bar)
