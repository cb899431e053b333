"""Volume fractions of phases with their sampling error, and how they change along the axes."""
