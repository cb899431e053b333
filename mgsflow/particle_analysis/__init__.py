"""Particles of a phase: touching ones separated by a watershed, and a table of their size, shape and contacts.

`separate` turns a mask into particle labels, `particles` measures them; both work block by block, and give the same
numbers for any blocks.
"""

from mgsflow.particle_analysis.distribution import Distribution, distribution, distributions
from mgsflow.particle_analysis.from_labels import particles
from mgsflow.particle_analysis.sums import ParticleSums
from mgsflow.particle_analysis.table import ParticleTable
from mgsflow.particle_analysis.watershed.separate import Separation, separate

__all__ = [
    "Distribution",
    "ParticleSums",
    "ParticleTable",
    "Separation",
    "distribution",
    "distributions",
    "particles",
    "separate",
]
