"""Regions of a phase: connected components, exact distances, and particles separated by a watershed."""
