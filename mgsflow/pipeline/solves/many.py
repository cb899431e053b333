"""Many solves on windows or versions of a scan: each one task, run side by side, and none twice.

Numbers are stored with a digest of all that they depend on. A study with further windows or thresholds is another step,
which reuses stored numbers and solves only new problems.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mgsflow.blocks import Box, Grid, Triple
from mgsflow.compute import Parts, Source, StoredParts
from mgsflow.pipeline.code import code_version
from mgsflow.pipeline.solves.transport import Diffusion, Problem, problems
from mgsflow.pipeline.step import Step
from mgsflow.recipe import SpecimenRecipe
from mgsflow.store import Specimen
from mgsflow.store.ledger import Ledger

_KINDS = {"tortuosity": True, "permeability": False}


@dataclass(frozen=True)
class Task:
    """A problem on some phases.

    Parameters
    ----------
    phases : Source
        A window of a scan, or a scan thresholded.
    problem : Problem
    where : str
        Names these phases, among those of the same scan.
    """

    phases: Source
    problem: Problem
    where: str

    @property
    def name(self) -> str:
        """Name of the stored numbers."""
        return f"{self.where}.{self.problem.name}"


@dataclass(frozen=True)
class SideBySide:
    """Solves of a study on one scan, as a block each.

    Parameters
    ----------
    tasks : tuple of Task
        In the order in which they begin: the longest first.
    parts : Parts
    inputs : str
        Inputs and code that all of them depend on, beside phases and problem.
    """

    tasks: tuple[Task, ...]
    parts: Parts
    inputs: str

    @property
    def grid(self) -> Grid:
        """A block a solve."""
        return Grid.regular((len(self.tasks), 1, 1), 1)

    def run(self, index: Triple) -> Triple:
        """Solve, unless the numbers are stored already; return the index when they are."""
        task = self.tasks[index[0]]
        key = hashlib.sha256(repr((self.inputs, task.where, task.problem)).encode()).hexdigest()
        if _stored(self.parts, task.name).get("key") == key:
            return index
        numbers = task.problem.solve(task.phases.read(Box.of(task.phases.shape)))
        text = json.dumps({"key": key, "numbers": numbers}).encode()
        self.parts.write((0, 0, 0), task.name, np.frombuffer(text, np.uint8))
        return index

    def memory(self) -> int:
        """Return the most bytes that a solve holds."""
        return max(
            prod(t.phases.shape) + max(t.phases.scratch(t.phases.shape), t.problem.memory(t.phases.shape))
            for t in self.tasks
        )


@dataclass(frozen=True)
class ListStep(Step):
    """A step whose blocks are a list of tasks, not blocks of the scan: it has a ledger of its own."""

    def ledger(self) -> Ledger:
        """Return the ledger of its tasks."""
        place = f"parts/ledgers/{self.specimen.index(self.scan)}/{self.name}"
        group = self.specimen.group.require_group(place)
        return Ledger(group, self.name, 0, self.scan, self.work.grid, (1, *self.work.grid.counts))


def asked_problems(specimen: Specimen, recipe: SpecimenRecipe, kinds: Sequence[str]) -> list[Problem]:
    """Return the problems of some kinds, of ``tortuosity`` and ``permeability``, that the study has sections for."""
    wanted = {_KINDS[kind] for kind in kinds}
    return [p for p in problems(specimen, recipe) if isinstance(p, Diffusion) in wanted]


def solve_step(
    name: str, specimen: Specimen, scan: str, inputs: str, tasks: Sequence[Task], parts: StoredParts
) -> Step:
    """Return the step that does these solves."""
    digest = repr((inputs, code_version([t.problem for t in tasks] + [t.phases for t in tasks])))
    work = SideBySide(tuple(tasks), parts, digest)
    own = repr([(t.where, t.problem) for t in tasks])
    return ListStep(name, specimen, scan, work, inputs, parameters=own, output_paths=(f"{parts.path}/{name}",))


def numbers_of(parts: Parts, where: str, problem: Problem) -> dict[str, float | str]:
    """Return the numbers of a solve."""
    numbers: dict[str, float | str] = _stored(parts, f"{where}.{problem.name}")["numbers"]
    return numbers


def _stored(parts: Parts, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(parts.read((0, 0, 0), name).tobytes())
    except (KeyError, ValueError):  # missing, or truncated when it was written
        return {}
    return found
