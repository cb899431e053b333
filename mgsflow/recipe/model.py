"""What a study file says, checked: the models that the pipeline works from.

A field's text below is also the documentation of its key. Models are made by `mgsflow.recipe.load`; a value that cannot
be right is refused there, with the place in the file.
"""

from __future__ import annotations

import hashlib
import json
from math import inf, isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    PrivateAttr,
    SkipValidation,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from mgsflow.errors import InputError
from mgsflow.kernel import Kernel
from mgsflow.measures import DEFAULT, MEASURES, make_measures
from mgsflow.readers import FORMATS
from mgsflow.recipe.analyses import Particles, Permeability, Thickness, Tortuosity
from mgsflow.recipe.chain import filter_chain, filter_entries
from mgsflow.recipe.electrochemistry import Electrochemistry
from mgsflow.recipe.problems import nearest, problem, shown
from mgsflow.recipe.steps import Correct, Normalise, Section, Segment
from mgsflow.recipe.studies import Network, Rve, Sensitivity
from mgsflow.recipe.values import (
    BlockShape,
    Cycle,
    Name,
    Note,
    StudyPath,
    Text,
    VoxelSize,
    each,
    name,
    real,
    said,
    text,
    whole,
    within,
)

_MOST_PHASES = 255
_CAN_BE_OFF = (
    "correct",
    "normalise",
    "segment",
    "particles",
    "thickness",
    "tortuosity",
    "permeability",
    "network",
    "rve",
    "sensitivity",
)
_OPTIONS = ("format", *dict.fromkeys(option for kind in FORMATS for option in kind.options))


