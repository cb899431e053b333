"""Surface and interface areas, mean curvature and Euler number of phases."""
