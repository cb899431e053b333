"""YAML text as plain values, with the line of each.

Only what a study file needs is read: one document of mappings, lists, texts, numbers, true, false and null, by the
rules of YAML 1.2 (``yes`` and ``on`` are texts). Nothing in the file can make an object or run code, and neither
nesting nor aliases can make it larger in memory than its text by more than a constant.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from mgsflow.recipe.problems import Location, Problem, path_text, refuse, shown

MOST_CHARACTERS = 1_000_000
MOST_VALUES = 50_000
DEEPEST = 20

_TAG = "tag:yaml.org,2002:"
_TRUE_FALSE = {"true": True, "false": False}


@dataclass(frozen=True)
class Document:
    """What a file holds.

    Parameters
    ----------
    values : Any
        Dicts, lists, str, int, float, bool and None.
    lines : mapping
        Line, from 1, on which the value at a location is written.
    """

    values: Any
    lines: Mapping[Location, int]


def read_document(text: str, file: Path) -> Document:
    """Return the values in a YAML text.

    Parameters
    ----------
    text : str
    file : Path
        Where it is from, for messages.

    Raises
    ------
    RecipeError
        If the text is not YAML, is empty, is too large, or uses what has no place in a study file: tags, keys that are
        not plain, a key twice, merge keys, more than one document.
    """
    if len(text) > MOST_CHARACTERS:
        raise refuse(file, [Problem(0, "", f"is longer than {MOST_CHARACTERS:,} characters: this is no study file")])
    yaml = YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings():
            # an anchor that is used twice is legal
            warnings.simplefilter("ignore")
            root = yaml.compose(text)
    except RecursionError:
        raise refuse(file, [Problem(0, "", "is nested too deeply: this is no study file")]) from None
    except (YAMLError, YAMLStreamError) as error:
        raise refuse(file, [_syntax(error, text)]) from None
    except Exception as error:
        # what the parser itself cannot cope with: broken directives and escapes end in any built-in error
        raise refuse(file, [Problem(0, "", f"is not YAML: {shown(str(error))}")]) from None
    if root is None:
        what = "is empty: write a study into it; `mgsflow init FOLDER` makes one from a folder of scans"
        raise refuse(file, [Problem(0, "", what)])
    reader = _Reader(file)
    try:
        values = reader.value(root, ())
    except _StopReadingError:
        values = None
    if reader.problems:
        raise refuse(file, reader.problems)
    return Document(values, reader.lines)


class _StopReadingError(Exception):
    """The rest of the file is not worth reading."""


@dataclass
class _Reader:
    """Turns YAML nodes into values, and notes lines and problems."""

    file: Path
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    count: int = 0

    def value(self, node: Node, at: Location) -> Any:
        self.lines.setdefault(at, node.start_mark.line + 1)
        self.count += 1
        if self.count > MOST_VALUES:
            # aliases of aliases: a few lines that stand for billions of values
            self.stop(node, at, f"the file stands for more than {MOST_VALUES:,} values: do not nest aliases (*name)")
        if len(at) > DEEPEST:
            self.stop(node, at[:3], f"is nested more than {DEEPEST} deep: look for an alias (*name) inside itself")
        if isinstance(node, MappingNode):
            self.check_tag(node, at, "map")
            return self.mapping(node, at)
        if isinstance(node, SequenceNode):
            self.check_tag(node, at, "seq")
            return [self.value(child, (*at, i)) for i, child in enumerate(node.value)]
        return self.scalar(node, at)

    def mapping(self, node: MappingNode, at: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self.note(key_node, at, "a key must be a plain word, not a list or a mapping")
                continue
            key = str(key_node.value)
            where = (*at, key)
            if str(key_node.tag) == _TAG + "merge":
                self.note(key_node, at, "merge keys (<<) are not read: put what specimens share under `defaults:`")
            elif key in values:
                self.note(key_node, where, f"is given twice, first on line {self.lines[where]}: delete one")
            else:
                self.lines[where] = line
                values[key] = self.value(child, where)
        return values

    def scalar(self, node: Node, at: Location) -> Any:
        text, tag = str(node.value), str(node.tag)
        if tag == _TAG + "str" or tag == _TAG + "timestamp":
            return text
        if tag == _TAG + "null":
            return None
        if tag == _TAG + "bool":
            # a %YAML 1.1 directive would make yes and no of it
            return _TRUE_FALSE.get(text.lower(), text)
        if tag in (_TAG + "int", _TAG + "float"):
            return number(text)
        if tag in (_TAG + "merge", _TAG + "value"):
            return text
        self.refuse_tag(node, at)
        return None

    def check_tag(self, node: Node, at: Location, kind: str) -> None:
        if str(node.tag) != _TAG + kind:
            self.refuse_tag(node, at)

    def refuse_tag(self, node: Node, at: Location) -> None:
        tag = shown(str(node.tag).replace(_TAG, "!!"), 40).strip("'\"")
        self.note(node, at, f"has the tag {tag}: tags are not read from study files, delete it")

    def note(self, node: Node, at: Location, what: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, path_text(at), what))

    def stop(self, node: Node, at: Location, what: str) -> None:
        self.note(node, at, what)
        raise _StopReadingError


def number(text: str) -> int | float | str:
    """Return the number that a YAML 1.2 scalar stands for, or the text if it is none after all."""
    plain = text.replace("_", "").lower()
    digits = plain.lstrip("+-")
    try:
        if digits in (".inf", ".nan"):
            return float(plain.replace(".", ""))
        if digits[:2] in ("0x", "0o", "0b"):
            return int(plain, 0)
        return int(plain)
    except ValueError:
        pass
    try:
        return float(plain)
    except ValueError:
        return text


def _syntax(error: Exception, text: str) -> Problem:
    """Return what the parser found, in one line."""
    if isinstance(error, ReaderError):
        position = error.position if isinstance(error.position, int) else 0
        line = text.count("\n", 0, position) + 1
        code = error.character if isinstance(error.character, int) else ord(str(error.character)[:1] or "?")
        return Problem(line, "", f"holds a character that YAML does not allow (U+{code:04X}): delete it")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else 0
    what = str(getattr(error, "problem", None) or error).split("\n")[0]
    column = f", column {mark.column + 1}" if mark is not None else ""
    if not isinstance(error, MarkedYAMLError):
        return Problem(line, "", f"is not YAML: {shown(what)}")
    written = text.splitlines()[line - 1] if 0 < line <= len(text.splitlines()) else ""
    if "\t" in written[: len(written) - len(written.lstrip())] or "'\\t'" in what:
        return Problem(line, "", "a line starts with a tab: indent with spaces")
    if "expected a single document" in str(error):
        return Problem(line, "", "holds more than one YAML document: keep one study a file, without '---' lines")
    hint = "check the indentation and that ':' is followed by a space, and put texts with ':' or '#' in quotes"
    return Problem(line, "", f"is not YAML ({what}{column}): {hint}")
