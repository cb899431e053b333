"""What a study file says about a specimen: its scans, and whether what is asked of them can be done together."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any

from pydantic import field_validator, model_validator

from mgsflow.errors import InputError
from mgsflow.measures import make_measures
from mgsflow.recipe.problems import nearest, problem, shown
from mgsflow.recipe.processing import MOST_PHASES, Processing
from mgsflow.recipe.region import OUTSIDE, RegionOfScan
from mgsflow.recipe.scan import ScanRecipe
from mgsflow.recipe.values import check_unique


class SpecimenRecipe(Processing):
    """Scans that share a voxel size, and what is done with them.

    Parameters
    ----------
    scans : tuple of ScanRecipe
        At least one; each with its own name.
    """

    scans: tuple[ScanRecipe, ...]

    @field_validator("scans", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if value == []:
            raise problem("is empty: list at least one scan, as `- {name: pristine, path: scans/pristine, cycle: 0}`")
        if not isinstance(value, (list, tuple)):
            raise problem("must be a list: start each scan with '- '")
        return value

    @field_validator("scans", mode="after")
    @classmethod
    def _apart(cls, scans: tuple[ScanRecipe, ...]) -> tuple[ScanRecipe, ...]:
        check_unique([s.name for s in scans], "a scan", "name")
        for i, scan in enumerate(scans):
            for other in scans[:i]:
                if (scan.path, scan.options) == (other.path, other.options):
                    raise problem(f"is the path of scan {other.name} too: one of them is wrong", i, "path")
        return scans

    @model_validator(mode="after")
    def _agree(self) -> SpecimenRecipe:
        if self.segment:
            if not self.phases:
                raise problem("names of the phases are needed for `segment`: add `phases: [pore, ...]`, label 0 first")
            given, wanted = self.segment.thresholds, len(self.phases) - 1
            if given is not None and len(given) != wanted:
                raise problem(
                    f"{_count(len(self.phases), 'phase')} ({shown(', '.join(self.phases))}) need "
                    f"{_count(wanted, 'threshold')}, got {len(given)}",
                    "segment",
                    "thresholds",
                )
            try:
                edges = self.voxel_size or (1.0, 1.0, 1.0)
                make_measures(self.measures, len(self.phases), edges, self.has_outside)
            except InputError as error:
                raise problem(f"{error}; ask for fewer measures", "measures") from None
        self._named_phases()
        self._within_regions()
        if self.normalise and self.normalise.reference is not None:
            names = [s.name for s in self.scans]
            if self.normalise.reference not in names:
                hint = nearest(self.normalise.reference, names)
                raise problem(f"no scan is named {self.normalise.reference!r}: {hint}", "normalise", "reference")
        return self

    def region_of(self, scan: ScanRecipe) -> RegionOfScan | None:
        """Return the region of a scan: its own, or that of the specimen."""
        return scan.region if scan.region is not None else self.region

    @property
    def has_outside(self) -> bool:
        """Whether the phase images have a label for what is outside, one more than there are phases."""
        return any(region is not None and region.labelled for region in map(self.region_of, self.scans))

    def _within_regions(self) -> None:
        """Refuse what there is not within a region of any shape."""
        if not self.has_outside:
            return
        if OUTSIDE in self.phases:
            raise problem(f"{OUTSIDE!r} is what is outside the region: give the phase another name", "phases")
        if len(self.phases) >= MOST_PHASES:
            raise problem(f"must be fewer than {MOST_PHASES} names with a region, which takes a label", "phases")
        regions = [region for region in map(self.region_of, self.scans) if region is not None]
        for region in regions:
            for phase in region.exclude:
                if phase not in self.phases:
                    hint = nearest(phase, self.phases)
                    raise problem(f"no phase is named {shown(phase)}: {hint}", "region", "exclude")
                for section, key, phases in self._analysed():
                    if phase in phases:
                        raise problem(f"{shown(phase)} does not count: the region excludes it", section, key)
            if set(region.exclude) >= set(self.phases):
                raise problem("leaves no phase that counts", "region", "exclude")
        if "volume" not in self.measures and self.segment:
            raise problem("must have `volume`, which tells how much of a scan is inside its region", "measures")
        transport = [s for s in ("tortuosity", "permeability") if getattr(self, s) is not None]
        if transport and "profile" not in self.measures:
            what = "must have `profile`, which tells whether the region changes along the axis of transport"
            raise problem(what, "measures")
        if not any(region.shaped for region in regions):
            return
        for section in ("particles", "thickness", "network", "rve", "sensitivity"):
            if getattr(self, section) is not None:
                raise problem(
                    "is not measured within a cylinder or mask, which cut what they pass through: add `box: inscribed` "
                    "to the region, or leave this out",
                    section,
                )
        if self.correct.drift is not None:
            raise problem(
                "is not made within a cylinder or mask: add `box: inscribed` to the region", "correct", "drift"
            )

    def _named_phases(self) -> None:
        """Refuse analyses of phases that there are not."""
        for section, key, phases in self._analysed():
            if self.segment is None:
                raise problem("needs phases: add `segment`, or delete this section", section)
            for phase in phases:
                if phase not in self.phases:
                    raise problem(f"no phase is named {shown(phase)}: {nearest(phase, self.phases)}", section, key)
        if self.sensitivity is not None and self.sensitivity.phase == self.phases[-1]:
            raise problem(
                f"is the brightest phase, which has no threshold above it: name {self.phases[-2]}",
                "sensitivity",
                "phase",
            )
        self._ordered_thresholds()
        for section, study in (("rve", self.rve), ("sensitivity", self.sensitivity)):
            for solve in () if study is None else study.solve:
                if getattr(self, solve) is None:
                    raise problem(
                        f"needs the section `{solve}`, for phases and axes: add it, or leave {solve} out",
                        section,
                        "solve",
                    )

    def _analysed(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return the sections of analyses that there are, with the key that names phases, and these."""
        wanted: list[tuple[str, str, tuple[str, ...]]] = []
        if self.particles is not None:
            wanted.append(("particles", "phase", (self.particles.phase,)))
        if self.thickness is not None:
            wanted.append(("thickness", "phases", self.thickness.phases))
        if self.tortuosity is not None:
            wanted.append(("tortuosity", "phases", self.tortuosity.phases))
        if self.permeability is not None:
            wanted.append(("permeability", "phase", self.permeability.phase))
        if self.network is not None:
            wanted.append(("network", "phase", (self.network.phase,)))
        if self.rve is not None:
            wanted.append(("rve", "sizes", ()))
        if self.sensitivity is not None:
            wanted.append(("sensitivity", "phase", (self.sensitivity.phase,)))
        return wanted

    def _ordered_thresholds(self) -> None:
        """Refuse thresholds of a study that would change places with one in use."""
        if self.sensitivity is None or self.segment is None or self.segment.thresholds is None:
            return
        at, used = self.phases.index(self.sensitivity.phase), (-inf, *self.segment.thresholds, inf)
        low, high = used[at], used[at + 2]
        for i, value in enumerate(self.sensitivity.values):
            if not low < value < high:
                ends = [f"{word} {t:g}" for word, t in (("above", low), ("below", high)) if isfinite(t)]
                what = f"must lie {' and '.join(ends)}, the next threshold, got {value:g}"
                raise problem(what, "sensitivity", "values", i)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
