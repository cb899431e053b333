"""Supersteps: bulk-synchronous solves over blocks that exchange faces, in one process or on a dask cluster."""
