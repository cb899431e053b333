"""What a store holds of a study, scan by scan, and what is missing: read once, without changing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr
import zarr

from mgsflow.errors import MgsflowError
from mgsflow.report.numbers import listing
from mgsflow.store import Scan, Specimen, Study
from mgsflow.store.remote import place_of
from mgsflow.store.tree import open_group

#: What the report calls the steps of the ledger.
STEP_NAMES = {
    "ingest": "reading of the files",
    "slices": "survey of slice brightness",
    "survey": "survey of grey values",
    "filter": "filters",
    "segment": "segmentation",
    "particle_basins": "watershed of the particles",
    "particle_offsets": "count of the basins",
    "particle_seams": "basins across blocks",
    "particle_merge": "merging of basins to particles",
    "particle": "writing of the particles",
    "particle_sums": "measuring of the particles",
    "particle_table": "table of the particles",
}
_PASSING = ("particle_basins", "particle_offsets", "particle_seams", "particle_merge", "particle_sums")
_SOLVES = {"tortuosity": "diffusion through", "permeability": "flow through"}
_COARSE = ("image", "phase")
#: Groups of a specimen, beside ``metrics``, that the report shows something of; and of a study.
_STUDIES = ("rve", "sensitivity", "flux", "streamlines", "pores", "throats", "local_porosity", "comparison")
_ELECTROCHEMISTRY = ("cycles", "curves", "voltammetry", "images")


def step_name(step: str, phases: Sequence[str] = ()) -> str:
    """Return what the report calls a step: ``tortuosity_0_z`` is ``diffusion through pore along z``."""
    if step in STEP_NAMES:
        return STEP_NAMES[step]
    kind, _, rest = step.partition("_")
    if kind in _SOLVES:
        labels, _, axis = rest.rpartition("_")
        numbers = [int(n) for n in labels.split("-") if n.isdecimal()]
        names = [phases[n] if n < len(phases) else f"phase {n}" for n in numbers]
        if names and axis in ("z", "y", "x"):
            return f"{_SOLVES[kind]} {listing(names)} along {axis}"
    if kind in _COARSE and rest.isdecimal():
        return f"coarse level ({kind} {rest})"
    return step.replace("_", " ")


@dataclass(frozen=True)
class Progress:
    """Finished blocks of a step: none of none for a step that is asked for but never began.

    The specimen's phases are there to name those that a step is about.
    """

    step: str
    done: int
    total: int
    phases: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all blocks are finished."""
        return 0 < self.total <= self.done

    def __str__(self) -> str:
        name = step_name(self.step, self.phases)
        return f"{name}: {self.done} of {self.total} blocks" if self.total else f"{name}: not begun"


@dataclass(frozen=True)
class ScanState:
    """A scan, how far its steps are, and whether it has been measured.

    Parameters
    ----------
    scan : Scan
    progress : tuple of Progress
        Steps that have begun, and those that the last run asks for.
    measured : bool
        Whether ``metrics`` has the scan.
    listed : bool
        Whether the last run's study file has it.
    sha256 : str
        Digest of its files, empty if unknown.
    files : int or None
    """

    scan: Scan
    progress: tuple[Progress, ...]
    measured: bool
    listed: bool
    sha256: str
    files: int | None

    def complete(self, step: str) -> bool:
        """Tell whether a step has finished all blocks."""
        return any(p.step == step and p.complete for p in self.progress)

    def begun(self, step: str) -> bool:
        """Tell whether a step has finished any block."""
        return any(p.step == step and p.done for p in self.progress)

    @property
    def separating(self) -> bool:
        """Whether particles are being made: steps on the way are forgotten when their table stands."""
        return any(p.step in _PASSING and p.total for p in self.progress)

    @property
    def missing(self) -> tuple[Progress, ...]:
        """Steps that are not finished."""
        return tuple(p for p in self.progress if not p.complete)


@dataclass(frozen=True)
class SpecimenState:
    """A specimen, its scans in order of cycle, what was asked for, and what was measured.

    ``studies`` are the other groups of the specimen by name, opened and not read.
    """

    specimen: Specimen
    scans: tuple[ScanState, ...]
    recipe: Mapping[str, Any]
    metrics: xr.Dataset | None
    studies: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name in the study."""
        return self.specimen.name

    @property
    def filtered(self) -> bool:
        """Whether the study has filtered images, not only those of the files."""
        recipe = self.recipe
        chain = recipe.get("filter") or recipe.get("normalise") or (recipe.get("correct") or {}).get("drift")
        return bool(chain) if recipe else "scale0/filtered" in self.specimen.group

    @property
    def segmented(self) -> bool:
        """Whether the study asks for phases."""
        return bool(self.recipe.get("segment")) if self.recipe else "scale0/phase" in self.specimen.group

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Grey values that part the phases; empty where there are none yet."""
        segment = self.recipe.get("segment") or {}
        values = segment.get("thresholds")
        if not values and segment.get("multi_otsu"):
            values = (self.specimen.attributes.get("thresholds") or {}).get("values")
        return tuple(float(v) for v in values or ())

    def measured(self, scan: ScanState) -> xr.Dataset | None:
        """Return the metrics of one scan, if there are any."""
        return self.metrics.sel(scan=scan.scan.name) if self.metrics is not None and scan.measured else None

    def study(self, name: str) -> xr.Dataset | None:
        """Return a group of the specimen, as ``rve``; None where there is none."""
        return self.studies.get(name)

    @property
    def failed(self) -> dict[str, str]:
        """What was wrong with each scan that the last run left out."""
        named = {s["name"] for s in self.recipe.get("scans", [])}
        found = self.specimen.attributes.get("failed") or {}
        return {str(k): str(v) for k, v in found.items() if k in named}

    def asks(self, section: str) -> bool:
        """Tell whether the last run's study file has a section on the phases, as ``particles``."""
        return self.segmented and bool(self.recipe.get(section))


