"""Transport through a phase: diffusion (tortuosity) and Stokes flow (permeability), with certificates."""

from mgsflow.transport.electrode import ElectrodeTortuosity, electrode_tortuosity_factor
from mgsflow.transport.tortuosity import tortuosity_factor
from mgsflow.transport.tortuosity_result import Tortuosity

__all__ = ["ElectrodeTortuosity", "Tortuosity", "electrode_tortuosity_factor", "tortuosity_factor"]
