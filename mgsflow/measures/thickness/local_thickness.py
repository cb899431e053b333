"""Local thickness of a phase: the diameter of the largest ball that fits into it and covers a voxel.

*Certificate.* A block needs the balls around all centres that reach into it. Let a centre lie beyond a face of what was
looked at, ρ steps from the block, and its ball cover a voxel of the block. On the way from that voxel to the centre one
crosses the outermost layer of what was looked at; there the distance to the background is more than what was walked,
so more than ρ steps, and still so within half a diagonal of a voxel's face, at the next voxel of the layer. Where the
squared distances of the whole layer are no more than that, there is no such centre.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, hypot, prod, sqrt
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Parts, Sink, Source, indices
from mgsflow.labelling.arrays import PhaseMask, check_mask, grid_of, like, sink_of
from mgsflow.labelling.distance.certified import BeyondReach, DistanceSource
from mgsflow.labelling.distance.kernel import Metric
from mgsflow.labelling.distance.pencils import by_pencils
from mgsflow.labelling.distance.transform import check_edges
from mgsflow.labelling.passes import client_for, folder_beside, parts_in, runner
from mgsflow.measures.thickness.distribution import ThicknessDistribution
from mgsflow.measures.thickness.kernel import containment, paint
from mgsflow.memory import write_bytes

HALO = 16
"""Voxels around a block whose balls are painted at first."""

REACH = 48
"""Voxels around a block whose balls are painted at most, where distances are computed on the way."""

_FAR_ENOUGH = 64  # voxels that distances reach from there: balls are hardly larger than what they reach over
_TABLE = 1 << 14  # squared radii of the table of containment: larger balls do without
_SLAB = 64  # planes of stored distances that are read at once: a stored chunk


@dataclass(frozen=True)
class ThicknessBlocks:
    """Paint the largest inscribed balls, block by block.

    Parameters
    ----------
    squares : Source
        Exact squared distances to the background; 0 outside the phase.
    grid : Grid
    sink : Sink, optional
        Takes local thickness, float32.
    parts : Parts, optional
        Takes each block's squared radii and how many voxels have them, as ``"thickness"``.
    edges : tuple of float, optional
        Edges of a voxel that the squared distances were computed with.
    scale : float
        What radii are multiplied with: the edge of a voxel where squared distances are in voxels².
    halo : int
        Voxels around a block whose balls are painted at first.
    reach : int, optional
        Voxels around a block whose balls are painted at most; default, as many as it takes.
    slab : int, optional
        Planes that are read at once: of stored distances, few; default, all.
    """

    squares: Source
    grid: Grid
    sink: Sink | None = None
    parts: Parts | None = None
    edges: tuple[float, float, float] | None = None
    scale: float = 1.0
    halo: int = HALO
    reach: int | None = None
    slab: int | None = None

    def run(self, index: Triple) -> Triple:
        """Do one block, and return its index when it is stored.

        Raises
        ------
        BeyondReach
            If balls reach into it from farther away than `reach`.
        """
        core = self.grid.block(index).core
        radii = self._radii(core)
        if self.parts is not None:
            self.parts.write(index, "thickness", _counts(radii))
        if self.sink is not None:
            out = np.empty(core.shape, np.float32)
            for plane, result in zip(radii, out):  # little by little, to need little beside
                result[...] = diameters(plane, self.scale)
            del radii
            self.sink.write(core, out)
        return index

    def memory(self) -> int:
        """Return the most bytes that one block holds at once."""
        volume, core = self.grid.shape, self.grid.largest
        reach = max(volume) if self.reach is None else self.reach
        outer = [min(n, c + 2 * reach) for n, c in zip(volume, core)]
        part: Triple = (min(outer[0], self.slab or outer[0]), outer[1], outer[2])
        itemsize = np.dtype(self.squares.dtype).itemsize
        size = prod(core)
        radii = size * itemsize
        reading = prod(part) * itemsize + self.squares.scratch(part)
        painting = 2 * prod(part) * itemsize + 32 * _TABLE
        counting = 4 * 16 * min(size, sum(n * n for n in outer)) + 32 * core[1] * core[2]
        writing = 0
        if self.sink is not None:
            writing = 4 * size + max(radii + 32 * core[1] * core[2], write_bytes(core, 4, self.sink.chunk))
        return max(radii + max(reading, painting, counting), writing) + (1 << 16)

    def _radii(self, core: Box) -> np.ndarray:
        """Return the squared radius of the largest ball over each voxel of a block."""
        volume = Box.of(self.grid.shape)
        metric = Metric(self.edges)
        radii = np.zeros(core.shape, metric.dtype)
        reach = max(volume.shape) if self.reach is None else self.reach
        allowed = core.grow(reach, volume)
        outer = core.grow(min(self.halo, reach), volume)
        while True:
            most = self._paint(outer, core, radii)
            if radii.flat[0] == metric.far:  # a volume without background
                return radii
            wanted = self._wanted(core, outer, most)
            if wanted == outer:
                return radii
            wanted = wanted.intersect(allowed)
            if wanted == outer:
                raise BeyondReach(
                    f"balls reach into the block at {core.start} from over {reach} voxels away: let blocks reach "
                    "farther (reach)"
                )
            outer = wanted

    def _paint(self, outer: Box, core: Box, radii: np.ndarray) -> list[list[float]]:
        """Paint all balls around the voxels of a box, and return the largest squared distance in each of its faces."""
        far = Metric(self.edges).far
        edges = np.ones(3) if self.edges is None else np.array(self.edges)
        most = [[0.0, 0.0] for _ in range(3)]
        for box in _slabs(outer, self.slab):
            squares = np.ascontiguousarray(self.squares.read(box))
            if squares.flat[0] == far:
                radii[...] = far
                return most
            table = _table() if self.edges is None else np.zeros((0, 0), np.int32)
            paint(squares, box.relative_to(core).start, edges, table, radii)
            for axis in range(3):
                for side in (0, 1):
                    ends = (box.start[axis], box.stop[axis]), (outer.start[axis], outer.stop[axis])
                    if ends[0][side] == ends[1][side]:
                        layer = squares[(slice(None),) * axis + (-side,)]
                        most[axis][side] = max(most[axis][side], float(layer.max()))
        return most

    def _wanted(self, core: Box, outer: Box, most: list[list[float]]) -> Box:
        """Return the box whose balls must be painted, by what is known from a smaller one."""
        edges = (1.0, 1.0, 1.0) if self.edges is None else self.edges
        start, stop = list(outer.start), list(outer.stop)
        for axis in range(3):
            # half the diagonal of a voxel's face, and rounding
            across = 0.5001 * hypot(*(e for i, e in enumerate(edges) if i != axis))
            low, high = (ceil((sqrt(m) + across) / edges[axis]) for m in most[axis])
            start[axis] = max(0, min(start[axis], core.start[axis] - low))
            stop[axis] = min(self.grid.shape[axis], max(stop[axis], core.stop[axis] + high))
        return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


def local_thickness(
    mask: Any,
    voxel_size: float | Sequence[float] = 1.0,
    out: Any = None,
    block: int | Sequence[int] = 256,
    threads: int | None = None,
    client: Any = None,
) -> Any:
    """Return the diameter of the largest ball that lies in a phase and covers a voxel, for each of its voxels.

    The local thickness τ(v) = 2·max {D(c) : |v − c| < D(c)} of Hildebrand & Rüegsegger
    (doi:10.1046/j.1365-2818.1997.1340694.x), where D is the distance between the centres of a voxel and of the nearest
    one that is not in the phase. A slit of n voxels is n thick where n is even, n + 1 where it is odd. What is outside
    the volume counts as nothing: balls are not cut there. Results are the same, to the bit, for any blocks.

    Parameters
    ----------
    mask : ndarray, zarr array or DataArray, shape (z, y, x)
        Booleans or integers; all but 0 is in the phase.
    voxel_size : float or sequence of float
        Edge of a voxel in µm, or edges along (z, y, x).
    out : ndarray or zarr array, optional
        Where to write, block by block: what does not fit in memory needs a zarr array.
    block : int or three
        Edges of a block in voxels, rounded up to whole files of `out`. It changes the memory that is used, not the
        result.
    threads : int, optional
        Threads, where there is no cluster; default, all cores.
    client : distributed.Client, optional
        Cluster to use where mask and `out` are stored; default, the current one.

    Returns
    -------
    ndarray, zarr array or DataArray
        float32, in µm; 0 outside the phase, infinite where there is no background. `out` if it was given, a DataArray
        for a DataArray, else an ndarray.

    Raises
    ------
    InputError
        If the mask, `out` or the voxel size cannot be used.
    """
    target = np.empty(check_mask(mask).shape, np.float32) if out is None else out
    _measure(mask, voxel_size, target, block, threads, client, sizes=False)
    return like(mask, target, "local_thickness") if out is None else out


def thickness_distribution(
    mask: Any,
    voxel_size: float | Sequence[float] = 1.0,
    out: Any = None,
    block: int | Sequence[int] = 256,
    threads: int | None = None,
    client: Any = None,
) -> ThicknessDistribution:
    """Return how the volume of a phase is distributed over local thickness: its granulometry by balls.

    Parameters
    ----------
    mask, voxel_size, block, threads, client
        As of `local_thickness`.
    out : ndarray or zarr array, optional
        Where to write local thickness too. A cluster is used where there is one in a folder.

    Returns
    -------
    ThicknessDistribution
    """
    return ThicknessDistribution.of(*_measure(mask, voxel_size, out, block, threads, client, sizes=True))


def _measure(
    mask: Any,
    voxel_size: float | Sequence[float],
    out: Any,
    block: int | Sequence[int],
    threads: int | None,
    client: Any,
    sizes: bool,
) -> tuple[list[np.ndarray], tuple[float, float, float], float]:
    """Run the passes; return each block's sizes, the edges of a voxel, and what squared radii are to be scaled with."""
    source = PhaseMask(check_mask(mask))
    size = check_edges(voxel_size)
    edges, scale = (None, size[0]) if size[0] == size[1] == size[2] else (size, 1.0)
    grid = grid_of(source.shape, block, out)
    sink = None if out is None else sink_of(out, grid.shape, np.dtype(np.float32))
    client = None if out is None else client_for(client, mask, out)
    each = runner(client, threads)
    with ExitStack() as stack:
        folder = stack.enter_context(folder_beside(out, needed=client is not None))
        parts = parts_in(folder) if sizes else None
        near = DistanceSource(source, edges, reach=_FAR_ENOUGH)
        try:
            each(ThicknessBlocks(near, grid, sink, parts, edges, scale, reach=REACH).run, grid)
        except BeyondReach:  # wide open: distances of the whole volume first
            stored = stack.enter_context(by_pencils(source, edges, False, folder, each))
            each(ThicknessBlocks(stored, grid, sink, parts, edges, scale, slab=_SLAB).run, grid)
        found = [] if parts is None else [parts.read(index, "thickness") for index in indices(grid)]
    return found, size, scale


