"""Phantom scans: stand-ins for tomograms of Mg/S cells, and test geometries of known phases.

A `Phantom` has the true phases (`truth`) and a grey image (`image`), both read box by box: each voxel is a function of
its coordinates and the seed, so that any size can be made, block by block, and any blocks give the same volume.
"""

from mgsflow.phantoms.cathode import cathode
from mgsflow.phantoms.grains import PARTICLE
from mgsflow.phantoms.grey import GreyModel
from mgsflow.phantoms.phantom import Image, Phantom, Source, Truth
from mgsflow.phantoms.separator import separator
from mgsflow.phantoms.shapes import cylinders, duct, gaussian_pores, slabs
from mgsflow.phantoms.spheres import random_spheres, spheres
from mgsflow.phantoms.tiff import write_tiff_stack

__all__ = [
    "PARTICLE",
    "GreyModel",
    "Image",
    "Phantom",
    "Source",
    "Truth",
    "cathode",
    "cylinders",
    "duct",
    "gaussian_pores",
    "random_spheres",
    "separator",
    "slabs",
    "spheres",
    "write_tiff_stack",
]
