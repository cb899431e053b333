"""One reading of a volume, block by block: a chain of kernels, what it writes on the way, and what it adds up.

A `Pass` is plain data that any process can run block by block: read block and halo, run the chain, write the stages
that are asked for as whole shards, store the small records of the reductions. Pixels never travel through a
scheduler: a task takes a block's index and returns it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from mgsflow.blocks import Block, Box, Grid, Triple
from mgsflow.kernel import Kernel, Reduction, crop, run_stages, stage_margins
from mgsflow.memory import write_bytes


class Source(Protocol):
    """Voxels to read: a file format, a stored array, a phantom. Cheap to pickle."""

    @property
    def shape(self) -> Triple:
        """Lengths along (z, y, x)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        ...

    def scratch(self, shape: Triple) -> int:
        """Return the most bytes that reading a box of this shape holds beside the result."""
        ...

    def read(self, box: Box) -> np.ndarray:
        """Return the voxels of a box."""
        ...


class Sink(Protocol):
    """A volume that takes whole blocks. Cheap to pickle."""

    @property
    def chunk(self) -> Triple:
        """Shape in which a block is encoded."""
        ...

    def write(self, box: Box, array: np.ndarray) -> None:
        """Store a block; a repeated write leaves the same bytes."""
        ...


class RecordSink(Protocol):
    """Where a reduction's records go, one a block. Cheap to pickle."""

    def write(self, index: Triple, record: np.ndarray) -> None:
        """Store the record of the block at a grid position."""
        ...


@dataclass(frozen=True)
class Output:
    """What to keep of a chain's result after its first `after` kernels.

    Parameters
    ----------
    after : int
        Number of kernels that have run: 0 is the source itself.
    sink : Sink, optional
        Where the voxels go.
    reductions : tuple of (Reduction, RecordSink)
        Sums over these voxels, and where their records go.
    """

    after: int
    sink: Sink | None = None
    reductions: tuple[tuple[Reduction, RecordSink], ...] = ()

    @property
    def margin(self) -> Triple:
        """Voxels beyond the block that the reductions read."""
        z, y, x = (max((r.halo[axis] for r, _ in self.reductions), default=0) for axis in range(3))
        return z, y, x


@dataclass(frozen=True)
class Pass:
    """Everything that one reading of a source does, for every block of a grid."""

    source: Source
    grid: Grid
    chain: tuple[Kernel, ...]
    outputs: tuple[Output, ...]

    @property
    def margins(self) -> list[Triple]:
        """Voxels beyond a block that the outputs want of each stage."""
        wanted = [(0, 0, 0)] * (len(self.chain) + 1)
        for output in self.outputs:
            wanted[output.after] = tuple(map(max, wanted[output.after], output.margin))  # type: ignore[assignment]
        return wanted

    @property
    def halo(self) -> Triple:
        """Voxels beyond a block that are read."""
        return stage_margins(self.chain, self.margins)[0]

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when everything is stored."""
        block = self.grid.block(index, self.halo)
        array = self.source.read(block.outer)
        stages = run_stages(self.chain, array, block.outer, block.core, self.margins)
        del array
        for after, (voxels, box) in enumerate(stages):
            for output in self.outputs:
                if output.after != after:
                    continue
                for reduction, records in output.reductions:
                    part = Block(index, block.core, block.core.grow(reduction.halo, within=Box.of(self.grid.shape)))
                    records.write(index, reduction(crop(voxels, box, part.outer), part))
                if output.sink is not None:
                    output.sink.write(block.core, crop(voxels, box, block.core))
        return index

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        core = self.grid.largest
        outer: Triple = tuple(  # type: ignore[assignment]
            min(n, c + 2 * h) for n, c, h in zip(self.grid.shape, core, self.halo)
        )
        dtype = np.dtype(self.source.dtype)
        size = prod(outer)
        peak = size * dtype.itemsize + self.source.scratch(outer)
        for after in range(len(self.chain) + 1):
            if after:
                kernel = self.chain[after - 1]
                before, scratch = size * dtype.itemsize, kernel.scratch(outer, dtype)
                dtype = np.dtype(kernel.dtype(dtype))
                peak = max(peak, before + scratch + size * dtype.itemsize)
            for output in self.outputs:
                if output.after == after:
                    held = size * dtype.itemsize
                    peak = max(peak, held + self._output_memory(output, core, outer, dtype))
        return peak

    @staticmethod
    def _output_memory(output: Output, core: Triple, outer: Triple, dtype: np.dtype[Any]) -> int:
        most = 0
        for reduction, _ in output.reductions:
            shape, kind = reduction.record(core)
            # the record, and its encoded copies
            most = max(most, reduction.scratch(outer, dtype) + 3 * prod(shape) * np.dtype(kind).itemsize)
        if output.sink is not None:
            most = max(most, write_bytes(core, dtype.itemsize, output.sink.chunk))
        return most


def indices(grid: Grid) -> Iterator[Triple]:
    """Yield the index of every block in C order."""
    for block in grid.blocks():
        yield block.index