def diameters(squares: np.ndarray, scale: float) -> np.ndarray:
    """Return the diameters of balls of some squared radii, times a scale."""
    values = squares.astype(np.float64)
    if squares.dtype == np.int32:
        values[squares == Metric().far] = np.inf
    return 2.0 * scale * np.sqrt(values)


def _counts(radii: np.ndarray) -> np.ndarray:
    """Return the squared radii of a block that occur, but 0, and the number of their voxels, shape (2, radii)."""
    if radii.dtype == np.int32 and radii.flat[0] != Metric().far:
        counts = np.zeros(int(radii.max()) + 1, np.int64)
        for plane in radii:
            counts += np.bincount(plane.ravel(), minlength=counts.size)
        values = np.flatnonzero(counts)
        voxels = counts[values]
    else:
        parts = [np.unique(plane, return_counts=True) for plane in radii]
        values, place = np.unique(np.concatenate([v for v, _ in parts]), return_inverse=True)
        voxels = np.bincount(place.ravel(), weights=np.concatenate([n for _, n in parts])).astype(np.int64)
    squares = np.where(values == Metric().far, np.inf, values) if radii.dtype == np.int32 else values
    return np.stack([squares.astype(np.float64), voxels.astype(np.float64)])[:, squares > 0]


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    return containment(_TABLE)


def _slabs(box: Box, thick: int | None) -> Iterator[Box]:
    (z, y0, x0), (stop, y1, x1) = box.start, box.stop
    while z < stop:
        end = stop if thick is None else min(stop, (z // thick + 1) * thick)
        yield Box((z, y0, x0), (end, y1, x1))
        z = end
