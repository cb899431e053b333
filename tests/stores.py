"""Small studies for the tests, and stores compared with one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

#: Extents of the two scans that every small study has: not multiples of any block, and different.
SHAPES = {"c0": (120, 90, 100), "c1": (96, 70, 110)}
SMALL = {"c0": (76, 56, 66), "c1": (64, 44, 70)}

_STUDY = """\
study: small
store: {store}
block: {block}
specimens:
  cathode:
    phases: [pore, CBD, sulfur]
    voxel_size: 0.126
    scans:
    - {{name: c0, path: {c0}, cycle: 0}}
    - {{name: c1, path: {c1}, cycle: 1, state: charged}}
{steps}
"""

_OTSU = """\
    correct: {drift: {smooth: 9}}
    normalise: {reference: c0}
    filter:
    - median: {radius: 1}
    - unsharp_mask: {sigma: 1.5, amount: 0.5}
    segment: {multi_otsu: true, majority: 1}
"""

#: What is done with the scans, by name.
STEPS = {
    "otsu": _OTSU,
    "fixed": _OTSU.replace("multi_otsu: true", "thresholds: [23100, 32500]"),
    "fixed float": _OTSU.replace("multi_otsu: true", "thresholds: [0.2525, 0.3959]"),
    "plain": "    segment: {thresholds: [23100, 32500]}\n",
    "otsu alone": "    segment: {multi_otsu: true}\n",
    "filter alone": "    filter: [gaussian: {sigma: 0.8}]\n",
}


def write_study(
    folder: Path, scans: Path, steps: str = "otsu", block: Any = 64, suffix: str = "", name: str = ""
) -> Path:
    """Write a study file for the small scans, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    name = name or "study"
    path = folder / f"{name}.yaml"
    c0, c1 = (scans / f"{s}{suffix}" for s in SHAPES)
    text = STEPS.get(steps, steps)
    path.write_text(_STUDY.format(store=f"{name}.zarr", block=block, c0=c0, c1=c1, steps=text), encoding="utf-8")
    return path


def contents(store: Path, only: str = "") -> dict[str, np.ndarray]:
    """Return every array of a store, decoded, by path (those under a path, if one is given)."""
    found: dict[str, np.ndarray] = {}

    def walk(group: zarr.Group) -> None:
        for _, array in group.arrays():
            found[array.path] = np.asarray(array[...])
        for _, child in group.groups():
            walk(child)

    walk(zarr.open_group(str(store), mode="r"))
    return {k: v for k, v in found.items() if k.startswith(only)}


def files(store: Path) -> dict[str, bytes]:
    """Return all files of a store but the metadata of its groups, by their path in it."""
    return {
        str(p.relative_to(store)): p.read_bytes()
        for p in sorted(store.rglob("*"))
        if p.is_file() and not (p.name == "zarr.json" and b'"node_type": "group"' in p.read_bytes())
    }


def notes(store: Path) -> dict[str, Any]:
    """Return the attributes of all groups, without the history of runs, the title and inputs."""
    root = zarr.open_group(str(store), mode="r")
    found: dict[str, Any] = {}

    def walk(group: zarr.Group) -> None:
        attrs = dict(group.attrs)
        ours = attrs.get("mgsflow")
        if isinstance(ours, dict):
            attrs["mgsflow"] = {k: v for k, v in ours.items() if k not in ("runs", "title", "inputs")}
        found[group.path] = attrs
        for _, child in group.groups():
            walk(child)

    walk(root)
    return found


def differences(a: Path, b: Path, only: str = "") -> list[str]:
    """Return the names of the arrays that are not the same, to the bit, in two stores."""
    one, two = contents(a, only), contents(b, only)
    odd = sorted(one.keys() ^ two.keys())
    return odd + [k for k in sorted(one.keys() & two.keys()) if not same(one[k], two[k])]


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Tell whether two arrays have one shape, dtype and content; NaN equals NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return a.tobytes() == b.tobytes() if a.dtype.kind in "iufb" else a.tolist() == b.tolist()


def finished(store: Path) -> int:
    """Return how many blocks the ledgers of a store hold as finished."""
    if not (store / "zarr.json").is_file():
        return 0
    found = contents(store)
    return sum(int(v.sum()) for k, v in found.items() if "/blocks/done_" in k)


def remote_contents(url: str) -> dict[str, np.ndarray]:
    """Return every array of a store in object storage."""
    from mgsflow.store.remote import RemoteStore

    group = zarr.open_group(RemoteStore(url), mode="r")
    found = {}

    def walk(node: zarr.Group) -> None:
        for _, array in node.arrays():
            found[array.path] = np.asarray(array[...])
        for _, child in node.groups():
            walk(child)

    walk(group)
    return found
