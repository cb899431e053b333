"""The separator of a Mg/S cell: what deposits do to flow and diffusion.

python analyse.py                  # scans in scans/c00 and c01 beside study.yaml
python analyse.py --phantoms 160   # phantom scans of this edge in their place
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mgsflow
from mgsflow.phantoms import separator, write_tiff_stack

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=HERE / "study.yaml")
    parser.add_argument("--phantoms", type=int, metavar="EDGE", help="make phantom scans of this edge first")
    arguments = parser.parse_args()
    if arguments.phantoms:
        for cycle in (0, 1):
            phantom = separator((arguments.phantoms,) * 3, cycle=cycle)
            write_tiff_stack(
                phantom.image, arguments.study.parent / f"scans/c{cycle:02d}", voxel_size=phantom.voxel_size
            )

    summary = mgsflow.run(arguments.study)  # on the current dask client, or threads; again after an interruption
    print("report:", mgsflow.write_report(summary.store))

    metrics = mgsflow.open(summary.store)["separator/metrics"].ds
    print("volume fraction, %", (100 * metrics.volume_fraction).to_pandas().round(2), sep="\n")
    print("permeability, µm²", metrics.permeability.to_pandas().round(3), sep="\n")
    print("Reynolds number", metrics.reynolds_number.to_pandas(), sep="\n")


if __name__ == "__main__":
    main()
