"""Particles of a phase: touching ones separated by a watershed, and a table of their size, shape and contacts."""
