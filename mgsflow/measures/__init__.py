"""Measures of phase images: each a sum over blocks, turned into a Dataset with physical units.

A measure counts whole numbers block by block, so that results do not depend on how a volume is cut; `measure` runs any
of them over an array that is at hand, and its module says how to write one.
"""

from mgsflow.measures.measure import Measure, block_records, measure
from mgsflow.measures.profile import DepthProfile
from mgsflow.measures.sampling import sampling_error
from mgsflow.measures.volume import VolumeFraction

__all__ = ["DepthProfile", "Measure", "VolumeFraction", "block_records", "measure", "sampling_error"]
