"""A toy solve for the superstep engine: 3u - Δu = b on voxels, u = 0 beyond them, by conjugate gradients or Jacobi."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from mgsflow.blocks import Grid, Triple
from mgsflow.compute.supersteps.block_store import BlockArrays
from mgsflow.compute.supersteps.checkpoint import Checkpoint, Checkpoints
from mgsflow.compute.supersteps.executor import Executor, sum_blocks

#: Keeps the number of iterations small: what is tested is not how fast they converge.
MASS = 3.0
DIAGONAL = 6.0 + MASS
FACES = tuple((axis, side) for axis in range(3) for side in (-1, 1))


def whole_right_side(shape: Triple, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def whole_matrix(shape: Triple) -> Any:
    one = [sp.diags([-1.0, 2.0 + MASS / 3, -1.0], [-1, 0, 1], shape=(n, n)) for n in shape]
    eye = [sp.identity(n) for n in shape]
    return (
        sp.kron(sp.kron(one[0], eye[1]), eye[2])
        + sp.kron(sp.kron(eye[0], one[1]), eye[2])
        + sp.kron(sp.kron(eye[0], eye[1]), one[2])
    ).tocsc()


def face(a: np.ndarray, axis: int, side: int) -> np.ndarray:
    return np.take(a, 0 if side < 0 else -1, axis=axis)


@dataclass(frozen=True)
class Traps:
    """Files that make a block end its process, once each: ``<method>-<call>-<signal>-<number>`` in a folder."""

    folder: str

    def set(self, method: str, call: int, signal: int) -> None:
        folder = Path(self.folder)
        folder.mkdir(exist_ok=True)
        (folder / f"{method}-{call}-{int(signal)}-{len(list(folder.iterdir()))}").touch()

    def left(self) -> int:
        return len(list(Path(self.folder).iterdir()))

    def spring(self, method: str, calls: int) -> None:
        for trap in sorted(Path(self.folder).glob(f"{method}-*")):
            _, call, signal, _ = trap.name.split("-")
            if calls >= int(call):
                try:
                    trap.unlink()
                except FileNotFoundError:
                    continue
                os.kill(os.getpid(), int(signal))
                return


class PoissonBlock:
    def __init__(self, index: Triple, arrays: BlockArrays, grid: Grid, seed: int, traps: Traps | None) -> None:
        self.index, self.arrays, self.traps = index, arrays, traps
        core = grid.block(index).core
        arrays["b"] = np.ascontiguousarray(whole_right_side(grid.shape, seed)[core.slices])
        arrays["x"] = np.zeros(core.shape)
        self.calls: dict[str, int] = {}

    def _trap(self, method: str) -> None:
        # the last block only: one process, and all its other blocks are done
        if self.traps is not None and self.index == (1, 1, 1):
            self.calls[method] = self.calls.get(method, 0) + 1
            self.traps.spring(method, self.calls[method])

    def _faces(self, name: str) -> dict[Any, np.ndarray]:
        a = self.arrays[name]
        return {f: face(a, *f).copy() for f in FACES}

    def _neighbours(self, halo: Mapping[Any, np.ndarray], name: str) -> np.ndarray:
        padded = np.pad(self.arrays[name], 1)
        for (axis, side), values in halo.items():
            where: list[Any] = [slice(1, -1)] * 3
            where[axis] = 0 if side < 0 else -1
            padded[tuple(where)] = values
        inner = slice(1, -1)
        low, high = slice(None, -2), slice(2, None)
        return (
            padded[low, inner, inner]
            + padded[high, inner, inner]
            + padded[inner, low, inner]
            + padded[inner, high, inner]
            + padded[inner, inner, low]
            + padded[inner, inner, high]
        )

    def publish(self, name: str) -> tuple[None, Any]:
        return None, self._faces(name)

    def residual(self, halo: Any) -> tuple[float, Any]:
        r = self.arrays["b"] - (DIAGONAL * self.arrays["x"] - self._neighbours(halo, "x"))
        self.arrays["r"] = r
        self.arrays["p"] = r.copy()
        return float(np.vdot(r, r)), self._faces("p")

    def multiply(self, halo: Any) -> float:
        self._trap("multiply")
        p = self.arrays["p"]
        self.arrays["q"] = DIAGONAL * p - self._neighbours(halo, "p")
        return float(np.vdot(p, self.arrays["q"]))

    def update(self, alpha: float) -> float:
        x, r = self.arrays.edit("x"), self.arrays.edit("r")
        x += alpha * self.arrays["p"]
        r -= alpha * self.arrays["q"]
        return float(np.vdot(r, r))

    def turn(self, beta: float) -> tuple[None, Any]:
        p = self.arrays.edit("p")
        p *= beta
        p += self.arrays["r"]
        return None, self._faces("p")

    def sweep(self, halo: Any) -> tuple[None, Any]:
        self.arrays["x"] = (self.arrays["b"] + self._neighbours(halo, "x")) / DIAGONAL
        return None, self._faces("x")

    def solution(self) -> np.ndarray:
        return self.arrays["x"].copy()

    def weigh(self, factor: float, own: float) -> float:
        return factor * own

    def save(self) -> dict[str, np.ndarray]:
        self._trap("save")
        return {"x": self.arrays["x"]}

    def load(self, saved: Mapping[str, np.ndarray]) -> None:
        self._trap("load")
        self.arrays["x"] = saved["x"]


@dataclass(frozen=True)
class MakePoisson:
    grid: Grid
    seed: int = 0
    traps: Traps | None = None

    def __call__(self, index: Triple, arrays: BlockArrays) -> PoissonBlock:
        return PoissonBlock(index, arrays, self.grid, self.seed, self.traps)


def conjugate_gradients(
    executor: Executor,
    saved: Checkpoint | None,
    checkpoints: Checkpoints | None = None,
    tolerance: float = 1e-8,
    seen: Callable[[int], None] = lambda done: None,
) -> tuple[np.ndarray, int]:
    """Return the solution, as ``solution`` of all blocks, and the iterations of this call."""
    executor.step("publish", "x", publish="x")
    square = sum_blocks(executor.step("residual", pull="x", publish="p"))
    first = square if saved is None else saved.header["first"]
    iterations = 0
    while square > tolerance**2 * first:
        alpha = square / sum_blocks(executor.step("multiply", pull="p"))
        before, square = square, sum_blocks(executor.step("update", alpha))
        executor.step("turn", square / before, publish="p")
        iterations += 1
        seen(iterations)
        if checkpoints is not None and checkpoints.due():
            executor.checkpoint(checkpoints, {"first": float(first)})
    return executor.step("solution"), iterations  # type: ignore[return-value]


def jacobi(executor: Executor, sweeps: int) -> dict[Triple, np.ndarray]:
    executor.step("publish", "x", publish="x")
    for _ in range(sweeps):
        executor.step("sweep", pull="x", publish="x")
    return executor.step("solution")


def joined(grid: Grid, parts: Mapping[Triple, np.ndarray]) -> np.ndarray:
    out = np.empty(grid.shape)
    for block in grid.blocks():
        out[block.core.slices] = parts[block.index]
    return out
