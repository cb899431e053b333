"""What is wrong in a study file, and where: one message for all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from pydantic_core import PydanticCustomError

from mgsflow.errors import RecipeError

#: Keys and list positions that lead to a value.
Location: TypeAlias = tuple[str | int, ...]

_MOST = 20  # problems that are listed
_WIDTH = 60  # characters of a value that are shown


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Parameters
    ----------
    line : int
        Line of the file, from 1; 0 where there is none.
    where : str
        YAML path, as ``specimens.cathode.scans[1].cycle``; may be empty.
    what : str
        What is wrong, and what to do.
    """

    line: int
    where: str
    what: str


def refuse(file: Path, problems: Iterable[Problem]) -> RecipeError:
    """Return the error for the problems of a file: a line for each, in the file's order, each once."""
    listed = sorted(set(problems), key=lambda p: (p.line, p.where, p.what))
    lines = []
    for problem in listed[:_MOST]:
        place = f"{file}:{problem.line}" if problem.line else str(file)
        lines.append(": ".join(part for part in (place, problem.where, problem.what) if part))
    if len(lines) == 1:
        return RecipeError(lines[0])
    if len(listed) > _MOST:
        lines.append(f"and {len(listed) - _MOST} more")
    return RecipeError("\n  ".join([f"{file} has {len(listed)} problems:", *lines]))


def path_text(location: Iterable[str | int]) -> str:
    """Return a location as people write it: ``specimens.cathode.scans[1]``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + shown(part, 40).strip("'\"")
    return text


def line_of(location: Location, lines: Mapping[Location, int]) -> int:
    """Return the line of a value, or of what should hold it."""
    for end in range(len(location), -1, -1):
        if location[:end] in lines:
            return lines[location[:end]]
    return 0


def shown(value: Any, width: int = _WIDTH) -> str:
    """Return a value as it can be shown in a message: short, on one line."""
    text = repr(value[: 4 * width] if isinstance(value, str) else value)
    return text if len(text) <= width else text[: width - 1] + "…"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``: did you mean 'x'?`` if something known is like a name, else ``: known are …``."""
    names = list(known)
    close = get_close_matches(name[:100].lower(), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(names)}" if names else "none are known here"


def problem(what: str, *at: str | int) -> PydanticCustomError:
    """Return an error for pydantic: what is wrong, and at which part of the value that is being looked at."""
    # no braces: the message is a template
    return PydanticCustomError("recipe", "{what}", {"what": what, "at": list(at)})
