"""Separation of touching particles: basins of steepest ascent on exact distances, merged where they are shallow."""
