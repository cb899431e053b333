"""What was done, in sentences with every parameter, from the study file of the last run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgsflow.report.numbers import listing, plain, voxel
from mgsflow.report.sections.analyses import analysis_sentences
from mgsflow.report.sections.study_methods import study_sentences
from mgsflow.report.state import SpecimenState, StudyState

_FILTERS = {
    "unsharp_mask": "an unsharp mask",
    "gaussian": "a Gaussian",
    "median": "a median",
    "non_local_means": "non-local means",
    "total_variation": "total variation denoising",
}


def methods(study: StudyState) -> list[str]:
    """Return a paragraph for each specimen, and one on how the work was cut."""
    paragraphs = [_specimen(state) for state in study.specimens if state.recipe]
    block = study.recipe.get("block")
    if block:
        cut = " × ".join(str(b) for b in block) if len(set(block)) > 1 else f"{block[0]}³"
        paragraphs.append(
            f"Scans were worked on in blocks of {cut} voxels, each read with the margin that its filters reach; "
            "numbers do not depend on the blocks."
        )
    return paragraphs


def _specimen(state: SpecimenState) -> str:
    recipe, attrs = state.recipe, state.specimen.attributes
    count = len(recipe.get("scans", []))
    said = [
        f"{state.name[:1].upper()}{state.name[1:]}: {count} {'scan' if count == 1 else 'scans'}, "
        f"voxels of {voxel(state.specimen.voxel_size)} µm (z, y, x)."
    ]
    regions = attrs.get("regions") or {}
    if regions:
        said.append(f"What counts is a region: {'; '.join(f'{scan}: {text}' for scan, text in regions.items())}.")
    drift = (recipe.get("correct") or {}).get("drift")
    if drift:
        said.append(_drift(drift))
    if recipe.get("normalise"):
        said.append(_normalise(recipe["normalise"]))
    fits = _fits(attrs.get("fits") or {})
    if fits and (drift or recipe.get("normalise")):
        said.append(fits)
    filters = [_filter(entry) for entry in recipe.get("filter") or []]
    if filters:
        said.append(f"Grey images were filtered, in this order, by {listing(filters)}.")
    else:
        said.append("Grey images were not filtered.")
    segment = recipe.get("segment")
    if not segment:
        said.append("They were not segmented.")
        return " ".join(said)
    said.append(_segment(state, segment))
    measures = recipe.get("measures") or []
    further = [*analysis_sentences(recipe), *study_sentences(recipe)]
    if measures:
        said.append(f"The following were measured: {listing(measures)}.")
    elif not further:
        said.append("Nothing was measured of the phases.")
    return " ".join([*said, *further])


def _drift(drift: Mapping[str, Any]) -> str:
    smooth = drift.get("smooth")
    how = f"to a Gaussian course of σ = {plain(smooth)} slices" if smooth else "to one mean of all slices"
    anchor = f", about the grey value {plain(drift['anchor'])}" if drift.get("anchor") is not None else ""
    return f"Brightness of slices along z was corrected {how}{anchor}."


def _normalise(normalise: Mapping[str, Any]) -> str:
    if normalise.get("reference"):
        onto = f"those of scan {normalise['reference']}"
    else:
        onto = f"the grey values {listing([plain(v) for v in normalise.get('target') or ()])}"
    ranges = [
        f"the {which} peak between {plain(r[0])} and {plain(r[1])}"
        for which in ("low", "high")
        if (r := normalise.get(which))
    ]
    sought = f", looking for {listing(ranges)}" if ranges else ", the two most prominent peaks of each histogram"
    return f"Scans were put on one grey scale by two landmarks, brought to {onto}{sought}."


def _fits(fits: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for scan, one in fits.items():
        values = []
        if "gain" in one:
            values.append(f"gain {one['gain']:.4f}, offset {plain(round(float(one['offset']), 2))}")
        if "drift_range" in one:
            low, high = one["drift_range"]
            values.append(f"slice gains {low:.4f} to {high:.4f}")
        if values:
            parts.append(f"{scan} {', '.join(values)}")
    return f"The following were fitted: {'; '.join(parts)}." if parts else ""


def _filter(entry: Any) -> str:
    name, parameters = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
    label = _FILTERS.get(name, name.replace("_", " "))
    given = ", ".join(f"{k} = {_value(v)}" for k, v in (parameters or {}).items())
    return f"{label} ({given})" if given else label


def _segment(state: SpecimenState, segment: Mapping[str, Any]) -> str:
    values = [plain(v) for v in state.thresholds]
    phases = listing(list(state.specimen.phases))
    if segment.get("thresholds"):
        how = (
            f"at the given grey values {listing(values)}" if len(values) > 1 else f"at the given grey value {values[0]}"
        )
    elif values:
        frozen = state.specimen.attributes.get("thresholds") or {}
        fitted = listing(list(frozen.get("fitted_to") or [])) or "the scans"
        how = (
            f"at the grey {'values' if len(values) > 1 else 'value'} {listing(values)}, fitted by multi-Otsu to the "
            f"pooled histogram of {fitted} and kept since"
        )
    else:
        how = "at grey values to be fitted by multi-Otsu, which are not there yet"
    text = f"Voxels were assigned to {phases} {how}; a voxel at a threshold belongs to the upper phase."
    radius = segment.get("majority") or 0
    if radius:
        text += f" Specks were removed by a majority filter of radius {radius} {'voxel' if radius == 1 else 'voxels'}."
    return text


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return " × ".join(map(str, value)) if isinstance(value, list) else str(value)
    return plain(value)