class ScanRecipe(Section):
    """One tomogram of a specimen.

    Parameters
    ----------
    name : str
        Unique in the specimen; letters, digits, ``_``, ``-`` and ``.``.
    path : Path
        A file, a folder of slices, or a glob of them; relative to the study file.
    cycle : int
        Cycles of charge and discharge that the specimen has seen, 0 or more.
    state : str
        State of charge, any text, as ``charged``. If it is left out: ``pristine`` at cycle 0, else ``cycled``, as
        nothing in the file says whether the cell was charged.
    options : dict
        What `mgsflow.readers.open_scan` takes beside the path: ``shape``, ``dtype``, ``order`` and ``offset`` of a raw
        file, ``dataset`` of an HDF5 file, ``format`` of a file whose name does not tell; ``axes`` (as ``xyz``) and
        ``flip`` of any file whose axes are stored in another order or direction than z, y, x.
    """

    name: Name
    path: StudyPath
    cycle: Cycle
    state: Note = ""
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("options", mode="before")
    @classmethod
    def _options(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise problem(f"must be a mapping, as {{dtype: uint16}}, got {shown(value)}")
        for key, option in value.items():
            if key == "path":
                raise problem("is given beside options, not in it: delete it here", key)
            if option is None:
                raise problem("is empty: fill it in, or delete it", key)
            if isinstance(option, float):
                real(option)
        for key in value:
            if key not in _OPTIONS:
                raise problem(f"unknown option: {nearest(str(key), _OPTIONS)}", key)
        if "shape" in value:
            shape = value["shape"]
            if not isinstance(shape, (list, tuple)) or len(shape) != 3:
                raise problem(f"must be three whole numbers, [z, y, x], got {shown(shape)}", "shape")
            try:
                each(shape, lambda n: whole(n, 1), "voxels")
            except PydanticCustomError as error:
                raise within(error, "shape") from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _state(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("state", "") in ("", None):
            return data | {"state": "pristine" if data.get("cycle") == 0 else "cycled"}
        return data


class Processing(Section):
    """What is done with scans; each key may also stand under ``defaults``, for all specimens that do not have it.

    Parameters
    ----------
    voxel_size : (float, float, float), optional
        Edges of a voxel along (z, y, x) in µm; one number for a cube. May be left out where the files tell it.
    trust : str, optional
        ``study``: `voxel_size` holds for all scans, though files of two of them state different ones, which is an error
        otherwise.
    phases : tuple of str
        Names of the phases by rising grey value, label 0 first; at least two, if there is `segment`.
    correct : Correct
        Corrections before the filters.
    normalise : Normalise, optional
        One grey scale for all scans.
    filter : tuple of Kernel
        Filters of the grey image, in this order.
    segment : Segment, optional
        How grey values become phases. Without it only grey images are made.
    measures : tuple of str
        What is measured of the phases: ``volume`` (fractions), ``profile`` (fractions along each axis), ``surface`` and
        ``interface`` (areas), ``tpb`` (triple-phase boundary), ``curvature`` (with Euler number), ``correlation``. By
        layers along each axis: ``surface_profile``, ``interface_profile``,
        ``tpb_profile``, ``curvature_profile``.

    particles : Particles, optional
        Particles of one phase.
    thickness : Thickness, optional
        Local thickness of phases.
    tortuosity : Tortuosity, optional
        Tortuosity factors of phases.
    permeability : Permeability, optional
        Permeabilities of open phases.
    network : Network, optional
        Pore network of one phase.
    rve : Rve, optional
        Representative volume.
    sensitivity : Sensitivity, optional
        Sensitivity to a threshold.

    Notes
    -----
    ``false`` for a section, and ``[]`` for `filter`, turn off what ``defaults`` asks for.
    """

    voxel_size: VoxelSize | None = None
    trust: Literal["study"] | None = None
    phases: tuple[str, ...] = ()
    correct: Correct = Correct()
    normalise: Normalise | None = None
    filter: Annotated[SkipValidation[tuple[Kernel, ...]], BeforeValidator(filter_chain)] = ()
    segment: Segment | None = None
    measures: tuple[str, ...] = DEFAULT
    particles: Particles | None = None
    thickness: Thickness | None = None
    tortuosity: Tortuosity | None = None
    permeability: Permeability | None = None
    network: Network | None = None
    rve: Rve | None = None
    sensitivity: Sensitivity | None = None

    @model_validator(mode="before")
    @classmethod
    def _off(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {k: v for k, v in data.items() if not (k in _CAN_BE_OFF and v is False)}
        return data

    @field_validator("phases", mode="before")
    @classmethod
    def _phases(cls, value: Any) -> Any:
        if value is None:
            return value
        names = each(value, text, "names")
        if not 2 <= len(names) <= _MOST_PHASES:
            raise problem(f"must be 2 to {_MOST_PHASES} names, label 0 first, got {len(names)}")
        _unique(names, "a phase")
        return names

    @field_validator("measures", mode="before")
    @classmethod
    def _measures(cls, value: Any) -> tuple[str, ...]:
        names = each(value, text, "names")
        for i, item in enumerate(names):
            if item not in MEASURES:
                raise problem(f"unknown measure {shown(item)}: {nearest(item, MEASURES)}", i)
        _unique(names, "a measure")
        return names


class SpecimenRecipe(Processing):
    """Scans that share a voxel size, and what is done with them.

    Parameters
    ----------
    scans : tuple of ScanRecipe
        At least one; each with its own name.
    """

    scans: tuple[ScanRecipe, ...]

    @field_validator("scans", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if value == []:
            raise problem("is empty: list at least one scan, as `- {name: pristine, path: scans/pristine, cycle: 0}`")
        if not isinstance(value, (list, tuple)):
            raise problem("must be a list: start each scan with '- '")
        return value

    @field_validator("scans", mode="after")
    @classmethod
    def _apart(cls, scans: tuple[ScanRecipe, ...]) -> tuple[ScanRecipe, ...]:
        _unique([s.name for s in scans], "a scan", "name")
        for i, scan in enumerate(scans):
            for other in scans[:i]:
                if (scan.path, scan.options) == (other.path, other.options):
                    raise problem(f"is the path of scan {other.name} too: one of them is wrong", i, "path")
        return scans

    @model_validator(mode="after")
    def _agree(self) -> SpecimenRecipe:
        if self.segment:
            if not self.phases:
                raise problem("names of the phases are needed for `segment`: add `phases: [pore, ...]`, label 0 first")
            given, wanted = self.segment.thresholds, len(self.phases) - 1
            if given is not None and len(given) != wanted:
                raise problem(
                    f"{_count(len(self.phases), 'phase')} ({shown(', '.join(self.phases))}) need "
                    f"{_count(wanted, 'threshold')}, got {len(given)}",
                    "segment",
                    "thresholds",
                )
            try:
                make_measures(self.measures, len(self.phases), self.voxel_size or (1.0, 1.0, 1.0))
            except InputError as error:
                raise problem(f"{error}; ask for fewer measures", "measures") from None
        self._named_phases()
        if self.normalise and self.normalise.reference is not None:
            names = [s.name for s in self.scans]
            if self.normalise.reference not in names:
                hint = nearest(self.normalise.reference, names)
                raise problem(f"no scan is named {self.normalise.reference!r}: {hint}", "normalise", "reference")
        return self

    def _named_phases(self) -> None:
        """Refuse analyses of phases that there are not."""
        wanted: list[tuple[str, str, tuple[str, ...]]] = []
        if self.particles is not None:
            wanted.append(("particles", "phase", (self.particles.phase,)))
        if self.thickness is not None:
            wanted.append(("thickness", "phases", self.thickness.phases))
        if self.tortuosity is not None:
            wanted.append(("tortuosity", "phases", self.tortuosity.phases))
        if self.permeability is not None:
            wanted.append(("permeability", "phase", self.permeability.phase))
        if self.network is not None:
            wanted.append(("network", "phase", (self.network.phase,)))
        if self.rve is not None:
            wanted.append(("rve", "sizes", ()))
        if self.sensitivity is not None:
            wanted.append(("sensitivity", "phase", (self.sensitivity.phase,)))
        for section, key, phases in wanted:
            if self.segment is None:
                raise problem("needs phases: add `segment`, or delete this section", section)
            for phase in phases:
                if phase not in self.phases:
                    raise problem(f"no phase is named {shown(phase)}: {nearest(phase, self.phases)}", section, key)
        if self.sensitivity is not None and self.sensitivity.phase == self.phases[-1]:
            raise problem(
                f"is the brightest phase, which has no threshold above it: name {self.phases[-2]}",
                "sensitivity",
                "phase",
            )
        self._ordered_thresholds()
        for section, study in (("rve", self.rve), ("sensitivity", self.sensitivity)):
            for solve in () if study is None else study.solve:
                if getattr(self, solve) is None:
                    raise problem(
                        f"needs the section `{solve}`, for phases and axes: add it, or leave {solve} out",
                        section,
                        "solve",
                    )

    def _ordered_thresholds(self) -> None:
        """Refuse thresholds of a study that would change places with one in use."""
        if self.sensitivity is None or self.segment is None or self.segment.thresholds is None:
            return
        at, used = self.phases.index(self.sensitivity.phase), (-inf, *self.segment.thresholds, inf)
        low, high = used[at], used[at + 2]
        for i, value in enumerate(self.sensitivity.values):
            if not low < value < high:
                ends = [f"{word} {t:g}" for word, t in (("above", low), ("below", high)) if isfinite(t)]
                what = f"must lie {' and '.join(ends)}, the next threshold, got {value:g}"
                raise problem(what, "sensitivity", "values", i)


class Recipe(Section):
    """A study: its specimens, and where results go.

    Parameters
    ----------
    title : str
        Title; the key is ``study``.
    store : Path
        Folder of the results; relative to the study file.
    block : (int, int, int)
        Voxels of a unit of work along (z, y, x), one number for a cube.
    notes : str
        Anything.
    electrochemistry : Electrochemistry, optional
        Cycling of the cells, and other measurements beside the scans.
    specimens : dict of str to SpecimenRecipe
        At least one.
    """

    title: Text = Field(alias="study")
    store: StudyPath = Field(default="study.zarr", validate_default=True)
    block: BlockShape = (256, 256, 256)
    notes: Note = ""
    electrochemistry: Electrochemistry | None = None
    specimens: dict[str, SpecimenRecipe]
    _path: Path = PrivateAttr(default=Path("study.yaml"))

    @field_validator("specimens", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if value == {}:
            raise problem("is empty: describe at least one specimen")
        if not isinstance(value, dict):
            raise problem("must be a mapping, name: {phases: …, scans: …}")
        for key in value:
            try:
                name(key)
            except ValueError as error:
                raise problem("specimen " + str(error), key) from None
        return value

    @model_validator(mode="after")
    def _beside(self) -> Recipe:
        if self.electrochemistry is not None:
            try:
                self.electrochemistry.check_scans({n: [s.name for s in one.scans] for n, one in self.specimens.items()})
            except PydanticCustomError as error:
                raise within(error, "electrochemistry") from None
        return self

    def model_post_init(self, context: Any) -> None:
        """Note which file it is from."""
        if context and "path" in context:
            self._path = Path(context["path"])

    @property
    def path(self) -> Path:
        """The study file."""
        return self._path

    def to_dict(self) -> dict[str, Any]:
        """Return everything in it as JSON values, defaults written out, paths relative to the study file.

        It depends on what the study says alone: not on order and layout of keys, nor on where its folder is.
        """
        folder = self.path.parent
        specimens = {}
        for key, specimen in self.specimens.items():
            plain = specimen.model_dump(mode="json", exclude={"filter", "scans"})
            plain["filter"] = filter_entries(specimen.filter)
            plain["scans"] = [s.model_dump(mode="json") | {"path": said(s.path, folder)} for s in specimen.scans]
            specimens[key] = plain
        plain = {
            "study": self.title,
            "store": said(self.store, folder),
            "block": list(self.block),
            "notes": self.notes,
            "specimens": specimens,
        }
        if self.electrochemistry is not None:
            plain["electrochemistry"] = self.electrochemistry.to_dict(folder)
        return plain

    def digest(self) -> str:
        """Return the SHA-256 of `to_dict`, in hexadecimal digits."""
        plain = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()


def _unique(names: Any, what: str, *at: str) -> None:
    for i, item in enumerate(names):
        if item in names[:i]:
            raise problem(f"{item!r} is {what} already: names must be unique, change one", i, *at)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
