"""What a run will take, before it runs: blocks, tasks, memory, disk."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from math import nan, prod
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Triple, triple
from mgsflow.compute import Pass
from mgsflow.errors import DoesNotFit
from mgsflow.memory import format_bytes
from mgsflow.pipeline.fits import PlannedFits
from mgsflow.pipeline.planning.capacity import Capacity, Needs, capacity_for, check_fits, needs, peak
from mgsflow.pipeline.planning.forecast import Forecast, forecast, longest
from mgsflow.pipeline.planning.rehearsal import Rates
from mgsflow.pipeline.region import InRegion
from mgsflow.pipeline.run import Opened, add_specimen, open_scans
from mgsflow.pipeline.step import Step
from mgsflow.pipeline.steps import Scanned, steps
from mgsflow.recipe import Recipe
from mgsflow.store import Region, Study, remote_url


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
    in_driver : bool
        Whether it is done by the process that runs the study, whose peak it is then.
    scratch : int
        Bytes of disk that it takes only while it runs, wherever workers put scratch.
    expected : Forecast, optional
        Its time and traffic, where a rehearsal has told them.
    """

    step: str
    scan: str
    shape: tuple[int, int, int]
    blocks: int
    halo: tuple[int, int, int]
    peak: int
    disk: int
    in_driver: bool = False
    scratch: int = 0
    expected: Forecast | None = None


@dataclass(frozen=True)
class Plan:
    """All steps of a study, what each takes, and what does not fit.

    Parameters
    ----------
    lines : tuple of Line
    problems : tuple of str
    free : int or None
        Bytes on the disk of the store; None where it is in object storage.
    checksum : float
        Seconds in which the files of the scans are hashed; NaN without a rehearsal.
    warnings : tuple of str
        What to know of the files, as a voxel size other than the study's.
    regions : tuple of str
        Regions of scans in words.
    """

    lines: tuple[Line, ...]
    problems: tuple[str, ...]
    free: int | None
    checksum: float = nan
    warnings: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    @property
    def blocks(self) -> int:
        """Number of tasks."""
        return sum(line.blocks for line in self.lines)

    @property
    def peak(self) -> int:
        """Bytes of a worker at its most."""
        return max(line.peak for line in self.lines if not line.in_driver)

    @property
    def disk(self) -> int:
        """Bytes on disk at most: noise does not compress; phases usually shrink by twenty; one scratch at a time."""
        kept = sum(line.disk - line.scratch for line in self.lines)
        return kept + max((line.scratch for line in self.lines), default=0)

    @property
    def untold(self) -> tuple[str, ...]:
        """Steps whose time is not known."""
        return tuple(dict.fromkeys(line.step for line in self.lines if line.expected is None))

    @property
    def expected(self) -> Forecast:
        """Time and traffic of all steps of which they are known, one after another, and of the checksums."""
        known = [line.expected for line in self.lines if line.expected is not None]
        seconds, busy, read, written = (
            sum(getattr(f, n) for f in known) for n in ("seconds", "busy", "read", "written")
        )
        return Forecast(seconds + self.checksum, busy + self.checksum, read, written)


