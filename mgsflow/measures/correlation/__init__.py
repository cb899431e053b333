"""Two-point correlation, lineal path and chord lengths of phases along the axes."""
