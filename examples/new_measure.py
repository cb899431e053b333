"""A measure of one's own in twenty lines: how much of the collector's side each phase covers.

    python examples/new_measure.py [study.yaml]

With a study file, it is run with the measure in it; without, the measure is taken of a phantom.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

import mgsflow
from mgsflow.blocks import Box
from mgsflow.measures import MEASURES, block_records
from mgsflow.phantoms import cathode


@dataclass(frozen=True)
class Coverage:
    """Share of the first plane (z = 0) that each phase covers."""

    phases: int
    name = "coverage"
    halo = (0, 0, 0)  # voxels that it reads beyond a block

    def record(self, largest):  # what a block leaves: a count for each phase
        return (self.phases,), np.dtype(np.int64)

    def scratch(self, shape, dtype):  # bytes beside the block and the record
        return 0

    def __call__(self, array, block):  # the record of one block; records of all blocks add up
        plane = array[:1] if block.core.start[0] == 0 else array[:0]
        return np.bincount(plane.ravel(), minlength=self.phases)

    def finalize(self, records, grid, voxel_size, phases):  # what the records mean
        import xarray as xr

        total = sum(record for _, record in block_records(records, grid))
        attrs = {"units": "1", "long_name": "share of the collector's side"}
        return xr.Dataset({"coverage": ("phase", total / total.sum(), attrs)}, {"phase": list(phases)})


# from here on, a study file may say `measures: [volume, surface, coverage]`
MEASURES["coverage"] = lambda phases, voxel_size: (Coverage(phases),)


def main() -> None:
    if len(sys.argv) > 1:
        summary = mgsflow.run(sys.argv[1])
        tree = mgsflow.open(summary.store)
        for name, specimen in tree.children.items():
            if "coverage" in specimen["metrics"].ds:
                print(name, specimen["metrics"].ds.coverage.to_pandas().round(4), sep="\n")
        return
    phantom = cathode((64, 64, 64), cycle=0)
    found = mgsflow.measure(
        phantom.truth.read(Box.of(phantom.shape)), ["volume", Coverage(3)], phantom.voxel_size, phantom.phase_names
    )
    print(found[["volume_fraction", "coverage"]].to_pandas().round(4))


if __name__ == "__main__":
    main()
