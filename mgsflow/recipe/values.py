"""Single values of a study file: checked, with a message for each way in which people get them wrong."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from mgsflow.blocks import Triple
from mgsflow.errors import InputError
from mgsflow.readers.remote import RemotePath, local_or_remote
from mgsflow.recipe.problems import problem, shown
from mgsflow.store import remote_url
from mgsflow.store.schema import check_name

_LARGEST_BLOCK = 4096
_UNITS = {"m": 1e6, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3}
_QUANTITY = re.compile(r"\s*([-+]?\d+(?:[.,]\d*)?(?:[eE][-+]?\d+)?)\s*([^\W\d_]*)\s*")
_VOXEL_SIZES = (1e-4, 1e4)  # µm: what is outside is in another unit


def empty(value: Any) -> None:
    """Refuse a key without a value."""
    if value is None:
        raise problem("is empty: fill it in, or delete the line")


def text(value: Any) -> str:
    """Return a text that is not blank."""
    empty(value)
    if not isinstance(value, str):
        raise problem(f"must be a text, got {shown(value)}: put it in quotes if that is meant")
    if not value.strip():
        raise problem("is an empty text: fill it in, or delete the line")
    if not value.isprintable() and any(ord(c) < 32 and c not in "\n\t" for c in value):
        raise problem(f"holds control characters: {shown(value)}")
    return value.strip()


def note(value: Any) -> str:
    """Return a text that may be blank."""
    return "" if isinstance(value, str) and not value.strip() else text(value)


def name(value: Any) -> str:
    """Return a name that the store takes."""
    word = text(value)
    try:
        return check_name("the", word)
    except InputError as error:
        raise problem(str(error).removeprefix("the ")) from None


def real(value: Any, unit: str = "") -> float:
    """Return a finite number."""
    empty(value)
    if isinstance(value, str):
        raise problem(f"must be a number{_in(unit)}, got the text {shown(value)}{_hint(value, unit)}")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise problem(f"must be a number{_in(unit)}, got {_kind(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise problem(f"must be a finite number{_in(unit)}, got {shown(value)}")
    return number


def whole(value: Any, low: int, high: int | None = None) -> int:
    """Return an integer from `low` to `high`."""
    empty(value)
    allowed = f"a whole number, {low} or more" if high is None else f"a whole number from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, int):
        hint = ""
        if isinstance(value, float) and value.is_integer():
            hint = f": write {int(value)}" if abs(value) < 1e15 else ""
        elif isinstance(value, str):
            hint = f": write {value.strip()} without quotes" if re.fullmatch(r"\s*\d{1,9}\s*", value) else ""
        raise problem(f"must be {allowed}, got {_kind(value)}{hint}")
    if value < low or (high is not None and value > high):
        raise problem(f"must be {allowed}, got {shown(value)}")
    return value


def sequence(value: Any, what: str) -> list[Any]:
    """Return the items of a list."""
    empty(value)
    if not isinstance(value, (list, tuple)):
        raise problem(f"must be a list of {what}, as [a, b], got {_kind(value)}")
    return list(value)


def each(value: Any, check: Callable[[Any], Any], what: str) -> tuple[Any, ...]:
    """Return a list's items, each checked; a problem names the item."""
    items = []
    for i, item in enumerate(sequence(value, what)):
        try:
            items.append(check(item))
        except PydanticCustomError as error:
            raise within(error, i) from None
    return tuple(items)


def within(error: PydanticCustomError, *at: str | int) -> PydanticCustomError:
    """Return a problem of a part as one of the whole."""
    context = error.context or {}
    return problem(str(context["what"]), *at, *context["at"])


def _voxel_edge(value: Any) -> float:
    number = real(value, "µm")
    if number <= 0:
        raise problem(f"must be positive, in µm, got {number:g}")
    least, most = _VOXEL_SIZES
    if not least <= number <= most:
        hint = f": {number:g} m is {number * 1e6:g} µm" if least <= number * 1e6 <= most else ""
        raise problem(f"must be the edge of a voxel in µm, from {least:g} to {most:g}, got {number:g}{hint}")
    return number


