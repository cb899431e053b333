"""From a recipe to a filled store: steps, fits, plan, and the run that can be stopped anywhere."""

from mgsflow.pipeline.run import Summary, open_scans, run

__all__ = ["Summary", "open_scans", "run"]
