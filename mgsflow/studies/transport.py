"""Transport through windows and thresholded images at hand: what is solved, and what of it a study compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mgsflow.errors import InputError

_DIFFUSION = {
    "tortuosity_factor": ("1", "tortuosity factor, with the whole fraction of the phase"),
    "effective_diffusivity": ("1", "effective diffusivity over that in the phase"),
    "percolating_fraction": ("1", "share of the phase that percolates"),
}
_FLOW = {
    "permeability": ("µm²", "permeability"),
    "percolating_porosity": ("1", "open pores that percolate, per volume"),
}

Numbers = tuple[Mapping[str, int], Mapping[str, tuple[str, str]], dict[str, float | str]]
"""Position along each dimension, units and descriptions, and what was found."""


@dataclass(frozen=True)
class Transport:
    """What is solved on an array: diffusion through each of some phases, flow through some together.

    Parameters
    ----------
    tortuosity : tuple of int
        Labels through which diffusion is solved, each by itself.
    permeability : tuple of int
        Labels that are open to flow, taken together; none for no flow.
    axes : str
        Directions, of ``"zyx"``.
    rtol : float
        Relative error that is asked for.
    """

    tortuosity: tuple[int, ...] = ()
    permeability: tuple[int, ...] = ()
    axes: str = "zyx"
    rtol: float = 1e-3

    @classmethod
    def of(
        cls,
        phases: Sequence[str],
        tortuosity: Sequence[int | str] | int | str,
        permeability: Sequence[int | str] | int | str,
        axes: str,
        rtol: float,
    ) -> Transport:
        """Return what phases, by name or label, and axes ask for.

        Raises
        ------
        InputError
            If there is no such phase or axis.
        """
        if not axes or not set(axes) <= set("zyx"):
            raise InputError(f"axes must be one or more of z, y and x, as 'zyx', got {axes!r}")
        return cls(_labels(tortuosity, phases), _labels(permeability, phases), axes, rtol)

    @property
    def asked(self) -> bool:
        """Whether there is anything to solve."""
        return bool(self.tortuosity or self.permeability)

    def solve(self, phases: np.ndarray, voxel_size: Sequence[float], threads: int | None = None) -> Iterator[Numbers]:
        """Yield what is found on an array of labels."""
        for label in self.tortuosity:
            from mgsflow.transport.tortuosity import tortuosity_factor

            for axis in self.axes:
                found = tortuosity_factor(phases, {label: 1.0}, axis, voxel_size, rtol=self.rtol, threads=threads)
                yield (
                    {"phase": label, "axis": "zyx".index(axis)},
                    _DIFFUSION,
                    {"tortuosity_status": found.status, **{k: float(getattr(found, k)) for k in _DIFFUSION}},
                )
        for axis in self.axes if self.permeability else "":
            from mgsflow.transport.permeability import permeability

            flow = permeability(phases, self.permeability, axis, voxel_size, rtol=self.rtol, threads=threads)
            numbers: dict[str, float | str] = {
                "permeability_status": flow.status,
                "permeability": float(flow.permeability_um2),
                "percolating_porosity": float(flow.percolating_porosity),
            }
            yield {"axis": "zyx".index(axis)}, _FLOW, numbers


def _labels(wanted: Sequence[int | str] | int | str, phases: Sequence[str]) -> tuple[int, ...]:
    found = []
    for phase in (wanted,) if isinstance(wanted, int | str) else wanted:
        label = list(phases).index(phase) if isinstance(phase, str) and phase in phases else phase
        if not isinstance(label, int) or not 0 <= label < len(phases):
            raise InputError(f"no phase {phase!r}: there are {', '.join(phases)}")
        found.append(label)
    return tuple(found)
