"""The properties of windows of a scan: what must be counted for them, and what the counts come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mgsflow.blocks import Box, Grid
from mgsflow.compute import Parts, Source
from mgsflow.studies.metrics import comparable
from mgsflow.studies.subvolumes import CountPieces, Cuts, PartRecords, additive, counted, counts_of_windows
from mgsflow.studies.window_counts import CountWindows, counts_of_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr


@dataclass(frozen=True)
class WindowProperties:
    """Properties of windows, and of the whole scan.

    Parameters
    ----------
    phases : Source
        Labels.
    grid : Grid
        Blocks of the scan.
    windows : tuple of Box
    shared : bool
        Whether the scan is cut at the windows' planes, so that one reading counts them all: for nested windows and for
        tiles, not for windows that lie anywhere.
    measures : tuple of Windowed
    parts : Parts
        Where the counts are kept.
    whole : bool
        Whether the whole scan is counted too; if it is not, only blocks that windows touch are read.
    """

    phases: Source
    grid: Grid
    windows: tuple[Box, ...]
    shared: bool
    measures: tuple[Any, ...]
    parts: Parts
    whole: bool = True

    @property
    def cuts(self) -> Cuts:
        """Where the scan is cut."""
        return Cuts.of(self.grid, self.windows if self.shared else ())

    @property
    def pieces(self) -> CountPieces | None:
        """The reading of the scan."""
        if not self.measures or not (self.whole or (self.shared and self.windows)):
            return None
        sums = tuple(dict.fromkeys(counted(m) for m in self.measures if additive(m)))
        around = tuple(m for m in self.measures if not additive(m)) if self.whole else ()
        return CountPieces(self.phases, self.cuts, sums, around, self.parts, None if self.whole else self.windows)

    @property
    def apart(self) -> CountWindows | None:
        """What is left to be counted window by window, the largest first."""
        each = tuple(dict.fromkeys(counted(m) if additive(m) else m for m in self.measures if not self._by_pieces(m)))
        if not each or not self.windows:
            return None
        ordered = tuple(sorted(set(self.windows), key=lambda b: (-b.size, b)))
        return CountWindows(self.phases, ordered, each, self.parts)

    def gather(self, voxel_size: Sequence[float], phases: Sequence[str]) -> dict[Box, xr.Dataset]:
        """Return the properties of each window, and of the whole scan if it is counted, when all is done.

        Parameters
        ----------
        voxel_size : sequence of float
            µm along (z, y, x).
        phases : sequence of str
            Names.
        """
        whole = Box.of(self.grid.shape)
        boxes = [*dict.fromkeys((*self.windows, whole) if self.whole else self.windows)]
        cuts = self.cuts
        columns = [self._counts(m, boxes, cuts) for m in self.measures]
        return {
            box: comparable(self.measures, [c[i] for c in columns], box.shape, voxel_size, phases)
            for i, box in enumerate(boxes)
        }

    def _by_pieces(self, measure: Any) -> bool:
        return self.shared and additive(measure)

    def _counts(self, measure: Any, boxes: Sequence[Box], cuts: Cuts) -> list[Any]:
        only = None if self.whole else self.windows
        if self._by_pieces(measure):
            return counts_of_windows(measure, cuts, self.parts, boxes, only)
        whole = Box.of(self.grid.shape)
        found = {}
        for box in boxes:
            if box != whole or box in self.windows:
                reduction = counted(measure) if additive(measure) else measure
                found[box] = counts_of_window(measure, reduction, self.parts, box)
            elif additive(measure):
                found[box] = counts_of_windows(measure, cuts, self.parts, [box])[0]
            else:
                shape, _ = measure.record(self.grid.largest)
                records = PartRecords(self.parts, measure.name, self.grid.counts, shape)
                found[box] = measure.windows(records, self.grid, [box])[0]
        return [found[box] for box in boxes]
