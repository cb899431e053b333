"""Preconditioner of the velocity: faces, sweeps, and a multigrid cycle."""
