"""Steady diffusion on voxels: one phase in packed arrays, several phases on a graph, large volumes in blocks."""
