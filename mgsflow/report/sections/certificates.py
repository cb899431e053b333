"""What certifies the numbers of a study, in a few lines: how many solves converged, how well, and what did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import xarray as xr

from mgsflow.report.numbers import listing
from mgsflow.report.sections.transport import CONVERGED, PermeabilityRow, TortuosityRow, permeabilities, tortuosities
from mgsflow.report.state import SpecimenState, StudyState

#: Share of the percolating pores in narrow throats from which the error of the voxels is said.
NARROW = 0.3
#: How a solve may end with a result that is no number.
RESULTS = ("not percolating", "nothing conducts", "no pores", "no walls")
_MANY = 6


def certificates(study: StudyState) -> list[str]:
    """Return a line for each kind of solve of each specimen."""
    return [line for state in study.specimens for line in _of(state)]


def cautions(state: SpecimenState) -> list[str]:
    """Return what a reader must know before using the numbers: solves without one, and voxels too coarse for one."""
    said = []
    for what, rows in (("τ", tortuosities(state)), ("K", permeabilities(state))):
        for status in dict.fromkeys(r.status for r in rows):
            if status not in (CONVERGED, *RESULTS, ""):
                places = [_place(r) for r in rows if r.status == status]
                said.append(f"{state.name}: no {what} of {_named(places)}: {status}.")
    narrow = [f"{r.scan} {r.axis}" for r in permeabilities(state) if r.narrow is not None and r.narrow > NARROW]
    if narrow:
        said.append(
            f"{state.name}: over {100 * NARROW:g} % of the percolating pores of {_named(narrow)} are in throats under "
            "4 voxels: voxels are coarse for this flow, and K may be 20 % too large or more."
        )
    inertial = [f"{r.scan} {r.axis}" for r in permeabilities(state) if r.inertial]
    if inertial:
        said.append(
            f"{state.name}: at the pressures of the study, the flow of {_named(inertial)} is too fast for Stokes "
            "flow; K holds, flow rates are upper bounds."
        )
    return said


def _of(state: SpecimenState) -> list[str]:
    said = []
    solved = tortuosities(state)
    if solved:
        said.append(_line(state, "diffusion", [r.status for r in solved], [r.error for r in solved], "D_eff"))
        said += _without(state, solved)
    flows = permeabilities(state)
    if flows:
        said.append(_line(state, "flow", [r.status for r in flows], [r.error for r in flows], "K"))
        said += _without(state, flows)
    for group, dim, what in (("rve", "size", "windows"), ("sensitivity", "threshold", "thresholds")):
        data = state.study(group)
        if data is None or dim not in data.dims:
            continue
        for name in (str(n) for n in data.data_vars if str(n).endswith("_status") and dim in data[n].dims):
            texts = _texts(data[name])
            if texts:
                kind = name.removesuffix("_status")
                said.append(_line(state, f"{kind} of {what}", texts, [], ""))
    return said


def _line(state: SpecimenState, what: str, statuses: Sequence[str], errors: Sequence[float | None], of: str) -> str:
    counts = Counter(statuses)
    good = counts.pop(CONVERGED, 0)
    text = f"{state.name}, {what}: {good} of {len(statuses)} solves converged"
    known = [e for e in errors if e is not None]
    if known:
        text += f", estimated error of {of} at most {100 * max(known):.2g} %"
    if counts:
        text += f"; {listing([f'{n} {s}' for s, n in sorted(counts.items())])}"
    return text + "."


def _without(state: SpecimenState, rows: Sequence[TortuosityRow] | Sequence[PermeabilityRow]) -> list[str]:
    """Return where nothing percolates."""
    places = [_place(r) for r in rows if r.status in RESULTS]
    return [f"{state.name}, {_named(places)}: nothing percolates, which is a result."] if places else []


def _place(row: TortuosityRow | PermeabilityRow) -> str:
    return " ".join([row.scan, *([row.phase] if isinstance(row, TortuosityRow) else []), row.axis])


def _texts(values: xr.DataArray) -> list[str]:
    return [t for t in np.asarray(values.values, dtype=object).ravel().tolist() if isinstance(t, str) and t]


def _named(names: Sequence[str], most: int = _MANY) -> str:
    return listing(list(names) if len(names) <= most else [*names[:most], f"{len(names) - most} more"])