@dataclass(frozen=True)
class StudyState:
    """All that the report says of a study comes from here."""

    study: Study
    attributes: Mapping[str, Any]
    specimens: tuple[SpecimenState, ...]
    electrochemistry: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Entries of the runs, the last one last."""
        return list(self.attributes.get("runs", []))

    @property
    def recipe(self) -> dict[str, Any]:
        """The study file of the last run, empty if there was none."""
        return dict(self.runs[-1].get("recipe") or {}) if self.runs else {}


def read_state(study: Study) -> StudyState:
    """Return the state of a study that is open for reading."""
    attributes = study.attributes
    runs = attributes.get("runs") or [{}]
    asked = (runs[-1].get("recipe") or {}).get("specimens", {})
    specimens = tuple(_specimen(study[name], asked.get(name, {})) for name in study.specimens)
    return StudyState(study, attributes, specimens, _groups(study.path, "electrochemistry", _ELECTROCHEMISTRY))


def analyses(recipe: Mapping[str, Any]) -> list[str]:
    """Return the steps that end what a study file asks of the phases, beside measures."""
    phases = list(recipe.get("phases") or ())
    steps = []
    if asked := recipe.get("tortuosity"):
        steps += [f"tortuosity_{phases.index(p)}_{a}" for p in asked["phases"] if p in phases for a in asked["axes"]]
    if asked := recipe.get("permeability"):
        labels = sorted(phases.index(p) for p in asked["phase"] if p in phases)
        steps += [f"permeability_{'-'.join(map(str, labels))}_{a}" for a in asked["axes"]]
    if recipe.get("particles"):
        steps += ["particle", "particle_table"]
    return steps


def _specimen(specimen: Specimen, recipe: dict[str, Any]) -> SpecimenState:
    # numbers of phases that are no longer asked for are an earlier study's
    metrics = _metrics(specimen) if recipe.get("segment", True) else None
    measured = set() if metrics is None else {str(s) for s in metrics["scan"].values}
    inputs = specimen.attributes.get("inputs", {})
    listed = {s["name"] for s in recipe.get("scans", [])}
    scans = []
    for scan in sorted(specimen.scans, key=lambda s: s.cycle):  # stable: scans of one cycle as in the study file
        known = inputs.get(scan.name, {})
        scans.append(
            ScanState(
                scan,
                _progress(specimen, scan.name, recipe if scan.name in listed else {}),
                scan.name in measured,
                scan.name in listed,
                str(known.get("sha256", "")),
                known.get("files"),
            )
        )
    studies = _groups(specimen.store, specimen.name, _STUDIES) if recipe.get("segment", True) else {}
    return SpecimenState(specimen, tuple(scans), recipe, metrics, studies)


def _progress(specimen: Specimen, scan: str, recipe: dict[str, Any]) -> tuple[Progress, ...]:
    begun = []
    if "blocks" in specimen.group:
        begun = [Progress(*p, specimen.phases) for p in specimen.progress(scan)]
    wanted = ["ingest"] if recipe else []
    if recipe.get("filter") and not (recipe.get("segment") or {}).get("thresholds"):
        wanted.append("filter")
    if recipe.get("segment"):
        wanted += ["segment", *analyses(recipe)]
    names = {p.step for p in begun}
    return (*begun, *(Progress(w, 0, 0, specimen.phases) for w in wanted if w not in names))


def _groups(store: str, parent: str, names: Sequence[str]) -> dict[str, xr.Dataset]:
    """Return those of some groups that are there, whole, and can be read."""
    found = {}
    root = zarr.open_group(place_of(store), mode="r")
    for name in names:
        if f"{parent}/{name}" in root:
            try:
                found[name] = _ordered(open_group(store, f"{parent}/{name}"))
            except (MgsflowError, KeyError, ValueError, OSError):
                continue  # a run was stopped while it wrote it
    return found


def _ordered(data: xr.Dataset) -> xr.Dataset:
    # a store lists its arrays in any order, and a report is to be the same each time
    return data[sorted(map(str, data.data_vars))]


def _metrics(specimen: Specimen) -> xr.Dataset | None:
    if "metrics" not in specimen.group:
        return None
    try:
        found = _ordered(open_group(specimen.store, f"{specimen.name}/metrics").load())
    except (MgsflowError, KeyError, ValueError, OSError):
        return None  # a run was stopped while it wrote them: they are as good as absent
    return found if "scan" in found.dims and "scan" in found.coords else None
