"""The demonstration: phantom scans as a user would have them, and the study file a user would write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mgsflow.blocks import Box
from mgsflow.compute import completed
from mgsflow.errors import StoreError
from mgsflow.phantoms import cathode, separator, write_tiff_stack
from mgsflow.phantoms.cell import cycling, voltammogram, write_table
from mgsflow.pipeline.step import Progress

_STUDY = """\
# A Mg/S battery in several cycle states: nano-CT of the cathode, micro-CT of the separator (phantoms).
study: Mg/S demo
store: study.zarr
block: {block}                    # voxels a side of a unit of work

specimens:
  cathode:
    voxel_size: 0.126          # µm
    phases: [pore, CBD, sulfur]
    scans:
      - {{name: pristine, path: scans/cathode_c00, cycle: 0, state: pristine}}
      - {{name: cycle1, path: scans/cathode_c01, cycle: 1, state: charged}}
      - {{name: cycle3, path: scans/cathode_c03, cycle: 3, state: charged}}
      - {{name: cycle10, path: scans/cathode_c10, cycle: 10, state: charged}}
    filter:
      - gaussian: {{sigma: 0.6}}
      - unsharp_mask: {{sigma: 1.5, amount: 0.6}}
    segment:
      thresholds: [23100, 32500]   # grey values: pore below, sulfur above
      majority: 1                  # voxels: removes specks
    particles: {{phase: sulfur}}
    tortuosity: {{phases: [pore], axes: [z, y, x]}}
{cathode}
  separator:
    voxel_size: 0.390
    phases: [air, fibre, deposit]
    scans:
      - {{name: pristine, path: scans/separator_c00, cycle: 0, state: pristine}}
      - {{name: cycle1, path: scans/separator_c01, cycle: 1, state: charged}}
    filter:
      - gaussian: {{sigma: 0.6}}
      - unsharp_mask: {{sigma: 1.5, amount: 0.6}}
    segment:
      multi_otsu: true             # fitted once to both scans together, then frozen
      majority: 1
    tortuosity: {{phases: [air], axes: z}}
    permeability: {{phase: air, axes: {axes}, pressure: [130e3, 100e3], viscosity: 1e-3{lines}}}   # Pa, Pa s
{separator}"""

#: What the whole study asks for besides: all that the paper shows.
_CATHODE = """\
    measures: [volume, profile, surface, interface, tpb]
    network: {{phase: pore}}
    rve: {{sizes: {sizes}, solve: tortuosity}}
    sensitivity:
      phase: pore                  # the threshold between pore and CBD
      values: {{from: 21900, to: 23100, step: 300}}
      solve: tortuosity
"""
_SEPARATOR = """\
    sensitivity: {phase: air}      # the threshold between air and fibre; by default, out to its uncertainty

electrochemistry:
  cycling:
    - {name: cell, path: cell/cycling.csv, mass: 1.0}          # mg of sulfur
  voltammetry:
    - {name: cell, path: cell/voltammogram.csv, scan_rate: 0.03}   # mV/s
  images:
    - {name: SEM, path: cell/micrograph.tif, phases: [pore, solid], thresholds: 23100}
"""


@dataclass(frozen=True)
class _Stack:
    """One phantom scan to be written, with its true phases beside."""

    folder: Path
    kind: str
    cycle: int
    size: int
    seed: int

    def write(self) -> str:
        make = {"cathode": cathode, "separator": separator}[self.kind]
        phantom = make((self.size,) * 3, cycle=self.cycle, seed=self.seed)
        name = f"{self.kind}_c{self.cycle:02d}"
        write_tiff_stack(phantom.image, self.folder / "scans" / name, voxel_size=phantom.voxel_size)
        write_tiff_stack(phantom.truth, self.folder / "truth" / name, voxel_size=phantom.voxel_size)
        return name


def make_scans(folder: Path, size: int, seed: int, progress: Progress, full: bool = False) -> Path:
    """Write the scans and the study file, and return its path.

    Parameters
    ----------
    folder : path
    size : int
        Edge of each scan in voxels.
    seed : int
    progress : callable
    full : bool
        Ask for all studies of the paper, and write the cell's cycling and an electron micrograph beside.

    Raises
    ------
    StoreError
        If the folder holds something else, or cannot be written.
    """
    study = folder / "study.yaml"
    if folder.exists() and any(folder.iterdir()) and not study.exists():
        raise StoreError(f"{folder} is not empty: name another folder for the demo")
    stacks = [_Stack(folder, "cathode", cycle, size, seed) for cycle in (0, 1, 3, 10)]
    stacks += [_Stack(folder, "separator", cycle, size, seed) for cycle in (0, 1)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        progress("make scans", str(folder), 0, len(stacks))
        for count, _ in enumerate(completed(_Stack.write, stacks), start=1):
            progress("make scans", str(folder), count, len(stacks))
        if full:
            _write_cell(folder / "cell", size, seed)
        study.write_text(_study(size, full), encoding="utf-8")
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror}): name another folder") from error
    return study


def _study(size: int, full: bool) -> str:
    block = min(256, max(64, size // 2))
    if not full:
        return _STUDY.format(block=block, cathode="", axes="z", lines="", separator="")
    # as the paper's 60³ to 200³, where the scans are as large
    sizes = sorted({min(n, n * size // 208) for n in (60, 80, 120, 160, 200)})
    return _STUDY.format(
        block=block,
        cathode=_CATHODE.format(sizes=sizes),
        axes="[z, y, x]",
        lines=", streamlines: 150",
        separator=_SEPARATOR,
    )


def _write_cell(folder: Path, size: int, seed: int) -> None:
    """Write what cycler, potentiostat and electron microscope would have: the last sees one plane of the cathode."""
    import tifffile

    write_table(cycling(), folder / "cycling.csv")
    write_table(voltammogram(), folder / "voltammogram.csv")
    plane = cathode((size,) * 3, cycle=0, seed=seed).image.read(Box((size // 2, 0, 0), (size // 2 + 1, size, size)))
    tifffile.imwrite(folder / "micrograph.tif", plane[0])
