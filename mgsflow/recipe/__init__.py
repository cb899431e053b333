"""The study file: what is to be done, as a person writes it, checked down to the last value before anything runs.

`load` reads a file into a `Recipe`, or raises one error that names file, line and YAML path of all that is wrong.
`template` writes the first version of such a file for a folder of scans.
"""

from mgsflow.recipe.analyses import Particles, Permeability, Thickness, Tortuosity
from mgsflow.recipe.discover import FoundScan, discover
from mgsflow.recipe.electrochemistry import Electrochemistry
from mgsflow.recipe.load import load, parse
from mgsflow.recipe.model import Recipe
from mgsflow.recipe.region import RegionOfScan
from mgsflow.recipe.scan import ScanRecipe
from mgsflow.recipe.specimen import SpecimenRecipe
from mgsflow.recipe.steps import Correct, Drift, Normalise, Segment
from mgsflow.recipe.studies import Network, Rve, Sensitivity
from mgsflow.recipe.template import template

__all__ = [
    "Correct",
    "Drift",
    "Electrochemistry",
    "FoundScan",
    "Network",
    "Normalise",
    "Particles",
    "Permeability",
    "Recipe",
    "RegionOfScan",
    "Rve",
    "ScanRecipe",
    "Segment",
    "Sensitivity",
    "SpecimenRecipe",
    "Thickness",
    "Tortuosity",
    "discover",
    "load",
    "parse",
    "template",
]
