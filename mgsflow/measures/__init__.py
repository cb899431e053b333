"""Measures of phase images: each a sum over blocks, turned into a Dataset with physical units.

A measure counts whole numbers block by block, so that results do not depend on how a volume is cut; `measure` runs any
of them over an array, and `mgsflow.measures.definition` says how to write one.
"""

from mgsflow.measures.correlation.functions import Correlation
from mgsflow.measures.definition import Measure, block_records
from mgsflow.measures.from_array import measure
from mgsflow.measures.registry import DEFAULT, MEASURES, make_measures
from mgsflow.measures.surface.area import Surface
from mgsflow.measures.surface.contacts import ContactCounts, Contacts
from mgsflow.measures.surface.interface import Interface
from mgsflow.measures.surface.minkowski import Minkowski
from mgsflow.measures.surface.patterns import PatternCounts, Patterns
from mgsflow.measures.thickness.distribution import ThicknessDistribution
from mgsflow.measures.thickness.local_thickness import local_thickness, thickness_distribution
from mgsflow.measures.triple_phase.active import active_tpb
from mgsflow.measures.triple_phase.corrected import TripleLine
from mgsflow.measures.triple_phase.edges import Morphology, TriplePhase
from mgsflow.measures.volume.fractions import VolumeFraction
from mgsflow.measures.volume.layers import LayerProfile
from mgsflow.measures.volume.profile import DepthProfile
from mgsflow.measures.volume.sampling_error import sampling_error
from mgsflow.measures.windowed import Windowed

__all__ = [
    "DEFAULT",
    "MEASURES",
    "ContactCounts",
    "Contacts",
    "Correlation",
    "DepthProfile",
    "Interface",
    "LayerProfile",
    "Measure",
    "Minkowski",
    "Morphology",
    "PatternCounts",
    "Patterns",
    "Surface",
    "ThicknessDistribution",
    "TripleLine",
    "TriplePhase",
    "VolumeFraction",
    "Windowed",
    "active_tpb",
    "block_records",
    "local_thickness",
    "make_measures",
    "measure",
    "sampling_error",
    "thickness_distribution",
]
