"""Battery-electrode tomograms larger than memory, from scans to numbers compared across cycle states.

`open` gives a study as an xarray DataTree, `run` carries one out. Images that are at hand, in memory or in a store, are
measured by `measure`, `label`, `distance`, `local_thickness`, `separate`, `particles`, `pore_network`,
`tortuosity_factor` and `permeability`, and studied by `rve` and `sensitivity`; `compare` compares the scans of a study.
Everything else is in the packages: `mgsflow.filters`, `mgsflow.segmentation`, `mgsflow.labelling`, `mgsflow.measures`,
`mgsflow.network`, `mgsflow.transport`, `mgsflow.studies`, `mgsflow.electrochemistry`, `mgsflow.readers`,
`mgsflow.phantoms`, `mgsflow.store`, `mgsflow.compute`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgsflow.labelling.components.label import label
    from mgsflow.labelling.distance.transform import distance
    from mgsflow.measures import measure
    from mgsflow.measures.thickness.local_thickness import local_thickness
    from mgsflow.network.from_array import pore_network
    from mgsflow.particle_analysis.from_labels import particles
    from mgsflow.particle_analysis.watershed.separate import separate
    from mgsflow.pipeline import run
    from mgsflow.readers import open_scan
    from mgsflow.recipe import load
    from mgsflow.report import write_report
    from mgsflow.store.tree import open_study as open
    from mgsflow.studies.compare import compare
    from mgsflow.studies.from_array import rve, sensitivity
    from mgsflow.transport.permeability import permeability
    from mgsflow.transport.tortuosity import tortuosity_factor

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "compare",
    "distance",
    "label",
    "load",
    "local_thickness",
    "measure",
    "open",
    "open_scan",
    "particles",
    "permeability",
    "pore_network",
    "run",
    "rve",
    "sensitivity",
    "separate",
    "tortuosity_factor",
    "write_report",
]

# looked up when first used: a worker that filters needs neither xarray nor matplotlib
_WHERE = {
    "compare": ("mgsflow.studies.compare", "compare"),
    "distance": ("mgsflow.labelling.distance.transform", "distance"),
    "label": ("mgsflow.labelling.components.label", "label"),
    "local_thickness": ("mgsflow.measures.thickness.local_thickness", "local_thickness"),
    "load": ("mgsflow.recipe", "load"),
    "measure": ("mgsflow.measures", "measure"),
    "open": ("mgsflow.store.tree", "open_study"),
    "open_scan": ("mgsflow.readers", "open_scan"),
    "particles": ("mgsflow.particle_analysis.from_labels", "particles"),
    "permeability": ("mgsflow.transport.permeability", "permeability"),
    "pore_network": ("mgsflow.network.from_array", "pore_network"),
    "run": ("mgsflow.pipeline", "run"),
    "rve": ("mgsflow.studies.from_array", "rve"),
    "sensitivity": ("mgsflow.studies.from_array", "sensitivity"),
    "separate": ("mgsflow.particle_analysis.watershed.separate", "separate"),
    "tortuosity_factor": ("mgsflow.transport.tortuosity", "tortuosity_factor"),
    "write_report": ("mgsflow.report", "write_report"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _WHERE[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
