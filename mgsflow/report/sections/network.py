"""Pore networks: their numbers, the distributions of pores and throats, and pictures of balls and sticks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgsflow.report.figures.drawing import Drawing, axes_of
from mgsflow.report.figures.grey_and_fractions import scan_key
from mgsflow.report.figures.palette import Theme
from mgsflow.report.numbers import NONE, aligned, grouped, scaled
from mgsflow.report.scene.render import Scene, View
from mgsflow.report.scene.renderings import Rendering, colour_bar, picture_width, ramp
from mgsflow.report.sections.part import Part
from mgsflow.report.sections.porosity_map import porosity_drawings
from mgsflow.report.sections.transport import CONVERGED, permeabilities, tortuosities
from mgsflow.report.state import ScanState, SpecimenState
from mgsflow.report.tables import SCAN, Table, scan_names

#: Pores in a picture, at most about: of larger networks the middle is shown.
MOST_PORES = 2500
_BINS = 28
_STICK = np.array([[150, 156, 166]], np.uint8)
#: Heads of the columns of what is counted.
_COUNTS = {
    "pore_count": "Pores",
    "throat_count": "Throats",
    "pore_specks": "Specks",
    "mean_coordination": "Throats a pore",
    "mean_pore_radius": "Pore radius, µm",
    "mean_throat_radius": "Throat radius, µm",
}
#: What the network lets through, by variable: heads, and the number of the solves on voxels that it stands beside.
_THROUGH = {
    "network_tortuosity_factor": ("τ, network", "tortuosity_factor"),
    "network_tortuosity_factor_cones": ("τ, conduits widening all the way", "tortuosity_factor"),
    "tortuosity_factor": ("τ, voxels", "tortuosity_factor"),
    "network_permeability": ("K, network", "permeability"),
    "network_permeability_cones": ("K, conduits widening all the way", "permeability"),
    "permeability": ("K, voxels", "permeability"),
}


@dataclass(frozen=True, eq=False)
class Network:
    """Pores and throats of one scan: places (z, y, x) and radii in µm, and the rows of each throat's two pores."""

    centre: np.ndarray
    radius: np.ndarray
    coordination: np.ndarray
    ends: np.ndarray
    throat_radius: np.ndarray


def network_of(state: SpecimenState, scan: ScanState) -> Network | None:
    """Return the network of a scan; None where there is none."""
    pores, throats = state.study("pores"), state.study("throats")
    if pores is None or throats is None or "scan" not in pores.variables or "scan" not in throats.variables:
        return None
    mine = np.asarray(pores["scan"].values, dtype=object) == scan.scan.name
    if not mine.any():
        return None
    own = np.asarray(throats["scan"].values, dtype=object) == scan.scan.name
    ids = np.asarray(pores["id"].values)[mine]
    order = np.argsort(ids)
    ends = np.stack([np.asarray(throats[n].values)[own] for n in ("pore_a", "pore_b")], axis=1)
    rows = order[np.minimum(np.searchsorted(ids[order], ends), ids.size - 1)]
    known = (ids[rows] == ends).all(axis=1) if ends.size else np.zeros(0, bool)
    columns = {n: np.asarray(pores[n].values)[mine] for n in ("inscribed_radius", "coordination")}
    centre = "centre" if "centre" in pores else "centroid"
    return Network(
        np.asarray(pores[centre].values, np.float64)[mine],
        columns["inscribed_radius"].astype(np.float64),
        columns["coordination"],
        rows[known],
        np.asarray(throats["radius"].values, np.float64)[own][known],
    )


def network_part(state: SpecimenState) -> Part | None:
    """Return what is known of pore networks; None where none was asked for."""
    metrics = state.metrics
    found = {s.scan.name: n for s in state.scans if (n := network_of(state, s)) is not None}
    has = metrics is not None and any(str(v).startswith("network_") for v in metrics.data_vars)
    tables = tuple(t for t in (_count_table(state), _through_table(state)) if t is not None)
    if not found and not has:
        return Part("Pore network", notes=("Not finished.",)) if state.asks("network") else None
    key = tuple((n, c) for n, c in scan_key(state) if n in found)
    drawings = _distributions(state, found, key)
    return Part(
        "Pore network",
        tables,
        tuple([*drawings, *porosity_drawings(state)]),
        key=key,
        caption=(
            "Distributions by number, in bins that all scans share. Maps of local porosity show the cubes in the plane "
            "across z in the middle of each scan."
            if drawings
            else ""
        ),
        renderings=tuple(_rendering(state, s, found[s.scan.name]) for s in state.scans if s.scan.name in found),
        view=(
            "Pores as balls of half their inscribed radius, coloured by it; throats as sticks of "
            f"0.3 times theirs. Networks of more than {MOST_PORES} pores are shown in the middle of the scan."
        ),
        notes=tuple(f"{s.scan.name}: no pore network yet." for s in state.scans if found and s.scan.name not in found),
    )


