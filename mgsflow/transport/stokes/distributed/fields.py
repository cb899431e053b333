"""Where the fields of a flow go that is solved in slabs, and in what order slabs write them."""

from __future__ import annotations

from dataclasses import dataclass

from mgsflow.blocks import Box
from mgsflow.compute import Sink


@dataclass(frozen=True)
class FlowSinks:
    """Where the fields of a flow go, block by block.

    Attributes
    ----------
    pressure : Sink, optional
        1 at the inlet, 0 at the outlet, NaN where nothing flows; float32.
    velocity : tuple of three Sink, optional
        Components along (z, y, x) at the centres of voxels, in µm/s at a pressure drop over viscosity of 1 s⁻¹;
        float32.
    """

    pressure: Sink | None = None
    velocity: tuple[Sink, Sink, Sink] | None = None

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """All of them."""
        return tuple(s for s in (self.pressure, *(self.velocity or ())) if s is not None)


def turns(box_of: list[Box], sinks: FlowSinks, axis: int) -> list[list[bool]]:
    """Return, round by round, which slabs may write: no two that share a chunk of any sink at a time."""
    chunk = [max(1, s.chunk[axis]) for s in sinks.sinks]
    inner = [b.stop[axis] for b in box_of[:-1]]
    if all(stop % c == 0 for stop in inner for c in chunk):
        return [[True] * len(box_of)]
    return [[i == k for i in range(len(box_of))] for k in range(len(box_of))]
