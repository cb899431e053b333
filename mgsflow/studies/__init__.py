"""Studies of a scan: what part of it represents the whole, and what its numbers owe to a threshold.

Pure functions of phases, records and histograms; `mgsflow.pipeline` carries them out over a store.
"""

from mgsflow.studies.from_array import rve, sensitivity
from mgsflow.studies.windows import PLACEMENTS, place_windows

__all__ = ["PLACEMENTS", "place_windows", "rve", "sensitivity"]
