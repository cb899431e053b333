"""Which parts a report has, in their order."""

from __future__ import annotations

from collections.abc import Callable

from mgsflow.report.sections.comparison import comparison_part
from mgsflow.report.sections.composition import axes_table, composition_table, uncertainty_table
from mgsflow.report.sections.electrochemistry import electrochemistry_parts
from mgsflow.report.sections.flux import flux_part
from mgsflow.report.sections.network import network_part
from mgsflow.report.sections.part import Part
from mgsflow.report.sections.representative import representative_part
from mgsflow.report.sections.sensitivity import sensitivity_part
from mgsflow.report.sections.streamlines import streamline_part
from mgsflow.report.state import SpecimenState, StudyState
from mgsflow.report.tables import Table


def opening_tables(state: SpecimenState) -> list[Table]:
    """Return the tables that a reader looks for first: phases with their areas, K along the axes, uncertainties."""
    return [t for t in (composition_table(state), axes_table(state), uncertainty_table(state)) if t is not None]


#: What stands after transport in a specimen's section, in this order: each returns its part, or None where the study
#: has nothing of the kind.
ANALYSES: list[Callable[[SpecimenState], Part | None]] = [
    flux_part,
    streamline_part,
    network_part,
    representative_part,
    sensitivity_part,
    comparison_part,
]


def further_parts(state: SpecimenState) -> list[Part]:
    """Return what stands after transport in a specimen's section."""
    return [p for p in (make(state) for make in ANALYSES) if p is not None]


def study_parts(study: StudyState) -> list[Part]:
    """Return what is of the whole study: its electrochemistry."""
    return electrochemistry_parts(study)
