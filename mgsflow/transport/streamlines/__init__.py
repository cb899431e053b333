"""Streamlines of a flow on voxels, and their export."""