def plan(
    recipe: Recipe,
    room: Capacity,
    rates: Rates | None = None,
    edge: int | None = None,
    bandwidth: float | None = None,
) -> Plan:
    """Return what a study takes with this capacity; nothing is written.

    Every step is built as for the run, in a store of metadata alone that is gone afterwards.

    Parameters
    ----------
    recipe : Recipe
    room : Capacity
    rates : Rates, optional
        Of a rehearsal: then the plan tells time and traffic.
    edge : int, optional
        Plan as if every scan had so many voxels along each axis.
    bandwidth : float, optional
        Bytes a second that the store gives all workers together.

    Raises
    ------
    MgsflowError
        If a scan cannot be read.
    """
    lines: list[Line] = []
    problems: dict[int, str] = {}  # by the peak of the step
    opened = open_scans(recipe)
    if edge is not None:
        opened = {name: _resized(scans, edge) for name, scans in opened.items()}
    with tempfile.TemporaryDirectory(prefix="mgsflow-plan-") as folder:
        study = Study.create(Path(folder) / "plan.zarr", recipe.title)
        for name, scans in opened.items():
            specimen = add_specimen(study, recipe, name, scans)
            sources = {n: Scanned(s.reader, "", s.region) for n, s in scans.scans.items()}
            with specimen.held():
                for step in steps(specimen, scans.recipe, sources, PlannedFits(specimen, scans.recipe)):
                    lines.append(_line(step, room, rates, bandwidth))
                    try:
                        check_fits(step, room)
                    except DoesNotFit as error:
                        problems.setdefault(lines[-1].peak, str(error))
    remote = remote_url(recipe.store) is not None  # where there is no end of room, or nobody tells
    free = None if remote else shutil.disk_usage(_existing(recipe.store)).free
    # what makes the largest step fit makes all fit
    found = (problems[max(problems)],) if problems else ()
    checksum = nan if rates is None else sum(_checksum(s, room, rates, bandwidth) for s in opened.values())
    warnings = tuple(f"{name}, {text}" for name, scans in opened.items() for text in scans.warnings)
    regions = tuple(f"{n}/{scan}: {text}" for n, scans in opened.items() for scan, text in scans.regions.items())
    result = Plan(tuple(lines), found, free, checksum, warnings, regions)
    if free is not None and result.disk > free and edge is None and not recipe.store.exists():
        short = (
            f"the store may take {format_bytes(result.disk)}, and {format_bytes(free)} are free at "
            f"{_existing(recipe.store)}: free some, or put `store:` on another disk"
        )
        result = replace(result, problems=(*result.problems, short))
    return result


@dataclass(frozen=True)
class _Resized:
    """A scan of another extent, of which nothing is read."""

    reader: Any
    shape: Triple

    @property
    def files(self) -> tuple[Path, ...]:
        return self.reader.files

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.reader.dtype

    def scratch(self, shape: Triple) -> int:
        return self.reader.scratch(shape)

    def read(self, box: Box) -> np.ndarray:
        raise RuntimeError("a plan reads no voxel")


def _resized(scans: Opened, edge: int) -> Opened:
    resized: Any = {name: InRegion(_Resized(r, (edge,) * 3)) for name, r in scans.readers.items()}  # type: ignore[arg-type]
    return replace(scans, scans=resized)


def _checksum(scans: Opened, room: Capacity, rates: Rates, bandwidth: float | None) -> float:
    """Return the seconds in which the files of a specimen's scans are hashed, a file by one thread."""
    sizes = []
    for reader in scans.readers.values():
        files = len(getattr(reader, "files", ())) or 1
        sizes += [prod(reader.shape) * reader.dtype.itemsize // files] * files
    limited = sum(sizes) / bandwidth if bandwidth is not None else 0.0
    return max(rates.checksum * longest(sizes, room.workers * room.threads), limited)


def _line(step: Step, room: Capacity, rates: Rates | None, bandwidth: float | None) -> Line:
    work = step.work
    disk = step.disk
    if isinstance(work, Pass):
        for output in work.outputs:
            if isinstance(output.sink, Region):
                disk += prod(work.grid.shape) * output.sink.dtype.itemsize
            for reduction, _ in output.reductions:
                shape, dtype = reduction.record(work.grid.largest)
                disk += len(work.grid) * prod(shape) * np.dtype(dtype).itemsize
    found = _needs(step, room)
    expected = None if rates is None else forecast(step, room, found, rates, bandwidth)
    return Line(
        step.name,
        step.label,
        work.grid.shape,
        len(work.grid),
        triple(getattr(work, "halo", 0)),
        found.peak,
        disk + found.scratch,
        step.in_driver,
        found.scratch,
        expected,
    )


def _needs(step: Step, room: Capacity) -> Needs:
    try:
        return needs(step, room)
    except DoesNotFit:
        return Needs(peak(step.work, capacity_for(step, room)))


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
