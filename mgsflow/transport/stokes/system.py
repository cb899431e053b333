"""The Stokes equations of a pore space with their preconditioners, and a start from Darcy's law."""

from __future__ import annotations

import numpy as np

from mgsflow.solvers.team import Team
from mgsflow.transport.stokes.pressure.kernel import unpack_weights, weigh
from mgsflow.transport.stokes.pressure.schur import IDENTITY, PressureCycle, face_weights
from mgsflow.transport.stokes.saddle_kernel import add_scaled, apply_saddle, dot_rows, fill_margin
from mgsflow.transport.stokes.sweep import sweep
from mgsflow.transport.stokes.velocity.cycle import VelocityCycle
from mgsflow.transport.stokes.velocity.faces import Faces


class StokesSystem:
    """A u + G p = f, Gᵀ u = 0, with the pressure 1 at the inlet and 0 at the outlet: f is 1 on the inlet's faces.

    Parameters
    ----------
    faces : Faces
    team : Team
    """

    def __init__(self, faces: Faces, team: Team):
        self.faces = faces
        self.team = team
        self.velocity = VelocityCycle(faces, team)
        #: One field that cycles and the start may overwrite.
        self.scratch = self.field()
        weights = face_weights(self.velocity, (self.field(), self.field(), self.scratch))
        self.pressure = PressureCycle(faces, weights, team)

    def field(self) -> np.ndarray:
        """Return a field of zeros."""
        return np.zeros(self.faces.shape, np.float32)

    def vector(self) -> np.ndarray:
        """Return a vector of zeros, shape (4, nz + 3, ny + 2, nx + 2): velocity and pressure."""
        return np.zeros((4, *self.faces.shape), np.float32)

    @property
    def matrix(self) -> tuple[np.ndarray, ...]:
        """What kernels need of the matrix."""
        f = self.faces
        return (f.pores, *f.codes, f.half, f.weights)

    @property
    def planes(self) -> tuple[int, int, int]:
        """First plane that carries unknowns, one past the last, and voxels of a plane."""
        n0, n1, n2 = self.faces.shape
        return 1, n0 - 1, n1 * n2

    def apply(self, x: np.ndarray, y: np.ndarray) -> None:
        """Set y to K x."""
        sweep(self.team, apply_saddle, *self.planes, *self.matrix, x, y)

    def residual(self, x: np.ndarray, r: np.ndarray) -> None:
        """Set r to f − K x."""
        self.apply(x, r)
        np.negative(r, out=r)
        r[0, 1] += self.faces.inlet_values

    def inflow(self, x: np.ndarray) -> float:
        """Return f·x, what flows in."""
        return float(x[0, 1, 1:-1, 1:-1].sum(dtype=np.float64))

    def dot(self, x: np.ndarray, y: np.ndarray) -> float:
        """Return x·y."""
        return sum(dot_rows(self.team, a, b) for a, b in zip(x, y))

    def add(self, x: np.ndarray, y: np.ndarray, a: float, b: float) -> None:
        """Set x to a x + b y."""
        sweep(self.team, add_scaled, 0, self.faces.shape[0], self.planes[2], x, y, np.float32(a), np.float32(b))

    def precondition_velocity(self, r: np.ndarray, z: np.ndarray, scale: float = 1.0) -> None:
        """Set the velocities of z to scale · M r."""
        for d in range(3):
            # the pressure of z comes later: its place serves as scratch
            self.velocity.cycle(d, r[d], z[d], z[3], scale)

    def precondition_pressure(self, r: np.ndarray, z: np.ndarray) -> None:
        """Set a pressure z to (0.45 I + L⁻¹) r."""
        self.pressure.cycle(r, z, self.scratch, IDENTITY)

    def darcy_start(self, x: np.ndarray, work: np.ndarray, steps: int = 3) -> None:
        """Set x to a flow by Darcy's law: L p = Gᵀ w f by a few conjugate gradients, u = w (f − G p).

        Parameters
        ----------
        x : ndarray
            The start.
        work : ndarray
            Another vector, overwritten.
        steps : int
        """
        f = self.faces
        r, z, d, q = work
        p = x[3]
        w = unpack_weights(self.pressure.weights[0][1])
        for field in (r, d, p):
            field[:] = 0
        np.multiply(w, f.pores[1] > 0, out=r[1])
        before = 0.0
        for step in range(steps):
            self.pressure.cycle(r, z, self.scratch)
            rz = dot_rows(self.team, r, z)
            if not rz > 0:
                break
            self.add(d[None], z[None], rz / before if step else 0.0, 1.0)
            before = rz
            self.pressure.apply(d, q)
            alpha = rz / dot_rows(self.team, d, q)
            self.add(p[None], d[None], 1.0, alpha)
            self.add(r[None], q[None], 1.0, -alpha)
        x[:3] = 0
        self.residual(x, work)
        sweep(self.team, weigh, *self.planes, *self.pressure.weights, work, x)
        if f.periodic:
            sweep(self.team, fill_margin, 0, f.shape[0], self.planes[2], x)
