"""One slab of a Stokes solve: its pores, what percolates, and the matrix on its faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mgsflow.compute.supersteps.block_store import BlockArrays
from mgsflow.solvers.graph import box_key
from mgsflow.transport.diffusion.graph import periodic_axes
from mgsflow.transport.diffusion.graph_kernel import voxel_parts
from mgsflow.transport.stokes.distributed.duct import Duct
from mgsflow.transport.stokes.distributed.slab import HALO, LOWER, UPPER
from mgsflow.transport.stokes.narrow_throats import covered_voxels
from mgsflow.transport.stokes.pressure.kernel import pack_weights, part_graph, split_boxes
from mgsflow.transport.stokes.saddle_kernel import dot_planes
from mgsflow.transport.stokes.velocity.coarse import velocity_boxes
from mgsflow.transport.stokes.velocity.coarse_kernel import sum_boxes, sum_faces
from mgsflow.transport.stokes.velocity.faces import coupling_weights, inlet_outlet_halves, wrap, write_face_codes
from mgsflow.transport.stokes.velocity.fine_kernel import apply_component

Faces = Mapping[Any, np.ndarray]

_NOTHING = np.empty(0, np.int32)


class StokesSlab:
    """One slab; see `mgsflow.transport.stokes.distributed.solve` for the order of the steps.

    Base of `cycles.StokesCycles`, which adds the preconditioners, and of `block.StokesBlock`, which adds the vectors.
    """

    def __init__(self, number: int, arrays: BlockArrays, duct: Duct) -> None:
        self.arrays, self.duct = arrays, duct
        self.slab = duct.slabs[number]
        slab = self.slab
        self.half = inlet_outlet_halves(slab.planes, slab.offset, duct.shape[0])
        self.weights = coupling_weights(duct.edges)
        self.across = [np.delete(self.weights[d], d) for d in range(3)]
        shifts, self.shapes = velocity_boxes(duct.shape, duct.edges)
        #: the slab's boxes, and where they begin in its fields of boxes
        self.boxed = slab.of_boxes(self.shapes[0], shifts[min(1, len(shifts) - 1)])
        self.ahead = slab.box_offset - self.boxed.offset
        #: parts of boxes, as numbered here: those before, up to the slab's own last, and all that it needs
        self.parts = (0, 0, 0)
        self.total = 0
        arrays["pores"] = self._read()

    # ------------------------------------------------------------------ percolation

    def label(self) -> tuple[tuple[int, np.ndarray, np.ndarray], dict[Any, np.ndarray]]:
        """Find the connected parts of the slab's own pores; return pores of the image, and the parts on both faces."""
        slab = self.slab
        inside = np.ascontiguousarray(self.arrays["pores"][slab.start : slab.stop, 1:-1, 1:-1] > 0)
        parent = np.empty(inside.size, np.int32 if inside.size < 2**31 else np.int64)
        voxel_parts(inside, periodic_axes(0, self.duct.periodic), parent)
        parts = parent.reshape(inside.shape)
        self.arrays["parent"] = parts
        lower, upper = (np.where(inside[i], parts[i], -1) for i in (0, -1))
        start, stop = self._image_part()
        found = int(np.count_nonzero(inside[start - slab.start : stop - slab.start]))
        return (found, np.unique(lower[lower >= 0]), np.unique(upper[upper >= 0])), {UPPER: upper, LOWER: _NOTHING}

    def meet(self, faces: Faces) -> np.ndarray:
        """Return which parts of the slab below touch which here: pairs, below first."""
        if LOWER not in faces:
            return np.empty((0, 2), np.int64)
        below = np.asarray(faces[LOWER])
        here = np.where(self.arrays["pores"][self.slab.start, 1:-1, 1:-1] > 0, self.arrays["parent"][0], -1)
        both = (below >= 0) & (here >= 0)
        return np.unique(np.stack([below[both], here[both]], axis=1).astype(np.int64), axis=0)

    def keep(self, roots: np.ndarray) -> tuple[int, dict[Any, np.ndarray]]:
        """Fill all pores but those of some parts; return how many are left in the image."""
        slab, parent = self.slab, self.arrays["parent"]
        through = np.zeros(parent.size, np.bool_)
        through[roots] = True
        pores = self.arrays.edit("pores")
        inside = pores[slab.start : slab.stop, 1:-1, 1:-1]
        inside *= through[parent]
        del self.arrays["parent"]
        start, stop = self._image_part()
        return int(np.count_nonzero(pores[start:stop, 1:-1, 1:-1])), slab.cut(pores)

    # ------------------------------------------------------------------ matrix

    def code(self, faces: Faces) -> tuple[int, dict[Any, np.ndarray]]:
        """Find the codes of the slab's own faces; return how many voxels of the image a ball of 4 covers."""
        slab, duct = self.slab, self.duct
        pores = self.arrays.edit("pores")
        slab.put(faces, pores)
        wrap(pores, duct.periodic)
        codes = np.zeros((3, *pores.shape), np.uint8)
        for d in range(3):
            write_face_codes(pores, d, duct.sides, slab.start, slab.end, codes[d])
        self.arrays["codes"] = codes
        return self._covered(pores), slab.cut(codes)

    def sum_boxes(self) -> tuple[None, dict[Any, np.ndarray]]:
        """Sum the velocity's matrix over the slab's own boxes: for each component, diagonal and three couplings."""
        slab = self.slab
        codes = self.arrays["codes"]
        matrix = np.zeros((3, 4, self.boxed.planes, *self._box_plane()), np.float32)
        a, b = slab.boxes
        for d in range(3):
            sum_faces(a, b, *self._component(codes, d), slab.shift, *(e[self.ahead :] for e in matrix[d]))
        self.arrays["boxes"] = matrix
        return None, self.boxed.cut(matrix)

    def take_boxes(self, faces: Faces, deep: bool) -> np.ndarray:
        """Take the matrices of the neighbours' boxes.

        Parameters
        ----------
        faces : mapping
        deep : bool
            Whether boxes are joined to larger ones.

        Returns
        -------
        ndarray of float32, shape (3, 4, …)
            The matrices of the slab's own larger boxes, or of its boxes.
        """
        boxed = self.boxed
        matrix = self.arrays.edit("boxes")
        boxed.put(faces, matrix)
        for d in range(3):
            for e in matrix[d, 1:]:
                wrap(e, self.duct.periodic)
        if not deep:
            own = matrix[:, :, boxed.start : boxed.end].copy()
            del self.arrays["boxes"]
            return own
        found = np.zeros((3, 4, boxed.box_planes, *self._box_plane(1)), np.float32)
        a, b = boxed.boxes
        for d in range(3):
            sum_boxes(a, b, *matrix[d], boxed.shift, *found[d])
        # boxes without a face: any diagonal keeps them at zero
        matrix[:, 0][matrix[:, 0] <= 1e-6] = 1
        for name in ("box_b", "box_s", "box_x"):
            self.arrays[name] = np.zeros(matrix[:, 0].shape, np.float32)
        return found[:, :, a:b].copy()

    def take_codes(self, faces: Faces) -> None:
        """Take the codes of the neighbours' faces; make room for vectors."""
        self.slab.put(faces, self.arrays.edit("codes"))
        shape = (4, *self.arrays["pores"].shape)
        for name in ("d", "h", "q", "y", "z"):
            self.arrays[name] = np.zeros(shape, np.float32)

    def product_sums(self, faces: Faces) -> np.ndarray:
        """Return b·x and x·A x of each component by plane, where x in y is the cycle of b in q; uses h."""
        slab = self.slab
        y, q, h = self.arrays.edit("y"), self.arrays["q"], self.arrays.edit("h")
        slab.put(faces, y[:3])
        codes = self.arrays["codes"]
        sums = np.zeros((3, 2, slab.planes))
        for d in range(3):
            apply_component(slab.start, slab.end, *self._component(codes, d), y[d], h[d])
            dot_planes(slab.start, slab.end, q[d], y[d], sums[d, 0])
            dot_planes(slab.start, slab.end, y[d], h[d], sums[d, 1])
        h[:] = 0
        return sums[..., slab.start : slab.end]

    def pack(self, steepest: tuple[float, float, float]) -> tuple[None, dict[Any, np.ndarray]]:
        """Pack the weights of the slab's own faces."""
        slab, codes, y = self.slab, self.arrays["codes"], self.arrays["y"]
        packed = np.zeros(codes.shape, np.uint8)
        for d in range(3):
            rest = (codes[d], self.half[d], self.across[d], y[d], np.float32(steepest[d]), packed[d])
            pack_weights(slab.start, slab.end, *rest)
            wrap(packed[d], self.duct.periodic)
        self.arrays["weights"] = packed
        return None, slab.cut(packed)

    def split(self, faces: Faces) -> tuple[int, int]:
        """Take the weights of the neighbours' faces, split boxes into parts; return how many of them and of their
        links are the slab's own."""
        slab = self.slab
        slab.put(faces, self.arrays.edit("weights"))
        pores = self.arrays.edit("pores")
        first = np.zeros((slab.box_planes, *self._box_plane()), np.int32)
        self.total = split_boxes(pores, slab.shift, first)
        wrap(pores, self.duct.periodic)
        self.arrays["first"] = first

        a, b = slab.voxel_boxes
        needed = slab.box(slab.around_voxels[1] - 1) + 1
        self.parts = (self._part(a), self._part(b), self._part(max(b, needed)))
        return self.parts[1] - self.parts[0], int(self._link(a, b, 0)[0].sum(dtype=np.int64))

    def needs(self) -> tuple[int, int]:
        """Return how many parts of the slab below it needs, and how many parts in all."""
        return self.parts[0], self.parts[2]

    def link(self, start: int = 0, stop: int = 0) -> tuple[np.ndarray, ...] | None:
        """Return the graph of the parts in some of the slab's own planes of boxes, if there are any: links of each
        part, their other ends counted from the slab's first, weights, ground and keys."""
        if start == stop:
            return None
        slab = self.slab
        counts = self._link(start, stop, 0)[0]
        size = int(counts.sum(dtype=np.int64))
        _, ends, values, ground, box = self._link(start, stop, max(1, size), counts)
        here = slice(self._part(start), self._part(stop))
        key = box_key(box[here, 0] + slab.box_offset, box[here, 1], box[here, 2])
        return (
            counts[here.start + 1 : here.stop + 1].copy(),
            ends[:size] - np.int32(self.parts[0]),
            values[:size],
            ground[here].copy(),
            key,
        )

    def _link(self, start: int, stop: int, size: int, counts: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Write the graph of the parts in some planes of boxes, or, without room for links, count these."""
        pores, first, weights = self.arrays["pores"], self.arrays["first"], self.arrays["weights"]
        n = self._part(stop)
        starts = np.zeros(n + 1, np.int32) if counts is None else np.cumsum(counts, dtype=np.int32)
        ends, values = np.empty(size, np.int32), np.empty(size, np.float32)
        ground, box = np.zeros(n, np.float32), np.zeros((n, 3), np.int32)
        source = (pores, self.slab.shift, first, *weights, self.duct.periodic)
        part_graph(start, stop, *source, starts, ends, values, ground, box)
        return starts, ends, values, ground, box

    def _part(self, plane: int) -> int:
        """Return the number here of the first part of a plane of boxes."""
        first = self.arrays["first"]
        return int(first[plane, 1, 1]) if plane < first.shape[0] - 1 else self.total

    # ------------------------------------------------------------------ parts of the above

    def _read(self) -> np.ndarray:
        slab, duct = self.slab, self.duct
        _, n1, n2 = duct.shape
        pores = np.zeros((slab.planes, n1, n2), np.uint8)
        pores[slab.start : slab.stop, 1:-1, 1:-1] = 1  # reservoirs
        start, stop = self._image_part()
        if stop > start:
            voxels = duct.source.read(duct.box(*duct.image_planes(slab))).transpose(duct.order)
            pores[start:stop, 1:-1, 1:-1] = voxels
        return pores

    def _image_part(self) -> tuple[int, int]:
        """Return the planes here of the slab's own voxels that are of the image."""
        start, stop = self.duct.image_planes(self.slab)
        before = 1 + self.duct.reservoirs - self.slab.offset
        return start + before, stop + before

    def _covered(self, pores: np.ndarray) -> int:
        start, stop = self._image_part()
        if stop <= start:
            return 0
        # beyond its ends, the image is taken to go on
        before = 1 + self.duct.reservoirs - self.slab.offset
        planes = np.arange(start - HALO, stop + HALO).clip(before, before + self.duct.image_shape[0] - 1)
        return covered_voxels(pores[planes, 1:-1, 1:-1], self.duct.sides)

    def _box_plane(self, level: int = 0) -> tuple[int, int]:
        return self.shapes[level][1:]

    def _component(self, codes: np.ndarray, d: int) -> tuple[np.ndarray, ...]:
        return codes[d], self.half[d], self.weights[d], self.across[d]
