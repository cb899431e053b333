"""Stokes flow solved in slabs across the flow, for volumes larger than memory or on a cluster."""
