"""Reading of study files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mgsflow.errors import InputNotFound, RecipeError
from mgsflow.recipe.analyses import Particles, Permeability, Thickness, Tortuosity
from mgsflow.recipe.document import read_document
from mgsflow.recipe.model import Recipe
from mgsflow.recipe.problems import Location, Problem, line_of, nearest, path_text, refuse, shown
from mgsflow.recipe.processing import Processing
from mgsflow.recipe.region import Circle, RegionOfScan
from mgsflow.recipe.scan import ScanRecipe
from mgsflow.recipe.specimen import SpecimenRecipe
from mgsflow.recipe.steps import Correct, Drift, Normalise, Segment

_SECTIONS: dict[str, type[BaseModel]] = {
    "defaults": Processing,
    "region": RegionOfScan,
    "cylinder": Circle,
    "correct": Correct,
    "drift": Drift,
    "normalise": Normalise,
    "segment": Segment,
    "particles": Particles,
    "thickness": Thickness,
    "tortuosity": Tortuosity,
    "permeability": Permeability,
}
#: Where a key belongs that stands in the wrong mapping.
_HOMES: dict[str, type[BaseModel]] = {
    "the top of the file": Recipe,
    "a specimen": SpecimenRecipe,
    "a scan": ScanRecipe,
    "`region`": RegionOfScan,
    "`segment`": Segment,
    "`normalise`": Normalise,
    "`correct`": Correct,
    "`particles`": Particles,
    "`thickness`": Thickness,
    "`tortuosity`": Tortuosity,
    "`permeability`": Permeability,
}


def load(path: str | Path) -> Recipe:
    """Return the study that a file describes.

    Parameters
    ----------
    path : path
        A YAML file.

    Raises
    ------
    InputNotFound
        If there is no such file.
    RecipeError
        If it cannot be read, or what it says cannot be carried out; the message has file, line and YAML path of every
        problem.
    """
    file = Path(path)
    try:
        raw = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputNotFound(f"no study file {file}: check the path, or make one with `mgsflow init FOLDER`") from None
    except IsADirectoryError:
        raise RecipeError(f"{file} is a folder: name the study file in it, as {file / 'study.yaml'}") from None
    except (OSError, ValueError) as error:
        raise RecipeError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{file}:{line}: is not UTF-8 text: save it as UTF-8 in an editor") from None
    return parse(text, file)


def parse(text: str, path: str | Path) -> Recipe:
    """Return the study that a text describes.

    Parameters
    ----------
    text : str
        YAML.
    path : path
        File that the text is from or for: other paths are relative to its folder.

    Raises
    ------
    RecipeError
        If what it says cannot be carried out.
    """
    file = Path(path)
    document = read_document(text, file)
    values = document.values
    if not isinstance(values, dict):
        what = f"must be a mapping (`study: TITLE`, `specimens:` …), got {shown(values)}"
        raise refuse(file, [Problem(1, "", what)])
    defaults = values.get("defaults", {})
    values = {k: v for k, v in values.items() if k != "defaults"}
    shared = defaults if isinstance(defaults, dict) else {}
    problems = []
    context = {"folder": file.absolute().parent, "path": file.absolute()}
    try:
        Processing.model_validate(defaults, context=context)
    except ValidationError as error:
        problems += list(_explain(error, document.lines, ("defaults",), {}))
    merged, inherited = _merge(values, shared)
    try:
        recipe = Recipe.model_validate(merged, context=context)
    except ValidationError as error:
        problems += list(_explain(error, document.lines, (), inherited))
    if problems:
        raise refuse(file, problems)
    return recipe


def _merge(values: dict[str, Any], shared: dict[str, Any]) -> tuple[dict[str, Any], dict[Location, Location]]:
    """Return the study with its defaults put into every specimen, and where what was put is written."""
    specimens = values.get("specimens")
    if not isinstance(specimens, dict):
        return values, {}
    inherited: dict[Location, Location] = {}
    merged = {}
    for name, specimen in specimens.items():
        if isinstance(specimen, dict):
            inherited |= {("specimens", name, key): ("defaults", key) for key in shared if key not in specimen}
            specimen = shared | specimen
        merged[name] = specimen
    return values | {"specimens": merged}, inherited


def _explain(
    error: ValidationError, lines: Mapping[Location, int], prefix: Location, inherited: Mapping[Location, Location]
) -> Iterator[Problem]:
    for found in error.errors(include_url=False):
        context = found.get("ctx", {})
        at: Location = (*prefix, *found["loc"], *context.get("at", ()))
        what = _words(found["type"], found["msg"], found["input"], context, at)
        if found["type"] == "missing":
            at, what = at[:-1], f"`{at[-1]}` is missing: {what}"
        written = inherited.get(at[:3])
        if written:
            if found["type"] == "extra_forbidden":
                continue  # told where the defaults are looked at
            what += f" (for {at[1]})" if len(found["loc"]) == 2 else ""
            at = written + at[3:]
        yield Problem(line_of(at, lines), path_text(at), what)


def _words(kind: str, message: str, value: Any, context: Mapping[str, Any], at: Location) -> str:
    if kind == "recipe":
        return str(context["what"])
    if kind == "missing":
        return _MISSING.get(str(at[-1]), "add it")
    if kind == "extra_forbidden":
        return _unknown(str(at[-1]), _section(at[:-1]))
    if value is None:
        return "is empty: fill it in, or delete the line"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be a mapping (key: value), got {shown(value)}"
    return f"{message[:1].lower()}{message[1:]}, got {shown(value)}"


_MISSING = {
    "study": "give the study a title",
    "specimens": "describe at least one specimen",
    "phases": "name the phases, label 0 first",
    "scans": "list the scans, as `- {name: pristine, path: scans/pristine, cycle: 0}`",
    "name": "give the scan a name of its own",
    "path": "say where the scan is: a file, a folder or a glob, relative to the study file",
    "cycle": "give the number of cycles the specimen has seen, 0 if none",
}


def _section(at: Location) -> type[BaseModel]:
    """Return the model of the mapping at a location."""
    if not at:
        return Recipe
    if len(at) == 2 and at[0] == "specimens":
        return SpecimenRecipe
    if isinstance(at[-1], int):
        return ScanRecipe
    return _SECTIONS.get(at[-1], Processing)


def _keys(model: type[BaseModel]) -> list[str]:
    keys = [field.alias or name for name, field in model.model_fields.items()]
    return [*keys, "defaults"] if model is Recipe else keys


def _unknown(key: str, model: type[BaseModel]) -> str:
    for home, other in _HOMES.items():
        if other is not model and key in _keys(other):
            return f"does not belong here but in {home}: move it"
    return f"unknown key: {nearest(key, _keys(model))}"
