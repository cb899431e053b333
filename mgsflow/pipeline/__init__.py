"""From a recipe to a filled store: steps, fits, plan, and the run that can be stopped anywhere."""

from mgsflow.pipeline.planning.capacity import Capacity, capacity
from mgsflow.pipeline.planning.plan import Plan, plan
from mgsflow.pipeline.planning.rehearsal import Rates, rehearse
from mgsflow.pipeline.run import Summary, open_scans, run

__all__ = ["Capacity", "Plan", "Rates", "Summary", "capacity", "open_scans", "plan", "rehearse", "run"]
