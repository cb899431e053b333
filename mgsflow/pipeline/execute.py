"""Carrying out the steps of a specimen; a scan that cannot be read to its end is left out, and the others go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mgsflow.errors import DamagedData, InputError
from mgsflow.pipeline.fits import StoredFits
from mgsflow.pipeline.planning.capacity import Capacity, check_fits
from mgsflow.pipeline.run_step import execute
from mgsflow.pipeline.step import Progress
from mgsflow.pipeline.steps import Scanned, steps
from mgsflow.recipe import SpecimenRecipe
from mgsflow.store import Specimen
from mgsflow.store.integrity import mark_unfinished, missing_shards


@dataclass(frozen=True)
class SpecimenSummary:
    """What was done of a specimen.

    Parameters
    ----------
    recipe : SpecimenRecipe
        Of the scans that did not fail.
    blocks : int
        Blocks that were done now.
    planned : int
        Planned peak memory of a worker in bytes.
    failed : dict of str to str
        What was wrong with each scan that failed.
    repaired : tuple of str
        Stored blocks that were missing or altered, and were computed anew.
    """

    recipe: SpecimenRecipe
    blocks: int
    planned: int
    failed: dict[str, str]
    repaired: tuple[str, ...] = ()


def run_specimen(
    specimen: Specimen,
    recipe: SpecimenRecipe,
    scans: dict[str, Scanned],
    room: Capacity,
    client: Any = None,
    progress: Progress | None = None,
    shuffle: int | None = None,
    threads: int | None = None,
    refit: bool = False,
) -> SpecimenSummary:
    """Carry out all steps of a specimen that are not done.

    A step that finds its input at fault (a corrupt file, a phase too wide for its reach) ends the work on its scan. The
    steps of the others are then made anew, without it: what is fitted to all scans is fitted to those that are left.
    Stored blocks that are missing, or not what was written, are computed anew before anything is built on them.

    Raises
    ------
    InputError
        If no scan is left, or the reference of the grey scale failed.
    DoesNotFit
        If a step needs more memory than there is.
    DamagedData
        If data are damaged again right after they were computed anew.
    """
    done, planned = 0, 0
    failed: dict[str, str] = {}
    repaired: list[DamagedData] = []
    for scan in recipe.scans:
        for damage in missing_shards(specimen, scan.name):
            mark_unfinished(specimen, damage)
            repaired.append(damage)
    while True:
        fits = StoredFits(specimen, recipe, refit)
        left = {s.name: scans[s.name] for s in recipe.scans}
        at = None  # the scan that is worked on; None where something is fitted to all
        try:
            for step in steps(specimen, recipe, left, fits):
                needed = check_fits(step, room)
                planned = planned if step.in_driver else max(planned, needed)
                at = step.scan
                done += execute(step, client, progress, shuffle, threads)
                at = None
        except DamagedData as damage:
            known = any((damage.path, damage.index) == (d.path, d.index) for d in repaired)
            if known or not mark_unfinished(specimen, damage):
                raise
            repaired.append(damage)
        except InputError as error:
            reference = recipe.normalise.reference if recipe.normalise is not None else None
            if at is None or at == reference or len(left) == 1:
                raise
            failed[at] = str(error)
            specimen.note(failed=failed)
            recipe = recipe.model_copy(update={"scans": tuple(s for s in recipe.scans if s.name != at)})
        else:
            if specimen.attributes.get("failed", {}) != failed:
                specimen.note(failed=failed)
            return SpecimenSummary(recipe, done, planned, failed, tuple(d.what for d in repaired))
