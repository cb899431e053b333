"""The demonstration: phantom scans as a user would have them, and the study file a user would write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mgsflow.compute import completed
from mgsflow.errors import StoreError
from mgsflow.phantoms import cathode, separator, write_tiff_stack
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
    permeability: {{phase: air, axes: z, pressure: [130e3, 100e3], viscosity: 1e-3}}   # Pa, Pa s
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


def make_scans(folder: Path, size: int, seed: int, progress: Progress) -> Path:
    """Write the scans and the study file, and return its path.

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
        study.write_text(_STUDY.format(block=min(256, max(64, size // 2))), encoding="utf-8")
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror}): name another folder") from error
    return study
