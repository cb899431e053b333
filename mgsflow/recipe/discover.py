"""Finding scans in a folder, and guessing from their names what they are."""

from __future__ import annotations

import fnmatch
import glob
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mgsflow.blocks import Triple
from mgsflow.errors import InputError, InputNotFound, MgsflowError
from mgsflow.readers import FORMATS, open_scan
from mgsflow.regions import find_cylinder_axis
from mgsflow.store.schema import ATTRS, check_name

_DEEPEST = 3  # folders below the one that is looked through
_RAW = (".raw", ".vol")  # endings of raw files that are worth a guess; .dat and .bin may be anything
_DIGITS = re.compile(r"\d+")
_LAST_DIGITS = re.compile(r"\d+(?=\D*$)")
_EDGE = r"(?<![A-Za-z0-9])"
_SEP = r"[_\-. ]*"
#: From the surest to the weakest: the first that is found is taken.
_CYCLES = (
    re.compile(rf"{_EDGE}(?:after{_SEP})?(\d{{1,5}}){_SEP}(?:st|nd|rd|th)?{_SEP}cycles?(?![A-Za-z0-9])", re.I),
    re.compile(rf"{_EDGE}(?:after{_SEP})?(?:cycles?|cyc|cy|c){_SEP}(\d{{1,5}})(?![A-Za-z0-9])", re.I),
    re.compile(rf"{_EDGE}(?:pristine|fresh|uncycled|as{_SEP}prepared)(?![A-Za-z0-9])", re.I),
    re.compile(rf"{_EDGE}(\d{{1,3}})$", re.I),
)
_STATE = re.compile(rf"{_EDGE}(pristine|discharged?|charged?)(?![A-Za-z0-9])", re.I)
#: Words that say nothing about the specimen.
_IDLE = re.compile(
    rf"{_EDGE}(?:scans?|slices?|stacks?|images?|img|im|tiffs?|recon\w*|tomo\w*|data|raw)(?![A-Za-z0-9])", re.I
)
_STATES = {"discharge": "discharged", "charge": "charged"}


@dataclass(frozen=True)
class FoundScan:
    """A scan in a folder, with what could be learnt or guessed of it.

    Parameters
    ----------
    path : str
        File, folder or glob, relative to the folder that was looked through, with ``/``.
    specimen, name : str
        Guessed from the path.
    cycle : int, optional
        Guessed from the path.
    state : str, optional
        ``pristine``, ``charged`` or ``discharged``, if the path says so.
    sure : bool
        Whether the name says that its number is a cycle.
    shape : tuple of int, optional
    dtype : str, optional
    voxel_size : tuple of float, optional
        (z, y, x) in µm, as the files have it.
    cylinder : bool
        Whether it looks like a cylinder in a constant.
    options : tuple of str
        Options that must be given to open it.
    problem : str
        Why it could not be opened, if so.
    """

    path: str
    specimen: str = "specimen"
    name: str = "scan"
    cycle: int | None = None
    state: str | None = None
    sure: bool = True
    shape: Triple | None = None
    dtype: str | None = None
    voxel_size: tuple[float, float, float] | None = None
    cylinder: bool = False
    options: tuple[str, ...] = ()
    problem: str = ""


def discover(folder: str | Path) -> list[FoundScan]:
    """Return the scans in a folder and up to three folders below it.

    A folder of single-page TIFF files is a scan, or several where the files' names follow several patterns; a TIFF file
    of many pages is one, as is every other file that a reader knows. Stores of studies are passed over. A few
    voxels are read, to see whether a scan is a cylinder in a constant.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of FoundScan
        By specimen, then cycle, then path. Files that look like a scan but cannot be opened are among them, with the
        reason.

    Raises
    ------
    InputNotFound
        If there is no such folder.
    InputError
        If it is a file, or holds no scans.
    """
    root = Path(folder)
    if not root.exists():
        raise InputNotFound(f"no folder {root}: check the path")
    if not root.is_dir():
        raise InputError(f"{root} is a file: name the folder that holds the scans")
    found = _guessed(list(_scans(root, root, 0)), root.absolute().name)
    if not found:
        known = ", ".join(p for f in FORMATS for p in f.patterns)
        raise InputError(f"{root} holds no scans: looked for folders of TIFF slices and files like {known}")
    return found


def _scans(root: Path, folder: Path, depth: int) -> Iterator[FoundScan]:
    try:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError:
        return
    yield from _stacks(root, folder, [p for p in entries if _is("tiff", p)])
    for path in entries:
        if _is("zarr", path):
            if not _is_study(path):
                yield _open(root, path)
        elif path.is_dir():
            if depth < _DEEPEST:
                yield from _scans(root, path, depth + 1)
        elif _is("raw", path):
            if path.suffix.lower() in _RAW:
                yield FoundScan(path.relative_to(root).as_posix(), options=("shape", "dtype"))
        elif any(f.fits(path) for f in FORMATS if f.name not in ("tiff", "zarr", "raw")):
            yield _open(root, path)


def _is(kind: str, path: Path) -> bool:
    return (kind == "zarr" or not path.is_dir()) and any(f.fits(path) for f in FORMATS if f.name == kind)


def _is_study(path: Path) -> bool:
    try:
        return ATTRS in json.loads((path / "zarr.json").read_bytes()).get("attributes", {})
    except (OSError, ValueError, AttributeError):
        return False


