"""Diffusion solved block by block, for volumes larger than memory or on a cluster."""
