"""Connected components of a phase, and exact distances.

Each works block by block, and gives the same numbers for any blocks. `label`, `percolating` and their like take arrays;
the passes behind them, `FindComponents`, `FindPairs` and `Relabel`, work on any source.
"""

from mgsflow.labelling.components.label import (
    fill_holes,
    find_components,
    hysteresis,
    label,
    label_components,
    largest,
    percolating,
    remove_small,
    touching,
)
from mgsflow.labelling.components.merged import Components
from mgsflow.labelling.components.out_of_core import FindComponents, FindPairs, RunLabels
from mgsflow.labelling.distance.transform import distance
from mgsflow.labelling.relabel import Relabel

__all__ = [
    "Components",
    "FindComponents",
    "FindPairs",
    "Relabel",
    "RunLabels",
    "distance",
    "fill_holes",
    "find_components",
    "hysteresis",
    "label",
    "label_components",
    "largest",
    "percolating",
    "remove_small",
    "touching",
]