def _count_table(state: SpecimenState) -> Table | None:
    """Return counts and means of each scan's network."""
    metrics = state.metrics
    names = [n for n in _COUNTS if metrics is not None and n in metrics]
    if metrics is None or not names:
        return None
    columns, raw = [], []
    for name in names:
        values = [_value(state, s, name) for s in state.scans]
        counted = name.endswith(("count", "specks"))
        columns.append([NONE if v is None else grouped(v) for v in values] if counted else aligned(values))
        raw.append(values)
    asked = state.recipe.get("network") or {}
    of = f" of {asked['phase']}" if asked.get("phase") else ""
    caption = (
        f"Pore network{of} in the {state.name}: pores are basins of the distance to the solid, throats where two of "
        "them meet. Specks are small pores without a throat; they are in none of the numbers. Radii are means, of the "
        "largest ball in a pore, and of the largest that passes a throat."
    )
    full = (*SCAN, *(f"{n} ({metrics[n].attrs.get('units', '1')})" for n in names))
    return Table(
        f"{state.name}_network", caption, (*SCAN, *(_COUNTS[n] for n in names)), _rows(state, columns),
        raw_columns=full, raw=_rows(state, raw),
    )  # fmt: skip


def _through_table(state: SpecimenState) -> Table | None:
    """Return what the network lets through along each axis, beside the solves on voxels."""
    metrics = state.metrics
    if metrics is None or "network_status" not in metrics:
        return None
    voxels = {("tortuosity_factor", r.scan, r.axis): r.factor for r in tortuosities(state) if r.phase == _phase(state)}
    voxels |= {("permeability", r.scan, r.axis): r.permeability for r in permeabilities(state)}
    groups: list[tuple[str, int]] = []
    columns: list[list[str]] = []
    full: list[str] = []
    raw: list[list[float | None]] = []
    axes = [a for a in "xyz" if a in {str(v) for v in metrics["axis"].values}]
    for name, (words, of) in _THROUGH.items():
        of_voxels = name == of
        if not of_voxels and name not in metrics:
            continue
        places = [(s, a) for a in axes for s in state.scans]
        if of_voxels:
            values = [voxels.get((of, s.scan.name, a)) for s, a in places]
        else:
            values = [_value(state, s, name, a) for s, a in places]
        if not any(v is not None for v in values):
            continue
        numbers, power = scaled(values)
        statuses = ["" if of_voxels else _status(state, s, a) for s, a in places]
        unit = f", {power}µm²" if of == "permeability" else ""
        groups.append((words + unit, len(axes)))
        count = len(state.scans)
        for i, axis in enumerate(axes):
            part = slice(i * count, (i + 1) * count)
            columns.append([t or n for t, n in zip(statuses[part], numbers[part])])
            raw.append(values[part])
            full.append(f"{name} {axis}{' (µm²)' if of == 'permeability' else ''}")
    if not columns:
        return None
    caption = (
        "What the network lets through, as conduits from pore to pore, beside what was solved on the voxels. A network "
        "is a model: where the two differ, the voxels are right."
    )
    return Table(
        f"{state.name}_network_transport", caption, (*SCAN, *(a.upper() for _ in groups for a in axes)),
        _rows(state, columns), groups=tuple(groups), raw_columns=(*SCAN, *full), raw=_rows(state, raw),
    )  # fmt: skip


def _rows(state: SpecimenState, columns: Sequence[Sequence[Any]]) -> tuple[tuple[Any, ...], ...]:
    return tuple((*scan_names(s), *cells) for s, cells in zip(state.scans, zip(*columns)))


def _phase(state: SpecimenState) -> str:
    return str((state.recipe.get("network") or {}).get("phase") or state.specimen.phases[0])


