"""Stokes flow on voxels: the saddle-point system, its preconditioners and iterations, and permeability from it."""
