"""A part of a specimen's section: what stands under one heading."""

from __future__ import annotations

from dataclasses import dataclass

from mgsflow.report.figures.drawing import Drawing
from mgsflow.report.scene.renderings import Rendering
from mgsflow.report.tables import Table


@dataclass(frozen=True)
class Part:
    """What stands under one heading: tables first, then figures, then pictures of three dimensions.

    Parameters
    ----------
    title : str
    tables : tuple of Table
    drawings : tuple of Drawing
    columns : int
        Figures side by side.
    key : tuple of (str, str)
        Names and colours of the lines of all figures.
    caption : str
        Of the figures.
    renderings : tuple of Rendering
    view : str
        Caption of the renderings.
    notes : tuple of str
        What is missing, or did not come to a result.
    """

    title: str
    tables: tuple[Table, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    columns: int = 3
    key: tuple[tuple[str, str], ...] = ()
    caption: str = ""
    renderings: tuple[Rendering, ...] = ()
    view: str = ""
    notes: tuple[str, ...] = ()