def voxel_size(value: Any) -> tuple[float, float, float]:
    """Return the edges of a voxel along (z, y, x) in µm."""
    if value is None:
        raise problem("is empty: fill in the edge of a voxel in µm, one number or [z, y, x]")
    if isinstance(value, (list, tuple)):
        if len(value) != 3:
            raise problem(f"must be one number or three, [z, y, x], in µm, got {len(value)}")
        z, y, x = each(value, _voxel_edge, "edges")
        return z, y, x
    edge = _voxel_edge(value)
    return edge, edge, edge


def block(value: Any) -> Triple:
    """Return the shape of a block."""

    def edge(v: Any) -> int:
        return whole(v, 1, _LARGEST_BLOCK)

    if isinstance(value, (list, tuple)):
        if len(value) != 3:
            raise problem(f"must be one whole number or three, [z, y, x], in voxels, got {len(value)}")
        z, y, x = each(value, edge, "edges")
        return z, y, x
    side = edge(value)
    return side, side, side


def grey_range(value: Any) -> tuple[float, float]:
    """Return two grey values that rise."""
    items = each(value, real, "grey values")
    if len(items) != 2:
        raise problem(f"must be two grey values, [lower, upper], got {len(items)}")
    lower, upper = items
    if not lower < upper:
        raise problem(f"must rise, got [{lower:g}, {upper:g}]: write the lower grey value first")
    return lower, upper


def path(value: Any, info: ValidationInfo) -> Path:
    """Return a path; if it is relative, in the folder of the study file. An address as s3://bucket/key is one, too."""
    if isinstance(value, Path):
        value = str(value)
    word = text(value)
    if any(ord(c) < 32 for c in word):
        raise problem(f"must be a path on one line, got {shown(word)}")
    try:
        there = local_or_remote(word)
    except InputError as error:
        raise problem(str(error)) from None
    except RuntimeError:
        raise problem(f"no home folder for {shown(word)}: write the path in full") from None
    if isinstance(there, RemotePath):
        return there
    folder = (info.context or {}).get("folder", Path())
    return Path(folder) / there


def local_path(value: Any, info: ValidationInfo) -> Path:
    """Return a path on disk."""
    found = path(value, info)
    if isinstance(found, RemotePath):
        raise problem(f"is read from disk alone: copy {found} beside the study file")
    return found


def said(path: str | Path, folder: Path) -> str:
    """Return a path as a study file in a folder would say it."""
    url = remote_url(path)
    if url is not None:
        return url
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return Path(path).as_posix()


def check_unique(names: Any, what: str, *at: str) -> None:
    """Refuse names of which two are equal."""
    for i, item in enumerate(names):
        if item in names[:i]:
            raise problem(f"{item!r} is {what} already: names must be unique, change one", i, *at)


def _in(unit: str) -> str:
    return f" in {unit}" if unit else ""


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping (key: value)"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return f"the text {shown(value)}" if isinstance(value, str) else shown(value)


def _hint(word: str, unit: str) -> str:
    found = _QUANTITY.fullmatch(word[:100])
    if not found or found[2] not in ({"": 1.0} | _UNITS if unit else {"": 1.0}):
        return ""
    number = float(found[1].replace(",", ".")) * ({"": 1.0} | _UNITS)[found[2]]
    return f": write {number:g}, without quotes" + (" or unit" if found[2] else "")


Text: TypeAlias = Annotated[str, BeforeValidator(text)]
Note: TypeAlias = Annotated[str, BeforeValidator(note)]
Name: TypeAlias = Annotated[str, BeforeValidator(name)]
Cycle: TypeAlias = Annotated[int, BeforeValidator(lambda v: whole(v, 0, 1_000_000))]
VoxelSize: TypeAlias = Annotated[tuple[float, float, float], BeforeValidator(voxel_size)]
BlockShape: TypeAlias = Annotated[Triple, BeforeValidator(block)]
GreyRange: TypeAlias = Annotated[tuple[float, float], BeforeValidator(grey_range)]
StudyPath: TypeAlias = Annotated[Path, BeforeValidator(path)]
LocalPath: TypeAlias = Annotated[Path, BeforeValidator(local_path)]
