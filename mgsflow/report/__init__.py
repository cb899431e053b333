"""The report of a study: one HTML file with what was done, how far it is, slices, numbers and figures.

`write_report` makes it from a store alone, finished or not; `fraction_table` gives the volume fractions as plain rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mgsflow.report.tables import FractionRow, fraction_table

if TYPE_CHECKING:
    from mgsflow.report.page import write_report

__all__ = ["FractionRow", "fraction_table", "write_report"]


def __getattr__(name: str) -> Any:
    # matplotlib takes its time to load, and tables do without it
    if name == "write_report":
        from mgsflow.report.page import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
