"""Preconditioner of the pressure: the Schur complement and its multigrid."""
