"""Three-dimensional pictures of the report: voxels, balls and sticks."""
