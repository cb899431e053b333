"""Filters of a study file: names and parameters in, kernels out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from mgsflow import filters
from mgsflow.errors import InputError
from mgsflow.kernel import Kernel
from mgsflow.recipe.problems import nearest, problem, shown
from mgsflow.recipe.values import sequence


def known_filters() -> Mapping[str, type]:
    """Return the kernel class of each filter that a study file may name."""
    return filters.FILTERS


def filter_chain(value: Any) -> tuple[Kernel, ...]:
    """Return the kernels that a list of filters stands for, in its order.

    Raises
    ------
    PydanticCustomError
        If an entry is not a filter's name or one ``name: {parameter: value}``, or its kernel refuses a parameter.
    """
    if isinstance(value, (dict, str)):
        raise problem("must be a list: start each filter with '- ', as `- median: {radius: 1}`")
    return tuple(_kernel(entry, i) for i, entry in enumerate(sequence(value, "filters")))


def filter_entries(chain: tuple[Kernel, ...]) -> list[dict[str, dict[str, Any]]]:
    """Return a chain as a study file would list it, every parameter written out."""
    names = {kind: name for name, kind in known_filters().items()}
    return [
        {
            names.get(type(kernel), type(kernel).__name__): {
                f.name: _plain(getattr(kernel, f.name))
                for f in fields(kernel)  # type: ignore[arg-type]
            }
        }
        for kernel in chain
    ]


def _kernel(entry: Any, at: int) -> Kernel:
    if isinstance(entry, Kernel):
        return entry
    known = known_filters()
    if isinstance(entry, dict):
        if not entry:
            raise problem("is an empty entry: name a filter, or delete it", at)
        if len(entry) > 1:
            first = next(iter(entry))
            hint = (
                f"indent its parameters under {first}"
                if entry[first] is None
                else "give each filter its own '- ', and its parameters in {}"
            )
            raise problem(f"must be one filter, got {shown(', '.join(map(str, entry)))}: {hint}", at)
        name, parameters = next(iter(entry.items()))
    elif isinstance(entry, str):
        name, parameters = entry, None
    else:
        raise problem(f"must be a filter's name or `name: {{parameter: value}}`, got {shown(entry)}", at)
    if name not in known:
        raise problem(f"unknown filter {shown(name)}: {nearest(str(name), known)}", at)
    return _make(known[name], name, parameters, at)


def _make(kind: type, name: str, parameters: Any, at: int) -> Kernel:
    allowed = {f.name: f for f in fields(kind) if f.init}
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        example = next(iter(allowed), "parameter")
        raise problem(f"must be a mapping of parameters, as {{{example}: value}}, got {shown(parameters)}", at, name)
    for key, value in parameters.items():
        if key not in allowed:
            raise problem(f"unknown parameter of {name}: {nearest(str(key), allowed)}", at, name, key)
        if value is None:
            raise problem("is empty: fill it in, or delete it", at, name, key)
    for f in allowed.values():
        if f.name not in parameters and f.default is MISSING and f.default_factory is MISSING:
            raise problem(f"{f.name} is missing: give {name} its {f.name}, as {{{f.name}: value}}", at, name)
    try:
        kernel: Kernel = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()})
    except InputError as error:
        words = str(error).split(maxsplit=1)
        # kernels name the parameter first; the path has it then
        if words and words[0] in parameters:
            raise problem(words[1] if len(words) > 1 else str(error), at, name, words[0]) from None
        raise problem(str(error), at, name) from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise problem(f"cannot use {shown(parameters)}: {shown(str(error))}", at, name) from None
    return kernel


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
