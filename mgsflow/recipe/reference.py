"""The reference of the study file, made from its models: every key with its type, default and meaning.

The models' docstrings are the text; what they do not say (default, whether a key is required) is read off the fields.
The page that is committed, ``examples/study-file.md``, is what `page` returns; a test holds the two together.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from pydantic.fields import FieldInfo

from mgsflow import filters
from mgsflow.errors import InputError
from mgsflow.recipe.analyses import Particles, Permeability, Thickness, Tortuosity
from mgsflow.recipe.electrochemistry import Cycling, Electrochemistry, Micrograph, Values, Voltammetry
from mgsflow.recipe.model import Recipe
from mgsflow.recipe.problems import nearest
from mgsflow.recipe.region import Circle, RegionOfScan
from mgsflow.recipe.scan import ScanRecipe
from mgsflow.recipe.specimen import SpecimenRecipe
from mgsflow.recipe.steps import Correct, Drift, Normalise, Section, Segment
from mgsflow.recipe.studies import Network, Rve, Sensitivity

#: Where each model stands in a study file; ``NAME`` and ``[]`` stand for a name of one's own and an entry of a list.
SECTIONS: dict[str, type[Section]] = {
    "": Recipe,
    "specimens.NAME": SpecimenRecipe,
    "specimens.NAME.scans[]": ScanRecipe,
    "specimens.NAME.region": RegionOfScan,
    "specimens.NAME.region.cylinder": Circle,
    "specimens.NAME.correct": Correct,
    "specimens.NAME.correct.drift": Drift,
    "specimens.NAME.normalise": Normalise,
    "specimens.NAME.segment": Segment,
    "specimens.NAME.particles": Particles,
    "specimens.NAME.thickness": Thickness,
    "specimens.NAME.tortuosity": Tortuosity,
    "specimens.NAME.permeability": Permeability,
    "specimens.NAME.network": Network,
    "specimens.NAME.rve": Rve,
    "specimens.NAME.sensitivity": Sensitivity,
    "electrochemistry": Electrochemistry,
    "electrochemistry.cycling[]": Cycling,
    "electrochemistry.voltammetry[]": Voltammetry,
    "electrochemistry.values[]": Values,
    "electrochemistry.images[]": Micrograph,
}

#: A study that asks for everything; a test loads it.
EXAMPLE = """\
study: Mg/S battery
store: study.zarr
block: 256
specimens:
  cathode:
    voxel_size: 0.126                  # µm
    trust: study                       # where the files state another
    phases: [pore, CBD, sulfur]        # by rising grey value
    scans:
      - {name: pristine, path: scans/c00, cycle: 0, state: pristine}
      - {name: cycle1, path: scans/c01.raw, cycle: 1, state: charged, options: {shape: [512, 512, 512], dtype: uint16}}
    region: {cylinder: auto, box: inscribed}
    correct: {drift: {smooth: 25}}
    normalise: {reference: pristine}
    filter:
      - median: {radius: 1}
      - unsharp_mask: {sigma: 1.5, amount: 0.6}
    segment: {thresholds: [23100, 32500], majority: 1}
    measures: [volume, profile, surface, interface, tpb, curvature]
    particles: {phase: sulfur, persistence: 0.5, min_voxels: 10, border: weight}
    thickness: {phases: [pore], reach: 64}
    tortuosity: {phases: [pore], axes: [z, y, x], rtol: 1e-3, fields: [flux]}
    permeability: {phase: pore, axes: z, pressure: [130e3, 100e3], viscosity: 1e-3, streamlines: 100}
    network: {phase: pore, cube: 16}
    rve: {sizes: [60, 80, 120, 160, 200], placement: random, windows: 8, solve: tortuosity}
    sensitivity: {phase: pore, values: {from: 21900, to: 23100, step: 300}, solve: tortuosity}
electrochemistry:
  cycling:
    - {name: cell, path: cell/cycling.ndax, mass: 1.0}                       # mg
  voltammetry:
    - {name: cell, path: cell/voltammogram.DTA, scan_rate: 0.03}             # mV/s
  values:
    - {name: EDX, path: cell/edx.csv}
  images:
    - {name: SEM, path: cell/section.tif, phases: [pore, solid], thresholds: 23100}
"""

_HEAD = """\
# The study file
Made from the models of `mgsflow.recipe` by `python -m mgsflow.recipe.reference`; do not edit. `mgsflow explain KEY`
prints a part of it. `mgsflow init FOLDER` writes a first study file for a folder of scans.

