"""Lines of text files that instruments write: in the encoding of their computer, perhaps damaged, perhaps no text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mgsflow.errors import InputError
from mgsflow.readers.files import file_size, reading

_LONGEST = 1 << 16  # characters of a line


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers, from 1, without their ends.

    Raises
    ------
    InputError, InputNotFound
        If it cannot be read, is empty, or is no text.
    """
    file_size(path)
    number = 0
    with reading(path), path.open(encoding=_encoding(path), errors="replace") as file:
        while line := file.readline(_LONGEST):
            number += 1
            # without line ends it is no table, and must not be read into memory whole
            if len(line) == _LONGEST or "\0" in line:
                raise InputError(f"{path}:{number}: is no text of lines: export it as text in UTF-8")
            yield number, line.rstrip("\n")


def _encoding(path: Path) -> str:
    """Return UTF-8, or that of Windows programs if the beginning is not UTF-8."""
    with path.open("rb") as file:
        start = file.read(_LONGEST)
    try:
        start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # not a character that is cut in two
            return "cp1252"
    return "utf-8-sig"
