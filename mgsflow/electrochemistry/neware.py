"""Neware cycler files (.nda, .ndax), by the library NewareNDA: ``pip install mgsflow[echem]``.

The instrument counts capacity anew in every step. Its current is positive in charge; its time runs on through the test
in .nda files, and from the beginning of each step in .ndax files.
"""

from __future__ import annotations

import logging
import warnings
import zipfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.electrochemistry.rows import CyclingRows, count_cycles, counted, from_one, integrated
from mgsflow.errors import InputError
from mgsflow.readers.files import file_size, reading, trusting

SUFFIXES = (".nda", ".ndax")
_COLUMNS = ("Voltage", "Time", "Current(mA)", "Charge_Capacity(mAh)", "Discharge_Capacity(mAh)", "Step", "Cycle")
_MOST_BYTES = 4 << 30  # of an archive, unpacked


def read_neware(path: Path, starts: str | None = None) -> CyclingRows:
    """Return the rows of a Neware file.

    Parameters
    ----------
    path : Path
    starts : {"charge", "discharge"}, optional
        Count the cycles anew, from each charge, or each discharge, on. Default: the numbers in the file, which are
        those that Neware's own software (BTSDA) shows.

    Raises
    ------
    InputError, InputNotFound
        If NewareNDA is not installed, or the file is not a Neware file that it can read.
    """
    frame = _read(path)
    with trusting(str(path), "the Neware file"):
        voltage, time, current, charge, discharge, step, cycle = (frame[c].to_numpy() for c in _COLUMNS)
        values = [np.asarray(v, np.float64) for v in (voltage, time, current, charge, discharge)]
        if not voltage.size or not all(np.isfinite(v).all() for v in values):
            raise InputError(f"{path}: the Neware file is damaged: it has no rows, or rows without numbers")
        passed = [counted(c, step) for c in (charge, discharge)]
        by_current = integrated(values[1], values[2], step)
        rows = CyclingRows(values[0], passed[0], passed[1], from_one(cycle.astype(np.int64)), by_current)
    if starts is None:
        return rows
    return replace(rows, cycle=count_cycles(rows.direction, starts))


def _read(path: Path) -> Any:
    file_size(path)
    try:
        library = import_module("NewareNDA.NewareNDA")  # its `read` goes by the case of the suffix
    except ImportError:
        raise InputError(
            f"{path}: Neware files need the package NewareNDA: pip install 'mgsflow[echem]', or export it as CSV"
        ) from None
    archive = path.suffix.lower() == ".ndax"
    if archive:
        _check_archive(path)
    logging.getLogger("newarenda").setLevel(logging.CRITICAL)  # what it logs, it raises
    with trusting(str(path), "the Neware file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pandas, to the library
        try:
            return (library.read_ndax if archive else library.read_nda)(str(path), False)
        except IndexError as error:
            if "cannot enlarge" not in str(error):
                raise
            raise InputError(f"{path}: the Neware file has no rows: nothing was recorded") from None
        except NotImplementedError as error:
            raise InputError(f"{path}: cannot be read by NewareNDA ({error}): export it as CSV") from None


def _check_archive(path: Path) -> None:
    """Refuse an archive that is none, or that would fill the disk."""
    with reading(path):
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(i.file_size for i in archive.infolist())
        except zipfile.BadZipFile:
            raise InputError(f"{path}: the Neware file is damaged: it is no zip archive") from None
    if size > _MOST_BYTES:
        raise InputError(f"{path}: is {size / 2**30:.1f} GiB unpacked, more than any Neware file")
