"""A whole study: from the files that a recipe names to a store that holds everything it asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mgsflow.compute import check_workers, completed, current_client, worker_peaks
from mgsflow.errors import DamagedData, InputError, StoreError, StudyNotFound
from mgsflow.pipeline.assumptions import across, warnings_of
from mgsflow.pipeline.execute import run_specimen
from mgsflow.pipeline.planning.capacity import capacity, check_base
from mgsflow.pipeline.provenance import Run
from mgsflow.pipeline.region import InRegion, in_region
from mgsflow.pipeline.run_step import store_error
from mgsflow.pipeline.step import Progress
from mgsflow.pipeline.steps import Scanned
from mgsflow.readers import Reader, Share, fingerprint, joined, open_scan
from mgsflow.recipe import Recipe, ScanRecipe, SpecimenRecipe, load
from mgsflow.store import Scan, Specimen, Study, remote_url
from mgsflow.store.integrity import mark_unfinished
from mgsflow.store.lock import locked
from mgsflow.store.ome import write_ome


@dataclass(frozen=True)
class Opened:
    """A specimen's recipe, its scans in their regions, the voxel size that holds, and what to know of the files."""

    recipe: SpecimenRecipe
    scans: dict[str, InRegion]
    voxel_size: tuple[float, float, float]
    warnings: tuple[str, ...] = ()

    @property
    def readers(self) -> dict[str, Reader]:
        """The scans as they are read."""
        return {name: scan.reader for name, scan in self.scans.items()}

    @property
    def regions(self) -> dict[str, str]:
        """The regions in words, of scans that have one."""
        return {name: scan.text for name, scan in self.scans.items() if scan.text}


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Parameters
    ----------
    store : Path
    blocks : int
        Blocks that were done now; the others were finished before.
    planned : int
        Planned peak memory of a worker in bytes.
    peaks : dict of str to int
        Most memory that each worker process held, in bytes.
    failed : dict of str to str
        What was wrong with each scan that failed, by ``specimen/scan``; the others are complete.
    repaired : tuple of str
        Stored blocks that were missing or altered, and were computed anew.
    warnings : tuple of str
        What to know of the files, as a voxel size other than the study's.
    """

    store: Path
    blocks: int
    planned: int
    peaks: dict[str, int]
    failed: dict[str, str] = field(default_factory=dict)
    repaired: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def run(
    recipe: Recipe | str | Path,
    client: Any = None,
    progress: Progress | None = None,
    shuffle: int | None = None,
    threads: int | None = None,
    refit: bool = False,
) -> Summary:
    """Carry out a study, or what is missing of it.

    Parameters
    ----------
    recipe : Recipe or path
        The study, or its file.
    client : distributed.Client, optional
        Where to work. Default: the current client if there is one, else threads of this process.
    progress : callable, optional
        Called with (step, specimen/scan, finished blocks, all blocks).
    shuffle : int, optional
        Seed of a random order of blocks; the result does not depend on it.
    threads : int, optional
        Number of threads where there is no client; default, the cores of this machine.
    refit : bool
        Fit thresholds anew, where ``multi_otsu`` froze them before.

    Returns
    -------
    Summary

    Raises
    ------
    MgsflowError
        If a file, a value or the store cannot be used: before anything is written, wherever it can be told before.
    """
    # workers import this package for its steps, and need not hold xarray
    from mgsflow.pipeline.analyses.electrochemistry import electrochemistry_groups, write_electrochemistry

    if not isinstance(recipe, Recipe):
        recipe = load(recipe)
    client = client if client is not None else current_client()
    opened = open_scans(recipe)
    beside = electrochemistry_groups(recipe.electrochemistry, recipe.specimens, recipe.path.name)
    room = capacity(client, threads)
    check_workers(client)
    with locked(recipe.store) as ours:
        progress = _checking(ours, progress)
        study = _study(recipe)
        note = Run.begin(study, recipe)
        done, planned = 0, 0
        failed: dict[str, str] = {}
        repaired: tuple[str, ...] = ()
        try:
            for name, specimen_scans in opened.items():
                specimen = add_specimen(study, recipe, name, specimen_scans)
                with specimen.held():
                    if specimen.attributes.get("input_warnings", []) != list(specimen_scans.warnings):
                        specimen.note(input_warnings=list(specimen_scans.warnings))
                    check_base(room)
                    scans = _checksums(specimen, specimen_scans, client, threads, progress)
                    while True:
                        found = run_specimen(
                            specimen, specimen_scans.recipe, scans, room, client, progress, shuffle, threads, refit
                        )
                        done, planned = done + found.blocks, max(planned, found.planned)
                        repaired += found.repaired
                        try:
                            _write_results(specimen, found.recipe, recipe, beside)
                        except DamagedData as damage:
                            if damage.what in repaired or not mark_unfinished(specimen, damage):
                                raise
                            repaired += (damage.what,)
                        else:
                            break
                    failed |= {f"{name}/{scan}": text for scan, text in found.failed.items()}
            write_electrochemistry(study, beside)
            peaks = worker_peaks(client)
        except OSError as error:
            note.fail(error)
            raise store_error(error, study.path) from error
        except BaseException as error:
            note.fail(error)
            raise
        note.finish(done, planned, peaks, failed)
    warnings = tuple(f"{name}, {text}" for name, scans in opened.items() for text in scans.warnings)
    return Summary(recipe.store, done, planned, peaks, failed, repaired, warnings)


def _write_results(specimen: Specimen, done: SpecimenRecipe, recipe: Recipe, beside: Any) -> None:
    """Write the datasets of the scans that did not fail, and what tells other programs of the images."""
    from mgsflow.pipeline.analyses.comparison import comparison_groups
    from mgsflow.pipeline.analyses.electrochemistry import with_electrochemistry
    from mgsflow.pipeline.metrics import asked, collect, write

    if asked(specimen, done):
        groups = collect(specimen, done)
        metrics = with_electrochemistry(groups["metrics"], specimen.name, recipe.electrochemistry, beside)
        for group, data in {**groups, "metrics": metrics, **comparison_groups(metrics)}.items():
            write(specimen, group, data)
    write_ome(specimen)


def open_scans(recipe: Recipe) -> dict[str, Opened]:
    """Open every scan of a recipe, and settle each specimen's voxel size, without touching the store.

    Raises
    ------
    InputError, InputNotFound
        If a scan cannot be read, or the voxel size is neither given nor in the files, or both and different.
    """
    opened = {}
    for name, specimen in recipe.specimens.items():
        scans = {
            scan.name: _open(recipe, specimen, scan, f"specimens.{name}.scans[{i}]")
            for i, scan in enumerate(specimen.scans)
        }
        readers = {scan: found.reader for scan, found in scans.items()}
        dtypes = {r.dtype for r in readers.values()}
        if len(dtypes) > 1:
            listed = ", ".join(f"{s} {r.dtype}" for s, r in readers.items())
            raise InputError(
                f"specimens.{name}: scans of one specimen must share a dtype, got {listed}: convert them to one"
            )
        voxel_size, warnings = _voxel_size(specimen, readers, f"specimens.{name}")
        for scan_name, reader in readers.items():
            warnings += [f"{scan_name}: {text}" for text in getattr(reader, "warnings", ())]
        whole = {scan: found.reader for scan, found in scans.items() if found.region is None}
        warnings += warnings_of(specimen, dict(whole), voxel_size, f"specimens.{name}")
        warnings += [text for scan, found in scans.items() for text in across(specimen, found.region, scan)]
        opened[name] = Opened(specimen, scans, voxel_size, tuple(warnings))
    return opened


def _open(recipe: Recipe, specimen: SpecimenRecipe, scan: ScanRecipe, where: str) -> InRegion:
    try:
        options: dict[str, Any] = dict(scan.options)
        return in_region(open_scan(scan.path, **options), specimen.region_of(scan))
    except (InputError, FileNotFoundError) as error:
        raise type(error)(f"{recipe.path.name}: {where} ({scan.name}): {error}") from error


def _voxel_size(
    specimen: SpecimenRecipe, readers: dict[str, Reader], where: str
) -> tuple[tuple[float, float, float], list[str]]:
    """Return the voxel size that holds, and a warning for each scan whose files state another."""
    found = {name: size for name, r in readers.items() if (size := getattr(r, "voxel_size", None)) is not None}
    given = specimen.voxel_size
    missing = [name for name in readers if name not in found]
    if given is None and missing:
        raise InputError(f"{where}.voxel_size: not in the files of {', '.join(missing)}: give it in µm, as 0.126")
    if specimen.trust != "study":
        for name, size in found.items():
            if _differ(size, next(iter(found.values()))):
                listed = ", ".join(f"{n} {_edges(s)}" for n, s in found.items())
                remedy = "put the scans in two specimens"
                if given is None:
                    remedy = f"give the true one with `trust: study`, or {remedy}"
                else:
                    remedy = f"{remedy}, or add `trust: study` if the study's {_edges(given)} µm hold for all"
                raise InputError(f"{where}.voxel_size: the files of {name} state another: {listed} µm: {remedy}")
    if given is None:
        return next(iter(found.values())), []
    return given, [
        f"{name}: its files state voxels of {_edges(size)} µm (z, y, x), the study {_edges(given)} µm; the study's hold"
        for name, size in found.items()
        if _differ(size, given)
    ]


def _differ(a: tuple[float, float, float], b: tuple[float, float, float]) -> bool:
    return any(abs(u - v) > 1e-3 * v for u, v in zip(a, b))


def _edges(size: tuple[float, float, float]) -> str:
    return " × ".join(f"{v:g}" for v in size)


def _study(recipe: Recipe) -> Study:
    try:
        study = Study.open(recipe.store, mode="r+")
    except StudyNotFound:
        return Study.create(recipe.store, recipe.title)
    except PermissionError as error:
        raise StoreError(f"{recipe.store} cannot be written: check its permissions") from error
    if remote_url(recipe.store) is None:  # an object is stored whole or not at all
        _sweep(recipe.store)
    return study


def add_specimen(study: Study, recipe: Recipe, name: str, opened: Opened) -> Specimen:
    """Add a recipe's specimen and its scans to a store, or bring them up to date."""
    specimen = study.add_specimen(name, opened.voxel_size, opened.recipe.phases, recipe.block)
    if specimen.attributes.get("regions", {}) != opened.regions:
        specimen.note(regions=opened.regions)
    for scan in opened.recipe.scans:
        specimen.add_scan(Scan(scan.name, scan.cycle, scan.state, opened.readers[scan.name].shape))
    return specimen


