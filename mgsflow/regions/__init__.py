"""Which voxels of a scan are the specimen: a box, the cylinder of a reconstruction, or a mask."""

from mgsflow.regions.counting import LabelOutside, OnlyInside
from mgsflow.regions.detect import find_cylinder, find_cylinder_axis, inscribed_box
from mgsflow.regions.readers import Cropped, Filled
from mgsflow.regions.shapes import Cylinder, Mask, Region

__all__ = [
    "Cropped",
    "Cylinder",
    "Filled",
    "LabelOutside",
    "Mask",
    "OnlyInside",
    "Region",
    "find_cylinder",
    "find_cylinder_axis",
    "inscribed_box",
]
