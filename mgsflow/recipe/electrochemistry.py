"""What a study file says about electrochemistry and other measurements beside the scans.

A field's text is also the documentation of its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, field_validator, model_validator

from mgsflow.recipe.analyses import one_of
from mgsflow.recipe.problems import nearest, problem, shown
from mgsflow.recipe.steps import Section
from mgsflow.recipe.values import LocalPath, Name, each, name, real, said, text, whole

AUTO = "auto"


def _positive(unit: str) -> Any:
    def check(value: Any) -> float:
        number = real(value, unit)
        if number <= 0:
            raise problem(f"must be positive, in {unit}, got {number:g}")
        return number

    return check


def _names(value: Any) -> tuple[str, ...]:
    names = each(value, name, "names") if isinstance(value, (list, tuple)) else (name(value),)
    if not names:
        raise problem("is an empty list: name at least one, or delete the line for all")
    _once(names)
    return names


def _once(names: Iterable[str]) -> None:
    listed = list(names)
    for i, item in enumerate(listed):
        if item in listed[:i]:
            raise problem(f"{item!r} is named twice: delete one", i)


def _thresholds(value: Any) -> tuple[float, ...]:
    """Return grey values; none for ``auto``."""
    if value == AUTO:
        return ()
    if isinstance(value, str):
        raise problem(f"must be {AUTO}, a grey value, or a list of them, got {shown(value)}")
    values = each(value, real, "grey values") if isinstance(value, (list, tuple)) else (real(value),)
    if not values or any(a >= b for a, b in pairwise(values)):
        raise problem(f"must be rising grey values, one fewer than there are phases, got {shown(value)}")
    return values


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Starts = Annotated[str, BeforeValidator(one_of(("charge", "discharge")))]


class Cycling(Section):
    """Galvanostatic cycling of a cell.

    Parameters
    ----------
    name : str
        Name of the cell.
    path : Path
        Neware ``.nda`` or ``.ndax``, Gamry ``.DTA``, or CSV whose header names columns and units, as ``time (s),voltage
        (V),current (mA),cycle``; current is positive in charge.
    mass : float, optional
        Active material in mg: capacities are then given in mAh/g too.
    current : str
        Sign of the current in the file: ``charge-positive`` (default) or ``discharge-positive``.
    starts : str, optional
        Count the cycles anew, each beginning with a ``charge``, or a ``discharge``. Default: as the file counts.
    specimens : tuple of str
        Specimens whose scans are from such a cell. Default: all.
    scans : tuple of str
        Scans that are from this cell, where each is from its own. Default: all.
    """

    name: Name
    path: LocalPath
    mass: Annotated[float, BeforeValidator(_positive("mg"))] | None = None
    current: Annotated[str, BeforeValidator(one_of(("charge-positive", "discharge-positive")))] = "charge-positive"
    starts: Starts | None = None
    specimens: Names = ()
    scans: Names = ()

    def covers(self, specimen: str, scan: str) -> bool:
        """Tell whether a scan is from this cell."""
        return (not self.specimens or specimen in self.specimens) and (not self.scans or scan in self.scans)


class Voltammetry(Section):
    """A cyclic voltammogram.

    Parameters
    ----------
    name : str
        Name of the cell.
    path : Path
        Gamry ``.DTA``, or CSV whose header names columns and units, as ``voltage (V),current (mA),cycle``.
    scan_rate : float, optional
        mV/s; default, what the file states.
    """

    name: Name
    path: LocalPath
    scan_rate: Annotated[float, BeforeValidator(_positive("mV/s"))] | None = None


class Values(Section):
    """Numbers of scans that come from elsewhere, as EDX or XPS.

    Parameters
    ----------
    name : str
        What the numbers are named by in the results: ``EDX`` makes ``edx_sulfur`` of the column ``sulfur [at%]``.
    path : Path
        CSV: a row a scan, with the columns ``scan``, ``specimen`` (where the scan's name does not tell), and numbers
        with their units in brackets. A column ``sulfur uncertainty`` is the standard uncertainty of ``sulfur``.
    """

    name: Name
    path: LocalPath


class Micrograph(Section):
    """An image of a section, as of an electron microscope, whose phases are told by grey value as those of a scan.

    Parameters
    ----------
    name : str
        Name of the image in the report.
    path : Path
        TIFF, PNG, JPEG or BMP; grey.
    phases : tuple of str
        Names of the phases by rising grey value.
    thresholds : tuple of float
        Grey values, one fewer than there are phases; or ``auto``, by Otsu's method.
    bar : int
        Rows at the lower edge that hold the microscope's text and are left out.
    """

    name: Name
    path: LocalPath
    phases: tuple[str, ...] = ("pore", "solid")
    thresholds: Annotated[tuple[float, ...], BeforeValidator(_thresholds)] = ()
    bar: Annotated[int, BeforeValidator(lambda v: whole(v, 0))] = 0

    @field_validator("phases", mode="before")
    @classmethod
    def _phases(cls, value: Any) -> tuple[str, ...]:
        names = each(value, text, "names")
        if not 2 <= len(names) <= 255:
            raise problem(f"must be 2 to 255 names by rising grey value, got {len(names)}")
        _once(names)
        return names

    @model_validator(mode="after")
    def _agree(self) -> Micrograph:
        if self.thresholds and len(self.thresholds) != len(self.phases) - 1:
            raise problem(
                f"{len(self.phases)} phases need {len(self.phases) - 1}, got {len(self.thresholds)}", "thresholds"
            )
        return self


class Electrochemistry(Section):
    """Measurements beside the scans: cycling, voltammetry, values of scans, and micrographs.

    Parameters
    ----------
    cycling : tuple of Cycling
        Their capacities are joined to scans by cycle and state.
    voltammetry : tuple of Voltammetry
        Cyclic voltammograms; their peaks are found.
    values : tuple of Values
        Numbers of scans from elsewhere (EDX, XPS …), joined to ``metrics``.
    images : tuple of Micrograph
        Micrographs of sections, whose porosity stands beside that of the scans.
    """

    cycling: tuple[Cycling, ...] = ()
    voltammetry: tuple[Voltammetry, ...] = ()
    values: tuple[Values, ...] = ()
    images: tuple[Micrograph, ...] = ()

    @field_validator("cycling", "voltammetry", "values", "images", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise problem("must be a list: start each file with '- '")
        return value

    @model_validator(mode="after")
    def _apart(self) -> Electrochemistry:
        for key in type(self).model_fields:
            names = [one.name.lower() for one in getattr(self, key)]
            for i, item in enumerate(names):
                if item in names[:i]:
                    raise problem(f"{getattr(self, key)[i].name!r} is named twice: change one", key, i, "name")
        return self

    def check_scans(self, scans: Mapping[str, Iterable[str]]) -> None:
        """Refuse names of specimens and scans that the study does not have, and cells that cannot be joined to one.

        Parameters
        ----------
        scans : mapping of str to iterable of str
            Names of the scans of each specimen.
        """
        known = {specimen: tuple(names) for specimen, names in scans.items()}
        for i, cell in enumerate(self.cycling):
            for j, item in enumerate(cell.specimens):
                if item not in known:
                    what = f"no specimen is named {shown(item)}: {nearest(item, known)}"
                    raise problem(what, "cycling", i, "specimens", j)
            names = dict.fromkeys(n for s in cell.specimens or known for n in known[s])
            for j, item in enumerate(cell.scans):
                if item not in names:
                    what = f"no scan is named {shown(item)}: {nearest(item, names)}"
                    raise problem(what, "cycling", i, "scans", j)
            for other in self.cycling[:i]:
                both = [n for s, names in known.items() for n in names if cell.covers(s, n) and other.covers(s, n)]
                if both and (cell.mass is None or other.mass is None):
                    what = f"scan {both[0]} is joined to {other.name} too: give `mass` for both, or name their scans"
                    raise problem(what, "cycling", i)

    def to_dict(self, folder: Path) -> dict[str, Any]:
        """Return everything in it as JSON values, paths relative to a folder."""
        plain = self.model_dump(mode="json")
        return {key: [one | {"path": said(one["path"], folder)} for one in entries] for key, entries in plain.items()}
