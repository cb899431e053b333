"""A study of layers of pore and CBD with balls of sulfur, small enough to be analysed in every way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SHAPE = (24, 20, 28)
#: Sulfur balls in the CBD half: centres and radii in voxels.
BALLS = (((6, 15, 6), 3.5), ((6, 15, 20), 3.8), ((13, 15, 13), 2.6))
STUDY = """\
study: layers
store: {name}.zarr
block: 16
specimens:
  cathode:
    phases: [pore, CBD, sulfur]
    voxel_size: 0.5
    scans:
    - {{name: c0, path: c0.npy, cycle: 0}}
    - {{name: c1, path: c1.npy, cycle: 1, state: charged}}
    segment: {{thresholds: [20000, 40000]}}
    measures: [volume]
{analyses}
"""
ANALYSES = """\
    particles: {phase: sulfur, persistence: 0.25, border: drop}
    tortuosity: {phases: [pore, CBD, sulfur], axes: [z, y]}
    permeability: {phase: pore, axes: [z, y], pressure: [130e3, 100e3]}
"""


def grey(balls: bool) -> np.ndarray:
    """Layers of pore and CBD along y, with balls of sulfur in the CBD."""
    image = np.full(SHAPE, 10000, np.uint16)
    image[:, 10:] = 30000
    at = np.indices(SHAPE)
    for centre, radius in BALLS if balls else ():
        image[sum((a - c) ** 2 for a, c in zip(at, centre)) < radius**2] = 50000
    return image


def write(folder: Path, asked: str = ANALYSES, name: str = "study") -> Path:
    for scan, balls in (("c0", True), ("c1", False)):
        np.save(folder / f"{scan}.npy", grey(balls))
    (folder / f"{name}.yaml").write_text(STUDY.format(name=name, analyses=asked), encoding="utf-8")
    return folder / f"{name}.yaml"
