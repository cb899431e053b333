"""TIFF: a folder or glob of slices, or one file of many pages (BigTIFF, ImageJ and OME-TIFF among them)."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tifffile

from mgsflow.errors import InputError, InputNotFound
from mgsflow.readers.files import file_size, reading, trusting
from mgsflow.readers.numbering import ordered_slices
from mgsflow.readers.remote import RemotePath
from mgsflow.readers.tiff.page import Page, describe, directories, open_tiff_file
from mgsflow.readers.tiff.source import TiffSource, assemble, concatenated
from mgsflow.readers.tiff.voxel_size import voxel_size

PATTERNS = ("*.tif", "*.tiff", "*.btf", "*.tf8", "*.tf2")
_SUFFIXES = tuple(pattern[1:] for pattern in PATTERNS)
_COLOURS = 4
_IMAGES = (".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".gif", ".dcm", ".webp")


def is_tiff(name: str) -> bool:
    """Tell whether a file name is that of a TIFF file."""
    return name.lower().endswith(_SUFFIXES) and not name.startswith(".")


def open_tiff(path: Path, *, check_numbering: bool = True) -> TiffSource:
    """Open a folder, a glob, or a file of TIFF slices.

    Every slice's directory is read and checked against its file; no voxels are.

    Parameters
    ----------
    path : Path
        In a folder, hidden files and files of other kinds are left aside.
    check_numbering : bool
        Whether slices must be named alike and numbered without gaps. If not, they are taken in natural order.

    Raises
    ------
    InputNotFound
        If there is no such file or folder, or nothing matches a glob.
    InputError
        If files are empty, truncated, not grey images, differ in size or type, or a number is missing; the message
        names the file.
    """
    if path.is_dir():
        return _open_names(path, _folder(path), check_numbering)
    if not path.exists() and glob.has_magic(str(path)):
        found = _matches(path)
        if not found:
            raise InputNotFound(f"{path}: matches no file; check the folder and the pattern")
        return _open_names(path, found, check_numbering)
    return _open_multipage(path)


def _matches(pattern: Path) -> list[Path]:
    if isinstance(pattern, RemotePath):
        return list(pattern.matches())
    return [Path(name) for name in glob.glob(str(pattern)) if Path(name).is_file()]


def _folder(folder: Path) -> list[Path]:
    with reading(folder):
        files = [p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file()]
    slices = [p for p in files if is_tiff(p.name)]
    if slices:
        return slices
    others = [p.name for p in files if p.suffix.lower() in _IMAGES]
    if others:
        raise InputError(
            f"{folder}: holds {len(others)} images such as {min(others)} but no TIFF; convert them without loss"
        )
    if files:
        raise InputError(
            f"{folder}: holds no TIFF slices ({', '.join(_SUFFIXES)}), but {len(files)} other files such as "
            f"{min(p.name for p in files)}; if that is the scan, name the file"
        )
    raise InputError(f"{folder}: the folder is empty")


def _open_names(where: Path, paths: Sequence[Path], check_numbering: bool) -> TiffSource:
    if len(paths) == 1:
        return _open_multipage(paths[0].absolute())
    by_name = {str(p): p for p in paths}
    foreign = next((name for name, p in sorted(by_name.items()) if not is_tiff(p.name)), None)
    if foreign:
        raise InputError(f"{where}: matches {foreign}, which is not a TIFF file; narrow the pattern")
    names = ordered_slices(list(by_name), str(where), numbered=check_numbering)
    files = [by_name[name].absolute() for name in names]
    if len(directories(files[0], file_size(files[0]))) > 1:
        return _parts(files, where)
    return _one_each(files, where)


def _parts(files: Sequence[Path], where: Path) -> TiffSource:
    """Open files of many pages each as one volume, as ImageJ and Micro-Manager split large ones."""
    sources = []
    for path in files:
        # the last part may be of one page
        one = path == files[-1] and len(directories(path, file_size(path))) == 1
        sources.append(open_slice(path) if one else _open_multipage(path))
        if sources[-1].files != (path,):
            raise InputError(f"{path}: names other files as its parts; name this file alone to read all of them")
    return concatenated(sources, where)


def open_slice(path: Path) -> TiffSource:
    """Open a TIFF file of a single grey image, as a volume of one slice; errors as `open_tiff`."""
    return _one_each([path.absolute()], path)


def _one_each(files: Sequence[Path], where: Path) -> TiffSource:
    pages, held, scale = [], 0, None
    for number, path in enumerate(files):
        size = file_size(path)
        found = directories(path, size)
        if len(found) != 1:
            raise InputError(
                f"{path}: has {len(found)} pages, but is one of {len(files)} files that should be a slice each; "
                "name the file alone to read it as a volume"
                if len(files) > 1
                else f"{path}: has {len(found)} pages, where a single image is wanted"
            )
        with open_tiff_file(path) as tif, trusting(str(path), "its header"):
            pages.append((number, describe(tif, found[0], size, str(path))))
            if number == 0:
                scale = voxel_size(tif)
        held += size
    return assemble(files, pages, held, scale, str(where))


def _open_multipage(path: Path) -> TiffSource:
    path = path.absolute()
    size = file_size(path)
    chain = directories(path, size)
    with open_tiff_file(path) as tif, trusting(str(path), "its header"):
        first = describe(tif, chain[0], size, f"{path}: page 0")
        series = _series(tif, path)
        scale = voxel_size(tif)
        depth = _depth(tif, series, len(chain), path)
        flat = _flat(series, first, depth, size, path)
        if flat is not None:
            return assemble([path], [(0, page) for page in flat], size, scale, str(path))
        places = _places(series, depth, chain, path)
    files = list(dict.fromkeys([path, *(p for p, _ in places)]))
    sizes = {p: file_size(p) for p in files}
    pages: list[tuple[int, Page] | None] = [None] * len(places)
    for number, file in enumerate(files):
        with open_tiff_file(file) as tif:
            for z, (place, ifd) in enumerate(places):
                if place == file:
                    pages[z] = (number, describe(tif, ifd, sizes[file], f"{file}: slice {z}"))
    return assemble(files, [page for page in pages if page is not None], sum(sizes.values()), scale, str(path))


def _series(tif: tifffile.TiffFile, path: Path) -> Any:
    with trusting(str(path), "its list of pages"):
        series = tif.series
    if not series:
        raise InputError(f"{path}: holds no image")
    if len(series) > 1 and series[0].kind not in ("generic", "uniform"):
        shapes = ", ".join(str(s.shape) for s in series)
        raise InputError(
            f"{path}: holds {len(series)} images ({shapes}); export the one to be read to a file of its own"
        )
    return series[0]


def _depth(tif: tifffile.TiffFile, series: Any, pages: int, path: Path) -> int:
    """Return the number of slices that the file says it has."""
    if series.kind in ("generic", "uniform"):
        said = (tif.imagej_metadata or {}).get("images", 1) if tif.is_imagej else 1
        if isinstance(said, int) and said > pages:
            raise InputError(f"{path}: truncated: its ImageJ header says {said} images, the file holds {pages}")
        axes, lengths = "I", [pages]
    else:
        axes = series.axes[:-2] if series.axes.endswith("YX") else series.axes
        lengths = list(series.shape[: len(axes)])
    stack = [(a, n) for a, n in zip(axes, lengths) if n != 1]
    if not stack:
        raise InputError(
            f"{path}: holds a single image of {series.shape[-2]} × {series.shape[-1]}, not a volume; name the folder "
            "of its slices, or a glob such as 'folder/slice_*.tif'"
        )
    # Libraries call a stack whose axes they were not told channels: a single axis is taken for z, unless it is so short
    # that it may well be colours.
    if len(stack) > 1 or stack[0][0] == "S" or (stack[0][0] == "C" and stack[0][1] <= _COLOURS):
        said = ", ".join(f"{a}={n}" for a, n in zip(series.axes, series.shape))
        raise InputError(
            f"{path}: has axes {said}; a scan has one grey value at each z, y, x: export one channel and time"
        )
    return int(stack[0][1])


def _flat(series: Any, first: Page, depth: int, size: int, path: Path) -> list[Page] | None:
    """Return the slices of a series that lies in the file as one array, or None.

    ImageJ writes only one directory for what is larger than 4 GiB, and tifffile for what it calls shaped.
    """
    if series.kind not in ("imagej", "shaped") or first.offset < 0 or series.dataoffset is None:
        return None
    step = first.shape[0] * first.shape[1] * first.stored.itemsize
    end = int(series.dataoffset) + depth * step
    if end > size:
        raise InputError(f"{path}: truncated: {depth} slices of {step} bytes end at byte {end}, the file at {size}")
    return [replace(first, offset=int(series.dataoffset) + z * step) for z in range(depth)]


def _places(series: Any, depth: int, chain: Sequence[int], path: Path) -> list[tuple[Path, int]]:
    """Return file and directory of each slice."""
    if series.kind != "ome":
        if depth != len(chain):
            raise InputError(f"{path}: truncated: its header says {depth} slices, the file holds {len(chain)} pages")
        return [(path, ifd) for ifd in chain]
    places = []
    for z in range(depth):
        try:
            page = series[z]
        except IndexError:
            page = None
        if page is None:
            raise InputError(
                f"{path}: slice {z} of {depth} that its OME header names is in another file, now missing, or cut off"
            )
        file = path if isinstance(path, RemotePath) else Path(page.parent.filehandle.path).absolute()
        places.append((file, int(page.offset)))
    return places
