"""The cathode of a Mg/S cell: from scans of four states to tables that compare them.

python analyse.py                  # scans in scans/c00, c01, c03 and c10 beside study.yaml
python analyse.py --phantoms 224   # phantom scans of this edge in their place
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mgsflow
from mgsflow.phantoms import cathode, write_tiff_stack

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=HERE / "study.yaml")
    parser.add_argument("--phantoms", type=int, metavar="EDGE", help="make phantom scans of this edge first")
    arguments = parser.parse_args()
    if arguments.phantoms:
        for cycle in (0, 1, 3, 10):
            phantom = cathode((arguments.phantoms,) * 3, cycle=cycle)
            write_tiff_stack(
                phantom.image, arguments.study.parent / f"scans/c{cycle:02d}", voxel_size=phantom.voxel_size
            )

    summary = mgsflow.run(arguments.study)  # on the current dask client, or threads; again after an interruption
    print("report:", mgsflow.write_report(summary.store))

    found = mgsflow.open(summary.store)["cathode"]
    metrics = found["metrics"].ds
    print("volume fraction, %", (100 * metrics.volume_fraction).to_pandas().round(2), sep="\n")
    surface = metrics.surface_per_phase_volume.sel(estimator="crofton13")
    print("surface, µm²/µm³ of the phase", surface.to_pandas().round(2), sep="\n")
    print("tortuosity factor of the pores", metrics.tortuosity_factor.sel(phase="pore").to_pandas().round(2), sep="\n")
    print("particles", metrics.particle_count.to_pandas(), sep="\n")


if __name__ == "__main__":
    main()