def _checksums(
    specimen: Specimen, opened: Opened, client: Any, threads: int | None, progress: Progress | None
) -> dict[str, Scanned]:
    """Return the scans with their files' digests: taken anew only of files whose size or time changed."""
    readers = opened.readers
    known = dict(specimen.attributes.get("inputs", {}))
    prints = {name: fingerprint(r.files) for name, r in readers.items()}
    changed = [n for n, p in prints.items() if known.get(n, {}).get("fingerprint") != p]
    shares = [share for name in changed for share in Share.all_of(name, readers[name].files)]
    found: dict[str, dict[int, list[bytes]]] = {name: {} for name in changed}
    for count, (share, digests) in enumerate(completed(Share.hashed, shares, client, threads), start=1):
        found[share.scan][share.start] = digests
        if progress is not None:
            progress("checksum", specimen.name, count, len(shares))
    for name, parts in found.items():
        total = joined(digest for start in sorted(parts) for digest in parts[start])
        known[name] = {"fingerprint": prints[name], "sha256": total, "files": len(readers[name].files)}
    if changed:
        specimen.note(inputs=known)
    return {
        # one file read by other options, as another data set or other axes, is another volume
        scan.name: Scanned(
            readers[scan.name],
            known[scan.name]["sha256"] + _options_text(scan) + opened.scans[scan.name].identity,
            opened.scans[scan.name].region,
        )
        for scan in opened.recipe.scans
    }


def _options_text(scan: ScanRecipe) -> str:
    return json.dumps(scan.options, sort_keys=True, default=str) if scan.options else ""


def _sweep(store: Path) -> None:
    """Remove what a killed process left half-written: zarr writes beside, then renames."""
    for file in store.rglob("*.partial"):
        file.unlink(missing_ok=True)


def _checking(ours: Callable[[], None], progress: Progress | None) -> Progress:
    """Return the progress, which stops the run once the store is another's."""

    def tell(*what: Any) -> None:
        ours()
        if progress is not None:
            progress(*what)

    return tell
