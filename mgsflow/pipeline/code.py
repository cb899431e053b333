"""What code a result depends on: a digest of the source of an operation and of all of ours that it uses.

Comments, docstrings and layout do not count, so that an upgrade redoes only what really changed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_ROOT = __name__.partition(".")[0]
#: Modules that say things, but compute no voxel.
_SILENT = {f"{_ROOT}.errors", f"{_ROOT}.memory"}


def code_version(objects: Iterable[object]) -> str:
    """Return a digest of the modules that define the objects' classes, and of every module of ours that they import."""
    return _digest(frozenset(type(o).__module__ for o in objects))


@cache
def _digest(first: frozenset[str]) -> str:
    names, modules = set(first), set()
    while names:
        name = names.pop()
        if name not in modules and name not in _SILENT and name.partition(".")[0] == _ROOT:
            modules.add(name)
            names |= set(_parsed(name)[1])
    total = hashlib.sha256()
    for name in sorted(modules):
        total.update(f"{name} {_parsed(name)[0]}\n".encode())
    return total.hexdigest()


@cache
def _parsed(module: str) -> tuple[str, tuple[str, ...]]:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return "", ()
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imported.add(node.module)
            # `from package import module` names a module, unless it names something inside the package
            imported |= {f"{node.module}.{a.name}" for a in node.names if _is_module(f"{node.module}.{a.name}")}
        elif isinstance(node, ast.Import):
            imported |= {a.name for a in node.names}
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            first = body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                body[0] = ast.Pass()
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return digest, tuple(n for n in imported if n.partition(".")[0] == _ROOT)


def _is_module(name: str) -> bool:
    if name.partition(".")[0] != _ROOT:
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
