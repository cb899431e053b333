"""Local thickness of a phase, and its distribution."""
