"""Reading a whole study to see whether it still holds what was written, and marking what is to be computed anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import zarr

from mgsflow.compute.checked_store import telling_damage
from mgsflow.errors import DamagedData
from mgsflow.store import Study
from mgsflow.store.integrity import damaged_blocks, damaged_parts, mark_unfinished, missing_shards
from mgsflow.store.lock import locked
from mgsflow.store.schema import WORKINGS


@dataclass(frozen=True)
class Checked:
    """What was found in a study.

    Parameters
    ----------
    damages : tuple of DamagedData
    steps : tuple of str
        Steps whose damaged blocks were marked as not finished, by specimen: the next run computes them anew.
    """

    damages: tuple[DamagedData, ...]
    steps: tuple[str, ...] = ()


def check(store: str | Path, repair: bool = False, progress: Callable[[str], None] | None = None) -> Checked:
    """Read everything that a study holds, and compare it with what was written.

    Parameters
    ----------
    store : path
    repair : bool
        Mark what is damaged as not finished, so that the next run computes it anew from its inputs.
    progress : callable, optional
        Called with the name of what is read next.

    Raises
    ------
    StudyNotFound, StoreError
        If there is no study, its metadata cannot be read, or, to repair it, a run is at work on it.
    """
    tell = progress or (lambda name: None)
    damages: list[DamagedData] = []
    steps: set[str] = set()
    with locked(Path(store)) if repair else nullcontext():
        study = Study.open(store, mode="r+" if repair else "r")
        for name in study.specimens:
            specimen = study[name]
            found: list[DamagedData] = []
            for scan in specimen.scans:
                tell(f"{name}/{scan.name}")
                gone = missing_shards(specimen, scan.name)
                known = {(d.path, d.index) for d in gone}
                found += gone + [d for d in damaged_blocks(specimen, scan.name) if (d.path, d.index) not in known]
            tell(f"{name}/parts")
            found += damaged_parts(specimen)
            found += _damaged_results(specimen.group)
            if repair:
                steps |= {f"{name}/{step}" for damage in found for step in mark_unfinished(specimen, damage)}
            damages += found
    return Checked(tuple(damages), tuple(sorted(steps)))


def _damaged_results(group: zarr.Group) -> Iterator[DamagedData]:
    """Read the results that every run writes anew: they have no checksums but those of their compression."""
    for name, child in group.groups():
        if name in WORKINGS or name.startswith("scale"):
            continue
        for _, array in child.arrays():
            try:
                with telling_damage(array.path):
                    array[...]
            except DamagedData as damage:
                yield damage
