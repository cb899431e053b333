"""Triple-phase boundary: along voxel edges, corrected for the staircase, and its active part."""