def _stacks(root: Path, folder: Path, files: Sequence[Path]) -> Iterator[FoundScan]:
    """Yield the volumes among TIFF files, and the stacks that single pages make."""
    for alike in _alike(files):
        first = _open(root, alike[0])
        if not first.problem or len(alike) == 1:
            volumes = [first, *(_open(root, path) for path in alike[1:])]
            # a page on its own is no scan: an overview, a colour bar
            yield from (scan for scan in volumes if scan.shape or len(files) == 1)
        elif len(alike) == len(files):
            yield _open(root, folder)
        else:
            # in plain order the first and the last name differ where any two do
            start = _shared(min(path.name for path in alike), max(path.name for path in alike)).rstrip("0123456789")
            yield _open(root, folder, glob.escape(start) + "[0-9]*" + glob.escape(alike[0].suffix))


def _alike(files: Sequence[Path]) -> list[list[Path]]:
    """Return files in groups whose names differ in the last number alone, or, if none do, in any numbers."""
    groups: dict[str, list[Path]] = {}
    for number in (_LAST_DIGITS, _DIGITS):
        groups = {}
        for path in files:
            groups.setdefault(number.sub("#", path.name), []).append(path)
        if any(len(group) > 1 for group in groups.values()):
            break
    return list(groups.values())


def _shared(first: str, last: str) -> str:
    end = next((i for i, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last)))
    return first[:end]


def _open(root: Path, path: Path, pattern: str = "") -> FoundScan:
    """Return what a file, a folder, or the files in a folder that match a pattern say of themselves."""
    place = path.relative_to(root)
    if pattern:
        path, place = Path(glob.escape(str(path))) / pattern, Path(glob.escape(str(place))) / pattern
    found = FoundScan(place.as_posix())
    try:
        scan = open_scan(path)
        cylinder = find_cylinder_axis(scan) is not None
    except MgsflowError as error:
        return replace(found, problem=" ".join(str(error).split()))
    return replace(found, shape=scan.shape, dtype=scan.dtype.name, voxel_size=scan.voxel_size, cylinder=cylinder)


def _guessed(found: Sequence[FoundScan], fallback: str) -> list[FoundScan]:
    """Return scans with specimen, name, cycle and state guessed from their paths."""
    guessed: list[FoundScan] = []
    lead = _common_folders([scan.path for scan in found])
    for scan in found:
        parts = [words for part in scan.path.split("/")[lead:] if (words := _words(part))] or [fallback]
        # the last part may tell all; if not, the folders that it is in help
        for n in range(1, len(parts) + 1):
            words = "_".join(parts[-n:])
            rest, cycle, state, sure = _read_name(words)
            if _clean(rest) and cycle is not None:
                break
        specimen = _clean(rest) or _clean(_read_name(fallback)[0]) or "specimen"
        name = _clean(words) or "scan"
        if cycle is not None:
            name = "pristine" if cycle == 0 else f"cycle_{cycle}"
            if cycle and state in ("charged", "discharged"):
                name += f"_{state}"
        guessed.append(replace(scan, specimen=specimen, name=name, cycle=cycle, state=state, sure=sure))
    guessed.sort(key=lambda s: (s.specimen, s.cycle is None, s.cycle or 0, s.state or "", s.path))
    return _numbered(guessed)


def _words(part: str) -> str:
    """Return what a part of a path says: no ending, nothing of a pattern."""
    kinds = (pattern for kind in FORMATS for pattern in kind.patterns)
    if any(fnmatch.fnmatchcase(part.lower(), pattern) for pattern in kinds):
        part = Path(part).stem
    return re.sub(r"\[[^]]*\]|\*", "", part).strip("_-. ")


def _common_folders(paths: Sequence[str]) -> int:
    """Return how many leading folders all paths share, apart from the last part of each."""
    parts = [path.split("/")[:-1] for path in paths]
    shared = 0
    for level in zip(*parts):
        if len(set(level)) > 1 or len(paths) == 1:
            break
        shared += 1
    return shared


def _read_name(words: str) -> tuple[str, int | None, str | None, bool]:
    """Return what is left of a name without cycle and state, these two, and whether the cycle is sure."""
    state, cycle, sure, rest = None, None, True, words
    found = _STATE.search(rest)
    if found:
        state = found[1].lower()
        state = _STATES.get(state, state)
    for pattern in _CYCLES:
        found = pattern.search(rest)
        if found:
            cycle = int(found[1]) if found.groups() else 0
            rest = rest[: found.start()] + "_" + rest[found.end() :]
            sure = pattern is not _CYCLES[-1]
            break
    return _IDLE.sub("_", _STATE.sub("_", rest)), cycle, state, sure


def _clean(words: str) -> str:
    """Return a text as a name that the store takes; empty if nothing is left."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", words).strip("_.-")
    try:
        return check_name("the", name) if name else ""
    except InputError:
        return f"{name}_1"


def _numbered(scans: list[FoundScan]) -> list[FoundScan]:
    """Return scans with a number after names that a specimen has already."""
    taken: set[tuple[str, str]] = set()
    apart = []
    for scan in scans:
        name, n = scan.name, 1
        while (scan.specimen, name) in taken:
            n += 1
            name = f"{scan.name}_{n}"
        taken.add((scan.specimen, name))
        apart.append(replace(scan, name=name))
    return apart
