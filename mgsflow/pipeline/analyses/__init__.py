"""Analyses of a study as steps: particles, pore networks, representative volumes, sensitivity and others."""
