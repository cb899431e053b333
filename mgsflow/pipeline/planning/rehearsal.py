"""A rehearsal: a study's own steps on small windows of its own scans, timed on one worker.

A plan tells memory from what kernels say of themselves. Time, and how far voxels compress, depend on the machine and
on what is in the scans, so that they are measured: every step of every specimen is carried out on two windows about the
centre of a scan. What grows with the voxels is the rate of the step; what does not, its start.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Grid, triple
from mgsflow.compute import completed, connect, worker_io
from mgsflow.errors import MgsflowError
from mgsflow.pipeline.fits import StoredFits
from mgsflow.pipeline.region import InRegion
from mgsflow.pipeline.run import Opened, add_specimen, open_scans
from mgsflow.pipeline.run_step import execute
from mgsflow.pipeline.solves.many import SideBySide
from mgsflow.pipeline.solves.problem import Solve
from mgsflow.pipeline.step import Progress, Step
from mgsflow.pipeline.steps import Scanned, coarser, steps
from mgsflow.readers import Reader, checksum, open_scan
from mgsflow.recipe import Recipe, SpecimenRecipe
from mgsflow.store import Study

#: Edges of the windows in voxels. The first is gone through twice: at first, kernels may have to be compiled. The last
#: is of whole blocks, if they are smaller.
WINDOWS = (64, 64, 160)

#: Tasks that do nothing, which tell how many a second the scheduler hands out.
_TASKS = 300


@dataclass(frozen=True)
class Rate:
    """What a step takes on one thread.

    Parameters
    ----------
    start : float
        Seconds, whatever its size.
    voxel : float
        Seconds a voxel that is read.
    read, written : float
        Bytes a voxel that go between worker and files, compressed as they are; NaN where the system does not say.
    """

    start: float
    voxel: float
    read: float
    written: float


@dataclass(frozen=True)
class Rates:
    """What the steps of a study take on this machine.

    Parameters
    ----------
    steps : dict
        By specimen and `kind_of` a step.
    task : float
        Seconds in which the scheduler hands out a task and takes its result, whatever the number of workers.
    checksum : float
        Seconds a byte of the scans' files.
    unknown : dict of str to str
        Specimens of which some steps could not be rehearsed, and why.
    """

    steps: dict[tuple[str, str], Rate]
    task: float
    checksum: float
    unknown: dict[str, str]


def kind_of(step: Step) -> str:
    """Return the name of a step; levels of a pyramid are of one kind."""
    array, _, level = step.name.rpartition("_")
    return array + "_1" if array in ("image", "phase") and level.isdigit() else step.name


def voxels_of(work: Any) -> int:
    """Return the voxels that all blocks of a work read, those that several read as often."""
    if isinstance(work, SideBySide):
        return sum(prod(t.phases.shape) for t in work.tasks)
    return int(prod(sum(axis) for axis in reads(work)))


def reads(work: Any) -> tuple[tuple[int, ...], ...]:
    """Return the lengths along z, y and x that blocks read, with their halo."""
    found = []
    for cut, halo in zip(work.grid.cuts, triple(getattr(work, "halo", 0))):
        ends = np.cumsum((0, *cut))
        start, stop = np.maximum(ends[:-1] - halo, 0), np.minimum(ends[1:] + halo, ends[-1])
        found.append(tuple(int(n) for n in stop - start))
    return tuple(found)


def rehearse(recipe: Recipe, progress: Progress | None = None) -> Rates:
    """Carry out a study's steps on windows of its scans, on a worker of one thread, and return what they take.

    Parameters
    ----------
    recipe : Recipe
    progress : callable, optional
        See `mgsflow.pipeline.step.Progress`.

    Raises
    ------
    MgsflowError
        If a scan cannot be read. A step that fails on the windows (no grey landmark in so little, say) leaves it and
        all that follow unknown.
    """
    opened = open_scans(recipe)
    found: dict[tuple[str, str], Rate] = {}
    unknown: dict[str, str] = {}
    with connect(workers=1) as client, tempfile.TemporaryDirectory(prefix="mgsflow-rehearsal-") as folder:
        for name, scans in opened.items():
            taken: list[dict[str, _Taken]] = []
            reader = scans.readers[_scan(scans.recipe)]
            try:
                for number, edge in enumerate(_edges(max(triple(recipe.block)))):
                    if progress is not None:
                        progress("rehearsal", name, number, len(WINDOWS))
                    place = Path(folder) / f"{name}-{number}"
                    taken.append({})
                    for kind, one in _on_window(recipe, name, _small(scans, edge, place), place, client):
                        taken[-1][kind] = one
            except MgsflowError as error:
                unknown[name] = str(error)
            if progress is not None:
                progress("rehearsal", name, len(WINDOWS), len(WINDOWS))
            if len(taken) == len(WINDOWS):
                for kind, last in taken[-1].items():
                    if (rate := _rate(taken[1].get(kind), last)) is not None:
                        found[name, kind] = rate
                found[name, "ingest"] = _with_reading(found[name, "ingest"], reader, recipe.block, client)
        list(completed(_nothing, range(20), client))
        start = time.perf_counter()
        list(completed(_nothing, range(_TASKS), client))
        task = (time.perf_counter() - start) / _TASKS
        hashed = _hashing(Path(folder))
    return Rates(found, task, hashed, unknown)


@dataclass(frozen=True)
class _Taken:
    """What a step took on a window; `known` is False of a solve that found nothing to solve there."""

    seconds: float
    voxels: int
    read: float
    written: float
    known: bool = True


def _edges(block: int) -> tuple[int, ...]:
    *first, last = WINDOWS
    return (*first, max(first[-1], last // block * block or last))


def _scan(recipe: SpecimenRecipe) -> str:
    """Return the scan that is rehearsed: the one whose grey scale the others take."""
    if recipe.normalise is not None and recipe.normalise.reference is not None:
        return recipe.normalise.reference
    return recipe.scans[0].name


def _small(scans: Opened, edge: int, place: Path) -> Opened:
    """Return a specimen of one scan, cut to a window, with studies of windows that fit in it."""
    recipe, name = scans.recipe, _scan(scans.recipe)
    reader = scans.readers[name]
    start = triple([max(0, (n - edge) // 2) for n in reader.shape])
    box = Box(start, triple([a + min(n, edge) for a, n in zip(start, reader.shape)]))
    # a file of its own: a narrow window of a wide image takes as long to read as the image
    file = place.with_suffix(".npy")
    np.save(file, reader.read(box))
    changed: dict[str, Any] = {"scans": tuple(s for s in recipe.scans if s.name == name)}
    if recipe.rve is not None:
        least = min(box.shape)
        changed["rve"] = recipe.rve.model_copy(update={"sizes": (max(2, least // 3), max(3, least // 2))})
    window = InRegion(open_scan(file))
    return Opened(recipe.model_copy(update=changed), {name: window}, scans.voxel_size, scans.warnings)


def _with_reading(rate: Rate, reader: Reader, block: Any, client: Any) -> Rate:
    """Return the rate of the ingest, with a block of the scan's own files read in place of a file of the rehearsal."""
    middle = Grid.regular(reader.shape, triple(block))
    box = middle.block([n // 2 for n in middle.counts]).core
    before, start = worker_io(client), time.perf_counter()
    list(completed(_read, [(reader, box)], client))
    seconds, after = time.perf_counter() - start, worker_io(client)
    return replace(rate, voxel=rate.voxel + seconds / box.size, read=(after[0] - before[0]) / box.size)


def _read(what: tuple[Reader, Box]) -> int:
    reader, box = what
    return int(reader.read(box).nbytes)


def _on_window(recipe: Recipe, name: str, scans: Opened, place: Path, client: Any) -> Iterator[tuple[str, _Taken]]:
    """Carry out the steps on a window, and yield what each takes, by its kind."""
    study = Study.create(place.with_suffix(".zarr"), recipe.title)
    specimen = add_specimen(study, recipe, name, scans)
    small: SpecimenRecipe = scans.recipe
    sources = {n: Scanned(r, "") for n, r in scans.readers.items()}

    def take(step: Step) -> tuple[str, _Taken]:
        before, start = worker_io(client), time.perf_counter()
        execute(step, client)
        seconds, after = time.perf_counter() - start, worker_io(client)
        read, written = (b - a for a, b in zip(before, after))
        return kind_of(step), _Taken(seconds, voxels_of(step.work), read, written, _solved(step))

    made: dict[str, Step] = {}
    for step in steps(specimen, small, sources, StoredFits(specimen, small)):
        made[step.name] = step
        yield take(step)
    for array, maker in (("image", "ingest"), ("phase", "segment")):
        # windows are too small to have coarser levels of their own
        if maker in made:
            yield take(coarser(specimen, made[maker].scan, array, made[maker].key, 1))


def _solved(step: Step) -> bool:
    """Tell whether a step was work as it will be: not a solve of a phase that does not percolate."""
    if not isinstance(step.work, Solve):
        return True
    left = step.work.outputs
    numbers = json.loads(left.parts.read(left.index, step.work.problem.name).tobytes())
    return any(str(v) == "converged" for k, v in numbers.items() if k.endswith("_status"))


def _rate(first: _Taken | None, last: _Taken) -> Rate | None:
    if not last.known:
        return None
    start, voxel = 0.0, last.seconds / last.voxels
    if first is not None and first.known and last.voxels > first.voxels:
        more = (last.seconds - first.seconds) / (last.voxels - first.voxels)
        voxel = min(max(more, 0.5 * voxel), voxel)  # of steps that last for milliseconds, noise
        start = last.seconds - voxel * last.voxels
    return Rate(start, voxel, last.read / last.voxels, last.written / last.voxels)


def _nothing(item: int) -> int:
    return item


def _hashing(folder: Path) -> float:
    """Return the seconds in which a byte of a file is hashed."""
    file = folder / "bytes"
    file.write_bytes(bytes(1 << 26))
    start = time.perf_counter()
    checksum([file])
    return (time.perf_counter() - start) / (1 << 26)
