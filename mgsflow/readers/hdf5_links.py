"""Data sets of an HDF5 file under every name that leads to them, through soft and external links too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mgsflow.errors import InputError, InputNotFound

#: Links followed at most: a file whose links multiply without end is damaged, or made to exhaust memory.
_MAX_LINKS = 100_000


@dataclass(frozen=True)
class Found:
    """A data set and the names in the opened file that lead to it, the first one preferred."""

    dataset: Any
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """The preferred name."""
        return self.names[0]

    def __str__(self) -> str:
        return f"{self.name} {self.dataset.shape} {self.dataset.dtype.name}"


def datasets(file: h5py.File, path: Path) -> list[Found]:
    """Return every data set once, though several links lead to it; links that lead nowhere are passed over."""
    found: dict[Any, tuple[Any, list[tuple[bool, str]]]] = {}
    for name, item, linked in _walk(file, path):
        entry = found.setdefault(_identity(item), (item, []))
        entry[1].append((linked, name))
    return [Found(item, tuple(name for _, name in sorted(names))) for item, names in found.values()]


def named(file: h5py.File, name: str, path: Path) -> Any:
    """Return what a name leads to.

    Raises
    ------
    KeyError
        If there is no such name.
    InputNotFound, InputError
        If it is a link that leads nowhere.
    """
    try:
        return file[name]
    except (KeyError, ValueError, OSError):
        steps = [s for s in name.split("/") if s]
        for i in range(1, len(steps) + 1):
            _check_link(file, "/" + "/".join(steps[:i]), path)
        raise KeyError(name) from None


def _check_link(file: h5py.File, name: str, path: Path) -> None:
    """Refuse a link that leads nowhere."""
    with suppress(KeyError, ValueError, OSError):
        file[name]
        return
    try:
        link = file.get(name, getlink=True)
    except (KeyError, ValueError, OSError):
        return
    if isinstance(link, h5py.SoftLink):
        raise InputError(f"{path}:{name} is a link to {link.path}, which is not in the file") from None
    if isinstance(link, h5py.ExternalLink):
        text = f"{path}:{name} is a link to {link.path} of {link.filename}, which"
        target = Path(file.filename).absolute().parent / link.filename
        if not target.exists():
            raise InputNotFound(f"{text} is missing (looked for {target})") from None
        raise InputError(f"{text} has no such data or is no HDF5 file") from None


def _walk(file: h5py.File, path: Path) -> Iterator[tuple[str, Any, bool]]:
    """Yield the name, the data set, and whether a link led there, in order of names; no group is entered in itself."""
    pending: list[tuple[str, Any, bool, frozenset[Any]]] = [("", file, False, frozenset())]
    followed = 0
    while pending:
        name, item, linked, above = pending.pop()
        if isinstance(item, h5py.Dataset):
            yield name, item, linked
        elif isinstance(item, h5py.Group) and (identity := _identity(item)) not in above:
            entries = []
            for key in item:
                followed += 1
                if followed > _MAX_LINKS:
                    raise InputError(f"{path}: has over {_MAX_LINKS} links; name the data set by dataset=")
                with suppress(KeyError, ValueError, OSError):  # a link that leads nowhere
                    through = linked or not isinstance(item.get(key, getlink=True), h5py.HardLink)
                    entries.append((f"{name}/{key}", item[key], through, above | {identity}))
            pending += reversed(entries)


def _identity(item: Any) -> tuple[str, int]:
    info = h5py.h5o.get_info(item.id)
    return str(item.file.filename), int(info.addr)


def axis_names(file: h5py.File, found: Found) -> list[tuple[str, ...]]:
    """Return the names of a data set's axes, from everything that states them.

    Dimension labels and scales (netCDF), `axes` of the NXdata groups in which the data set stands or is linked, and its
    own `axes` attribute, as NeXus had it before.
    """
    dataset = found.dataset
    stated = [_labels(dataset), _texts(dataset.attrs.get("axes"))]
    for name in found.names:
        group, _, key = name.rpartition("/")
        parent = file[group or "/"]
        signal = _texts(parent.attrs.get("signal")) or (key,)
        if key in signal or key in _texts(parent.attrs.get("auxiliary_signals")):
            stated.append(_texts(parent.attrs.get("axes")))
    return [names for names in dict.fromkeys(stated) if len(names) == dataset.ndim]


def _labels(dataset: Any) -> tuple[str, ...]:
    names = []
    for dimension in dataset.dims:
        scale = dimension[0].name if len(dimension) else ""
        names.append(str(dimension.label or str(scale).rpartition("/")[2]))
    return tuple(names) if any(names) else ()


def _texts(value: Any) -> tuple[str, ...]:
    if value is None or isinstance(value, h5py.Empty):
        return ()
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return tuple(part.strip() for part in value.strip("[]").replace(",", ":").split(":"))
    return tuple(v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in np.asarray(value).ravel())
