"""Linear solvers that know no physics and no cluster: conjugate gradients and aggregation multigrid."""

from mgsflow.solvers.aggregation import Hierarchy
from mgsflow.solvers.conjugate_gradients import minimise_energy
from mgsflow.solvers.energy_error import EnergyError
from mgsflow.solvers.graph import Graph, box_key
from mgsflow.solvers.solution import Solution, Step
from mgsflow.solvers.team import Team

__all__ = ["EnergyError", "Graph", "Hierarchy", "Solution", "Step", "Team", "box_key", "minimise_energy"]
