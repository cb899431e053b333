"""Measures of phase images: each a sum over blocks, turned into a Dataset with physical units.

A measure counts whole numbers block by block, so that results do not depend on how a volume is cut; `measure` runs any
of them over an array that is at hand, and `mgsflow.measures.measure` says how to write one.
"""

from mgsflow.measures.active import active_tpb
from mgsflow.measures.at_hand import measure
from mgsflow.measures.contacts import ContactCounts, Contacts
from mgsflow.measures.correlation import Correlation
from mgsflow.measures.interface import Interface
from mgsflow.measures.layers import LayerProfile
from mgsflow.measures.measure import Measure, block_records
from mgsflow.measures.minkowski import Minkowski
from mgsflow.measures.particle_distribution import Distribution, distribution, distributions
from mgsflow.measures.particle_sums import ParticleSums
from mgsflow.measures.particle_table import ParticleTable
from mgsflow.measures.particles import particles
from mgsflow.measures.patterns import PatternCounts, Patterns
from mgsflow.measures.profile import DepthProfile
from mgsflow.measures.registry import DEFAULT, MEASURES, make_measures
from mgsflow.measures.sampling import sampling_error
from mgsflow.measures.surface import Surface
from mgsflow.measures.thickness import local_thickness, thickness_distribution
from mgsflow.measures.thickness_distribution import ThicknessDistribution
from mgsflow.measures.triple_line import TripleLine
from mgsflow.measures.triple_phase import Morphology, TriplePhase
from mgsflow.measures.volume import VolumeFraction
from mgsflow.measures.windowed import Windowed

__all__ = [
    "DEFAULT",
    "MEASURES",
    "ContactCounts",
    "Contacts",
    "Correlation",
    "DepthProfile",
    "Distribution",
    "Interface",
    "LayerProfile",
    "Measure",
    "Minkowski",
    "Morphology",
    "ParticleSums",
    "ParticleTable",
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
    "distribution",
    "distributions",
    "local_thickness",
    "make_measures",
    "measure",
    "particles",
    "sampling_error",
    "thickness_distribution",
]
