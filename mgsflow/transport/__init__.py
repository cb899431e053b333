"""Transport through a phase: diffusion (tortuosity) and Stokes flow (permeability), with certificates."""

from mgsflow.transport.diffusion.result import Tortuosity
from mgsflow.transport.electrode import ElectrodeTortuosity, electrode_tortuosity_factor
from mgsflow.transport.tortuosity import tortuosity_factor

__all__ = ["ElectrodeTortuosity", "Tortuosity", "electrode_tortuosity_factor", "tortuosity_factor"]