A study that asks for everything:
```yaml
{example}```
Paths are relative to the study file. Lengths are in µm where nothing else is said. Keys of a specimen may also stand
under `defaults:`, for all specimens that do not have them; `false` turns a section of the defaults off.
"""


@dataclass(frozen=True)
class Key:
    """One key of a study file.

    Parameters
    ----------
    path : str
        As ``specimens.NAME.segment.majority``.
    kind : str
        Type, in a user's words.
    default : str
        As it would be written; "" if the key is required.
    text : str
        What it means.
    """

    path: str
    kind: str
    default: str
    text: str


def sections() -> Iterator[tuple[str, str, list[Key]]]:
    """Yield each section of a study file: its place, what it is for, and its keys in order."""
    for place, model in SECTIONS.items():
        about, texts = _documented(model)
        found = []
        for name, field in model.model_fields.items():
            kind, text = texts[name]
            key = field.alias or name
            found.append(Key(f"{place}.{key}" if place else key, kind, _default(field), text))
        yield place, about, found


def page() -> str:
    """Return the reference of the study file as Markdown."""
    lines = [_HEAD.format(example=EXAMPLE)]
    for place, about, found in sections():
        lines += [f"## {f'`{place}`' if place else 'Top level'}", about, "", "| key | type | default | meaning |"]
        lines.append("|---|---|---|---|")
        for key in found:
            default = f"`{key.default}`" if key.default else "required"
            name = key.path.removeprefix(f"{place}.")
            lines.append(f"| `{name}` | {key.kind} | {default} | {key.text.replace('|', '/')} |")
        lines.append("")
    lines += ["## Filters", "Entries of `specimens.NAME.filter`, applied in their order.", ""]
    lines += ["| filter | parameters | meaning |", "|---|---|---|"]
    for name, kernel in filters.FILTERS.items():
        about, texts = _documented(kernel)
        parameters = "; ".join(f"`{k}` ({kind}): {text}" for k, (kind, text) in texts.items())
        lines.append(f"| `{name}` | {parameters} | {about} |".replace("``", "`"))
    return "\n".join(lines).rstrip() + "\n"


def explain(word: str) -> str:
    """Return what a key means, by its name or its path, as ``majority`` or ``segment.majority``.

    Raises
    ------
    InputError
        If there is no such key.
    """
    wanted = word.strip().removeprefix("mgsflow.").lower()
    known: dict[str, list[str]] = {}
    for place, about, found in sections():
        if place:
            known.setdefault(place, []).append(about)
        for key in found:
            default = f"default {key.default}" if key.default else "required"
            known.setdefault(key.path, []).append(f"{key.kind}; {default}. {key.text}")
    hits = [p for p in known if re.sub(r"\[\]", "", p).lower() == wanted or p.lower().endswith(f".{wanted}")]
    if not hits:
        names = sorted({p.rpartition(".")[2] for p in known})
        raise InputError(f"no key {word!r} in a study file: {nearest(wanted.rpartition('.')[2], names)}")
    return "\n".join(f"{path}: {text}" for path in hits for text in known[path])


def _documented(thing: type) -> tuple[str, dict[str, tuple[str, str]]]:
    """Return the first paragraph of a docstring, and type and text of each parameter, those of bases included."""
    texts: dict[str, tuple[str, str]] = {}
    for base in reversed(thing.__mro__):
        doc = inspect.cleandoc(base.__doc__ or "") if base.__module__.startswith("mgsflow") else ""
        _, _, rest = doc.partition("Parameters\n----------\n")
        rest = re.split(r"\n\n?(?:Raises|Returns|Notes|References|Attributes)\n-+\n", rest)[0]
        for entry in re.split(r"\n(?=\S)", rest.strip()) if rest else ():
            head, _, text = entry.partition("\n")
            names, _, kind = head.partition(" : ")
            for name in names.split(","):
                texts[name.strip()] = (_kind(kind.replace(", optional", "")), _plain(dedent(text)))
    about = inspect.cleandoc(thing.__doc__ or "").split("\n\n")[0]
    return _plain(about), texts


def _kind(kind: str) -> str:
    """Return a type of a docstring as a user would say it."""
    if (listed := kind.removeprefix("tuple of ")) != kind:
        return "list of " + {"str": "names", "float": "numbers", "int": "whole numbers", "Kernel": "filters"}.get(
            listed, "mappings"
        )
    if kind.startswith("("):
        return f"{kind.count(',') + 1} numbers"
    if kind.startswith("dict") or kind in {model.__name__ for model in SECTIONS.values()}:
        return "mapping"
    plain = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Path": "path"}
    return plain.get(kind, kind)


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    return _written(field.get_default(call_default_factory=True))


def _written(value: Any) -> str:
    """Return a value as it would be written in YAML."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Section):
        return "none"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_written, value))}]"
    if value in ("", {}):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    from pathlib import Path

    Path("examples/study-file.md").write_text(page(), encoding="utf-8")
