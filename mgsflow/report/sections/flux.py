"""The flux of diffusion: maps of what one sees looking through a scan, and the field in three dimensions."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr
import zarr
from matplotlib import colormaps

from mgsflow.report.figures.drawing import Drawing
from mgsflow.report.figures.maps import Map, map_drawings
from mgsflow.report.scene.render import Scene, View, largest_along_rays, over
from mgsflow.report.scene.renderings import RAMP, RAMP_ENDS, Rendering, colour_bar, picture_width
from mgsflow.report.scene.volumes import field_volume
from mgsflow.report.sections.part import Part
from mgsflow.report.state import ScanState, SpecimenState

#: The axis that one looks along, by that of the flow: the flow is from left to right, or downwards.
_SEEN_ALONG = {"x": "z", "y": "z", "z": "y"}
_QUANTILE = 0.998


def flux_part(state: SpecimenState) -> Part | None:
    """Return maps of the flux of all scans, and pictures where the field was kept; None where there are neither."""
    data = state.study("flux")
    drawings = _maps(state, data.load()) if data is not None else []
    renderings = [r for s in state.scans for r in _renderings(state, s)]
    if not drawings and not renderings:
        return None
    return Part(
        "Flux",
        drawings=tuple(drawings),
        caption=(
            "Flux density along the axis of the flow, averaged along the line of sight, relative to that of a scan "
            "full of the phase: its mean over a map is D_eff / D₀. All scans on one scale; where there is no map, "
            "nothing percolates or the solve did not converge."
        ),
        renderings=tuple(renderings),
        view="Flux density in three dimensions: the largest on each line of sight, each picture on a scale of its own.",
    )


def _maps(state: SpecimenState, data: xr.Dataset) -> list[Drawing]:
    drawings = []
    known = {str(s) for s in data["scan"].values}
    for phase in (str(p) for p in data["phase"].values):
        for axis in (a for a in "xyz" if a in {str(v) for v in data["axis"].values}):
            name = f"flux_along_{_SEEN_ALONG[axis]}"
            if name not in data:
                continue
            values = data[name].sel(phase=phase, axis=axis)
            down, right = (d for d in "zyx" if d != _SEEN_ALONG[axis])
            maps = []
            for scan in (s for s in state.scans if s.scan.name in known):
                one = np.asarray(values.sel(scan=scan.scan.name).transpose(down, right).values, np.float64)
                there = np.isfinite(one)
                if not there.any():
                    continue
                rows, columns = (int(np.flatnonzero(there.any(axis=1 - d))[-1]) + 1 for d in range(2))
                extent = dict(zip("zyx", (n * v for n, v in zip(scan.scan.shape, state.specimen.voxel_size))))
                maps.append(Map(scan.scan.name, one[:rows, :columns], (extent[down], extent[right])))
            alt = (
                f"Flux density of diffusion through {phase} of {state.name} along {axis}, seen along "
                f"{_SEEN_ALONG[axis]}: a map for each scan."
            )
            title = f"flux through {phase} along {axis}"
            drawings += map_drawings(f"{state.name}_flux_{phase}_{axis}", alt, maps, title, (right, down))
    return drawings


def _renderings(state: SpecimenState, scan: ScanState) -> list[Rendering]:
    group = state.specimen.group.get("scale0")
    found = []
    for phase in state.specimen.phases:
        for axis in "xyz":
            name = f"flux_{re.sub(r'[^A-Za-z0-9_.-]', '_', phase)}_{axis}"
            label = state.specimen.phases.index(phase)
            solved = scan.complete(f"tortuosity_{label}_{axis}")
            if not solved or not isinstance(group, zarr.Group) or name not in group:
                continue
            drawn = field_volume(state, scan, name)
            flux = np.nan_to_num(np.abs(drawn.values))
            positive = flux[flux > 0]
            if not positive.size:
                continue
            high = float(np.quantile(positive, _QUANTILE))
            view = View(drawn.lengths, picture_width(state, max(flux.shape)))

            def draw(flux: np.ndarray = flux, view: View = view, high: float = high) -> np.ndarray:
                share = np.clip(largest_along_rays(view, flux) / high, 0, 1)
                low, top = RAMP_ENDS
                colours = np.round(255 * colormaps[RAMP](low + (top - low) * share)).astype(np.uint8)
                colours[..., 3] = np.round(255 * np.clip(1.6 * share, 0, 1)).astype(np.uint8)
                frame = Scene(view)
                frame.add_frame()
                return over(colours, frame.shade())

            alt = f"Flux density through {phase} of {state.name} {scan.scan.name} along {axis}, in three dimensions."
            said = ", ".join(filter(None, [f"{phase}, along {axis}", drawn.said]))
            bar = colour_bar("flux density over that of a scan full of the phase", 0.0, high)
            name = f"{state.name}_{scan.scan.name}_flux_{phase}_{axis}_3d"
            found.append(Rendering(name, scan.scan.name, said, alt, view, draw, bar))
    return found
