"""What is in a scan or a store, on the terminal."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mgsflow.blocks import Box, Triple
from mgsflow.cli.show import show_status, show_warnings
from mgsflow.errors import InputError
from mgsflow.memory import format_bytes
from mgsflow.pipeline.assumptions import field_of_view
from mgsflow.pipeline.region import in_region
from mgsflow.readers import FORMATS, Reader, open_scan
from mgsflow.readers.orientation import Oriented
from mgsflow.recipe import RegionOfScan
from mgsflow.regions import find_cylinder_axis
from mgsflow.store import Study
from mgsflow.store.remote import place_of, remote_url
from mgsflow.store.schema import ATTRS

#: Voxels along each axis of the sample whose grey values are shown.
_SAMPLE = 64


def is_store(path: Path) -> bool:
    """Tell whether a path is a study store, of any schema version."""
    if remote_url(path) is not None:
        return f'"{ATTRS}"'.encode() in (place_of(path).load("zarr.json") or b"")
    group = path / "zarr.json"
    return group.is_file() and f'"{ATTRS}"' in group.read_text(encoding="utf-8", errors="replace")


def inspect_scan(path: Path, options: list[str], out: Console) -> None:
    """Print shape, type, voxel size and grey values of a scan's files."""
    reader = open_scan(path, **parse_options(options))
    table = Table.grid(padding=(0, 2))
    size = np.prod(reader.shape, dtype=np.int64) * np.dtype(reader.dtype).itemsize
    rows = {
        "files": f"{len(reader.files)}, first {reader.files[0].name}",
        "shape": " × ".join(map(str, reader.shape)) + " voxels (z, y, x)",
        "type": f"{reader.dtype}, {format_bytes(float(size))} in memory",
        "axes": _axes(reader),
        "voxel": _voxel(reader),
        "grey values": _grey(reader),
    }
    for name, value in rows.items():
        table.add_row(f"[cyan]{name}", escape(value))
    if find_cylinder_axis(reader) is not None:
        table.add_row("[cyan]region", escape(_cylinder(reader)))
    out.print(table)
    seen = field_of_view(reader)
    show_warnings((*reader.warnings, *(() if seen is None else (seen,))), out)


def inspect_formats(out: Console) -> None:
    """Print the formats that are read, what their files state, and which library reads them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("format", "files", "states", "read by", "options"):
        table.add_column(name)
    for kind in FORMATS:
        table.add_row(
            *map(escape, (kind.name, " ".join(kind.patterns), kind.states, kind.library, ", ".join(kind.options)))
        )
    out.print(table)


def is_cycling(path: Path) -> bool:
    """Tell whether a path is a file of a cycler or potentiostat, by its suffix."""
    return path.suffix.lower() in (".nda", ".ndax", ".dta", ".mpt", ".mpr", ".res", ".csv", ".txt")


def inspect_cycling(path: Path, out: Console) -> None:
    """Print what a cycler's file holds, and what is assumed of it: the sign of the current, the numbers of cycles."""
    from mgsflow.electrochemistry import Cell, cycles, read_cycling

    rows = read_cycling(path)
    data = cycles([Cell(path.stem, rows)]).isel(cell=0)
    table = Table.grid(padding=(0, 2))
    first = str(data.first_half.item())
    for name, value in {
        "rows": f"{rows.voltage.size}, {rows.voltage.min():.4g} to {rows.voltage.max():.4g} V",
        "current": "taken as positive in charge; `current: discharge-positive` in the study file turns it round",
        "cycles": f"{data.sizes['cycle']}, each beginning with a {first}; `starts: charge` or `discharge` counts anew",
    }.items():
        table.add_row(f"[cyan]{name}", escape(value))
    out.print(table)
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("cycle", "discharge, mAh", "charge, mAh", "status"):
        shown.add_column(name, justify="left" if name == "status" else "right")
    for cycle in sorted({*data.cycle.values[:3].tolist(), *data.cycle.values[-2:].tolist()}):
        one = data.sel(cycle=cycle)
        amounts = (f"{float(one[f'{half}_capacity']):.5g}" for half in ("discharge", "charge"))
        shown.add_row(str(cycle), *amounts, str(one.cycle_status.item()))
    out.print(shown)


def inspect_store(path: Path, out: Console) -> None:
    """Print the specimens, scans and arrays of a store, and how far each step is."""
    study = Study.open(path)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("specimen", "scan", "cycle", "state", "voxels z × y × x", "voxel, µm", "arrays"):
        table.add_column(name, justify="right" if name == "cycle" else "left", no_wrap="×" in name)
    for specimen in (study[name] for name in study.specimens):
        arrays = ", ".join(sorted(n for n, a in specimen.level(0).arrays() if a.ndim == 4))
        voxel = " × ".join(f"{v:g}" for v in specimen.voxel_size)
        for scan in specimen.scans:
            shape = " × ".join(map(str, scan.shape))
            table.add_row(*map(escape, (specimen.name, scan.name, str(scan.cycle), scan.state, shape, voxel, arrays)))
    out.print(table)
    show_status(study, out)


def parse_options(options: list[str]) -> dict[str, Any]:
    """Return ``name=value`` options as values: ``shape=10,20,30`` is three numbers.

    Raises
    ------
    InputError
        If one has no ``=``.
    """
    parsed: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise InputError(f"option {option!r}: write name=value, as shape=100,200,200 or dtype=uint16")
        text = f"[{value}]" if "," in value and not value.startswith("[") else value
        try:
            parsed[name.strip()] = YAML(typ="safe", pure=True).load(text)
        except YAMLError:
            parsed[name.strip()] = value
    return parsed


def _axes(reader: Reader) -> str:
    if not isinstance(reader, Oriented):
        return "z, y, x, the slowest first"
    flipped = f"; reversed along {', '.join(reader.flip)}" if reader.flip else ""
    return f"stored as {', '.join(reader.axes)}, the slowest first; read as z, y, x{flipped}"


def _cylinder(reader: Reader) -> str:
    try:
        return f"`region: {{cylinder: auto}}` is {in_region(reader, RegionOfScan(cylinder='auto')).text}"
    except InputError as error:
        return str(error)


def _voxel(reader: Reader) -> str:
    if reader.voxel_size is None:
        return "not stated in the files"
    sizes = " × ".join(f"{v:g}" for v in reader.voxel_size)
    field = " × ".join(f"{v * n:.4g}" for v, n in zip(reader.voxel_size, reader.shape))
    return f"{sizes} µm, field {field} µm"


def _grey(reader: Reader) -> str:
    start: Triple = tuple(max(0, (n - _SAMPLE) // 2) for n in reader.shape)  # type: ignore[assignment]
    stop: Triple = tuple(min(n, a + _SAMPLE) for n, a in zip(reader.shape, start))  # type: ignore[assignment]
    try:
        sample = reader.read(Box(start, stop))
        if reader.dtype.kind == "f":  # outside the field of view many reconstructions have NaN
            z = reader.shape[0] // 2
            for y, x in product((0, max(0, reader.shape[1] - 8)), (0, max(0, reader.shape[2] - 8))):
                reader.read(Box((z, y, x), (z + 1, min(y + 8, reader.shape[1]), min(x + 8, reader.shape[2]))))
    except InputError as error:
        if "is not a finite number" not in str(error):
            raise
        return f"NaN or infinite values, which a run refuses: {error}"
    low, middle, high = np.percentile(sample, [1, 50, 99])
    shape = " × ".join(map(str, sample.shape))
    return f"1 % below {low:g}, median {middle:g}, 1 % above {high:g} (of the middle {shape})"