def _value(state: SpecimenState, scan: ScanState, name: str, axis: str = "") -> float | None:
    one = state.measured(scan)
    if one is None or name not in one:
        return None
    value = float(one[name].sel(axis=axis) if axis else one[name])
    return value if np.isfinite(value) else None


def _status(state: SpecimenState, scan: ScanState, axis: str) -> str:
    """Return why there is no number, where a status says so."""
    one = state.measured(scan)
    if one is None:
        return ""
    text = one["network_status"].sel(axis=axis).item()
    return text if isinstance(text, str) and text not in ("", CONVERGED) else ""


def _distributions(state: SpecimenState, found: dict[str, Network], key: tuple[tuple[str, str], ...]) -> list[Drawing]:
    kinds: list[tuple[str, str, str, Callable[[Network], np.ndarray]]] = [
        ("pore_radius", "inscribed radius of pores in µm", "% of pores per bin", lambda n: n.radius),
        ("throat_radius", "radius of throats in µm", "% of throats per bin", lambda n: n.throat_radius),
        ("coordination", "throats of a pore", "% of pores", lambda n: n.coordination),
    ]
    drawings = []
    for name, words, share, of in kinds:
        values = {s: np.asarray(of(n), np.float64) for s, n in found.items()}
        values = {s: v[np.isfinite(v)] for s, v in values.items()}
        if not any(v.size for v in values.values()):
            continue
        upper = max(float(np.quantile(v, 0.998)) for v in values.values() if v.size)
        if name == "coordination":
            edges = np.arange(-0.5, max(3, np.ceil(upper)) + 1)
        else:
            edges = np.linspace(0, upper or 1.0, _BINS + 1)
        shares = {s: np.histogram(v, edges)[0] / max(1, v.size) for s, v in values.items()}

        def draw(
            figure: Figure,
            theme: Theme,
            words: str = words,
            share: str = share,
            edges: np.ndarray = edges,
            shares: dict[str, np.ndarray] = shares,
        ) -> None:
            axes = axes_of(figure, theme)
            for scan, colour in key:
                axes.stairs(100 * shares[scan], edges, color=colour, lw=1.3, alpha=0.9)
            axes.set_xlim(edges[0], edges[-1])
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=words.startswith("throats")))
            axes.set_xlabel(words)
            axes.set_ylabel(share)

        alt = f"Distribution of the {words}, a curve for each scan of {state.name}."
        drawings.append(Drawing(f"{state.name}_network_{name}", alt, (4.0, 2.7), draw, key))
    return drawings


def _rendering(state: SpecimenState, scan: ScanState, network: Network) -> Rendering:
    size = np.array([n * v for n, v in zip(scan.scan.shape, state.specimen.voxel_size)])
    share = min(1.0, (MOST_PORES / max(1, network.radius.size)) ** (1 / 3))
    low, high = (size - share * size) / 2, (size + share * size) / 2
    inside = ((network.centre >= low) & (network.centre <= high)).all(axis=1)
    radii = network.radius[inside]
    least, most = (float(np.quantile(radii, q)) for q in (0.02, 0.98)) if radii.size else (0.0, 1.0)
    z, y, x = (high - low).tolist()
    view = View((z, y, x), picture_width(state, 200))

    def draw() -> np.ndarray:
        scene = Scene(view)
        joined = inside[network.ends].all(axis=1) if network.ends.size else np.zeros(0, bool)
        a, b = (network.centre[network.ends[joined, i]] - low for i in (0, 1))
        scene.add_sticks(a, b, 0.3 * network.throat_radius[joined], np.repeat(_STICK, len(a), axis=0))
        scene.add_balls(network.centre[inside] - low, 0.5 * radii, ramp(radii, least, most))
        scene.add_frame()
        return scene.shade(0.7)

    alt = (
        f"Pore network of {state.name} {scan.scan.name} in three dimensions: {int(inside.sum())} pores as balls, "
        "throats as sticks."
    )
    said = "" if share >= 1 else f"middle {z:.3g} × {y:.3g} × {x:.3g} µm"
    bar = colour_bar("inscribed radius, µm", least, most)
    return Rendering(f"{state.name}_{scan.scan.name}_network_3d", scan.scan.name, said, alt, view, draw, bar)
