"""What a run will take, before it runs: blocks, tasks, memory, disk."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from mgsflow.compute import Pass
from mgsflow.errors import DoesNotFit
from mgsflow.memory import format_bytes
from mgsflow.pipeline.capacity import Capacity, Needs, check_fits, needs, peak, room_of
from mgsflow.pipeline.fits import PlannedFits
from mgsflow.pipeline.run import add_specimen, open_scans
from mgsflow.pipeline.step import Step
from mgsflow.pipeline.steps import Scanned, steps
from mgsflow.recipe import Recipe
from mgsflow.store import Region, Study


@dataclass(frozen=True)
class Line:
    """One step of a plan.

    Parameters
    ----------
    step, scan : str
    shape : tuple of int
        Voxels along (z, y, x) that the step makes.
    blocks : int
        Tasks, each of one block.
    halo : tuple of int
        Voxels that each reads beyond its block.
    peak : int
        Bytes of a worker at its most.
    disk : int
        Bytes that the step writes, before compression, and its scratch.
    here : bool
        Whether it is done by the process that runs the study, whose peak it is then.
    scratch : int
        Bytes of disk that it takes only while it runs, wherever workers put scratch.
    """

    step: str
    scan: str
    shape: tuple[int, int, int]
    blocks: int
    halo: tuple[int, int, int]
    peak: int
    disk: int
    here: bool = False
    scratch: int = 0


@dataclass(frozen=True)
class Plan:
    """All steps of a study, what each takes, and what does not fit."""

    lines: tuple[Line, ...]
    problems: tuple[str, ...]
    free: int

    @property
    def blocks(self) -> int:
        """Number of tasks."""
        return sum(line.blocks for line in self.lines)

    @property
    def peak(self) -> int:
        """Bytes of a worker at its most."""
        return max(line.peak for line in self.lines if not line.here)

    @property
    def disk(self) -> int:
        """Bytes on disk at most: noise does not compress; phases usually shrink by twenty; one scratch at a time."""
        kept = sum(line.disk - line.scratch for line in self.lines)
        return kept + max((line.scratch for line in self.lines), default=0)


def plan(recipe: Recipe, room: Capacity) -> Plan:
    """Return what a study takes with this capacity; nothing is written.

    Every step is built as for the run, in a store of metadata alone that is gone afterwards.

    Raises
    ------
    MgsflowError
        If a scan cannot be read.
    """
    lines: list[Line] = []
    problems: dict[int, str] = {}  # by the peak of the step
    opened = open_scans(recipe)
    with tempfile.TemporaryDirectory(prefix="mgsflow-plan-") as folder:
        study = Study.create(Path(folder) / "plan.zarr", recipe.title)
        for name, scans in opened.items():
            specimen = add_specimen(study, recipe, name, scans)
            sources = {n: Scanned(r, "") for n, r in scans.readers.items()}
            for step in steps(specimen, scans.recipe, sources, PlannedFits(specimen, scans.recipe)):
                lines.append(_line(step, room))
                try:
                    check_fits(step, room)
                except DoesNotFit as error:
                    problems.setdefault(lines[-1].peak, str(error))
    free = shutil.disk_usage(_existing(recipe.store)).free
    # what makes the largest step fit makes all fit
    result = Plan(tuple(lines), (problems[max(problems)],) if problems else (), free)
    if not recipe.store.exists() and result.disk > free:
        short = (
            f"the store may take {format_bytes(result.disk)}, and {format_bytes(free)} are free at "
            f"{_existing(recipe.store)}: free some, or put `store:` on another disk"
        )
        result = Plan(result.lines, (*result.problems, short), free)
    return result


def _line(step: Step, room: Capacity) -> Line:
    work = step.work
    disk, halo = step.disk, (0, 0, 0)
    if isinstance(work, Pass):
        halo = work.halo
        for output in work.outputs:
            if isinstance(output.sink, Region):
                disk += prod(work.grid.shape) * output.sink.dtype.itemsize
            for reduction, _ in output.reductions:
                shape, dtype = reduction.record(work.grid.largest)
                disk += len(work.grid) * prod(shape) * np.dtype(dtype).itemsize
    found = _needs(step, room)
    disk += found.scratch
    shape = work.grid.shape
    return Line(step.name, step.label, shape, len(work.grid), halo, found.peak, disk, step.here, found.scratch)


def _needs(step: Step, room: Capacity) -> Needs:
    try:
        return needs(step, room)
    except DoesNotFit:
        return Needs(peak(step.work, room_of(step, room)))


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
