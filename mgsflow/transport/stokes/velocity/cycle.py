"""A multigrid cycle for the velocity: one fixed, symmetric, positive approximation of A⁻¹ a component.

Values are constant in boxes of 2×2×2 faces, or, where voxels are not cubes, of two faces along the short edges only.
(Walls damp the velocity, so pores that share a box do no harm.) Chebyshev sweeps work on the upper three quarters of
the spectrum of D⁻¹A, which lies within (0, 2]; on the coarse levels two cycles are combined by the Chebyshev
polynomial of degree two on [¼, 1], an algebraic multilevel iteration. Without coarse levels, wide pores would take
some hundred sweeps.

References
----------
O. Axelsson and P. S. Vassilevski, *Numer. Math.* 56 (1989) 157–177, doi:10.1007/BF01409783.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.solvers.team import Team
from mgsflow.transport.stokes.sweep import sweep
from mgsflow.transport.stokes.velocity.coarse import STEPS, Boxes, CoarseVelocity, velocity_boxes
from mgsflow.transport.stokes.velocity.coarse_kernel import sum_faces
from mgsflow.transport.stokes.velocity.faces import Faces
from mgsflow.transport.stokes.velocity.fine_kernel import apply_component, correct_and_smooth, smooth_and_restrict


class VelocityCycle:
    """One cycle for each component.

    Parameters
    ----------
    faces : Faces
    team : Team
    """

    def __init__(self, faces: Faces, team: Team):
        self.faces = faces
        self.team = team
        self.other = [np.delete(faces.weights[d], d) for d in range(3)]
        self.shifts, shapes = velocity_boxes(faces.shape, faces.edges)
        finest = [self._sums(d, shapes[0]) for d in range(3)]
        self.coarse = CoarseVelocity(finest, self.shifts, shapes, faces.periodic, team)

    def _sums(self, d: int, shape: Triple) -> Boxes:
        box = Boxes.zeros(shape)
        source = self._component(d)
        sweep(self.team, sum_faces, 1, shape[0] - 1, 4 * shape[1] * shape[2], *source, self.shifts[0], *box.arrays)
        return box

    def apply(self, d: int, x: np.ndarray, y: np.ndarray) -> None:
        """Set y to A x of component d."""
        self._fine(apply_component, *self._component(d), x, y)

    def cycle(self, d: int, b: np.ndarray, x: np.ndarray, scratch: np.ndarray, scale: float = 1.0) -> None:
        """Set x to scale · M b for component d.

        Parameters
        ----------
        d : int
        b, x : ndarray of float32, shape of the faces
            May not overlap.
        scratch : ndarray of float32, shape of the faces
            Overwritten.
        scale : float
        """
        source, periodic = self._component(d), self.faces.periodic
        shift, right_side = self.shifts[0], self.coarse.right_side
        self._fine(smooth_and_restrict, *source, b, STEPS, periodic, shift, scratch, right_side, align=1 << shift[0])
        found = self.coarse.solve(d)
        self._fine(correct_and_smooth, *source, b, scratch, found, STEPS, periodic, shift, np.float32(scale), x)

    def _component(self, d: int) -> tuple[np.ndarray, ...]:
        f = self.faces
        return f.codes[d], f.half[d], f.weights[d], self.other[d]

    def _fine(self, kernel: Callable[..., Any], *args: Any, align: int = 1) -> None:
        n0, n1, n2 = self.faces.shape
        sweep(self.team, kernel, 1, n0 - 1, n1 * n2, *args, align=align)
